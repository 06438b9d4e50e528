"""The doctor: one call that looks at everything between this printer and its hub, and names a
remedy for what is wrong.
"""

from __future__ import annotations

from .doctor import Doctor
from .report import Finding, Report, State

__all__ = ["Doctor", "Finding", "Report", "State"]
