"""Turns a float chain of convolutions into a plain ONNX file of integers.

In: a float ONNX graph of Conv, Relu, Concat, Resize (nearest, x2) and MaxPool, and pictures to
measure ranges with. Out: QLinearConv with per-channel int8 weights (zero point 0), int32 bias and
uint8 activations (zero point 0 after a ReLU); one scale for all that meets in a Concat, MaxPool or
Resize; uint8 pixels straight into the first convolution; a DequantizeLinear at each output. No
Quantize/Dequantize pair stands between two convolutions, and nothing depends on height or width.
"""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold(net: torch.nn.Module) -> torch.nn.Module:
    """Folds each block's batch norm into its convolution."""
    net = net.eval()
    for block in net.modules():
        if hasattr(block, "conv") and hasattr(block, "norm"):
            block.conv = fuse_conv_bn_eval(block.conv, block.norm)
            block.norm = torch.nn.Identity()
    return net


def export_float(
    net: torch.nn.Module, shape: tuple[int, ...], outputs: list[str], path: pathlib.Path
) -> None:
    torch.onnx.export(
        fold(net),
        (torch.zeros(shape),),
        str(path),
        dynamo=True,
        external_data=False,
        opset_version=18,
        input_names=["x"],
        output_names=outputs,
        verbose=False,
    )


