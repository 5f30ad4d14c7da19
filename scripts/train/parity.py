#!/usr/bin/env python3
"""Reference for the Rust side's int8 nets: what ONNX Runtime says.

  parity.py record MODELS OUT   runs MODELS/{labels,trace}.onnx on a small seeded picture each and
                                writes OUT/{labels,trace}.ref
  parity.py random MODELS       writes small nets with random weights and their cards, in the
                                operators that the real ones are made of, for the tests
  parity.py random --full ...   the same as large as the real nets, for timing

A .ref file is: u32 height, u32 width (little endian), then for each output in the card's order
u32 channels, height, width and the SHA-256 of its f32 values, then the picture's bytes are NOT
stored: byte k of the picture is the top byte of a 32-bit xorshift, seeded by `SEED`, see
`picture`. After each hash follow the first 64 values, so that a difference can be looked at.
"""

from __future__ import annotations

import argparse
import hashlib
import pathlib
import struct
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SEED = 0x1EADC0DE
HEAD_VALUES = 64
SIZES = {"labels": (160, 192), "trace": (96, 160)}
SCALE = np.float32(0.0235)

CLASSES = [
    *("I II III aVR aVL aVF V1 V2 V3 V4 V5 V6 -aVR V7 V8 V9 V3R V4R V5R".split()),
    *("pulse 25mm/s 12.5mm/s 50mm/s 10mm/mV 5mm/mV 20mm/mV half-chest".split()),
]
MASKS = ["background", "this_trace", "other_trace", "other_ink"]
COLUMNS = ["column_00", "column_01", "column_10", "column_11"]
LABEL_OUTPUTS = ["box8", "cls8", "box16", "cls16", "box32", "cls32"]


