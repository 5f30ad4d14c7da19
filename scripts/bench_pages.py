"""What the benches share: prints pages a few at a time, digitizes and scores them, keeps rows.

Groups of pages are done in chunks, each by one process that prints, digitizes on one thread,
scores and deletes. When a chunk is done, its rows are appended to WORK/pages.csv and
WORK/leads.csv: what is there is not done again. WORK/settings.json tells what they were made with;
rows of other settings are not mixed in.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import csv
import dataclasses
import hashlib
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import typing
from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

import evaluate_pages

CHUNK = 5
# Of `leadscan digitize`: all well, or some pages rejected or failed. Bugs are pages without output.
EXIT_DONE = (0, 1, 3)


@dataclasses.dataclass(frozen=True)
class Group:
    """Pages of one kind: the printer's options that make them, how many, and the first's number."""

    name: str
    options: tuple[str, ...]
    pages: int
    first: int = 0


@dataclasses.dataclass
class Page:
    """What came of one page: the truth, what was reported, and what it is worth."""

    group: str
    page: str
    # ok, warning, rejected, or absent: no output.
    status: str
    # Decibel of evaluate_pages, 0 where nothing was delivered; the product's own guess at it.
    db: float
    quality_db: float | None
    panels: int
    named_panels: int
    layout: str
    layout_found: str
    layout_is: str
    speed: float
    speed_found: float | None
    speed_evidence: str
    gain: float
    gain_found: float | None
    gain_evidence: str
    # What the printed page has to tell its scale: text, pulse, grid.
    evidence: str
    # Codes of the findings, the page's and its leads', each once: SEVERITY:CODE.
    findings: str
    seconds: float | None

    @property
    def delivered(self) -> bool:
        return self.status in ("ok", "warning")

    @property
    def refused(self) -> bool:
        return not self.delivered

    @property
    def warnings(self) -> list[str]:
        found = (finding.split(":") for finding in self.findings.split())
        return [code for severity, code in found if severity == "warning"]


@dataclasses.dataclass
class Lead:
    """One lead of a delivered page; 0 dB where it was not found."""

    group: str
    page: str
    lead: str
    db: float
    quality_db: float | None


Row = typing.TypeVar("Row", Page, Lead)


def arguments(
    description: str | None, name: str, pages: int, seed: int
) -> tuple[argparse.ArgumentParser, Callable[[], argparse.Namespace]]:
    """A parser with the options of every bench, and what reads the command line with it."""
    parser = argparse.ArgumentParser(
        prog=f"scripts/bench {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--pages", type=int, default=pages, help=f"{pages} by default")
    add("--seed", type=int, default=seed, help=f"of the pages, {seed} by default")
    add("--signals", type=pathlib.Path, help="store or folder of records; the model otherwise")
    add("--models", type=pathlib.Path, help="folder of nets; the bundled ones otherwise")
    # scripts/bench gives what it built, and the cache.
    add("--binary", type=pathlib.Path, help="leadscan; built otherwise")
    add("--printer", type=pathlib.Path, help="pageprint; built otherwise")
    add("--work", type=pathlib.Path, help="for rows and pages; by the settings in the cache")
    add("--processes", type=int, default=2, help="2 by default")
    add("--keep", action="store_true", help="keep pages and outputs")
    add("--only-report", action="store_true", help="make the tables of what is in --work")
    add("--cache", type=pathlib.Path, help=argparse.SUPPRESS)

    def read() -> argparse.Namespace:
        args = parser.parse_args()
        if args.only_report and not args.work:
            parser.error("--only-report needs --work")
        if not args.only_report:
            place(parser, args, name)
        return args

    return parser, read


def digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def place(parser: argparse.ArgumentParser, args: argparse.Namespace, name: str) -> None:
    """Settles the folder to work in, and refuses one that holds rows of other settings."""
    settings = {
        "bench": name,
        "seed": args.seed,
        "binary": digest(args.binary),
        "printer": digest(args.printer),
        "signals": str(args.signals),
        "models": args.models and {p.name: digest(p) for p in sorted(args.models.glob("*.onnx"))},
    }
    text = json.dumps(settings, indent=1)
    if not args.work:
        mark = hashlib.sha256(text.encode()).hexdigest()[:8]
        args.work = args.cache / "bench" / f"{name}-{mark}"
    args.work.mkdir(parents=True, exist_ok=True)
    path = args.work / "settings.json"
    if path.exists() and path.read_text() != text:
        parser.error(f"{args.work} holds results of other settings: see {path}")
    path.write_text(text)
    print(f"rows are kept in {args.work}", file=sys.stderr)


def known(report: dict, name: str) -> tuple[float | None, str]:
    """A value of the calibration, and its evidence."""
    found = (report.get("calibration") or {}).get(name) or {}
    return found.get("value"), found.get("evidence", "")


def printed_evidence(truth: dict) -> str:
    """What is on the page: words of speed and gain both, some pulse, some grid."""
    classes = [box["class"] for box in truth["boxes"]]
    told = [any(c.endswith(unit) for c in classes) for unit in ("mm/s", "mm/mV")]
    has = {"text": all(told), "pulse": "pulse" in classes, "grid": truth["grid"] != "none"}
    return " ".join(name for name, is_there in has.items() if is_there)


def score(group: str, path: pathlib.Path, out: pathlib.Path) -> tuple[Page, list[Lead]]:
    truth = json.loads(path.read_text())
    judged = evaluate_pages.score_page(path, out)
    file = out / f"{path.stem}.json"
    report = json.loads(file.read_text()) if file.exists() else {}
    codes = dict.fromkeys(f"{f['severity']}:{f['code']}" for f in report.get("findings", []))
    speed_found, speed_evidence = known(report, "speed_mm_s")
    gain_found, gain_evidence = known(report, "gain_mm_mv")
    page = Page(
        group=group,
        page=path.stem,
        status=judged.status,
        db=judged.db,
        quality_db=report.get("quality_db"),
        panels=judged.panels or sum(s["role"] == "grid" for s in truth["segments"]),
        named_panels=judged.named_panels,
        layout=truth["layout"] + (" Cabrera" if truth["cabrera"] else ""),
        layout_found=judged.layout_found,
        layout_is=judged.layout,
        speed=truth["speed_mm_s"],
        speed_found=speed_found,
        speed_evidence=speed_evidence,
        gain=truth["gain_mm_mv"],
        gain_found=gain_found,
        gain_evidence=gain_evidence,
        evidence=printed_evidence(truth),
        findings=" ".join(codes),
        seconds=report.get("seconds"),
    )
    return page, leads(page, truth, report, path, out) if page.delivered else []


def leads(
    page: Page, truth: dict, report: dict, path: pathlib.Path, out: pathlib.Path
) -> list[Lead]:
    """A lead's guess is its rhythm strip's where it has one: that is what the CSV holds."""
    guesses: dict[str, float | None] = {}
    for trace in sorted(report.get("traces", []), key=lambda trace: trace["role"] != "panel"):
        guesses[trace["lead"].lstrip("-")] = trace.get("quality_db")
    values = dict(np.load(path.with_suffix(".npz")))
    found = evaluate_pages.lead_decibels(truth, values, out / f"{path.stem}.csv")
    return [Lead(page.group, page.page, k, db, guesses.get(k)) for k, db in found.items()]


def chunk(
    args: argparse.Namespace, group: Group, first: int, count: int
) -> tuple[list[Page], list[Lead]]:
    """Prints, digitizes and scores some pages of a group."""
    cv2.setNumThreads(1)
    folder = args.work / "chunks" / f"{group.name.replace(' ', '_')}-{first:05d}"
    shutil.rmtree(folder, ignore_errors=True)
    truths, pictures, out = folder / "truth", folder / "pictures", folder / "out"
    pictures.mkdir(parents=True)
    command = [str(args.printer), "--out", str(truths), "--seed", str(args.seed)]
    command += ["--first", str(first), "--count", str(count), *group.options]
    command += ["--signals", str(args.signals)] if args.signals else []
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    paths = sorted(truths.glob("*.json"))
    # The digitizer sees nothing but the pictures.
    for path in paths:
        image = truths / json.loads(path.read_text())["image"]
        image.rename(pictures / image.name)
    command = [str(args.binary), "digitize", str(pictures), "--out", str(out)]
    command += ["--format", "csv,json", "--threads", "1"]
    command += ["--models", str(args.models)] if args.models else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in EXIT_DONE:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}: {done.stderr[-2000:]}")
    scored = [score(group.name, path, out) for path in paths]
    if not args.keep:
        shutil.rmtree(folder)
    return [page for page, _ in scored], [lead for _, leads in scored for lead in leads]


def append(path: pathlib.Path, rows: Sequence[Page | Lead]) -> None:
    if not rows:
        return
    names = [field.name for field in dataclasses.fields(rows[0])]
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(names)
        # None is written as nothing.
        writer.writerows([getattr(row, name) for name in names] for row in rows)


def rows(path: pathlib.Path, kind: type[Row]) -> list[Row]:
    """The rows of a file, by group and page."""
    if not path.exists():
        return []
    types = typing.get_type_hints(kind)
    convert: dict[object, Callable[[str], object]] = {
        str: str,
        int: int,
        float: float,
        float | None: lambda cell: float(cell) if cell else None,
    }
    with path.open(newline="") as file:
        found = [
            kind(**{name: convert[types[name]](cell) for name, cell in row.items()})
            for row in csv.DictReader(file)
        ]
    return sorted(found, key=lambda row: (row.group, row.page))


def run(args: argparse.Namespace, groups: Sequence[Group]) -> None:
    """Does what is not yet in the rows. The page's rows go last: they say that it is done."""
    done = {(row.group, row.page) for row in rows(args.work / "pages.csv", Page)}
    tasks = []
    for from_page in range(0, max(group.pages for group in groups), CHUNK):
        for group in groups:
            numbers = range(group.first, group.first + group.pages)[from_page : from_page + CHUNK]
            todo = [k for k in numbers if (group.name, f"p{args.seed}_{k:05d}") not in done]
            if todo:
                tasks.append((group, todo[0], len(todo)))
    if not tasks:
        return
    pages, start = sum(count for _, _, count in tasks), time.monotonic()
    print(f"{pages} pages to do", file=sys.stderr)
    finished = 0
    # What ends the bench ends its processes too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with concurrent.futures.ProcessPoolExecutor(args.processes) as pool:
        futures = [pool.submit(chunk, args, *task) for task in tasks]
        try:
            for future in concurrent.futures.as_completed(futures):
                found, leads_found = future.result()
                append(args.work / "leads.csv", leads_found)
                append(args.work / "pages.csv", found)
                finished += len(found)
                tell(finished, pages, time.monotonic() - start)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    print(file=sys.stderr)
    if not args.keep:
        shutil.rmtree(args.work / "chunks", ignore_errors=True)


def tell(finished: int, pages: int, seconds: float) -> None:
    left = seconds / finished * (pages - finished)
    text = f"\r{finished} of {pages} pages, {seconds / 60:.1f} min, {left / 60:.1f} min to go  "
    print(text, end="", file=sys.stderr, flush=True)


def table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Prints a markdown table: the first column to the left, numbers to the right."""
    cells = [[str(cell) for cell in line] for line in lines]
    wide = [max([len(name), 3, *(len(line[k]) for line in cells)]) for k, name in enumerate(head)]

    def show(line: Sequence[str]) -> None:
        rest = [cell.rjust(w) for cell, w in zip(line[1:], wide[1:], strict=True)]
        print("| " + " | ".join([line[0].ljust(wide[0]), *rest]) + " |")

    show(head)
    print("|" + "|".join(["-" * (wide[0] + 2), *("-" * (w + 1) + ":" for w in wide[1:])]) + "|")
    for line in cells:
        show(line)


def share(count: int, of: int) -> str:
    """`COUNT of OF (PERCENT %)`."""
    return f"{count} of {of}" + (f" ({100 * count / of:.1f} %)" if of else "")


def mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.1f}" if len(values) else "-"
