"""Measures what `leadscan digitize` made of printed pages.

    evaluate_pages.py TRUTH_DIR OUT_DIR [--faults] [--worst N]

TRUTH_DIR holds ID.json and ID.npz of pageprint, OUT_DIR holds ID.csv and ID.json of
`leadscan digitize --format csv,json`. A page without output, or rejected, has 0 dB and no trace.

  dB       pooled over a page's leads: 10 log10(sum truth^2 / sum (truth - found)^2); each lead may
           first be shifted by 0.2 s at most and by a constant; what is missing counts as zero. A
           lead's truth is its rhythm strip where the page has one, else its panel
  names    printed traces at whose place a trace of that lead is reported. A reported box is at a
           trace's place if the trace's middle (half its length, its median height) is inside it;
           of several, the nearest
  box      printed traces of which at least 99 % of the drawn path is inside the box reported at
           their place: the crop that the net saw, 1.5 mm longer than the trace on either side
  begin    printed traces that begin, and end, within 0.6 mm of where the trace reported at their
  end      place does
  layout   right, wrong or refused. Pages with leads beyond the twelve are no layout of ours: right
           is to refuse them
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

RATE_HZ = 500.0
SHIFT_S_MAX = 0.2
INSIDE_MIN = 0.99
# A reported box reaches so far beyond the trace's ends (AROUND in src/digitize.rs).
AROUND_MM, END_OFF_MAX_MM = 1.5, 0.6
LEADS = "I II III aVR aVL aVF V1 V2 V3 V4 V5 V6".split()


@dataclass
class Score:
    """One page."""

    name: str
    truth: dict
    status: str
    layout: str
    layout_found: str
    reasons: str
    db: float
    traces: int = 0
    panels: int = 0
    named: int = 0
    named_panels: int = 0
    in_box: int = 0
    begun: int = 0
    ended: int = 0

    @property
    def delivered(self) -> bool:
        return self.status in ("ok", "warning")


def true_leads(truth: dict, values: dict[str, np.ndarray]) -> dict[str, tuple[float, np.ndarray]]:
    """Start in seconds and millivolts of each of the twelve leads that are printed."""
    out: dict[str, tuple[float, np.ndarray]] = {}
    for segment in truth["segments"]:
        mv = np.asarray(values[f"mv_{segment['key']}"], float)
        lead, sign = segment["lead"], 1.0
        if lead.startswith("-"):
            lead, sign = lead[1:], -1.0
        if lead in LEADS and len(mv) and (lead not in out or len(mv) > len(out[lead][1])):
            out[lead] = (segment["start_s"], sign * mv)
    return out


def found_leads(path: pathlib.Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    if not path.exists():
        return np.zeros(0), {}
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    table = np.array([[float(cell or "nan") for cell in row] for row in rows])
    if len(table) < 2:
        return np.zeros(0), {}
    columns = {name: table[:, k] for k, name in enumerate(head)}
    return columns.pop("time_s"), columns


def resample(time: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Linear between neighbours that are both there; NaN elsewhere."""
    out = np.interp(at, time, np.nan_to_num(values), left=np.nan, right=np.nan)
    holes = np.interp(at, time, np.isnan(values).astype(float))
    return np.where(holes > 1e-6, np.nan, out)


def noise(mv: np.ndarray, found: np.ndarray, reach: int) -> float:
    """Sum of squares left after the best shift and constant; `found` is `reach` longer each way."""
    if np.isfinite(found).sum() < 10:
        return float((mv**2).sum())
    flat = np.nan_to_num(found - np.nanmean(found))
    lag = int(np.correlate(flat, mv - mv.mean(), "valid").argmax())
    part = found[lag : lag + len(mv)]
    seen = np.isfinite(part)
    if seen.sum() < 10:
        return float((mv**2).sum())
    part = part + (mv[seen] - part[seen]).mean()
    return float(((mv - np.where(seen, part, 0)) ** 2).sum())


