"""Runs checks in their order and tells of them in TAP; what passed before need not run again.

In: parts, each with its checks and what they need to stand on. Out: `ok` and `not ok` lines, then
`1..N` and a line `N passed, N failed`. With a state file each check that passed is noted at once,
under the digest of what was tested, and a later run goes on behind it.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from board import BoardError
from image import ImageError

FAULTS = (BoardError, ImageError, OSError, ValueError, subprocess.SubprocessError)


class Stand(Protocol):
    """What the checks of a part stand on."""

    def start(self) -> None:
        """Makes it ready for a check."""

    def give_up(self) -> None:
        """A check failed: nothing of it is left for the next."""

    def close(self) -> None:
        """Ends all that was started."""


@dataclass(frozen=True)
class Check:
    """A check: it returns what it saw, or raises what was wrong."""

    name: str
    what: str
    run: Callable[[Any], str]


@dataclass(frozen=True)
class Part:
    """Checks on one stand, which is built when the first of them is due."""

    name: str
    subject: pathlib.Path
    checks: list[Check]
    build: Callable[[pathlib.Path], Stand]


class Passed:
    """The checks that a subject has passed, in a file; none where nothing is to be kept."""

    def __init__(self, folder: pathlib.Path | None, part: Part) -> None:
        self._file: pathlib.Path | None = None
        self._known: dict[str, str] = {}
        if folder:
            digest = hashlib.sha256(part.subject.read_bytes()).hexdigest()
            self._file = folder / f"{part.name}-{digest[:16]}"
            if self._file.exists():
                lines = self._file.read_text().splitlines()
                self._known = dict(line.split("\t", 1) for line in lines if "\t" in line)

    def forget(self) -> None:
        self._known.clear()
        if self._file:
            self._file.unlink(missing_ok=True)

    def before(self, check: Check) -> str | None:
        """What was seen when it passed."""
        return self._known.get(check.name)

    def note(self, check: Check, seen: str) -> None:
        if self._file:
            with self._file.open("a") as file:
                file.write(f"{check.name}\t{seen}\n")
                file.flush()
                os.fsync(file.fileno())


@dataclass
class Report:
    """The account of a run."""

    passed: int = 0
    failed: int = 0
    # Parts of which something failed.
    broken: list[str] = field(default_factory=list)

    def tell(self, check: Check, part: Part, *, is_ok: bool, seen: str) -> None:
        self.passed, self.failed = self.passed + is_ok, self.failed + (not is_ok)
        verdict = "ok" if is_ok else "not ok"
        # A line is a line: what a program complained of may be many.
        said = "; ".join(seen.split("\n"))
        number = self.passed + self.failed
        print(f"{verdict} {number} - {part.name} {check.name}: {check.what} # {said}", flush=True)

    def close(self) -> None:
        print(f"1..{self.passed + self.failed}")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)


def run(part: Part, wanted: list[Check], passed: Passed, folder: pathlib.Path, to: Report) -> None:
    """Runs those checks of a part that are wanted and have not passed before."""
    stand: Stand | None = None
    failed_before = to.failed
    try:
        for check in wanted:
            if (seen := passed.before(check)) is not None:
                to.tell(check, part, is_ok=True, seen=f"passed before: {seen}")
                continue
            began = time.monotonic()
            try:
                stand = stand or part.build(folder)
                stand.start()
                seen, is_ok = check.run(stand), True
            except FAULTS as error:
                seen, is_ok = str(error), False
                if stand:
                    stand.give_up()
            seen = f"{time.monotonic() - began:.0f} s; {seen}"
            if is_ok:
                passed.note(check, seen)
            to.tell(check, part, is_ok=is_ok, seen=seen)
    finally:
        if stand:
            stand.close()
        if to.failed > failed_before:
            to.broken.append(part.name)
