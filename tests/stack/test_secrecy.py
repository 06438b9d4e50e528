"""After a run with every fault that could carry the token somewhere, it stands nowhere but where
the operator wrote it.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from tests.rig.cameras import CameraServer
from tests.rig.faults import UNKNOWN_HOST
from tests.rig.moonraker import MoonrakerRig
from tests.rig.stack import Stack

pytestmark = pytest.mark.stack

TOKEN = 'TÉC/s3cr3t+"1"&=%k'  # each encoding makes something else of it
PASSWORD = "c4mPa55/w+rd"
OVERRIDE = "tecmedhub.json"
SECRETS = "moonraker.secrets"
ENDPOINTS = ("status", "config", "history", "doctor", "commands", "events", "snapshot", "cleanup")
MOONRAKER = (
    "/server/info",
    "/server/config",
    "/server/gcode_store?count=1000",
    "/server/history/list",
    "/server/job_queue/status",
    "/server/files/list?root=gcodes",
    "/machine/system_info",
    "/machine/proc_stats",
    "/printer/info",
)

# A component beside Moonraker's own: what goes wrong in the same process, with the token in hand.
ACCIDENTS = """
import asyncio
import logging


async def fail(text):
    raise ValueError(text)


class Accidents:
    def __init__(self, config):
        self.server = config.get_server()
        self.server.register_endpoint("/server/accidents", ["POST"], self.happen)

    async def happen(self, web_request):
        tecmedhub = self.server.lookup_component("tecmedhub")
        text = f"no answer to {web_request.get_str('url')}"
        logging.getLogger("tornado.general").warning("Uncaught: %s", {"url": text})
        try:
            await fail(text)
        except ValueError:
            logging.exception("Somebody else's trace")
        self.forgotten = asyncio.ensure_future(fail(f"forgotten {text}"))
        await asyncio.wait([self.forgotten])
        self.forgotten = None  # now asyncio logs it
        tecmedhub.supervisor.spawn("accident", fail(f"in a task: {text}"))

        def once(*args):
            del tecmedhub.commands.recent
            raise ValueError(f"on the next look: {text}")

        tecmedhub.commands.recent = once
        tecmedhub.notices.show("accident", f"A notice about {text}")
        tecmedhub.notices.console(f"A line about {text}")
        return "ok"


def load_component(config):
    return Accidents(config)
"""


def forms(secret: str) -> set[bytes]:
    """Raw, percent-encoded, and as JSON, Python and PHP escape it."""
    percent = {quote(secret, ""), quote(secret), quote_plus(secret), quote(secret, "+")}
    percent |= {re.sub("%..", lambda found: found.group().lower(), text) for text in percent}
    escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    escaped |= {text.replace("/", "\\/") for text in escaped}
    quoted = {repr(secret)[1:-1], repr(secret.encode())[2:-1]}
    texts = {secret, *percent, *escaped, *quoted}
    texts |= {json.dumps(text)[1:-1] for text in texts}  # once more, as text within JSON
    return {text.encode() for text in texts}


NEEDLES = forms(TOKEN) | forms(PASSWORD)


class Search:
    """Where one of the secrets was found."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        self.looked_at = 0

    def look(self, where: str, data: bytes | str) -> None:
        content = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        self.looked_at += 1
        for needle in NEEDLES:
            at = content.find(needle)
            if at >= 0:
                self.hits.append(f"{where}: {content[max(at - 200, 0) : at + 60]!r}")
                return


def reply_with(stack: Stack, endpoint: str, code: int, body: str, **headers: str) -> None:
    stack.hub.fault(endpoint, "answer", code=code, body=body, headers=headers, times=2)


def asked_again(stack: Stack, endpoint: str, count: int = 2) -> None:
    """Until the hub has been asked `count` times more."""
    before = len(stack.hub.requests(endpoint))
    stack.hub.wait_for(lambda: len(stack.hub.requests(endpoint)) >= before + count, 40, endpoint)


