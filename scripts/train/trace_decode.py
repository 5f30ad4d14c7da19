"""From the trace net's map to a line, as src/trace/posterior.rs and follow.rs do it.

`y, share = follow(log_posterior(map))` for maps [n, 8, H/2, W/2]; without the mask's cleaning
(src/trace/clean.rs), and a crop is read in one piece.
"""

from __future__ import annotations

import numpy as np

from trace_net import MASK_CLASSES

STEP_COST = 0.03
WINDOW_PX = 4.0
PRESENT_MIN = 0.08
STEPS = 20.0


def log_posterior(maps: np.ndarray) -> np.ndarray:
    """[n, H, W] log probabilities in steps of 1/20; the absent bin has logit 0."""
    count, _, height, width = maps.shape
    quads = maps[:, MASK_CLASSES:].reshape(count, 2, 2, height, width)
    logits = quads.transpose(0, 3, 1, 4, 2).reshape(count, 2 * height, 2 * width)
    top = np.maximum(logits.max(1, keepdims=True), 0)
    total = top + np.log(np.exp(logits - top).sum(1, keepdims=True) + np.exp(-top))
    return np.clip(np.floor((total - logits) * STEPS + 0.5), 0, 255) / -STEPS


def spread(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """score'[y] = max over z of score[z] - STEP_COST |y - z|, and that z; along the last axis."""
    height = score.shape[-1]
    rows = np.arange(height)
    best, source = score, np.broadcast_to(rows, score.shape)
    for turned in (False, True):
        if turned:
            best, source = best[:, ::-1], source[:, ::-1]
        risen = best + STEP_COST * rows
        top = np.maximum.accumulate(risen, 1)
        own = np.diff(top, axis=1, prepend=-np.inf) > 0
        at = np.maximum.accumulate(np.where(own, rows, 0), 1)
        best, source = top - STEP_COST * rows, np.take_along_axis(source, at, 1)
    return best[:, ::-1], source[:, ::-1]


def best_path(log: np.ndarray) -> np.ndarray:
    """[n, W] rows of the best path."""
    count, _, width = log.shape
    back, score = [], log[:, :, 0]
    for x in range(1, width):
        score, source = spread(score)
        back.append(source)
        score = score + log[:, :, x]
    path = np.empty((count, width), int)
    path[:, -1] = score.argmax(1)
    for x in range(width - 1, 0, -1):
        path[:, x - 1] = back[x - 1][np.arange(count), path[:, x]]
    return path


def follow(log: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[n, W] rows of the line's centre (NaN where it is absent) and share of the posterior."""
    path = best_path(log).astype(float)
    padded = np.pad(path, ((0, 0), (1, 1)), mode="edge")
    reach = WINDOW_PX + np.abs(padded[:, 2:] - padded[:, :-2]) / 4
    first = np.floor(np.maximum(path - reach, 0))[:, None]
    last = np.floor(path + reach)[:, None]
    rows = np.arange(log.shape[1])[None, :, None]
    near = np.exp(log) * ((rows >= first) & (rows <= last))
    share = near.sum(1)
    y = (near * rows).sum(1) / np.maximum(share, 1e-12)
    return np.where(share >= PRESENT_MIN, y, np.nan), share
