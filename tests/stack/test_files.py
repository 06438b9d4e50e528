"""Files of the hub on the real stack: the right bytes, completely, or no print."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.faults import FaultServer
from tests.rig.gcode import make_gcode
from tests.rig.klippy import short_folder
from tests.rig.stack import Stack, dangerous_stack

pytestmark = pytest.mark.stack

MIB = 2**20
QUICK = make_gcode(seconds=1, layers=2, hotend=0, bed=0, thumbnail=True).encode()
UNLIMITED = {"security_rate_limit_seconds": 0}


def large(size: int) -> bytes:
    """A print that is over at once, behind `size` bytes of comments."""
    return make_gcode(seconds=1, layers=1, hotend=0, bed=0, head=size).encode()


def arrived(stack: Stack) -> dict[str, int]:
    """The files below the gcodes root, thumbnails left out."""
    found = [p for p in stack.gcodes.rglob("*") if p.is_file() and ".thumbs" not in p.parts]
    return {str(p.relative_to(stack.gcodes)): p.stat().st_size for p in found}


def staged(stack: Stack) -> dict[str, int]:
    folder = stack.moonraker.state_folder / "staging"
    return {p.name: p.stat().st_size for p in folder.iterdir()} if folder.is_dir() else {}


def last_printed(stack: Stack) -> str:
    jobs = stack.moonraker.get("/server/history/list", limit=1)["jobs"]
    return str(jobs[0]["filename"]) if jobs else ""


def asked_for(stack: Stack, endpoint: str) -> int:
    return len(stack.hub.requests(endpoint, stack.token))


def order_print(stack: Stack, name: str, **params: Any) -> Any:
    """Queue a print in the words of the stack's generation; returns its id."""
    if stack.generation == 2 and not params:
        return stack.hub.queue2(stack.token, "basic", f"PRINT_FILE:{name}")
    return stack.hub.queue(stack.token, "print", file=name, **params)


def result_of(stack: Stack, command: Any, timeout: float = 60) -> Any:
    what = f"the result of {command}"
    return stack.moonraker.wait(lambda: stack.hub.result(stack.token, command), timeout, what)


def nothing_arrived(stack: Stack) -> bool:
    """No file, no print since Klipper's card was reset, and the hub keeps its copy."""
    untouched = stack.klippy.query("print_stats")["filename"] == ""
    return untouched and not arrived(stack) and not asked_for(stack, "mark_downloaded")


# It works


def prints_from_the_hub(stack: Stack) -> None:
    name = "piñón 🦄 Ana's #1.gcode"
    stack.hub.add_file(name, QUICK, stack.token)
    result = result_of(stack, order_print(stack, name))
    assert (result.status, result.message) == ("done", f"printing {name}")
    stack.klippy.wait_print("complete", 60)
    file = stack.gcodes / name
    assert file.read_bytes() == QUICK
    metadata = stack.moonraker.get("/server/files/metadata", filename=name)
    assert metadata["size"] == len(QUICK) and metadata["slicer"] == "PrusaSlicer"
    sizes = {(t["width"], t["height"]) for t in metadata["thumbnails"]}
    assert {(16, 16), (64, 64)} <= sizes
    for thumbnail in metadata["thumbnails"]:
        assert (stack.gcodes / thumbnail["relative_path"]).is_file()
    (marked,) = stack.hub.requests("mark_downloaded", stack.token)
    assert marked.time >= file.stat().st_ctime, "the hub heard of it only once it was in place"
    entry = stack.hub.file_entry(name, stack.token)
    assert entry == {"downloaded": True, "exists": stack.generation == 2}
    stack.moonraker.wait(lambda: last_printed(stack) == name, 10, "the print in the history")
    stack.moonraker.wait(lambda: listed(stack) == [name], 10, "the file in the status body")
    assert staged(stack) == {}


def listed(stack: Stack) -> list[str]:
    status = stack.hub.status(stack.token) or {}
    return [file["name"] for file in status.get("files", [])]


def test_generation_1_prints_from_the_hub(stack: Stack) -> None:
    prints_from_the_hub(stack)


def test_generation_2_prints_from_the_hub(make_stack: Callable[..., Stack]) -> None:
    prints_from_the_hub(make_stack(generation=2))


