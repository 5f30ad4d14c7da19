"""Fits the prediction of quality to printed pages and writes src/record/quality/weights.rs.

    quality_fit.py --pair TRUTH_DIR OUT_DIR [--pair ...] [--write weights.rs]

TRUTH_DIR holds ID.json and ID.npz of pageprint, OUT_DIR holds ID.csv and ID.json of
`leadscan digitize --format csv,json`. Every delivered lead is an example: the clues that its trace
has in ID.json, and its true dB (evaluate_pages.lead_decibels). A net of one hidden layer (tanh) is
fitted to them by least absolute deviations, then a page's dB to its leads' predictions, pooled by
power, and to the worst of them. Reported: the median of |predicted - true| on pages left out, five
folds. These pages are spent: hold the result against others (`scripts/bench quality`).
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from evaluate_pages import LEADS, decibel, found_leads, lead_decibels

LEVEL_MAX = 4.0
DB_MIN, DB_MAX = -3.0, 35.0
FOLDS, EPOCHS, HIDDEN, DECAY = 5, 80, 10, 0.1


@dataclass
class Page:
    """The leads of one delivered page, as far as they have clues."""

    clues: np.ndarray
    db: np.ndarray
    power: np.ndarray
    page_db: float


def trace_of(report: dict, lead: str) -> dict | None:
    """The trace that stands for a lead: its rhythm strip, else its panel."""
    names = {lead, "-aVR"} if lead == "aVR" else {lead}
    found = [t for t in report["traces"] if t["lead"] in names and t.get("clues")]
    return max(found, key=lambda t: t["role"] == "rhythm", default=None)


def read_page(truth: pathlib.Path, out: pathlib.Path) -> tuple[list[str], Page] | None:
    report_file, csv = out / truth.name, out / f"{truth.stem}.csv"
    if not report_file.exists() or not csv.exists():
        return None
    report = json.loads(report_file.read_text())
    if report["status"] not in ("ok", "warning"):
        return None
    plan, values = json.loads(truth.read_text()), dict(np.load(truth.with_suffix(".npz")))
    known, columns = lead_decibels(plan, values, csv), found_leads(csv)[1]
    names: list[str] = []
    clues, db, power = [], [], []
    for lead in LEADS:
        trace = trace_of(report, lead)
        if trace is None or lead not in known or lead not in columns:
            continue
        names = names or list(trace["clues"])
        samples = columns[lead]
        clues.append([trace["clues"][name] for name in names])
        db.append(np.clip(known[lead], -5, DB_MAX))
        power.append(float(np.nansum((samples - np.nanmedian(samples)) ** 2)))
    if not clues:
        return None
    page = Page(np.array(clues), np.array(db), np.array(power), decibel(plan, values, csv))
    return names, page


Model = Callable[[np.ndarray], np.ndarray]


@dataclass
class Weights:
    mean: np.ndarray
    deviation: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    out: np.ndarray
    bias: float
    page: np.ndarray

    def leads(self, clues: np.ndarray) -> np.ndarray:
        levels = np.clip((clues - self.mean) / self.deviation, -LEVEL_MAX, LEVEL_MAX)
        hidden = np.tanh(levels @ self.hidden.T + self.hidden_bias)
        return np.clip(hidden @ self.out + self.bias, DB_MIN, DB_MAX)

    def whole(self, page: Page) -> float:
        found = self.leads(page.clues)
        parts = [pooled(found, page.power), found.min(), 1]
        return float(np.clip(self.page @ parts, DB_MIN, DB_MAX))


def pooled(db: np.ndarray, power: np.ndarray) -> float:
    return float(10 * np.log10(power.sum() / max((power * 10 ** (-db / 10)).sum(), 1e-12)))


def fit_leads(pages: list[Page], seed: int) -> Weights:
    torch.manual_seed(seed)
    clues = np.concatenate([p.clues for p in pages])
    mean, deviation = clues.mean(0), np.maximum(clues.std(0), 0.01)
    levels = torch.tensor((clues - mean) / deviation, dtype=torch.float32)
    levels = levels.clamp(-LEVEL_MAX, LEVEL_MAX)
    target = torch.tensor(np.concatenate([p.db for p in pages]), dtype=torch.float32)
    first, last = torch.nn.Linear(levels.shape[1], HIDDEN), torch.nn.Linear(HIDDEN, 1)
    last.bias.data[:] = target.median()
    net = torch.nn.Sequential(first, torch.nn.Tanh(), last)
    step = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=DECAY)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(step, EPOCHS)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(target)).split(256):
            off = torch.nn.functional.smooth_l1_loss(net(levels[part])[:, 0], target[part])
            step.zero_grad()
            off.backward()
            step.step()
        fall.step()
    values = [v.detach().numpy().astype(float) for v in (first.weight, first.bias, last.weight)]
    out, bias = values[2][0], float(last.bias.detach())
    return Weights(mean, deviation, *values[:2], out, bias, page=np.array([1, 0, 0]))


def least_deviations(rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weights of the columns that make the absolute deviations least (by reweighting)."""
    weight = np.ones(len(target))
    found = np.zeros(rows.shape[1])
    for _ in range(50):
        scaled = rows * weight[:, None]
        found = np.linalg.solve(scaled.T @ rows + 1e-3 * np.eye(rows.shape[1]), scaled.T @ target)
        weight = 1 / np.maximum(np.abs(target - rows @ found), 0.5)
    return found


