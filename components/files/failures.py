"""Why an attempt at a file failed: a sentence for people, and what may be done about it. Pure."""

from __future__ import annotations

import ssl
from typing import Any, Dict, Optional, Tuple

from ..hub.outcomes import Failure, explain, host_of, http_date, read_retry_after, redact_query
from ..net.faults import ConnectFailed, Phase
from ..net.get import SLOWEST, Break, GetFailed, Head
from ..runtime.messages import Told, say
from .gcode_look import hub_message
from .names import show
from .staging_file import RESERVE
from .wanted import Wanted

# The server's own trouble, which may pass.
AGAIN_STATUSES = frozenset((408, 425, 429, 500, 502, 503, 504))
_AGAIN_FAILURES = (Failure.DNS, Failure.UNREACHABLE, Failure.TIMED_OUT, Failure.BUSY)


class DownloadFailed(Told):
    """`again`: another attempt may succeed; `keep`: what has come so far is worth keeping."""

    def __init__(
        self,
        template: str,
        *,
        again: bool = False,
        keep: bool = False,
        damaged: bool = False,
        retry_after: Optional[float] = None,
        **places: object,
    ) -> None:
        super().__init__(template, **places)
        self.again = again
        self.keep = keep
        self.damaged = damaged  # it came whole, but wrong
        self.retry_after = retry_after  # seconds, as the server asked


def refused(wanted: Wanted, head: Head, body: bytes) -> DownloadFailed:
    """The reply is not the file."""
    places: Dict[str, Any] = {
        "host": host_of(wanted.url),
        "file": show(wanted.name),
        "status": head.status,
    }
    if head.status == 416:
        return DownloadFailed("{host} has a different {file} now.", again=True, **places)
    if 300 <= head.status < 400:
        return DownloadFailed(
            "{host} redirects {file} to {target}: give the final address; redirects are not "
            "followed.",
            target=redact_query(head.headers.get("Location", "")),
            **places,
        )
    told = hub_message(body)
    places["said"] = f' ("{told}")' if told else ""
    if head.status in (404, 410):
        return DownloadFailed("{host} has no file {file}: HTTP {status}{said}.", **places)
    if head.status in AGAIN_STATUSES:
        date = http_date(head.headers.get("Date", ""))
        return DownloadFailed(
            "{host} answered HTTP {status}{said} for {file}: look into the server's PHP error log.",
            again=True,
            keep=True,
            retry_after=read_retry_after(head.headers.get("Retry-After", ""), 0.0, date),
            **places,
        )
    return DownloadFailed("{host} answered HTTP {status}{said} for {file}.", **places)


def broken(wanted: Wanted, error: Exception, idle: float, resumable: bool) -> DownloadFailed:
    """The exchange broke off, or never began."""
    failure, why = _told(error, host_of(wanted.url), idle)
    again = failure in _AGAIN_FAILURES
    return DownloadFailed(
        "{file} could not be fetched: {why}",
        file=show(wanted.name),
        why=why,
        again=again,
        keep=again and resumable,
    )


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


def another_part(wanted: Wanted) -> DownloadFailed:
    return DownloadFailed(
        "{host} sent another part of {file} than was asked for.",
        host=host_of(wanted.url),
        file=show(wanted.name),
        again=True,
    )


def compressed(wanted: Wanted) -> DownloadFailed:
    return DownloadFailed(
        "{host} sends {file} compressed although plain was asked for: turn compression off for "
        "downloads (zlib.output_compression, mod_deflate).",
        host=host_of(wanted.url),
        file=show(wanted.name),
    )


def not_given(wanted: Wanted, told: str) -> DownloadFailed:
    """The hub sends its refusals with HTTP 200, in the file's place."""
    places: Dict[str, Any] = {"host": host_of(wanted.url), "file": show(wanted.name)}
    if told:
        return DownloadFailed('{host} does not give {file}: "{told}".', told=told, **places)
    return DownloadFailed("{host} does not give {file} without a reason.", **places)


def too_large(wanted: Wanted, size: Optional[int], limit: int) -> DownloadFailed:
    """`size` None: larger than `limit`, and nobody knows by how much. Bytes."""
    places: Dict[str, Any] = {"file": show(wanted.name), "limit": limit / 2**20}
    if size is None:
        return DownloadFailed(
            "{file} is larger than the {limit:.0f} MiB that file_management.max_size_mb allows.",
            **places,
        )
    return DownloadFailed(
        "{file} has {size:.0f} MiB, more than the {limit:.0f} MiB that "
        "file_management.max_size_mb allows.",
        size=size / 2**20,
        **places,
    )


def wrong_size(wanted: Wanted, found: str, again: bool = False) -> DownloadFailed:
    return DownloadFailed(
        "{file} has {found} bytes, but should have {wanted}: upload it again.",
        file=show(wanted.name),
        found=found,
        wanted=wanted.size,
        again=again,
    )


def cut_short(wanted: Wanted, size: int, total: int) -> DownloadFailed:
    return DownloadFailed(
        "{file} came with {size} of the {total} bytes announced.",
        file=show(wanted.name),
        size=size,
        total=total,
        again=True,
    )


def of_unknown_length(wanted: Wanted) -> DownloadFailed:
    return DownloadFailed(
        "{host} does not say how long {file} is, so a cut could not be noticed: let it send "
        "Content-Length, a size or a checksum.",
        host=host_of(wanted.url),
        file=show(wanted.name),
    )


def damaged(wanted: Wanted, kind: str, found: str, expected: str) -> DownloadFailed:
    return DownloadFailed(
        "{file} came damaged: its {kind} is {found}, but should be {expected}.",
        file=show(wanted.name),
        kind=kind,
        found=found,
        expected=expected,
        again=True,
        damaged=True,
    )


def no_room(wanted: Wanted) -> DownloadFailed:
    return DownloadFailed(
        "There is no room for {file}: it would leave less than {reserve} MiB free. Delete old "
        "files on the printer.",
        file=show(wanted.name),
        reserve=RESERVE // 2**20,
    )
