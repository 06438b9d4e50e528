"""JSON as PHP writes it: the quick reader, the patient one, and what is too much for either."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httpclient import AsyncHTTPClient

from components.hub.client import HubClient
from components.hub.json_body import LARGE, MAX_VALUES, has_too_many_values, read_json_object
from components.hub.outcomes import Failure
from components.hub.transport import Transport
from components.runtime.clock import Clock
from components.settings.model import LiveSettings, Settings
from tests.rig.faults import FaultServer

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), values), st.text(max_size=20), st.binary(max_size=20))
def test_both_readers_read_alike(body: dict[str, Any], before: str, after: bytes) -> None:
    text = json.dumps({**body, "success": True})
    for whole in (
        text.encode(),
        before.encode("utf-8", "replace") + text.encode() + after,
        text.encode()[:-3],
        after,
    ):
        quick = read_json_object(whole, "success")
        patient = read_json_object(whole, "success", patient=True)
        assert repr(quick) == repr(patient)


@pytest.mark.parametrize("text", ['{"success":' + "[" * 100_000, "{" * 100_000, '"' * 100_000])
def test_depth_is_no_trouble(text: str) -> None:
    assert read_json_object(text.encode(), "success", patient=True) is None


@pytest.mark.parametrize("mark", [b"1,", b"[],", b'{"a":1},'])
def test_too_many_values_are_seen_without_reading_them(mark: bytes) -> None:
    assert has_too_many_values(b'{"success":true,"commands":[' + mark * (MAX_VALUES + 1) + b"1]}")
    assert not has_too_many_values(b"[" + mark * (LARGE // 10))
    assert not has_too_many_values(b'"' + b"x" * (1 << 20) + b'"')


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        ({"success": True, "files": [{"name": f"{n:0100d}.gcode"} for n in range(1000)]}, None),
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
