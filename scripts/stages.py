"""Prints what became of a page and how long each stage took: stages.py PAGE.json

Only Python's own library: scripts/run needs no virtual environment.
"""

from __future__ import annotations

import json
import pathlib
import sys


def main(path: pathlib.Path) -> None:
    page = json.loads(path.read_text())
    print(f"\nstatus {page['status']}, layout {page['layout']}")
    for finding in page["findings"]:
        print(f"  finding: {finding}")
    for stage in page["stages"]:
        print(f"{stage['stage']:>10} {stage['seconds']:8.3f} s")
    print(f"{'all':>10} {page['seconds']:8.3f} s")
    if page["peak_memory_mib"] is not None:
        print(f"most memory {page['peak_memory_mib']:.1f} MiB")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