def residues(
    truth: dict, values: dict[str, np.ndarray], path: pathlib.Path
) -> dict[str, tuple[float, float]]:
    """Of each printed lead the sum of squares of its truth, and of what is off from it."""
    time, columns = found_leads(path)
    reach = round(SHIFT_S_MAX * RATE_HZ)
    out: dict[str, tuple[float, float]] = {}
    if not len(time):
        return out
    for lead, (start_s, mv) in true_leads(truth, values).items():
        power = float((mv**2).sum())
        if lead not in columns:
            out[lead] = power, power
            continue
        at = start_s + (np.arange(len(mv) + 2 * reach) - reach) / RATE_HZ
        out[lead] = power, noise(mv, resample(time, columns[lead], at), reach)
    return out


def ratio_db(power: float, left: float) -> float:
    return 10 * math.log10(power / max(left, 1e-12)) if power > 0 else 0.0


def decibel(truth: dict, values: dict[str, np.ndarray], path: pathlib.Path) -> float:
    """The page's dB: pooled over its leads."""
    parts = list(residues(truth, values, path).values())
    return ratio_db(sum(power for power, _ in parts), sum(left for _, left in parts))


def lead_decibels(
    truth: dict, values: dict[str, np.ndarray], path: pathlib.Path
) -> dict[str, float]:
    """The dB of each printed lead alone; 0 where it was not found."""
    parts = residues(truth, values, path)
    return {lead: ratio_db(power, left) for lead, (power, left) in parts.items()}


def share_inside(corners: np.ndarray, path: np.ndarray) -> float:
    polygon = corners.astype(np.float32)
    inside = [cv2.pointPolygonTest(polygon, (float(x), float(y)), False) >= 0 for x, y in path]
    return float(np.mean(inside))


def boxes(report: dict, truth: dict) -> list[tuple[str, str, np.ndarray]]:
    """Lead, role and corners of the reported traces, in pixels of the printed page."""
    page = report.get("page") or {}
    scale = truth["width"] / page["width_px"] if page.get("width_px") else 1.0
    return [
        (t["lead"], t["role"], (np.array(t["box"], float) + 0.5) * scale - 0.5)
        for t in report.get("traces", [])
    ]


def at_place(
    found: list[tuple[str, str, np.ndarray]], path: np.ndarray
) -> tuple[str, str, np.ndarray] | None:
    """The reported trace that lies where a printed one does."""
    middle = np.array([(path[0, 0] + path[-1, 0]) / 2, np.median(path[:, 1])])
    if abs(path[-1, 1] - path[0, 1]) > abs(path[-1, 0] - path[0, 0]):
        middle = np.array([np.median(path[:, 0]), (path[0, 1] + path[-1, 1]) / 2])
    around = [box for box in found if share_inside(box[2], middle[None]) > 0]
    return min(around, key=lambda box: np.hypot(*(box[2].mean(0) - middle)), default=None)


def count(score: Score, truth: dict, values: dict[str, np.ndarray], report: dict) -> None:
    """Adds the traces' counts to a page's score."""
    found = boxes(report, truth)
    px_per_mm = ((report.get("calibration") or {}).get("px_per_mm_x") or {}).get("value")
    for segment in truth["segments"]:
        path = values[f"px_{segment['key']}"]
        path = path[np.isfinite(path).all(1)]
        if len(path) < 10:
            continue
        score.traces += 1
        score.panels += segment["role"] == "grid"
        box = at_place(found, path)
        if box is None:
            continue
        lead, _, corners = box
        score.named += lead == segment["lead"]
        score.named_panels += segment["role"] == "grid" and lead == segment["lead"]
        score.in_box += share_inside(corners, path) >= INSIDE_MIN
        begun, ended = ends_off(corners, path, px_per_mm or truth["px_per_mm"])
        score.begun += abs(begun) <= END_OFF_MAX_MM
        score.ended += abs(ended) <= END_OFF_MAX_MM


def ends_off(corners: np.ndarray, path: np.ndarray, px_per_mm: float) -> tuple[float, float]:
    """Millimetres by which the reported trace begins before, and ends behind, the printed one."""
    left, right = corners[[0, 3]].mean(0), corners[[1, 2]].mean(0)
    along = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    if (path[-1] - path[0]) @ along < 0:
        path = path[::-1]
    begun = float((path[0] - left) @ along) / px_per_mm - AROUND_MM
    return begun, float((right - path[-1]) @ along) / px_per_mm - AROUND_MM


