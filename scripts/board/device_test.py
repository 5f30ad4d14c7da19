#!/usr/bin/env python3
"""Runs the ARM build on an emulated board: scripts/board-test --part device.

QEMU's system emulation of a Cortex-A72 board starts Debian's kernel, `leadscan serve` runs on it
with a real disk, and its records come over the second UART to `leadscan receive` on this machine.
Results are in TAP. Needs no root, once `scripts/install board` has installed what it runs. Seconds
on the emulated board say nothing of a real one's.
"""

from __future__ import annotations

import argparse
import base64
import functools
import gzip
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import image
import picture
import record
from board import MACHINE, Board, BoardError, Image
from cable import Cable
from desk import READY, READY_S_MAX, RECORDS_S_MAX, Desk, Receiver, layout_of

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "tests/pages/sample/page.jpg"
PAGE_WIDTH_PX = "1108"
# An emulated page takes some 100 times what it takes here.
PAGE_S_MAX = 600.0
APART_UV_MAX = 1
KILLS = 3
KILL_PAGES, FULL_PAGES, CUT_PAGES = 4, 3, 16
# The moment of a fault is somewhere in the work that a load of pages makes.
KILL_S_MAX, CUT_S_MAX, CUT_GAP_S = 1.5, 3.0, 0.2
FRAMES = 3
LIGHTNESS_APART_MAX = 2.0
PRESS_S, LIGHT_S_MAX, STEADY_S = 0.5, 60.0, 3.0
# Breathing and the flash of an accepted page.
EDGES_MIN = 10
LAYOUT = "3x4+1R"
NAMES = ("ready", "page", "killed", "full", "cut", "camera", "pressed")
FOLDERS = """\
[spool]
folder = "/data/spool"
free_mib_min = 16
[watch]
folder = "/data/in"
settle_ms = 500
"""
CONFIG = f"""\
device = "emulated"
{FOLDERS}[[source]]
name = "bed"
source = "camera"
device = "/dev/video0"
width_px = 1920
height_px = 1080
first_frames = 2
wait_ms = 60000
[panel]
backend = "gpiocdev"
button_line = "BUTTON"
light_line = "LIGHT"
button_active_low = false
button_pull = "none"
[[destination]]
name = "host"
link = "serial"
path = "/dev/ttyAMA1"
baud = 115200
"""


def ready(desk: Desk) -> str:
    """the service is ready"""
    ready_s = desk.board.wait(READY, READY_S_MAX).time_s - desk.board.powered_s
    memory = desk.board.shell("grep VmHWM /proc/$(pidof leadscan)/status").split()
    return f"{ready_s:.1f} s after power, with {int(memory[1]) >> 10} MiB"


def page(desk: Desk, native: pathlib.Path, folder: pathlib.Path) -> str:
    """a page becomes a record at the receiver, with the native build's signals"""
    began = time.monotonic()
    mark = desk.picture("/pages/page.jpg")
    desk.wait_accepted(1, mark)
    job = desk.accepted(mark)[0]
    digitized_s = desk.board.wait(rf"{job} (ok|warning|rejected)", PAGE_S_MAX, mark).time_s - began
    desk.settle()
    digitize(native, folder / "page.jpg", folder / "native")
    wanted, found = (folder / "native/page.lsr").read_bytes(), desk.receiver.record(job)
    count, worst_uv = record.apart_uv(wanted, found)
    if worst_uv > APART_UV_MAX or count == 0:
        raise BoardError(f"{count} samples are {worst_uv} uV apart")
    return f"{digitized_s:.0f} s to digitize; {count} samples, {worst_uv} uV apart at most"


def killed(desk: Desk) -> str:
    """kill -9 of the service, again and again: it goes on"""
    for _ in range(KILLS):
        mark = desk.load(KILL_PAGES)
        desk.wait_accepted(1, mark)
        desk.pause(KILL_S_MAX)
        mark = desk.board.mark()
        desk.board.shell("kill -9 $(pidof leadscan)")
        desk.board.wait(READY, READY_S_MAX, mark)
    return f"{KILLS} times; {desk.settle()}"


