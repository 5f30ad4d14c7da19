"""What both trainings share: the state, batches made ahead, the rate, the loop."""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import itertools
import math
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch.utils import data

SAY_S, SAVE_S = 30, 150
AHEAD = 3


class Run:
    """A training's whole state, saved and found again in WORK/last.pt."""

    def __init__(
        self,
        work: pathlib.Path,
        net: Callable[[], nn.Module],
        rate: float,
        decay: float,
        keep: float,
        device: str = "cpu",
    ) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.work, self.path, self.keep = work, work / "last.pt", keep
        torch.manual_seed(1)
        self.net = net().to(device, memory_format=torch.channels_last)
        self.opt = torch.optim.AdamW(self.net.parameters(), rate, weight_decay=decay)
        self.mean = {k: v.clone().float() for k, v in self.net.state_dict().items()}
        self.step, self.tiles = 0, 0
        if self.path.exists():
            state = torch.load(self.path, map_location=device)
            self.net.load_state_dict(state["net"])
            if "opt" in state:
                self.opt.load_state_dict(state["opt"])
            self.mean, self.step, self.tiles = state["mean"], state["step"], state["tiles"]

    def learn(self, loss: torch.Tensor, clip: float, size: int) -> None:
        """One step down, and the exponential mean of the weights, which is what is exported."""
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), clip)
        self.opt.step()
        self.step += 1
        self.tiles += size
        keep = min(self.keep, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for k, v in self.net.state_dict().items():
                self.mean[k].mul_(keep).add_(v.float(), alpha=1 - keep)

    def save(self) -> None:
        state = {"net": self.net.state_dict(), "opt": self.opt.state_dict(), "mean": self.mean}
        state |= {"step": self.step, "tiles": self.tiles}
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.path)


def arguments(about: str | None, batch: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--pool", type=pathlib.Path, action="append", required=True)
    parser.add_argument("--hours", type=float, default=100.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--finish", type=int, default=0, help="tiles over which the rate falls")
    parser.add_argument("--fall", action="store_true", help="the rate falls over --hours")
    parser.add_argument("--device", default="cpu", help="cuda: a GPU")
    parser.add_argument("--makers", type=int, default=0, help="processes that make batches")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(args.threads)
    return args


Make = Callable[[np.random.Generator], Any]


def ahead(make: Make, seed: int, makers: int) -> Iterator[Any]:
    """Batches, made ahead: on a thread (OpenCV and the disk let go of the interpreter), or by
    `makers` processes, each with draws of its own."""
    if makers:
        loader = data.DataLoader(
            Batches(make, seed), None, num_workers=makers, pin_memory=True, prefetch_factor=4
        )
        yield from loader
        return
    rng = np.random.default_rng(seed)
    maker = concurrent.futures.ThreadPoolExecutor(1)
    ready = collections.deque(maker.submit(make, rng) for _ in range(AHEAD))
    while True:
        yield ready.popleft().result()
        ready.append(maker.submit(make, rng))


class Batches(data.IterableDataset):
    """Batches without end, other ones in each process."""

    def __init__(self, make: Make, seed: int) -> None:
        self.make, self.seed = make, seed

    def __iter__(self) -> Iterator[Any]:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.seed, data.get_worker_info().id])
        return (self.make(rng) for _ in itertools.count())


def rates(run: Run, args: argparse.Namespace) -> Iterator[float]:
    """The learning rate of each step until the training is over: constant after a warm-up, or
    falling to nothing over `--finish` tiles by a half cosine."""
    start, first_tile = time.time(), run.tiles
    while time.time() - start < 3600 * args.hours:
        rate = args.rate * min(1.0, (run.step + 1) / 250)
        if args.finish:
            done = (run.tiles - first_tile) / args.finish
            if done >= 1:
                return
            rate *= 0.5 + 0.5 * math.cos(math.pi * done)
        if args.fall:
            rate *= 0.5 + 0.5 * math.cos(math.pi * (time.time() - start) / 3600 / args.hours)
        yield rate


def train(
    run: Run,
    args: argparse.Namespace,
    batches: Iterator[Any],
    loss_of: Callable[[Any], tuple[torch.Tensor, dict[str, float]]],
    clip: float,
    pool: Any,
) -> None:
    """Steps until the time or the tiles are over; WORK/train.log gets one line every 30 s."""
    said = saved = time.time()
    seen, smooth = 0, {}
    for rate in rates(run, args):
        for group in run.opt.param_groups:
            group["lr"] = rate
        loss, parts = loss_of(next(batches))
        run.learn(loss, clip, args.batch)
        seen += args.batch
        smooth = {k: 0.98 * smooth.get(k, v) + 0.02 * v for k, v in parts.items()}
        now = time.time()
        if now - said > SAY_S:
            figures = " ".join(f"{k} {v:.4f}" for k, v in smooth.items())
            line = f"{run.tiles} tiles {seen / (now - said):.1f}/s of {len(pool)} {figures}"
            with open(run.work / "train.log", "a") as log:
                log.write(line + "\n")
            said, seen = now, 0
        if now - saved > SAVE_S:
            run.save()
            saved = now
    run.save()
