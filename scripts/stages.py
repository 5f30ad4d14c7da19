"""Prints how long each stage of a page took: stages.py PAGE.json

Only Python's own library: scripts/run needs no virtual environment.
"""

from __future__ import annotations

import json
import pathlib
import sys


def main(path: pathlib.Path) -> None:
    page = json.loads(path.read_text())
    print(f"\nstatus {page['status']}, layout {page.get('layout')}")
    for finding in page.get("findings", []):
        print(f"  finding: {finding}")
    stages: dict[str, float] = page["stage_seconds"]
    for stage, seconds in stages.items():
        print(f"{stage:>10} {seconds:8.3f} s")
    print(f"{'all':>10} {sum(stages.values()):8.3f} s")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