@pytest.mark.versions
def test_every_moonraker_takes_the_file(
    make_stack: Callable[..., Stack], moonraker_python: str
) -> None:
    prints_from_the_hub(make_stack(python=moonraker_python))


def test_files_of_the_user_stay_and_those_of_the_hub_are_kept_current(stack: Stack) -> None:
    stack.put("a.gcode", make_gcode(seconds=1, hotend=0, bed=0).replace("G21", "G20"))
    before = (stack.gcodes / "a.gcode").read_bytes()
    stack.hub.add_file("a.gcode", QUICK, stack.token)
    result = result_of(stack, order_print(stack, "a.gcode"))
    assert result.message == "printing a (2).gcode"
    stack.klippy.wait_print("complete", 60)
    assert (stack.gcodes / "a.gcode").read_bytes() == before
    # The hub deleted its copy: what was fetched before serves again.
    message = result_of(stack, order_print(stack, "a.gcode")).message
    assert message.startswith("printing a (2).gcode (the hub no longer offers it: the copy fetched")
    stack.klippy.wait_print("complete", 60)
    assert asked_for(stack, "download_file") == 1
    # A new version replaces the hub's own file, not the user's.
    newer = QUICK.replace(b"2026-11-22", b"2026-11-23")
    stack.hub.add_file("a.gcode", newer, stack.token)
    assert result_of(stack, order_print(stack, "a.gcode")).message == "printing a (2).gcode"
    stack.klippy.wait_print("complete", 60)
    assert (stack.gcodes / "a (2).gcode").read_bytes() == newer
    assert set(arrived(stack)) == {"a.gcode", "a (2).gcode"}


def test_progress_is_seen_everywhere(stack: Stack) -> None:
    size = 3 * MIB
    stack.hub.add_file("a.gcode", large(size), stack.token)
    stack.hub.fault("download_file", "download", rate=MIB)

    def in_status() -> Any:
        status = stack.hub.status(stack.token) or {}
        download = status.get("download")
        return download if download and download["bytes"] else None

    def in_notification(params: list[Any]) -> bool:
        download = params[0]["download"]
        return bool(download) and download["file"] == "a.gcode" and download["bytes"] > 0

    with stack.moonraker.websocket() as socket:
        command = order_print(stack, "a.gcode")
        download = stack.moonraker.wait(in_status, 20, "progress in the status body")
        assert download["file"] == "a.gcode" and 0 < download["percent"] <= 100
        assert download["speed"] > 0 and download["eta"] >= 0
        socket.wait("notify_tecmedhub_download", in_notification)
        socket.wait("notify_tecmedhub_download", lambda params: params[0]["download"] is None)
    assert result_of(stack, command).status == "done"
    rows = stack.moonraker.get("/server/gcode_store", count=100)["gcode_store"]
    console = "\n".join(row["message"] for row in rows)
    for percent in (25, 50, 75):
        assert f"a.gcode: {percent} %" in console
    stack.moonraker.wait(
        lambda: (stack.hub.status(stack.token) or {}).get("download") is None, 10, "its end"
    )


def test_cancelled_by_the_hub(stack: Stack) -> None:
    stack.hub.add_file("a.gcode", large(3 * MIB), stack.token)
    stack.hub.fault("download_file", "download", rate=MIB // 4)
    command = order_print(stack, "a.gcode")
    stack.moonraker.wait(lambda: staged(stack), 20, "the download")
    assert stack.do("cancel_download", file="a.gcode").status == "done"
    result = result_of(stack, command)
    assert result.status == "failed" and "cancelled" in result.message
    assert staged(stack) == {} and nothing_arrived(stack)


# What the hub and the network may do to it

BODY = large(2 * MIB)

FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "truncated": ("download", {"cut_at": MIB}, "closed the connection"),
    "corrupted": ("download", {"flip_at": len(BODY) - 700}, "damaged"),
    "shorter than the list says": ("download", {"cut_at": MIB, "length": MIB}, "bytes, but should"),
    "longer than announced": (
        "download",
        {"no_length": True, "append": "G1 X1\n" * 9},
        "more than",
    ),
    "json": ("wrong_token", {}, "Token no válido"),
    "json behind a warning": ("answer", {"body": 'Warning: x\n{"success":false}'}, "not give"),
    "html": ("html_200", {}, "web page"),
    "empty": ("empty_200", {}, "0 bytes"),
    "endless": ("download", {"no_length": True, "endless": True}, "more than"),
    "stalled": ("download", {"stall_at": MIB, "stall": 600}, "sent nothing"),
    "silent": ("hang", {}, "sent nothing"),
    "404": ("not_found", {}, "HTTP 404"),
    "500": ("html_500", {}, "HTTP 500"),
    "redirect": (
        "answer",
        {"code": 302, "headers": {"Location": "http://127.0.0.1:9/x?token=1"}},
        "redirects",
    ),
}


