"""Under which name each generation of hub lists a printer whose operator named none."""

from __future__ import annotations

from typing import Any, Dict

from components.hub.client import Reply
from components.hub.protocol import Generation
from components.settings.model import LiveSettings, Settings
from components.status.hub_name import HubName

ONE, TWO = Generation.ONE, Generation.TWO


class Flags:
    def __init__(self) -> None:
        self.values: Dict[str, Any] = {}

    def get(self, name: str, default: Any = None) -> Any:
        return self.values.get(name, default)

    def put(self, name: str, value: Any) -> None:
        self.values[name] = value


def make(flags: Flags, **settings: Any) -> HubName:
    given = {"server_url": "http://h/update.php", "printer_token": "T", **settings}
    return HubName(LiveSettings(Settings(**given)), flags, "aula3.lan")  # type: ignore[arg-type]


def told(name: HubName, generation: Generation, ok: bool = True, **data: Any) -> str:
    """One status and its reply; the name that it carried."""
    said = name.for_status(generation)
    body = {"name": said, "token": "T"}
    name.status_sent(body, Reply(ok, "", {"success": ok, **data}))
    return said


def test_generation_1_is_told_each_time() -> None:
    name = make(Flags())
    assert [told(name, ONE, printer_id="printer_1") for _ in range(3)] == ["aula3"] * 3


def test_generation_2_keeps_the_name_that_its_administrator_gave() -> None:
    flags = Flags()
    name = make(flags)
    assert told(name, TWO, ok=False) == "aula3"
    assert told(name, TWO, printer_id=7) == "aula3"
    assert told(name, TWO, printer_id=7) == ""
    assert told(make(flags), TWO, printer_id="7") == ""  # after a restart, ids as texts


def test_a_printer_that_was_deleted_there_comes_back_with_a_name() -> None:
    name = make(Flags())
    told(name, TWO, printer_id=7)
    assert told(name, TWO, printer_id=8) == ""  # deleted meanwhile: this reply tells it
    assert told(name, TWO, printer_id=8) == "aula3"
    assert told(name, TWO, printer_id=8) == ""


def test_another_hub_is_told_anew() -> None:
    flags = Flags()
    told(make(flags), TWO, printer_id=7)
    assert told(make(flags, server_url="http://other/update.php"), TWO, printer_id=7) == "aula3"


def test_a_reply_counts_for_the_hub_that_was_asked() -> None:
    flags = Flags()
    live = LiveSettings(Settings(server_url="http://a/update.php", printer_token="T"))
    name = HubName(live, flags, "aula3")  # type: ignore[arg-type]
    said = name.for_status(TWO)
    live.replace(live.now._replace(server_url="http://b/update.php"))
    name.status_sent({"name": said}, Reply(True, "", {"printer_id": 1}))
    assert told(name, TWO, printer_id=1) == "aula3"


def test_the_operators_name_goes_before() -> None:
    name = make(Flags(), printer_name="Prusa 1")
    assert [told(name, generation) for generation in (ONE, TWO, TWO)] == ["Prusa 1"] * 3
