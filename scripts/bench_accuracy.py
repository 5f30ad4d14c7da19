"""How well pages with one difficulty each are read; page N of every class is the same but for it.

  dB        mean over the delivered pages, of what evaluate_pages.py calls dB
  against   mean difference to the plain pages of the same numbers and layout, where both were
  none      delivered
  leads     panels at whose place their lead is reported, of all printed panels
  refused   pages rejected, or without output
  warning   pages delivered with a warning
  ok < 5    silent errors: pages delivered without a warning and below 5 (below 10) dB
"""

from __future__ import annotations

import subprocess

import bench_pages
from bench_pages import Group, Page, mean, table

PLAIN = "none"
# Left out unless they are asked for: they cost little accuracy, and the rest fills 20 minutes.
MILD = (
    "coloured-ink broken-grid labels-small cut-close separators crowded furniture scribble stamp "
    "stains sharpening"
).split()


def line(name: str, pages: list[Page], plain: dict[str, Page]) -> list[object]:
    delivered = [page for page in pages if page.delivered]
    pairs = [(page, plain.get(page.page)) for page in delivered]
    against = [
        page.db - other.db
        for page, other in pairs
        if other and other.delivered and other.layout == page.layout and name != PLAIN
    ]
    panels = sum(page.panels for page in pages)
    silent = [page.db for page in pages if page.status == "ok"]
    return [
        name,
        len(pages),
        mean([page.db for page in delivered]),
        f"{sum(against) / len(against):+.1f}" if against else "-",
        f"{100 * sum(page.named_panels for page in pages) / max(panels, 1):.1f}",
        sum(page.refused for page in pages),
        sum(page.status == "warning" for page in pages),
        sum(db < 5 for db in silent),
        sum(db < 10 for db in silent),
    ]


def report(pages: list[Page], names: list[str]) -> None:
    by_class = {name: [page for page in pages if page.group == name] for name in names}
    plain = {page.page: page for page in by_class.get(PLAIN, [])}
    lines = [line(name, found, plain) for name, found in by_class.items() if found]
    head = ["class", "pages", "dB", "against none", "leads %", "refused", "warning"]
    table([*head, "ok < 5 dB", "ok < 10 dB"], [*lines, line("all", pages, {})])
    print("\nfindings, pages with each: the class, then its most frequent three")
    for name, found in by_class.items():
        codes = [code for page in found for code in page.findings.split()]
        often = sorted(set(codes), key=lambda code: (-codes.count(code), code))[:3]
        if often:
            print(f"- {name}: " + ", ".join(f"{code} {codes.count(code)}" for code in often))
    print("\nthe 15 worst delivered pages")
    delivered = [page for page in pages if page.delivered]
    for page in sorted(delivered, key=lambda page: page.db)[:15]:
        print(
            f"- {page.group} {page.page}: {page.db:.1f} dB, {page.status}, {page.layout} as "
            f"{page.layout_found}, leads {page.named_panels}/{page.panels}: {page.findings or '-'}"
        )


def main() -> None:
    parser, read = bench_pages.arguments(__doc__, "accuracy", pages=20, seed=7107)
    parser.add_argument(
        "--faults",
        metavar="NAME,...",
        help=f"these classes and `none`, or `all`: {' '.join(MILD)} too",
    )
    args = read()
    if args.only_report:
        pages = bench_pages.rows(args.work / "pages.csv", Page)
        report(pages, list(dict.fromkeys([PLAIN, *(page.group for page in pages)])))
        return
    listed = subprocess.run(
        [str(args.printer), "--list-faults"], check=True, capture_output=True, text=True
    )
    names = listed.stdout.split()
    chosen = args.faults.split(",") if args.faults else [name for name in names if name not in MILD]
    strange = [name for name in chosen if name not in (*names, "all")]
    if strange:
        parser.error(f"no such class: {' '.join(strange)}; there are {' '.join(names)}")
    names = [name for name in names if "all" in chosen or name in (*chosen, PLAIN)]
    bench_pages.run(args, [Group(name, ("--fault", name), args.pages) for name in names])
    pages = bench_pages.rows(args.work / "pages.csv", Page)
    report([page for page in pages if page.group in names], names)


if __name__ == "__main__":
    main()
