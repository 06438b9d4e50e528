"""JSON as PHP writes it, and what is too much of it."""

from __future__ import annotations

from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from components.hub.client import HubClient
from components.hub.json_body import MAX_NESTED, MAX_VALUES, has_too_many_values, read_json_object
from components.hub.outcomes import Failure
from components.hub.transport import Transport
from components.runtime.clock import Clock
from components.settings.model import LiveSettings, Settings
from tests.rig.faults import FaultServer


@pytest.mark.parametrize("text", ['{"success":' + "[" * 100_000, "{" * 100_000, '"' * 100_000])
def test_depth_is_no_trouble(text: str) -> None:
    assert read_json_object(text.encode(), "success") is None


def test_bytes_that_are_no_text_are_read_where_it_is_quick() -> None:
    good = b'{"success": true, "message": "a\xf1o"}'
    assert read_json_object(good, "success") == {"success": True, "message": "a\ufffdo"}
    assert read_json_object(b"\xff" * (1 << 20) + good, "success") is None


@pytest.mark.parametrize(("values", "found"), [(100, True), (100_000, False)])
def test_json_is_looked_for_behind_little_that_is_none(values: int, found: bool) -> None:
    other = b'Notice: {"a": [' + b"7," * values + b"7]} in api.php "
    assert (read_json_object(other + b'{"success": true}', "success") is not None) is found
    cut_short = b'Notice: {"a": [' + b"7," * values + b" in api.php "
    assert (read_json_object(cut_short + b'{"success": true}', "success") is not None) is found


@pytest.mark.parametrize("mark", [b"1,", b"[],", b'{"a":1},'])
def test_too_many_values_are_seen_without_reading_them(mark: bytes) -> None:
    assert has_too_many_values(b'{"success":true,"commands":[' + mark * (MAX_VALUES + 1) + b"1]}")
    assert not has_too_many_values(b"[" + mark * (MAX_NESTED // 2))
    assert not has_too_many_values(b'"' + b"x" * (1 << 20) + b'"')


def _listed(number: int) -> dict[str, Any]:
    """A file as both generations list it, with a long name."""
    name = f"{number:0100d}, final.gcode"
    times = {"uploaded": "2026-01-01 00:00:00", "downloaded": None}
    sizes = {"size": "1.2 MB", "size_bytes": number, "md5": "0" * 32}
    return {"name": name, "original_name": name, **sizes, **times, "exists": True}


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        ({"success": True, "files": [_listed(n) for n in range(1000)]}, None),
        ({"success": True, "commands": [7] * (MAX_VALUES + 1)}, Failure.TOO_LARGE),
    ],
)
async def test_a_large_reply_is_read_and_a_senseless_one_is_not(
    reply: dict[str, Any], failure: Failure | None
) -> None:
    with FaultServer() as server:
        server.behave("answer", reply=reply)
        live = LiveSettings(Settings(server_url=server.url("/api.php"), printer_token="T"))
        http = AsyncHTTPClient(force_instance=True)
        transport = Transport(http, Clock(), "test")
        told, files = await HubClient(live, transport, Clock()).list_files()
        transport.close()
        http.close()
    assert told.failure is failure
    assert len(files) == (1000 if failure is None else 0)
    assert failure is None or f"more than {MAX_VALUES} values" in told.sentence