def session(model: onnx.ModelProto | pathlib.Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Without this, processors without VNNI saturate U8 x S8 products.
    options.add_session_config_entry("session.x64quantprecision", "1")
    source = str(model) if isinstance(model, pathlib.Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class Groups:
    """Tensors that share one scale."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        self.parent.setdefault(name, name)
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def join(self, a: str, b: str) -> None:
        self.parent[self.find(a)] = self.find(b)


def ranges(
    model: onnx.ModelProto, names: list[str], pictures: Iterable[np.ndarray], share: float
) -> dict[str, tuple[float, float]]:
    """Low and high of each tensor: the mean over pictures of the extreme quantiles."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    have = {o.name for o in probe.graph.output}
    for name in names:
        if name not in have:
            probe.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    run = session(probe)
    low: dict[str, list[float]] = {n: [] for n in names}
    high: dict[str, list[float]] = {n: [] for n in names}
    for picture in pictures:
        for name, value in zip(names, run.run(names, {"x": picture}), strict=True):
            flat = value.ravel()
            few = flat[:: max(1, flat.size // 400_000)]
            low[name].append(float(np.quantile(few, 1 - share)))
            # What a net finds is rare among what it looks at: an output's top is never cut off.
            top = flat.max() if name in have else np.quantile(few, share)
            high[name].append(float(top))
    return {
        n: (float(np.mean(low[n])), float(np.mean(high[n]) * 0.5 + np.max(high[n]) * 0.5))
        for n in names
    }


class Chain:
    """The integer graph in the making."""

    def __init__(self, model: onnx.ModelProto, input_scale: float) -> None:
        self.graph = model.graph
        self.weights = {i.name: numpy_helper.to_array(i) for i in self.graph.initializer}
        self.users: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.groups = Groups()
        self.input_scale = input_scale
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.scales: dict[str, tuple[float, int]] = {self.groups.find("x"): (input_scale, 0)}

    def after(self, node: onnx.NodeProto) -> str:
        """The tensor that a convolution ends in: its ReLU's output, where it has one."""
        users = self.users.get(node.output[0], [])
        if len(users) == 1 and users[0].op_type == "Relu":
            return users[0].output[0]
        return node.output[0]

    def measure(self, model: onnx.ModelProto, pictures: list[np.ndarray], share: float) -> None:
        ends = [self.after(n) for n in self.graph.node if n.op_type == "Conv"]
        for node in self.graph.node:
            if node.op_type == "Concat":
                for name in node.input:
                    self.groups.join(name, node.output[0])
            elif node.op_type in ("MaxPool", "Resize"):
                self.groups.join(node.input[0], node.output[0])
        found = ranges(model, ends, pictures, share)
        outputs = {o.name for o in self.graph.output}
        for name in ends:
            group = self.groups.find(name)
            low, high = found[name]
            if name in outputs:
                scale = (high - low) / 255
                self.scales[group] = (scale, int(np.clip(round(-low / scale), 0, 255)))
            else:
                before = self.scales.get(group, (0.0, 0))[0]
                self.scales[group] = (max(before, high / 255, 1e-6), 0)

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def scale(self, tensor: str) -> tuple[str, str]:
        group = self.groups.find(tensor)
        scale, zero = self.scales[group]
        return (
            self.constant(f"{group}_scale", np.float32(scale)),
            self.constant(f"{group}_zero", np.uint8(zero)),
        )

    def convolution(self, node: onnx.NodeProto) -> None:
        source, end = node.input[0], self.after(node)
        weights = self.weights[node.input[1]]
        outputs = weights.shape[0]
        bias = self.weights[node.input[2]] if len(node.input) > 2 else np.zeros(outputs, np.float32)
        steps = np.maximum(np.abs(weights).reshape(outputs, -1).max(1), 1e-8) / 127
        rounded = np.clip(np.round(weights / steps.reshape(-1, 1, 1, 1)), -127, 127)
        entry = self.scales[self.groups.find(source)][0]
        name = node.output[0]
        inputs = [f"{source}_q" if source != "x" else "x", *self.scale(source)]
        inputs += [
            self.constant(f"{name}_w", rounded.astype(np.int8)),
            self.constant(f"{name}_ws", steps.astype(np.float32)),
            self.constant(f"{name}_wz", np.zeros(outputs, np.int8)),
            *self.scale(end),
            self.constant(f"{name}_b", np.round(bias / (steps * entry)).astype(np.int32)),
        ]
        new = helper.make_node("QLinearConv", inputs, [f"{end}_q"], name=f"{name}_conv")
        kept = ("pads", "strides", "kernel_shape")
        new.attribute.extend(a for a in node.attribute if a.name in kept)
        self.nodes.append(new)

    def passing(self, node: onnx.NodeProto) -> None:
        tensors = node.input if node.op_type == "Concat" else node.input[:1]
        inputs = [f"{name}_q" for name in tensors]
        if node.op_type == "Resize":
            inputs += ["", self.constant("twice", np.array([1, 1, 2, 2], np.float32))]
        end = node.output[0]
        new = helper.make_node(node.op_type, inputs, [f"{end}_q"], name=f"{end}_node")
        skipped = ("antialias", "axes", "keep_aspect_ratio_policy")
        new.attribute.extend(a for a in node.attribute if a.name not in skipped)
        self.nodes.append(new)

    def build(self, shape: list[int]) -> onnx.ModelProto:
        for node in self.graph.node:
            if node.op_type == "Conv":
                self.convolution(node)
            elif node.op_type in ("Concat", "MaxPool", "Resize"):
                self.passing(node)
            elif node.op_type != "Relu":
                raise ValueError(f"{node.op_type} ({node.name}) has no integer form here")
        outputs = []
        for out in self.graph.output:
            scale, zero = self.scale(out.name)
            self.nodes.append(
                helper.make_node("DequantizeLinear", [f"{out.name}_q", scale, zero], [out.name])
            )
            outputs.append(helper.make_tensor_value_info(out.name, TensorProto.FLOAT, [None] * 4))
        pixels = helper.make_tensor_value_info("x", TensorProto.UINT8, shape)
        graph = helper.make_graph(
            self.nodes, "leadscan", [pixels], outputs, list(self.constants.values())
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
        )


def quantise(
    path: pathlib.Path, pictures: list[np.ndarray], input_scale: float, share: float = 0.9999
) -> onnx.ModelProto:
    """`pictures` are uint8 [1, 3, H, W] of the graph's own size."""
    model = onnx.load(path)
    chain = Chain(model, input_scale)
    floats = [p.astype(np.float32) * np.float32(input_scale) for p in pictures]
    chain.measure(model, floats, share)
    built = chain.build(list(pictures[0].shape))
    onnx.checker.check_model(built)
    return built


def card(
    path: pathlib.Path,
    name: str,
    shape: tuple[int, ...],
    outputs: list[str],
    classes: list[str],
    rest: str,
) -> None:
    """The model's card beside its file; `rest` is TOML for people."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    quoted = lambda names: "[" + ", ".join(f'"{n}"' for n in names) + "]"  # noqa: E731
    lines = [
        f'name = "{name}"',
        f'sha256 = "{digest}"',
        f"input = {list(shape)}",
        f"outputs = {quoted(outputs)}",
        f"classes = {quoted(classes)}",
        rest.strip(),
    ]
    path.with_suffix(".toml").write_text("\n".join(lines) + "\n")


def write_figures(card_path: pathlib.Path, figures: dict[str, float | int | str]) -> None:
    """What was measured of a model, as the last table of its card."""
    told = card_path.read_text().split("\n[figures]")[0].rstrip()
    lines = [f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in figures.items()]
    card_path.write_text("\n".join([told, "", "[figures]", *lines]) + "\n")
