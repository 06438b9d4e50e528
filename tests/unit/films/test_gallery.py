"""Finished videos: naming, ownership, how many stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.films.gallery import Gallery, Video
from components.runtime import moves

NOW = 1_700_000_000.0


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery(tmp_path / "timelapse", tmp_path / "tecmedhub")


def add(gallery: Gallery, tmp_path: Path, *, size: int = 10, now: float = NOW) -> Video:
    file = tmp_path / "video.mp4"
    file.write_bytes(b"x" * size)
    return gallery.add(file, b"jpeg", printed="sub/Búho #1.gcode", now=now, seconds=4.0, frames=60)


def test_a_video_has_a_name_of_our_own(gallery: Gallery, tmp_path: Path) -> None:
    video = add(gallery, tmp_path)
    assert video.name.startswith("tecmedhub_Búho_1.gcode_20231114_")
    assert video.name.endswith(".mp4") and video.poster == video.name[:-4] + ".jpg"
    assert sorted(p.name for p in gallery.folder.iterdir()) == sorted([video.name, video.poster])
    assert not (tmp_path / "video.mp4").exists()
    listed = video.listed()
    assert listed["path"] == "/server/files/timelapse/" + video.name.replace("ú", "%C3%BA")
    assert (listed["size"], listed["created"], listed["duration"]) == (10, int(NOW), 4.0)


def test_two_videos_of_one_minute_do_not_overwrite_each_other(
    gallery: Gallery, tmp_path: Path
) -> None:
    assert add(gallery, tmp_path).name != add(gallery, tmp_path).name


def test_the_index_outlives_a_restart_and_forgets_what_was_deleted(
    gallery: Gallery, tmp_path: Path
) -> None:
    old, new = add(gallery, tmp_path), add(gallery, tmp_path, now=NOW + 3600)
    gallery.mark(old.name, sent=True)
    (gallery.folder / new.name).unlink()  # somebody did so in Mainsail
    again = Gallery(gallery.folder, tmp_path / "tecmedhub")
    again.load()
    assert [(video.name, video.sent) for video in again.videos] == [(old.name, True)]


def test_only_our_own_oldest_videos_are_removed(gallery: Gallery, tmp_path: Path) -> None:
    gallery.folder.mkdir()
    foreign = gallery.folder / "timelapse_other_20200101_0000.mp4"
    foreign.write_bytes(b"y" * 1000)
    videos = [add(gallery, tmp_path, now=NOW + n * 3600) for n in range(4)]
    gone = gallery.trim(2, 1 << 30)
    assert {video.name for video in gone} == {videos[0].name, videos[1].name}
    assert [video.name for video in gallery.videos] == [videos[3].name, videos[2].name]
    assert foreign.exists()
    assert not (gallery.folder / videos[0].poster).exists()


def test_the_budget_in_bytes_holds_but_the_newest_stays(gallery: Gallery, tmp_path: Path) -> None:
    for number in range(3):
        add(gallery, tmp_path, size=100, now=NOW + number * 3600)
    gallery.trim(10, 250)
    assert len(gallery.videos) == 2
    gallery.trim(10, 1)
    assert len(gallery.videos) == 1


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"videos": 3}', '{"videos": [{"name": "../../etc/passwd"}]}',
     '{"videos": [{"name": "a.mp4", "poster": "/etc/passwd"}, 5, null, {}]}'],
)  # fmt: skip
def test_an_index_that_was_tampered_with_leads_nowhere(
    gallery: Gallery, tmp_path: Path, text: str
) -> None:
    gallery.folder.mkdir()
    (gallery.folder / "a.mp4").write_bytes(b"x")
    (tmp_path / "tecmedhub").mkdir()
    (tmp_path / "tecmedhub" / "videos.json").write_text(text)
    gallery.load()
    assert gallery.videos == ()


def test_a_large_video_is_not_read_into_memory(gallery: Gallery, tmp_path: Path) -> None:
    video = add(gallery, tmp_path, size=100)
    assert gallery.read(video, 100) == b"x" * 100
    assert gallery.read(video, 99) is None
    (gallery.folder / video.name).write_bytes(b"theirs")
    assert gallery.read(video, 100) is None, "never another's bytes in our name"
    (gallery.folder / video.name).unlink()
    assert gallery.read(video, 100) is None


@pytest.mark.parametrize("live", [True, False])
def test_what_somebody_put_in_the_place_of_our_video_is_theirs(
    gallery: Gallery, tmp_path: Path, live: bool
) -> None:
    old = add(gallery, tmp_path)
    (gallery.folder / old.name).write_bytes(b"theirs, and longer")
    (gallery.folder / old.poster).write_bytes(b"their picture")
    newest = add(gallery, tmp_path, now=NOW + 3600)
    if not live:
        gallery = Gallery(gallery.folder, tmp_path / "tecmedhub")
        gallery.load()
    gallery.trim(1, 1 << 30)
    assert [video.name for video in gallery.videos] == [newest.name]
    assert (gallery.folder / old.name).read_bytes() == b"theirs, and longer"
    assert (gallery.folder / old.poster).read_bytes() == b"their picture"


def test_a_name_that_somebody_takes_at_the_last_moment_stays_theirs(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = moves.place

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(moves, "place", real)
        target.write_bytes(b"theirs")
        real(source, target)

    monkeypatch.setattr(moves, "place", late)
    video = add(gallery, tmp_path)
    theirs = gallery.folder / (video.name[: -len("_2.mp4")] + ".mp4")
    assert video.name.endswith("_2.mp4") and theirs.read_bytes() == b"theirs"


def test_an_index_that_cannot_be_written_loses_no_video(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "tecmedhub").write_text("a file where the folder should be")
    video = add(gallery, tmp_path)
    assert (gallery.folder / video.name).is_file() and gallery.trouble
    assert gallery.videos == (video,)


@pytest.mark.parametrize(
    "place", ["%2F{}%2Faway.mp4", "..%2F..%2Faway.mp4", "sub%2F..%2F..%2Faway.mp4", ""]
)
def test_what_is_named_as_moved_aside_is_not_led_out_of_the_folder(
    gallery: Gallery, tmp_path: Path, place: str
) -> None:
    """Whoever may upload a file gives it any name."""
    away = str(tmp_path / "elsewhere").lstrip("/").replace("/", "%2F")
    gallery.folder.mkdir()
    names = (f".x-{place.format(away)}{moves.SUFFIX}", f".foo{moves.SUFFIX}")
    for name in names:
        (gallery.folder / name).write_bytes(b"theirs")
    gallery.load()
    assert sorted(path.name for path in gallery.folder.iterdir()) == sorted({*names})
    assert [path.name for path in tmp_path.iterdir()] == ["timelapse"]


def test_videos_of_a_disk_that_is_away_stay_ours(gallery: Gallery, tmp_path: Path) -> None:
    old = add(gallery, tmp_path)
    gallery.folder.rename(tmp_path / "stick")
    again = Gallery(gallery.folder, tmp_path / "tecmedhub")
    again.load()
    (tmp_path / "stick").rename(gallery.folder)
    new = add(again, tmp_path, now=NOW + 3600)
    again.load()
    assert [video.name for video in again.videos] == [new.name, old.name]


def test_an_index_that_cannot_be_read_is_not_written_over(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = add(gallery, tmp_path)
    again = Gallery(gallery.folder, tmp_path / "tecmedhub")

    def unreadable(self: Path, *args: Any, **more: Any) -> str:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", unreadable)
        for attempt in (again.load, lambda: add(again, tmp_path, now=NOW + 3600)):
            with pytest.raises(OSError, match="Input/output"):
                attempt()
        assert again.trim(1, 1) == []
    new = add(again, tmp_path, now=NOW + 3600)
    assert [video.name for video in again.videos] == [new.name, old.name]
