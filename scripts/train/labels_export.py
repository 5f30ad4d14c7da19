"""Writes the shipped labels net: labels.onnx (integers), its card, and the float weights.

    labels_export.py DIR/last.pt --pool POOL/labels --out models
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile

import cv2
import numpy as np
import onnx
import torch

from labels_data import CLASSES, LONG, SHORT, canvas
from labels_net import LabelsNet
from quantise import card, export_float, quantise

SHAPE = (1, 3, SHORT, LONG)
OUTPUTS = ["box8", "cls8", "box16", "cls16", "box32", "cls32"]


def pictures(pool: pathlib.Path, count: int) -> list[np.ndarray]:
    out = []
    for path in sorted(pool.glob("*.jpg")):
        page = canvas(cv2.imread(str(path)))[:, :, ::-1]
        if page.shape[:2] == (SHORT, LONG):
            out.append(np.ascontiguousarray(page.transpose(2, 0, 1))[None])
        if len(out) == count:
            break
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--pool", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    state = torch.load(args.checkpoint, map_location="cpu")
    net = LabelsNet()
    net.load_state_dict(state["mean"])
    args.out.mkdir(parents=True, exist_ok=True)
    halves = {k: v.half() for k, v in state["mean"].items()}
    torch.save({"mean": halves, "tiles": state["tiles"]}, args.out / "labels.float16.pt")
    path = args.out / "labels.onnx"
    with tempfile.TemporaryDirectory() as folder:
        plain = pathlib.Path(folder) / "float.onnx"
        export_float(net, SHAPE, OUTPUTS, plain)
        onnx.save(quantise(plain, pictures(args.pool, 16), 1 / 255), path)
    rest = f"""
input_scale = {1 / 255}
input_meaning = "the page as RGB, letterboxed to 1280 x 960 (960 x 1280), fill 114"
output_meaning = "for strides 8, 16, 32: 4 x 16 logits of the sides' distances (strides), class logits"
training_tiles = {state["tiles"]}
training_data = "pages printed by tests/pageprint from PTB-XL 1.0.3 (Wagner et al., CC BY 4.0) and the PTB Diagnostic ECG Database (Bousseljot et al., ODC-By 1.0)"
licence = "MIT OR Apache-2.0"
"""
    card(path, "labels", SHAPE, OUTPUTS, CLASSES, rest)


if __name__ == "__main__":
    main()
