"""How true the predicted quality is, and what passes without a warning.

  true dB       of a page and of each of its leads, as evaluate_pages.py has it
  predicted     `quality_db` in ID.json, of the page and of each trace
  off           |predicted - true|: median and 90th percentile, over delivered pages and their leads
  silent error  a page below 10 dB that is `ok`
  false alarm   a page above 14 dB that is not `ok`
"""

from __future__ import annotations

import collections
import itertools
import math
import pathlib

import numpy as np
from matplotlib.figure import Figure

import bench_pages
from bench_pages import Group, Lead, Page, share, table

BANDS = (-math.inf, 0.0, 5.0, 10.0, 14.0, math.inf)
LOW_DB, HIGH_DB = 10.0, 14.0
DB_SHOWN = (-10.0, 35.0)


def band(low: float, high: float) -> str:
    if math.isinf(low):
        return f"< {high:g} dB"
    return f"> {low:g} dB" if math.isinf(high) else f"{low:g} to {high:g} dB"


def off(name: str, found: list[Page] | list[Lead]) -> list[object]:
    """How far the predictions are off, where there are any."""
    pairs = [(row.quality_db, row.db) for row in found if row.quality_db is not None]
    if not pairs:
        return [name, len(found), 0, "absent", "absent", "absent", "absent"]
    predicted, true = np.array(pairs).T
    error = np.abs(predicted - true)
    related = np.corrcoef(predicted, true)[0, 1] if len(pairs) > 2 else math.nan
    return [
        name,
        len(found),
        len(pairs),
        f"{np.median(error):.2f}",
        f"{np.percentile(error, 90):.2f}",
        f"{np.mean(predicted - true):+.2f}",
        f"{related:.2f}",
    ]


def right(pages: list[Page], name: str) -> str:
    """How many of these have the speed or gain that was printed, and which others are silent."""
    off = [p for p in pages if getattr(p, name) != getattr(p, f"{name}_found")]
    silent = sum(page.status == "ok" for page in off)
    return f"{len(pages) - len(off)} right, {len(off)} wrong ({silent} of them ok)"


def summary(pages: list[Page], delivered: list[Page]) -> None:
    """What was delivered, how good it is, and whether it was understood."""
    mean = np.mean([page.db for page in delivered])
    print(f"{len(delivered)} of {len(pages)} delivered, {mean:.1f} dB on average")
    for speed in sorted({page.speed for page in delivered}):
        found = [page for page in delivered if page.speed == speed]
        mean = np.mean([page.db for page in found])
        print(f"- at {speed:g} mm/s: {len(found)}, {mean:.1f} dB, speed {right(found, 'speed')}")
    print(f"gain: {right(delivered, 'gain')}")
    layouts = collections.Counter(page.layout_is for page in pages)
    print("layout: " + ", ".join(f"{name} {count}" for name, count in layouts.most_common()))
    named, panels = (sum(getattr(p, n) for p in delivered) for n in ("named_panels", "panels"))
    print(f"names: {named} of {panels} panels delivered ({100 * named / max(panels, 1):.1f} %)\n")


def statuses(pages: list[Page]) -> None:
    """A rejected page has no signals, so no true dB."""
    lines: list[list[object]] = []
    for low, high in itertools.pairwise(BANDS):
        inside = [page for page in pages if page.delivered and low <= page.db < high]
        count = collections.Counter(page.status for page in inside)
        lines.append([band(low, high), count["ok"], count["warning"], "-", len(inside)])
    refused = sum(page.refused for page in pages)
    lines.append(["not delivered", "-", "-", refused, refused])
    table(["true", "ok", "warning", "rejected", "pages"], lines)


def report(pages: list[Page], leads: list[Lead], work: pathlib.Path) -> None:
    delivered = [page for page in pages if page.delivered]
    if delivered:
        summary(pages, delivered)
    head = ["predicted", "delivered", "with one", "off: median", "90 %", "bias", "r"]
    table(head, [off("pages", delivered), off("leads", leads)])
    print()
    statuses(pages)
    low = [page for page in delivered if page.db < LOW_DB]
    high = [page for page in delivered if page.db > HIGH_DB]
    silent = [page for page in low if page.status == "ok"]
    calm = [page for page in high if page.status == "ok"]
    print(f"\nsilent errors (ok, < {LOW_DB:g} dB): {share(len(silent), len(pages))} pages,")
    print(f"of the delivered pages < {LOW_DB:g} dB: {share(len(silent), len(low))}")
    print(f"ok, of the pages > {HIGH_DB:g} dB: {share(len(calm), len(high))}")
    print(f"\nwarnings on the {len(high)} pages > {HIGH_DB:g} dB; and where it is the only one")
    found = [page.warnings for page in high]
    often = collections.Counter(code for codes in found for code in codes)
    alone = collections.Counter(codes[0] for codes in found if len(codes) == 1)
    table(["code", "pages", "alone"], [[code, n, alone[code]] for code, n in often.most_common()])
    print(f"\nok, and < {LOW_DB:g} dB")
    for page in sorted(silent, key=lambda page: page.db):
        guess = "absent" if page.quality_db is None else f"{page.quality_db:.1f}"
        print(
            f"- {page.page}: {page.db:.1f} dB, predicted {guess}; {page.layout} as "
            f"{page.layout_found}; {page.speed:g} mm/s as {page.speed_found or 0:g}, "
            f"{page.gain:g} mm/mV as {page.gain_found or 0:g}"
        )
    if any(page.quality_db is not None for page in delivered):
        draw(delivered, leads, work / "quality.png")
        print(f"\npredicted against true: {work / 'quality.png'}")


def draw(pages: list[Page], leads: list[Lead], path: pathlib.Path) -> None:
    figure = Figure(figsize=(12, 6), layout="constrained")
    axes = figure.subplots(1, 2)
    colors = {"ok": "tab:green", "warning": "tab:orange"}
    for status, color in colors.items():
        found = [p for p in pages if p.status == status and p.quality_db is not None]
        true, guess = [p.db for p in found], [p.quality_db for p in found]
        axes[0].scatter(true, guess, s=9, color=color, alpha=0.6, label=status)
    axes[0].legend(title="status")
    known = [lead for lead in leads if lead.quality_db is not None]
    true, guess = [lead.db for lead in known], [lead.quality_db for lead in known]
    axes[1].scatter(true, guess, s=3, color="tab:blue", alpha=0.3)
    for axis, name in zip(axes, ("pages", "leads"), strict=True):
        axis.plot(DB_SHOWN, DB_SHOWN, color="grey", linewidth=0.8)
        axis.axvline(LOW_DB, color="tab:red", linewidth=0.8)
        axis.set(title=name, xlabel="true, dB", ylabel="predicted, dB")
        axis.set(xlim=DB_SHOWN, ylim=DB_SHOWN)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser, read = bench_pages.arguments(__doc__, "quality", pages=1000, seed=7102)
    parser.add_argument("--preset", default="train", help="of the printer; train by default")
    args = read()
    if not args.only_report:
        group = Group(args.preset, ("--preset", args.preset), args.pages)
        bench_pages.run(args, [group])
    pages = bench_pages.rows(args.work / "pages.csv", Page)
    report(pages, bench_pages.rows(args.work / "leads.csv", Lead), args.work)


if __name__ == "__main__":
    main()