def layouts_of(truth: dict) -> set[str]:
    """Names under which the product may report the printed layout; none if it is not one."""
    leads = {s["lead"].lstrip("-") for s in truth["segments"]}
    if not leads <= set(LEADS):
        return set()
    form, _, strips = truth["layout"].partition("+")
    form += {"6x1": " limb" if "I" in leads else " chest"}.get(form, "")
    kinds = [" Cabrera", " Cabrera aVR"] if truth["cabrera"] else [""]
    return {form + kind + (f"+{strips}" if strips else "") for kind in kinds}


def judge(truth: dict, report: dict, delivered: bool) -> str:
    right = layouts_of(truth)
    if not delivered:
        return "refused" if right else "right"
    return "right" if report.get("layout") in right else "wrong"


def score_page(path: pathlib.Path, out: pathlib.Path) -> Score:
    truth = json.loads(path.read_text())
    values = dict(np.load(path.with_suffix(".npz")))
    file = out / f"{path.stem}.json"
    report = json.loads(file.read_text()) if file.exists() else {}
    status = report.get("status", "absent")
    delivered = status in ("ok", "warning")
    grave = [f for f in report.get("findings", []) if f["severity"] == "reject" or delivered]
    reasons = " ".join(dict.fromkeys(f["code"] for f in grave))
    db = decibel(truth, values, out / f"{path.stem}.csv") if delivered else 0.0
    layout = judge(truth, report, delivered)
    found = report.get("layout") or "-"
    score = Score(path.stem, truth, status, layout, found, reasons, db)
    count(score, truth, values, report if delivered else {})
    return score


def step(*edges: float) -> Callable[[float], str]:
    """Names the interval of a value."""

    def name(value: float) -> str:
        low = [e for e in edges if e <= value]
        high = [e for e in edges if e > value]
        if not low:
            return f"< {edges[0]:g}"
        return f"{low[-1]:g} to {high[0]:g}" if high else f">= {low[-1]:g}"

    return name


def hue(color: list[float]) -> str:
    red, green, blue = color
    if max(color) - min(color) < 0.1:
        return "grey" if red > 0.4 else "black"
    if red >= max(green, blue):
        if red < 0.7:
            return "brown"
        return "orange" if green > blue + 0.1 else "pink" if green > 0.55 else "red"
    return "green" if green > blue else "blue"


def yes(value: object) -> str:
    return "yes" if value else "no"


def faults(t: dict) -> dict[str, str]:
    """What may make a page hard, each with its degree."""
    fate, look, segments = t.get("fate", {}), t.get("look", {}), t["segments"]
    out = {
        "layout": t["layout"] + (" Cabrera" if t["cabrera"] else ""),
        "kind": t["kind"],
        "rotation, degrees": step(0.3, 1, 3, 6)(abs(t["rotation_deg_clockwise"])),
        "resolution, px/mm": step(5, 7, 10, 13)(t["px_per_mm"]),
        "line width, mm": step(0.2, 0.3, 0.4)(segments[0]["line_width_mm"]),
        "line width, px": step(1, 2, 3, 5)(segments[0]["line_width_mm"] * t["px_per_mm"]),
        "speed, mm/s": f"{t['speed_mm_s']:g}",
        "gain, mm/mV": f"{t['gain_mm_mv']:g}",
        "chest at half gain": yes(len({s["gain_mm_mv"] for s in segments}) > 1),
        "labels missing": yes(any(s["label_box"] is None for s in segments)),
        "grid": t["grid"],
    }
    if look:
        jpeg = look["jpeg_quality"]
        high = look["label_height_mm"] * min(1280 / max(t["width"], t["height"]), 3)
        out |= {
            "grid colour": "none" if t["grid"] == "none" else hue(look["grid_color"]),
            "trace colour": hue(look["trace_color"]),
            "labels stand": look["label_place"],
            "label, px on canvas": step(8, 10, 14, 18)(high * t["px_per_mm"]),
            "JPEG quality": "png" if jpeg is None else step(50, 70, 85)(jpeg),
            "uneven ink": yes(look["uneven"]),
        }
    if fate:
        out |= {
            "perspective, % of page": step(0.01, 2, 5)(100 * float(np.abs(fate["corners"]).max())),
            "curl": yes(fate["waves"]),
            "folds": str(min(len(fate["folds"]), 3)),
            "blur, px": step(0.01, 0.5, 0.8, 1.1)(fate["blur_px"]),
            "noise": step(0.001, 0.015, 0.03, 0.05)(fate["noise"]),
            "grey": yes(fate["grey"]),
            "threshold": yes(fate["threshold"]),
            "half-tone": yes(fate["halftone"]),
            "moire": yes(fate["moire"]),
            "stains": yes(fate["stains"]),
            "desk": yes(fate["desk"]),
            "shade": step(0.01, 0.15, 0.3)(fate["shade"]),
            "shadow": yes(fate["shadow"]),
            "fading": step(0.01, 0.25)(fate["fade"]),
            "sharpening": yes(fate["sharpen"]),
            "quarter turns": str(fate["quarter_turns"]),
        }
    return out


