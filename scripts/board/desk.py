"""What stands around the board: the receiver at the other end of its line, and pages for it.

In: a board, the native build. Out: which records arrived, and whether that is what had to arrive.
Fails by `BoardError`.
"""

from __future__ import annotations

import pathlib
import random
import re
import subprocess
import threading
import time
from collections import Counter

from board import Board, BoardError

ACCEPTED = r"leadscan: ([0-9A-Z]{26}) accepted"
READY = r"leadscan: ready"
READY_S_MAX = 180.0
RECORDS_S_MAX = 180.0
STOP_S_MAX = 10.0


class Receiver:
    """`leadscan receive` on the host's end of the cable."""

    def __init__(self, native: pathlib.Path, line: pathlib.Path, out: pathlib.Path) -> None:
        self.out = out
        words = [native, "receive", "--serial", line, "--baud", "115200", "--out", out]
        with out.with_suffix(".log").open("wb") as log:
            self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
        self._ids: list[str] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def ids(self) -> list[str]:
        """Of records, in the order of their arrival; one that arrived twice stands there twice."""
        if self._process.poll() is not None:
            raise BoardError(f"the receiver ended with {self._process.returncode}")
        return list(self._ids)

    def record(self, record_id: str) -> bytes:
        return (self.out / f"{record_id}.lsr").read_bytes()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._ids.append(line.split()[0])


class Desk:
    """A board with its receiver, and the account of pages and records."""

    def __init__(self, board: Board, receiver: Receiver, seed: int) -> None:
        self.board = board
        self.receiver = receiver
        self.random = random.Random(seed)
        # Numbers of load pages that were to be dropped; the board says which it has dropped.
        self._begun = 0
        self._pictures = 0

    def start(self) -> None:
        """Switches the board on where it is off, and waits for the service."""
        if not self.board.is_on():
            mark = self.board.mark()
            self.board.start()
            self.board.wait(READY, READY_S_MAX, mark)

    def load(self, count: int, gap_s: float = 0.0) -> int:
        """Starts to drop pages that are no pictures; a mark in the console before them."""
        mark = self.board.mark()
        self.board.shell(f"drop {self._begun} {count} {gap_s} >/dev/console 2>&1 &")
        self._begun += count
        return mark

    def draft(self, count: int) -> list[int]:
        """Pages that lie in the folder under names that are none yet."""
        numbers = list(range(self._begun, self._begun + count))
        self._begun += count
        for number in numbers:
            self.board.shell(f"cd /data/in; echo page {number} >.{number} && stage sync .{number}")
        return numbers

    def undraft(self, numbers: list[int]) -> None:
        """Gives drafts their names."""
        for number in numbers:
            self.board.shell(f"cd /data/in; mv .{number} {number}.png && stage sync .")
            self.board.shell(f"echo board: dropped {number} >/dev/console")

    def picture(self, path: str) -> int:
        """Drops a page of the board's own into the folder."""
        mark = self.board.mark()
        self.expect_picture()
        name = f"/data/in/picture-{self._pictures}"
        self.board.shell(f"cp {path} {name}.part && stage sync {name}.part")
        self.board.shell(f"mv {name}.part {name}.jpg && stage sync /data/in")
        return mark

    def expect_picture(self) -> None:
        """A page is on its way that does not come through the folder."""
        self._pictures += 1

    def accepted(self, since: int = 0) -> list[str]:
        """Ids whose acceptance was acknowledged on the console."""
        return [match[1] for match in self.board.said(ACCEPTED, since)]

    def wait_accepted(self, count: int, since: int) -> None:
        def is_so() -> bool:
            return len(self.accepted(since)) >= count

        self.board.until(f"{count} pages accepted", is_so, RECORDS_S_MAX)

    def pause(self, seconds_max: float) -> None:
        """Lets a random time go by: the moment at which something is to fail."""
        time.sleep(self.random.uniform(0.0, seconds_max))

    def settle(self, seconds_max: float = RECORDS_S_MAX) -> str:
        """Waits until nothing is under way, and looks whether all is there, once."""
        pages = "ls /data/in/*.jpg /data/in/*.png /data/spool/jobs/* 2>/dev/null"

        def is_empty() -> bool:
            return int(self.board.shell(f"(pidof drop; {pages}) | wc -l")) == 0

        self.board.until("the folder and the spool are empty", is_empty, seconds_max)
        ids = Counter(self.receiver.ids())
        lost = [one for one in self.accepted() if one not in ids]
        twice = [one for one, count in ids.items() if count > 1]
        if lost or twice:
            raise BoardError(f"lost {lost}, received twice {twice}")
        dropped = {int(match[1]) for match in self.board.said(r"board: dropped (\d+)")}
        least = len(dropped) + self._pictures
        # The page that was being dropped when the power went may be there or not.
        most = least + self.board.starts - 1
        if not least <= len(ids) <= most:
            raise BoardError(f"{len(ids)} records of {least} to {most} pages")
        return f"{len(self.accepted())} acknowledged in all, {len(ids)} records, each once"


def layout_of(digitized: pathlib.Path) -> str | None:
    """The layout that a `digitize --format json` found."""
    found = re.search(r'"layout": *"([^"]+)"', digitized.read_text())
    return found[1] if found else None
