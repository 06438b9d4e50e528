"""Which fan M106 sets: a printer of today need not have a [fan]. Pure.

Sovol's, QIDI's and many more have `fan_generic`s and a macro M106; Creality's K1 family has
`output_pin fan0` and a macro M106; a toolchanger has one fan a tool and answers M106 itself.
So a macro is followed to what it sets; where it computes the name, it is the first that the
pattern fits, until an M106 was seen to move another.
"""

import fnmatch
import re
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..runtime.loose import as_dict, as_float, as_text

FAN_KINDS = ("fan_generic", "output_pin", "pwm_tool", "multi_fan")
DEPTH = 4  # macros that call macros
LEARN_WITHIN = 2.0  # seconds after M106 in which what moves is what it moves
CLOSE = 0.2  # of full speed: macros leave out the part of the range in which a fan does not turn

_SETS = re.compile(r"\b(?:SET_FAN_SPEED\b[^\n;]*?\bFAN|SET_PIN\b[^\n;]*?\bPIN)\s*=\s*(\S+)", re.I)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEMPLATE = re.compile(r"\{[^}]*\}|%\([^)]*\)")
_M106 = re.compile(r"^\s*M106(?:\s+S([0-9.]+))?\s*$", re.I)
_M107 = re.compile(r"^\s*M107\s*$", re.I)


class PartFan(NamedTuple):
    """`names`: the objects that are the part fan (several may blow as one); `candidates`: what it
    could be besides; `by_macro`: M106 is a macro; `off`: what switches it off.
    """

    names: Tuple[str, ...] = ()
    candidates: Tuple[str, ...] = ()
    by_macro: bool = False
    off: str = "M107"
    tools: bool = False  # a toolchanger's: that of the tool in hand

    @property
    def there(self) -> bool:
        return bool(self.names) or self.tools


def find_part_fan(
    available: Sequence[str], settings: Mapping[str, Mapping[str, Any]], told: str = ""
) -> PartFan:
    """`told`: the operator's word, an object's name with or without its kind."""
    macros = {n.split(" ", 1)[1].lower() for n in available if n.startswith("gcode_macro ")}
    by_macro = "m106" in macros and "fan" not in available
    off = "M107" if not by_macro or "m107" in macros else "M106 S0"
    fans = [n for n in available if n.split(" ", 1)[0] in FAN_KINDS]
    if told:
        named = [n for n in available if told.lower() in (n.lower(), n.lower().partition(" ")[2])]
        named = [n for n in named if n == "fan" or n in fans]
        if named:
            return PartFan(tuple(named), (), by_macro, off)
    if "fan" in available:
        return PartFan(("fan",), (), False, off)
    if "toolchanger" in available:
        return PartFan((), (), by_macro, off, tools=True)
    multi = tuple(n for n in fans if n.split(" ", 1)[0] == "multi_fan")
    if multi:
        return PartFan(multi[:1], multi[1:], by_macro, off)
    if not by_macro:
        return PartFan()
    plain, templates = _what_it_sets("m106", settings, macros, DEPTH)
    exact = [n for n in fans if _bare(n) in plain]
    fitting = [n for n in sorted(fans) if any(fnmatch.fnmatchcase(_bare(n), t) for t in templates)]
    names = exact or fitting[:1]
    return PartFan(tuple(names), tuple(n for n in fitting if n not in names), True, off)


def _bare(name: str) -> str:
    return name.partition(" ")[2].lower()


def _what_it_sets(
    macro: str, settings: Mapping[str, Mapping[str, Any]], macros: Set[str], depth: int
) -> Tuple[Set[str], Set[str]]:
    """(names, patterns) of the fans and pins that a macro sets, and the macros that it calls."""
    text = as_text(as_dict(settings.get(f"gcode_macro {macro}")).get("gcode"))
    plain: Set[str] = set()
    templates: Set[str] = set()
    for name in _SETS.findall(text):
        pattern = _TEMPLATE.sub("*", name.strip("\"'").lower())
        if "*" not in pattern and "{" not in pattern:
            plain.add(pattern)
        elif pattern.strip("*{}"):
            templates.add(pattern.partition("{")[0] + "*" if "{" in pattern else pattern)
        else:
            templates.add("*fan*")  # all of the name is computed
    if depth:
        for word in {w.lower() for w in _WORD.findall(text)} & macros - {macro}:
            further = _what_it_sets(word, settings, macros - {macro}, depth - 1)
            plain |= further[0]
            templates |= further[1]
    return plain, templates


def asked_speed(script: str) -> Optional[float]:
    """The speed, 0 to 1, that the last M106 or M107 of a script asks for of the part fan; None if
    there is none, or it names another fan (P).

    >>> asked_speed("G28\\nM106 S255"), asked_speed("M107"), asked_speed("M106 P2 S255")
    (1.0, 0.0, None)
    """
    for line in reversed(script.splitlines()):
        found = _M106.match(line)
        if found:
            return min((as_float(found.group(1), 255.0) or 0.0) / 255.0, 1.0)
        if _M107.match(line):
            return 0.0
    return None


def speed_of(objects: Mapping[str, Mapping[str, Any]], name: str) -> Optional[float]:
    """0 to 1, of a fan or of a pin that is one; None where Klipper says nothing."""
    status = objects.get(name)
    if status is None:
        return None
    speed = as_float(status.get("speed"))
    return as_float(status.get("value")) if speed is None else speed


def learn(fan: PartFan, asked: float, moved: Mapping[str, float]) -> PartFan:
    """What M106 was seen to lead to: `moved` holds the new speeds of what changed within
    LEARN_WITHIN after it. Only where its macro left it open.
    """
    if not fan.candidates:
        return fan
    open_to = (*fan.names, *fan.candidates)
    seen: List[str] = [
        n for n in open_to if n in moved and abs(moved[n] - asked) <= (CLOSE if asked else 0.0)
    ]
    if not seen or set(seen) == set(fan.names):
        return fan
    return fan._replace(names=tuple(seen), candidates=tuple(n for n in open_to if n not in seen))


def part_speed(fan: PartFan, objects: Mapping[str, Mapping[str, Any]]) -> Optional[float]:
    """The part fan's speed, 0 to 1: of the fastest where several blow as one; None without one."""
    names: Sequence[str] = fan.names
    if fan.tools:
        tool = as_text(as_dict(objects.get("toolchanger")).get("tool"))
        name = as_text(as_dict(objects.get(tool)).get("fan"))
        names = [n for n in objects if name and n in (name, f"fan_generic {name}")]
    speeds = [s for s in (speed_of(objects, name) for name in names) if s is not None]
    return max(speeds) if speeds else (0.0 if fan.there else None)
