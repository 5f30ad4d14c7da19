"""The sample page in user-mode emulation: scripts/board-test --part digits.

`digits-test` does the work; here its outcome becomes a check.
"""

from __future__ import annotations

import pathlib
import subprocess

from board import BoardError
from options import Options
from tap import Check, Part

SECONDS_MAX = 3600.0


class Digits:
    """The script, and where its files lie."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def start(self) -> None: ...

    def give_up(self) -> None: ...

    def close(self) -> None: ...


def digits(digits: Digits) -> str:
    """the sample page's signals are the native build's within 1 uV; instructions are counted"""
    words = [pathlib.Path(__file__).with_name("digits-test"), digits.folder]
    with (digits.folder / "log").open("w") as log:
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=log, text=True, timeout=SECONDS_MAX, check=False
        )
    if done.returncode != 0:
        raise BoardError(f"digits-test ended with {done.returncode}: see {digits.folder}/log")
    seen = [line for line in done.stdout.splitlines() if "instructions" in line or "apart" in line]
    return ", ".join(line.removeprefix(f"{digits.folder}/") for line in seen)


def part(options: Options) -> Part:
    return Part("digits", options.arm, [Check("digits", digits.__doc__ or "", digits)], Digits)
