"""The operator's own actions (`actions` in the JSON file), as orders. Pure.

What an operator wrote is trusted to be wanted, not to be harmless: the hub fills its places within
their bounds, the script is read as any other, and what it could do to a job is judged.
"""

from __future__ import annotations

import re
from typing import Any, Dict

from ..printer.snapshot import Snapshot
from ..runtime.loose import as_bool, as_float
from ..runtime.messages import say
from ..settings.model import Confirmation, OperatorAction, OperatorParameter
from . import gcode
from .actions import Parameter
from .gcode import Refused
from .order import CONFIRM_WITHIN, Order, number, read_number
from .wire import Command

ANY_WORD = (
    "*",
)  # the operator wrote it: their own patterns for the hub's G-code do not concern it
CLOSE = 0.001  # relative: what two numbers may differ by

_PLACE = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}")
_PLAIN = re.compile(r"[\w .+:/-]*")  # of a text: nothing that ends a parameter, a line, a command


def own_order(action: OperatorAction, command: Command, snapshot: Snapshot) -> Order:
    """The order for one of the operator's actions; raises `Refused`."""
    values = {one.name: _value(one, command) for one in action.parameters}
    confirmation = action.confirmation
    return Order(
        "gcode",
        (_script(action, values, snapshot),),
        reached=lambda now: confirmation is None or _shows(confirmation, values, now),
        done=lambda now: action.description or action.name,
        missed=lambda now: say(
            "Klippy reports {object} {field} as {value}",
            object=confirmation.object if confirmation else "",
            field=confirmation.field if confirmation else "",
            value=_seen(confirmation, now) if confirmation else "",
        ),
        within=confirmation.within if confirmation else CONFIRM_WITHIN,
        dangers=((action.name, say("was marked as dangerous by the operator")),)
        if action.danger
        else (),
    )


def _script(action: OperatorAction, values: Dict[str, Any], snapshot: Snapshot) -> str:
    if not action.macro:
        text = _PLACE.sub(lambda place: _written(values[place.group(1)]), action.gcode)
        return gcode.check_script(text, ANY_WORD).text
    word = action.macro.upper()
    if word not in snapshot.macros:
        raise Refused(
            say("There is no gcode_macro {name} in the printer's configuration.", name=word)
        )
    return gcode.build_macro_call(action.macro, values)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return number(value) if isinstance(value, float) else str(value)


def _value(wanted: OperatorParameter, command: Command) -> Any:
    """A parameter within its bounds; raises `Refused`. Generation 2's box for commands writes its
    name in any case."""
    given = command.params.get(wanted.name, command.params.get(wanted.name.lower()))
    if given is None or given == "":
        if wanted.default is None:
            raise Refused(say("The parameter {name} is missing.", name=wanted.name))
        return wanted.default
    if wanted.kind == "number":
        bounds = Parameter(wanted.name, wanted.low, wanted.high, wanted.unit)
        return float(read_number({wanted.name: given}, bounds))
    if wanted.kind == "boolean":
        return as_bool(given)
    text = str(given) if isinstance(given, (str, int, float)) else ""
    if wanted.kind == "choice" and text not in wanted.choices:
        raise Refused(
            say("{name} is one of {choices}.", name=wanted.name, choices=", ".join(wanted.choices))
        )
    if wanted.kind == "text" and (
        not text or len(text) > wanted.longest or not _PLAIN.fullmatch(text)
    ):
        raise Refused(
            say(
                "{name} is a text of at most {longest} characters: letters, digits, blanks and"
                " . + : / - only.",
                name=wanted.name,
                longest=wanted.longest,
            )
        )
    return text


def _seen(confirmation: Confirmation, now: Snapshot) -> Any:
    return now.objects.get(confirmation.object, {}).get(confirmation.field)


def _shows(confirmation: Confirmation, values: Dict[str, Any], now: Snapshot) -> bool:
    seen, wanted = _seen(confirmation, now), confirmation.equals
    place = _PLACE.fullmatch(wanted) if isinstance(wanted, str) else None
    if place is not None:  # equals: "{angle}" is what was asked for
        wanted = values.get(place.group(1))
    if wanted is None:
        return seen is not None
    one, other = as_float(seen), as_float(wanted)
    if one is None or other is None or isinstance(seen, bool):
        return str(seen).lower() == str(wanted).lower()
    return abs(one - other) <= CLOSE * max(1.0, abs(other))
