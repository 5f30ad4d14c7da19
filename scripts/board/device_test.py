"""The small emulated board: scripts/board-test --part device.

QEMU's system emulation of a Cortex-A72 board starts Debian's kernel, `leadscan serve` runs on it
with a real disk, and its records come over the second UART to `leadscan receive` on this machine.
Seconds on the emulated board say nothing of a real one's.
"""

from __future__ import annotations

import base64
import gzip
import pathlib
import time
from collections.abc import Callable

import image
import picture
from board import MACHINE, Board, BoardError, Image
from cable import Cable
from desk import IDLE, PAGE_S_MAX, RECORDS_S_MAX, Desk, Place, Receiver, digitize, layout_of
from options import Options
from tap import Check, Part

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "tests/pages/sample/page.jpg"
PAGE_WIDTH_PX = 1108
KILL_PAGES, FULL_PAGES, CUT_PAGES = 4, 3, 16
# The moment of a fault is somewhere in the work that a load of pages, or a page, makes.
KILL_S_MAX, CUT_S_MAX, CUT_GAP_S = 1.5, 3.0, 0.2
PICTURE_CUT_S_MAX, PRESS_CUT_S_MAX = 60.0, 40.0
FRAMES = 3
LIGHTNESS_APART_MAX = 2.0
PRESS_S, LIGHT_S_MAX, STEADY_S = 0.5, 120.0, 3.0
# Breathing and the flash of an accepted page.
EDGES_MIN = 10
LAYOUT = "3x4+1R"
PLACE = Place(
    pages="/board",
    watched="/data/in",
    spool="/data/spool",
    unsynced="/data/unsynced",
    ready_s_max=240.0,
)
FOLDERS = """\
[spool]
folder = "/data/spool"
free_mib_min = 16
[watch]
folder = "/data/in"
settle_ms = 500
"""
# What every board of ours has: a camera, a button, a light, a line.
DEVICES = """\
[[source]]
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
    ready_s = desk.wait_ready(0) - desk.board.powered_s
    memory = desk.board.shell("grep VmHWM /proc/$(pidof leadscan)/status").split()
    return f"{ready_s:.1f} s after power, with {int(memory[1]) >> 10} MiB"


def page(desk: Desk) -> str:
    """a page becomes a record at the receiver, with the native build's signals"""
    began = time.monotonic()
    mark = desk.picture()
    desk.wait_accepted(1, mark)
    job = desk.accepted(mark)[0]
    desk.wait_digitized(job, mark)
    digitized_s = time.monotonic() - began
    desk.settle()
    seen = desk.compare(desk.receiver.out.parent / "page.jpg", [job])
    return f"{digitized_s:.0f} s to digitize; {seen}"


def killed(times: int) -> Callable[[Desk], str]:
    def check(desk: Desk) -> str:
        """kill -9 of the service, again and again: it goes on"""
        for _ in range(times):
            mark = desk.load(KILL_PAGES)
            desk.wait_accepted(1, mark)
            desk.pause(KILL_S_MAX)
            mark = desk.board.mark()
            desk.board.shell("kill -9 $(pidof leadscan)")
            desk.wait_ready(mark)
        return f"{times} times; {desk.settle()}"

    return check


def full(desk: Desk) -> str:
    """a full disk: new pages are refused and wait, nothing accepted is lost, and it goes on"""
    board, watched = desk.board, desk.place.watched
    desk.settle()
    # Records that wait for a line that is unplugged must survive the full disk.
    board.cable.unplug()
    mark = desk.load(FULL_PAGES)
    desk.wait_accepted(FULL_PAGES, mark)
    waiting = desk.accepted(mark)
    for job in waiting:
        board.wait(rf"{job} rejected", RECORDS_S_MAX, mark)
    drafts = desk.draft(FULL_PAGES)
    mark = board.mark()
    try:
        free = fill(desk)
        desk.undraft(drafts)
        refused = board.wait(r"leadscan.*: .*bytes are free on the disk", RECORDS_S_MAX, mark)
        board.cable.plug()

        def has_arrived() -> bool:
            return not set(waiting).isdisjoint(desk.receiver.ids())

        # The spool may end the service over a disk that has no room for its own account.
        board.until("a record goes out though the disk is full", has_arrived, RECORDS_S_MAX)
        if desk.accepted(mark):
            raise BoardError(f"{free} KiB free, and a page was accepted")
    finally:
        if board.is_on():
            board.shell(f"rm -f {watched}/.filler {watched}/.rest")
    desk.wait_accepted(FULL_PAGES, mark)
    return f"{free} KiB free, {refused.text!r}; {desk.settle()}"


