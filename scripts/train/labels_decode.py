"""The labels net at work: from a page to boxes, as src/labels/view.rs and decode.rs do it.

`boxes = detect(run, image, 0.25)`, where `run` is `integer_net(labels.onnx)` or
`float_net(labels.float16.pt)`. The page is taken upright: quarter turns are not tried.
"""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch

import parity
from labels_data import CLASSES, canvas, letterbox
from labels_net import BINS, STRIDES, LabelsNet

LEAD_COUNT = CLASSES.index("pulse")
OVERLAP_MAX = 0.5
LABELS_MAX = 128
# Within a kind one box excludes another: leads, pulses, speeds, gains, half-gain chest.
KIND = np.array([0] * LEAD_COUNT + [1, 2, 2, 2, 3, 3, 3, 4])

Net = Callable[[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Boxes:
    """Class indices, scores and [n, 4] left, top, right, bottom, strongest first."""

    classes: np.ndarray
    scores: np.ndarray
    places: np.ndarray

    def __getitem__(self, which: np.ndarray) -> Boxes:
        return Boxes(self.classes[which], self.scores[which], self.places[which])

    def __len__(self) -> int:
        return len(self.classes)


def integer_net(path: pathlib.Path) -> Net:
    """The shipped net through ONNX Runtime, at any size of canvas."""
    with tempfile.TemporaryDirectory() as folder:
        free = pathlib.Path(folder) / "free.onnx"
        parity.free_size(path, free)
        session = parity.session(free)
    return lambda x: session.run(None, {session.get_inputs()[0].name: x})


def float_net(path: pathlib.Path) -> Net:
    """The float weights that are committed beside the shipped net."""
    net = LabelsNet()
    net.load_state_dict({k: v.float() for k, v in torch.load(path)["mean"].items()})
    net.eval()

    @torch.no_grad()
    def run(x: np.ndarray) -> list[np.ndarray]:
        return [out.numpy() for out in net(torch.from_numpy(x).float() / 255)]

    return run


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[n, m] intersection over union."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), 2)
    sizes = [np.prod(np.clip(c[:, 2:] - c[:, :2], 0, None), 1) for c in (a, b)]
    return shared / np.maximum(sizes[0][:, None] + sizes[1][None, :] - shared, 1e-9)


def decode(maps: list[np.ndarray], score_min: float) -> Boxes:
    """Boxes on the canvas, pixel edges; each place counts for its likeliest class alone."""
    classes, scores, places = [], [], []
    for sides, logits, stride in zip(maps[0::2], maps[1::2], STRIDES, strict=True):
        best = logits[0].max(0)
        y, x = np.nonzero(best >= np.log(score_min / (1 - score_min)))
        bins = sides[0].reshape(4, BINS, *best.shape)[:, :, y, x]
        bins = np.exp(bins - bins.max(1, keepdims=True))
        reach = (bins * np.arange(BINS)[:, None]).sum(1) / bins.sum(1) * stride
        middle = (np.stack([x, y]) + 0.5) * stride
        places.append(np.concatenate([middle - reach[:2], middle + reach[2:]]).T)
        classes.append(logits[0].argmax(0)[y, x])
        scores.append(1 / (1 + np.exp(-best[y, x])))
    found = Boxes(*(np.concatenate(part) for part in (classes, scores, places)))
    return suppress(found[np.argsort(-found.scores, kind="stable")])


def suppress(found: Boxes) -> Boxes:
    """The weaker of two boxes of a kind that show the same thing goes."""
    kinds, kept = KIND[found.classes], []
    alive = np.ones(len(found), bool)
    for k in range(len(found)):
        if not alive[k]:
            continue
        kept.append(k)
        if len(kept) == LABELS_MAX:
            break
        rest = np.flatnonzero(alive & (kinds == kinds[k]))
        alive[rest[overlaps(found.places[k : k + 1], found.places[rest])[0] > OVERLAP_MAX]] = False
    return found[np.array(kept, int)]


def detect(run: Net, image: np.ndarray, score_min: float) -> Boxes:
    """Boxes on the page (BGR, as cv2 reads it), pixel centres at integers."""
    picture, scale = letterbox(image)
    page = np.ascontiguousarray(canvas(picture)[:, :, ::-1].transpose(2, 0, 1))[None]
    found = decode(run(page), score_min)
    return Boxes(found.classes, found.scores, found.places / scale - 0.5)


def draw(image: np.ndarray, found: Boxes, true: Boxes) -> np.ndarray:
    """The page, paled, with true boxes in green and found ones in red with name and score."""
    scale = max(1.0, 1600 / max(image.shape[:2]))
    out = cv2.resize(image, None, fx=scale, fy=scale)
    out = (0.6 * out + 102).astype(np.uint8)
    text = max(0.4, max(out.shape[:2]) / 3600)
    for boxes, color in ((true, (0, 150, 0)), (found, (0, 0, 220))):
        for k in range(len(boxes)):
            left, top, right, bottom = ((boxes.places[k] + 0.5) * scale).astype(int).tolist()
            cv2.rectangle(out, (left, top), (right, bottom), color, 1)
            if boxes is found:
                name = f"{CLASSES[boxes.classes[k]]} {boxes.scores[k]:.2f}"
                at = (left, bottom + round(26 * text))
                cv2.putText(out, name, at, cv2.FONT_HERSHEY_SIMPLEX, text, color, 1, cv2.LINE_AA)
    return out
