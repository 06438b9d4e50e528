"""The processor time of the plugin beside that of an earlier commit of it, in one run.

What opening a connection costs changes with the machine, and with it the bare sketch, against which
the promise is. Whether the plugin itself has become dearer, only its former self can tell:

    AGAINST=5200a8f python -m bench against     # seven minutes
"""

from __future__ import annotations

import compileall
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import footprint
from bench.figures import Figure
from tests.rig.hub import PhpHub
from tests.rig.klippy import ROOT, KlippyRig, short_folder

PART = "against"
COPIES = 6
WINDOW, ROUNDS = 60.0, 5  # seconds


def measure(quick: bool) -> list[Figure]:
    commit = os.environ.get("AGAINST")
    if not commit:
        raise SystemExit("AGAINST names no commit to compare with.")
    rigs: footprint.Rigs = {"now": [], "then": [], "bare": [], "sketch": []}
    with contextlib.ExitStack() as running:
        former = running.enter_context(checkout(commit))
        for repository in (ROOT, former):
            compileall.compile_dir(str(repository / "components"), quiet=1)
        folder: Path = running.enter_context(short_folder("b"))
        hub = running.enter_context(PhpHub())
        klippy = running.enter_context(KlippyRig(folder / "k"))
        for number in range(2 if quick else COPIES):
            for kind, those in rigs.items():
                where = folder / f"{kind[0]}{number}"
                options = footprint.hub_options(hub.gen1_url, f"{kind}{number}")
                if kind == "sketch":
                    rig = footprint.sketched(where, klippy, hub)
                elif kind == "bare":
                    rig = footprint.moonraker(where, klippy, None)
                else:
                    repository = former if kind == "then" else ROOT
                    rig = footprint.moonraker(where, klippy, options, repository)
                those.append(running.enter_context(rig))
        time.sleep(footprint.WARM_UP)
        costs = footprint.per_cent(rigs, 10.0 if quick else WINDOW, ROUNDS)
    alone, now, then, least = (statistics.mean(costs[k]) for k in ("bare", "now", "then", "sketch"))
    return [
        Figure(PART, "extra CPU, idle", now - alone, footprint.CORE),
        Figure(PART, f"extra CPU of {commit}, idle", then - alone, footprint.CORE),
        Figure(PART, "extra CPU of the bare sketch, idle", least - alone, footprint.CORE),
        Figure(PART, f"extra CPU against {commit}'s", (now - alone) / (then - alone), "×"),
    ]


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A work tree of its own, for as long as it is wanted."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tecmedhub"
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
