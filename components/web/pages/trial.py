"""What would become of a command, asked with the hub's own form; nothing is run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

from ...commands.offers import offered
from ...runtime.loose import as_int
from ...runtime.messages import say
from .base import Args, Pages, Refused, Request, Row, done

if TYPE_CHECKING:
    from ...commands.remote import Commands
    from ...hub.client import HubClient

MOST = 20_000  # characters of JSON


@dataclass(eq=False)
class TrialPages(Pages):
    """`offers()` is what the hub may ask of this printer."""

    commands: Commands
    client: HubClient
    offers: Callable[[], Sequence[Mapping[str, Any]]]

    def rows(self) -> Sequence[Row]:
        return (Row("what_if", ["GET", "POST"], self._what_if),)

    async def _what_if(self, request: Request) -> Args:
        if request.method == "GET":
            return {"actions": offered(self.offers())}
        raw = request.args.get("command")
        if isinstance(raw, str):
            raw = _read(raw)
        if not isinstance(raw, (dict, list)) or not raw:
            raise Refused("Give a command as the hub writes it: an object with an action.")
        asked = as_int(request.args.get("generation"))
        generation = asked if asked in (1, 2) else int(self.client.generation)
        return dict(done(""), commands=await self.commands.what_if(raw, generation))


def _read(text: str) -> Any:
    if len(text) > MOST:
        raise Refused("That is longer than {most} characters.", most=MOST)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        where = say("line {line}", line=getattr(error, "lineno", 1))
        raise Refused("That is no JSON ({where}).", where=where) from None
