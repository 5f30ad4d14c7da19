"""The front panel of an older Raspberry Pi, by its registers: scripts/board-test --part pi.

QEMU's raspi3b starts Debian's kernel with the Pi's own device tree. `leadscan serve` drives the
light by rppal, and this machine sees the pin: steady when ready, changing while a page is worked
on, steady again. The emulated pins take no input, so no button is pressed.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable

import board
import device_test
import image
from board import BoardError
from options import Options
from tap import Check, Part

MACHINE = [board.QEMU, "-M", "raspi3b", "-nodefaults", "-display", "none", "-no-reboot"]
TREE = "broadcom/bcm2837-rpi-3-b.dtb"
PINS = "/machine/soc/peripherals/gpio"
BUTTON, LIGHT = 27, 17
READY_S_MAX, PAGE_S_MAX, STEADY_S = 240.0, 600.0, 4.0
CONFIG = f"""\
device = "pi"
{device_test.FOLDERS}[panel]
backend = "rppal"
button_pin = {BUTTON}
light_pin = {LIGHT}
button_active_low = false
[[destination]]
name = "files"
link = "folder"
folder = "/data/out"
"""


class Watched:
    """Lines that come from somewhere, with their times, as far as a pattern fits them."""

    def __init__(self, lines: Iterable[str], pattern: str, log: pathlib.Path) -> None:
        self.seen: list[tuple[float, str]] = []
        self._read = threading.Thread(target=self._follow, args=[lines, pattern, log], daemon=True)
        self._read.start()

    def _follow(self, lines: Iterable[str], pattern: str, log: pathlib.Path) -> None:
        with log.open("w") as kept:
            for line in lines:
                kept.write(line)
                kept.flush()
                if match := re.search(pattern, line):
                    self.seen.append((time.monotonic(), match[0]))


def start(folder: pathlib.Path, kernel: image.Kernel, arm: pathlib.Path) -> subprocess.Popen[str]:
    image.stripped(arm, folder / "leadscan")
    device_test.pages(folder)
    files = {
        "etc/leadscan.toml": CONFIG.encode(),
        "board/page.jpg": (folder / "page.jpg").read_bytes(),
    }
    programs = {"leadscan": folder / "leadscan"}
    image.initramfs(folder / "initramfs", kernel, programs, files, init="init-pi")
    tree = next(kernel.tree.glob(f"usr/lib/linux-image-*/{TREE}"), None)
    if tree is None:
        raise image.ImageError(f"the kernel has no {TREE}")
    words = [*MACHINE, "-kernel", kernel.image, "-initrd", folder / "initramfs", "-dtb", tree]
    # rppal maps the registers by /dev/mem, which the kernel's driver has: older systems let it.
    words += ["-append", "console=ttyAMA0,115200 iomem=relaxed quiet panic=-1"]
    words += ["-serial", "stdio", "-chardev", f"socket,id=q,path={folder}/qtest,server=on,wait=off"]
    words += ["-qtest", "chardev:q", "-qtest-log", "/dev/null"]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(words, stdin=null, stdout=pipe, stderr=null, text=True)


def check(folder: pathlib.Path, process: subprocess.Popen[str]) -> str:
    """Follows the light and the service's words through one page."""

    def is_on() -> bool:
        return process.poll() is None

    def until(what: str, is_so: Callable[[], bool], seconds_max: float) -> None:
        board.until(what, is_so, seconds_max, is_on)

    with board.connect(folder / "qtest", is_on) as wires:
        wires.sendall(f"irq_intercept_out {PINS}\n".encode())
        light = Watched(wires.makefile("r"), rf"IRQ (raise|lower) {LIGHT}$", folder / "pins.log")
        console = Watched(process.stdout, r"leadscan: .*|board: .*", folder / "console.log")

        def said(text: str) -> bool:
            return any(re.search(text, line) for _, line in console.seen)

        def is_steady() -> bool:
            seen = light.seen
            is_lit = bool(seen) and "raise" in seen[-1][1]
            return is_lit and time.monotonic() - seen[-1][0] > STEADY_S

        until("the service is ready", lambda: said("leadscan: ready"), READY_S_MAX)
        until("a steady light", is_steady, 30)
        before = len(light.seen)
        until("a record", lambda: said("delivered to files"), PAGE_S_MAX)
        changes = len(light.seen) - before
        if changes < device_test.EDGES_MIN:
            raise BoardError(f"the light changed {changes} times while a page was worked on")
        until("a steady light again", is_steady, 60)
        return f"{changes} changes of pin {LIGHT} while a page was worked on"


class Pi:
    """The emulated Pi, switched on when its check begins."""

    def __init__(self, options: Options, folder: pathlib.Path) -> None:
        self.options = options
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        kernel = image.Kernel(self.options.work / "kernel")
        self.process = start(self.folder, kernel, self.options.arm)

    def give_up(self) -> None:
        self.close()

    def close(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


def light(pi: Pi) -> str:
    """the service drives a Raspberry Pi's light by rppal"""
    assert pi.process
    return check(pi.folder, pi.process)


def part(options: Options) -> Part:
    checks = [Check("light", light.__doc__ or "", light)]
    return Part("pi", options.arm, checks, lambda folder: Pi(options, folder))