def save(stack: Stack, **options: Any) -> None:
    """Write the override anew, as an operator saves it."""
    stack.moonraker.upload(OVERRIDE, json.dumps(options), root="config")


def own_log(stack: Stack) -> str:
    return (stack.moonraker.logs / "tecmedhub.log").read_text(encoding="utf-8")


def hub_faults(stack: Stack) -> None:
    """A hub that repeats the token in whatever it says."""
    hub, url = stack.hub, f"http://127.0.0.1:9/x?token={quote(TOKEN, '')}&t={TOKEN}"
    ascii_url = f"http://127.0.0.1:9/{quote(TOKEN, '')}?token={quote(TOKEN, '')}"
    for endpoint in ("status", "commands"):
        hub.fault(endpoint, "wrong_token", message=f"Token {TOKEN} no válido ({url})", times=2)
        asked_again(stack, endpoint, 3)
        reply_with(stack, endpoint, 302, f"<a href='{url}'>", Location=ascii_url)
        asked_again(stack, endpoint, 3)
        reply_with(stack, endpoint, 200, f"<html><title>{TOKEN}</title>{json.dumps(url)}</html>")
        asked_again(stack, endpoint, 3)
        reply_with(stack, endpoint, 500, f"PHP Fatal error: token={TOKEN} in api.php")
        asked_again(stack, endpoint, 3)
    for preset in ("warning", "truncated", "strings", "empty_200", "not_found", "busy_503"):
        hub.fault("status", preset, times=1)
        hub.fault("commands", preset, times=1)
    asked_again(stack, "status", 7)


def command_faults(stack: Stack) -> list[Any]:
    """Commands that fail, and that carry the token where it does not belong."""
    hub, encoded = stack.hub, quote(TOKEN, "")
    hub.add_file("wrong.gcode", b"G28\n" * 100, TOKEN, md5="0" * 32)
    own = f"{hub.gen1_url}?action=download_file&token={encoded}&file=x.gcode"
    hub.fault("download_file", "not_found", body=f"<html>{TOKEN} {own}</html>", times=1)
    queued = [
        hub.queue(TOKEN, "print", file="x.gcode", download_url=own),
        hub.queue(TOKEN, "print", file="y.gcode", download_url=f"http://a.invalid/?t={encoded}"),
        hub.queue(TOKEN, "print", file="wrong.gcode"),
        hub.queue(TOKEN, "print_local", file=f"{TOKEN}.gcode"),
        hub.queue(TOKEN, f"do {TOKEN}"),
        hub.queue(TOKEN, "heat", hotend_temp=TOKEN, note=f"token={TOKEN}"),
        hub.queue(TOKEN, "macro", macro_name=f"M {TOKEN}"),
        hub.queue(TOKEN, "gcode", gcode=f'BAD"COMMAND {TOKEN}'),
        hub.queue(TOKEN, "snapshot"),
    ]
    for command in queued:
        what = f"the result of {command}"
        stack.moonraker.wait(lambda c=command: hub.result(TOKEN, c), 60, what)
    return queued


def camera_faults(stack: Stack, cameras: CameraServer, given: dict[str, str]) -> None:
    """Addresses with a password, each failing in its own way."""
    logins = f"http://op:{quote(PASSWORD, '')}@"
    port = cameras[0].snapshot_url.split("/")[2]
    tail = f"?action=snapshot&token={quote(TOKEN, '')}&password={quote(PASSWORD, '')}"
    away = f"{logins}127.0.0.1:9/{tail}"
    cameras[1].behave("status", code=401, body=f"{TOKEN} {PASSWORD}".encode())
    cameras[2].behave("redirect", to=away)
    urls = [f"{logins}{port}/cam{number}/{tail}" for number in (1, 2, 3)]
    save(stack, camera={"urls": [*urls, away, f"{logins}cam.invalid/{tail}"]}, **given)
    cameras[1].wait_for_request()
    cameras[2].wait_for_request()


