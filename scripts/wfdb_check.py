"""Reads a page's WFDB record with the wfdb package and compares it with the page's CSV.

    wfdb_check.py OUT/ID

Format 16 stores whole steps of 1/gain millivolt: half a step and the CSV's last digit may differ.
A sample that is missing in one must be missing in the other.
"""

from __future__ import annotations

import argparse
import csv
import pathlib

import numpy as np
import wfdb


def read_csv(path: pathlib.Path) -> tuple[list[str], np.ndarray]:
    """Lead names, and [samples, leads] in millivolt with NaN where a cell is empty."""
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    values = [[float(cell) if cell else np.nan for cell in row] for row in rows]
    return head[1:], np.array(values)[:, 1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", type=pathlib.Path)
    args = parser.parse_args()
    leads, expected = read_csv(args.record.with_name(args.record.name + ".csv"))
    record = wfdb.rdrecord(str(args.record.resolve()))
    assert record.n_sig > 0, "the record has no signals"
    assert set(record.units) == {"mV"}, f"units {record.units}"
    compared = 0
    for k, name in enumerate(record.sig_name):
        found, wanted = record.p_signal[:, k], expected[:, leads.index(name)]
        assert len(found) == len(wanted), f"{name}: {len(found)} samples, {len(wanted)} in the CSV"
        missing = np.isnan(wanted)
        assert (np.isnan(found) == missing).all(), f"{name}: other samples are missing"
        step = 1 / record.adc_gain[k]
        worst = np.abs(found - wanted)[~missing].max(initial=0)
        assert worst <= 0.5 * step + 6e-5, f"{name}: {worst} mV apart"
        compared += int((~missing).sum())
    absent = [name for name in leads if name not in record.sig_name]
    for name in absent:
        assert np.isnan(expected[:, leads.index(name)]).all(), f"{name} is not in the record"
    assert compared > 0, "nothing was compared"
    print(f"wfdb: {record.n_sig} leads at {record.fs} Hz, {compared} samples agree with the CSV")


if __name__ == "__main__":
    main()
