"""Trains the labels net. One command from nothing, the same one to go on:

    labels_train.py --work DIR --pool POOL/labels [--pool POOL ...] [--hours H] [--threads N]

DIR/last.pt holds the state (every three minutes), DIR/train.log one line every 30 s. The
exponential mean of the weights is exported. Assignment: task-aligned (Feng et al., TOOD, 2021);
losses: binary cross entropy, CIoU (Zheng et al., 2020), DFL.
"""

from __future__ import annotations

import json
import math
import pathlib
import time

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from labels_data import FILL
from labels_net import BINS, LabelsNet, anchors, flatten, to_boxes
from precision import autocast
from training import Run, ahead, arguments, train

TILE = 320
# Cells of a mosaic, height and width: around a lead's name, around a speed or a gain.
NAME_CELL, TEXT_CELL = (80, 80), (80, 160)
MOSAIC_SHARE = 0.5
TILES_A_PAGE = 2
LEADS = 19  # classes that are names of leads
CANDIDATES = 8
RARE = 0.2  # share of pages under which a class is drawn more often
SIDE_MIN = 14.0  # a thin "I" still has places within it


class Pages:
    """The pages of some pools; every second draw is one with a class that few pages have."""

    def __init__(self, folders: list[pathlib.Path]) -> None:
        self.folders = folders
        self.all: list[pathlib.Path] = []
        self.holding: dict[int, list[pathlib.Path]] = {}
        self.looked = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Sees new pages."""
        self.looked = time.time()
        found = {path for folder in self.folders for path in folder.glob("*.json")}
        for path in sorted(found - set(self.all)):
            self.all.append(path)
            for kind in {int(box[0]) for box in json.loads(path.read_text())}:
                self.holding.setdefault(kind, []).append(path)

    def __len__(self) -> int:
        return len(self.all)

    def pick(self, rng: np.random.Generator) -> pathlib.Path:
        if time.time() - self.looked > 60:
            self.refresh()
        rare = [p for p in self.holding.values() if len(p) < RARE * len(self.all)]
        pages = self.all
        if rare and rng.random() < 0.5:
            pages = rare[rng.integers(len(rare))]
        return pages[rng.integers(len(pages))]


def tiles(rng: np.random.Generator, path: pathlib.Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Some tiles of one page: RGB pictures and [class, l, t, r, b]."""
    page = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    boxes = np.array(json.loads(path.with_suffix(".json").read_text()), float).reshape(-1, 5)
    leads, texts = boxes[boxes[:, 0] < LEADS], boxes[boxes[:, 0] > LEADS]  # LEADS: the pulse
    made = []
    for _ in range(TILES_A_PAGE):
        few, cell = (texts, TEXT_CELL) if rng.random() < 0.4 else (leads, NAME_CELL)
        if rng.random() < MOSAIC_SHARE and len(few):
            made.append(mosaic(rng, page, boxes, few, cell))
        else:
            aim = texts if len(texts) and rng.random() < 0.6 else boxes
            made.append(cut(rng, page, boxes, (TILE, TILE), 0.8, aim))
    return [(tone(rng, picture), kept) for picture, kept in made]


