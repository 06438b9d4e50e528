"""The maker of test files: Moonraker's own reader must find in them what slicers write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

from tests.rig.gcode import make_gcode


def metadata(folder: Path, text: str) -> Dict[str, Any]:
    (folder / "file.gcode").write_text(text, encoding="utf-8")
    module = "moonraker.components.file_manager.metadata"
    command = [sys.executable, "-m", module, "-p", str(folder), "-f", "file.gcode"]
    result = subprocess.run(command, capture_output=True, check=True)
    found: Dict[str, Any] = json.loads(result.stdout)["metadata"]
    return found


def test_moonraker_finds_the_slicers_figures(tmp_path: Path) -> None:
    found = metadata(
        tmp_path,
        make_gcode(
            seconds=75,
            layers=5,
            hotend=210,
            bed=60,
            thumbnail=True,
            objects=2,
            head=3000,
            tail=3000,
        ),
    )
    assert found["slicer"] == "PrusaSlicer"
    assert found["estimated_time"] == 75
    assert found["layer_count"] == 5
    assert (found["layer_height"], found["object_height"]) == (0.2, 1.0)
    assert (found["first_layer_extr_temp"], found["first_layer_bed_temp"]) == (210, 60)
    assert found["filament_type"] == "PLA"
    assert found["filament_total"] > 0 < found["filament_weight_total"]
    assert {picture["width"] for picture in found["thumbnails"]} == {16, 32, 64}


def test_what_was_left_out_is_not_found(tmp_path: Path) -> None:
    text = make_gcode(estimated_time=False, m73=False, layer_info=False)
    found = metadata(tmp_path, text)
    assert "estimated_time" not in found
    assert "thumbnails" not in found
    assert "M73" not in text
    assert "SET_PRINT_STATS_INFO" not in text


@pytest.mark.parametrize("seconds", [0.5, 8, 600])
@pytest.mark.parametrize("layers", [1, 50])
def test_moves_stay_on_the_bed(seconds: float, layers: int) -> None:
    text = make_gcode(seconds=seconds, layers=layers)
    moves = [line.split() for line in text.splitlines() if line.startswith("G1 X")]
    assert moves
    for move in moves:
        assert 0 <= float(move[1][1:]) <= 220
        assert 0 <= float(move[2][1:]) <= 220
