"""Trains the labels net. One command from nothing, the same one to go on:

    labels_train.py --work DIR --pool POOL/labels [--hours H] [--threads N]

DIR/last.pt holds the state (every three minutes), DIR/train.log one line every 30 s. The
exponential mean of the weights is exported. Assignment: task-aligned (Feng et al., TOOD, 2021);
losses: binary cross entropy, CIoU (Zheng et al., 2020), DFL.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import json
import math
import os
import pathlib
import time

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from labels_data import FILL
from labels_net import BINS, LabelsNet, anchors, flatten, to_boxes
from precision import autocast

TILE = 320
CELL = 80
MOSAIC_SHARE = 0.75
LEADS = 19  # classes that are names of leads
CANDIDATES = 8
SIDE_MIN = 14.0  # a thin "I" still has places within it


def tiles(rng: np.random.Generator, path: pathlib.Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Four tiles of one page: RGB pictures and [class, l, t, r, b]."""
    page = cv2.imread(str(path))[:, :, ::-1]
    boxes = np.array(json.loads(path.with_suffix(".json").read_text()), float).reshape(-1, 5)
    if rng.random() < MOSAIC_SHARE and (boxes[:, 0] < LEADS).any():
        made = [mosaic(rng, page, boxes) for _ in range(4)]
    else:
        made = [cut(rng, page, boxes, TILE, 0.8) for _ in range(4)]
    return [(tone(rng, picture), kept) for picture, kept in made]


