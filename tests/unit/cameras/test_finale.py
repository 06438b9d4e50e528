"""Which look near the end of a print still shows the print."""

from __future__ import annotations

from typing import Any

from components.cameras.finale import Finale, near_end
from components.cameras.reply import Fetched, Trouble
from components.printer.snapshot import Job, KlippyState, Snapshot
from tests.unit.fakes import FakeClock


class End:
    """A print near its end; each look is numbered."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.job = Job(state="printing", filename="a", progress=0.99, print_duration=3600.0)
        self.looks = 0
        self.camera = "Bed"
        self.trouble: Trouble | None = None
        self.finale = Finale(
            look=lambda: Snapshot(klippy=KlippyState.READY, job=self.job),
            camera=lambda: self.camera,
            grab=self.grab,
            clock=self.clock,
        )

    async def grab(self, camera: str) -> Fetched:
        assert camera == "Bed"
        self.looks += 1
        return Fetched(b"%d" % self.looks, trouble=self.trouble)

    def become(self, **job: Any) -> None:
        self.job = self.job._replace(**job)

    async def look(self, filament: float) -> None:
        self.become(filament_used=filament)
        await self.finale.step()
        self.clock.advance(5.0)

    def picture(self, filament: float) -> bytes | None:
        self.become(state="complete", progress=1.0, filament_used=filament)
        found = self.finale.picture(self.job)
        return None if found is None else found.data


async def test_looks_at_the_parked_head_are_passed_over_however_many() -> None:
    end = End()
    for filament in (10.0, 20.0, 30.0, 30.0, 30.0, 30.0, 30.0):
        await end.look(filament)
    assert end.picture(28.0) == b"2"  # the third may already show the head on its way


async def test_the_newest_look_is_taken_when_filament_flowed_after_it() -> None:
    end = End()
    for filament in (10.0, 20.0, 30.0):
        await end.look(filament)
    assert end.picture(31.0) == b"3"


async def test_a_single_look_is_better_than_the_parked_head() -> None:
    end = End()
    await end.look(10.0)
    assert end.picture(8.0) == b"1"


async def test_an_old_look_is_no_picture_of_the_end() -> None:
    end = End()
    await end.look(10.0)
    end.clock.advance(600.0)
    assert end.picture(11.0) is None


async def test_a_look_of_another_print_or_a_failed_one_is_none() -> None:
    end = End()
    end.trouble = Trouble.TIMED_OUT
    await end.look(10.0)
    end.trouble = None
    assert end.picture(11.0) is None
    end.become(state="printing", progress=0.99)
    await end.look(10.0)
    end.become(filename="b")
    assert end.picture(11.0) is None


async def test_nobody_looks_without_a_camera_or_far_from_the_end() -> None:
    end = End()
    end.camera = ""
    await end.look(10.0)
    end.camera = "Bed"
    end.become(progress=0.5)
    await end.look(10.0)
    end.become(progress=0.99, state="paused")
    await end.look(10.0)
    assert end.looks == 0


def test_the_end_is_near_by_progress_or_by_time() -> None:
    def near(progress: float, duration: float) -> bool:
        job = Job(state="printing", progress=progress, print_duration=duration)
        return near_end(Snapshot(klippy=KlippyState.READY, job=job))

    assert near(0.98, 36_000.0)
    assert near(0.5, 60.0)
    assert not near(0.97, 36_000.0)
    assert not near(0.0, 60.0)
