"""Cuts crops for the trace net out of a printed page.

The page's truth gives every trace in flat millimetres and a mesh of millimetres to pixels; a crop
is one resample of the picture through that mesh, slightly turned, scaled and shifted, because at
work the page map is never exact. "This trace" is all that is drawn along one row: where a panel
ends is known from the layout, not from the ink.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import cv2
import numpy as np
from scipy.interpolate import RectBivariateSpline

from trace_data import ABSENT, IGNORE, PX_PER_MM

HEIGHT, WIDTH = 480, 320
SUB = 2  # masks are drawn twice finer
THIS, OTHER, INK = 1, 2, 3
# While drawing, classes stand in the order in which they cover each other.
RANK = {INK: 1, OTHER: 2, THIS: 3}
SAME_ROW_MM = 3.2
NEAR_START_MM = 6.0
TALL_MM = 16.0

Place = Callable[[np.ndarray], np.ndarray]


class Page:
    """A printed page and its truth."""

    def __init__(self, path: pathlib.Path) -> None:
        self.truth = json.loads(path.read_text())
        values = np.load(path.with_suffix(".npz"))
        self.image = cv2.imread(str(path.with_name(self.truth["image"])))
        mesh = self.truth["mesh"]
        px = np.array(mesh["px"], float).reshape(mesh["rows"], mesh["columns"], 2)
        y = np.arange(mesh["rows"]) * mesh["step_mm"]
        x = np.arange(mesh["columns"]) * mesh["step_mm"]
        order = (min(3, len(y) - 1), min(3, len(x) - 1))
        self.px = [RectBivariateSpline(y, x, px[..., k], kx=order[0], ky=order[1]) for k in (0, 1)]
        speed = self.truth["speed_mm_s"]
        self.paths, self.rows = [], []
        for s in self.truth["segments"]:
            mv = values[f"mv_{s['key']}"].astype(float)
            x = s["left_mm"] + np.arange(len(mv)) * speed / s["fs"]
            self.paths.append(np.c_[x, s["zero_mm"] - s["gain_mm_mv"] * mv])
            self.rows.append(s["zero_mm"])
        self.boxes = [
            np.array([self.to_mm(np.array(c)) for c in b["corners"]])
            for b in self.truth["boxes"]
            if b["class"] != "pulse"
        ]

    def to_px(self, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        return [s.ev(y, x) for s in self.px]

    def to_mm(self, px: np.ndarray) -> np.ndarray:
        """Millimetres of a pixel, by Newton's steps on the mesh."""
        mesh = self.truth["mesh"]
        mm = np.array([mesh["columns"], mesh["rows"]], float) * mesh["step_mm"] / 2
        for _ in range(6):
            here = np.array(self.to_px(mm[0], mm[1]))
            slopes = [[s.ev(mm[1], mm[0], dy=1), s.ev(mm[1], mm[0], dx=1)] for s in self.px]
            mm = mm + np.linalg.solve(np.array(slopes), px - here)
        return mm


def geometry(rng: np.random.Generator, x: float, y: float) -> np.ndarray:
    """Affine map of crop mm (from its middle) to paper mm: what the page map gets wrong."""
    turn = np.clip(rng.normal(0, 0.5), -1.5, 1.5) * np.pi / 180
    shear = rng.normal(0, 0.006)
    sx, sy = 1 + rng.normal(0, 0.01, 2)
    off = np.clip(rng.normal(0, 1.8), -6, 6)
    return np.array(
        [[np.cos(turn) * sx, -np.sin(turn) + shear, x], [np.sin(turn), np.cos(turn) * sy, y + off]]
    )


