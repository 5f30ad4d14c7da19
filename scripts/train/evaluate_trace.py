"""Measures the trace net on crops that no training saw: the shipped integers and the float weights.

    evaluate_trace.py MODELS_DIR --pool POOL/trace [--float trace.float16.pt] [--count N]

The pool is print_pools.py's, printed with a seed and signals of its own. Crops are cut to 48 mm of
height, nothing is augmented, and the decode is trace_decode.py's. The error is of the line's height
in a column, where truth and net both have a line; `<=1px` is of the drawn columns, `missed` the
share of drawn columns without a line, `false` of empty ones with one. SNR is of a crop's line in
mm: squares of the truth less its mean over squares of the error less a constant; a column that is
missed counts with the truth's own square. `pooled` is over all crops, `median` over those whose
line moves by 0.3 mm or more (root mean square).
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
from collections.abc import Callable

import cv2
import numpy as np
import torch

import parity
import quantise
import trace_decode
from trace_data import ABSENT, IGNORE, PAPER, PX_PER_MM, Pool
from trace_net import TraceNet

HEIGHT = 384
BATCH = 8
# Crops whose line moves less than this (root mean square) have no dB to speak of.
SIGNAL_MM_MIN = 0.3
Net = Callable[[np.ndarray], np.ndarray]


def integer_net(path: pathlib.Path) -> Net:
    with tempfile.TemporaryDirectory() as folder:
        free = pathlib.Path(folder) / "free.onnx"
        parity.free_size(path, free)
        session = parity.session(free)
    name = session.get_inputs()[0].name
    return lambda x: np.concatenate([session.run(None, {name: one[None]})[0] for one in x])


def float_net(path: pathlib.Path) -> Net:
    net = TraceNet()
    net.load_state_dict({k: v.float() for k, v in torch.load(path)["mean"].items()})
    net.eval()

    @torch.no_grad()
    def run(x: np.ndarray) -> np.ndarray:
        return net(torch.from_numpy(x).float() / PAPER).numpy()

    return run


def inputs(images: np.ndarray) -> np.ndarray:
    """[n, 3, HEIGHT, W] bytes from raw crops: paper to its level, the row's height beside."""
    cut = (images.shape[2] - HEIGHT) // 2
    images = images[:, :, cut : cut + HEIGHT].astype(np.float32)
    paper = np.percentile(images[:, :, ::8, ::4], 90, axis=(2, 3), keepdims=True)
    out = np.empty((len(images), 3, HEIGHT, images.shape[3]), np.uint8)
    out[:, :2] = np.clip(np.round(images * PAPER / np.maximum(paper, 8)), 0, 255)
    below = (np.arange(HEIGHT) + 0.5 - HEIGHT / 2) / PX_PER_MM
    out[:, 2] = np.clip(np.round(128 + 2 * below), 0, 255)[:, None]
    return out


