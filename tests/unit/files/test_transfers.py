"""`fetch`: the right bytes, completely, or nothing at all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import random
import sqlite3
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from components.files.hub_files import HubFiles
from components.files.wanted import TransferError
from components.printer.open_file import LoadedFile
from components.runtime import moves
from components.runtime.messages import in_language
from components.store.database import FILE_NAME
from components.store.downloads import SCHEMA, DownloadState
from tests.rig.certificates import make_certificate
from tests.unit.fakes import settle, until
from tests.unit.files.bench import (
    REFUSED,
    TOKEN,
    UNREACHABLE,
    Bench,
    FileServer,
    Request,
    Send,
    gcode,
)

MIB = 2**20
BODY = gcode(3 * MIB)


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def answer(body: bytes, status: str = "200 OK", headers: str = "") -> Any:
    async def behave(request: Request, send: Send) -> None:
        await send(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body
        )

    return behave


def raw(data: bytes) -> Any:
    async def behave(request: Request, send: Send) -> None:
        await send(data)

    return behave


# What should work


async def test_file_of_the_hub_arrives_verified_and_is_then_marked(bench: Bench) -> None:
    bench.hub.offer("piñón 🦄.gcode", BODY)
    at_mark: list[dict[str, bytes]] = []
    bench.hub.on_mark = lambda name: at_mark.append(bench.gcodes)
    assert await bench.fetch("piñón 🦄.gcode") == "piñón 🦄.gcode"
    assert bench.gcodes == {"piñón 🦄.gcode": BODY}
    assert bench.file_manager.uploads == ["piñón 🦄.gcode"], (
        "through Moonraker's file manager, for its metadata"
    )
    assert bench.hub.marked == ["piñón 🦄.gcode"]
    assert at_mark == [{"piñón 🦄.gcode": BODY}], (
        "the hub may delete its copy only once ours is whole"
    )
    assert bench.staged == []
    (row,) = await bench.downloads.owned()
    assert (row.path, row.size, row.md5, row.to_mark) == (
        "piñón 🦄.gcode",
        len(BODY),
        md5(BODY),
        False,
    )


async def test_extension_is_the_only_thing_repaired(bench: Bench) -> None:
    bench.hub.offer("PIEZA.GCODE", BODY)
    assert await bench.fetch("PIEZA.GCODE") == "PIEZA.gcode"
    assert bench.hub.marked == ["PIEZA.GCODE"], "the hub knows it by its own name"
    assert "file=PIEZA.GCODE" in bench.server.requests[0].target


async def test_file_goes_into_the_sub_folder_of_the_settings(
    tmp_path: Path, server: FileServer
) -> None:
    async with Bench(tmp_path, server, file_management={"folder": "tecmedhub"}) as bench:
        bench.hub.offer("a.gcode", BODY)
        assert await bench.fetch("a.gcode") == "tecmedhub/a.gcode"
        assert bench.gcodes == {"tecmedhub/a.gcode": BODY}


async def test_address_of_the_hub_is_fetched_as_it_is_and_not_marked(bench: Bench) -> None:
    bench.server.body = BODY
    url = f"{bench.server.origin}/uploads/3.gcode?x=1"
    assert await bench.fetch("a.gcode", url=url, md5=md5(BODY), size=len(BODY)) == "a.gcode"
    assert bench.server.requests[0].target == "/uploads/3.gcode?x=1"
    assert TOKEN not in str(bench.server.requests[0].headers)
    assert bench.hub.marked == []


async def test_sha256_is_checked_too(bench: Bench) -> None:
    bench.server.body = BODY
    url = f"{bench.server.origin}/a"
    assert (
        await bench.fetch("a.gcode", url=url, sha256=hashlib.sha256(BODY).hexdigest()) == "a.gcode"
    )
    with pytest.raises(TransferError, match="SHA-256"):
        await bench.fetch("b.gcode", url=url, sha256="0" * 64)
    assert list(bench.gcodes) == ["a.gcode"]


async def test_original_name_finds_the_file(bench: Bench) -> None:
    bench.hub.offer("65f1_a.gcode", BODY, original_name="a.gcode")
    assert await bench.fetch("a.gcode") == "a.gcode"
    assert "file=65f1_a.gcode" in bench.server.requests[0].target
    assert bench.hub.marked == ["65f1_a.gcode"]


async def test_chunked_and_unframed_bodies(bench: Bench) -> None:
    async def chunked(request: Request, send: Send) -> None:
        await send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(BODY), 70_001):
            piece = BODY[at : at + 70_001]
            await send(b"%x\r\n" % len(piece) + piece + b"\r\n")
        await send(b"0\r\n\r\n")

    bench.server.behaviours = [chunked]
    assert await bench.fetch("a.gcode", url=f"{bench.server.origin}/a") == "a.gcode"
    bench.server.behaviours = [raw(b"HTTP/1.0 200 OK\r\n\r\n" + BODY)]
    url = f"{bench.server.origin}/b"
    assert await bench.fetch("b.gcode", url=url, size=len(BODY)) == "b.gcode"
    with pytest.raises(TransferError, match="Content-Length"):
        await bench.fetch("c.gcode", url=url)
    assert bench.gcodes == {"a.gcode": BODY, "b.gcode": BODY}


# What is there already


async def test_same_bytes_on_the_printer_are_not_fetched_again(bench: Bench) -> None:
    (bench.root / "a.gcode").write_bytes(BODY)
    bench.hub.offer("a.gcode", BODY)
    assert await bench.fetch("a.gcode") == "a.gcode"
    assert bench.server.requests == []
    assert bench.hub.marked == ["a.gcode"]
    assert await bench.downloads.owned() == [], "it stays the user's own file"


async def test_same_bytes_without_a_checksum_are_fetched_but_not_stored_twice(bench: Bench) -> None:
    (bench.root / "a.gcode").write_bytes(BODY)
    bench.hub.offer("a.gcode", BODY, md5="")
    assert await bench.fetch("a.gcode") == "a.gcode"
    assert bench.file_manager.uploads == []
    assert list(bench.gcodes) == ["a.gcode"] and bench.staged == []


async def test_another_file_of_the_user_is_never_overwritten(bench: Bench) -> None:
    (bench.root / "a.gcode").write_bytes(b"G28 ; mine\n")
    bench.hub.offer("a.gcode", BODY)
    assert await bench.fetch("a.gcode") == "a (2).gcode"
    assert bench.gcodes == {"a.gcode": b"G28 ; mine\n", "a (2).gcode": BODY}
    assert any("a (2).gcode" in line for line in bench.board.console), "the new name is reported"
    assert await bench.fetch("a.gcode") == "a (2).gcode"
    assert len(bench.server.requests) == 1, "known by its record, whatever its name here"


async def test_new_version_replaces_the_hubs_own_file(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    await bench.fetch("a.gcode")
    newer = gcode(MIB, seed=2)
    bench.hub.offer("a.gcode", newer)
    assert await bench.fetch("a.gcode") == "a.gcode"
    assert bench.gcodes == {"a.gcode": newer}
    assert [row.md5 for row in await bench.downloads.owned()] == [md5(newer)]


@pytest.mark.parametrize(
    "use",
    ["printing", "paused", "error", "open file", "queued", "changed since", "link"],
)
async def test_new_version_gets_a_new_name_while_the_old_one_is_in_use(
    bench: Bench, use: str
) -> None:
    bench.hub.offer("a.gcode", BODY)
    await bench.fetch("a.gcode")
    old = BODY
    if use in ("printing", "paused", "error"):
        bench.loaded = LoadedFile("a.gcode", use)
    elif use == "open file":
        bench.loaded = LoadedFile("a.gcode", "standby", str(bench.root / "a.gcode"))
    elif use == "queued":
        bench.job_queue.queued_jobs = {"1": "a.gcode"}
    elif use == "changed since":
        old = BODY + b"G1 X1 ; mine\n"
        (bench.root / "a.gcode").write_bytes(old)
    else:
        (bench.root / "a.gcode").rename(bench.folder / "elsewhere")
        (bench.root / "a.gcode").symlink_to(bench.folder / "elsewhere")
    newer = gcode(MIB, seed=2)
    bench.hub.offer("a.gcode", newer)
    assert await bench.fetch("a.gcode") == "a (2).gcode"
    assert bench.gcodes == {"a.gcode": old, "a (2).gcode": newer}


@pytest.mark.parametrize("state", ["complete", "cancelled", "standby"])
async def test_file_of_a_finished_job_may_be_replaced(bench: Bench, state: str) -> None:
    bench.hub.offer("a.gcode", BODY)
    await bench.fetch("a.gcode")
    bench.loaded = LoadedFile("a.gcode", state)
    bench.hub.offer("a.gcode", gcode(MIB, seed=2))
    assert await bench.fetch("a.gcode") == "a.gcode"


async def test_copy_fetched_before_serves_when_the_hub_has_deleted_its_own(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    await bench.fetch("a.gcode")
    bench.hub.files = []
    bench.server.behaviours = [answer(b'{"success": false, "message": "Archivo no encontrado"}')]
    assert await bench.fetch("a.gcode") == "a.gcode"
    with pytest.raises(TransferError, match="Archivo no encontrado"):
        await bench.fetch("a.gcode", md5="0" * 32)
    (bench.root / "a.gcode").write_bytes(b"G1 ; changed by the user\n")
    with pytest.raises(TransferError, match="Archivo no encontrado"):
        await bench.fetch("a.gcode")


# What the network and the hub may do


async def cut_after(server: FileServer, count: int, request: Request, send: Send) -> None:
    sent = 0

    async def send_some(data: bytes) -> None:
        nonlocal sent
        if data.startswith(b"HTTP/"):
            await send(data)
        else:
            await send(data[:count])
            raise ConnectionError

    await server.serve(request, send_some)


async def test_cut_download_is_resumed_where_it_broke(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    server = bench.server
    server.behaviours = [lambda r, s: cut_after(server, 2 * MIB, r, s), server.serve]
    assert await bench.fetch("a.gcode") == "a.gcode"
    assert bench.gcodes == {"a.gcode": BODY}
    ranges = [request.headers.get("range") for request in server.requests]
    assert ranges[0] is None and len(ranges) == 2
    assert (
        ranges[1] is not None and 0 < int(ranges[1].removeprefix("bytes=").rstrip("-")) <= 2 * MIB
    )
    assert server.requests[1].headers["if-range"] == '"v1"'


async def test_cut_download_begins_anew_without_ranges(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    server = bench.server
    server.ranges = False
    server.behaviours = [lambda r, s: cut_after(server, 2 * MIB, r, s), server.serve]
    assert await bench.fetch("a.gcode") == "a.gcode"
    assert bench.gcodes == {"a.gcode": BODY}


async def test_file_changed_on_the_hub_while_it_was_fetched(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY, md5="", size=None)
    server = bench.server
    newer = gcode(2 * MIB, seed=9)

    async def cut_and_change(request: Request, send: Send) -> None:
        try:
            await cut_after(server, MIB, request, send)
        finally:
            server.body, server.etag = newer, '"v2"'

    server.behaviours = [cut_and_change, server.serve]
    assert await bench.fetch("a.gcode") == "a.gcode"
    assert bench.gcodes == {"a.gcode": newer}, "never the beginning of one and the end of the other"


async def test_truncated_for_good(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    server = bench.server
    server.ranges = False
    server.behaviours = [lambda r, s: cut_after(server, 2 * MIB, r, s)]
    with pytest.raises(TransferError, match=r"closed the connection.*3 attempts"):
        await bench.fetch("a.gcode")
    assert len(server.requests) == 3
    assert bench.nothing_arrived()
    assert [row.state for row in await bench.downloads.recent()] == [DownloadState.FAILED]


async def test_whole_but_shorter_than_the_list_says(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    bench.server.body = BODY[: 2 * MIB]
    with pytest.raises(TransferError, match=f"{2 * MIB} bytes, but should have {len(BODY)}"):
        await bench.fetch("a.gcode")
    assert bench.nothing_arrived()


async def test_corrupted(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    bench.server.body = BODY.replace(b"G1 X7", b"G1 X8", 1)
    with pytest.raises(TransferError, match="damaged"):
        await bench.fetch("a.gcode")
    assert len(bench.server.requests) == 2, "once more, in case it was the network"
    assert bench.nothing_arrived()


async def test_what_went_wrong_can_be_told_in_spanish(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    bench.server.body = BODY.replace(b"G1 X7", b"G1 X8", 1)
    with pytest.raises(TransferError) as raised:
        await bench.fetch("a.gcode")
    told = in_language(str(raised.value), "es")
    assert told.startswith('"a.gcode" llegó dañado: su ')
    assert told.endswith(" Se abandonó después de 2 intentos.")


async def test_corrupted_once_is_mended(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    server = bench.server
    server.behaviours = [answer(BODY.replace(b"G1 X7", b"G1 X8", 1)), server.serve]
    assert await bench.fetch("a.gcode") == "a.gcode"
    assert bench.gcodes == {"a.gcode": BODY}


async def test_checksums_can_be_switched_off(tmp_path: Path, server: FileServer) -> None:
    async with Bench(tmp_path, server, file_management={"verify_checksums": False}) as bench:
        bench.hub.offer("a.gcode", BODY, md5="0" * 32)
        assert await bench.fetch("a.gcode") == "a.gcode"


REFUSAL = json.dumps({"success": False, "message": "Token no válido"}).encode()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (REFUSAL, "Token no válido"),
        (b"<br />\n<b>Warning</b>: filesize() in x.php\n" + REFUSAL, "Token no válido"),
        (b"\nWarning: filesize() in x.php on line 3\n" + REFUSAL, "Token no válido"),
        (b'{"success": false}', "without a reason"),
        (b'[{"a": 1}]', "JSON"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\xef\xbb\xbf <html>", "web page"),
        (b"", "empty"),
        (b"File not found\n", "without a single G-code command"),
        (b"PK\x03\x04" + b"x" * 5000, "ZIP"),
        (b"GCDE\x01\0\0\0" + b"x" * 5000, "binary G-code"),
        (b"\x1f\x8b\x08" + b"x" * 500, "gzip"),
        (b"solid part\nfacet normal 0 0 1\n", "STL"),
        (b"G28\nG1 X1\n" + b"\0" * 10 + b"G1\n", "zero byte at position 10"),
        (b"G28\n; piez\xe1\nG1 X1\n", "UTF-8"),
        (b"G28\n; pi\xc3", "cut within a character"),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
async def test_what_is_no_gcode_is_never_stored(
    bench: Bench, body: bytes, told: str, listed: bool
) -> None:
    if listed:
        bench.hub.offer("a.gcode", body)
    bench.server.behaviours = [answer(body)]
    with pytest.raises(TransferError, match=told):
        await bench.fetch("a.gcode")
    assert bench.nothing_arrived()
    assert len(bench.server.requests) == 1, "asking again would change nothing"


@pytest.mark.parametrize(
    ("behaviour", "told", "requests"),
    [
        (answer(REFUSAL, "404 Not Found"), 'HTTP 404 .*"Token no válido"', 1),
        (answer(b"no", "403 Forbidden"), "HTTP 403", 1),
        (answer(b"<html>", "500 Internal Server Error"), "HTTP 500.*3 attempts", 3),
        (answer(b"", "503 Busy", "Retry-After: x\r\n"), "HTTP 503", 3),
        (
            answer(b"", "302 Found", "Location: http://127.0.0.1:1/steal?token=abc\r\n"),
            "redirects.*http://127.0.0.1:1/steal:",
            1,
        ),
        (answer(BODY, "200 OK", "Content-Encoding: gzip\r\n"), "compressed", 1),
        (answer(BODY, "206 Partial Content", "Content-Range: bytes 5-9/10\r\n"), "another part", 3),
        (raw(b"SSH-2.0-OpenSSH\r\n\r\n"), "not HTTP", 1),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), "not HTTP", 1),
        (
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nG28\n\n"),
            "not HTTP",
            1,
        ),
        (
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nG28 is no length\r\n"),
            "not HTTP",
            1,
        ),
        (
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nG28\n"),
            "closed the connection",
            3,
        ),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), "not HTTP", 1),
        (raw(b""), "closed the connection", 3),
    ],
)
async def test_answers_that_are_no_file(
    bench: Bench, behaviour: Any, told: str, requests: int
) -> None:
    bench.server.behaviours = [behaviour]
    with pytest.raises(TransferError, match=told) as caught:
        await bench.fetch("a.gcode")
    assert TOKEN not in str(caught.value)
    assert "token=abc" not in str(caught.value)
    assert len(bench.server.requests) == requests
    assert bench.nothing_arrived()


async def test_no_server_at_all(bench: Bench) -> None:
    async with FileServer().running() as gone:
        url = f"{gone.origin}/a"
    bench.live.replace(bench.live.now._replace(server_url=url))
    with pytest.raises(TransferError, match="refuses connections"):
        await bench.fetch("a.gcode", url=url)
    assert bench.nothing_arrived()


async def test_hub_back_after_a_while(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    bench.hub.list_replies = [UNREACHABLE, UNREACHABLE]
    assert await bench.fetch("a.gcode") == "a.gcode"


async def test_hub_stays_away(bench: Bench) -> None:
    bench.hub.list_replies = [UNREACHABLE] * 3
    with pytest.raises(TransferError, match="cannot be reached"):
        await bench.fetch("a.gcode")
    assert bench.nothing_arrived()


async def test_list_refused_leaves_the_word_to_the_download(bench: Bench) -> None:
    bench.hub.list_replies = [REFUSED]
    bench.server.behaviours = [answer(REFUSAL)]
    with pytest.raises(TransferError, match="Token no válido"):
        await bench.fetch("a.gcode")


@pytest.mark.parametrize("chunked", [True, False])
async def test_endless_is_cut_at_the_limit(
    tmp_path: Path, server: FileServer, chunked: bool
) -> None:
    async def endless(request: Request, send: Send) -> None:
        await send(
            b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"\r\n")
        )
        piece = b"G1 X0\n" * 10_000
        while True:
            await send(b"%x\r\n" % len(piece) + piece + b"\r\n" if chunked else piece)

    async with Bench(tmp_path, server, file_management={"max_size_mb": 4}) as bench:
        server.behaviours = [endless]
        with pytest.raises(TransferError, match="larger than the 4 MiB"):
            await bench.fetch("a.gcode", size=None)
        assert bench.nothing_arrived()
        await until(lambda: server.open_connections == 0)


async def test_too_large_is_not_even_asked_for(tmp_path: Path, server: FileServer) -> None:
    async with Bench(tmp_path, server, file_management={"max_size_mb": 1}) as bench:
        bench.hub.offer("a.gcode", BODY)
        with pytest.raises(TransferError, match="3 MiB, more than the 1 MiB"):
            await bench.fetch("a.gcode")
        assert server.requests == []
        bench.hub.files = []
        with pytest.raises(TransferError, match="3 MiB, more than the 1 MiB"):
            await bench.fetch("a.gcode")
        assert bench.nothing_arrived()


@pytest.mark.slow
async def test_silence_is_given_up_and_tried_again(tmp_path: Path, server: FileServer) -> None:
    async def silent(request: Request, send: Send) -> None:
        async def half(data: bytes) -> None:
            await send(data[: 2 * MIB])
            if not data.startswith(b"HTTP"):
                await asyncio.sleep(3600)

        await server.serve(request, half)

    async with Bench(tmp_path, server, idle=1.0) as bench:
        bench.hub.offer("a.gcode", BODY)
        server.behaviours = [silent, server.serve]
        assert await bench.fetch("a.gcode") == "a.gcode"
        server.behaviours = [silent]
        bench.hub.offer("b.gcode", gcode(3 * MIB, seed=5), md5="")
        server.etag = ""
        with pytest.raises(TransferError, match=r"sent nothing for 1 s"):
            await bench.fetch("b.gcode")
        assert list(bench.gcodes) == ["a.gcode"] and bench.staged == []


@pytest.mark.slow
async def test_a_slow_line_is_no_fault(tmp_path: Path, server: FileServer) -> None:
    body = gcode(40_000)

    async def slow(request: Request, send: Send) -> None:
        await send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for at in range(0, len(body), 4000):
            await send(body[at : at + 4000])
            await asyncio.sleep(0.2)

    async with Bench(tmp_path, server, idle=1.0) as bench:
        bench.hub.offer("a.gcode", body)
        server.behaviours = [slow]
        assert await bench.fetch("a.gcode") == "a.gcode"


@pytest.mark.slow
async def test_a_drip_is_given_up(tmp_path: Path, server: FileServer) -> None:
    async def drip(request: Request, send: Send) -> None:
        await send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await send(b"G")
            await asyncio.sleep(0.02)

    async with Bench(tmp_path, server, idle=1.0, attempts=1) as bench:
        server.behaviours = [drip]
        with pytest.raises(TransferError, match="never end"):
            await bench.fetch("a.gcode")
        assert bench.nothing_arrived()


@pytest.mark.parametrize("kind", ["self_signed", "wrong_name", "expired"])
async def test_certificates_are_checked(bench: Bench, tmp_path: Path, kind: str) -> None:
    (tmp_path / "tls").mkdir()
    certificate = make_certificate(tmp_path / "tls", kind)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    async with FileServer(body=BODY).running(context) as server:
        url = f"https://127.0.0.1:{server.port}/a"
        bench.live.replace(bench.live.now._replace(server_url=url))
        with pytest.raises(TransferError, match="No secure connection"):
            await bench.fetch("a.gcode", url=url)
        assert server.requests == [] and bench.nothing_arrived()


async def test_tls_with_a_trusted_certificate(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tls").mkdir()
    certificate = make_certificate(tmp_path / "tls", "good")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    async with FileServer(body=BODY).running(context) as server:
        url = f"https://127.0.0.1:{server.port}/a"
        bench.live.replace(bench.live.now._replace(server_url=url))
        assert await bench.fetch("a.gcode", url=url) == "a.gcode"
        assert bench.gcodes == {"a.gcode": BODY}
        server.behaviours = [lambda r, s: cut_after(server, MIB, r, s), server.serve]
        whole = {"md5": md5(BODY), "size": len(BODY)}
        assert await bench.fetch("b.gcode", url=url, **whole) == "b.gcode"
        assert bench.gcodes["b.gcode"] == BODY and "range" in server.requests[-1].headers


# The disk


async def test_no_room_before(tmp_path: Path, server: FileServer) -> None:
    asked: list[int] = []

    async def make_room(size: int) -> int:
        asked.append(size)
        return 0

    room = 200 * MIB + len(BODY) - 1
    async with Bench(tmp_path, server, space=lambda folder: room, make_room=make_room) as bench:
        bench.hub.offer("a.gcode", BODY)
        with pytest.raises(TransferError, match="no room"):
            await bench.fetch("a.gcode")
        assert server.requests == [] and asked == [len(BODY)]
        assert bench.nothing_arrived()


async def test_what_is_too_large_in_any_case_is_given_no_room(
    tmp_path: Path, server: FileServer
) -> None:
    asked: list[int] = []

    async def make_room(size: int) -> int:
        asked.append(size)
        return 0

    async with Bench(tmp_path, server, make_room=make_room) as bench:
        bench.hub.offer("a.gcode", BODY, size=10**13)
        with pytest.raises(TransferError, match="more than"):
            await bench.fetch("a.gcode")
        assert (server.requests, asked) == ([], [])


@pytest.mark.slow
async def test_no_room_any_more(tmp_path: Path, server: FileServer) -> None:
    looks = iter([10**12, 10**12])
    body = gcode(20 * MIB)
    async with Bench(tmp_path, server, space=lambda folder: next(looks, 199 * MIB)) as bench:
        bench.hub.offer("a.gcode", body)
        with pytest.raises(TransferError, match="no room"):
            await bench.fetch("a.gcode")
        assert bench.nothing_arrived() and len(server.requests) == 1


async def test_the_disk_is_read_only(
    tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    async with Bench(tmp_path, server) as bench:
        bench.hub.offer("part.gcode", gcode(5000))
        with monkeypatch.context() as patches:
            patches.setattr(Path, "unlink", refuse)
            with pytest.raises(TransferError, match="Read-only file system"):
                await bench.fetch("part.gcode")
        assert await bench.fetch("part.gcode") == "part.gcode"


@pytest.mark.parametrize(
    ("code", "told"), [(errno.ENOSPC, "no room"), (errno.EIO, "check the disk")]
)
async def test_disk_fails_while_writing(
    tmp_path: Path, server: FileServer, code: int, told: str
) -> None:
    class BadFile:
        def __init__(self, path: Path, mode: str) -> None:
            self.file = open(path, mode, buffering=0)  # noqa: SIM115

        def write(self, data: Any) -> int:
            if self.file.tell() >= MIB:
                raise OSError(code, os.strerror(code))
            return self.file.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    async with Bench(tmp_path, server, opener=BadFile) as bench:
        bench.hub.offer("a.gcode", BODY)
        with pytest.raises(TransferError, match=told):
            await bench.fetch("a.gcode")
        assert bench.nothing_arrived()


async def test_moonraker_lets_nobody_write(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    bench.file_manager.locked = True
    with pytest.raises(TransferError, match="Write access is currently disabled"):
        await bench.fetch("a.gcode")
    assert bench.nothing_arrived()
    bench.file_manager.locked = False
    assert await bench.fetch("a.gcode") == "a.gcode"


async def test_metadata_that_cannot_be_read_cost_no_print(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    bench.file_manager.error = RuntimeError("Failed to parse metadata")
    assert await bench.fetch("a.gcode") == "a.gcode"
    assert bench.gcodes == {"a.gcode": BODY} and bench.hub.marked == ["a.gcode"]


# The queue


def blocked(server: FileServer, gate: asyncio.Event) -> Any:
    async def behave(request: Request, send: Send) -> None:
        async def slow(data: bytes) -> None:
            await send(data[:MIB])
            if not data.startswith(b"HTTP/"):
                await gate.wait()
                await send(data[MIB:])

        await server.serve(request, slow)

    return behave


async def test_one_at_a_time_and_five_in_the_queue(bench: Bench) -> None:
    gate = asyncio.Event()
    bench.server.behaviours = [blocked(bench.server, gate)]
    bench.server.body = BODY
    url = f"{bench.server.origin}/x"
    tasks = [asyncio.ensure_future(bench.fetch(f"{n}.gcode", url=url)) for n in range(6)]
    await until(lambda: (bench.transfers.progress or {}).get("bytes"))
    with pytest.raises(TransferError, match="5 downloads are waiting"):
        await bench.fetch("7.gcode", url=url)
    assert bench.transfers.waiting == [f"{n}.gcode" for n in range(1, 6)]
    assert len(bench.server.requests) == 1
    assert bench.transfers.cancel("3.gcode")
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [r for n, r in enumerate(results) if n != 3] == [f"{n}.gcode" for n in (0, 1, 2, 4, 5)]
    assert isinstance(results[3], TransferError) and "cancelled" in str(results[3])
    assert bench.transfers.progress is None and bench.transfers.waiting == []


async def in_the_middle(bench: Bench) -> tuple[asyncio.Event, asyncio.Future[str]]:
    """A download that goes on when the event is set."""
    gate = asyncio.Event()
    bench.hub.offer("a.gcode", BODY)
    bench.server.behaviours = [blocked(bench.server, gate)]
    task = asyncio.ensure_future(bench.fetch("a.gcode"))
    await until(lambda: (bench.transfers.progress or {}).get("bytes"))
    return gate, task


async def test_cancelled_in_the_middle(bench: Bench) -> None:
    gate, task = await in_the_middle(bench)
    assert not bench.transfers.cancel("b.gcode")
    assert bench.transfers.cancel()
    with pytest.raises(TransferError, match="cancelled"):
        await task
    assert bench.nothing_arrived()
    gate.set()
    await until(lambda: bench.server.open_connections == 0)
    assert await bench.fetch("a.gcode") == "a.gcode", "and nothing of it is left over"


@pytest.mark.parametrize("how", ["cancel_download", "Moonraker's exit", "the caller"])
async def test_cancelled_while_the_card_takes_its_time(
    tmp_path: Path, server: FileServer, how: str
) -> None:
    gate, writes = threading.Event(), threading.Event()

    class SlowFile:
        def __init__(self, path: Path, mode: str) -> None:
            self.file = open(path, mode, buffering=0)  # noqa: SIM115

        def write(self, data: Any) -> int:
            writes.set()
            gate.wait(30)
            return self.file.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    async with Bench(tmp_path, server, opener=SlowFile) as bench:
        bench.hub.offer("a.gcode", BODY)
        task = asyncio.ensure_future(bench.fetch("a.gcode"))
        await until(writes.is_set)
        stopping = asyncio.ensure_future(asyncio.sleep(0))
        if how == "cancel_download":
            assert bench.transfers.cancel()
        elif how == "the caller":
            task.cancel()
        else:
            stopping = asyncio.ensure_future(bench.transfers.stop())
        await settle()
        gate.set()
        told = TransferError if how == "cancel_download" else asyncio.CancelledError
        with pytest.raises(told):
            await task
        await stopping
        state = {row.state for row in await bench.downloads.recent()}
        cancelled = how == "cancel_download"
        assert state == {DownloadState.FAILED if cancelled else DownloadState.RUNNING}


async def test_what_is_vouched_for_is_in_hand_before_the_hub_hears_of_it(bench: Bench) -> None:
    """A hub of generation 1 deletes its own copy as it hears that the printer has one."""
    held = []
    bench.hub.offer("a.gcode", BODY)
    bench.hub.on_mark = lambda name: held.append(bench.inventory.in_hand("a.gcode"))
    await bench.fetch("a.gcode")
    bench.inventory._in_hand.clear()  # an hour has passed
    await bench.fetch("a.gcode")
    assert held == [True, True]


async def test_too_late_to_cancel(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    bench.file_manager.hold = asyncio.Event()
    task = asyncio.ensure_future(bench.fetch("a.gcode"))
    await until(lambda: bench.gcodes)
    assert not bench.transfers.cancel("a.gcode")
    bench.file_manager.hold.set()
    assert await task == "a.gcode"


async def test_caller_that_goes_away_takes_its_download_along(bench: Bench) -> None:
    gate = asyncio.Event()
    bench.hub.offer("a.gcode", BODY)
    bench.server.behaviours = [blocked(bench.server, gate), bench.server.serve]
    task = asyncio.ensure_future(bench.fetch("a.gcode"))
    await until(lambda: (bench.transfers.progress or {}).get("bytes"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.transfers.progress is None
    assert await bench.fetch("a.gcode") == "a.gcode"


# Progress


async def test_progress_is_told_and_ends(bench: Bench) -> None:
    gate, task = await in_the_middle(bench)
    progress = bench.transfers.progress
    assert progress is not None
    assert set(progress) == {"file", "percent", "bytes", "size", "speed", "eta"}
    assert progress["file"] == "a.gcode" and progress["size"] == len(BODY)
    assert 0 < progress["percent"] < 50 and progress["speed"] > 0 and progress["eta"] >= 0
    gate.set()
    await task
    assert bench.told[0]["bytes"] == 0 and bench.told[-1] is None
    percents = [line for line in bench.board.console if "%" in line]
    assert percents and all("a.gcode" in line for line in percents)


# Restarts


async def test_restart_resumes_what_can_be_told_to_be_right(
    tmp_path: Path, server: FileServer
) -> None:
    gate = asyncio.Event()
    async with Bench(tmp_path, server) as bench:
        bench.hub.offer("a.gcode", BODY)
        server.behaviours = [blocked(server, gate)]
        task = asyncio.ensure_future(bench.fetch("a.gcode"))
        await until(lambda: any(p.stat().st_size for p in bench.staging.glob("a.gcode.part")))
        (bench.staging / "foreign.gcode.part").write_bytes(b"left over")
        await bench.transfers.stop()
        await until(task.done)  # what it writes down may take a busy disk its time
        assert bench.gcodes == {}
        listed = bench.hub.files
    async with Bench(tmp_path, server) as bench:
        assert bench.staged == ["a.gcode.part"], "the rest of the folder is emptied"
        assert any("a.gcode" in line and "interrupted" in line for line in bench.board.console)
        assert bench.gcodes == {} and bench.hub.marked == []
        bench.hub.files = listed
        server.behaviours = []
        assert await bench.fetch("a.gcode") == "a.gcode"
        assert server.requests[-1].headers["range"].startswith("bytes=")
        assert bench.gcodes == {"a.gcode": BODY} and bench.staged == []


async def test_restart_forgets_what_cannot_be_told(tmp_path: Path, server: FileServer) -> None:
    gate = asyncio.Event()
    async with Bench(tmp_path, server) as bench:
        bench.hub.offer("a.gcode", BODY, md5="")
        server.behaviours = [blocked(server, gate)]
        task = asyncio.ensure_future(bench.fetch("a.gcode"))
        await until(lambda: bench.staged)
        await bench.transfers.stop()
        await until(task.done)  # what it writes down may take a busy disk its time
    async with Bench(tmp_path, server) as bench:
        assert bench.staged == []
        assert [row.state for row in await bench.downloads.recent()] == [DownloadState.INTERRUPTED]


async def test_what_is_asked_for_while_the_start_tidies_up_is_no_rest_of_the_last_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that stalls at boot: Moonraker, and the hub's first command, do not wait for it."""
    empty, tidying, gate = bench.staging_folder.empty, asyncio.Event(), asyncio.Event()

    async def slow(keep: Any) -> None:
        tidying.set()
        await gate.wait()
        await empty(keep)

    monkeypatch.setattr(bench.staging_folder, "empty", slow)
    start = asyncio.ensure_future(bench.transfers.start())
    await tidying.wait()
    half = asyncio.Event()
    bench.hub.offer("a.gcode", BODY)
    bench.server.behaviours = [blocked(bench.server, half)]
    task = asyncio.ensure_future(bench.fetch("a.gcode"))
    begins = asyncio.ensure_future(until(lambda: bench.staged))
    await asyncio.wait([begins], timeout=0.3)  # it should not
    gate.set()
    await start
    half.set()
    assert await task == "a.gcode" and bench.gcodes == {"a.gcode": BODY}
    await asyncio.wait([begins])


