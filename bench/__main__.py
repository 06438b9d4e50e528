"""`make bench`: measure everything, print it, and write docs/performance.md with its picture.

python -m bench                  # all parts, as the documentation has them (about half an hour)
python -m bench latency fleet    # only these, printed and not written
python -m bench wire --write     # … and put into the page, with their date
python -m bench --quick          # short runs, to see that the benchmarks work; they promise nothing
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

from bench.figures import Figure, machine, table
from bench.report import write

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    *("fleet", "latency", "footprint", "wire", "lines"),
    *("download", "cameras", "deployed", "loop_lag"),
)
APART = ("where", "against")  # for who looks for something: no figures for the page


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS, *APART], metavar="PART")
    parser.add_argument("--quick", action="store_true", help="short runs")
    parser.add_argument(
        "--write", action="store_true", help="put these parts into the page, with their date"
    )
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    chosen = parser.parse_args()
    to_write = chosen.write or not (chosen.parts or chosen.quick)
    figures: list[Figure] = []
    started = time.monotonic()
    for name in chosen.parts or PARTS:
        print(f"\n{name} …", flush=True)
        found = importlib.import_module(f"bench.{name}").measure(chosen.quick)
        print(table(found), flush=True)
        figures += found
        if to_write and found:  # at once: a part that breaks costs no other's half an hour
            write(ROOT / "docs", found, "a quick run" if chosen.quick else "")
    print(f"\nMeasured on {machine()} in {(time.monotonic() - started) / 60:.0f} minutes.")
    if chosen.json:
        chosen.json.write_text(json.dumps([f.as_dict() for f in figures], indent=1))
    if to_write:
        print("docs/performance.md has these parts anew, and its picture.")
    broken = [f.name for f in figures if not f.kept]
    if broken:
        print("Promises not kept: " + "; ".join(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
