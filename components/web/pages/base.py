"""The parts that a room's pages may have; `endpoints` puts all rooms' together."""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Any,
    Awaitable,
    Callable,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Sequence,
)

from ...runtime.loose import as_int
from ...runtime.messages import Told

if TYPE_CHECKING:
    from ..doctor.doctor import Check
    from ..notifications import Notifier

MAX_ROWS = 200  # of one answer with a list

Args = Dict[str, Any]
Macro = Callable[[Args], Awaitable[str]]  # what it returns goes to the console, if anything


class Refused(Told):
    """Why it was not done."""


class Request(NamedTuple):
    method: str  # GET or POST
    args: Args
    by: str  # who asks, for logs and the console

    @property
    def limit(self) -> int:
        return min(max(as_int(self.args.get("limit"), 50), 1), MAX_ROWS)


class Row(NamedTuple):
    """An endpoint; with more than one method, JSON-RPC names are `get_NAME` and `post_NAME`."""

    name: str
    methods: List[str]
    handler: Callable[[Request], Awaitable[Any]]
    content_type: str = ""  # of an answer that is no JSON; HTTP only, no JSON-RPC
    open: bool = False  # also to clients that Moonraker does not know
    bundled: bool = False  # its answer is part of the support bundle


class Pages:
    """Knows the few rooms that it shows; nothing here is copied or owned."""

    def rows(self) -> Sequence[Row]:
        return ()

    def macros(self) -> Mapping[str, Macro]:
        """What G-code macros can call, by name."""
        return {}

    def checks(self) -> Sequence[Check]:
        """What the doctor looks at; asked when somebody asks the doctor."""
        return ()

    def overview(self) -> Args:
        """Its part of what is pushed while people watch: some hundred bytes."""
        return {}

    def status(self) -> Args:
        """What is worth a look besides, when somebody asks."""
        return {}

    def follow(self, changes: Notifier) -> None:
        """Tell `changes` from now on what people would like to see anew."""


def done(message: str) -> Args:
    return {"ok": True, "message": message}