def full(desk: Desk) -> str:
    """a full disk: new pages are refused and wait, nothing accepted is lost, and it goes on"""
    board = desk.board
    # Records that wait for a line that is unplugged must survive the full disk.
    board.cable.unplug()
    mark = desk.load(FULL_PAGES)
    desk.wait_accepted(FULL_PAGES, mark)
    waiting = desk.accepted(mark)
    for job in waiting:
        board.wait(rf"{job} rejected", RECORDS_S_MAX, mark)
    drafts = desk.draft(FULL_PAGES)
    board.shell("dd if=/dev/zero of=/data/filler bs=64k 2>/dev/null", 120, may_fail=True)
    free = int(board.shell("df -k /data | tail -n 1").split()[3])
    mark = board.mark()
    desk.undraft(drafts)
    refused = board.wait(r"leadscan: .*bytes are free on the disk", RECORDS_S_MAX, mark)
    board.cable.plug()

    def has_arrived() -> bool:
        return not set(waiting).isdisjoint(desk.receiver.ids())

    # The spool may end the service over a disk that has no room for its own account.
    board.until("a record goes out though the disk is full", has_arrived, RECORDS_S_MAX)
    if desk.accepted(mark):
        raise BoardError(f"{free} KiB free, and a page was accepted")
    ends = len(board.said("the service ended", mark))
    board.shell("rm /data/filler")
    desk.wait_accepted(FULL_PAGES, mark)
    all_there = desk.settle()
    return f"{free} KiB free, {refused.text!r}, the service ended {ends} times; {all_there}"


def power_cut(desk: Desk) -> str:
    """power cut while pages are accepted: what was acknowledged arrives, once"""
    mark = desk.load(CUT_PAGES, CUT_GAP_S)
    desk.wait_accepted(1, mark)
    desk.pause(CUT_S_MAX)
    # What nobody has synced must be gone afterwards, or this was no power cut.
    desk.board.shell("echo never synced >/data/control")
    desk.board.power_cut()
    acknowledged, there = desk.accepted(mark), set(desk.receiver.ids())
    owed = sum(one not in there for one in acknowledged)
    desk.start()
    if "never synced" in desk.board.shell("cat /data/control; rm -f /data/control", may_fail=True):
        raise BoardError("what was never synced is there: the cut was none")
    return f"{len(acknowledged)} acknowledged, {owed} of them not yet received; {desk.settle()}"


def camera(desk: Desk, native: pathlib.Path, folder: pathlib.Path) -> str:
    """the camera sees the page that is laid before it"""
    board = desk.board
    lay_page(board)
    size = board.shell(f"stage grab /dev/video0 {FRAMES} /run/frame", 60).split()
    packed = board.shell("gzip -1 /run/frame; base64 /run/frame.gz; rm /run/frame.gz", 60)
    take_page(board)
    width, height = int(size[0]), int(size[1])
    frame = gzip.decompress(base64.b64decode(packed))
    seen = folder / "frame.png"
    seen.write_bytes(picture.grey_png(width, height, frame[0::2]))
    page = (folder / "camera.ppm").read_bytes()
    apart = picture.lightness_apart(page, frame, width, height)
    if apart > LIGHTNESS_APART_MAX:
        raise BoardError(f"the frame is {apart:.1f} of 255 off the page: see {seen}")
    digitize(native, seen, folder / "seen")
    layout = layout_of(folder / "seen/frame.json")
    if layout is None:
        raise BoardError(f"the frame cannot be digitized: see {seen}")
    return f"{width} x {height}, {apart:.2f} of 255 off the page; digitized here: {layout}"


def pressed(desk: Desk) -> str:
    """a press captures the page before the camera, the light tells, and its record arrives"""
    board = desk.board
    lay_page(board)
    mark = board.mark()
    desk.expect_picture()
    began = board.press(PRESS_S)
    board.until("a page accepted", lambda: bool(desk.accepted(mark)), PAGE_S_MAX)
    accepted_s = time.monotonic() - began
    take_page(board)
    job = desk.accepted(mark)[0]
    said = board.wait(rf"{job} (ok|warning|rejected), (\S+)", PAGE_S_MAX, mark).text
    if LAYOUT not in said:
        raise BoardError(f"not the page that lay there: {said}")
    all_there = desk.settle(PAGE_S_MAX)
    board.wait("leadscan: ready", LIGHT_S_MAX, mark)

    def is_steady() -> bool:
        last = board.light_edges(since_s=began)[-1]
        return last.level == 1 and time.monotonic() - last.time_s > STEADY_S

    board.until("a steady light", is_steady, LIGHT_S_MAX)
    edges = len(board.light_edges(since_s=began))
    if edges < EDGES_MIN:
        raise BoardError(f"the light changed {edges} times while a page was worked on")
    return f"accepted {accepted_s:.0f} s after the press; {edges} changes of the light; {all_there}"


def lay_page(board: Board) -> None:
    """Lays the page before the camera: vivid's output is looped to its input."""
    board.shell("stage show /dev/video1 /dev/video0 /pages/camera.ppm >/run/show 2>&1 &")
    wait_word(board, "/run/show", "showing")


def take_page(board: Board) -> None:
    board.shell("killall stage")


def wait_word(board: Board, path: str, word: str) -> None:
    """Waits until a program on the board has said that it is ready."""

    def is_so() -> bool:
        said = board.shell(f"cat {path}")
        if said.startswith("stage: "):
            raise BoardError(said.strip())
        return word in said

    board.until(f"{word!r} in {path}", is_so, LIGHT_S_MAX)


