"""Trains the trace net. One command from nothing, the same one to go on:

    trace_train.py --work DIR --pool POOL [--pool POOL ...] [--hours H] [--threads N]

DIR/last.pt holds the state (every few minutes), DIR/train.log one line every 30 s.
The learning rate is constant after the warm-up; the exponential mean of the weights is what is
exported, so that a stop at any time gives a usable net. `--finish TILES` lets the rate fall to
nothing over the last TILES tiles.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from precision import autocast
from trace_data import ABSENT, IGNORE, PAPER, Pool, batch
from trace_net import MASK_CLASSES, TraceNet, column_map
from training import Run, ahead, arguments, train

SIGMA_PX = 1.5
UNKNOWN_MAX = (ABSENT + IGNORE) / 2  # heights below say that nothing is known
WIDTH = 192  # columns of a tile
CLASS_WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.7])


def mask_loss(out: torch.Tensor, classes: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """2 CE + 0.5 Dice, as nnU-Net but with the trace weighted up."""
    ce = F.cross_entropy(out, classes, weight=CLASS_WEIGHTS.to(out.device), reduction="none")
    loss = 2 * (ce * known).mean()
    share = out.softmax(1)
    for k in range(1, MASK_CLASSES):
        truth = (classes == k) * known
        both = (share[:, k] * truth).sum()
        loss = loss + 0.25 * (
            1 - (2 * both + 1) / ((share[:, k] * known).sum() + truth.sum() + 1)
        )
    return loss


def column_loss(heat: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy of the line's height a column, and the error of its mean (smooth L1, px)."""
    rows = torch.arange(heat.shape[1], dtype=torch.float32, device=heat.device).view(1, -1, 1)
    drawn, known = y > ABSENT / 2, y > UNKNOWN_MAX
    target = torch.exp(-0.5 * ((rows - y[:, None]) / SIGMA_PX) ** 2)
    target = target / (target.sum(1, keepdim=True) + 1e-9)
    total = torch.logsumexp(F.pad(heat, (0, 0, 0, 1)), 1)
    loss = torch.where(drawn, total - (target * heat).sum(1), total)
    middle = torch.where(drawn, y, torch.nan).nanmedian(1, keepdim=True).values.nan_to_num(0)
    weight = torch.where(drawn, 1 + ((y - middle).abs() / 12).clamp(max=6), 1.0) * known
    mean = (heat.softmax(1) * rows).sum(1)
    off = F.smooth_l1_loss(mean, y, beta=4.0, reduction="none") * (drawn & known)
    return (loss * weight).sum() / weight.sum().clamp(min=1), off.sum() / drawn.sum().clamp(min=1)


def losses(
    outs: list[torch.Tensor], classes: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, dict[str, float]]:
    outs = [o.float() for o in outs]
    known = (y > UNKNOWN_MAX).float()
    known_half = known[:, ::2][:, None, :].expand(-1, classes.shape[1], -1)
    mask = mask_loss(outs[-1][:, :MASK_CLASSES], classes, known_half)
    for k, out in enumerate(reversed(outs[:-1]), 1):
        step = 2**k
        coarse = F.max_pool2d((classes == 1).float()[:, None], step)[:, 0]
        target = torch.where(coarse > 0, 1, classes[:, ::step, ::step])
        mask = mask + 0.5**k * mask_loss(out, target, known_half[:, ::step, ::step])
    column, mean = column_loss(column_map(outs[-1]), y)
    parts = {"mask": mask.item(), "column": column.item(), "mean_px": mean.item()}
    return mask + 0.5 * column + 0.05 * mean, parts


def main() -> None:
    args = arguments(__doc__, batch=12)
    run = Run(args.work, TraceNet, args.rate, decay=1e-4, keep=0.999, device=args.device)
    pool = Pool(args.pool)

    def loss_of(made: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, dict[str, float]]:
        x, classes, y = (part.to(args.device, non_blocking=True) for part in made)
        x = (x.float() / PAPER).contiguous(memory_format=torch.channels_last)
        with autocast(args.device):
            outs = run.net.features(x)
        return losses(outs, classes.long(), y)

    batches = ahead(
        lambda rng: batch(rng, pool, args.batch, WIDTH), 1000 + run.step, args.makers
    )
    train(run, args, batches, loss_of, 5.0, pool)


if __name__ == "__main__":
    main()