def search_endpoints(stack: Stack, search: Search) -> None:
    moonraker = stack.moonraker
    for name in ENDPOINTS:
        path = f"/server/tecmedhub/{name}"
        search.look(path, moonraker.request("GET", path, timeout=60)[1])
    for name in ("test_connection", "snapshot", "timelapse_now", "cleanup"):
        search.look(f"POST {name}", json.dumps(moonraker.post(f"/server/tecmedhub/{name}")))
    for path in ("/server/tecmedhub/panel", *MOONRAKER):
        search.look(path, moonraker.request("GET", path)[1])
    status, bundle, _ = moonraker.request("GET", "/server/tecmedhub/support", timeout=60)
    assert status == 200
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        assert "tecmedhub.log" in archive.namelist()
        for name in archive.namelist():
            search.look(f"support/{name}", archive.read(name))


def search_files(moonraker: MoonrakerRig, search: Search, written: set[Path]) -> None:
    """Everything below the data path: logs, databases with their journals, statistics, G-code."""
    for path in sorted(moonraker.data_path.rglob("*")):
        search.look("the name of a file", str(path))
        if path.is_file() and path not in written:
            search.look(str(path), path.read_bytes())


@pytest.mark.parametrize("source", [SECRETS, OVERRIDE])
def test_the_token_is_found_nowhere_after_every_fault(
    source: str, make_stack: Callable[..., Stack]
) -> None:
    template = "{secrets.tecmedhub.token}" if source == SECRETS else None
    stack = make_stack(
        token=TOKEN,
        connected=False,
        options={
            "printer_token": template,
            "retries_base_delay": 0.2,
            "retries_exponential_backoff": False,
            "retries_max_attempts": 100,
            "security_rate_limit_seconds": 0,
            "intervals_status_update": 0.5,
            "intervals_command_check": 0.5,
            "logging_level": "DEBUG",
            "logging_verbose": True,
        },
    )
    moonraker = stack.moonraker
    secrets = moonraker.data_path / SECRETS
    given = {"printer_token": TOKEN} if source == OVERRIDE else {}
    if source == SECRETS:
        secrets.write_text(json.dumps({"tecmedhub": {"token": TOKEN}}), encoding="utf-8")
    else:
        save(stack, **given)
    (moonraker.source / "moonraker" / "components" / "accidents.py").write_text(ACCIDENTS)
    moonraker.sections = "[accidents]"
    stack.configure()
    stack.wait_connected()

    # Where the operator wrote it, and the copy of the JSON file that nobody else may read.
    copy = moonraker.state_folder / "last_good_settings.json"
    written = {secrets, stack.override, copy}
    search = Search()
    with moonraker.websocket() as ws, CameraServer(3) as cameras:
        hub_faults(stack)
        commands = command_faults(stack)
        camera_faults(stack, cameras, given)
        moonraker.post(
            "/server/accidents", {"url": f"http://hub/?token={quote(TOKEN, '')}&{TOKEN}"}
        )
        search_endpoints(stack, search)
        save(stack, server_url=f"http://{UNKNOWN_HOST}/{quote(TOKEN, '')}/api.php", **given)
        moonraker.wait(lambda: "cannot be resolved" in own_log(stack), 30, "a failing resolver")
        search_endpoints(stack, search)
        save(stack, **given)
        stack.hub.kill()
        moonraker.wait(lambda: "refuses connections" in own_log(stack), 30, "an outage")
        stack.hub.restart()
        asked_again(stack, "status")
        for method, params in list(ws.messages):
            search.look(method, json.dumps(params, ensure_ascii=False))
        search_files(stack.moonraker, search, written)
        assert search.looked_at > 60
    stack.moonraker.stop()
    search_files(stack.moonraker, search, written)

    # The accidents did happen, and what is looked through is what they wrote.
    theirs = moonraker.log_text()
    for said in (
        "Somebody else's trace",
        "forgotten no answer",
        "The task 'accident' failed",
        "on the next look",
    ):
        assert said in theirs
    assert "********" in theirs and len(commands) > 5
    assert search.hits == []
