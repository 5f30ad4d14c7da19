"""Compares two signal files: compare.py EXPECTED.csv FOUND.csv

Fails where a sample is missing in one of them only, or two differ by more than 1 uV. Only Python's
own library.
"""

from __future__ import annotations

import csv
import pathlib
import sys

# One microvolt, and room for the rounding of the difference.
APART_MV_MAX = 0.001 + 1e-9


def main(expected: pathlib.Path, found: pathlib.Path) -> None:
    tables = []
    for path in (expected, found):
        with path.open(newline="") as file:
            tables.append(list(csv.reader(file)))
    head, other = tables[0][0], tables[1][0]
    if head != other:
        sys.exit(f"{found}: columns {other}, not {head}")
    if len(tables[0]) != len(tables[1]):
        sys.exit(f"{found}: {len(tables[1])} lines, not {len(tables[0])}")
    worst, compared = 0.0, 0
    for k, (wanted, values) in enumerate(zip(*tables, strict=True)):
        for lead, a, b in zip(head, wanted, values, strict=True):
            if (a == "") != (b == ""):
                sys.exit(f"{found}: line {k + 1}, {lead}: {b!r}, not {a!r}")
            if k > 0 and a:
                worst, compared = max(worst, abs(float(a) - float(b))), compared + 1
    if compared == 0:
        sys.exit(f"{found}: nothing to compare")
    if worst > APART_MV_MAX:
        sys.exit(f"{found}: {1000 * worst:.1f} uV apart")
    print(f"{found}: {compared} values, at most {1000 * worst:.1f} uV apart")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