async def test_restart_with_a_damaged_beginning(tmp_path: Path, server: FileServer) -> None:
    """A power cut can leave anything in a file that was never synced."""
    gate = asyncio.Event()
    async with Bench(tmp_path, server) as bench:
        bench.hub.offer("a.gcode", BODY)
        server.behaviours = [blocked(server, gate)]
        task = asyncio.ensure_future(bench.fetch("a.gcode"))
        await until(lambda: any(p.stat().st_size for p in bench.staging.glob("a.gcode.part")))
        await bench.transfers.stop()
        await until(task.done)  # what it writes down may take a busy disk its time
        part = bench.staging / "a.gcode.part"
        part.write_bytes(part.read_bytes().replace(b"X", b"Y"))
        listed = bench.hub.files
    async with Bench(tmp_path, server) as bench:
        bench.hub.files = listed
        server.behaviours = []
        assert await bench.fetch("a.gcode") == "a.gcode"
        assert bench.gcodes == {"a.gcode": BODY}


async def test_killed_between_placing_and_recording(tmp_path: Path, server: FileServer) -> None:
    async with Bench(tmp_path, server) as bench:
        ident = await bench.downloads.begin("a.gcode", "a.gcode", "hub", len(BODY), md5(BODY), "")
        await bench.downloads.placing(ident, "a.gcode", len(BODY), md5(BODY), "")
        lost = await bench.downloads.begin("b.gcode", "b.gcode", "hub", len(BODY), md5(BODY), "")
        await bench.downloads.placing(lost, "b.gcode", len(BODY), md5(BODY), "")
        (bench.root / "a.gcode").write_bytes(BODY)
        (bench.root / "b.gcode").write_bytes(BODY[:-1] + b"X")
    async with Bench(tmp_path, server) as bench:
        (row,) = await bench.downloads.owned()
        assert row.path == "a.gcode" and row.to_mark
        assert (await bench.downloads.recent())[0].state is DownloadState.INTERRUPTED


