"""Crops for the trace net: a pool on disk, augmented on the way into a batch.

A pool is a folder of shards, three files each: `NAME.img.npy` uint8 [n, 2, H, W] (brightest and
darkest channel, raw), `NAME.lab.npy` uint8 [n, H, W] (0 background, 1 this trace, 2 other traces,
3 other ink), `NAME.y.npy` float32 [n, W] (row of the line's centre in px; ABSENT where the trace
is not drawn, IGNORE where nothing is known). All at 8 px/mm with the row's zero line at H / 2.
"""

from __future__ import annotations

import pathlib
import time

import cv2
import numpy as np
import torch

PX_PER_MM = 8.0
PAPER = 200.0
ABSENT, IGNORE = -1000.0, -2000.0
# Rows with tall beats are read in crops taller than the pool's: those are stretched further.
HEIGHTS = (320, 384, 384, 448, 480, 640)
END_SHARE = 0.35  # of the tiles are cut where a line begins or ends, if one does


class Pool:
    """All shards of some folders; `refresh` sees new ones."""

    def __init__(self, folders: list[pathlib.Path]) -> None:
        self.folders = folders
        self.shards: dict[pathlib.Path, tuple[np.ndarray, ...]] = {}
        self.looked = 0.0
        self.refresh()

    def refresh(self) -> None:
        self.looked = time.time()
        seen = {p for folder in self.folders for p in folder.glob("*.y.npy")}
        self.shards = {p: s for p, s in self.shards.items() if p in seen}
        for path in seen - set(self.shards):
            stem = str(path)[: -len(".y.npy")]
            parts = (np.load(f"{stem}.{k}.npy", mmap_mode="r") for k in ("img", "lab", "y"))
            self.shards[path] = tuple(parts)

    def __len__(self) -> int:
        return sum(len(s[2]) for s in self.shards.values())

    def pick(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        if time.time() - self.looked > 60:
            self.refresh()
        shards = list(self.shards.values())
        weights = np.array([len(s[2]) for s in shards], float)
        image, label, y = shards[rng.choice(len(shards), p=weights / weights.sum())]
        k = int(rng.integers(len(y)))
        return image[k], label[k], sharp_ends(y[k])


def sharp_ends(y: np.ndarray) -> np.ndarray:
    """Absent right behind the ends of a line: shards leave a millimetre there unknown."""
    unknown = y < (ABSENT + IGNORE) / 2
    edges = np.flatnonzero(np.diff(np.r_[False, unknown, False].astype(np.int8)))
    out = np.array(y)
    for first, last in edges.reshape(-1, 2):
        if last - first > 9 or first == 0 or last == len(y):
            continue
        before, after = y[first - 1] > ABSENT / 2, y[last] > ABSENT / 2
        if before and not after:
            out[first + 1 : last] = ABSENT
        elif after and not before:
            out[first : last - 1] = ABSENT
    return out


def cut_at(rng: np.random.Generator, y: np.ndarray, width: int) -> int:
    """First column of a tile: anywhere, or so that an end of the line lies in it."""
    last = len(y) - width
    ends = np.flatnonzero(np.diff((y > ABSENT / 2).astype(np.int8)))
    if not len(ends) or rng.random() > END_SHARE:
        return int(rng.integers(0, last + 1))
    return int(np.clip(rng.choice(ends) - rng.integers(0, width), 0, last))


def stretch(
    rng: np.random.Generator, image: np.ndarray, label: np.ndarray, y: np.ndarray, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stretch about the row, shift, and cut to `height`: tall QRS, rows off their place."""
    source = image.shape[1]
    factor, shift = 1.0, 0.0
    if height > source:
        factor = float(rng.uniform(1.1, 2.2))
    elif rng.random() < 0.6:
        factor = float(np.exp(rng.uniform(-0.15, 0.7)))
        shift = float(rng.normal(0, 6))
    offset = height / 2 + shift - factor * source / 2
    matrix = np.float32([[1, 0, 0], [0, factor, offset + (factor - 1) / 2]])
    size = (image.shape[2], height)
    planes = [
        cv2.warpAffine(
            p, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        for p in image
    ]
    label = cv2.warpAffine(
        np.ascontiguousarray(label), matrix, size, flags=cv2.INTER_NEAREST, borderValue=0
    )
    drawn = y > ABSENT / 2
    outside = drawn & ((y < 1) | (y > source - 2))
    y = np.where(drawn, y * factor + matrix[1, 2], y)
    outside |= drawn & ((y < 1) | (y > height - 2))
    return np.stack(planes), label, np.where(outside, IGNORE, y)


def tone(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Gamma, contrast, noise; paper to its level, as the crop does it."""
    out = image.astype(np.float32)
    for plane in out:
        plane *= PAPER / max(float(np.percentile(plane[::8, ::4], 90)), 8.0)
    if rng.random() < 0.3:
        out = PAPER * np.clip(out / PAPER, 0, 1.275) ** rng.uniform(0.7, 1.5)
    if rng.random() < 0.15:
        out += rng.normal(0, rng.uniform(1, 8), out.shape[1:]).astype(np.float32)
    if rng.random() < 0.1:
        out[1] = out[0]
    return np.clip(out, 0, 255)


def batch(
    rng: np.random.Generator, pool: Pool, size: int, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """[size, 3, H, width] of bytes, half-resolution classes (bytes), y a column."""
    height = int(rng.choice(HEIGHTS))
    x = np.empty((size, 3, height, width), np.uint8)
    classes = np.empty((size, height // 2, width // 2), np.uint8)
    ys = np.empty((size, width), np.float32)
    rows = np.clip(np.round(128 + 2 * (np.arange(height) + 0.5 - height / 2) / PX_PER_MM), 0, 255)
    for b in range(size):
        image, label, y = pool.pick(rng)
        at = cut_at(rng, y, width)
        cut = slice(at, at + width)
        image, label, y = stretch(rng, image[:, :, cut], label[:, cut], y[cut], height)
        image = tone(rng, image)
        if rng.random() < 0.4:
            image, label, y = image[:, :, ::-1], label[:, ::-1], y[::-1]
        if rng.random() < 0.25:
            image, label = image[:, ::-1], label[::-1]
            y = np.where(y > ABSENT / 2, height - 1 - y, y)
        x[b, :2] = np.rint(image)
        x[b, 2] = rows[:, None]
        classes[b] = half(label)
        ys[b] = y
    return torch.from_numpy(x), torch.from_numpy(classes), torch.from_numpy(ys)


def half(label: np.ndarray) -> np.ndarray:
    """Classes at half resolution: this trace over other traces over other ink."""
    quads = label.reshape(label.shape[0] // 2, 2, label.shape[1] // 2, 2)
    out = np.where((quads == 3).any((1, 3)), 3, 0)
    out = np.where((quads == 2).any((1, 3)), 2, out)
    return np.where((quads == 1).any((1, 3)), 1, out)
