"""The way to the hub, stage by stage: proxy, name, connection, TLS, HTTP, JSON, token; then the
clock and the sibling scripts.

The first four are tried here with connections of their own, since a failed request alone does not
tell which of them it was; the rest are real exchanges through `HubClient`, which are harmless: a
status, a poll whose commands are taken as ever.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence

from ...hub.outcomes import Failure
from ...net.faults import ConnectFailed, Phase
from ...runtime.disk import reason_of
from ...runtime.messages import say
from ...runtime.worker import aside
from .report import Finding, State

if TYPE_CHECKING:
    from ...hub.client import HubClient, Reply
    from ...hub.link import Link
    from ...net.connect import Connector
    from ...runtime.clock import Clock
    from ...settings.model import LiveSettings
    from ...status.reporter import Reporter

CONNECT_WITHIN = 5.0  # seconds, for each of name, connection and TLS
ADDRESSES_TRIED = 3
CERTIFICATE_DAYS = 14  # Let's Encrypt renews at 30
SKEW_TOLERATED = 10.0  # seconds; a Date header alone is good for one or two
WAY = ("proxy", "dns", "tcp", "tls")
STAGES = ("http", "redirect", "json", "token")

Resolve = Callable[[str, int], Sequence[str]]

_STAGE_OF: Dict[Failure, str] = {
    Failure.REDIRECT: "redirect",
    Failure.NOT_JSON: "json",
    Failure.REFUSED: "token",
}


def resolve(host: str, port: int) -> Sequence[str]:
    """Addresses of a name, by the system's resolver. Blocks, for half a minute where no name server
    answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass
class _Way:
    """What one stage leaves to the next."""

    scheme: str
    host: str
    port: int
    addresses: Sequence[str] = ()
    address: str = ""
    proxied: bool = False