@pytest.fixture(scope="module")
def strict() -> Iterator[Stack]:
    """One stack for all the bad downloads, that gives up soon."""
    options = {"timeouts_file_download": 3, "retries_max_attempts": 2, **UNLIMITED}
    with short_folder("s") as folder, Stack(folder, options=options) as stack:
        yield stack


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_downloads_never_reach_the_printer(strict: Stack, fault: str) -> None:
    preset, params, told = FAULTS[fault]
    strict.hub.add_file("a.gcode", BODY, strict.token)
    strict.hub.fault("download_file", preset, **params)
    try:
        result = result_of(strict, order_print(strict, "a.gcode"), 60)
    finally:
        strict.hub.clear_faults()
    assert result.status == "failed" and told in result.message
    assert strict.token not in result.message.replace("Token", "")
    assert strict.klippy.query("print_stats")["state"] == "standby"
    assert nothing_arrived(strict) and staged(strict) == {}


def in_mid_download(stack: Stack) -> tuple[bytes, int]:
    """A hub that can resume, and a third of a file; the whole of it, and the command's number."""
    stack.hub.set(range=True)
    body = large(6 * MIB)
    stack.hub.add_file("a.gcode", body, stack.token)
    stack.hub.fault("download_file", "download", rate=MIB, times=1)
    command = order_print(stack, "a.gcode")
    stack.moonraker.wait(lambda: sum(staged(stack).values()) > MIB, 20, "the download")
    return body, command


def test_hub_restarted_in_mid_download(stack: Stack) -> None:
    body, command = in_mid_download(stack)
    stack.hub.restart()
    assert result_of(stack, command).status == "done"
    assert (stack.gcodes / "a.gcode").read_bytes() == body
    ranges = [
        {k.lower(): v for k, v in request.headers.items()}.get("range")
        for request in stack.hub.requests("download_file", stack.token)
    ]
    assert ranges[0] is None and ranges[-1] is not None, "it went on from where it was"
    assert staged(stack) == {}


def test_moonraker_killed_in_mid_download(stack: Stack) -> None:
    body, command = in_mid_download(stack)
    stack.moonraker.kill()
    assert arrived(stack) == {}
    (kept,) = staged(stack).values()
    stack.moonraker.start()
    stack.moonraker.wait_klippy()
    # Nothing had been sent to Klippy: the command goes on, and the download from where it was.
    assert result_of(stack, command).status == "done"
    assert (stack.gcodes / "a.gcode").read_bytes() == body
    last = stack.hub.requests("download_file", stack.token)[-1]
    headers = {name.lower(): value for name, value in last.headers.items()}
    assert headers["range"] == f"bytes={kept}-"
    assert staged(stack) == {}


def where_files_come(stack: Stack) -> list[Path]:
    """The gcodes, and each folder that a download may be staged in."""
    data = stack.moonraker.data_path
    return [stack.gcodes, data / "tecmedhub" / "staging", data / ".tecmedhub"]


def test_disk_full_before_and_during() -> None:
    with dangerous_stack(options=UNLIMITED) as (stack, hazards):
        stack.hub.add_file("a.gcode", large(4 * MIB), stack.token)
        hazards.disk("full", *where_files_come(stack))
        result = result_of(stack, order_print(stack, "a.gcode"))
        assert result.status == "failed" and "no room" in result.message
        assert asked_for(stack, "download_file") == 0
        assert any("MiB are free" in text for text in stack.moonraker.warnings())
        hazards.clear()
        stack.hub.fault("download_file", "download", rate=MIB)
        command = order_print(stack, "a.gcode")
        stack.moonraker.wait(lambda: sum(staged(stack).values()) > MIB, 20, "the download")
        hazards.disk("full", *where_files_come(stack))
        result = result_of(stack, command)
        assert result.status == "failed" and "no room" in result.message
        assert nothing_arrived(stack) and staged(stack) == {}
        hazards.clear()
        stack.hub.clear_faults()
        assert result_of(stack, order_print(stack, "a.gcode")).status == "done"
        assert set(arrived(stack)) == {"a.gcode"}


