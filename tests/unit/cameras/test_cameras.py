"""The cameras as a whole: real HTTP to cameras that can misbehave, a stand-in for the hub."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Iterator
from itertools import pairwise

import pytest

from components.cameras.publish import INLINE_FIRST, INLINE_TOTAL
from components.cameras.reply import Trouble
from components.hub.client import Reply
from components.hub.outcomes import Exchange, Failure
from components.hub.protocol import Generation
from components.printer.snapshot import KlippyState
from components.runtime.messages import in_language
from tests.rig import scenes
from tests.unit.cameras.support import FakeHub, OldCameras, Room, cameras, jpeg, opened, webcam


@pytest.fixture
def server() -> Iterator[OldCameras]:
    with cameras(2, size=(1280, 720)) as server:
        for camera in server:
            camera.changing = False
            camera.noise = True  # no two pictures are the same bytes, as in life
        yield server


def reasons(room: Room, name: str) -> list[str]:
    return [shot.reason.value for shot in room.news if shot.camera == name]


async def test_both_cameras_reach_the_hub_and_the_status(server: OldCameras) -> None:
    async with Room(urls=tuple(camera.snapshot_url for camera in server)) as room:
        await room.clock.until(lambda: len(room.news) == 2)
        fields = room.cameras.image_fields()
        assert [entry["name"] for entry in fields["images"]] == ["camera 2"]
        for url in (fields["image"], fields["images"][0]["url"]):
            picture = room.hub.shows(url)
            assert opened(picture).size == (1280, 720)
            assert len(picture) <= 100_000
        assert room.hub.shows(fields["image"]) != room.hub.shows(fields["images"][0]["url"])
        assert "image_age" not in fields


@pytest.mark.parametrize(
    ("resolution", "width", "limit"), [("low", 640, 40_000), ("high", 1280, 100_000)]
)
async def test_the_resolution_is_kept_to(resolution: str, width: int, limit: int) -> None:
    with cameras(1, size=(1920, 1080)) as server:
        server[0].noise = True
        async with Room(urls=(server[0].snapshot_url,), resolution=resolution) as room:
            await room.clock.until(lambda: room.hub.uploads)
            (_, picture), *_ = room.hub.uploads
            assert opened(picture).width <= width
            assert len(picture) <= limit


async def test_generation_two_gets_data_uris_within_bounds(server: OldCameras) -> None:
    urls = tuple(camera.snapshot_url for camera in server)
    async with Room(urls=urls, hub=FakeHub(Generation.TWO)) as room:
        await room.clock.until(lambda: len(room.news) == 2)
        fields = room.cameras.image_fields()
        uris = [fields["image"], fields["images"][0]["url"]]
        for uri in uris:
            kind, _, text = uri.partition(",")
            assert kind == "data:image/jpeg;base64"
            assert opened(base64.b64decode(text)).format == "JPEG"
        assert len(base64.b64decode(uris[0].partition(",")[2])) <= INLINE_FIRST
        assert sum(map(len, uris)) <= INLINE_TOTAL
        assert room.hub.uploads == []
        assert room.cameras.image_fields()["image"] == uris[0]  # it goes along every time


async def test_on_a_narrow_line_pictures_are_smaller_and_rarer(server: OldCameras) -> None:
    hub = FakeHub()
    hub.line.seen(100_000, Exchange(Failure.TIMED_OUT, "", seconds=10.0))  # 5 kB a second
    urls = tuple(camera.snapshot_url for camera in server)
    async with Room(urls=urls, hub=hub) as room:
        await room.clock.until(lambda: hub.uploads)
        assert max(len(picture) for _, picture in hub.uploads) <= 10_000


async def test_a_picture_too_large_for_the_line_is_taken_anew_for_generation_two(
    server: OldCameras,
) -> None:
    hub = FakeHub(Generation.TWO)
    async with Room(urls=(server[0].snapshot_url,), hub=hub) as room:
        await room.clock.until(lambda: room.news)

        def size() -> int:
            return len(base64.b64decode(room.cameras.image_fields()["image"].partition(",")[2]))

        before = size()
        hub.line.seen(100_000, Exchange(Failure.TIMED_OUT, "", seconds=30.0))
        assert before > 1.5 * hub.line.picture_limit(before)
        await room.clock.until(lambda: size() < before)
        assert size() <= hub.line.picture_limit(before)


async def test_generation_two_with_an_upload_script_gets_addresses(server: OldCameras) -> None:
    hub = FakeHub(Generation.TWO)
    hub.image_url = "http://ana:secret@hub/printer-api/upload_image.php"
    async with Room(urls=tuple(camera.snapshot_url for camera in server), hub=hub) as room:
        await room.clock.until(lambda: len(room.news) == 2)
        fields = room.cameras.image_fields()
        assert fields["image"] == "http://hub/printer-api/printer_images/T_image.jpg?t=1"
        assert fields["images"][0]["url"].startswith("http://hub/printer-api/printer_images/")
        assert max(len(picture) for _, picture in hub.uploads) <= INLINE_FIRST


async def test_an_address_is_kept_as_it_is_for_a_page_beside_the_script(
    server: OldCameras,
) -> None:
    """Whoever looks at the page may know the server by another name than the printer does."""
    for script, image in (
        ("http://127.0.0.1:9/upload_image.php", "printer_images/T_image.jpg?t=1"),
        ("http://cdn/up/upload.php", "http://cdn/up/printer_images/T_image.jpg?t=1"),
    ):
        hub = FakeHub()
        hub.image_url = script
        async with Room(urls=(server[0].snapshot_url,), hub=hub) as room:
            await room.clock.until(lambda room=room: room.news)
            assert room.cameras.image_fields()["image"] == image


async def test_a_picture_that_another_hub_took_is_not_told_to_this_one(
    server: OldCameras,
) -> None:
    hub = FakeHub()
    async with Room(urls=(server[0].snapshot_url,), hub=hub) as room:
        upload = hub.upload_image

        async def moved(jpeg: bytes, name: str = "image") -> Reply:
            hub.upload_image = upload  # type: ignore[method-assign]
            room.live.replace(room.live.now._replace(server_url="http://other/api.php"))
            return Reply(True, "", {"image_url": "printer_images/old.jpg"})

        hub.upload_image = moved  # type: ignore[method-assign]
        await room.clock.until(lambda: room.news)
        assert "old.jpg" not in room.cameras.image_fields()["image"]


async def test_a_hub_with_one_place_shows_the_first_camera(server: OldCameras) -> None:
    hub = FakeHub(places=False)
    async with Room(urls=tuple(camera.snapshot_url for camera in server), hub=hub) as room:
        await room.clock.until(lambda: len(hub.uploads) == 3)  # first, second, first again
        fields = room.cameras.image_fields()
        shot = room.cameras.picture("camera 1")
        assert shot is not None and hub.shows(fields["image"]) == shot.jpeg
        assert "images" not in fields
        for _ in range(3):
            await room.cameras.snapshot()
        await room.clock.until(lambda: len(hub.uploads) >= 4)
        assert {name for name, _ in hub.uploads[2:]} == {"image"}
        assert {shot.camera for shot in room.news} == {"camera 1"}


async def test_a_picture_asked_for_while_the_first_camera_is_set_up(server: OldCameras) -> None:
    async with Room() as room:
        room.webcams = [webcam("Bed", server[0].snapshot_url)]
        room.cameras.webcams_changed()
        assert "try again" in await room.cameras.snapshot()
        await room.clock.until(lambda: room.cameras.names)
        assert await room.cameras.snapshot() == "Pictures taken: Bed."


async def test_webcams_of_the_web_interface_are_followed(server: OldCameras) -> None:
    first, second = server
    async with Room(webcams=[webcam("Bed", first.snapshot_url)]) as room:
        await room.clock.until(room.cameras.image_fields)
        room.webcams = [webcam("Bed", first.snapshot_url), webcam("Top", second.snapshot_url)]
        room.cameras.webcams_changed({"webcams": []})
        await room.clock.until(lambda: "images" in room.cameras.image_fields())
        assert room.cameras.names == ("Bed", "Top")
        assert len(first.requests()) == 1  # a camera that stays is left alone
        room.webcams = []
        room.cameras.webcams_changed()
        assert room.cameras.image_fields() == {}


async def test_flips_and_rotation_of_a_webcam_are_in_the_picture(server: OldCameras) -> None:
    async with Room(webcams=[webcam("Bed", server[0].snapshot_url, rotation=180)]) as room:
        await room.clock.until(lambda: room.hub.uploads)
        picture = opened(room.hub.uploads[0][1])
        red, green, blue = picture.getpixel((picture.width - 5, picture.height - 5))
        assert red > 150 > green + blue / 2  # the red square of the top left corner


@pytest.mark.slow
async def test_an_idle_camera_is_looked_at_but_only_sent_when_something_is_new(
    server: OldCameras,
) -> None:
    camera = server[0]
    async with Room(urls=(camera.snapshot_url,), capture_interval=30.0) as room:
        await room.clock.until(lambda: room.hub.uploads)
        while len(camera.requests()) < 10:
            before = len(camera.requests())
            await room.clock.until(lambda n=before: len(camera.requests()) > n, step=1.0)
        assert reasons(room, "camera 1") == ["first"]
        camera.progress = 0.9  # somebody has put a part on the bed
        await room.clock.until(lambda: len(room.news) == 2, step=10.0)
        await room.clock.until(lambda: len(room.news) == 3, step=10.0)
        assert reasons(room, "camera 1") == ["first", "changed", "keepalive"]


async def test_whoever_looks_at_the_panel_sees_now_and_the_hub_hears_nothing(
    server: OldCameras,
) -> None:
    async with Room(urls=(server[0].snapshot_url,)) as room:
        await room.clock.until(lambda: room.hub.uploads)
        sent = len(room.hub.uploads)
        shown = room.cameras.picture("camera 1")
        assert shown is not None
        assert await room.cameras.view("camera 1", 1e6) == shown  # young enough
        viewed = await room.cameras.view("camera 1", 0.0)
        assert viewed is not None
        assert viewed.jpeg != shown.jpeg
        assert room.cameras.picture("camera 1") == shown
        assert len(room.hub.uploads) == sent
        assert len(room.news) == 1


async def test_a_working_printer_is_sent_at_every_look(server: OldCameras) -> None:
    camera = server[0]
    async with Room(urls=(camera.snapshot_url,)) as room:
        await room.clock.until(lambda: room.hub.uploads)
        room.printer.heat(30.0, 210.0)
        room.clock.advance(100.0)  # no longer just changed
        await room.clock.until(lambda: len(room.news) == 4, step=10.0)
        assert reasons(room, "camera 1")[1:] == ["interval"] * 3
        room.printer.heat(30.0, 0.0)
        room.clock.advance(100.0)
        seen = len(camera.requests())
        await room.clock.until(lambda: len(camera.requests()) >= seen + 3, step=10.0)
        assert len(room.news) <= 5


async def test_events_have_pictures_of_their_own_without_waiting(server: OldCameras) -> None:
    async with Room(urls=tuple(camera.snapshot_url for camera in server)) as room:
        await room.clock.until(lambda: len(room.news) == 2)
        steps = [
            ("started", {"state": "printing", "filename": "a.gcode"}),
            ("paused", {"state": "paused"}),
            ("failed", {"state": "cancelled"}),
            ("started", {"state": "printing"}),
            ("finished", {"state": "complete"}),
        ]
        for number, (reason, change) in enumerate(steps, 2):
            room.printer.set(**change)
            await room.clock.until(lambda n=number: len(room.news) == 2 * n)
            assert {reasons(room, c)[-1] for c in room.cameras.names} == {reason}
        room.printer.set(state="printing")
        await room.clock.until(lambda: len(room.news) == 14)
        room.printer.set(klippy=KlippyState.SHUTDOWN)
        await room.clock.until(lambda: reasons(room, "camera 1")[-1] == "failed")


async def test_the_finished_part_is_shown_before_the_head_parks(server: OldCameras) -> None:
    camera = server[0]

    async def looked_again() -> None:
        seen = len(camera.served)
        await room.clock.until(lambda: len(camera.served) >= seen + 2, step=1.0)

    async with Room(urls=(camera.snapshot_url,), capture_interval=3600.0) as room:
        await room.clock.until(lambda: room.hub.uploads)
        room.printer.set(state="printing", filename="a.gcode")
        await room.clock.until(lambda: len(room.news) == 2)
        camera.progress = 0.2  # the head over the part
        room.printer.quietly(progress=0.99, filament_used=1000.0, print_duration=3600.0)
        await looked_again()
        room.printer.quietly(filament_used=1004.0)  # the last line is laid
        camera.progress = 0.9  # END_PRINT has moved the head away
        await room.clock.until(lambda: len(camera.served) >= 5, step=1.0)
        room.printer.set(state="complete", progress=1.0, filament_used=999.0)  # it has retracted
        await room.clock.until(lambda: "finished" in reasons(room, "camera 1"))
        shot = next(shot for shot in room.news if shot.reason.value == "finished")
        over_the_part = opened(scenes.draw((1280, 720), "CAM1", 1, 0.2)).getpixel((640, 500))
        found = opened(shot.jpeg).getpixel((640, 500))
        assert sum(abs(a - b) for a, b in zip(found, over_the_part, strict=True)) < 60


@pytest.mark.slow
async def test_a_hanging_camera_delays_nobody_and_is_reported_once(
    server: OldCameras, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    good, bad = server
    bad.behave("hang")
    async with Room(urls=(bad.snapshot_url, good.snapshot_url), timeout=1.5) as room:
        await room.clock.until(room.cameras.image_fields)
        # The one that works stands in for the first, which has no picture at all.
        shot = room.cameras.picture()
        assert shot is not None and shot.camera == "camera 2"
        assert room.hub.shows(room.cameras.image_fields()["image"]) == shot.jpeg
        attempts = len(bad.requests())
        await room.clock.until(lambda: len(bad.requests()) >= attempts + 3, step=2.0)
        await room.clock.until(lambda: room.board.warnings, step=2.0)
        (warning,) = room.board.warnings.values()
        assert "camera 1" in warning and "hangs" in warning
        assert [r for r in caplog.messages if "hangs" in r] == [warning.replace("TecMedHub: ", "")]
        assert "camera 1" in await room.cameras.snapshot()
        bad.behave("ok")
        await room.clock.until(lambda: not room.board.warnings, step=30.0)
        await room.clock.until(lambda: "images" in room.cameras.image_fields(), step=30.0)


async def test_a_camera_that_fails_keeps_its_last_picture_with_its_age(server: OldCameras) -> None:
    first, second = server
    async with Room(urls=(first.snapshot_url, second.snapshot_url)) as room:
        await room.clock.until(lambda: len(room.news) == 2)
        first.behave("status", code=503)
        await room.clock.until(lambda: "image_age" in room.cameras.image_fields(), step=5.0)
        room.clock.advance(100.0)
        fields = room.cameras.image_fields()
        assert fields["image_age"] >= 100 and fields["image_state"] == "failing"
        shot = room.cameras.picture("camera 1")
        assert shot is not None and room.hub.shows(fields["image"]) == shot.jpeg
        # After ten minutes another camera is the printer's picture, and the old one is still there.
        room.clock.advance(600.0)
        fields = room.cameras.image_fields()
        assert "image_age" not in fields
        (other,) = fields["images"]
        assert other["name"] == "camera 1" and other["age"] >= 700
        first.behave("ok")
        await room.clock.until(lambda: room.state("camera 1") == "ok", step=30.0)
        fields = room.cameras.image_fields()
        assert "image_age" not in fields and "age" not in fields["images"][0]


@pytest.mark.slow
async def test_attempts_at_a_dead_camera_become_rare(server: OldCameras) -> None:
    camera = server[0]
    camera.behave("status", code=404)
    async with Room(urls=(camera.snapshot_url,), capture_interval=5.0) as room:
        await room.clock.until(camera.requests)
        started = room.clock.mono
        await room.clock.until(lambda: room.clock.mono > started + 3600, step=5.0, within=60)
        assert len(camera.requests()) < 30


@pytest.mark.parametrize(
    ("mode", "word"),
    [
        ("html", "web page"),
        ("truncated", "damaged"),
        ("big", "10 MiB"),
        ("multipart", "stream"),
        ("disguised_stream", "stream"),
        ("endless_picture", "10 MiB"),
        ("bomb_jpeg", "megapixels"),
        ("bomb_png", "megapixels"),
        ("empty", "nothing"),
    ],
)
async def test_bad_pictures_are_refused_with_one_log_line(
    server: OldCameras, caplog: pytest.LogCaptureFixture, mode: str, word: str
) -> None:
    caplog.set_level(logging.INFO)
    camera = server[0]
    camera.behave(mode, **({"pixels": (6000, 6000)} if mode == "bomb_png" else {}))
    async with Room(urls=(camera.snapshot_url,)) as room:
        await room.clock.until(lambda: room.board.warnings, step=2.0, within=60)
        seen = len(camera.requests())
        await room.clock.until(lambda: len(camera.requests()) >= seen + 2, step=5.0, within=60)
        (warning,) = room.board.warnings.values()
        assert word in warning and "camera 1" in warning
        assert room.cameras.image_fields() == {} and room.hub.uploads == []
        assert [line for line in caplog.messages if "amera" in line] == [
            warning.replace("TecMedHub: ", "")
        ]
        camera.behave("ok")
        await room.clock.until(lambda: room.hub.uploads, step=30.0)
        assert room.board.warnings == {}


async def test_a_png_is_converted(server: OldCameras) -> None:
    server[0].behave("png")
    async with Room(urls=(server[0].snapshot_url,)) as room:
        await room.clock.until(lambda: room.hub.uploads)
        assert opened(room.hub.uploads[0][1]).format == "JPEG"
        assert room.board.warnings == {}


async def test_a_stream_given_by_mistake_is_replaced_by_its_snapshot(server: OldCameras) -> None:
    async with Room(urls=(server[0].stream_url,)) as room:
        await room.clock.until(lambda: room.hub.uploads)
        assert all("stream" not in seen.target for seen in server[0].requests())


async def test_a_stream_that_only_shows_when_asked_for_is_replaced_too(
    server: OldCameras, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.behave("multipart", "/cam1/live", times=1)
    async with Room(urls=(server.url("/cam1/live/"),)) as room:
        await room.clock.until(lambda: room.hub.uploads)
        (line,) = [line for line in caplog.messages if "camera 1" in line]
        assert "is a stream" in line and "action=snapshot" in line
        seen = len(server[0].requests())
        room.clock.advance(60.0)
        await room.clock.until(lambda: len(server[0].requests()) > seen)
        assert "action=snapshot" in server[0].requests()[-1].target  # and stays replaced


@pytest.mark.parametrize("mode", ["black", "frozen"])
async def test_black_and_frozen_pictures_are_named(server: OldCameras, mode: str) -> None:
    camera = server[0]
    camera.behave(mode)
    async with Room(urls=(camera.snapshot_url,)) as room:
        room.printer.set(state="printing", filename="a.gcode")
        await room.clock.until(lambda: room.state("camera 1") == mode, step=5.0)
        await room.clock.until(
            lambda: any(mode in text for text in room.board.warnings.values()), step=5.0
        )
        await room.clock.until(
            lambda: room.cameras.image_fields().get("image_state") == mode, step=5.0
        )
        camera.behave("ok")
        await room.clock.until(lambda: not room.board.warnings, step=5.0)
        assert room.state("camera 1") == "ok"


async def test_darkness_at_night_is_no_warning(server: OldCameras) -> None:
    server[0].behave("black")
    async with Room(urls=(server[0].snapshot_url,)) as room:
        await room.clock.until(lambda: room.state("camera 1") == "black")
        assert room.board.warnings == {}
        (notice,) = (n for n in room.board.notices.standing if "black" in n.text)
        assert in_language(notice.text, "es") == (
            "La cámara 'camera 1' envía imágenes negras: mira si el lente está tapado o el lugar a "
            "oscuras."
        )


async def test_a_hub_that_is_back_gets_its_picture_at_once(server: OldCameras) -> None:
    hub = FakeHub()
    hub.failing = "The hub is away."
    async with Room(urls=(server[0].snapshot_url,), hub=hub) as room:
        await room.clock.until(lambda: room.board.notices.standing)
        hub.failing = ""
        room.cameras.hub_changed(False, 0.0)
        assert hub.uploads == []
        room.cameras.hub_changed(True, 60.0)
        await room.clock.until(lambda: hub.uploads)  # without any time going by


@pytest.mark.slow
async def test_a_hub_that_takes_no_picture_is_asked_less_and_less(server: OldCameras) -> None:
    hub = FakeHub()
    hub.failing = "The hub is away."
    asked: list[float] = []
    room = Room(urls=(server[0].snapshot_url,), hub=hub)
    upload = hub.upload_image

    async def counted(jpeg: bytes, name: str = "image") -> object:
        asked.append(room.clock.mono)
        return await upload(jpeg, name)

    hub.upload_image = counted  # type: ignore[method-assign,assignment]
    async with room:
        await room.clock.until(lambda: len(asked) == 5, step=1.0, within=60)
        gaps = [b - a for a, b in pairwise(asked)]
        assert gaps[0] >= 15 and gaps == sorted(gaps)
        assert "pictures upload" in [notice.key for notice in room.board.notices.standing]
        hub.failing = ""
        await room.clock.until(lambda: hub.uploads, step=10.0)
        shot = room.cameras.picture()
        assert shot is not None and hub.uploads[-1][1] == shot.jpeg  # the newest, not a queue
        assert len(hub.uploads) == 1


@pytest.mark.parametrize("url", [None, "", 7, [], "x" * 5000, "a\nb"])
async def test_an_address_from_the_hub_that_is_none_is_not_repeated_to_it(
    server: OldCameras, url: object
) -> None:
    hub = FakeHub()
    hub.url = "" if url is None else url
    async with Room(urls=(server[0].snapshot_url,), hub=hub) as room:
        await room.clock.until(lambda: hub.uploads)
        if url == 7:
            await room.clock.until(lambda: room.news)
            assert room.cameras.image_fields()["image"] == "7"
            return
        await room.clock.until(lambda: room.board.notices.standing)
        assert "image" not in room.cameras.image_fields()


async def test_pictures_on_demand_say_how_it_went(server: OldCameras) -> None:
    async with Room(urls=tuple(camera.snapshot_url for camera in server)) as room:
        await room.clock.until(lambda: len(room.news) == 2)
        assert await room.cameras.snapshot() == "Pictures taken: camera 1, camera 2."
        assert reasons(room, "camera 2")[-1] == "asked" or len(room.hub.uploads) >= 2
        server[1].behave("html")
        assert "camera 2" in await room.cameras.snapshot()
    async with Room() as room:
        assert "no camera" in await room.cameras.snapshot()


async def test_switching_the_cameras_off_and_on_needs_no_restart(server: OldCameras) -> None:
    async with Room(urls=(server[0].snapshot_url,)) as room:
        await room.clock.until(room.cameras.image_fields)
        room.configure(enabled=False)
        assert room.cameras.names == () and room.cameras.image_fields() == {}
        seen = len(server[0].requests())
        room.configure(enabled=True)
        await room.clock.until(lambda: len(server[0].requests()) > seen)
        room.configure(resolution="low")
        await room.clock.until(
            lambda: any(opened(p).width <= 640 for _, p in room.hub.uploads), step=60.0
        )


async def test_a_moonraker_without_a_readable_list_of_cameras_is_survived() -> None:
    room = Room()
    room.webcams = None  # type: ignore[assignment]
    async with room:
        assert room.cameras.names == ()
        assert room.cameras.image_fields() == {}


async def test_a_camera_is_never_asked_twice_at_once(server: OldCameras) -> None:
    camera = server[0]
    camera.behave("hang", times=1)
    async with Room(urls=(camera.snapshot_url,), timeout=1.0) as room:
        await room.clock.until(camera.requests)
        grabs = [room.cameras.grab("camera 1") for _ in range(5)]
        results = await asyncio.gather(*grabs, room.cameras.snapshot())
        assert all(fetched.trouble is Trouble.TIMED_OUT for fetched in results[:5])
        assert len(camera.requests()) == 2  # the one that hung, and the one that was asked for


async def test_a_camera_that_failed_is_left_in_peace_for_a_while(server: OldCameras) -> None:
    camera = server[0]
    camera.behave("status", code=404)
    async with Room(urls=(camera.snapshot_url,)) as room:
        await room.clock.until(lambda: room.state("camera 1") == "failing" and camera.requests())
        await room.clock.until(lambda: room.board.warnings and not room.clock.busy())
        fetched = await room.cameras.grab("camera 1")
        assert fetched.trouble is Trouble.RESTING and "404" in fetched.sentence
        assert len(camera.requests()) == 1
        assert (await room.cameras.grab("no such camera")).trouble is Trouble.RESTING


@pytest.mark.slow
async def test_an_idle_scene_that_never_rests_stays_within_its_allowance(
    server: OldCameras,
) -> None:
    server[0].changing = True
    async with Room(urls=(server[0].snapshot_url,)) as room:
        await room.clock.until(lambda: room.hub.uploads)
        start = room.clock.mono
        await room.clock.until(lambda: room.clock.mono > start + 3600, step=10.0, within=120)
        assert 8 <= len(room.hub.uploads) <= 13  # the first one, and twelve


async def test_pictures_too_large_for_a_status_are_left_out_of_it() -> None:
    with cameras(1, size=(1920, 1080)) as server:
        server[0].picture = lambda: jpeg((1920, 1080), noise=1)  # type: ignore[method-assign]
        async with Room(urls=(server[0].snapshot_url,), resolution="original") as room:
            await room.clock.until(lambda: room.hub.uploads)
            assert len(room.hub.uploads[0][1]) > INLINE_TOTAL
            # somebody has changed server_url
            room.hub.generation, room.hub.image_url = Generation.TWO, ""
            assert "image" not in room.cameras.image_fields()
