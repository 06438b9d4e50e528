"""Which copy is printed: the hub's, the one fetched before, or the printer's own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from components.files.wanted import TransferError
from components.hub.client import Reply
from components.hub.protocol import MAX_FILES_LISTED
from tests.unit.files.bench import Bench, FileServer, Request, Send, gcode

MIB = 2**20
BODY = gcode(MIB)


async def not_found(request: Request, send: Send) -> None:
    body = '{"success": false, "message": "Archivo no encontrado"}'.encode()
    await send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def test_two_files_of_one_original_name_are_never_guessed_between(bench: Bench) -> None:
    bench.hub.offer("1_a.gcode", gcode(MIB, seed=1), original_name="a.gcode")
    await bench.fetch("a.gcode")  # seed 1 is on the printer
    bench.hub.files = []
    bench.hub.offer("2_b.gcode", gcode(MIB, seed=2), original_name="a.gcode")
    bench.hub.offer("3_c.gcode", gcode(MIB, seed=3), original_name="a.gcode")
    with pytest.raises(TransferError, match="Several files of the hub are called"):
        await bench.fetch("a.gcode")
    seed3 = hashlib.md5(gcode(MIB, seed=3)).hexdigest()
    path = await bench.fetch("a.gcode", md5=seed3)
    assert bench.gcodes[path] == gcode(MIB, seed=3)
    assert "file=3_c.gcode" in bench.server.requests[-1].target
    bench.server.body = gcode(MIB, seed=2)
    path = await bench.fetch("2_b.gcode")
    assert bench.gcodes[path] == gcode(MIB, seed=2)


async def test_a_list_that_was_cut_does_not_say_that_a_file_is_gone(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    await bench.fetch("a.gcode")
    bench.hub.files = []
    bench.hub.list_replies = [Reply(True, "", {"files": [{}] * (MAX_FILES_LISTED + 1)})]
    newer = gcode(MIB, seed=9)
    bench.server.body = newer
    path = await bench.fetch("a.gcode")
    assert bench.gcodes[path] == newer, "what the hub gives, not the old copy"


async def test_a_file_that_is_gone_is_taken_from_the_printer_and_the_note_says_so(
    bench: Bench,
) -> None:
    bench.hub.offer("a.gcode", BODY)
    assert (await bench.arrived("a.gcode")).note == ""
    bench.hub.files = []
    arrived = await bench.arrived("a.gcode")
    assert arrived.path == "a.gcode"
    assert arrived.note.startswith("the hub no longer offers it: the copy fetched on 20")


async def test_what_only_the_printer_has_is_printed_as_client_v4_did(bench: Bench) -> None:
    bench.server.behaviours = [not_found]
    (bench.root / "lab").mkdir()
    (bench.root / "lab" / "mía.gcode").write_bytes(b"G28 ; mine\n")
    arrived = await bench.arrived("mía.gcode")
    assert arrived.path == "lab/mía.gcode" and "the printer's own" in arrived.note
    (bench.root / "mía.gcode").write_bytes(b"G28 ; another\n")
    with pytest.raises(TransferError, match="several files of that name"):
        await bench.fetch("mía.gcode")
    with pytest.raises(TransferError, match="Archivo no encontrado"):
        await bench.fetch("nobody.gcode")
    assert bench.hub.marked == []


async def test_a_file_of_the_printer_that_klipper_cannot_read_is_not_printed(bench: Bench) -> None:
    (bench.root / "a.gcode").write_bytes("G28\nM117 Ñandú\n".encode("latin-1"))
    with pytest.raises(TransferError, match="not UTF-8"):
        await bench.fetch("a.gcode")


async def test_second_generations_file_has_its_own_name_on_the_printer(bench: Bench) -> None:
    bench.hub.offer("1795894105_bc350c6b.gcode", BODY, original_name="Piñón 2.GCODE")
    path = await bench.fetch("1795894105_bc350c6b.gcode")
    assert path == "Piñón 2.gcode" and bench.gcodes == {path: BODY}
    assert bench.hub.marked == ["1795894105_bc350c6b.gcode"]
    assert bench.inventory.hub_file(path) == "1795894105_bc350c6b.gcode"
    assert bench.inventory.hub_file("mine.gcode") == ""
    assert await bench.fetch("1795894105_bc350c6b.gcode") == path, "known by its record"
    assert len(bench.server.requests) == 1


async def test_a_name_that_cannot_be_one_here_leaves_the_hubs(bench: Bench) -> None:
    bench.hub.offer("1795894105_bc350c6b.gcode", BODY, original_name="../../etc/x.gcode")
    assert await bench.fetch("1795894105_bc350c6b.gcode") == "1795894105_bc350c6b.gcode"


async def test_where_a_file_comes_from_survives_a_restart_and_its_deletion(
    tmp_path: Path, server: FileServer
) -> None:
    async with Bench(tmp_path, server) as bench:
        bench.hub.offer("17_x.gcode", BODY, original_name="a.gcode")
        await bench.fetch("17_x.gcode")
        (row,) = await bench.downloads.owned()
        await bench.inventory.gone(row, "not printed for 30 days")
    async with Bench(tmp_path, server) as bench:
        assert bench.inventory.hub_file("a.gcode") == "17_x.gcode"


async def test_names_with_accents_apart_are_the_same_names(bench: Bench) -> None:
    apart = "pin\u0303o\u0301n.gcode"
    bench.hub.offer(apart, BODY)
    assert await bench.fetch("piñón.gcode") == "piñón.gcode"
    assert bench.hub.marked == [apart], "the hub knows it by its own name"
    assert await bench.fetch(apart) == "piñón.gcode"
    assert len(bench.server.requests) == 1


@pytest.mark.parametrize(
    ("range_", "length"),
    [
        ("bytes {have}-{short}/{whole}", 0),
        ("bytes {have}-{short}/{short1}", 0),
        ("bytes {have}-{last}/*", 0),
        ("bytes {have}-{last}/{whole}", -5),
        ("bytes {more}-{last}/{whole}", 0),
    ],
)
async def test_a_rest_that_is_not_the_whole_rest_is_no_rest(
    tmp_path: Path, server: FileServer, range_: str, length: int
) -> None:
    """The hub offers neither size nor checksum; only its ETag lets the download go on."""
    whole = len(BODY)
    half = whole // 2

    async def broken_off(request: Request, send: Send) -> None:
        head = f'HTTP/1.1 200 OK\r\nETag: "v1"\r\nContent-Length: {whole}\r\n\r\n'
        await send(head.encode() + BODY[:half])

    async def short(request: Request, send: Send) -> None:
        have = int(request.headers["range"].removeprefix("bytes=").rstrip("-"))
        told = range_.format(
            have=have, short=whole - 1000, short1=whole - 999, last=whole - 1, whole=whole,
            more=have + 1,
        )  # fmt: skip
        body = BODY[have : whole - 999 if "short" in range_ else whole]
        head = f"HTTP/1.1 206 Partial\r\nContent-Range: {told}\r\n"
        await send(f"{head}Content-Length: {len(body) + length}\r\n\r\n".encode() + body)

    async with Bench(tmp_path, server, attempts=4) as bench:
        server.body = BODY
        server.behaviours = [broken_off, short, server.serve]
        path = await bench.fetch("a.gcode", url=f"{server.origin}/a")
        assert bench.gcodes == {path: BODY}
        assert [("range" in r.headers) for r in server.requests] == [False, True, False]


async def serve_once(bench: Bench, body: bytes) -> Any:
    bench.hub.offer("a.gcode", body)
    return await bench.arrived("a.gcode")


async def test_a_missing_last_line_end_is_added_and_told(bench: Bench) -> None:
    body = b"G28\nG1 X1\nEND_PRINT"
    arrived = await serve_once(bench, body)
    assert bench.gcodes == {"a.gcode": body + b"\n"}
    assert "its last line had no line end" in arrived.note
    assert bench.hub.marked == ["a.gcode"]
    again = await bench.arrived("a.gcode")
    assert (again.path, len(bench.server.requests)) == ("a.gcode", 1)
    (row,) = await bench.downloads.owned()
    assert row.md5 == hashlib.md5(body).hexdigest(), "the record is of the hub's bytes"
    (bench.root / "a.gcode").touch()
    assert await bench.inventory.unchanged(row) is not None, "still the hub's"
    bench.hub.offer("a.gcode", BODY)
    assert await bench.fetch("a.gcode") == "a.gcode", "so its next version replaces it"


async def test_a_last_comment_without_a_line_end_is_left_as_it_is(bench: Bench) -> None:
    body = b"G28\nG1 X1\n; made by a slicer"
    assert (await serve_once(bench, body)).note == ""
    assert bench.gcodes == {"a.gcode": body}


async def test_a_byte_order_mark_before_a_command_is_blanked(bench: Bench) -> None:
    body = b"\xef\xbb\xbfG28\nG1 X1\nEND_PRINT"
    arrived = await serve_once(bench, body)
    assert bench.gcodes == {"a.gcode": b"   G28\nG1 X1\nEND_PRINT\n"}
    assert "byte order mark" in arrived.note and "line end" in arrived.note
    (row,) = await bench.downloads.owned()
    (bench.root / "a.gcode").touch()
    assert await bench.inventory.unchanged(row) is not None
    (bench.root / "a.gcode").write_bytes(b"   G28\nG1 X2\nEND_PRINT\n")
    assert await bench.inventory.unchanged(row) is None


async def test_same_bytes_of_the_user_that_klipper_would_not_finish_are_not_printed(
    bench: Bench,
) -> None:
    body = b"G28\nEND_PRINT"
    (bench.root / "a.gcode").write_bytes(body)
    arrived = await serve_once(bench, body)
    assert arrived.path == "a (2).gcode"
    assert bench.gcodes == {"a.gcode": body, "a (2).gcode": body + b"\n"}
