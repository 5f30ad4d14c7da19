"""The labels net: YOLOv8's architecture, sized for the board.

Backbone of C2f blocks and SPPF, path-aggregation neck, anchor-free decoupled heads with a
distribution for each side (DFL). ReLU instead of SiLU and no residual additions, so that every
layer is one integer convolution. Input: [n, 3, H, W] RGB 0..1, H and W multiples of 32.
Output: for strides 8, 16, 32 the sides' 64 logits and the classes' logits.
Sources: Jocher et al., YOLOv8 (2023) for the shape; Li et al., Generalized Focal Loss (2020).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from labels_data import CLASSES

BINS = 16
STRIDES = (8, 16, 32)


class ConvBlock(nn.Module):
    """Convolution, batch norm (folded at export), ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(x)))


class C2f(nn.Module):
    """Cross-stage block of two 3x3 convolutions a step, all steps' outputs joined."""

    def __init__(self, inputs: int, outputs: int, steps: int = 1) -> None:
        super().__init__()
        half = outputs // 2
        self.left, self.right = ConvBlock(inputs, half), ConvBlock(inputs, half)
        self.steps = nn.ModuleList(
            nn.Sequential(ConvBlock(half, half, 3), ConvBlock(half, half, 3)) for _ in range(steps)
        )
        self.join = ConvBlock((2 + steps) * half, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.left(x), self.right(x)]
        for step in self.steps:
            parts.append(step(parts[-1]))
        return self.join(torch.cat(parts, 1))


class Pyramid(nn.Module):
    """SPPF: three pools of 5, one after another."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shrink, self.join = ConvBlock(width, width // 2), ConvBlock(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.shrink(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.join(torch.cat(parts, 1))


class LabelsNet(nn.Module):
    """Widths of strides 2, 4, 8, 16, 32."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 48, 64, 96)) -> None:
        super().__init__()
        w2, w4, w8, w16, w32 = widths
        self.stem = nn.Sequential(
            ConvBlock(3, w2, 3, 2), ConvBlock(w2, w4, 3, 2), C2f(w4, w4)
        )
        self.down8 = nn.Sequential(ConvBlock(w4, w8, 3, 2), C2f(w8, w8, 2))
        self.down16 = nn.Sequential(ConvBlock(w8, w16, 3, 2), C2f(w16, w16, 2))
        self.down32 = nn.Sequential(ConvBlock(w16, w32, 3, 2), C2f(w32, w32), Pyramid(w32))
        self.up16, self.up8 = C2f(w32 + w16, w16), C2f(w16 + w8, w8)
        self.back16, self.join16 = ConvBlock(w8, w8, 3, 2), C2f(w8 + w16, w16)
        self.back32, self.join32 = ConvBlock(w16, w16, 3, 2), C2f(w16 + w32, w32)
        self.sides, self.classes = nn.ModuleList(), nn.ModuleList()
        for width in (w8, w16, w32):
            self.sides.append(self.branch(width, 4 * BINS))
            self.classes.append(self.branch(width, len(CLASSES)))
            nn.init.constant_(self.classes[-1][-1].bias, -4.6)
            nn.init.constant_(self.sides[-1][-1].bias, 1.0)

    @staticmethod
    def branch(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            ConvBlock(inputs, 32, 3), ConvBlock(32, 32, 3), nn.Conv2d(32, outputs, 1)
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        p8 = self.down8(self.stem(x))
        p16 = self.down16(p8)
        p32 = self.down32(p16)
        n16 = self.up16(torch.cat([F.interpolate(p32, scale_factor=2.0, mode="nearest"), p16], 1))
        n8 = self.up8(torch.cat([F.interpolate(n16, scale_factor=2.0, mode="nearest"), p8], 1))
        m16 = self.join16(torch.cat([self.back16(n8), n16], 1))
        m32 = self.join32(torch.cat([self.back32(m16), p32], 1))
        levels = zip((n8, m16, m32), self.sides, self.classes, strict=True)
        return tuple(out for x, sides, classes in levels for out in (sides(x), classes(x)))


def anchors(outs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres [a, 2] in pixels and strides [a] of all places."""
    centers, strides = [], []
    for classes, stride in zip(outs[1::2], STRIDES, strict=True):
        height, width = classes.shape[2:]
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centers.append((torch.stack([x, y], -1).view(-1, 2) + 0.5) * stride)
        strides.append(torch.full((height * width,), float(stride)))
    return torch.cat(centers).to(outs[0].device), torch.cat(strides).to(outs[0].device)


def flatten(outs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Side logits [n, a, 4, BINS] and class logits [n, a, classes]."""
    sides = torch.cat([o.flatten(2) for o in outs[0::2]], 2).transpose(1, 2)
    classes = torch.cat([o.flatten(2) for o in outs[1::2]], 2).transpose(1, 2)
    return sides.reshape(*sides.shape[:2], 4, BINS), classes


def to_boxes(sides: torch.Tensor, centers: torch.Tensor, strides: torch.Tensor) -> torch.Tensor:
    """[..., a, 4] left, top, right, bottom in pixels."""
    bins = torch.arange(BINS, dtype=torch.float32, device=sides.device)
    distance = (sides.float().softmax(-1) * bins).sum(-1) * strides[:, None]
    return torch.cat([centers - distance[..., :2], centers + distance[..., 2:]], -1)