# Hostile names and addresses

NAMES = [
    "../x.gcode",
    "../../x.gcode",
    "../gcodes2/x.gcode",
    "../config/moonraker.conf",
    "/etc/cron.d/x.gcode",
    "sub/x.gcode",
    "..\\x.gcode",
    "..",
    ".gcode",
    ".x.gcode",
    "x.gcode\nM112",
    "x\r\nM112.gcode",
    'x" M112 "y.gcode',
    'x".gcode',
    "x\u0000.gcode",
    "x\u2028.gcode",
    "x\u202eedocg.gcode",
    " x.gcode",
    "x.gcode ",
    "x.sh",
    "x",
    "x.gcode.sh",
    "x.conf",
    "y" * 300 + ".gcode",
    "🦄" * 60 + ".gcode",
    "~/x.gcode",
    "x.gcode/",
]


def addresses(stack: Stack, trap: FaultServer) -> list[str]:
    hub, other = f"127.0.0.1:{stack.hub.port}", f"127.0.0.1:{trap.port}"
    moonraker = f"127.0.0.1:{stack.moonraker.port}"
    return [
        trap.url("/x.gcode"),
        f"http://{moonraker}/server/files/config/moonraker.conf",
        f"http://localhost:{stack.hub.port}/x.gcode",
        f"https://{hub}/x.gcode",
        f"http://{hub}@{other}/x.gcode",
        f"http://user:pw@{hub}/x.gcode",
        f"http://{other}#@{hub}/x.gcode",
        f"http://{other}\\@{hub}/x.gcode",
        f"http://{other}?@{hub}/x.gcode",
        f"http://{hub}.evil.example/x.gcode",
        f"//{other}/x.gcode",
        "file:///etc/passwd",
        "file://localhost/etc/hostname",
        "ftp://127.0.0.1/x.gcode",
        "data:text/plain,G28",
        "javascript:0",
        "/x.gcode",
        "http://",
        "http://[::1",
        f"http://{hub}/x y.gcode",
        f"http://{hub}/x\r\nX-Y: z",
        f"http://{hub}:80:80/x",
    ]


