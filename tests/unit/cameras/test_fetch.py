"""One picture over HTTP, from cameras that behave and cameras that do not."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from components.cameras.fetch import MAX_PICTURE, Fetcher, Trouble
from tests.unit.cameras.support import OldCameras, cameras


@pytest.fixture
def server() -> Iterator[OldCameras]:
    with cameras() as server:
        yield server


@pytest_asyncio.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher("test")
    yield fetcher
    fetcher.close()


async def test_a_picture_comes_whole(server: OldCameras, fetcher: Fetcher) -> None:
    fetched = await fetcher.fetch(server[0].snapshot_url, 5.0)
    assert fetched.trouble is None and fetched.sentence == ""
    assert len(fetched.data) == server[0].served[-1].size


@pytest.mark.parametrize("mode", ["lengthless", "drip"])
async def test_slow_and_old_servers_are_read_too(
    server: OldCameras, fetcher: Fetcher, mode: str
) -> None:
    params = {"size": 4000, "interval": 0.01} if mode == "drip" else {}
    server[0].behave(mode, **params)
    fetched = await fetcher.fetch(server[0].snapshot_url, 5.0)
    assert fetched.trouble is None
    assert len(fetched.data) == server[0].served[-1].size


async def test_png_is_a_picture(server: OldCameras, fetcher: Fetcher) -> None:
    server[0].behave("png")
    assert (await fetcher.fetch(server[0].snapshot_url, 5.0)).trouble is None


@pytest.mark.parametrize(
    ("mode", "trouble"),
    [
        ("html", Trouble.HTML),
        ("empty", Trouble.NOT_A_PICTURE),
        ("cut", Trouble.CUT_SHORT),
        ("reset", Trouble.UNREACHABLE),
        ("close", Trouble.CUT_SHORT),
        ("status", Trouble.STATUS),
        ("hang", Trouble.TIMED_OUT),
        ("hang_accept", Trouble.TIMED_OUT),
        ("hang_body", Trouble.TIMED_OUT),
        ("garbage", Trouble.CUT_SHORT),
        ("huge", Trouble.TOO_LARGE),
        ("multipart", Trouble.STREAM),
        ("disguised_stream", Trouble.STREAM),
        ("silent_stream", Trouble.STREAM),
        ("endless_chunks", Trouble.NOT_A_PICTURE),
        ("lying_length", Trouble.NOT_A_PICTURE),
        ("endless_headers", Trouble.CUT_SHORT),
    ],
)
async def test_what_is_no_picture_is_named(
    server: OldCameras, fetcher: Fetcher, mode: str, trouble: Trouble
) -> None:
    server[0].behave(mode)
    fetched = await fetcher.fetch(server[0].snapshot_url, 0.5)
    assert fetched.trouble is trouble
    assert fetched.data == b""
    assert fetched.sentence.endswith(".") and "127.0.0.1" in fetched.sentence


@pytest.mark.parametrize("mode", ["big", "endless_picture", "endless_chunked_picture"])
async def test_a_flood_is_cut_off_without_growing(
    server: OldCameras, fetcher: Fetcher, mode: str
) -> None:
    server[0].behave(mode)
    server[0].picture()  # Pillow's own buffers are there before the measurement
    tracemalloc.start()
    try:
        fetched = await fetcher.fetch(server[0].snapshot_url, 10.0)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert fetched.trouble is Trouble.TOO_LARGE
    assert peak < 2 * MAX_PICTURE
    assert now < 1 << 20
    await asyncio.sleep(0)
    assert server.counters.bytes_out < 2 * MAX_PICTURE


async def test_a_stream_costs_only_its_beginning(server: OldCameras, fetcher: Fetcher) -> None:
    server[0].behave("disguised_stream")
    await fetcher.fetch(server[0].snapshot_url, 5.0)
    assert server.counters.bytes_out < 8 << 20  # what the sockets hold, not what a second streams


async def test_redirects_are_followed_but_not_for_ever(
    server: OldCameras, fetcher: Fetcher
) -> None:
    server[0].behave("redirect", to=server[0].snapshot_url + "&again=1", times=2)
    assert (await fetcher.fetch(server[0].snapshot_url, 5.0)).trouble is None
    server[0].behave("redirect", to=server[0].snapshot_url)
    assert (await fetcher.fetch(server[0].snapshot_url, 5.0)).trouble is Trouble.STATUS


async def test_nobody_listening_is_told_from_a_camera_that_hangs(
    server: OldCameras, fetcher: Fetcher
) -> None:
    server.refuse()
    fetched = await fetcher.fetch(server[0].snapshot_url, 5.0)
    assert fetched.trouble is Trouble.UNREACHABLE
    assert "refuses" in fetched.sentence


async def test_a_host_that_does_not_exist_is_named_as_such(fetcher: Fetcher) -> None:
    fetched = await fetcher.fetch("http://camera.invalid/snap.jpg", 10.0)
    assert fetched.trouble is Trouble.DNS


async def test_user_and_password_of_the_address_go_into_a_header(
    server: OldCameras, fetcher: Fetcher
) -> None:
    url = server[0].snapshot_url.replace("http://", "http://teacher:ge%40heim@")
    fetched = await fetcher.fetch(url, 5.0)
    assert fetched.trouble is None
    seen = server[0].requests()[-1]
    assert seen.headers["authorization"] == "Basic dGVhY2hlcjpnZUBoZWlt"
    assert "heim" not in seen.headers["host"]


async def test_a_cancelled_fetch_closes_its_connection(
    server: OldCameras, fetcher: Fetcher
) -> None:
    server[0].behave("hang")
    task = asyncio.ensure_future(fetcher.fetch(server[0].snapshot_url, 60.0))
    await asyncio.to_thread(server[0].wait_for_request)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(1000):
        if server.counters.abandoned:
            break
        await asyncio.sleep(0.005)
    assert server.counters.abandoned == 1