def make_batch(
    rng: np.random.Generator, pages: list[pathlib.Path], size: int
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    made = []
    while len(made) < size:
        made += tiles(rng, pages[rng.integers(len(pages))].with_suffix(".jpg"))
    pictures = np.stack([m[0] for m in made]).transpose(0, 3, 1, 2)
    return torch.from_numpy(pictures / 255).float(), [torch.from_numpy(m[1]).float() for m in made]


def mosaic(
    rng: np.random.Generator, page: np.ndarray, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A tile of small cells, each around a lead's name: a page has few, and they decide."""
    picture = np.empty((TILE, TILE, 3), np.uint8)
    kept = []
    leads = boxes[boxes[:, 0] < LEADS]
    for top in range(0, TILE, CELL):
        for left in range(0, TILE, CELL):
            near = leads if rng.random() < 0.9 else boxes
            cell, found = cut(rng, page, boxes, CELL, 1.0, near)
            picture[top : top + CELL, left : left + CELL] = cell
            kept.append(found + np.array([0, left, top, left, top]))
    return picture, np.concatenate(kept)


def cut(
    rng: np.random.Generator,
    page: np.ndarray,
    boxes: np.ndarray,
    size: int,
    aimed: float,
    targets: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A square of `size` pixels; a share `aimed` of them lies around one of `targets`."""
    targets = boxes if targets is None else targets
    scale = float(np.exp(rng.uniform(math.log(0.7), math.log(1.4))))
    side = size / scale
    if len(targets) and rng.random() < aimed:
        box = targets[rng.integers(len(targets))]
        spread = 0.45 if size == TILE else 0.25
        middle = (box[1:3] + box[3:5]) / 2 + rng.uniform(-spread, spread, 2) * side
    else:
        middle = rng.uniform(0, 1, 2) * [page.shape[1], page.shape[0]]
    left, top = middle - side / 2
    matrix = np.float32([[scale, 0, -left * scale], [0, scale, -top * scale]])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = cv2.warpAffine(page, matrix, (size, size), flags=how, borderValue=(FILL,) * 3)
    moved = boxes.copy()
    moved[:, 1::2] = (boxes[:, 1::2] - left) * scale
    moved[:, 2::2] = (boxes[:, 2::2] - top) * scale
    inside = np.c_[moved[:, :1], np.clip(moved[:, 1:], 0, size)]
    area = lambda b: (b[:, 3] - b[:, 1]) * (b[:, 4] - b[:, 2])  # noqa: E731
    kept = inside[area(inside) > 0.6 * np.maximum(area(moved), 1e-6)]
    if size == TILE and rng.random() < 0.07:
        picture, kept = np.rot90(picture, rng.integers(1, 4)), kept[:0]
    return picture, kept


def tone(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    out = picture.astype(np.float32)
    if rng.random() < 0.2:
        out = np.repeat(out.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.5:
        out = out * rng.uniform(0.8, 1.15, (1, 1, 3)) + rng.uniform(-20, 20)
    if rng.random() < 0.2:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 1.0))
    if rng.random() < 0.2:
        out = out + rng.normal(0, rng.uniform(1, 10), out.shape)
    return np.clip(out, 0, 255)


def overlap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Complete IoU of boxes of equal shape (broadcast)."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).clamp(min=0).prod(-1)
    size_a, size_b = (a[..., 2:] - a[..., :2]), (b[..., 2:] - b[..., :2])
    union = size_a.prod(-1) + size_b.prod(-1) - both + 1e-6
    iou = both / union
    around = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2).pow(2).sum(-1)
    angle = torch.atan(size_a[..., 0] / (size_a[..., 1] + 1e-6))
    angle = angle - torch.atan(size_b[..., 0] / (size_b[..., 1] + 1e-6))
    v = 4 / math.pi**2 * angle.pow(2)
    with torch.no_grad():
        alpha = v / (v - iou + 1 + 1e-6)
    return iou - apart / (around.pow(2).sum(-1) + 1e-6) - v * alpha


@torch.no_grad()
def assign(
    scores: torch.Tensor, boxes: torch.Tensor, truth: torch.Tensor, centers: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each place its truth (-1: none) and its weight: task-aligned, one picture."""
    count = len(truth)
    owner = torch.full((len(centers),), -1)
    weight = torch.zeros(len(centers))
    if count == 0:
        return owner, weight, truth.new_zeros(0)
    kinds, real = truth[:, 0].long(), truth[:, 1:]
    middle, half = (real[:, :2] + real[:, 2:]) / 2, (real[:, 2:] - real[:, :2]) / 2
    half = half.clamp(min=SIDE_MIN / 2)
    inside = ((centers[None] - middle[:, None]).abs() < half[:, None]).all(-1)
    iou = overlap(real[:, None], boxes[None]).clamp(min=0)
    metric = scores[:, kinds].T.pow(0.5) * iou.pow(6) * inside
    best, places = metric.topk(min(CANDIDATES, metric.shape[1]), 1)
    chosen = torch.zeros_like(metric).scatter_(1, places, (best > 1e-9).float())
    # A truth that nothing predicts yet takes the place nearest to its middle.
    lost = chosen.sum(1) == 0
    nearest = (centers[None] - middle[:, None]).pow(2).sum(-1).argmin(1)
    chosen[lost, nearest[lost]] = 1
    several = chosen.sum(0) > 1
    if several.any():
        winner = (iou * chosen).argmax(0)
        chosen[:, several] = F.one_hot(winner[several], count).T.float()
    taken = chosen.sum(0) > 0
    owner[taken] = chosen.argmax(0)[taken]
    metric = metric * chosen
    peak, reach = metric.amax(1, keepdim=True), (iou * chosen).amax(1, keepdim=True)
    scaled = (metric / (peak + 1e-9) * reach).amax(0)
    weight[taken] = scaled[taken].clamp(min=0.05)
    return owner, weight, kinds


def losses(
    outs: tuple[torch.Tensor, ...], truths: list[torch.Tensor]
) -> tuple[torch.Tensor, dict[str, float]]:
    sides, logits = flatten(outs)
    sides, logits = sides.float(), logits.float()
    centers, strides = anchors(outs)
    boxes = to_boxes(sides, centers, strides)
    target = torch.zeros_like(logits)
    box_loss = dfl = logits.new_zeros(())
    for n, truth in enumerate(truths):
        owner, weight, kinds = assign(logits[n].sigmoid(), boxes[n], truth, centers)
        own = owner >= 0
        if not own.any():
            continue
        real, w = truth[owner[own], 1:], weight[own]
        target[n, own, kinds[owner[own]]] = w
        box_loss = box_loss + ((1 - overlap(boxes[n, own], real)) * w).sum()
        middle = centers[own]
        distance = torch.cat([middle - real[:, :2], real[:, 2:] - middle], 1)
        distance = (distance / strides[own, None]).clamp(0, BINS - 1.01)
        low = distance.long()
        share = distance - low
        log = sides[n, own].log_softmax(-1)
        picked = log.gather(2, low[..., None])[..., 0] * (1 - share)
        picked = picked + log.gather(2, low[..., None] + 1)[..., 0] * share
        dfl = dfl - (picked.mean(1) * w).sum()
    total = target.sum().clamp(min=1)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / total
    box_loss, dfl = box_loss / total, dfl / total
    parts = {"class": bce.item(), "box": box_loss.item(), "dfl": dfl.item()}
    return 2 * bce + 4 * box_loss + dfl, parts


class Run:
    """A training's whole state, saved and found again."""

    def __init__(self, work: pathlib.Path, rate: float) -> None:
        self.path = work / "last.pt"
        torch.manual_seed(1)
        self.net = LabelsNet().to(memory_format=torch.channels_last)
        self.opt = torch.optim.AdamW(self.net.parameters(), rate, weight_decay=5e-4)
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
        keep = min(0.998, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for k, v in self.net.state_dict().items():
                self.mean[k].mul_(keep).add_(v.float(), alpha=1 - keep)

    def save(self) -> None:
        state = {"net": self.net.state_dict(), "opt": self.opt.state_dict(), "mean": self.mean}
        state |= {"step": self.step, "tiles": self.tiles}
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.path)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--pool", type=pathlib.Path, required=True)
    parser.add_argument("--hours", type=float, default=100.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--finish", type=int, default=0, help="tiles over which the rate falls")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    cv2.setNumThreads(1)
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    run = Run(args.work, args.rate)
    rng = np.random.default_rng(2000 + run.step)
    start = said = saved = time.time()
    first_tile, seen, smooth, listed = run.tiles, 0, {}, time.time()
    pages = sorted(args.pool.glob("*.json"))
    # Batches are made on a thread of their own: OpenCV lets go of the interpreter.
    maker = concurrent.futures.ThreadPoolExecutor(1)
    ready = collections.deque(
        maker.submit(make_batch, rng, pages, args.batch) for _ in range(3)
    )
    while time.time() - start < 3600 * args.hours:
        if time.time() - listed > 60:
            pages, listed = sorted(args.pool.glob("*.json")), time.time()
        rate = args.rate * min(1.0, (run.step + 1) / 300)
        if args.finish:
            done = (run.tiles - first_tile) / args.finish
            if done >= 1:
                break
            rate *= 0.5 + 0.5 * math.cos(math.pi * done)
        for group in run.opt.param_groups:
            group["lr"] = rate
        x, truths = ready.popleft().result()
        ready.append(maker.submit(make_batch, rng, pages, args.batch))
        run.opt.zero_grad(set_to_none=True)
        with autocast():
            outs = run.net(x.contiguous(memory_format=torch.channels_last))
        loss, parts = losses(outs, truths)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(run.net.parameters(), 10.0)
        run.opt.step()
        run.update(args.batch)
        seen += args.batch
        smooth = {k: 0.98 * smooth.get(k, v) + 0.02 * v for k, v in parts.items()}
        now = time.time()
        if now - said > 30:
            figures = " ".join(f"{k} {v:.4f}" for k, v in smooth.items())
            line = f"{run.tiles} tiles {seen / (now - said):.1f}/s {len(pages)} pages {figures}"
            with open(args.work / "train.log", "a") as log:
                log.write(line + "\n")
            said, seen = now, 0
        if now - saved > 120:
            run.save()
            saved = now
    run.save()


if __name__ == "__main__":
    main()