def fill(desk: Desk) -> int:
    """Fills the disk; how many KiB are free then."""
    board, watched = desk.board, desk.place.watched

    def free() -> int:
        return int(board.shell(f"df -k {watched} | tail -n 1").split()[3])

    # Nearly all in one piece, which takes no time; then what is left.
    board.shell(f"fallocate -l {max(0, free() - 4096)}K {watched}/.filler", 120, may_fail=True)
    board.shell(f"dd if=/dev/zero of={watched}/.rest bs=64k 2>/dev/null", 300, may_fail=True)
    return free()


def cut_in_load(desk: Desk) -> str:
    """power cut while pages are accepted: what was acknowledged arrives, once"""
    mark = desk.load(CUT_PAGES, CUT_GAP_S)
    desk.wait_accepted(1, mark)
    desk.pause(CUT_S_MAX)
    return cut(desk, mark)


def cut_in_picture(desk: Desk) -> str:
    """power cut while a page is digitized or sent: it arrives, once"""
    mark = desk.picture()
    desk.wait_accepted(1, mark)
    desk.pause(PICTURE_CUT_S_MAX)
    return cut(desk, mark)


def cut_in_press(desk: Desk) -> str:
    """power cut after a press: if the page was acknowledged, it arrives, once"""
    desk.lay()
    mark = desk.board.mark()
    desk.board.press(PRESS_S)
    desk.pause(PRESS_CUT_S_MAX)
    return cut(desk, mark, is_pressed=True)


def cut(desk: Desk, mark: int, *, is_pressed: bool = False) -> str:
    """The power goes now; afterwards the service is ready without help, and all is there."""
    # What nobody has synced must be gone afterwards, or this was no power cut.
    unsynced = desk.place.unsynced
    desk.board.shell(f"echo never synced >{unsynced}")
    desk.board.power_cut()
    acknowledged, there = desk.accepted(mark), set(desk.receiver.ids())
    if is_pressed and acknowledged:
        desk.expect_picture()
    owed = sum(one not in there for one in acknowledged)
    desk.start()
    if "never synced" in desk.board.shell(f"cat {unsynced}; rm -f {unsynced}", may_fail=True):
        raise BoardError("what was never synced is there: the cut was none")
    all_there = desk.settle(PAGE_S_MAX)
    return f"{len(acknowledged)} acknowledged, {owed} of them not yet received; {all_there}"


def camera(desk: Desk) -> str:
    """the camera sees the page that is laid before it"""
    board, folder = desk.board, desk.receiver.out.parent
    desk.lay()
    size = board.shell(f"stage grab /dev/video0 {FRAMES} /run/frame", 60).split()
    packed = board.shell("gzip -1 /run/frame; base64 /run/frame.gz; rm /run/frame.gz", 60)
    desk.take_away()
    width, height = int(size[0]), int(size[1])
    frame = gzip.decompress(base64.b64decode(packed))
    seen = folder / "frame.png"
    seen.write_bytes(picture.grey_png(width, height, frame[0::2]))
    page = (folder / "camera.ppm").read_bytes()
    apart = picture.lightness_apart(page, frame, width, height)
    if apart > LIGHTNESS_APART_MAX:
        raise BoardError(f"the frame is {apart:.1f} of 255 off the page: see {seen}")
    digitize(desk.receiver.native, seen, folder / "seen")
    layout = layout_of(folder / "seen/frame.json")
    if layout is None:
        raise BoardError(f"the frame cannot be digitized: see {seen}")
    return f"{width} x {height}, {apart:.2f} of 255 off the page; digitized here: {layout}"


def pressed(desk: Desk) -> str:
    """a press captures the page before the camera, the light tells, and its record arrives"""
    return press_and_watch(desk)[1]


