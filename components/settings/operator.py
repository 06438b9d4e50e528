"""The operator's own actions (`actions` in the JSON file): a name, what it sends, and its bounds.

    "actions": {
        "gripper_open": {
            "gcode": "SET_SERVO SERVO=gripper ANGLE={angle}",
            "parameters": {"angle": {"min": 0, "max": 90, "unit": "°", "default": 45}},
            "confirmation": {"object": "servo gripper", "field": "value", "within": 10}
        },
        "purge": {"macro": "PURGE", "parameters": {"LENGTH": {"min": 1, "max": 50, "unit": "mm"}}}
    }

Read as strictly as every other option: what cannot be meant is refused with its reason, and the
other actions stay in force.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..runtime.loose import printable
from ..runtime.messages import say
from .model import BadValue, Confirmation, OperatorAction, OperatorParameter

MAX_ACTIONS = 40
MAX_PARAMETERS = 10
MAX_GCODE = 2000  # characters
MAX_LINES = 40
MAX_TEXT = 100  # characters of a parameter's text
MAX_CHOICES = 30

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_MACRO = re.compile(r"[^\W\d][\w]{0,59}")
_PLACE = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}")
_WORD = re.compile(r"[\w .+:/-]{1,60}")  # of a choice: nothing that could end a parameter
_LANES = ("gcode", "control")
_KEYS = frozenset(
    ("gcode", "macro", "parameters", "lane", "danger", "expiry", "confirmation", "description")
)


def read_actions(
    raw: Any, taken: Tuple[str, ...]
) -> Tuple[Dict[str, OperatorAction], Tuple[str, ...]]:
    """The actions that can be read, and a sentence for each that cannot. `taken`: names of the
    plugin's own.
    """
    if isinstance(raw, str):
        try:
            raw = json.loads(raw) if raw.strip() else {}
        except (ValueError, RecursionError):
            raise BadValue("an object: action names with what each does") from None
    if not isinstance(raw, dict):
        raise BadValue("an object: action names with what each does")
    found: Dict[str, OperatorAction] = {}
    told: List[str] = []
    for name, value in raw.items():
        if name.startswith("_"):
            continue  # a comment, as everywhere in the file
        shown = printable(str(name), 40)
        try:
            if len(found) >= MAX_ACTIONS:
                raise BadValue("there are more than {most}", most=MAX_ACTIONS)
            if not _NAME.fullmatch(name):
                raise BadValue("a name is lower-case letters, digits and _, 40 at most")
            if name in taken:
                raise BadValue("the plugin has an action of that name")
            found[name] = _read_action(name, value)
        except BadValue as reason:
            told.append(say('"{name}": {reason}', name=shown, reason=str(reason)))
    return found, tuple(told)


def _read_action(name: str, raw: Any) -> OperatorAction:
    if not isinstance(raw, dict):
        raise BadValue("an action is an object with gcode or macro")
    _known_keys(raw, _KEYS)
    gcode, macro = raw.get("gcode", ""), raw.get("macro", "")
    if not isinstance(gcode, str) or not isinstance(macro, str) or bool(gcode) == bool(macro):
        raise BadValue("it has either gcode or macro, as a text")
    if macro and not _MACRO.fullmatch(macro):
        raise BadValue("macro is the name of a macro")
    parameters = _read_parameters(raw.get("parameters", {}))
    if gcode:
        _check_template(gcode, {parameter.name for parameter in parameters})
    lane = raw.get("lane", "gcode")
    if lane not in _LANES:
        raise BadValue("lane is gcode, or control (past waiting G-code)")
    danger = raw.get("danger", True)
    if not isinstance(danger, bool):
        raise BadValue("danger is true or false")
    expiry = raw.get("expiry")
    description = raw.get("description", "")
    if not isinstance(description, str) or len(description) > 200:
        raise BadValue("description is a text of at most 200 characters")
    return OperatorAction(
        name=name,
        gcode=gcode.strip(),
        macro=macro,
        parameters=parameters,
        lane=lane,
        danger=danger,
        expiry=None if expiry is None else _number(expiry, "expiry", 1, 86400),
        confirmation=_read_confirmation(raw.get("confirmation")),
        description=printable(description, 200),
    )


def _check_template(gcode: str, names: "set[str]") -> None:
    if len(gcode) > MAX_GCODE or gcode.count("\n") >= MAX_LINES:
        raise BadValue(
            "gcode has at most {lines} lines and {characters} characters",
            lines=MAX_LINES,
            characters=MAX_GCODE,
        )
    used = set(_PLACE.findall(gcode))
    rest = _PLACE.sub("", gcode)
    if "{" in rest or "}" in rest:
        raise BadValue("gcode has braces only around the name of a parameter")
    if used - names:
        raise BadValue(
            "gcode names the parameter {name}, which it lacks", name=sorted(used - names)[0]
        )
    if names - used:
        raise BadValue(
            "the parameter {name} stands nowhere in its gcode", name=sorted(names - used)[0]
        )


def _read_parameters(raw: Any) -> Tuple[OperatorParameter, ...]:
    if not isinstance(raw, dict) or len(raw) > MAX_PARAMETERS:
        raise BadValue("parameters is an object with at most {most} names", most=MAX_PARAMETERS)
    return tuple(_read_parameter(name, value) for name, value in raw.items())


def _read_parameter(name: str, raw: Any) -> OperatorParameter:
    if not _PARAMETER.fullmatch(name):
        raise BadValue("a parameter's name is letters, digits and _")
    if not isinstance(raw, dict):
        raise BadValue("the parameter {name} is an object such as min and max", name=name)
    kind = raw.get("type", "choice" if "choices" in raw else "number")
    default = raw.get("default")
    if kind == "number":
        _known_keys(raw, frozenset(("type", "min", "max", "unit", "default")))
        low = _number(raw.get("min"), say("min of {name}", name=name), -1e6, 1e6)
        high = _number(raw.get("max"), say("max of {name}", name=name), low, 1e6)
        if default is not None:
            default = _number(default, say("default of {name}", name=name), low, high)
        unit = raw.get("unit", "")
        if not isinstance(unit, str) or len(unit) > 10:
            raise BadValue("unit of {name} is a short text", name=name)
        return OperatorParameter(name, kind, low, high, printable(unit, 10), default=default)
    if kind == "choice":
        _known_keys(raw, frozenset(("type", "choices", "default")))
        choices = raw.get("choices")
        if (
            not isinstance(choices, list)
            or not 1 <= len(choices) <= MAX_CHOICES
            or not all(isinstance(one, str) and _WORD.fullmatch(one) for one in choices)
        ):
            raise BadValue(
                "choices of {name} is a list of plain words, {most} at most",
                name=name,
                most=MAX_CHOICES,
            )
        if default is not None and default not in choices:
            raise BadValue("default of {name} is one of its choices", name=name)
        return OperatorParameter(name, kind, choices=tuple(choices), default=default)
    if kind == "text":
        _known_keys(raw, frozenset(("type", "max_length", "default")))
        longest = int(
            _number(raw.get("max_length", 40), say("max_length of {name}", name=name), 1, MAX_TEXT)
        )
        if default is not None and not (
            isinstance(default, str) and len(default) <= longest and _WORD.fullmatch(default)
        ):
            raise BadValue(
                "default of {name} is a plain text of at most {longest} characters",
                name=name,
                longest=longest,
            )
        return OperatorParameter(name, kind, longest=longest, default=default)
    if kind == "boolean":
        _known_keys(raw, frozenset(("type", "default")))
        if default is not None and not isinstance(default, bool):
            raise BadValue("default of {name} is true or false", name=name)
        return OperatorParameter(name, kind, default=default)
    raise BadValue("type of {name} is number, text, choice or boolean", name=name)


def _read_confirmation(raw: Any) -> Optional[Confirmation]:
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise BadValue("confirmation is an object with object, field and equals")
    _known_keys(raw, frozenset(("object", "field", "equals", "within")))
    name, field, equals = raw.get("object"), raw.get("field"), raw.get("equals")
    if not isinstance(name, str) or not isinstance(field, str) or not name or not field:
        raise BadValue("confirmation names an object of Klipper's and its field")
    if not isinstance(equals, (str, int, float, bool, type(None))):
        raise BadValue("equals of confirmation is a text, a number, true or false")
    within = _number(raw.get("within", 30.0), say("within of confirmation"), 1, 600)
    return Confirmation(name[:100], field[:100], equals, within)


def _known_keys(raw: Mapping[str, Any], known: "frozenset[str]") -> None:
    for name in raw:
        if name not in known and not str(name).startswith("_"):
            allowed = ", ".join(sorted(known))
            raise BadValue(
                '"{name}" is none of {allowed}', name=printable(str(name), 40), allowed=allowed
            )


def _number(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise BadValue("{name} is a number from {low:g} to {high:g}", name=name, low=low, high=high)
    return float(value)
