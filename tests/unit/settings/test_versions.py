"""Settings and logs within every Moonraker of the bench, on its own Python."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("on_any_moonraker.py")


@pytest.mark.versions
def test_on_every_moonraker(moonraker_python: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [moonraker_python, "-B", SCRIPT, ROOT, tmp_path],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert ran.stdout.endswith("ok\n"), ran.stdout + ran.stderr
    assert ran.returncode == 0
    assert "TECMED_s3cr3t" not in ran.stdout + ran.stderr
