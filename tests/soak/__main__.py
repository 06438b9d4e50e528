"""`make soak`: days of a printer's life, with a line an hour.

python -m tests.soak [--hours 24] [--outage 24] [--tempo 120] [--seed 1]
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.rig.klippy import short_folder
from tests.soak.soak import soak

WARM_UP = 8.0  # hours until everything has happened once and every buffer is full


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0, help="with faults")
    parser.add_argument("--outage", type=float, default=24.0, help="hours that the hub is away")
    parser.add_argument("--tempo", type=float, default=120.0, help="seconds that pass in one")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the faults")
    chosen = parser.parse_args()
    print(f"{chosen.hours:g} h of faults, {chosen.outage:g} h of outage, seed {chosen.seed}")
    with short_folder("k") as folder:
        try:
            soak(
                folder,
                tempo=chosen.tempo,
                warm_up=WARM_UP,
                hours=chosen.hours,
                outage=chosen.outage,
                seed=chosen.seed,
                tell=_say,
            )
        except AssertionError as error:
            print(f"FAILED: {error}")
            return 1
    print("all well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
