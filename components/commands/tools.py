"""What the commands room is given: what it stands on, and what other rooms do for it."""

from typing import Any, Awaitable, Callable, Mapping, NamedTuple, Optional, Tuple, Type

from ..printer.klippy import Printer
from ..runtime.clock import Clock
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..settings.model import LiveSettings
from ..store.flags import Flags
from ..store.ledger import Ledger
from .bed import Bed
from .wire import Command, PrintRequest


class Tools(NamedTuple):
    live: LiveSettings
    printer: Printer
    ledger: Ledger
    flags: Flags
    bed: Bed
    notices: Notices
    supervisor: Supervisor
    clock: Clock
    hub_now: Callable[[], float]  # unix seconds by the hub's clock
    hub_time_known: Callable[[], bool]  # whether that is more than our own guess
    hub_redelivers: Callable[[], bool]  # whether it hands out again what it has not heard of


async def _there_is_no(name: str) -> str:
    return say("{name} is not among the printer's files.", name=name)


class Deeds(NamedTuple):
    """`fetch(request)` brings the file of a `print` onto the printer: an object with its `path`
    there and a `note` of what there is to say of it. `find_local(path)` is why a file of the gcodes
    root cannot be printed, "" if it can. `starting(path, command_id)` hears of each print that is
    handed to Klippy now. `hooks` carry out what is not Klippy's (`cancel_download`, `snapshot`,
    `timelapse_now`, `delete_file`, `spool`); `looks` say before why one of these is refused, "" if
    it is not. What these raise is told in the result if it is one of `told_errors`, and else taken
    for a fault of the plugin."""

    fetch: Optional[Callable[[PrintRequest], Awaitable[Any]]] = None
    find_local: Callable[[str], Awaitable[str]] = _there_is_no
    starting: Callable[[str, str], None] = lambda filename, command_id: None
    hooks: Mapping[str, Callable[[Command], Awaitable[str]]] = {}
    looks: Mapping[str, Callable[[Command], Awaitable[str]]] = {}
    told_errors: Tuple[Type[Exception], ...] = ()
