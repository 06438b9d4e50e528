"""What a hub that hands out again is told as soon as a command has arrived."""

from __future__ import annotations

from typing import Any

from components.commands.receipts import MOST, Receipts


class Desk:
    def __init__(self, wanted: bool = True) -> None:
        self.results: list[dict[str, Any]] = []
        self.acknowledged: list[Any] = []
        self.rung = 0
        self.hub = "a"
        self.receipts = Receipts(
            results_due=lambda limit: self.results[:limit],
            results_delivered=self.take,
            wanted=lambda: wanted,
            hub=lambda: self.hub,
            hub_now=lambda: 17.0,
            on_new=self.ring,
        )

    async def take(self, results: Any) -> None:
        self.acknowledged += results

    def arrived(self, raw: Any) -> None:
        self.receipts.arrived(raw, self.hub)

    def ring(self) -> None:
        self.rung += 1

    def words(self, limit: int = 50) -> list[tuple[Any, str]]:
        return [(entry["id"], entry["status"]) for entry in self.receipts.due(limit)]


def one(number: Any, action: str = "home") -> dict[str, Any]:
    return {"id": number, "action": action}


async def test_each_delivery_is_told_once() -> None:
    desk = Desk()
    desk.arrived([one("a"), one(7, "heat")])
    assert desk.rung == 1
    told = desk.receipts.due(50)
    assert told[1] == {
        "id": 7,
        "action": "heat",
        "status": "received",
        "message": "",
        "received_at": 17.0,
    }
    await desk.receipts.delivered(told)
    assert desk.receipts.due(50) == []
    desk.arrived([one("a")])  # handed out again: the hub has not heard us
    assert desk.words() == [("a", "received")]


async def test_a_delivery_while_the_last_receipt_is_on_its_way_is_told_too() -> None:
    desk = Desk()
    desk.arrived([one("a")])
    told = desk.receipts.due(50)
    desk.arrived([one("a")])
    await desk.receipts.delivered(told)
    assert desk.words() == [("a", "received")]


async def test_a_result_is_a_receipt_as_well() -> None:
    desk = Desk()
    desk.arrived([one("a"), one("b")])
    desk.results = [{"id": "a", "status": "done"}]
    assert desk.words() == [("a", "done"), ("b", "received")]
    assert desk.words(1) == [("a", "done")]
    told = desk.receipts.due(50)
    await desk.receipts.delivered(told)
    assert desk.acknowledged == [{"id": "a", "status": "done"}]
    desk.results = []
    assert desk.receipts.due(50) == []


def test_who_hands_out_once_is_told_nothing() -> None:
    desk = Desk(wanted=False)
    desk.arrived([one("a")])
    assert (desk.receipts.due(50), desk.rung) == ([], 0)


def test_rubbish_and_crowds_do_no_harm() -> None:
    desk = Desk()
    for raw in (None, 7, "x", {}, [None, 3, {"id": None}, {"id": []}], {"id": {}}):
        desk.arrived(raw)
    assert (desk.receipts.due(50), desk.rung) == ([], 0)
    desk.arrived([one(number) for number in range(MOST + 10)])
    assert len(desk.receipts.due(2 * MOST)) == MOST


def test_what_another_hub_handed_out_is_none_of_this_one_s() -> None:
    desk = Desk()
    desk.arrived([one(1)])
    desk.hub = "b"
    assert desk.words() == []
    desk.receipts.arrived([one(2)], "a")  # it was long on its way to the disk
    desk.arrived([one(3)])
    assert (desk.words(), desk.rung) == ([(3, "received")], 2)
