#!/usr/bin/env python3
"""Read a WFDB record with the wfdb package and compare it with the CSV beside it.

    check_wfdb.py RECORD [RECORD ...]

RECORD is a path without ending: RECORD.hea, RECORD.dat and RECORD.csv are read. Every sample has to
be the CSV's to half a unit of the record's gain and half a unit of the CSV's last decimal; what is
empty in the CSV has to be NaN; checksums have to be those of the samples. Needs numpy and wfdb 4.
"""
import argparse
import csv
import pathlib
import sys

import numpy as np
import wfdb

CSV_STEP_MV = 1e-4


def read_csv(path: pathlib.Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Lead names, seconds, and millivolts with NaN where a cell is empty."""
    with path.open(newline="") as file:
        names, *rows = list(csv.reader(file))
    values = np.array([[float(cell) if cell else np.nan for cell in row] for row in rows])
    return names[1:], values[:, 0], values[:, 1:]


def check(record: pathlib.Path) -> str:
    """What the record holds, in one line; an AssertionError says what is wrong with it."""
    names, seconds, expected = read_csv(record.with_name(record.name + ".csv"))
    found = wfdb.rdrecord(str(record))
    raw = wfdb.rdrecord(str(record), physical=False)
    assert found.sig_name == names, f"leads {found.sig_name}"
    assert found.units == ["mV"] * len(names), f"units {found.units}"
    assert found.p_signal.shape == expected.shape, f"shape {found.p_signal.shape}"
    times = np.arange(found.sig_len) / found.fs
    assert np.allclose(times, seconds, atol=1e-6), f"rate {found.fs}"
    missing = np.isnan(found.p_signal)
    assert (missing == np.isnan(expected)).all(), "missing samples differ"
    allowed = 0.5 / np.array(found.adc_gain) + 0.5 * CSV_STEP_MV + 1e-6
    off = np.where(missing, 0, np.abs(found.p_signal - expected)).max(axis=0)
    assert (off <= allowed).all(), f"off by {off} mV"
    sums = [int(column.sum()) % 65536 for column in raw.d_signal.T.astype(np.int64)]
    assert sums == [value % 65536 for value in raw.checksum], "checksums differ"
    size = f"{found.n_sig} leads, {found.sig_len} samples at {found.fs:g} Hz"
    return f"{record.name}: {size}, as in the CSV"


def main() -> int:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("records", nargs="+", type=pathlib.Path, metavar="RECORD")
    failed = 0
    for record in parser.parse_args().records:
        try:
            print(check(record))
        except (AssertionError, OSError, ValueError) as error:
            print(f"{record}: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
