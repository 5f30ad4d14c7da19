"""The trace net: nnU-Net's PlainConvUNet, planned for the board.

Input: [n, 3, H, W], uint8 / 200: brightest and darkest of R, G, B over the paper's level, and the
height below the row's zero line (8 px/mm; H and W multiples of 32).
Output: [n, 8, H/2, W/2] logits: background, this trace, other traces, other ink, then the column
map's 2x2 sub-pixels (row-major). The column map is a posterior of the line's height a column,
with an "absent" bin of logit 0.
"""

from __future__ import annotations

import json
import pathlib

import torch
from torch import nn
from torch.nn import functional as F

PLANS = pathlib.Path(__file__).with_name("trace_plans.json")
MASK_CLASSES = 4


class ConvBlock(nn.Module):
    """Convolution, batch norm (folded at export), ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(x)))


class TraceNet(nn.Module):
    """Encoder and decoder as the plans say; `deep` adds mask heads for training."""

    def __init__(self, plans: pathlib.Path = PLANS) -> None:
        super().__init__()
        config = json.loads(plans.read_text())["configurations"]["2d"]
        arch = config["architecture"]["arch_kwargs"]
        own = config["leadscan"]
        widths = arch["features_per_stage"]
        self.encoder = nn.ModuleList()
        inputs = own["input_channels"]
        for width, kernel, stride, count in zip(
            widths,
            arch["kernel_sizes"],
            arch["strides"],
            arch["n_conv_per_stage"],
            strict=True,
        ):
            blocks = [ConvBlock(inputs, width, kernel[0], stride[0])]
            blocks += [ConvBlock(width, width, 3) for _ in range(count - 1)]
            self.encoder.append(nn.Sequential(*blocks))
            inputs = width
        self.ups, self.decoder, self.deep = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for stage, count in zip(
            range(len(widths) - 2, -1, -1), arch["n_conv_per_stage_decoder"], strict=True
        ):
            width = widths[stage]
            self.ups.append(ConvBlock(widths[stage + 1], width, 1))
            blocks = [ConvBlock(2 * width, width, 3)]
            blocks += [ConvBlock(width, width, 3) for _ in range(count - 1)]
            self.decoder.append(nn.Sequential(*blocks))
        for stage in range(own["deep_supervision_stages"], 0, -1):
            self.deep.append(nn.Conv2d(widths[stage], MASK_CLASSES, 1))
        self.head = nn.Conv2d(widths[0], MASK_CLASSES + 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(x)[-1]

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Deep supervision's mask logits, coarse to fine, then the head's eight channels."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        outs = []
        first_deep = len(self.decoder) - 1 - len(self.deep)
        for k, (up, dec) in enumerate(zip(self.ups, self.decoder, strict=True)):
            x = F.interpolate(up(x), scale_factor=2.0, mode="nearest")
            x = dec(torch.cat([x, skips[-2 - k]], 1))
            if first_deep <= k < len(self.decoder) - 1:
                outs.append(self.deep[k - first_deep](x))
        outs.append(self.head(x))
        return outs


def column_map(out: torch.Tensor) -> torch.Tensor:
    """[n, H, W] logits of the line's height from the head's sub-pixels."""
    return F.pixel_shuffle(out[:, MASK_CLASSES:], 2)[:, 0]


def macs(net: nn.Module, height: int, width: int) -> int:
    """Multiply-accumulates of one input, without the heads of deep supervision."""
    total = 0

    def count(module: nn.Conv2d, _inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        kernel = module.kernel_size[0] * module.kernel_size[1] * module.in_channels
        total += output.shape[1] * output.shape[2] * output.shape[3] * kernel

    hooks = [
        m.register_forward_hook(count)
        for name, m in net.named_modules()
        if isinstance(m, nn.Conv2d) and not name.startswith("deep")
    ]
    with torch.no_grad():
        net(torch.zeros(1, 3, height, width))
    for hook in hooks:
        hook.remove()
    return total
