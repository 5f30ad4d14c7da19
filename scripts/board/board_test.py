#!/usr/bin/env python3
"""Runs the checks of the ARM build on emulated boards, in TAP: see scripts/board-test.

Needs no root, once what it runs is installed. With --resume, checks that this very build has passed
are noted, and not run again.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

import device_test
import digits_test
import pi_test
import system_test
import tap
from options import Options

PARTS = {
    "digits": digits_test.part,
    "device": device_test.part,
    "pi": pi_test.part,
    "system": system_test.part,
}


def arguments() -> argparse.Namespace:
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    work = os.environ.get("LEADSCAN_BOARD_DIR", cache / "leadscan/board")
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("parts", nargs="*", choices=list(PARTS), help="which parts")
    add("--native", type=pathlib.Path, required=True, help="leadscan for this machine")
    add("--arm", type=pathlib.Path, required=True, help="leadscan for the board")
    add("--deb", type=pathlib.Path, help="its package, for the part system")
    add("--quick", action="store_true", help="the quick checks of the part device")
    add("--cuts", type=int, help="power cuts of the small board (default: quick 3, else 27)")
    add("--system-cuts", type=int, default=3, help="of the one with systemd (default 3)")
    add("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the moments of faults")
    add("--only", action="append", help="this check alone (or cut: all of them); again for more")
    add("--resume", action="store_true", help="leave out what this build has passed")
    add("--fresh", action="store_true", help="with --resume: forget what it has passed")
    add("--keep", action="store_true", help="keep console, disk, records and frame")
    add("--work", type=pathlib.Path, default=work, help="where kernel, root and runs lie")
    return parser.parse_args()


def options_of(given: argparse.Namespace) -> Options:
    return Options(
        native=given.native,
        arm=given.arm,
        deb=given.deb or given.arm,
        work=given.work,
        is_quick=given.quick,
        cuts=given.cuts if given.cuts is not None else 3 if given.quick else 27,
        system_cuts=given.system_cuts,
        seed=given.seed,
    )


def is_wanted(check: tap.Check, only: list[str] | None) -> bool:
    name = check.name
    return not only or name in only or name.split("-")[0] in only


def run(given: argparse.Namespace, folder: pathlib.Path) -> tap.Report:
    """All parts that were asked for."""
    options = options_of(given)
    report = tap.Report()
    notes = given.work / "passed" if given.resume else None
    if notes:
        notes.mkdir(parents=True, exist_ok=True)
    for name in given.parts:
        part = PARTS[name](options)
        passed = tap.Passed(notes, part)
        if given.fresh:
            passed.forget()
        wanted = [check for check in part.checks if is_wanted(check, given.only)]
        (folder / name).mkdir()
        tap.run(part, wanted, passed, folder / name, report)
    return report


def main() -> int:
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runs = given.work / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(dir=runs))
    began = time.monotonic()
    print(f"# seed {given.seed}, in {folder}", flush=True)
    is_ended = False
    try:
        report = run(given, folder)
        is_ended = True
    finally:
        is_whole = is_ended and report.failed == 0 and report.passed > 0
        if is_whole and not given.keep:
            shutil.rmtree(folder)
        else:
            print(f"# console logs, disks, records and frames are kept: {folder}/*", flush=True)
    print(f"# {time.monotonic() - began:.0f} s")
    report.close()
    return int(not is_whole)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
