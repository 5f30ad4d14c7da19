"""Prints pages and keeps what the nets learn from: crops for one, whole pages for the other.

    print_pools.py --printer PAGEPRINT --out DIR [--signals STORE] [--seed N] [--pages N]

Writes shards DIR/trace/SEED_k.* (see trace_data) and DIR/labels/SEED_k.jpg + .json (see
labels_data) until `--pages` pages are printed; the same command goes on where it was stopped, one
with another seed adds to them.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import tempfile

import cv2
import numpy as np

import labels_data
import trace_cut

CHUNK = 40


def shard(args: argparse.Namespace, first: int) -> str:
    return str(args.out / "trace" / f"{args.seed}_{first:06d}")


def chunk(args: argparse.Namespace, first: int, folder: pathlib.Path) -> None:
    command = [str(args.printer), "--out", str(folder), "--count", str(CHUNK)]
    command += ["--seed", str(args.seed), "--first", str(first), "--preset", args.preset]
    if args.signals:
        command += ["--signals", str(args.signals)]
    subprocess.run(command, check=True)
    rng = np.random.default_rng([args.seed, first])
    found = []
    for path in sorted(folder.glob("*.json")):
        page = trace_cut.Page(path)
        labels_data.keep(page.image, page.truth, args.out / "labels", path.stem)
        if not args.labels_only:
            found += trace_cut.crops(rng, page)
    if args.labels_only:
        return
    images, labels, lines = (np.stack(part) for part in zip(*found, strict=True))
    stem = shard(args, first)
    np.save(f"{stem}.img.npy", images)
    np.save(f"{stem}.lab.npy", labels)
    # A training takes up a shard when this file is there.
    np.save(f"{stem}.part.npy", lines)
    os.replace(f"{stem}.part.npy", f"{stem}.y.npy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--printer", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--signals", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--preset", default="train", help="scales: for the labels' texts")
    parser.add_argument("--labels-only", action="store_true", help="no crops; starts anew")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    for kind in ("trace", "labels"):
        (args.out / kind).mkdir(parents=True, exist_ok=True)
    for first in range(0, args.pages, CHUNK):
        if pathlib.Path(f"{shard(args, first)}.y.npy").exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            chunk(args, first, pathlib.Path(folder))


if __name__ == "__main__":
    main()
