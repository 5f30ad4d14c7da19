"""A board, emulated: power, console, commands, a serial line, a button and a light.

In: a kernel, an initramfs, a device tree, a data disk. Out: a `Board`, with what a person at a real
one could do and see. Every wait has a bound; what is not so in time is a `BoardError`, which says
what was waited for. Times are seconds of the host's monotonic clock.
"""

from __future__ import annotations

import itertools
import json
import pathlib
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cable import Cable
from image import LINES

QEMU = "qemu-system-aarch64"
# The device tree is dumped from the same words, so that the two agree.
MACHINE = [
    *[QEMU, "-M", "virt", "-cpu", "cortex-a72", "-smp", "2"],
    *["-accel", "tcg,thread=multi", "-nodefaults", "-display", "none", "-no-reboot"],
    *["-global", "virtio-mmio.force-legacy=false"],
]
SOCKET_S_MAX = 20.0


class BoardError(Exception):
    """What should have happened did not."""


def until(
    what: str, is_so: Callable[[], bool], seconds_max: float, is_on: Callable[[], bool]
) -> None:
    """Waits for a condition, as long as a board is on."""
    end = time.monotonic() + seconds_max
    while not is_so():
        if not is_on():
            raise BoardError(f"the board went off before {what}")
        if time.monotonic() > end:
            raise BoardError(f"not in {seconds_max:.0f} s: {what}")
        time.sleep(0.05)


def connect(path: pathlib.Path, is_on: Callable[[], bool]) -> socket.socket:
    """One of the emulator's sockets, which it opens a moment after it was started."""
    end = time.monotonic() + SOCKET_S_MAX
    while True:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(str(path))
        except OSError:
            made.close()
            if not is_on():
                raise BoardError(f"{QEMU} ended at once: see the console's log") from None
            if time.monotonic() > end:
                raise BoardError(f"no socket {path}") from None
            time.sleep(0.05)
        else:
            return made


@dataclass(frozen=True)
class Line:
    """A line of the console."""

    time_s: float
    text: str


@dataclass(frozen=True)
class Edge:
    """A GPIO line that the board drives changed its level."""

    time_s: float
    level: int


@dataclass(frozen=True)
class Image:
    """What a board is started from."""

    kernel: pathlib.Path
    initramfs: pathlib.Path
    device_tree: pathlib.Path
    disk: pathlib.Path
    memory_mib: int = 512
    # Words for the kernel, or for what it starts.
    words: str = ""
    boot_s_max: float = 120.0


