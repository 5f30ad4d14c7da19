"""What speed and gain are taken for: every pair, where text, pulse or grid is missing.

A third of a pair's pages lack each; the rest of a page is as the nets were trained on, so that
other evidence may be missing too, and often is (pulse 12 %, text 20 %, grid 7 %).

  right     the value is that of the page, to 2 %
  warned    it is not, and the page has a warning
  silent    it is not, and the page has none
  refused   the page was rejected, or has no output
"""

from __future__ import annotations

import collections
from collections.abc import Callable

import bench_pages
from bench_pages import Group, Page, table

SPEEDS, GAINS = (12.5, 25.0, 50.0), (5.0, 10.0, 20.0)
WITHOUT = ("text", "pulse", "grid")
OFF_MAX = 0.02
# A third of the most pages a pair, so that the groups' numbers do not meet.
PAGES_MAX = 1000
VERDICTS = ("right", "warned", "silent", "refused")


def values(page: Page, what: str) -> tuple[float, float | None, str]:
    """Printed, found, and the evidence for what was found."""
    if what == "speed":
        return page.speed, page.speed_found, page.speed_evidence
    return page.gain, page.gain_found, page.gain_evidence


def verdict(page: Page, what: str) -> str:
    if page.refused:
        return "refused"
    true, found, _ = values(page, what)
    if found is not None and abs(found / true - 1) <= OFF_MAX:
        return "right"
    return "warned" if page.status == "warning" else "silent"


def line(name: str, pages: list[Page]) -> list[object]:
    counts = [
        collections.Counter(verdict(page, what) for page in pages) for what in ("speed", "gain")
    ]
    return [name, len(pages), *(count[v] for count in counts for v in VERDICTS)]


def without(page: Page) -> str:
    """The evidence that the page was printed without."""
    return page.group.split()[-1]


def is_told(page: Page) -> bool:
    """Whether the printed page says its scale: the rest can be guessed at best."""
    evidence = page.evidence.split()
    return "text" in evidence or {"pulse", "grid"} <= set(evidence)


def report(pages: list[Page]) -> None:
    keys: list[Callable[[Page], str]] = [
        lambda page: f"{page.speed:g} mm/s, {page.gain:g} mm/mV",
        lambda page: f"without {without(page)}",
        lambda page: f"{page.speed:g} mm/s without {without(page)}",
        lambda page: f"{page.gain:g} mm/mV without {without(page)}",
    ]
    order = sorted(pages, key=lambda p: (p.speed, p.gain, WITHOUT.index(without(p))))
    parts: dict[str, list[Page]] = {}
    for key in keys:
        for page in order:
            parts.setdefault(key(page), []).append(page)
    parts["told: text, or pulse on a grid"] = [page for page in pages if is_told(page)]
    parts["all"] = pages
    head = ["", "pages", *(f"{what} {v}" for what in ("speed", "gain") for v in VERDICTS)]
    table(head, [line(name, found) for name, found in parts.items()])
    for what in ("speed", "gain"):
        taken(pages, what)
        by_evidence(pages, what)


def taken(pages: list[Page], what: str) -> None:
    """What wrong ones are taken for, by what is missing."""
    wrong: collections.Counter[tuple[str, ...]] = collections.Counter()
    for page in pages:
        is_so = verdict(page, what)
        if is_so in ("warned", "silent"):
            true, found, evidence = values(page, what)
            value = "nothing" if found is None else f"{found:.3g}"
            wrong[without(page), f"{true:g}", value, evidence, is_so] += 1
    print(f"\nwrong {what}: without, printed, taken for, by evidence, told how, pages\n")
    lines = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    table(["without", what, "taken for", "evidence", "told", "pages"], [[*k, n] for k, n in lines])


def by_evidence(pages: list[Page], what: str) -> None:
    """How far each evidence that the product names can be trusted."""
    counts: dict[str, collections.Counter[str]] = {}
    for page in pages:
        if page.delivered:
            evidence = values(page, what)[2]
            counts.setdefault(evidence, collections.Counter())[verdict(page, what)] += 1
    print(f"\n{what} by the evidence that is reported\n")
    lines = [[name, *(n[v] for v in VERDICTS[:3])] for name, n in sorted(counts.items())]
    table(["evidence", *VERDICTS[:3]], lines)


def groups(pages: int) -> list[Group]:
    out = []
    for speed in SPEEDS:
        for gain in GAINS:
            for k, evidence in enumerate(WITHOUT):
                name = f"{speed:g} {gain:g} {evidence}"
                options = ("--scales", f"{speed:g},{gain:g}", "--without", evidence)
                count = pages // 3 + (k < pages % 3)
                # No page of a group is like one of another.
                out.append(Group(name, options, count, first=PAGES_MAX * len(out)))
    return out


def main() -> None:
    parser, read = bench_pages.arguments(__doc__, "scales", pages=40, seed=7103)
    args = read()
    if args.pages > 3 * PAGES_MAX:
        parser.error(f"at most {3 * PAGES_MAX} pages a pair")
    if not args.only_report:
        bench_pages.run(args, groups(args.pages))
    report(bench_pages.rows(args.work / "pages.csv", Page))


if __name__ == "__main__":
    main()
