"""Counts what a page costs on ARM processors, stage by stage, under emulation.

    bench_arm.py --binary LEADSCAN [--page FILE] [--cpu NAME ...] [--write REASON]

User-mode emulation counts the instructions of one thread (they repeat within 0.01 %) and, of a run
on four threads, those of the first: what is done at once on others is not waited for. Seconds are
estimated from them, not measured. Counts are held against tests/figures/arm.csv: a stage that is
more than 3 % up fails; `--write` takes the new counts, with the reason as the table's first line.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests/figures/arm.csv"
PAGE = ROOT / "tests/pages/sample/page.jpg"
STAGES = ("load", "read", "labels", "grid", "layout", "trace", "signal", "write")
UP_MAX = 1.03
MILLION = 1e6
THREADS = 4


@dataclass(frozen=True)
class Processor:
    name: str
    board: str
    clock_ghz: float
    # Instructions a cycle: assumed.
    per_cycle: float


PROCESSORS = (
    Processor("cortex-a53", "Raspberry Pi 3", 1.4, 0.7),
    Processor("cortex-a72", "Raspberry Pi 4", 1.8, 1.0),
    Processor("cortex-a76", "Raspberry Pi 5", 2.4, 2.0),
)

Counts = dict[str, float]


def marks(log: str) -> Iterator[tuple[str, int]]:
    """Stages as they begin, and the instructions until then."""
    yield "load", 0
    for count, stage in re.findall(r"^so far (\d+)\nstage (\w+)$", log, re.MULTILINE):
        # Between two stages nothing is done; behind the last one, files are written.
        yield ("write" if stage == "none" else stage), int(count)
    yield "end", int(re.findall(r"^instructions (\d+)$", log, re.MULTILINE)[-1])


def count(command: list[str], cpu: str, plugin: str, threads: int, out: pathlib.Path) -> Counts:
    """Millions of instructions of each stage."""
    words = ["qemu-aarch64", "-cpu", cpu, "-plugin", plugin, *command]
    words += ["--threads", str(threads), "--stages", "--format", "csv", "--out", str(out)]
    done = subprocess.run(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, check=False)
    log = done.stderr.decode(errors="replace")
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{log}")
    found = dict.fromkeys(STAGES, 0.0)
    begun = list(marks(log))
    for (stage, first), (_, last) in itertools.pairwise(begun):
        found[stage] += (last - first) / MILLION
    return found


def read_table() -> dict[str, Counts]:
    if not TABLE.exists():
        return {}
    with TABLE.open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    names = [name for name in rows[0] if name != "stage"]
    return {name: {row["stage"]: float(row[name]) for row in rows} for name in names}


def write_table(found: dict[str, Counts], reason: str) -> None:
    lines = [f"# Millions of instructions of {PAGE.relative_to(ROOT)}, one thread. {reason}"]
    lines.append(",".join(["stage", *found]))
    for stage in STAGES:
        lines.append(",".join([stage, *(f"{counts[stage]:.1f}" for counts in found.values())]))
    TABLE.write_text("\n".join(lines) + "\n")


def tell(processor: Processor, counts: Counts, first: Counts, known: Counts | None) -> list[str]:
    """Prints a processor's table; the stages that are too much up."""
    print(f"\n{processor.name} ({processor.board}), millions of instructions")
    print(f"{'stage':>8} {'1 thread':>10} {'known':>10} {'first of 4':>11}")
    up = []
    for stage in STAGES:
        before = known[stage] if known else None
        said = "-" if before is None else f"{before:.1f}"
        print(f"{stage:>8} {counts[stage]:>10.1f} {said:>10} {first[stage]:>11.1f}")
        if before is not None and counts[stage] > UP_MAX * before:
            up.append(f"{processor.name}: {stage} {before:.1f} -> {counts[stage]:.1f}")
    each_s = processor.clock_ghz * processor.per_cycle * 1e3
    for what, some in (("one thread", counts), (f"{THREADS} threads", first)):
        # A board's service loads its nets once.
        page = sum(value for stage, value in some.items() if stage != "load")
        print(
            f"{what}: {sum(some.values()):.0f}, estimated {page / each_s:.2f} s a page"
            f" ({processor.clock_ghz} GHz, {processor.per_cycle} a cycle), load left out"
        )
    return up


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="leadscan for ARM")
    parser.add_argument("--page", type=pathlib.Path, default=PAGE)
    names = [processor.name for processor in PROCESSORS]
    parser.add_argument("--cpu", action="append", choices=names, help="all of them otherwise")
    parser.add_argument("--write", metavar="REASON", help="take the counts as the known ones")
    args = parser.parse_args()
    if args.write and (args.cpu or args.page != PAGE):
        parser.error("--write is for all processors and the sample page")
    # Of other pages nothing is known.
    known = read_table() if args.page == PAGE else {}
    found, up = {}, []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        plugin = f"{folder}/insn.so"
        source = ROOT / "scripts/board/insn.c"
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", plugin, source], check=True)
        command = [str(args.binary), "digitize", str(args.page)]
        for processor in PROCESSORS:
            if args.cpu and processor.name not in args.cpu:
                continue
            cpu = processor.name
            found[cpu] = count(command, cpu, plugin, 1, folder / "one")
            first = count(command, cpu, f"{plugin},first=on", THREADS, folder / "four")
            up += tell(processor, found[cpu], first, known.get(cpu))
            sys.stdout.flush()
    if args.write:
        write_table(found, args.write)
        return 0
    for line in up:
        print(f"more than {100 * (UP_MAX - 1):.0f} % up: {line}", file=sys.stderr)
    return int(bool(up))


if __name__ == "__main__":
    sys.exit(main())
