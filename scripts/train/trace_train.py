"""Trains the trace net. One command from nothing, the same one to go on:

    trace_train.py --work DIR --pool POOL [--pool POOL ...] [--hours H] [--threads N]

DIR/last.pt holds the state (every three minutes), DIR/train.log one line every 30 s.
The learning rate is constant after the warm-up; the exponential mean of the weights is what is
exported, so that a stop at any time gives a usable net. `--finish TILES` lets the rate fall to
nothing over the last TILES tiles.
"""

from __future__ import annotations

import argparse
import math
import os
import pathlib
import time

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from precision import autocast
from trace_data import ABSENT, IGNORE, Pool, batch
from trace_net import MASK_CLASSES, TraceNet, column_map

SIGMA_PX = 1.5
CLASS_WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.7])


def mask_loss(out: torch.Tensor, classes: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """2 CE + 0.5 Dice, as nnU-Net but with the trace weighted up."""
    ce = F.cross_entropy(out, classes, weight=CLASS_WEIGHTS, reduction="none")
    loss = 2 * (ce * known).mean()
    share = out.softmax(1)
    for k in range(1, MASK_CLASSES):
        truth = (classes == k) * known
        both = (share[:, k] * truth).sum()
        loss = loss + 0.25 * (
            1 - (2 * both + 1) / ((share[:, k] * known).sum() + truth.sum() + 1)
        )
    return loss


def column_loss(heat: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy of the line's height a column, and the error of its mean (smooth L1, px)."""
    rows = torch.arange(heat.shape[1], dtype=torch.float32).view(1, -1, 1)
    drawn, known = y > ABSENT / 2, y > IGNORE / 2 - ABSENT / 2
    target = torch.exp(-0.5 * ((rows - y[:, None]) / SIGMA_PX) ** 2)
    target = target / (target.sum(1, keepdim=True) + 1e-9)
    total = torch.logsumexp(F.pad(heat, (0, 0, 0, 1)), 1)
    loss = torch.where(drawn, total - (target * heat).sum(1), total)
    middle = torch.where(drawn, y, torch.nan).nanmedian(1, keepdim=True).values.nan_to_num(0)
    weight = torch.where(drawn, 1 + ((y - middle).abs() / 12).clamp(max=6), 1.0) * known
    mean = (heat.softmax(1) * rows).sum(1)
    off = F.smooth_l1_loss(mean, y, beta=4.0, reduction="none") * (drawn & known)
    return (loss * weight).sum() / weight.sum().clamp(min=1), off.sum() / drawn.sum().clamp(min=1)


def losses(
    outs: list[torch.Tensor], classes: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, dict[str, float]]:
    outs = [o.float() for o in outs]
    known = (y > IGNORE / 2 - ABSENT / 2).float()
    known_half = known[:, ::2][:, None, :].expand(-1, classes.shape[1], -1)
    mask = mask_loss(outs[-1][:, :MASK_CLASSES], classes, known_half)
    for k, out in enumerate(reversed(outs[:-1]), 1):
        step = 2**k
        coarse = F.max_pool2d((classes == 1).float()[:, None], step)[:, 0]
        target = torch.where(coarse > 0, 1, classes[:, ::step, ::step])
        mask = mask + 0.5**k * mask_loss(out, target, known_half[:, ::step, ::step])
    column, mean = column_loss(column_map(outs[-1]), y)
    parts = {"mask": mask.item(), "column": column.item(), "mean_px": mean.item()}
    return mask + 0.5 * column + 0.05 * mean, parts


class Run:
    """A training's whole state, saved and found again."""

    def __init__(self, work: pathlib.Path, rate: float) -> None:
        self.path = work / "last.pt"
        torch.manual_seed(1)
        self.net = TraceNet().to(memory_format=torch.channels_last)
        self.opt = torch.optim.AdamW(self.net.parameters(), rate, weight_decay=1e-4)
        self.mean = {k: v.clone().float() for k, v in self.net.state_dict().items()}
        self.step, self.tiles = 0, 0
        if self.path.exists():
            state = torch.load(self.path)
            self.net.load_state_dict(state["net"])
            self.opt.load_state_dict(state["opt"])
            self.mean, self.step, self.tiles = state["mean"], state["step"], state["tiles"]

    def update(self, size: int) -> None:
        self.step += 1
        self.tiles += size
        keep = min(0.999, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for k, v in self.net.state_dict().items():
                self.mean[k].mul_(keep).add_(v.float(), alpha=1 - keep)

    def save(self) -> None:
        state = {
            "net": self.net.state_dict(),
            "opt": self.opt.state_dict(),
            "mean": self.mean,
            "step": self.step,
            "tiles": self.tiles,
        }
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.path)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--pool", type=pathlib.Path, action="append", required=True)
    parser.add_argument("--hours", type=float, default=100.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--finish", type=int, default=0, help="tiles over which the rate falls")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    cv2.setNumThreads(1)
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    run, pool = Run(args.work, args.rate), Pool(args.pool)
    rng = np.random.default_rng(1000 + run.step)
    start = said = saved = time.time()
    first_tile, seen, smooth = run.tiles, 0, {}
    while time.time() - start < 3600 * args.hours:
        rate = args.rate * min(1.0, (run.step + 1) / 200)
        if args.finish:
            done = (run.tiles - first_tile) / args.finish
            if done >= 1:
                break
            rate *= 0.5 + 0.5 * math.cos(math.pi * done)
        for group in run.opt.param_groups:
            group["lr"] = rate
        x, classes, y = batch(rng, pool, args.batch, args.width)
        run.opt.zero_grad(set_to_none=True)
        with autocast():
            outs = run.net.features(x.contiguous(memory_format=torch.channels_last))
        loss, parts = losses(outs, classes, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(run.net.parameters(), 5.0)
        run.opt.step()
        run.update(args.batch)
        seen += args.batch
        smooth = {k: 0.98 * smooth.get(k, v) + 0.02 * v for k, v in parts.items()}
        now = time.time()
        if now - said > 30:
            figures = " ".join(f"{k} {v:.4f}" for k, v in smooth.items())
            line = f"{run.tiles} tiles {seen / (now - said):.1f}/s {len(pool)} crops {figures}"
            with open(args.work / "train.log", "a") as log:
                log.write(line + "\n")
            said, seen = now, 0
            pool.refresh()
        if now - saved > 180:
            run.save()
            saved = now
    run.save()


if __name__ == "__main__":
    main()