HEAD = (
    f"{'':34s} {'pages':>5s} {'refus.':>6s} {'dB':>6s} {'dB del.':>7s} {'names%':>6s} "
    f"{'box%':>6s} {'begin%':>6s} {'end%':>6s} {'layout%':>7s}"
)


def line(name: str, scores: list[Score]) -> str:
    delivered = [s for s in scores if s.delivered]
    mean = np.mean([s.db for s in delivered]) if delivered else math.nan
    traces = max(sum(s.traces for s in scores), 1)
    panels = max(sum(s.panels for s in scores), 1)
    right = sum(s.layout == "right" for s in scores)
    shares = [
        100 * sum(s.named_panels for s in scores) / panels,
        100 * sum(s.in_box for s in scores) / traces,
        100 * sum(s.begun for s in scores) / traces,
        100 * sum(s.ended for s in scores) / traces,
    ]
    return (
        f"{name:34s} {len(scores):5d} {len(scores) - len(delivered):6d} "
        f"{np.mean([s.db for s in scores]):6.2f} {mean:7.2f} "
        + " ".join(f"{share:6.1f}" for share in shares)
        + f" {100 * right / len(scores):7.1f}"
    )


def by_fault(scores: list[Score]) -> None:
    groups: dict[str, dict[str, list[Score]]] = {}
    for score in scores:
        for fault, degree in faults(score.truth).items():
            groups.setdefault(fault, {}).setdefault(degree, []).append(score)
    for fault, degrees in groups.items():
        print(f"\n{fault}")
        for degree in sorted(degrees, key=lambda d: (d[0] == ">", d[0] != "<", d)):
            print(line(f"  {degree}", degrees[degree]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("truth", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--faults", action="store_true", help="the table by the printer's faults")
    parser.add_argument("--worst", type=int, default=10)
    args = parser.parse_args()
    pages = sorted(p for p in args.truth.glob("*.json") if p.with_suffix(".npz").exists())
    if not pages:
        parser.error(f"{args.truth} holds no printed page")
    scores = [score_page(path, args.out) for path in pages]
    absent = sum(s.status == "absent" for s in scores)
    if absent:
        print(f"{absent} of {len(scores)} pages have no output: they count as refused")
    print(HEAD)
    print(line("ALL", scores))
    delivered = [s for s in scores if s.delivered]
    if delivered:
        print(line("delivered", delivered))
    kinds = {k: sum(s.layout == k for s in scores) for k in ("right", "wrong", "refused")}
    print("layout: " + ", ".join(f"{name} {n}" for name, n in kinds.items()))
    named, traces = sum(s.named for s in scores), sum(s.traces for s in scores)
    print(f"names of all traces, strips too: {named} of {traces}")
    silent = [s.name for s in delivered if s.db < 5 and s.status == "ok"]
    print(f"below 5 dB and `ok`: {' '.join(silent) or 'none'}")
    if args.faults:
        by_fault(scores)
    print(f"\nthe {args.worst} worst")
    for s in sorted(scores, key=lambda s: (s.db, s.name))[: args.worst]:
        print(
            f"  {s.name} {s.db:6.2f} dB {s.status}, {s.truth['layout']} as {s.layout_found}, "
            f"names {s.named}/{s.traces}, boxes {s.in_box}/{s.traces}: {s.reasons or '-'}"
        )


if __name__ == "__main__":
    main()
