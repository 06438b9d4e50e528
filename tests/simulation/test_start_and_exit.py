"""The component's first and last seconds: what it does before it knows what it may, and what is
left of a run that ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.runtime import steps
from components.tecmedhub import TecMedHub
from tests.simulation import moonraker
from tests.simulation.hub import Asked
from tests.simulation.machine import Machine, VirtualWorker
from tests.simulation.pinned import CALM
from tests.simulation.story import Story
from tests.simulation.world import World

FEATURES = {"command_results": True}
UP = 20.0  # virtual seconds in which everything has begun


class Scene(World):
    """A world in which happens what `scene` does, and nothing else."""

    def __init__(self, folder: Path, scene: Happens, **house: Any) -> None:
        super().__init__(Story("scene", {**CALM, "features": FEATURES, **house}, ()), folder)
        self._scene = scene
        self.failure: BaseException | None = None

    async def _tell(self) -> None:
        try:
            await self._scene(self)
        except BaseException as error:  # told when the world is put away
            self.failure = error

    @property
    def plugin(self) -> TecMedHub:
        assert self.moonraker.plugin is not None
        return self.moonraker.plugin

    def told(self, n: int) -> list[str]:
        """What the hub was told last of the n-th command: its state and its message."""
        (command,) = (c for c in self.hub.asked if c.n == n)
        facts = [f.data for f in self.witness.of("hub", "is told") if f.data["id"] == command.id]
        return [facts[-1]["status"], facts[-1]["message"]] if facts else ["", ""]


Happens = Callable[[Scene], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    monkeypatch.setattr(steps, "time", SimpleNamespace(sleep=lambda seconds: None))

    def play(scene: Happens, **house: Any) -> None:
        world = Scene(tmp_path, scene, **house)
        world.run()
        if world.failure is not None:
            raise world.failure

    return play


def test_nothing_is_done_for_the_hub_before_the_settings_are_read(play: Play) -> None:
    async def scene(world: Scene) -> None:
        world.save({"remote_control": "off"})
        world.hub.ask([Asked(1, "set_flow", {"flow": 111.0}, False)], stamp=False)
        disk = world.machine.disk
        disk.takes = lambda writes: 20.0  # type: ignore[method-assign]
        world.moonraker.start()
        in_force = asyncio.get_running_loop().create_future()
        world.plugin.live.subscribe(lambda old, new: in_force.done() or in_force.set_result(None))
        await asyncio.sleep(UP)
        server = world.moonraker.server
        assert server is not None and server.running
        (warning,) = (text for text in server.warnings.values() if "the settings" in text)
        assert "no emergency stop" in warning
        await in_force
        assert world.hub.last_status < 0.0
        assert not list(world.witness.of("hub", "hands out"))
        del disk.takes
        await asyncio.sleep(2 * UP)
        assert world.hub.last_status > 0.0
        assert world.told(1)[0] == "refused"
        assert not [text for text in server.warnings.values() if "the settings" in text]

    play(scene)


def test_settings_come_into_force_while_a_large_file_is_hashed(play: Play) -> None:
    async def scene(world: Scene) -> None:
        world.moonraker.start()
        await asyncio.sleep(UP)
        disk = world.machine.disk
        disk.takes = lambda writes: 600.0  # type: ignore[method-assign]
        hashing = world.plugin.worker.submit(str)
        del disk.takes
        world.save({"remote_control": "off"})
        await asyncio.sleep(90.0)
        assert not hashing.done()
        assert world.plugin.live.now.security.remote_control == "off"

    play(scene)


def test_what_waits_when_moonraker_restarts_is_not_dropped_by_our_own_goodbye(play: Play) -> None:
    async def scene(world: Scene) -> None:
        world.moonraker.start()
        await asyncio.sleep(UP)
        home = Asked(1, "home", {}, False)
        world.hub.ask([home, Asked(2, "gcode", {"gcode": "M117 n2"}, False)])
        while not list(world.witness.of("hub", "delivered")):
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)
        disk = world.machine.disk
        quick = disk.takes
        # The shared thread hashes a file meanwhile.
        disk.takes = lambda writes: quick(True) if writes else 2.0  # type: ignore[method-assign]
        await world.moonraker.restart()
        del disk.takes
        await asyncio.sleep(60.0)
        assert not world.plugin.database.left_open
        assert world.told(1)[0] == "interrupted"
        assert world.told(2)[0] == "done", world.told(2)
        kinds = [event["kind"] for event in await world.plugin.journal.recent(50)]
        assert "klippy_ready" in kinds
        assert "klippy_disconnected" not in kinds

    play(scene, home=20.0)


@pytest.mark.parametrize("weather", ["fair", "silent"])
def test_an_exit_in_which_the_last_words_fail_is_one_all_the_same(play: Play, weather: str) -> None:
    async def scene(world: Scene) -> None:
        world.moonraker.start()
        await asyncio.sleep(UP)
        leaving = world.plugin
        if weather == "silent":
            world.hub.turn("silent", 30.0)
        else:

            def send(**_: Any) -> None:
                raise RuntimeError("no words")

            leaving.reporter.send = send  # type: ignore[assignment, method-assign]
        process = world.moonraker.process
        assert process is not None
        context = process.context.copy()
        await world.loop.create_task(leaving.on_exit(), context=context)
        assert not {"status", "results", "commands"} & leaving.supervisor.running.keys()
        await world.moonraker.restart()
        await asyncio.sleep(UP)
        assert world.plugin is not leaving
        assert not world.plugin.database.left_open

    play(scene)


def test_a_stalled_card_keeps_no_thread_of_a_run_that_has_ended(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[VirtualWorker] = []

    class Thread(VirtualWorker):
        def __init__(self, name: str, machine: Machine) -> None:
            super().__init__(name, machine)
            made.append(self)

    monkeypatch.setattr(moonraker, "VirtualWorker", Thread)

    async def scene(world: Scene) -> None:
        world.moonraker.start()
        await asyncio.sleep(UP)
        world.machine.disk.takes = lambda writes: 60.0  # type: ignore[method-assign]
        threads = made[:]
        assert threads
        await world.moonraker.restart()
        for thread in threads:
            with pytest.raises(RuntimeError, match="is closed"):
                thread.submit(int)

    play(scene)
