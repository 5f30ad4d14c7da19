"""Pages for the labels net: letterboxed pictures and boxes on disk."""

from __future__ import annotations

import json
import pathlib

import cv2
import numpy as np

CLASSES = (
    "I II III aVR aVL aVF V1 V2 V3 V4 V5 V6 -aVR V7 V8 V9 V3R V4R V5R pulse "
    "25mm/s 12.5mm/s 50mm/s 10mm/mV 5mm/mV 20mm/mV half-chest"
).split()
LONG, SHORT = 1280, 960
FILL = 114


def letterbox(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture shrunk (or enlarged) to fit the canvas, and canvas pixels a page pixel."""
    height, width = image.shape[:2]
    scale = min(LONG / max(height, width), SHORT / min(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=how), scale


def canvas(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    size = (SHORT, LONG) if width >= height else (LONG, SHORT)
    out = np.full((*size, 3), FILL, np.uint8)
    out[:height, :width] = picture
    return out


def boxes_of(truth: dict, scale: float) -> list[list[float]]:
    """[class, left, top, right, bottom] on the letterboxed picture, pixel edges."""
    out = []
    for box in truth["boxes"]:
        if box["class"] in CLASSES:
            corners = (np.array(box["corners"]) + 0.5) * scale
            low, high = corners.min(0), corners.max(0)
            out.append([CLASSES.index(box["class"]), *low.tolist(), *high.tolist()])
    return out


def keep(image: np.ndarray, truth: dict, folder: pathlib.Path, stem: str) -> None:
    """Writes the letterboxed page and its boxes."""
    picture, scale = letterbox(image)
    cv2.imwrite(str(folder / f"{stem}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 93])
    # A training takes up a page when this file is there, and whole.
    part = folder / f"{stem}.part"
    part.write_text(json.dumps(boxes_of(truth, scale)))
    part.rename(folder / f"{stem}.json")
