"""What the doctor found: findings by code and values, put into words in either language only when
they are told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ...runtime.messages import in_language, say
from .texts import TEXTS, TITLES


class State(str, Enum):
    OK = "ok"
    WARNING = "warning"  # works, but should be looked at
    FAILED = "failed"
    SKIPPED = "skipped"  # could not be examined, or does not apply here


@dataclass(frozen=True)
class Finding:
    """One result of one check; `code` is a row of `texts.TEXTS`, which `values` complete."""

    check: str
    state: State
    code: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def words(self, language: str) -> Tuple[str, str]:
        """(sentence, remedy); the remedy is empty where nothing is wrong."""
        said, remedy = (
            in_language(say(text, **self.values), language) for text in TEXTS[self.code]
        )
        return said, remedy

    def title(self, language: str) -> str:
        return in_language(say(TITLES[self.check]), language)


@dataclass(frozen=True)
class Report:
    findings: Sequence[Finding]
    seconds: float

    @property
    def worst(self) -> State:
        states = {finding.state for finding in self.findings}
        for state in (State.FAILED, State.WARNING):
            if state in states:
                return state
        return State.OK

    def as_dict(self, language: str = "en") -> Dict[str, Any]:
        """Sentences in `language`, English unless it is "es"."""
        checks: List[Dict[str, Any]] = []
        for finding in self.findings:
            sentence, remedy = finding.words(language)
            checks.append(
                {
                    "check": finding.check,
                    "title": finding.title(language),
                    "state": finding.state.value,
                    "code": finding.code,
                    "text": sentence,
                    "remedy": remedy,
                }
            )
        return {
            "ok": self.worst is State.OK,
            "state": self.worst.value,
            "seconds": round(self.seconds, 1),
            "checks": checks,
        }

    def lines(self, language: str = "en") -> List[str]:
        """For a console: one line a finding, what is well in short."""
        marks = {State.OK: "ok", State.WARNING: "!", State.FAILED: "!!", State.SKIPPED: "-"}
        lines = []
        for finding in self.findings:
            sentence, remedy = finding.words(language)
            lines.append(
                f"[{marks[finding.state]}] {finding.title(language)}: {sentence} {remedy}".rstrip()
            )
        return lines