def sample(page: Page, affine: np.ndarray) -> np.ndarray:
    """[2, HEIGHT, WIDTH]: brightest and darkest channel."""
    # The map is smooth: every eighth pixel is enough, the rest is interpolated.
    u = (np.arange(0, WIDTH + 8, 8) + 0.5) / PX_PER_MM - WIDTH / PX_PER_MM / 2
    v = (np.arange(0, HEIGHT + 8, 8) + 0.5) / PX_PER_MM - HEIGHT / PX_PER_MM / 2
    u, v = np.meshgrid(u, v)
    x = affine[0, 0] * u + affine[0, 1] * v + affine[0, 2]
    y = affine[1, 0] * u + affine[1, 1] * v + affine[1, 2]
    maps = [m.astype(np.float32) for m in page.to_px(x, y)]
    grid = np.meshgrid(
        np.arange(WIDTH, dtype=np.float32) / 8, np.arange(HEIGHT, dtype=np.float32) / 8
    )
    fine = [cv2.remap(m, *grid, cv2.INTER_LINEAR) for m in maps]
    reduce = float(np.hypot(*(m[30, 21] - m[30, 20] for m in maps))) / 8
    image = page.image
    left, right = max(int(fine[0].min()) - 8, 0), int(fine[0].max()) + 9
    top, bottom = max(int(fine[1].min()) - 8, 0), int(fine[1].max()) + 9
    part = image[top:bottom, left:right]
    if min(part.shape[:2]) < 4:
        return np.full((2, HEIGHT, WIDTH), 230, np.uint8)
    if reduce > 1.2:
        part = cv2.GaussianBlur(part, (0, 0), 0.3 * reduce)
    pair = np.dstack([part.max(2), part.min(2)])
    out = cv2.remap(
        pair, fine[0] - left, fine[1] - top, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    outside = (fine[0] < 0) | (fine[1] < 0)
    outside |= (fine[0] > image.shape[1] - 1) | (fine[1] > image.shape[0] - 1)
    if outside.any() and not outside.all():
        out[outside] = np.percentile(out[~outside], 90, axis=0)
    return out.transpose(2, 0, 1)


def draw(label: np.ndarray, points: np.ndarray, kind: int, width_mm: float) -> None:
    fixed = np.round(((points + 0.5) * SUB - 0.5) * 16).astype(np.int32).reshape(-1, 1, 2)
    thick = max(1, round(width_mm * PX_PER_MM * SUB))
    cv2.polylines(label, [fixed], False, RANK[kind], thick, cv2.LINE_8, 4)


def text_ink(box_mm: np.ndarray, place: Place, image: np.ndarray, label: np.ndarray) -> None:
    """Marks the dark pixels in a text's box."""
    points = place(box_mm)
    low = np.clip(points.min(0).astype(int) - 1, 0, [WIDTH, HEIGHT])
    high = np.clip(points.max(0).astype(int) + 2, 0, [WIDTH, HEIGHT])
    if (high <= low).any():
        return
    part = image[0, low[1] : high[1], low[0] : high[0]]
    dark = part < 0.72 * np.percentile(image[0, ::8, ::4], 90)
    dark = np.repeat(np.repeat(dark, SUB, 0), SUB, 1)
    area = label[low[1] * SUB : high[1] * SUB, low[0] * SUB : high[0] * SUB]
    area[dark] = RANK[INK]


def crop(
    rng: np.random.Generator, page: Page, row: int, x: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, classes and line of the row of trace `row` around `x` mm."""
    zero = float(np.median(page.paths[row][:, 1]) if rng.random() < 0.5 else page.rows[row])
    affine = geometry(rng, x, zero)
    inverse = cv2.invertAffineTransform(affine)
    middle = np.array([WIDTH, HEIGHT]) / PX_PER_MM / 2

    def place(path: np.ndarray) -> np.ndarray:
        return (path @ inverse[:, :2].T + inverse[:, 2] + middle) * PX_PER_MM - 0.5

    image = sample(page, affine)
    label = np.zeros((HEIGHT * SUB, WIDTH * SUB), np.uint8)
    y = np.full(WIDTH, ABSENT, np.float32)
    width = max(page.truth["segments"][row]["line_width_mm"], 0.22)
    for box in page.boxes:
        text_ink(box, place, image, label)
    for name, thick, path in page.truth["marks"]:
        points = place(np.array(path))
        draw(label, points, INK, thick)
        if name == "pulse" and abs(path[0][1] - page.rows[row]) < SAME_ROW_MM:
            low, high = points[:, 0].min() - 8, points[:, 0].max() + 8
            y[slice(*np.clip((low, high), 0, WIDTH).astype(int))] = IGNORE
    columns = np.arange(WIDTH)
    for k, path in enumerate(page.paths):
        points = place(path)
        if abs(page.rows[k] - page.rows[row]) > SAME_ROW_MM:
            draw(label, points, OTHER, width)
            continue
        draw(label, points, THIS, width)
        xs = np.maximum.accumulate(points[:, 0])
        inside = (columns >= xs[0]) & (columns <= xs[-1])
        near = (columns >= xs[0] - 8) & (columns <= xs[-1] + 8) & ~inside
        y[near & (y < ABSENT / 2)] = IGNORE
        y[inside] = np.interp(columns[inside], xs, points[:, 1])
    label = label.reshape(HEIGHT, SUB, WIDTH, SUB).max((1, 3))
    return image, np.array([0, INK, OTHER, THIS], np.uint8)[label], y


def crops(rng: np.random.Generator, page: Page) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """One crop a panel, three a strip; ends are taken more often than the middle. Where a beat
    stands right behind the start, and where one is tall, one crop more: there the faults are."""
    out = []
    for row, path in enumerate(page.paths):
        left, right = path[0, 0], path[-1, 0]
        for _ in range(3 if right - left > 130 else 1):
            x = rng.uniform(left, right)
            if rng.random() < 0.35:
                x = rng.choice([left, right]) + rng.normal(0, 5)
            out.append(crop(rng, page, row, x))
        out += [crop(rng, page, row, x + rng.normal(0, 5)) for x in hard_places(path)]
    return out


def hard_places(path: np.ndarray) -> list[float]:
    """Millimetres of a beat close to the start, and of the farthest point of a tall trace."""
    off = np.abs(path[:, 1] - np.median(path[:, 1]))
    places = []
    if off[path[:, 0] < path[0, 0] + NEAR_START_MM].max() > 4:
        places.append(path[0, 0])
    if off.max() > TALL_MM:
        places.append(path[off.argmax(), 0])
    return places
