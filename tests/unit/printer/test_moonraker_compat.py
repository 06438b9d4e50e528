"""The shims, held to the signatures of the Moonrakers that need them."""

from __future__ import annotations

import asyncio
import sys
import types
from typing import Any

import pytest

from components.printer import moonraker_compat


class At080:
    """Moonraker v0.8.0, as far as the shims are asked about it: recorded from its source."""

    class error(Exception):  # noqa: N801 - Moonraker's name
        pass

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.connection = types.SimpleNamespace(request=self.request, state="ready")

    def register_endpoint(
        self,
        uri: str,
        request_methods: list[str],
        callback: Any,
        transports: Any = (),
        wrap_result: bool = True,
    ) -> None:
        self.calls.append((uri, request_methods, transports, wrap_result))

    def add_warning(self, warning: str, warn_id: str | None = None, log: bool = True) -> str:
        self.calls.append((warning, warn_id, log))
        return ""

    def remove_warning(self, warn_id: str) -> None:
        pass

    def lookup_component(self, name: str, default: Any = None) -> Any:
        return self.connection if name == "klippy_connection" else types.SimpleNamespace()

    async def request(self, request: Any) -> Any:
        self.calls.append(request)
        return {"status": {"webhooks": {"state": "ready"}}, "eventtime": 1.0}


class WebRequest:
    """moonraker/websockets.py at v0.8.0"""

    def __init__(
        self,
        endpoint: str,
        args: dict[str, Any],
        action: str | None = "",
        conn: Any = None,
        ip_addr: str = "",
        user: Any = None,
    ) -> None:
        self.endpoint, self.args, self.conn = endpoint, args, conn


class Subscribable:
    def send_status(self, status: Any, eventtime: float) -> None:
        raise NotImplementedError


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> At080:
    websockets = types.ModuleType("mr080.websockets")
    websockets.WebRequest = WebRequest  # type: ignore[attr-defined]
    websockets.Subscribable = Subscribable  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mr080.websockets", websockets)
    monkeypatch.setattr(At080, "__module__", "mr080.server")
    return At080()


def test_an_endpoint_is_registered_without_what_080_does_not_know(old: At080) -> None:
    options = {"wrap_result": False, "content_type": "text/html", "auth_required": False}
    moonraker_compat.register_endpoint(
        old, "/server/x", ["GET"], print, transports=["http"], **options
    )
    assert old.calls == [("/server/x", ["GET"], ["http"], False)]


def test_a_warning_reaches_every_version(old: At080, caplog: pytest.LogCaptureFixture) -> None:
    moonraker_compat.add_warning(old, "it failed", "id", error=ValueError("why"))
    assert old.calls == [("it failed", "id", True)]
    assert "ValueError: why" in caplog.text

    class Older(At080):
        def add_warning(self, warning: str) -> None:  # type: ignore[override]
            self.calls.append(warning)

    older = Older()
    moonraker_compat.add_warning(older, "it failed", "id", log=False)
    assert older.calls == ["it failed"]


async def test_at_080_one_subscribes_by_a_request_of_ones_own(old: At080) -> None:
    subscriber = moonraker_compat.make_subscriber(old, lambda diff, eventtime: None)
    assert isinstance(subscriber, Subscribable)
    status = await moonraker_compat.subscribe(old, {"webhooks": None}, subscriber)
    assert status == {"webhooks": {"state": "ready"}}
    (request,) = old.calls
    assert (request.endpoint, request.conn) == ("objects/subscribe", subscriber)
    assert request.args == {"objects": {"webhooks": None}}


async def test_a_moonraker_without_any_way_says_so() -> None:
    with pytest.raises(At080.error, match="no way to subscribe"):
        await asyncio.wait_for(moonraker_compat.subscribe(At080(), {}, object()), 1)


def test_what_a_fork_asks_a_transport_for_is_there(old: At080) -> None:
    """Snapmaker's fork of 0.9.3 reads transport_type; the newest has three more."""
    heard: list[Any] = []
    subscriber = moonraker_compat.make_subscriber(old, lambda *told: heard.append(told))
    for name in ("transport_type", "user_info", "ip_addr"):
        assert getattr(subscriber, name) is None
    assert subscriber.screen_rpc_request(None, None, {}) is None
    subscriber.send_status({"fan": {}}, 1.5)
    assert heard == [({"fan": {}}, 1.5)]
    assert subscriber in {subscriber: 1}


def test_what_a_moonraker_lacks_is_named(old: At080) -> None:
    assert "http_client.client" in moonraker_compat.lacking(old)


def test_the_installed_moonrakers_transport_is_taken() -> None:
    pytest.importorskip("moonraker.common")
    from moonraker.common import APITransport

    server = type("Server", (), {"__module__": "moonraker.server"})()
    subscriber = moonraker_compat.make_subscriber(server, lambda diff, eventtime: None)
    assert isinstance(subscriber, APITransport)
    # All that the class has is there, whatever a version adds to it.
    assert all(hasattr(subscriber, name) for name in dir(APITransport))