class Board:
    """One board; it may be switched on again and again, with the same disk."""

    def __init__(self, image: Image, cable: Cable, console: pathlib.Path) -> None:
        self.image = image
        self.cable = cable
        self.console = console
        # All starts' lines: what was said is not forgotten with the power.
        self.lines: list[Line] = []
        self.starts = 0
        self.powered_s = 0.0
        self._said = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        # To nobody yet; what is sent is an error.
        self._control = socket.socket(socket.AF_UNIX)
        self._pins = socket.socket(socket.AF_UNIX)
        self._gpio = ""
        self._edges: dict[int, list[Edge]] = {}
        self._tokens = itertools.count(1)

    # Power.

    def is_on(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, words: str = "") -> None:
        """Switches on, and waits until the board takes commands; `words` are for the kernel too."""
        if self.is_on():
            raise BoardError("the board is on already")
        self.starts += 1
        self.powered_s = time.monotonic()
        mark = self.mark()
        with tempfile.TemporaryDirectory(prefix="board-") as name:
            folder = pathlib.Path(name)
            self._process = self._switch_on(folder, words)
            self._reader = threading.Thread(target=self._listen, args=[self._process], daemon=True)
            self._reader.start()
            # Bytes for an end that is not there are lost: the cable comes first.
            self.cable.join(self._connect(folder / "uart"))
            self._control = self._connect(folder / "control")
            with self._connect(folder / "qmp") as monitor:
                self._gpio = self._find_gpio(monitor)
            self._pins = self._connect(folder / "qtest")
        self._edges = {}
        threading.Thread(target=self._watch_pins, args=[self._pins], daemon=True).start()
        self._pin(f"irq_intercept_out {self._gpio}")
        self.wait(r"^board: control", self.image.boot_s_max, mark)

    def power_cut(self) -> None:
        """Off at once: what the board had not written to its disk is gone."""
        if self._process:
            self._process.kill()
            self._process.wait(timeout=10)
            # What it had said until then counts.
            self._reader.join(timeout=10)
            self._control.close()
            self._pins.close()
            self._process = None

    # Console.

    def mark(self) -> int:
        """A place in the console, to look from."""
        with self._said:
            return len(self.lines)

    def said(self, pattern: str, since: int = 0) -> list[re.Match[str]]:
        """Lines of the console that match."""
        with self._said:
            lines = self.lines[since:]
        return [match for line in lines if (match := re.search(pattern, line.text))]

    def wait(self, pattern: str, seconds_max: float, since: int = 0) -> Line:
        """The first line that matches."""
        end = time.monotonic() + seconds_max
        looked = since
        while True:
            with self._said:
                if len(self.lines) == looked:
                    self._said.wait(0.2)
                lines = self.lines[looked:]
            for line in lines:
                if re.search(pattern, line.text):
                    return line
            looked += len(lines)
            if not lines and not self.is_on():
                raise BoardError(f"the board went off before it said {pattern!r}")
            if time.monotonic() > end:
                raise BoardError(f"the board did not say {pattern!r} in {seconds_max:.0f} s")

    def until(self, what: str, is_so: Callable[[], bool], seconds_max: float) -> None:
        """Waits for a condition."""
        until(what, is_so, seconds_max, self.is_on)

    # Commands.

    def shell(self, command: str, seconds_max: float = 30.0, *, may_fail: bool = False) -> str:
        """Runs a line of shell on the board; what it printed."""
        token = f"t{next(self._tokens)}"
        self._control.settimeout(seconds_max)
        end = time.monotonic() + seconds_max
        answer = re.compile(rb"(?:^|\n)@@ %s (\d+)\r?\n" % token.encode())
        got = bytearray()
        try:
            self._control.sendall(f"{token} {command}\n".encode())
            while not (match := answer.search(got, max(0, len(got) - (1 << 17)))):
                if time.monotonic() > end:
                    raise TimeoutError
                part = self._control.recv(1 << 16)
                if not part:
                    raise BoardError(f"the board went off during {command!r}")
                got += part
        except TimeoutError:
            raise BoardError(f"{command!r} did not end in {seconds_max:.0f} s") from None
        output, status = got[: match.start()].decode(errors="replace"), int(match[1])
        if status != 0 and not may_fail:
            raise BoardError(f"{command!r} ended with {status}: {output.strip()}")
        return output

    def wait_word(self, path: str, word: str, seconds_max: float = 60.0) -> None:
        """Waits until a program of the test's on the board has said that it is ready."""

        def is_so() -> bool:
            said = self.shell(f"cat {path}")
            if said.startswith("stage: "):
                raise BoardError(said.strip())
            return word in said

        self.until(f"{word!r} in {path}", is_so, seconds_max)

    # Front panel.

    def set_level(self, line: str, level: int) -> None:
        """Drives a line that is an input of the board."""
        self._pin(f"set_irq_in {self._gpio} unnamed-gpio-in {LINES.index(line)} {level}")

    def press(self, seconds: float = 0.2, line: str = "BUTTON") -> float:
        """Presses a button for so long; when it went down."""
        began = time.monotonic()
        self.set_level(line, 1)
        time.sleep(seconds)
        self.set_level(line, 0)
        return began

    def light_edges(self, line: str = "LIGHT", since_s: float = 0.0) -> list[Edge]:
        """Changes of a light, since a time, of this start."""
        return [edge for edge in self._edges.get(LINES.index(line), []) if edge.time_s >= since_s]

    # What is behind it.

    def _switch_on(self, folder: pathlib.Path, kernel_words: str) -> subprocess.Popen[bytes]:
        image = self.image
        words = [*MACHINE, "-m", f"{image.memory_mib}M"]
        words += ["-kernel", image.kernel, "-initrd", image.initramfs, "-dtb", image.device_tree]
        words += ["-append", f"console=ttyAMA0 quiet panic=-1 {image.words} {kernel_words}"]
        for name in ("uart", "control", "qmp", "qtest"):
            words += ["-chardev", f"socket,id={name},path={folder}/{name},server=on,wait=off"]
        words += ["-chardev", "stdio,id=console,signal=off"]
        words += ["-serial", "chardev:console", "-serial", "chardev:uart"]
        drive = f"if=none,id=data,file={image.disk},format=raw,cache=writethrough"
        words += ["-drive", drive, "-device", "virtio-blk-device,drive=data"]
        words += ["-device", "virtio-rng-device", "-device", "virtio-serial-device"]
        words += ["-device", "virtserialport,chardev=control,name=control"]
        words += ["-mon", "chardev=qmp,mode=control", "-qtest", "chardev:qtest"]
        words += ["-qtest-log", "/dev/null"]
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        with self.console.open("a") as console:
            console.write(f"== start {self.starts}\n")
            console.flush()
            try:
                return subprocess.Popen(words, stdin=null, stdout=pipe, stderr=console)
            except FileNotFoundError:
                raise BoardError(f"no {QEMU}: run scripts/install board") from None

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Keeps the console's whole lines."""
        assert process.stdout
        with self.console.open("a") as console:
            for raw in process.stdout:
                if not raw.endswith(b"\n"):
                    break
                line = Line(time.monotonic(), raw.decode(errors="replace").rstrip())
                console.write(f"{line.time_s:.2f} {line.text}\n")
                console.flush()
                with self._said:
                    self.lines.append(line)
                    self._said.notify_all()

    def _connect(self, path: pathlib.Path) -> socket.socket:
        return connect(path, self.is_on)

    def _find_gpio(self, monitor: socket.socket) -> str:
        """The GPIO controller's path in the emulator."""
        monitor.settimeout(SOCKET_S_MAX)
        with monitor.makefile("rw") as lines:

            def ask(what: str, **arguments: str) -> list[dict[str, str]]:
                json.dump({"execute": what, "arguments": arguments}, lines)
                lines.write("\n")
                lines.flush()
                while "return" not in (answer := json.loads(lines.readline())):
                    if "error" in answer:
                        raise BoardError(f"{what}: {answer}")
                return answer["return"]

            lines.readline()
            ask("qmp_capabilities")
            parts = ask("qom-list", path="/machine/unattached")
        found = [part["name"] for part in parts if "pl061" in part["type"]]
        if len(found) != 1:
            raise BoardError(f"the machine has {len(found)} PL061")
        return f"/machine/unattached/{found[0]}"

    def _pin(self, command: str) -> None:
        self._pins.sendall(f"{command}\n".encode())

    def _watch_pins(self, pins: socket.socket) -> None:
        """`IRQ raise 6`: line 6 went up."""
        edges = self._edges
        try:
            for text in pins.makefile("r"):
                if change := re.match(r"IRQ (raise|lower) (\d+)", text):
                    edge = Edge(time.monotonic(), int(change[1] == "raise"))
                    edges.setdefault(int(change[2]), []).append(edge)
        except (OSError, ValueError):
            return
