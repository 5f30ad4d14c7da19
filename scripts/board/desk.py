"""What stands around a board: the receiver at the other end of its line, and pages for it.

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
from dataclasses import dataclass

import compare
import picture
from board import Board, BoardError

# The service says it itself, or the journal with its process id.
SAYS = r"leadscan(?:\[\d+\])?: "
ACCEPTED = SAYS + r"([0-9A-Z]{26}) accepted"
# At a start; and whenever there is no more to do.
READY, IDLE = SAYS + r"ready, \d+ jobs", SAYS + "ready$"
# An emulated page takes some 100 times what it takes here.
PAGE_S_MAX = 900.0
RECORDS_S_MAX = 300.0
STOP_S_MAX = 10.0


@dataclass(frozen=True)
class Place:
    """Where things lie on a board, and how long it takes to be ready."""

    pages: str
    watched: str
    spool: str
    unsynced: str
    ready_s_max: float


class Receiver:
    """`leadscan receive` on the host's end of the cable."""

    def __init__(self, native: pathlib.Path, line: pathlib.Path, out: pathlib.Path) -> None:
        self.native = native
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

    def __init__(self, board: Board, receiver: Receiver, place: Place, seed: int) -> None:
        self.board = board
        self.receiver = receiver
        self.place = place
        self.random = random.Random(seed)
        # Numbers of load pages that were to be dropped; the board says which it has dropped.
        self._begun = 0
        self._pictures = 0
        self._laid = 0

    def start(self, words: str = "") -> None:
        """Switches the board on where it is off, and waits for the service."""
        if not self.board.is_on():
            mark = self.board.mark()
            self.board.start(words)
            self.wait_ready(mark)

    def wait_ready(self, since: int) -> float:
        return self.board.wait(READY, self.place.ready_s_max, since).time_s

    def give_up(self) -> None:
        """A check failed: the next one finds a board that has just been switched on."""
        self.board.power_cut()
        self.board.cable.plug()

    def close(self) -> None:
        self.board.power_cut()
        self.receiver.stop()
        self.board.cable.close()

    # Pages.

    def load(self, count: int, gap_s: float = 0.0) -> int:
        """Starts to drop pages that are no pictures; a mark in the console before them."""
        mark = self.board.mark()
        words = f"drop {self.place.watched} {self._begun} {count} {gap_s}"
        self.board.shell(f"{words} >/dev/console 2>&1 &")
        self._begun += count
        return mark

    def draft(self, count: int) -> list[int]:
        """Pages that lie in the folder under names that are none yet."""
        numbers = list(range(self._begun, self._begun + count))
        self._begun += count
        go = f"cd {self.place.watched}"
        for number in numbers:
            self.board.shell(f"{go}; echo page {number} >.{number} && stage sync .{number}")
        return numbers

    def undraft(self, numbers: list[int]) -> None:
        """Gives drafts their names."""
        for number in numbers:
            self.board.shell(f"cd {self.place.watched}; mv .{number} {number}.png && stage sync .")
            self.board.shell(f"echo board: dropped {number} >/dev/console")

    def picture(self) -> int:
        """Drops the page into the folder, as a file that is like no other."""
        mark = self.board.mark()
        self.expect_picture()
        name, number = f"{self.place.watched}/picture-{self._pictures}", self._pictures
        # What follows a JPEG's end is no part of the picture.
        whole = f"(cat {self.place.pages}/page.jpg; echo {number})"
        self.board.shell(f"{whole} >{name}.part && stage sync {name}.part")
        self.board.shell(f"mv {name}.part {name}.jpg && stage sync {self.place.watched}")
        return mark

    def lay(self) -> None:
        """Lays the page before the camera, with a mark that tells it from the last one.

        vivid's output is looped to its input.
        """
        self._laid += 1
        page, at = f"{self.place.pages}/camera.ppm", picture.MARK_AT + 3 * self._laid
        mark = f"printf 000 | dd of=/run/page bs=1 seek={at} conv=notrunc"
        self.board.shell(f"cp {page} /run/page && {mark} 2>/dev/null", 60)
        self.board.shell("stage show /dev/video1 /dev/video0 /run/page >/run/show 2>&1 &")
        self.board.wait_word("/run/show", "showing")

    def take_away(self) -> None:
        self.board.shell("kill $(pidof stage)", may_fail=True)

    def expect_picture(self) -> None:
        """A page is on its way that does not come through the folder."""
        self._pictures += 1

    # Records.

    def accepted(self, since: int = 0) -> list[str]:
        """Ids whose acceptance was acknowledged on the console."""
        return [match[1] for match in self.board.said(ACCEPTED, since)]

    def wait_accepted(self, count: int, since: int, seconds_max: float = RECORDS_S_MAX) -> None:
        def is_so() -> bool:
            return len(self.accepted(since)) >= count

        self.board.until(f"{count} pages accepted", is_so, seconds_max)

    def wait_digitized(self, job: str, since: int) -> re.Match[str]:
        """The line that says what became of a page: its status, its layout."""
        pattern = rf"{job} (ok|warning|rejected)(?:, (\S+))?"
        line = self.board.wait(pattern, PAGE_S_MAX, since)
        found = re.search(pattern, line.text)
        assert found
        return found

    def compare(self, page: pathlib.Path, jobs: list[str]) -> str:
        """Whether records have the signals that the native build finds on the same page."""
        out, native = page.with_suffix(""), self.receiver.native
        digitize(native, page, out)
        wanted = out / f"{page.stem}.csv"
        records = [self.receiver.out / f"{job}.lsr" for job in jobs]
        export(native, [wanted.with_suffix(".lsr"), *records], out)
        found = [compare.apart_uv(wanted, out / f"{job}.csv") for job in jobs]
        worst_uv = max(apart_uv for _, apart_uv in found)
        seen = f"{found[0][0]} samples, {worst_uv:.1f} uV from the native build's at most"
        if worst_uv > compare.APART_UV_MAX:
            raise BoardError(seen)
        return seen

    def pause(self, seconds_max: float) -> None:
        """Lets a random time go by: the moment at which something is to fail."""
        time.sleep(self.random.uniform(0.0, seconds_max))

    def settle(self, seconds_max: float = RECORDS_S_MAX) -> str:
        """Waits until nothing is under way, and looks whether all is there, once."""
        watched = f"{self.place.watched}/*.jpg {self.place.watched}/*.png"
        waiting = f"ls {watched} {self.place.spool}/jobs/*; grep -lx drop /proc/[0-9]*/comm"

        def is_empty() -> bool:
            return int(self.board.shell(f"({waiting}) 2>/dev/null | wc -l")) == 0

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


def digitize(native: pathlib.Path, page: pathlib.Path, out: pathlib.Path) -> None:
    run_native(native, "digitize", page, "--out", out, "--format", "json,native", "--threads", "1")


def export(native: pathlib.Path, records: list[pathlib.Path], out: pathlib.Path) -> None:
    """Records as CSV: the signals in whole microvolts."""
    run_native(native, "export", *records, "--out", out, "--format", "csv")


def run_native(*words: str | pathlib.Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=PAGE_S_MAX, check=False)
    if done.returncode != 0:
        raise BoardError(f"the native build: {done.stderr.strip()}")
