"""How far two signal files are apart: compare.py EXPECTED.csv FOUND.csv

Fails where a sample is missing in one of them only, or two differ by more than 1 uV. Only Python's
own library.
"""

from __future__ import annotations

import csv
import pathlib
import sys

# One microvolt, and room for the rounding of the difference.
APART_UV_MAX = 1 + 1e-6


def apart_uv(expected: pathlib.Path, found: pathlib.Path) -> tuple[int, float]:
    """How many samples two files share, and how far apart they are at most."""
    tables = []
    for path in (expected, found):
        with path.open(newline="") as file:
            tables.append(list(csv.reader(file)))
    head, other = tables[0][0], tables[1][0]
    if head != other:
        raise ValueError(f"{found}: columns {other}, not {head}")
    if len(tables[0]) != len(tables[1]):
        raise ValueError(f"{found}: {len(tables[1])} lines, not {len(tables[0])}")
    worst_mv, count = 0.0, 0
    for k, (wanted, values) in enumerate(zip(*tables, strict=True)):
        for lead, a, b in zip(head, wanted, values, strict=True):
            if (a == "") != (b == ""):
                raise ValueError(f"{found}: line {k + 1}, {lead}: {b!r}, not {a!r}")
            if k > 0 and a:
                worst_mv, count = max(worst_mv, abs(float(a) - float(b))), count + 1
    if count == 0:
        raise ValueError(f"{found}: nothing to compare")
    return count, 1000 * worst_mv


def main(expected: pathlib.Path, found: pathlib.Path) -> None:
    try:
        count, worst_uv = apart_uv(expected, found)
    except ValueError as error:
        sys.exit(str(error))
    if worst_uv > APART_UV_MAX:
        sys.exit(f"{found}: {worst_uv:.1f} uV apart")
    print(f"{found}: {count} values, at most {worst_uv:.1f} uV apart")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
