"""What is read late, and what is read with the component."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from components.tecmedhub import READ_LATE

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "components").rglob("*.py")
    if path.name != "__init__.py"
}


def test_nothing_else_is_read_late_and_nothing_of_it_at_once() -> None:
    """A missing file would be found weeks after it went, or memory be taken for nothing."""
    read = subprocess.run(
        [sys.executable, "-c", "import sys, components.tecmedhub; print(*sys.modules)"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert FILES - set(read) == {f"components.{name}" for name in READ_LATE}
