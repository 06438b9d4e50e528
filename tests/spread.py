"""How `make test` spreads the tests over the workers of pytest-xdist.

Its own ways hand tests out by number: to them a row of two minutes is worth one of two
milliseconds, and whoever has several of the former is alone in the end. Here what takes longest
begins first: a long row by itself, the others in pieces of a file, whose rows share a rig. Who has
done a piece takes the next. The unit tests, which need a processor where all others wait, come last
and fill the gaps.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from xdist.scheduler import LoadScopeScheduling

USUAL_SECONDS = 5.0  # of a row that is not below
ALONE = 25.0  # seconds; a row that takes longer is a piece by itself
PIECE = 45.0  # seconds of rows that stay together

# Seconds of the rows whose names begin so, on two cores that do nothing else. Only the order hangs
# on them: whoever adds a row of more than half a minute adds it here.
SECONDS = {
    "tests/unit/": 0.04,
    "tests/unit/hub/test_bad_lines.py": 2.5,
    "tests/unit/files/test_transfers.py": 0.13,
    "tests/unit/films/": 0.5,
    "tests/unit/cameras/": 0.2,
    "tests/unit/server/": 0.4,
    "tests/unit/settings/test_no_accident_widens.py": 0.6,
    "tests/unit/net/": 0.2,
    "tests/unit/store/test_ledger.py": 0.15,
    "tests/unit/commands/test_remote.py": 0.1,
    "tests/soak/": 132,
    "tests/stack/test_redeliver.py": 93,
    "tests/stack/test_network.py::test_a_middlebox_that_forgets": 89,
    "tests/stack/test_commands_crash.py::test_each_command_runs_once": 71,
    "tests/stack/test_neighbours.py::test_a_video": 68,
    "tests/stack/test_neighbours.py::test_beside": 42,
    "tests/simulation/test_stories.py::test_the_stories_of_the_day": 150,  # a processor's, of 61
    "tests/simulation/": 1,
    "tests/browser/test_everywhere.py::test_every_screen": 120,  # the same
    "tests/browser/test_deployed_pages.py": 40,
    "tests/browser/": 12,
    "tests/install/test_install.py": 1,
    "tests/stack/test_engine_told.py::test_a_cancel_of_forty_seconds": 47,
    "tests/stack/test_engine_told.py::test_more_than_fifty": 45,
    "tests/stack/test_further_actions.py::test_each_on_both_sides": 47,
    "tests/stack/test_timelapse.py": 40,
    "tests/stack/test_cameras.py::test_bad_pictures": 44,
    "tests/stack/test_network.py::test_connections_are_kept": 40,
    "tests/stack/test_demo.py": 39,
    "tests/stack/test_commands.py::test_generation_2": 38,
    "tests/stack/test_deployed.py": 40,
    "tests/stack/test_printers.py": 22,
    "tests/stack/test_printers.py::test_a_printer_is_seen_set_and_printed_on[long start]": 44,
    "tests/stack/fault_matrix/test_cameras.py": 20,
    "tests/stack/fault_matrix/test_hub.py::test_a_download_crawls": 36,
    "tests/stack/test_versions.py": 24,
    "tests/stack/test_status.py": 18,
    "tests/stack/test_update_manager.py": 20,
    "tests/stack/test_secrecy.py": 20,
    "tests/stack/test_engine.py::test_a_print_waits_for_a_busy_klippy": 35,
    "tests/stack/test_beyond_klippy.py::test_the_job_queue": 30,
    "tests/browser/test_panel.py::test_connected_lost_and_back": 40,
}


def seconds(name: str) -> float:
    """About how long a test takes, by its node id."""
    known = [start for start in SECONDS if name.startswith(start)]
    return SECONDS[max(known, key=len)] if known else USUAL_SECONDS


def pieces(names: Iterable[str]) -> dict[str, int]:
    """The number of the piece that each test is in, the longest first; the same in whatever order
    the names come.
    """
    found: list[tuple[float, list[str]]] = []
    together: dict[str, list[str]] = {}
    for name in sorted(names):
        if seconds(name) > ALONE:
            found.append((seconds(name), [name]))
        else:
            together.setdefault(name.partition("::")[0], []).append(name)
    for rows in together.values():
        piece: list[str] = []
        for name in rows:
            piece.append(name)
            if sum(map(seconds, piece)) >= PIECE:
                found.append((sum(map(seconds, piece)), piece))
                piece = []
        if piece:
            found.append((sum(map(seconds, piece)), piece))
    found.sort(key=lambda one: -one[0])
    return {name: number for number, (_, piece) in enumerate(found) for name in piece}


def sort(items: list[pytest.Item]) -> None:
    """In a worker: as `Spread` hands them out."""
    number = pieces(item.nodeid for item in items)
    items.sort(key=lambda item: number[item.nodeid])


class Spread(LoadScopeScheduling):
    """In the process that hands out."""

    def __init__(self, config: pytest.Config, log: object = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # they are in order
        self._pieces: dict[str, int] = {}

    def _split_scope(self, nodeid: str) -> str:
        if not self._pieces:
            self._pieces = pieces(self.collection or ())
        return str(self._pieces[nodeid])