def picture(height: int, width: int) -> np.ndarray:
    """Bytes that the Rust test draws too: flat areas, ramps and noise."""
    state = SEED
    noise = np.empty(3 * height * width, np.uint8)
    for k in range(noise.size):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        noise[k] = state >> 24
    noise = noise.reshape(3, height, width)
    y, x = np.mgrid[:height, :width]
    ramp = ((x * 3 + y) % 256).astype(np.uint8)
    area = (x // 32 + y // 32) % 3
    out = np.where(area == 0, noise, np.where(area == 1, ramp, np.uint8(230)))
    return out.astype(np.uint8)[None]


def session(path: pathlib.Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    # Without VNNI, ONNX Runtime's u8 x s8 products saturate at 16 bits unless told otherwise.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )


def free_size(source: pathlib.Path, target: pathlib.Path) -> None:
    """The same net with height and width left open."""
    model = onnx.load(source)
    del model.graph.value_info[:]
    for value in [*model.graph.input, *model.graph.output]:
        for axis, name in ((2, "h"), (3, "w")):
            dim = value.type.tensor_type.shape.dim[axis]
            dim.Clear()
            dim.dim_param = f"{value.name}_{name}"
    onnx.save(model, target)


def record(models: pathlib.Path, out: pathlib.Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, (height, width) in SIZES.items():
        free = out / f"{name}.free.onnx"
        free_size(models / f"{name}.onnx", free)
        run = session(free)
        free.unlink()
        names = LABEL_OUTPUTS if name == "labels" else ["map"]
        data = picture(height, width)
        maps = run.run(names, {run.get_inputs()[0].name: data})
        blob = struct.pack("<II", height, width)
        for values in maps:
            raw = np.ascontiguousarray(values, "<f4")
            blob += struct.pack("<III", *raw.shape[1:])
            blob += hashlib.sha256(raw.tobytes()).digest() + raw.ravel()[:HEAD_VALUES].tobytes()
            print(name, raw.shape, "range", raw.min(), raw.max(), "distinct", np.unique(raw).size)
        (out / f"{name}.ref").write_bytes(blob)


class Chain:
    """A net of integer operators with random weights."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.channels = {"x": 3}
        self.outputs: list[str] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], **attributes: object) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        self.channels[name] = self.channels[inputs[0]]
        return name

    def conv(self, x: str, outputs: int, kernel: int, stride: int = 1, zero: int = 0) -> str:
        inputs = self.channels[x]
        shape = (outputs, inputs, kernel, kernel)
        weights = np.clip(np.round(self.random.normal(0, 42, shape)), -127, 127).astype(np.int8)
        spread = np.sqrt(np.prod(shape[1:])) * 42 * (150 if x == "x" else 55)
        factor = 80 / spread * self.random.uniform(0.6, 1.4, outputs)
        scale = np.float32(1 / 200) if x == "x" else SCALE
        name = f"c{len(self.nodes)}"
        const = self.constant
        y = self.node(
            "QLinearConv",
            [
                x,
                const(f"{name}_xs", scale),
                const(f"{name}_xz", np.uint8(0)),
                const(f"{name}_w", weights),
                const(f"{name}_ws", (factor * SCALE / scale).astype(np.float32)),
                const(f"{name}_wz", np.zeros(outputs, np.int8)),
                const(f"{name}_ys", SCALE),
                const(f"{name}_yz", np.uint8(zero)),
                const(f"{name}_b", (self.random.normal(0, 0.4, outputs) * spread).astype(np.int32)),
            ],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
        )
        self.channels[y] = outputs
        return y

    def concat(self, *inputs: str) -> str:
        y = self.node("Concat", list(inputs), axis=1)
        self.channels[y] = sum(self.channels[x] for x in inputs)
        return y

    def up(self, x: str) -> str:
        scales = self.constant(f"s{len(self.nodes)}", np.array([1, 1, 2, 2], np.float32))
        mode = {"mode": "nearest", "nearest_mode": "floor"}
        mode["coordinate_transformation_mode"] = "asymmetric"
        return self.node("Resize", [x, "", scales], **mode)

    def pool(self, x: str) -> str:
        return self.node("MaxPool", [x], kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4)

    def output(self, x: str, name: str, zero: int) -> None:
        scale = self.constant(f"{name}_s", SCALE)
        point = self.constant(f"{name}_z", np.uint8(zero))
        self.nodes.append(helper.make_node("DequantizeLinear", [x, scale, point], [name]))
        self.channels[name] = self.channels[x]
        self.outputs.append(name)

    def save(self, path: pathlib.Path, size: tuple[int, int], steps: list[int]) -> None:
        height, width = size
        outputs = [
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT, [1, self.channels[name], height // step, width // step]
            )
            for name, step in zip(self.outputs, steps, strict=True)
        ]
        inputs = [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 3, height, width])]
        graph = helper.make_graph(self.nodes, path.stem, inputs, outputs, self.constants)
        opset = [helper.make_opsetid("", 18)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def random_trace(path: pathlib.Path, widths: list[int]) -> None:
    net = Chain(1)
    x, skips = "x", []
    for k, width in enumerate(widths):
        x = net.conv(net.conv(x, width, 5 if k == 0 else 3, 2), width, 3)
        skips.append(x)
    for width, skip in zip(widths[-2::-1], skips[-2::-1], strict=True):
        x = net.conv(net.concat(net.up(net.conv(x, width, 1)), skip), width, 3)
        if width != widths[0]:
            x = net.conv(x, width, 3)
    net.output(net.conv(x, 8, 1, zero=131), "map", 131)
    net.save(path, (384, 576), [2])


def random_labels(path: pathlib.Path, widths: list[int], head: int) -> None:
    net = Chain(2)
    a, b, c, d, e = widths

    def block(x: str, width: int) -> str:
        left, right = net.conv(x, width // 2, 1), net.conv(x, width // 2, 1)
        inner = net.conv(net.conv(right, width // 2, 3), width // 2, 3)
        return net.conv(net.concat(left, right, inner), width, 1)

    x = block(net.conv(net.conv("x", a, 3, 2), b, 3, 2), b)
    p3 = block(net.conv(x, c, 3, 2), c)
    p4 = block(net.conv(p3, d, 3, 2), d)
    p5 = net.conv(block(net.conv(p4, e, 3, 2), e), e // 2, 1)
    pools = [p5]
    for _ in range(3):
        pools.append(net.pool(pools[-1]))
    p5 = net.conv(net.concat(*pools), e, 1)
    n4 = block(net.concat(net.up(p5), p4), d)
    n3 = block(net.concat(net.up(n4), p3), c)
    m4 = block(net.concat(net.conv(n3, c, 3, 2), n4), d)
    m5 = block(net.concat(net.conv(m4, d, 3, 2), p5), e)
    for step, x in ((8, n3), (16, m4), (32, m5)):
        for kind, channels in (("box", 64), ("cls", 27)):
            y = net.conv(net.conv(net.conv(x, head, 3), head, 3), channels, 1, zero=97)
            net.output(y, f"{kind}{step}", 97)
    net.save(path, (960, 1280), [8, 8, 16, 16, 32, 32])


def write_card(
    path: pathlib.Path, size: tuple[int, int], outputs: list[str], classes: list[str]
) -> None:
    quote = lambda names: "[" + ", ".join(f'"{name}"' for name in names) + "]"  # noqa: E731
    path.with_suffix(".toml").write_text(
        f'name = "{path.stem}"\n'
        f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"\n'
        f"input = [1, 3, {size[0]}, {size[1]}]\n"
        f"input_scale = {1 / 200}\n"
        f"outputs = {quote(outputs)}\n"
        f"classes = {quote(classes)}\n"
        'origin = "random weights of scripts/train/parity.py, for tests"\n'
    )


def random_nets(out: pathlib.Path, full: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    trace, labels = out / "trace.onnx", out / "labels.onnx"
    random_trace(trace, [16, 32, 64, 64, 64] if full else [8, 8, 16, 16, 16])
    random_labels(labels, [16, 32, 64, 96, 128] if full else [8, 8, 16, 16, 16], 32 if full else 8)
    write_card(trace, (384, 576), ["map"], MASKS + COLUMNS)
    write_card(labels, (960, 1280), LABEL_OUTPUTS, CLASSES)


def main(arguments: list[str]) -> None:
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    tasks = parser.add_subparsers(dest="task", required=True)
    task = tasks.add_parser("record")
    task.add_argument("models", type=pathlib.Path)
    task.add_argument("out", type=pathlib.Path)
    task = tasks.add_parser("random")
    task.add_argument("models", type=pathlib.Path)
    task.add_argument("--full", action="store_true")
    given = parser.parse_args(arguments)
    if given.task == "record":
        record(given.models, given.out)
    else:
        random_nets(given.models, given.full)


if __name__ == "__main__":
    main(sys.argv[1:])