def digitize(native: pathlib.Path, page: pathlib.Path, out: pathlib.Path) -> None:
    words = [native, "digitize", page, "--out", out, "--format", "json,native", "--threads", "1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PAGE_S_MAX, check=False)
    if done.returncode != 0:
        raise BoardError(f"the native build: {done.stderr.strip()}")


def pages(folder: pathlib.Path) -> None:
    """The sample page in the size of a frame, and a smaller one that is sooner digitized."""
    whole = folder / "whole.ppm"
    whole.write_bytes(image.tool("jpegtopnm", SAMPLE))
    (folder / "camera.ppm").write_bytes(image.tool("pamscale", "-xysize", "1920", "1080", whole))
    (folder / "small.ppm").write_bytes(image.tool("pamscale", "-xsize", PAGE_WIDTH_PX, whole))
    (folder / "page.jpg").write_bytes(image.tool("pnmtojpeg", "-quality=95", folder / "small.ppm"))


def build(options: argparse.Namespace, folder: pathlib.Path) -> Image:
    """Everything that the board is started from."""
    kernel = image.Kernel(options.work / "kernel")
    made = Image(kernel.image, folder / "initramfs", folder / "device-tree", folder / "disk")
    image.stage(folder / "stage")
    image.stripped(options.arm, folder / "leadscan")
    pages(folder)
    programs = {"stage": folder / "stage", "leadscan": folder / "leadscan"}
    files = {
        "etc/leadscan.toml": CONFIG.encode(),
        "pages/page.jpg": (folder / "page.jpg").read_bytes(),
        "pages/camera.ppm": (folder / "camera.ppm").read_bytes(),
    }
    image.initramfs(made.initramfs, kernel, programs, files)
    image.disk(made.disk)
    image.device_tree(made.device_tree, MACHINE)
    return made


def checks(
    options: argparse.Namespace, folder: pathlib.Path
) -> Iterator[tuple[str, Callable[[Desk], str]]]:
    """All checks in their order, with their names; what they are is their docstring."""
    native = options.native
    yield "ready", ready
    yield "page", functools.partial(page, native=native, folder=folder)
    yield "killed", killed
    yield "full", full
    for _ in range(options.cuts):
        yield "cut", power_cut
    yield "camera", functools.partial(camera, native=native, folder=folder)
    yield "pressed", pressed


def run(options: argparse.Namespace, folder: pathlib.Path) -> tuple[int, int]:
    """Runs the checks that are wanted: how many there were, and how many failed."""
    cable = Cable()
    board = Board(build(options, folder), cable, folder / "console.log")
    receiver = Receiver(options.native, cable.host, folder / "records")
    desk = Desk(board, receiver, options.seed)
    count = failed = 0
    try:
        for name, check in checks(options, folder):
            if options.only and name not in options.only:
                continue
            count += 1
            began = time.monotonic()
            what = (check.func if isinstance(check, functools.partial) else check).__doc__
            try:
                desk.start()
                detail = check(desk)
                verdict = "ok"
            except (BoardError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                verdict, detail, failed = "not ok", str(error), failed + 1
                # The next check finds a board that has just been switched on.
                board.power_cut()
                cable.plug()
            seconds = time.monotonic() - began
            print(f"{verdict} {count} - {what} # {seconds:.0f} s; {detail}", flush=True)
    finally:
        board.power_cut()
        receiver.stop()
        cable.close()
    print(f"1..{count}")
    return count, failed


def arguments() -> argparse.Namespace:
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    work = os.environ.get("LEADSCAN_BOARD_DIR", cache / "leadscan/board")
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--native", type=pathlib.Path, required=True, help="leadscan for this machine")
    add("--arm", type=pathlib.Path, required=True, help="leadscan for the board")
    add("--cuts", type=int, default=3, help="power cuts (default 3)")
    add("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the moments of faults")
    add("--only", action="append", choices=NAMES, help="this check alone; again for more")
    add("--keep", action="store_true", help="keep console, disk, records and frame")
    add("--work", type=pathlib.Path, default=work, help="where kernel and runs lie")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runs = options.work / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(dir=runs))
    began = time.monotonic()
    print(f"# seed {options.seed}, in {folder}", flush=True)
    try:
        count, failed = run(options, folder)
    except (image.ImageError, BoardError) as error:
        print(f"Bail out! {error}")
        return 1
    seconds = time.monotonic() - began
    if failed or options.keep:
        print(f"# console, disk, records and frame are kept: {folder}/console.log")
    else:
        shutil.rmtree(folder)
    if failed:
        print(f"{failed} of {count} checks on the emulated board failed, in {seconds:.0f} s.")
        return 1
    print(f"All {count} checks on the emulated board passed, in {seconds:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
