"""What the hub of before asked for is not done once the operator has named another one."""

from __future__ import annotations

from typing import Any

import pytest

from components.hub.identity import scopes
from components.printer.snapshot import KlippyState
from components.store.sqlite_file import StoreUnavailable
from tests.unit.commands.support import Lab, one, ready, until

CHANGES = (
    {"server_url": "https://other.example/printer-api/update.php"},
    {"printer_token": "ANOTHER_PRINTER"},
)


def refused(result: Any) -> bool:
    return result["status"] == "refused" and "address or the token was changed" in result["message"]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
async def test_what_waits_is_refused_and_what_runs_goes_on(lab: Lab, change: Any) -> None:
    lab.local.add("x.gcode")
    end = lab.printer.hold("G28")
    await lab.take(
        one("home", 1), one("set_speed", 2, speed=90), one("print_local", 3, file="x.gcode")
    )
    await until(lambda: lab.printer.sent == ["G28"])
    lab.live.replace(lab.live.now._replace(**change))
    end.set()
    await lab.elapse(lambda: len(lab.results) == 3)
    assert lab.result(1)["status"] == "done"
    assert refused(lab.result(2)) and refused(lab.result(3))
    assert lab.printer.sent == ["G28"]


async def test_no_file_of_the_next_hub_is_fetched_for_it(lab: Lab) -> None:
    asked: list[Any] = []

    async def fetch(request: Any) -> Any:
        asked.append(request)

    lab.fetch = fetch
    await lab.restart()
    lab.printer.change(klippy=KlippyState.STARTUP)
    await lab.take(one("set_speed", 1, speed=90), one("print", 2, file="x.gcode"))
    lab.live.replace(lab.live.now._replace(**CHANGES[0]))
    lab.printer.put(ready())
    await lab.elapse(lambda: len(lab.results) == 2)
    assert refused(lab.result(2)) and asked == []


@pytest.mark.parametrize("key", ["as it is", "of 5.0", "of no hub"])
@pytest.mark.parametrize("changed", [False, True])
async def test_after_a_restart_it_goes_by_the_hub_in_its_key(
    lab: Lab, key: str, changed: bool
) -> None:
    old = {"of 5.0": f"1:{scopes(lab.live.now)[1]}:2", "of no hub": "1:2"}.get(key)
    lab.printer.hold("G28")
    await lab.take(one("home", 1), one("set_speed", 2, speed=90))
    await until(lambda: lab.printer.sent == ["G28"])
    if old is not None:
        await lab.database.run(
            lambda db: db.execute("UPDATE commands SET key = ? WHERE action = 'set_speed'", (old,))
        )
    if changed:
        lab.live.replace(lab.live.now._replace(**CHANGES[0]))
    await lab.restart()
    await lab.elapse(lambda: len(lab.results) == 2)
    stays = not changed or key == "of no hub"
    assert lab.printer.sent == (["M220 S90"] if stays else [])
    assert refused(lab.result(2)) == (not stays)


async def test_a_trial_and_the_next_hub_s_own_commands_are_not_concerned(lab: Lab) -> None:
    lab.live.replace(lab.live.now._replace(**CHANGES[0]))
    (told,) = await lab.commands.what_if([one("home")], 1)
    assert told["outcome"] == "runs"
    (result,) = await lab.run(one("home"))
    assert result["status"] == "done"


async def test_what_was_not_stored_when_moonraker_ends_counts_as_not_taken(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_args: Any, **_named: Any) -> Any:
        raise StoreUnavailable("database or disk is full")

    monkeypatch.setattr(lab.database, "run", full)
    assert await lab.take(one("home", 1)) == 1  # it is refused
    await lab.commands.stop()
    assert await lab.take(one("home", 2)) is None
    assert [result["id"] for result in lab.results] == [1]
