"""What is Moonraker's or our own to do, not Klippy's: power, the job queue, the spool, files of the
hub. On the real stack, on both sides of each bound, in a job and out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.spoolman import Spoolman, spool
from tests.rig.stack import Stack
from tests.rig.wall_switch import WallSwitch
from tests.stack.test_further_actions import done, refused
from tests.stack.watching import seen, state

pytestmark = pytest.mark.stack

LONG = make_gcode(seconds=300, hotend=0, bed=0)  # cancelled long before
SHORT = make_gcode(seconds=3, hotend=0, bed=0)


@pytest.fixture
def switches() -> Iterator[tuple[WallSwitch, WallSwitch]]:
    with WallSwitch() as feeds, WallSwitch() as lamp:
        yield feeds, lamp


def begin(stack: Stack, gcode: str = LONG) -> None:
    stack.put("job.gcode", gcode)
    stack.print("job.gcode")
    state(stack, "printing")


def end(stack: Stack) -> None:
    done(stack, "cancel")
    state(stack, "idle")


def test_power_devices_by_the_allowed_list(
    switches: tuple[WallSwitch, WallSwitch], make_stack: Callable[..., Stack]
) -> None:
    feeds, lamp = switches
    stack = make_stack(
        sections=feeds.section("printer") + lamp.section("lamp") + lamp.section("oven"),
        options={"security_allowed_power_devices": "lamp, printer"},
        features={"full_status": True},
    )
    offer = {o["name"]: o for o in state(stack, "idle")["client"]["actions"]}["power"]
    assert offer["parameters"]["device"]["choices"] == ["lamp", "printer"]
    assert done(stack, "power", device="lamp", state="off") == "lamp is off"
    assert not lamp.on
    assert done(stack, "power", device="lamp", state="on") == "lamp is on"
    assert lamp.on
    assert "allowed_power_devices" in refused(stack, "power", device="oven", state="off")
    assert "on or off" in refused(stack, "power", device="lamp", state="toggle")

    begin(stack)
    assert "confirm" in refused(stack, "power", device="lamp", state="off")
    done(stack, "power", device="lamp", state="off", confirm=True)
    done(stack, "power", device="lamp", state="on")  # switching on disturbs nobody
    for confirm in (False, True):
        said = refused(stack, "power", device="printer", state="off", confirm=confirm)
        assert "feeds the printer" in said
    assert feeds.on
    assert stack.klippy.query("print_stats")["state"] == "printing"
    end(stack)
    done(stack, "power", device="printer", state="off")
    assert not feeds.on


def test_the_job_queue(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(sections="[job_queue]\nautomatic_transition: True\n")
    for name in ("a.gcode", "b.gcode", "c.gcode"):
        stack.put(name, SHORT)
    state(stack, "idle")
    assert "is empty" in refused(stack, "queue_start")

    begin(stack)
    for name in ("a.gcode", "b.gcode", "c.gcode"):
        done(stack, "print_local", file=name, queue=True)
    done(stack, "queue_pause")
    queue = seen(stack, "a paused queue", lambda s: s["job_queue"]["state"] == "paused")
    ids = [job["id"] for job in queue["job_queue"]["jobs"]]
    assert len(ids) == 3
    assert "1 jobs wait" not in done(stack, "queue_remove", job=ids[2])  # by its id
    done(stack, "queue_remove", job="b.gcode")  # by its file
    assert stack.do("queue_remove", job="b.gcode").status == "failed"
    seen(
        stack,
        "one that waits",
        lambda s: [j["filename"] for j in s["job_queue"]["jobs"]] == ["a.gcode"],
    )
    assert done(stack, "queue_start") == "the job queue is ready, 1 jobs wait"
    assert stack.klippy.query("print_stats")["filename"] == "job.gcode", "it waits for the job"
    done(stack, "queue_clear")
    seen(stack, "an empty queue", lambda s: not s["job_queue"]["jobs"])
    end(stack)

    done(stack, "queue_pause")
    stack.moonraker.post("/server/job_queue/job", {"filenames": ["a.gcode"]})
    seen(stack, "one that waits", lambda s: len(s["job_queue"]["jobs"]) == 1)
    done(stack, "queue_start")
    seen(stack, "its print", lambda s: s["current_file"] == "a.gcode", 60)
    seen(stack, "its end", lambda s: s["print_state"] == "complete", 60)


def test_a_queue_that_does_not_go_on_by_itself_is_not_started_in_a_job(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack()
    stack.put("a.gcode", SHORT)
    begin(stack)
    done(stack, "print_local", file="a.gcode", queue=True)
    assert "automatic_transition is off" in refused(stack, "queue_start")
    end(stack)
    done(stack, "queue_start")
    seen(stack, "its print", lambda s: s["current_file"] == "a.gcode", 60)


def test_no_queue_is_started_onto_a_bed_that_nobody_cleared(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack(
        sections="[job_queue]\nautomatic_transition: True\n",
        options={"security_require_clear_bed": True},
    )
    for name in ("a.gcode", "b.gcode"):
        stack.put(name, SHORT)
    stack.moonraker.post("/server/job_queue/job", {"filenames": ["a.gcode", "b.gcode"]})
    seen(stack, "two that wait", lambda s: len(s["job_queue"]["jobs"]) == 2)
    assert "on top of the finished one" in refused(stack, "queue_start")
    done(stack, "queue_remove", job="b.gcode")
    done(stack, "queue_start")
    seen(stack, "its end", lambda s: s["print_state"] == "complete", 60)
    stack.moonraker.post("/server/job_queue/job", {"filenames": ["b.gcode"]})
    seen(stack, "one that waits", lambda s: len(s["job_queue"]["jobs"]) == 1)
    assert "still be on the bed" in refused(stack, "queue_start")


def test_the_spool_of_spoolman_and_the_filament_that_follows(
    make_stack: Callable[..., Stack],
) -> None:
    with Spoolman() as spoolman:
        spoolman.spools = {3: spool("PLA", "Negro", 1000, 250), 4: spool("PETG", "Azul", 750, 750)}
        stack = make_stack(
            sections=spoolman.section(),
            options={
                "printer_data_filament_material": "ABS",
                "printer_data_filament_shelf": "2",
            },
            features={"full_status": True},
        )
        idle = state(stack, "idle")
        assert idle["filament"] == {"material": "ABS", "shelf": 2}
        assert "spool" in {offer["name"] for offer in idle["client"]["actions"]}
        stack.moonraker.wait(
            lambda: stack.moonraker.get("/server/spoolman/status")["spoolman_connected"],
            20,
            "Spoolman at Moonraker",
        )
        assert done(stack, "spool", spool="3") == "spool 3: Acme PLA Negro"
        told = seen(stack, "the spool", lambda s: (s["filament"] or {}).get("spool_id") == 3)
        assert (told["filament"]["remaining"], told["filament"]["shelf"]) == (25, 2)
        assert stack.moonraker.get("/server/spoolman/spool_id")["spool_id"] == 3
        refused(stack, "spool", spool=-1)
        refused(stack, "spool", spool=1_000_000)
        assert "whole number" in refused(stack, "spool", spool=3.5)
        assert "no spool 99" in refused(stack, "spool", spool=99)
        assert stack.moonraker.get("/server/spoolman/spool_id")["spool_id"] == 3

        # A filament is changed in the middle of a job, too.
        begin(stack, make_gcode(seconds=120, hotend=60, bed=0))
        assert done(stack, "spool", spool=4) == "spool 4: Acme PETG Azul"
        seen(stack, "the other", lambda s: s["filament"].get("material") == "PETG")
        stack.moonraker.wait(lambda: spoolman.used.get(4), 30, "what is used, told of the spool")
        end(stack)
        # As somebody at Mainsail does.
        stack.moonraker.post("/server/spoolman/spool_id", {"spool_id": 3})
        seen(stack, "the first again", lambda s: s["filament"].get("color") == "Negro")
        assert done(stack, "spool", spool=0) == "no spool is on the printer"
        seen(stack, "the operator's word", lambda s: s["filament"].get("material") == "ABS")


def test_without_spoolman_there_is_no_spool_to_choose(stack: Stack) -> None:
    assert "no [spoolman]" in refused(stack, "spool", spool=3)


def test_only_files_of_the_hub_are_deleted_by_it(stack: Stack) -> None:
    stack.hub.add_file("piñón.gcode", SHORT.encode(), stack.token)
    stack.put("mine.gcode", SHORT)
    stack.put("job.gcode", LONG)
    done(stack, "print", file="piñón.gcode")
    assert "it is loaded" in refused(stack, "delete_file", file="piñón.gcode", confirm=True)
    seen(stack, "its end", lambda s: s["print_state"] == "complete", 60)

    stack.print("job.gcode")
    state(stack, "printing")
    assert "came from the hub" in refused(stack, "delete_file", file="mine.gcode")
    assert "came from the hub" in refused(stack, "delete_file", file="job.gcode", confirm=True)
    refused(stack, "delete_file", file="../config/moonraker.conf", confirm=True)
    done(stack, "print_local", file="piñón.gcode", queue=True)
    assert "job queue" in refused(stack, "delete_file", file="piñón.gcode", confirm=True)
    done(stack, "queue_clear")
    said = done(stack, "delete_file", file="piñón.gcode")  # another job runs: it disturbs nobody
    assert said == f'deleted "piñón.gcode" ({len(SHORT.encode())} bytes)'
    assert {path.name for path in stack.gcodes.glob("*.gcode")} == {"mine.gcode", "job.gcode"}
    seen(
        stack,
        "no such file",
        lambda s: "piñón.gcode" not in {file["name"] for file in s["files"]},
    )
    assert "came from the hub" in refused(stack, "delete_file", file="piñón.gcode")
    assert stack.klippy.query("print_stats")["state"] == "printing"
    end(stack)


def test_a_file_of_the_hub_that_somebody_changed_is_theirs(stack: Stack) -> None:
    stack.hub.add_file("a.gcode", SHORT.encode(), stack.token)
    done(stack, "print", file="a.gcode")
    seen(stack, "its end", lambda s: s["print_state"] == "complete", 60)
    (stack.gcodes / "a.gcode").write_text(SHORT + "; mine now\n", encoding="utf-8")
    assert "no longer what came from the hub" in refused(stack, "delete_file", file="a.gcode")
    assert (stack.gcodes / "a.gcode").exists()
