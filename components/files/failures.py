"""Why an attempt at a file failed: a sentence for people, and what may be done about it. Pure."""

from __future__ import annotations

import ssl
from typing import Optional, Tuple

from ..hub.outcomes import Failure, explain, host_of, http_date, read_retry_after, redact_query
from ..net.faults import ConnectFailed, Phase
from ..net.get import SLOWEST, Break, GetFailed, Head
from ..runtime.messages import Told, say, sentence
from .gcode_look import hub_message
from .names import show
from .staging_file import RESERVE
from .wanted import Wanted

# The server's own trouble, which may pass.
AGAIN_STATUSES = frozenset((408, 425, 429, 500, 502, 503, 504))
_AGAIN_FAILURES = (Failure.DNS, Failure.UNREACHABLE, Failure.TIMED_OUT, Failure.BUSY)


class DownloadFailed(Told):
    """The template may name {file} and {host}. `again`: another attempt may succeed; `keep`: what
    has come so far is worth keeping.
    """

    def __init__(
        self,
        template: str,
        about: Wanted,
        *,
        again: bool = False,
        keep: bool = False,
        damaged: bool = False,
        retry_after: Optional[float] = None,
        **places: object,
    ) -> None:
        super().__init__(template, file=show(about.name), host=host_of(about.url), **places)
        self.again = again
        self.keep = keep
        self.damaged = damaged  # it came whole, but wrong
        self.retry_after = retry_after  # seconds, as the server asked


def refused(wanted: Wanted, head: Head, body: bytes) -> DownloadFailed:
    """The reply is not the file."""
    if head.status == 416:
        return DownloadFailed("{host} has a different {file} now.", wanted, again=True)
    if 300 <= head.status < 400:
        return DownloadFailed(
            "{host} redirects {file} to {target}: give the final address; redirects are not "
            "followed.",
            wanted,
            target=redact_query(head.headers.get("Location", "")),
        )
    told = hub_message(body)
    said = f' ("{told}")' if told else ""
    if head.status in (404, 410):
        gone = sentence("{host} has no file {file}: HTTP {status}{said}.")
        return DownloadFailed(gone, wanted, status=head.status, said=said)
    if head.status in AGAIN_STATUSES:
        date = http_date(head.headers.get("Date", ""))
        return DownloadFailed(
            "{host} answered HTTP {status}{said} for {file}: look into the server's PHP error log.",
            wanted,
            again=True,
            keep=True,
            retry_after=read_retry_after(head.headers.get("Retry-After", ""), 0.0, date),
            status=head.status,
            said=said,
        )
    other = sentence("{host} answered HTTP {status}{said} for {file}.")
    return DownloadFailed(other, wanted, status=head.status, said=said)


def broken(wanted: Wanted, error: Exception, idle: float, resumable: bool) -> DownloadFailed:
    """The exchange broke off, or never began."""
    failure, why = _told(error, host_of(wanted.url), idle)
    again = failure in _AGAIN_FAILURES
    template = sentence("{file} could not be fetched: {why}")
    return DownloadFailed(template, wanted, why=why, again=again, keep=again and resumable)


def _told(error: Exception, host: str, idle: float) -> Tuple[Failure, str]:
    if isinstance(error, ConnectFailed):
        phases = {Phase.RESOLVE: Failure.DNS, Phase.TLS: Failure.TLS}
        return phases.get(error.phase, Failure.UNREACHABLE), error.sentence
    assert isinstance(error, GetFailed)
    if error.kind is Break.SILENT:
        silent = say("{host} sent nothing for {seconds:g} s.", host=host, seconds=idle)
        return Failure.TIMED_OUT, silent
    if error.kind is Break.SLOW:
        slow = say(
            "{host} sends less than {slowest} bytes a second, which would never end.",
            host=host,
            slowest=SLOWEST,
        )
        return Failure.TIMED_OUT, slow
    if error.kind is Break.GARBLED:
        garbled = say(
            "{host} answered with something that is not HTTP: check the address.", host=host
        )
        return Failure.STATUS, garbled
    if isinstance(error.error, ssl.SSLError):
        exchange = explain(error.error, host, idle)
        return exchange.failure or Failure.TLS, exchange.sentence
    cut = say("{host} closed the connection before everything had come.", host=host)
    return Failure.UNREACHABLE, cut


def not_given(wanted: Wanted, told: str) -> DownloadFailed:
    """The hub sends its refusals with HTTP 200, in the file's place."""
    if told:
        return DownloadFailed('{host} does not give {file}: "{told}".', wanted, told=told)
    return DownloadFailed("{host} does not give {file} without a reason.", wanted)


def too_large(wanted: Wanted, size: Optional[int], limit: int) -> DownloadFailed:
    """`size` None: larger than `limit`, and nobody knows by how much. Bytes."""
    if size is None:
        template = sentence(
            "{file} is larger than the {limit:.0f} MiB that file_management.max_size_mb allows."
        )
    else:
        template = sentence(
            "{file} has {size:.0f} MiB, more than the {limit:.0f} MiB that "
            "file_management.max_size_mb allows."
        )
    return DownloadFailed(template, wanted, size=(size or 0) / 2**20, limit=limit / 2**20)


def wrong_size(wanted: Wanted, found: str, again: bool = False) -> DownloadFailed:
    return DownloadFailed(
        "{file} has {found} bytes, but should have {wanted}: upload it again.",
        wanted,
        again=again,
        found=found,
        wanted=wanted.size,
    )


def no_room(wanted: Wanted) -> DownloadFailed:
    return DownloadFailed(
        "There is no room for {file}: it would leave less than {reserve} MiB free. Delete old "
        "files on the printer.",
        wanted,
        reserve=RESERVE // 2**20,
    )
