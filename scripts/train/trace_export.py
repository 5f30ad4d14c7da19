"""Writes the shipped trace net: trace.onnx (integers), its card, and the float weights.

    trace_export.py DIR/last.pt --pool POOL [--pool ...] --out models
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile

import numpy as np
import onnx
import torch

from quantise import card, export_float, quantise
from trace_data import PAPER, Pool, batch
from trace_net import TraceNet

SHAPE = (1, 3, 384, 576)
CLASSES = ["background", "this_trace", "other_trace", "other_ink", "column_00", "column_01", "column_10", "column_11"]


def pictures(pool: Pool, count: int) -> list[np.ndarray]:
    """Crops as wide and high as at work: three tiles side by side."""
    rng = np.random.default_rng(7)
    out = []
    while len(out) < count:
        x = batch(rng, pool, 3, 192)[0].numpy()
        if x.shape[2] == SHAPE[2]:
            out.append(np.concatenate(list(x), 2)[None])
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--pool", type=pathlib.Path, action="append", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    state = torch.load(args.checkpoint, map_location="cpu")
    net = TraceNet()
    net.load_state_dict(state["mean"])
    args.out.mkdir(parents=True, exist_ok=True)
    halves = {k: v.half() for k, v in state["mean"].items()}
    torch.save({"mean": halves, "tiles": state["tiles"]}, args.out / "trace.float16.pt")
    path = args.out / "trace.onnx"
    with tempfile.TemporaryDirectory() as folder:
        plain = pathlib.Path(folder) / "float.onnx"
        export_float(net, SHAPE, ["map"], plain)
        onnx.save(quantise(plain, pictures(Pool(args.pool), 24), 1 / PAPER, 0.99999), path)
    rest = f"""
input_scale = {1 / PAPER}
input_meaning = "brightest and darkest of R, G, B over the paper's level times 200; 128 + 2 * mm below the row's zero line; 8 px/mm"
output_meaning = "[8, H/2, W/2] logits: four mask classes, then the column map's 2x2 sub-pixels; absent has logit 0"
training_tiles = {state["tiles"]}
training_data = "pages printed by tests/pageprint from PTB-XL 1.0.3 (Wagner et al., CC BY 4.0) and the PTB Diagnostic ECG Database (Bousseljot et al., ODC-By 1.0)"
licence = "MIT OR Apache-2.0"
"""
    card(path, "trace", SHAPE, ["map"], CLASSES, rest)


if __name__ == "__main__":
    main()