@dataclass(eq=False)
class HubChecks:
    live: LiveSettings
    client: HubClient
    link: Link
    reporter: Reporter
    connector: Connector
    clock: Clock
    resolver: Resolve = resolve

    async def run(self) -> List[Finding]:
        settings = self.live.now
        if not settings.complete:
            missing = [n for n in ("server_url", "printer_token") if not getattr(settings, n)]
            unset = Finding(
                "settings", State.FAILED, "settings_missing", {"names": ", ".join(missing)}
            )
            return [unset, *_skipped((*WAY, *STAGES), "no_hub")]
        way = _Way(*self.client.origin)
        findings: List[Finding] = []
        for check in (self._proxy, self._dns, self._tcp, self._tls):
            finding = await check(way)
            findings.append(finding)
            if finding.state is State.FAILED:
                left = (*WAY, *STAGES)
                return findings + _skipped(left[left.index(finding.check) + 1 :], "not_reached")
        return findings + await self._talk()

    # Sockets

    async def _proxy(self, way: _Way) -> Finding:
        """Whether one is set, lets us in, and reaches the hub where that can be asked for (TLS)."""
        connector = self.connector
        started, shown = time.monotonic(), ""
        try:
            proxy = connector.proxy_for(way.scheme, way.host, way.port)
            if proxy is None:
                return Finding("proxy", State.OK, "proxy_none")
            way.proxied, shown = True, proxy.shown
            opened = await connector.open(way.scheme, way.host, way.port, within=CONNECT_WITHIN)
            opened.stream.close()
        except ConnectFailed as failed:
            if failed.phase is not Phase.TLS:
                values = {"host": way.host, "sentence": failed.sentence}
                return Finding("proxy", State.FAILED, "reply_proxy", values)
        passed = {"proxy": shown, "ms": _milliseconds(started)}
        return Finding("proxy", State.OK, "proxy_ok", passed)

    async def _dns(self, way: _Way) -> Finding:
        if way.proxied:
            return Finding("dns", State.SKIPPED, "left_to_proxy")
        if _is_address(way.host):
            way.addresses = (way.host,)
            return Finding("dns", State.OK, "dns_not_needed", {"host": way.host})
        started = time.monotonic()
        try:
            way.addresses = await asyncio.wait_for(
                aside(self.resolver, way.host, way.port), CONNECT_WITHIN
            )
        except asyncio.TimeoutError:
            return Finding(
                "dns", State.FAILED, "dns_timeout", {"host": way.host, "seconds": CONNECT_WITHIN}
            )
        except (OSError, UnicodeError) as error:
            reason = reason_of(error)
            return Finding("dns", State.FAILED, "dns_failed", {"host": way.host, "reason": reason})
        if not way.addresses:
            return Finding(
                "dns", State.FAILED, "dns_failed", {"host": way.host, "reason": say("no address")}
            )
        values = {
            "host": way.host,
            "addresses": ", ".join(way.addresses[:ADDRESSES_TRIED]),
            "ms": _milliseconds(started),
        }
        return Finding("dns", State.OK, "dns_ok", values)

    async def _tcp(self, way: _Way) -> Finding:
        if way.proxied:
            return Finding("tcp", State.SKIPPED, "left_to_proxy")
        code, reason = "tcp_unreachable", ""
        for address in way.addresses[:ADDRESSES_TRIED]:
            started = time.monotonic()
            try:
                _, writer = await asyncio.wait_for(
                    asyncio.open_connection(address, way.port), CONNECT_WITHIN
                )
            except asyncio.TimeoutError:
                code = "tcp_timeout"
            except ConnectionRefusedError:
                code = "tcp_refused"
            except OSError as error:
                code, reason = "tcp_unreachable", reason_of(error)
            else:
                writer.close()
                way.address = address
                values = {"address": address, "port": way.port, "ms": _milliseconds(started)}
                return Finding("tcp", State.OK, "tcp_ok", values)
        values = {"host": way.host, "port": way.port, "reason": reason, "seconds": CONNECT_WITHIN}
        return Finding("tcp", State.FAILED, code, values)

    async def _tls(self, way: _Way) -> Finding:
        if way.scheme != "https":
            if way.address and _is_near(way.address):
                return Finding("tls", State.OK, "tls_not_used_near", {"address": way.address})
            return Finding("tls", State.WARNING, "tls_not_used", {"host": way.host})
        values: Dict[str, Any] = {"host": way.host}
        try:
            opened = await self.connector.open(
                way.scheme, way.host, way.port, within=CONNECT_WITHIN
            )
        except ConnectFailed as failed:
            values["sentence"] = failed.sentence
            return Finding("tls", State.FAILED, "reply_tls", values)
        try:
            secured: Any = opened.stream.socket
            certificate = secured.getpeercert() or {}
        finally:
            opened.stream.close()
        days = _days_left(certificate, self.clock.time())
        if days is not None and days < CERTIFICATE_DAYS:
            return Finding("tls", State.WARNING, "tls_ends_soon", dict(values, days=days))
        return Finding("tls", State.OK, "tls_ok", dict(values, days="?" if days is None else days))

    # Exchanges

    async def _talk(self) -> List[Finding]:
        reply = await self.reporter.send()
        self.link.ended("status", reply)
        findings = list(self._stages(reply))
        findings.append(self._clock())
        if reply.ok:
            poll = await self.client.fetch_commands()
            self.link.ended("commands", poll)
            listing, files = await self.client.list_files()
            findings.append(_sibling("commands", poll, {}))
            findings.append(_sibling("files", listing, {"count": len(files)}))
        return findings

    def _stages(self, reply: Reply) -> List[Finding]:
        values: Dict[str, Any] = {
            "host": self.client.origin[1],
            "ms": round(reply.seconds * 1000),
            "status": reply.status,
            "sentence": reply.sentence,
            "generation": int(self.client.generation),
        }
        broken = None if reply.failure is None else _STAGE_OF.get(reply.failure, "http")
        found: List[Finding] = []
        for stage in STAGES:
            if stage == broken and reply.failure is not None:
                found.append(Finding(stage, State.FAILED, f"reply_{reply.failure.value}", values))
                break
            found.append(Finding(stage, State.OK, f"{stage}_ok", values))
        return found + _skipped(STAGES[len(found) :], "not_reached")

    def _clock(self) -> Finding:
        skew = self.client.clock_skew
        if skew is None:
            return Finding("clock", State.SKIPPED, "clock_unknown")
        values = {"seconds": round(abs(skew))}
        if abs(skew) <= SKEW_TOLERATED:
            return Finding("clock", State.OK, "clock_ok", values)
        return Finding(
            "clock", State.WARNING, "clock_behind" if skew > 0 else "clock_ahead", values
        )


def _sibling(check: str, reply: Reply, values: Mapping[str, Any]) -> Finding:
    if reply.ok:
        return Finding(check, State.OK, f"{check}_ok", values)
    return Finding(check, State.FAILED, f"{check}_failed", {"sentence": reply.sentence})


def _skipped(checks: Sequence[str], code: str) -> List[Finding]:
    return [Finding(check, State.SKIPPED, code) for check in checks]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_near(address: str) -> bool:
    """Whether it is this computer or its own network."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_private
    except ValueError:
        return False


def _days_left(certificate: Mapping[str, Any], now: float) -> Optional[int]:
    try:
        return int((ssl.cert_time_to_seconds(str(certificate["notAfter"])) - now) // 86400)
    except (KeyError, ValueError):
        return None


def _milliseconds(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
