"""Which of two values lets the hub do more, and the rule that only a written value may widen one.

Pure. A guarded option is one whose widening by accident could harm: all of `security` that limits
the hub, and what decides which files are deleted.
"""

from __future__ import annotations

import fnmatch
from typing import Any, Callable, Dict, Tuple

from .values import Option

Wider = Callable[[Any, Any], bool]  # whether the first allows anything that the second does not


def _ranked(*narrow_to_wide: Any) -> Wider:
    return lambda new, old: narrow_to_wide.index(new) > narrow_to_wide.index(old)


def _patterns(new: Tuple[str, ...], old: Tuple[str, ...]) -> bool:
    return any(not any(_covers(pattern, known) for known in old) for pattern in new)


def _covers(pattern: str, known: str) -> bool:
    if known in (pattern, "*"):
        return True
    return not set(pattern) & set("*?[") and fnmatch.fnmatchcase(pattern.upper(), known.upper())


GUARDED: Dict[str, Wider] = {
    "security.remote_control": _ranked("off", "monitor", "print", "full"),
    "security.validate_dangerous_commands": _ranked(True, False),
    "security.rate_limit_seconds": lambda new, old: bool(new < old),
    "security.allowed_gcode_patterns": _patterns,
    "security.allowed_macros": _patterns,
    "security.allowed_pins": _patterns,
    "security.allowed_power_devices": _patterns,
    "security.denied_actions": lambda new, old: not set(old) <= set(new),
    "security.require_clear_bed": _ranked(True, False),
    "file_management.auto_cleanup": _ranked(False, True),
    "file_management.max_age_days": lambda new, old: bool(new < old),
    "file_management.cleanup_scope": _ranked("downloaded", "all"),
    "file_management.verify_checksums": _ranked(True, False),
}


def wider(path: str, new: Any, old: Any) -> bool:
    """Whether `new` would let the hub do anything, or a file be deleted, that `old` does not.

    >>> wider("security.remote_control", "full", "print")
    True
    >>> wider("security.allowed_macros", ("LOAD_PLA",), ("LOAD_*", "PARK"))
    False
    """
    return path in GUARDED and GUARDED[path](new, old)


def narrower(path: str, value: Any, other: Any) -> Any:
    """What both of two values allow.

    >>> narrower("security.denied_actions", ("reboot",), ("shutdown",))
    ('reboot', 'shutdown')
    """
    if not wider(path, value, other):
        return value
    if not wider(path, other, value):
        return other
    if path == "security.denied_actions":
        return tuple(dict.fromkeys((*value, *other)))
    return tuple(item for item in value if not wider(path, (item,), other))


def cautious(option: Option, value: Any) -> Any:
    """What is in force in place of `value` where nobody can tell what was meant."""
    return value if option.cautious is None else narrower(option.path, value, option.cautious)
