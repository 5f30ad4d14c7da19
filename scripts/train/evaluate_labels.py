"""Measures the labels net: the shipped integers against the float weights.

    evaluate_labels.py MODELS_DIR --pages DIR [--boxes label_boxes.json] [--float FILE.pt]

Without --boxes, DIR holds pages that pageprint printed (ID.json beside the picture): all classes,
and mAP50. With --boxes, pictures whose boxes are in that file ({"img/NAME": {"II": [left, top,
right, bottom], "R_II": ...}}; R_ is a rhythm strip's label), found below the file's folder or in
DIR: lead names alone. A true box is found if a box of at least --score overlaps it by 0.3 or more
(intersection over union): `named` if of its class, `seen` whatever its class. Recall is of the true
boxes, precision of the found ones. On printed pages, also how many speeds and gains the strongest
text tells right and wrong; for every speed alike, print with `--preset scales`.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections import Counter
from collections.abc import Iterator

import cv2
import numpy as np

import labels_decode as labels
from labels_data import CLASSES, boxes_of
from labels_decode import Boxes
from quantise import write_figures

OVERLAP_MIN = 0.3
LOW_SCORE = 0.01
Page = tuple[str, np.ndarray, Boxes]


def real_pages(folder: pathlib.Path, file: pathlib.Path) -> Iterator[Page]:
    for name, boxes in sorted(json.loads(file.read_text()).items()):
        path = file.parent / name
        image = cv2.imread(str(path if path.exists() else folder / pathlib.Path(name).name))
        classes = np.array([CLASSES.index(lead.removeprefix("R_")) for lead in boxes])
        places = np.array(list(boxes.values()), float).reshape(-1, 4)
        yield pathlib.Path(name).stem, image, Boxes(classes, np.ones(len(classes)), places)


def printed_pages(folder: pathlib.Path, count: int) -> Iterator[Page]:
    for path in sorted(folder.glob("*.json"))[:count]:
        truth = json.loads(path.read_text())
        image = cv2.imread(str(path.with_name(truth["image"])))
        rows = np.array(boxes_of(truth, 1.0), float).reshape(-1, 5)
        true = Boxes(rows[:, 0].astype(int), np.ones(len(rows)), rows[:, 1:] - 0.5)
        # What was printed beyond the picture's edge cannot be found.
        middle = (true.places[:, :2] + true.places[:, 2:]) / 2
        inside = (middle >= 0) & (middle < image.shape[1::-1])
        yield path.stem, image, true[inside.all(1)]


def pairs(found: Boxes, true: Boxes, overlap_min: float, same_class: bool) -> list[tuple[int, int]]:
    """Found and true boxes that go together, the strongest found ones first."""
    if not len(found) or not len(true):
        return []
    shared = labels.overlaps(found.places, true.places)
    if same_class:
        shared[found.classes[:, None] != true.classes[None, :]] = 0
    out = []
    for k in range(len(found)):
        best = int(shared[k].argmax())
        if shared[k, best] >= overlap_min:
            out.append((k, best))
            shared[:, best] = 0
    return out


class Tally:
    """Counts over pages."""

    def __init__(self) -> None:
        self.true = self.found = self.named = self.seen = 0
        self.confused: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.false: Counter[str] = Counter()

    def add(self, found: Boxes, true: Boxes) -> None:
        self.true += len(true)
        self.found += len(found)
        self.named += len(pairs(found, true, OVERLAP_MIN, True))
        together = pairs(found, true, OVERLAP_MIN, False)
        self.seen += len(together)
        for k, t in together:
            if found.classes[k] != true.classes[t]:
                name = f"{CLASSES[true.classes[t]]}->{CLASSES[found.classes[k]]}"
                self.confused[name] += 1
        known, matched = {t for _, t in together}, {k for k, _ in together}
        self.missed.update(CLASSES[c] for t, c in enumerate(true.classes) if t not in known)
        self.false.update(CLASSES[c] for k, c in enumerate(found.classes) if k not in matched)

    def line(self) -> str:
        of_true, of_found = max(self.true, 1), max(self.found, 1)
        return (
            f"{self.true:5d} {self.found:5d} {100 * self.named / of_true:7.1f} "
            f"{100 * self.named / of_found:7.1f} {100 * self.seen / of_true:7.1f} "
            f"{100 * self.seen / of_found:7.1f}"
        )

    def faults(self) -> str:
        def most(counter: Counter[str]) -> str:
            return ", ".join(f"{name} {n}" for name, n in counter.most_common(12)) or "none"

        return (
            f"  taken for another: {most(self.confused)}\n  missed: {most(self.missed)}\n"
            f"  found where nothing is: {most(self.false)}"
        )


def readings(pages: list[tuple[str, Boxes, Boxes]], score: float, first: int) -> str:
    """Of the pages that print one of three classes from `first` on: what the strongest says."""
    total = right = wrong = 0
    for _, found, true in pages:
        printed = [c for c in true.classes if first <= c < first + 3]
        if not printed:
            continue
        # Boxes come strongest first.
        read = [
            c
            for c, s in zip(found.classes, found.scores, strict=True)
            if first <= c < first + 3 and s >= score
        ]
        total += 1
        right += read[:1] == printed[:1]
        wrong += bool(read) and read[0] != printed[0]
    return f"{right} right, {wrong} wrong of {total} pages that print one"


def mean_precision(pages: list[tuple[Boxes, Boxes]]) -> float:
    """mAP50: mean over the classes present of the area under precision against recall."""
    areas = []
    for index in range(len(CLASSES)):
        scores, right, total = [], [], 0
        for found, true in pages:
            found, true = found[found.classes == index], true[true.classes == index]
            total += len(true)
            hit = {k for k, _ in pairs(found, true, 0.5, True)}
            scores += found.scores.tolist()
            right += [k in hit for k in range(len(found))]
        if not total:
            continue
        hits = np.array(right, float)[np.argsort(-np.array(scores), kind="stable")].cumsum()
        precision = hits / np.arange(1, len(hits) + 1)
        recall = hits / total
        # Precision at a recall is the best at that recall or beyond.
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(recall, np.linspace(0, 1, 101))
        areas.append(float(np.append(envelope, 0.0)[np.minimum(at, len(hits))].mean()))
    return float(np.mean(areas)) if areas else 0.0


def report(name: str, pages: list[tuple[str, Boxes, Boxes]], args: argparse.Namespace) -> None:
    print(f"\n{name}: score {args.score}, overlap {OVERLAP_MIN}")
    print(f"{'':28s} {'true':>5s} {'found':>5s} {'named:R':>7s} {'P':>7s} {'seen:R':>7s} {'P':>7s}")
    groups = [("all", 0, len(CLASSES))]
    if not args.boxes:
        groups = [
            ("leads", 0, labels.LEAD_COUNT),
            ("pulses", labels.LEAD_COUNT, labels.LEAD_COUNT + 1),
            ("speed, gain", labels.LEAD_COUNT + 1, len(CLASSES)),
        ]
    each, totals = [], [Tally() for _ in groups]
    for stem, found, true in pages:
        strong = found[found.scores >= args.score]
        tally = Tally()
        tally.add(strong, true)
        each.append((tally.named / max(tally.true, 1), stem, tally))
        for total, (_, first, last) in zip(totals, groups, strict=True):
            inside = [(b.classes >= first) & (b.classes < last) for b in (strong, true)]
            total.add(strong[inside[0]], true[inside[1]])
    shown = each if args.boxes else sorted(each, key=lambda e: e[:2])[: args.worst]
    for _, stem, tally in shown:
        print(f"{stem:28s} {tally.line()}")
    for total, (group, _, _) in zip(totals, groups, strict=True):
        print(f"{group.upper():28s} {total.line()}\n{total.faults()}")
    if not args.boxes:
        for score in sorted({args.score, 0.4}):
            for what, name in (("speed", "25mm/s"), ("gain", "10mm/mV")):
                print(f"{what} at {score}: {readings(pages, score, CLASSES.index(name))}")
        print(f"mAP50 {mean_precision([(f, t) for _, f, t in pages]):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=pathlib.Path, help="folder of labels.onnx")
    parser.add_argument("--pages", type=pathlib.Path, required=True)
    parser.add_argument("--boxes", type=pathlib.Path)
    parser.add_argument("--float", type=pathlib.Path, dest="weights", help="labels.float16.pt")
    parser.add_argument("--score", type=float, default=0.25)
    parser.add_argument("--count", type=int, help="printed pages, at most")
    parser.add_argument("--worst", type=int, default=10, help="printed pages shown")
    parser.add_argument("--draw", type=pathlib.Path, help="folder for overlays (integer net)")
    parser.add_argument("--card", action="store_true", help="note mAP50 in labels.toml")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    nets = {"int8": labels.integer_net(args.models / "labels.onnx")}
    if args.weights:
        nets["float"] = labels.float_net(args.weights)
    results: dict[str, list[tuple[str, Boxes, Boxes]]] = {name: [] for name in nets}
    pages = (
        real_pages(args.pages, args.boxes) if args.boxes else printed_pages(args.pages, args.count)
    )
    for stem, image, true in pages:
        for name, run in nets.items():
            found = labels.detect(run, image, LOW_SCORE)
            if args.boxes:
                found = found[found.classes < labels.LEAD_COUNT]
            results[name].append((stem, found, true))
        if args.draw:
            args.draw.mkdir(parents=True, exist_ok=True)
            found = results["int8"][-1][1]
            shown = labels.draw(image, found[found.scores >= args.score], true)
            cv2.imwrite(str(args.draw / f"{stem}.png"), shown)
    for name, rows in results.items():
        report(name, rows, args)
    if args.card and not args.boxes:
        count = len(results["int8"])
        figures: dict[str, float | int | str] = {"measured_on": f"{count} printed pages"}
        for name, rows in results.items():
            figures[f"{name}_map50"] = round(mean_precision([(f, t) for _, f, t in rows]), 3)
        write_figures(args.models / "labels.toml", figures)


if __name__ == "__main__":
    main()