def press_and_watch(desk: Desk) -> tuple[str, str]:
    """A page from the press of the button to its record: its id, and what was seen."""
    board = desk.board
    desk.lay()
    mark = board.mark()
    desk.expect_picture()
    began = board.press(PRESS_S)
    desk.wait_accepted(1, mark, PAGE_S_MAX)
    accepted_s = time.monotonic() - began
    desk.take_away()
    job = desk.accepted(mark)[0]
    said = desk.wait_digitized(job, mark)
    if said[2] != LAYOUT:
        raise BoardError(f"not the page that lay there: {said[0]}")
    digitized_s = time.monotonic() - began
    all_there = desk.settle(PAGE_S_MAX)
    board.wait(IDLE, PAGE_S_MAX, mark)

    def is_steady() -> bool:
        last = board.light_edges(since_s=began)[-1]
        return last.level == 1 and time.monotonic() - last.time_s > STEADY_S

    board.until("a steady light", is_steady, LIGHT_S_MAX)
    edges = len(board.light_edges(since_s=began))
    if edges < EDGES_MIN:
        raise BoardError(f"the light changed {edges} times while a page was worked on")
    times = f"accepted {accepted_s:.0f} s, digitized {digitized_s:.0f} s after the press"
    return job, f"{times}; {edges} changes of the light; {all_there}"


def pages(folder: pathlib.Path, width_px: int = PAGE_WIDTH_PX) -> None:
    """The sample page in the size of a frame, and a smaller one that is sooner digitized."""
    whole = folder / "whole.ppm"
    whole.write_bytes(image.tool("jpegtopnm", SAMPLE))
    (folder / "camera.ppm").write_bytes(image.tool("pamscale", "-xysize", "1920", "1080", whole))
    (folder / "small.ppm").write_bytes(image.tool("pamscale", "-xsize", str(width_px), whole))
    (folder / "page.jpg").write_bytes(image.tool("pnmtojpeg", "-quality=95", folder / "small.ppm"))


def build(options: Options, folder: pathlib.Path) -> Desk:
    """The board, and all that it is started from."""
    kernel = image.Kernel(options.work / "kernel")
    made = Image(kernel.image, folder / "initramfs", folder / "device-tree", folder / "disk")
    image.stage(folder / "stage")
    image.stripped(options.arm, folder / "leadscan")
    pages(folder)
    programs = {"stage": folder / "stage", "leadscan": folder / "leadscan"}
    files = {
        "etc/leadscan.toml": f'device = "emulated"\n{FOLDERS}{DEVICES}'.encode(),
        "board/page.jpg": (folder / "page.jpg").read_bytes(),
        "board/camera.ppm": (folder / "camera.ppm").read_bytes(),
    }
    image.initramfs(made.initramfs, kernel, programs, files)
    image.disk(made.disk)
    image.device_tree(made.device_tree, MACHINE)
    return Desk(*around(options, folder, made), PLACE, options.seed)


def around(options: Options, folder: pathlib.Path, made: Image) -> tuple[Board, Receiver]:
    """The board, and the receiver at the other end of its cable."""
    cable = Cable()
    board = Board(made, cable, folder / "console.log")
    return board, Receiver(options.native, cable.host, folder / "records")


def cuts(count: int) -> list[Check]:
    """Power cuts; of nine, six in a load of pages, two in a page's work, one after a press."""
    found = []
    for number in range(1, count + 1):
        kinds = {0: cut_in_press, 4: cut_in_picture, 8: cut_in_picture}
        run = kinds.get(number % 9, cut_in_load)
        found.append(Check(f"cut-{number:02}", described(run), run))
    return found


def described(run: Callable[[Desk], str]) -> str:
    return run.__doc__ or ""


def part(options: Options) -> Part:
    """The quick checks, or all."""
    quick = [ready, page, pressed]
    checks = [Check(run.__name__, described(run), run) for run in quick]
    kill = killed(1 if options.is_quick else 3)
    checks.append(Check("killed", described(kill), kill))
    if not options.is_quick:
        checks += [Check(run.__name__, described(run), run) for run in (full, camera)]
    checks += cuts(options.cuts)
    return Part("device", options.arm, checks, lambda folder: build(options, folder))