def make_batch(
    rng: np.random.Generator, pages: Pages, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bytes [size, 3, TILE, TILE], and boxes [size, most, 5], filled up with class -1."""
    made = []
    while len(made) < size:
        made += tiles(rng, pages.pick(rng).with_suffix(".jpg"))
    made = made[:size]
    pictures = np.stack([m[0] for m in made]).transpose(0, 3, 1, 2)
    truth = np.full((size, max(1, *(len(m[1]) for m in made)), 5), -1, np.float32)
    for filled, (_, boxes) in zip(truth, made, strict=True):
        filled[: len(boxes)] = boxes
    return torch.from_numpy(np.rint(pictures).astype(np.uint8)), torch.from_numpy(truth)


def mosaic(
    rng: np.random.Generator,
    page: np.ndarray,
    boxes: np.ndarray,
    few: np.ndarray,
    cell: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """A tile of small cells, each around one of `few`: a page has few names, and they decide."""
    picture = np.empty((TILE, TILE, 3), np.uint8)
    kept = []
    for top in range(0, TILE, cell[0]):
        for left in range(0, TILE, cell[1]):
            near = few if rng.random() < 0.9 else boxes
            part, found = cut(rng, page, boxes, cell, 1.0, near)
            picture[top : top + cell[0], left : left + cell[1]] = part
            kept.append(found + np.array([0, left, top, left, top]))
    return picture, np.concatenate(kept)


def cut(
    rng: np.random.Generator,
    page: np.ndarray,
    boxes: np.ndarray,
    size: tuple[int, int],
    aimed: float,
    targets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """A picture of `size` (height, width); a share `aimed` lies around one of `targets`."""
    scale = float(np.exp(rng.uniform(math.log(0.7), math.log(1.4))))
    height, width = size
    shape = np.array([width, height])
    if len(targets) and rng.random() < aimed:
        box = targets[rng.integers(len(targets))]
        extent = np.maximum(box[3:5] - box[1:3], 1.0)
        scale = min(scale, 0.95 * width / extent[0])
        spread = (0.45 if height == TILE else 0.25) * shape / scale
        # A text is seen whole: a part of it could be another's.
        room = np.maximum((shape / scale - extent) / 2, 0.0) if box[0] > LEADS else spread
        middle = (box[1:3] + box[3:5]) / 2 + rng.uniform(-1, 1, 2) * np.minimum(spread, room)
    else:
        middle = rng.uniform(0, 1, 2) * [page.shape[1], page.shape[0]]
    # Pages under a phone lie askew.
    turn = rng.uniform(-18, 18) if rng.random() < 0.25 else rng.normal(0, 1.5)
    matrix = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), turn, scale)
    matrix[:, 2] += shape / 2 - middle
    picture = cv2.warpAffine(page, matrix, (width, height), borderValue=(FILL,) * 3)
    corners = boxes[:, [1, 2, 3, 2, 3, 4, 1, 4]].reshape(-1, 4, 2)
    corners = corners @ matrix[:, :2].T + matrix[:, 2]
    moved = np.c_[boxes[:, :1], corners.min(1), corners.max(1)]
    inside = np.c_[moved[:, :1], np.clip(moved[:, 1:], 0, [width, height, width, height])]
    area = lambda b: (b[:, 3] - b[:, 1]) * (b[:, 4] - b[:, 2])  # noqa: E731
    seen = area(inside) / np.maximum(area(moved), 1e-6)
    kept = inside[seen > np.where(boxes[:, 0] > LEADS, 0.97, 0.6)]
    # Of a text without its first figure nobody could tell the class, and it is no nothing either.
    for box in inside[(boxes[:, 0] > LEADS) & (seen > 0) & (seen <= 0.97)]:
        left, top, right, bottom = box[1:].round().astype(int)
        picture[top:bottom, left:right] = np.median(picture, (0, 1))
    if height == TILE and rng.random() < 0.07:
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
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each place [n, a] its truth (-1: none) and its weight: task-aligned."""
    there = truth[..., 0] >= 0
    kinds, real = truth[..., 0].clamp(min=0).long(), truth[..., 1:]
    middle, half = (real[..., :2] + real[..., 2:]) / 2, (real[..., 2:] - real[..., :2]) / 2
    half = half.clamp(min=SIDE_MIN / 2)
    off = centers - middle[:, :, None]
    inside = (off.abs() < half[:, :, None]).all(-1) & there[..., None]
    iou = overlap(real[:, :, None], boxes[:, None]).clamp(min=0)
    own = scores.gather(2, kinds[:, None].expand(-1, scores.shape[1], -1)).transpose(1, 2)
    metric = own.pow(0.5) * iou.pow(6) * inside
    best, places = metric.topk(CANDIDATES, 2)
    chosen = torch.zeros_like(metric).scatter_(2, places, (best > 1e-9).float())
    # A truth that nothing predicts yet takes the place nearest to its middle.
    lost = (chosen.sum(2, keepdim=True) == 0) & there[..., None]
    nearest = off.pow(2).sum(-1).argmin(2, keepdim=True)
    chosen.scatter_add_(2, nearest, lost.float())
    several = chosen.sum(1, keepdim=True) > 1
    winner = F.one_hot((iou * chosen).argmax(1), truth.shape[1]).transpose(1, 2).float()
    chosen = torch.where(several, winner, chosen)
    owner = torch.where(chosen.sum(1) > 0, chosen.argmax(1), -1)
    metric = metric * chosen
    peak, reach = metric.amax(2, keepdim=True), (iou * chosen).amax(2, keepdim=True)
    return owner, (metric / (peak + 1e-9) * reach).amax(1).clamp(min=0.05)


def losses(
    outs: tuple[torch.Tensor, ...], truth: torch.Tensor
) -> tuple[torch.Tensor, dict[str, float]]:
    sides, logits = flatten(outs)
    sides, logits = sides.float(), logits.float()
    centers, strides = anchors(outs)
    boxes = to_boxes(sides, centers, strides)
    owner, weight = assign(logits.sigmoid(), boxes, truth, centers)
    n, place = (owner >= 0).nonzero(as_tuple=True)
    found, w = truth[n, owner[n, place]], weight[n, place]
    kinds, real = found[:, 0].long(), found[:, 1:]
    target = torch.zeros_like(logits)
    target[n, place, kinds] = w
    box_loss = ((1 - overlap(boxes[n, place], real)) * w).sum()
    middle = centers[place]
    distance = torch.cat([middle - real[:, :2], real[:, 2:] - middle], 1)
    distance = (distance / strides[place, None]).clamp(0, BINS - 1.01)
    low = distance.long()
    share = distance - low
    log = sides[n, place].log_softmax(-1)
    picked = log.gather(2, low[..., None])[..., 0] * (1 - share)
    picked = picked + log.gather(2, low[..., None] + 1)[..., 0] * share
    dfl = -(picked.mean(1) * w).sum()
    total = target.sum().clamp(min=1)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / total
    box_loss, dfl = box_loss / total, dfl / total
    parts = {"class": bce.item(), "box": box_loss.item(), "dfl": dfl.item()}
    return 2 * bce + 4 * box_loss + dfl, parts


def main() -> None:
    args = arguments(__doc__, batch=16)
    run = Run(args.work, LabelsNet, args.rate, decay=5e-4, keep=0.998, device=args.device)
    pages = Pages(args.pool)

    def loss_of(made: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, dict[str, float]]:
        x, truth = (part.to(args.device, non_blocking=True) for part in made)
        x = (x.float() / 255).contiguous(memory_format=torch.channels_last)
        with autocast(args.device):
            outs = run.net(x)
        return losses(outs, truth)

    batches = ahead(lambda rng: make_batch(rng, pages, args.batch), 2000 + run.step, args.makers)
    train(run, args, batches, loss_of, 10.0, pages)


if __name__ == "__main__":
    main()