# Telling the hub


async def test_file_is_kept_when_the_hub_cannot_be_told(bench: Bench) -> None:
    bench.hub.offer("a.gcode", BODY)
    bench.hub.mark_replies = [UNREACHABLE]
    assert await bench.fetch("a.gcode") == "a.gcode"
    assert [row.to_mark for row in await bench.downloads.owned()] == [True]


@pytest.mark.parametrize("other", [False, True])
async def test_hub_is_told_later_if_it_still_has_the_same_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    bench.hub.offer("a.gcode", BODY)
    bench.hub.mark_replies = [UNREACHABLE]
    await bench.fetch("a.gcode")
    bench.hub.marked.clear()
    if other:
        bench.hub.offer("a.gcode", gcode(MIB, seed=7))
    monkeypatch.setattr("components.files.hub_files.MARK_EVERY", 0.01)
    later = HubFiles(
        live=bench.live,
        hub=bench.hub,
        inventory=bench.inventory,
        clock=bench.clock,
        rng=random.Random(1),
    )
    bench.supervisor.keep("later", lambda: later.tell_late(lambda: False))
    while await bench.downloads.to_mark():
        await asyncio.sleep(0.01)
    assert bench.hub.marked == ([] if other else ["a.gcode"]), "generation 1 deletes what is marked"
    assert [row.to_mark for row in await bench.downloads.owned()] == [False]


