"""The values in force while they are put together, and what there is to tell about them."""

from __future__ import annotations

from typing import Any, Dict, List

from ..runtime.messages import as_message, say
from .caution import cautious, narrower
from .memory import Memory
from .model import Origin, Origins
from .options import OPTIONS
from .problems import MAX_PROBLEMS, Problem
from .values import Kind, Option, Reading, figure, shown


class InForce:
    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.values: Dict[str, Any] = {option.path: option.default for option in OPTIONS}
        self.origins: Origins = {option.path: Origin.DEFAULT for option in OPTIONS}
        self.problems: List[Problem] = []
        self.untold = 0  # problems beyond those
        self.news: Dict[str, bool] = {}  # by path: the value differs from what its file said before
        self.tokens: List[Any] = []  # whatever was written in their place
        self.remembered: Dict[str, Dict[str, Any]] = {}  # what each file says, by its name

    def put(self, option: Option, value: Any, origin: Origin) -> None:
        if option.kind is Kind.MAP:
            value = {**self.values[option.path], **value}
        self.values[option.path] = value
        self.origins[option.path] = origin

    def taken(
        self, option: Option, reading: Reading, called: str, origin: Origin, known: Any = None
    ) -> Any:
        """The value of what could be read only in parts: whatever was to be denied besides, is."""
        value, told = reading.value, list(reading.left_out)
        if told and option.path == "security.denied_actions":
            value = narrower(option.path, value, option.cautious if known is None else known)
            told.append(say("until this is mended, denied are {actions}", actions=", ".join(value)))
        for what in told:
            self.tell(option.path, origin, "{option}: {what}", option=called, what=what)
        return value

    def doubt(self, option: Option) -> str:
        """Nobody can tell what was meant; what is in force instead, for a sentence."""
        value = self.values[option.path]
        safe = cautious(option, value)
        if safe != value:
            self.put(option, safe, Origin.CAUTIOUS)
            return say("to be safe, {value} is in force", value=describe_value(option, safe))
        if self.origins[option.path] is Origin.DEFAULT:
            default = describe_value(option, value)
            return say("{value} (the default) is in force", value=default)
        return say("{value} is in force", value=describe_value(option, value))

    def refused(
        self, option: Option, called: str, raw: Any, error: str, instead: str, origin: Origin
    ) -> None:
        places = {"option": called, "wanted": error, "instead": instead}
        if option.secret:
            text = say("{option}: must be {wanted}; {instead}", **places)
        else:
            text = say(
                "{option}: {value} is not valid, it must be {wanted}; {instead}",
                value=shown(raw),
                **places,
            )
        self.tell(option.path, origin, text)

    def tell(self, about: str, origin: Origin, template: str, **places: Any) -> None:
        """A problem with the option or section at `about`; the sentence as `Told` takes it."""
        self.add(Problem(about, origin, as_message(template, **places)))

    def add(self, problem: Problem) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            if problem not in self.problems:
                self.problems.append(problem)
        else:
            self.untold += 1


def describe_value(option: Option, value: Any) -> str:
    """A value in force, for a sentence; of a secret, only whether there is one."""
    if option.secret:
        return say("the token as before") if value else say("no token")
    if value in ("", (), {}):
        return say("nothing")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return figure(value)
    if isinstance(value, tuple):
        return shown(", ".join(value))
    return str(value) if option.kind is Kind.CHOICE else shown(value)
