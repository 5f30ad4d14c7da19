"""What a run of the board's checks was asked for."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Programs, places, and how much is to be done."""

    # leadscan for this machine and for the board, and the board's package.
    native: pathlib.Path
    arm: pathlib.Path
    deb: pathlib.Path
    # Where kernel, root and runs lie.
    work: pathlib.Path
    is_quick: bool
    # Power cuts of the small board, and of the one with systemd.
    cuts: int
    system_cuts: int
    seed: int