def change_hub(bench: Bench, url: str = "http://other.example/api.php") -> None:
    bench.live.replace(bench.live.now._replace(server_url=url))


async def test_a_file_that_the_hub_of_before_named_is_not_fetched_from_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.hub.offer("a.gcode", BODY)  # the next one's, of that name
    ask = bench.hub.list_files

    async def list_files() -> Any:
        change_hub(bench)
        return await ask()

    monkeypatch.setattr(bench.hub, "list_files", list_files)
    with pytest.raises(TransferError, match="address or the token was changed"):
        await bench.fetch("a.gcode")
    assert bench.server.requests == [] and bench.nothing_arrived()


@pytest.mark.parametrize("there", [False, True])
async def test_only_the_hub_that_listed_a_file_hears_that_it_is_here(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    bench.hub.offer("a.gcode", BODY)
    if there:
        (bench.root / "a.gcode").write_bytes(BODY)
    first = bench.live.now.server_url
    look = bench.inventory.already_here

    async def already_here(*args: Any) -> Any:
        change_hub(bench)
        return await look(*args)

    monkeypatch.setattr(bench.inventory, "already_here", already_here)
    assert await bench.fetch("a.gcode") == "a.gcode"
    assert bench.hub.marked == [], "the next hub may have the only copy of other bytes"
    if there:
        return
    monkeypatch.setattr("components.files.hub_files.MARK_EVERY", 0.01)
    looks: list[int] = []
    to_mark = bench.inventory.to_mark

    async def counted() -> Any:
        looks.append(1)
        return await to_mark()

    monkeypatch.setattr(bench.inventory, "to_mark", counted)
    bench.supervisor.keep("later", lambda: bench.hub_files.tell_late(lambda: False))
    await until(lambda: len(looks) > 3)
    assert bench.hub.marked == []
    assert [row.to_mark for row in await bench.downloads.owned()] == [True]
    change_hub(bench, first)
    await until(lambda: bench.hub.marked)
    assert bench.hub.marked == ["a.gcode"]


async def test_records_of_an_older_version_go_on(
    tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not say of which hub they are: a file of that name, size and checksum is it."""
    (tmp_path / "tecmedhub").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "tecmedhub" / FILE_NAME)) as file:
        file.executescript(SCHEMA[: SCHEMA.index("ALTER TABLE")])
        file.execute(
            "INSERT INTO downloads (name, hub_name, source, command_id, state, path, size, md5,"
            " to_mark, started) VALUES ('a.gcode', 'a.gcode', 'hub', '', 'done', 'a.gcode', ?, ?,"
            " 1, 1.0)",
            (len(BODY), md5(BODY)),
        )
        file.commit()
    async with Bench(tmp_path, server) as bench:
        bench.hub.offer("a.gcode", BODY)
        monkeypatch.setattr("components.files.hub_files.MARK_EVERY", 0.01)
        bench.supervisor.keep("later", lambda: bench.hub_files.tell_late(lambda: False))
        await until(lambda: bench.hub.marked)
    async with Bench(tmp_path, server) as bench:  # the column is made once
        assert [row.path for row in await bench.downloads.owned()] == ["a.gcode"]


async def test_works_without_a_usable_database(tmp_path: Path, server: FileServer) -> None:
    async with Bench(tmp_path, server) as bench:
        await bench.database.close()
        bench.hub.offer("a.gcode", BODY)
        assert await bench.fetch("a.gcode") == "a.gcode"
        bench.hub.offer("a.gcode", gcode(MIB, seed=3))
        assert await bench.fetch("a.gcode") == "a (2).gcode", (
            "what is not on record is the user's own"
        )


async def test_nothing_is_told_before_the_disk_has_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File to the platter, then its new name, then the folder to the platter, then the hub."""
    steps: list[str] = []
    fsync, place = os.fsync, moves.place

    def recorded_fsync(descriptor: int) -> None:
        steps.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def recorded_place(source: Path, target: Path) -> None:
        steps.append("place")
        place(source, target)

    monkeypatch.setattr("os.fsync", recorded_fsync)
    monkeypatch.setattr(moves, "place", recorded_place)
    bench.hub.on_mark = lambda name: steps.append("mark")
    bench.hub.offer("a.gcode", BODY)
    await bench.fetch("a.gcode")
    assert steps == ["sync a.gcode.part", "place", "sync gcodes", "mark"]


@pytest.mark.slow
async def test_a_slow_disk_slows_the_server_down(tmp_path: Path, server: FileServer) -> None:
    """What comes faster than it can be written waits at the server, not in our memory."""
    gate = threading.Event()
    body = gcode(40 * MIB)
    sent = 0

    class SlowFile:
        def __init__(self, path: Path, mode: str) -> None:
            self.file = open(path, mode, buffering=0)  # noqa: SIM115

        def write(self, data: Any) -> int:
            assert gate.wait(30)
            return self.file.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    async def counted(request: Request, send: Send) -> None:
        nonlocal sent
        await send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for at in range(0, len(body), 65536):
            await send(body[at : at + 65536])
            sent = at

    async with Bench(tmp_path, server, opener=SlowFile) as bench:
        bench.hub.offer("a.gcode", body)
        server.behaviours = [counted]
        task = asyncio.ensure_future(bench.fetch("a.gcode"))
        try:
            before = -1
            while sent == 0 or sent != before:  # until nothing moves any more
                before = sent
                await asyncio.sleep(0.3)
            assert sent < 28 * MIB, "two blocks of ours and the sockets' own buffers"
        finally:
            gate.set()
        assert await task == "a.gcode"
        assert bench.gcodes == {"a.gcode": body}
