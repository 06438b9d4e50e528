"""A few hours of a printer's life in two minutes; `make soak` lives through days."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.soak import soak


@pytest.mark.stack
@pytest.mark.timeout(900)
def test_hours_of_faults_cost_neither_memory_nor_disk_nor_anything_that_happened(
    folder: Path,
) -> None:
    found = soak(folder, tempo=150, warm_up=1.5, hours=1.0, outage=3.0, seed=20)
    print(found, found.outage.own, found.outage.moonraker, sep="\n")