def test_hostile_names_and_addresses_reach_nothing(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(options=UNLIMITED)
    with FaultServer() as trap:
        trap.behave("status")
        before = everything(stack.folder / "data")
        for name in NAMES:
            if "\0" not in name and len(name.encode()) < 250:
                stack.hub.add_file(name, QUICK, stack.token)
        orders = [(name, {}) for name in NAMES]
        orders += [("ok.gcode", {"download_url": url}) for url in addresses(stack, trap)]
        assert len(orders) >= 40
        commands = []
        for at in range(0, len(orders), 5):
            with stack.hub.transaction():
                batch = [order_print(stack, name, **more) for name, more in orders[at : at + 5]]
            commands += batch
            for command in batch:
                result_of(stack, command)
        for command, order in zip(commands, orders, strict=True):
            result = result_of(stack, command)
            assert result.status in ("failed", "refused"), (order, result)
            assert result.message.endswith("."), (order, result)
        assert trap.counters.connections == 0, "no other host heard of it"
    assert asked_for(stack, "download_file") == 0
    assert nothing_arrived(stack) and staged(stack) == {}
    assert stack.klippy.state() == "ready"
    new = everything(stack.folder / "data") - before
    assert not [path for path in new if path.endswith(("x.gcode", ".sh", "passwd"))]
    assert not (stack.folder / "x.gcode").exists() and not Path("/etc/cron.d/x.gcode").exists()


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def test_allowed_host_and_sub_folder(make_stack: Callable[..., Stack]) -> None:
    with FaultServer() as other:
        other.behave("answer", "/files", body=QUICK, content_type="application/octet-stream")
        options = {
            "file_management_allowed_hosts": f"127.0.0.1:{other.port}",
            "file_management_folder": "hub/2026",
        }
        stack = make_stack(options={**options, **UNLIMITED})
        digest = hashlib.md5(QUICK).hexdigest()
        command = order_print(stack, "a.gcode", download_url=other.url("/files/a"), md5=digest)
        result = result_of(stack, command)
        assert (result.status, result.message) == ("done", "printing hub/2026/a.gcode")
        assert stack.token not in "".join(str(seen) for seen in other.requests())
        stack.klippy.wait_print("complete", 60)
        command = order_print(stack, "b.gcode", download_url=other.url("/files/b"), md5="0" * 32)
        assert "damaged" in result_of(stack, command).message
        assert set(arrived(stack)) == {"hub/2026/a.gcode"}
        assert stack.moonraker.get("/server/files/metadata", filename="hub/2026/a.gcode")["size"]
        assert asked_for(stack, "mark_downloaded") == 0


def test_clean_up() -> None:
    month = 31 * 86400
    with dangerous_stack() as (stack, hazards):
        stack.hub.add_file("old.gcode", QUICK, stack.token)
        assert result_of(stack, order_print(stack, "old.gcode")).status == "done"
        stack.klippy.wait_print("complete", 60)
        stack.put("mine.gcode", QUICK.decode())
        thumbnails = len(list((stack.gcodes / ".thumbs").iterdir()))

        def planned() -> list[str]:
            files = stack.moonraker.get("/server/tecmedhub/cleanup")["files"]
            return [file["path"] for file in files]

        assert planned() == []
        hazards.clock(month)
        assert planned() == [], "the hub's clock does not bear it out"
        stack.hub.set(clock_offset=month)
        stack.klippy.gcode("SDCARD_RESET_FILE")
        assert planned() == [], "it was fetched for a print less than an hour ago"
        stack.moonraker.restart_in_process()
        stack.moonraker.wait(lambda: planned() == ["old.gcode"], 20, "its age to be believed")
        assert set(arrived(stack)) == {"old.gcode", "mine.gcode"}, "a dry run"

        def cleaned() -> bool:  # as soon as Klippy is met, which might have it open
            stack.moonraker.post("/server/tecmedhub/cleanup", {"confirm": True})
            return set(arrived(stack)) == {"mine.gcode"}

        stack.moonraker.wait(cleaned, 20, "the old file to go")
        stack.moonraker.wait(
            lambda: len(list((stack.gcodes / ".thumbs").iterdir())) == thumbnails // 2,
            10,
            "its thumbnails to go too",
        )


def test_clean_up_of_a_computer_without_a_clock() -> None:
    """It starts with the date of 200 days ago, as a Raspberry Pi does, and fetches a file before
    the network has told it the time: that is no file of 200 days ago.
    """
    away = 200 * 86400
    options = {"file_management_cleanup_scope": "all"}
    with dangerous_stack(options=options) as (stack, hazards):

        def planned() -> list[str]:
            files = stack.moonraker.get("/server/tecmedhub/cleanup")["files"]
            return [file["path"] for file in files]

        stack.put("old.gcode", QUICK.decode())
        hazards.clock(away)
        stack.hub.set(clock_offset=away)
        assert stack.do("set_speed", speed=100).status == "done"  # its reply tells the time
        assert planned() == ["old.gcode"]
        stack.hub.kill()
        stack.moonraker.restart_in_process()
        assert planned() == [], "the hub has not been heard since"
        hazards.clock(0)
        stack.hub.restart()
        stack.hub.add_file("new.gcode", QUICK, stack.token)
        assert result_of(stack, order_print(stack, "new.gcode")).status == "done"
        stack.klippy.wait_print("complete", 60)
        stack.klippy.gcode("SDCARD_RESET_FILE")
        hazards.clock(away)  # the time arrives
        stack.moonraker.restart_in_process()  # nothing is in use any more
        stack.moonraker.wait_klippy()
        assert stack.do("set_speed", speed=100).status == "done"
        stack.moonraker.post("/server/tecmedhub/cleanup", {"confirm": True})
        assert set(arrived(stack)) == {"old.gcode", "new.gcode"}