def truth(lines: np.ndarray, full_height: int) -> np.ndarray:
    """Lines in the cut crop's rows; IGNORE where they leave it."""
    y = np.where(lines > ABSENT / 2, lines - (full_height - HEIGHT) // 2, lines)
    outside = (lines > ABSENT / 2) & ((y < 1) | (y > HEIGHT - 2))
    return np.where(outside, IGNORE, y)


def pick(pool: Pool, count: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Crops evenly through the pool: raw images and lines."""
    shards = [pool.shards[path] for path in sorted(pool.shards)]
    places = [(s, k) for s, shard in enumerate(shards) for k in range(len(shard[2]))]
    if count and count < len(places):
        places = [places[k] for k in np.linspace(0, len(places) - 1, count).astype(int)]
    images = np.stack([shards[s][0][k] for s, k in places])
    return images, np.stack([shards[s][2][k] for s, k in places])


def snr(found: np.ndarray, true: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Pooled and median dB, and dB a crop."""
    power, noise = np.zeros(len(true)), np.zeros(len(true))
    signal = np.zeros(len(true))
    for k, (y, ref) in enumerate(zip(found, true, strict=True)):
        drawn = ref > ABSENT / 2
        if drawn.sum() < 40:
            continue
        ref = (ref[drawn] - ref[drawn].mean()) / PX_PER_MM
        est = y[drawn] / PX_PER_MM
        seen = np.isfinite(est)
        est = est + (ref[seen] - est[seen]).mean() if seen.any() else est
        power[k], signal[k] = (ref**2).sum(), np.sqrt((ref**2).mean())
        noise[k] = ((ref - np.where(seen, est, 0)) ** 2).sum()
    each = 10 * np.log10(np.maximum(power, 1e-9) / np.maximum(noise, 1e-9))
    pooled = 10 * np.log10(power.sum() / max(noise.sum(), 1e-9))
    each[signal < SIGNAL_MM_MIN] = np.nan
    return float(pooled), float(np.nanmedian(each)), each


def report(name: str, found: np.ndarray, true: np.ndarray) -> tuple[float, np.ndarray]:
    """Pooled dB and dB a crop, printed with the rest."""
    known, drawn, seen = true != IGNORE, true > ABSENT / 2, np.isfinite(found)
    error = np.abs(found - true)[drawn & seen]
    absent = known & ~drawn
    within, missed = (100 * k / drawn.sum() for k in ((error <= 1).sum(), (drawn & ~seen).sum()))
    false = 100 * (absent & seen).sum() / max(absent.sum(), 1)
    pooled, median, each = snr(found, true)
    print(
        f"{name:6s} {len(true):6d} {np.median(error):8.3f} {np.percentile(error, 95):7.2f} "
        f"{within:7.2f} {missed:7.2f} {false:7.2f} {pooled:7.2f} {median:10.2f}"
    )
    return pooled, each


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=pathlib.Path, help="folder of trace.onnx")
    parser.add_argument("--pool", type=pathlib.Path, required=True)
    parser.add_argument("--float", type=pathlib.Path, dest="weights", help="trace.float16.pt")
    parser.add_argument("--count", type=int, help="crops, spread through the pool")
    parser.add_argument("--draw", type=pathlib.Path, help="folder for the worst crops")
    parser.add_argument("--card", action="store_true", help="note the figures in trace.toml")
    args = parser.parse_args()
    torch.set_num_threads(1)
    images, lines = pick(Pool([args.pool]), args.count)
    true = truth(lines, images.shape[2])
    nets = {"int8": integer_net(args.models / "trace.onnx")}
    if args.weights:
        nets["float"] = float_net(args.weights)
    print("net     crops error px     p95  <=1px% missed%  false%  pooled median dB")
    figures: dict[str, float | int | str] = {"measured_on": f"{len(images)} printed crops"}
    for name, run in nets.items():
        parts = []
        for at in range(0, len(images), BATCH):
            maps = run(inputs(images[at : at + BATCH]))
            parts.append(trace_decode.follow(trace_decode.log_posterior(maps))[0])
        found = np.concatenate(parts)
        pooled, each = report(name, found, true)
        figures[f"{name}_db"] = round(pooled, 2)
        if args.draw and name == "int8":
            draw(args.draw, images, found, true, each)
    if args.card:
        quantise.write_figures(args.models / "trace.toml", figures)


def draw(
    folder: pathlib.Path, images: np.ndarray, found: np.ndarray, true: np.ndarray, each: np.ndarray
) -> None:
    """The twenty worst crops: truth green, found red."""
    folder.mkdir(parents=True, exist_ok=True)
    for rank, k in enumerate(np.argsort(np.where(np.isnan(each), np.inf, each))[:20]):
        picture = cv2.cvtColor(inputs(images[k : k + 1])[0, 0], cv2.COLOR_GRAY2BGR)
        picture = cv2.resize(picture, None, fx=2, fy=2)
        for ys, color in ((true[k], (0, 180, 0)), (found[k], (0, 0, 255))):
            for x in np.flatnonzero(np.nan_to_num(ys, nan=-1.0) >= 0):
                cv2.circle(picture, (2 * int(x) + 1, round(2 * float(ys[x]) + 1)), 1, color, -1)
        cv2.imwrite(str(folder / f"{rank:02d}_{each[k]:.1f}dB_crop{k}.png"), picture)


if __name__ == "__main__":
    main()