def fit(pages: list[Page], seed: int = 0) -> Weights:
    weights = fit_leads(pages, seed)
    found = [weights.leads(p.clues) for p in pages]
    rows = np.array([[pooled(f, p.power), f.min(), 1] for f, p in zip(found, pages, strict=True)])
    weights.page = least_deviations(rows, np.array([p.page_db for p in pages]))
    return weights


def hold_out(pages: list[Page]) -> None:
    """Prints how far predictions are off on pages that were left out of the fit."""
    order = np.random.default_rng(0).permutation(len(pages))
    leads: list[float] = []
    whole = np.zeros(len(pages))
    for fold in np.array_split(order, FOLDS):
        left_out = set(fold.tolist())
        weights = fit([p for k, p in enumerate(pages) if k not in left_out])
        for k in fold:
            leads += list(np.abs(weights.leads(pages[k].clues) - pages[k].db))
            whole[k] = abs(weights.whole(pages[k]) - pages[k].page_db)
    print(f"{len(pages)} pages, {len(leads)} leads; |predicted - true|, median and 90 %:")
    print(f"  page {np.median(whole):.2f} {np.quantile(whole, 0.9):.2f} dB")
    print(f"  lead {np.median(leads):.2f} {np.quantile(leads, 0.9):.2f} dB")


def rust(weights: Weights) -> str:
    def numbers(values: np.ndarray) -> str:
        return ", ".join(f"{v:.3f}" for v in values)

    pairs = zip(weights.mean, weights.deviation, strict=True)
    scales = ", ".join(f"({mean:.3f}, {deviation:.3f})" for mean, deviation in pairs)
    units = zip(weights.hidden, weights.hidden_bias, weights.out, strict=True)
    hidden = ", ".join(f"([{numbers(row)}], {bias:.3f}, {out:.3f})" for row, bias, out in units)
    return f"""//! The weights of quality's prediction, by `scripts/train/quality_fit.py`.

pub const CLUE_COUNT: usize = {len(weights.mean)};
/// Clues are taken this many standard deviations off their mean at most.
pub const LEVEL_MAX: f32 = {LEVEL_MAX};
/// Mean and standard deviation of each clue. One may look like a constant.
#[allow(clippy::approx_constant)]
#[rustfmt::skip]
pub const SCALES: [(f32, f32); CLUE_COUNT] = [{scales}];
/// Each hidden unit's weights, its bias, and what it counts. A weight may look like a constant.
#[allow(clippy::approx_constant)]
#[rustfmt::skip]
pub const HIDDEN: [([f32; CLUE_COUNT], f32, f32); {HIDDEN}] = [{hidden}];
pub const BIAS: f32 = {weights.bias:.3f};
/// What the leads' pooled decibels and the worst lead's count on a page, and a constant.
pub const PAGE: [f32; 3] = [{numbers(weights.page)}];
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pair", nargs=2, action="append", type=pathlib.Path, required=True)
    parser.add_argument("--write", type=pathlib.Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    read = [
        read_page(truth, out)
        for folder, out in args.pair
        for truth in sorted(folder.glob("*.json"))
        if truth.with_suffix(".npz").exists()
    ]
    pages = [page for found in read if found for page in found[1:]]
    if len(pages) < 10 * FOLDS:
        parser.error(f"{len(pages)} delivered pages are too few")
    hold_out(pages)
    if args.write:
        args.write.write_text(rust(fit(pages)))


if __name__ == "__main__":
    main()
