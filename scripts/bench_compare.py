"""Holds leadscan against another program, page by page: seconds, processor seconds, peak memory.

    scripts/bench compare [--pages FILE ...] [--runs N] [--threads N] -- OTHER COMMAND

Both run on the same pages in turn, each page after the other's, so that a machine's other work
falls on both. In the other command `{page}` stands for the picture and `{out}` for an empty folder;
the picture comes last where it is not named. The median of the runs is told, of each page and in
all; children count.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "tests/pages/sample/page.jpg"
MIB = 1 << 20


@dataclass(frozen=True)
class Cost:
    """Of one run."""

    seconds: float
    processor_s: float
    peak_mib: float


def run(command: list[str]) -> Cost | None:
    """Runs a command; nothing where it fails. Its children's peak is that of the largest."""
    began = time.monotonic()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    # leadscan's 1: a page was rejected, which is an answer.
    if process.returncode not in (0, 1):
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        print(f"{command[0]} ended with {process.returncode}: {' '.join(last)}", file=sys.stderr)
        return None
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / MIB)


def median(costs: list[Cost | None]) -> Cost | None:
    done = [cost for cost in costs if cost]
    if not done or len(done) < len(costs):
        return None
    return Cost(
        statistics.median(cost.seconds for cost in done),
        statistics.median(cost.processor_s for cost in done),
        statistics.median(cost.peak_mib for cost in done),
    )


def other_command(words: list[str], page: pathlib.Path, out: str) -> list[str]:
    filled = [word.replace("{page}", str(page)).replace("{out}", out) for word in words]
    return filled if any("{page}" in word for word in words) else [*filled, str(page)]


def row(name: str, ours: Cost | None, theirs: Cost | None) -> str:
    def cells(cost: Cost | None) -> str:
        if cost is None:
            return f"{'failed':>8} {'':>8} {'':>8}"
        return f"{cost.seconds:>8.2f} {cost.processor_s:>8.2f} {cost.peak_mib:>8.0f}"

    ratio = ""
    if ours and theirs:
        ratio = f"{ours.processor_s / theirs.processor_s:>7.2f}"
    return f"{name:<24.24} {cells(ours)}  {cells(theirs)} {ratio}"


def total(costs: list[Cost | None]) -> Cost | None:
    done = [cost for cost in costs if cost]
    if len(done) < len(costs) or not done:
        return None
    return Cost(
        sum(cost.seconds for cost in done),
        sum(cost.processor_s for cost in done),
        max(cost.peak_mib for cost in done),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="leadscan")
    parser.add_argument("--pages", type=pathlib.Path, nargs="+", default=[PAGE])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="leadscan's")
    parser.add_argument("other", nargs="+", metavar="OTHER COMMAND", help="behind --")
    args = parser.parse_args()
    print(f"{'':<24} {'leadscan':^26}  {args.other[0][-26:]:^26}")
    heads = f"{'s':>8} {'CPU s':>8} {'MiB':>8}"
    print(f"{'page':<24} {heads}  {heads} CPU/CPU")
    all_ours, all_theirs = [], []
    for page in args.pages:
        ours: list[Cost | None] = []
        theirs: list[Cost | None] = []
        for _ in range(args.runs):
            with tempfile.TemporaryDirectory() as out:
                own = [str(args.binary), "digitize", str(page), "--format", "csv"]
                own += ["--threads", str(args.threads), "--out", out]
                ours.append(run(own))
            with tempfile.TemporaryDirectory() as out:
                theirs.append(run(other_command(args.other, page, out)))
        all_ours.append(median(ours))
        all_theirs.append(median(theirs))
        print(row(page.name, all_ours[-1], all_theirs[-1]), flush=True)
    print(row("all", total(all_ours), total(all_theirs)))
    return int(None in all_ours or None in all_theirs)


if __name__ == "__main__":
    sys.exit(main())
