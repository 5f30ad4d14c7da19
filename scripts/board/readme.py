"""What the boards' READMEs tell a person to type, typed on an emulated board.

In: the READMEs of `board/` and a board with the package installed. Out: how many commands went
well; the first that did not is a `BoardError`. A command that its README marks as not run is left
out, and so are those that need this repository, on the other computer.
"""

from __future__ import annotations

import pathlib
import re
import time
from dataclasses import dataclass

from board import Board, BoardError

NOT_RUN = "# not run"
USES = ("kiosk", "bedside", "headless")
BOARDS = ("rpi4", "rpi5", "generic")
COMMAND_S_MAX, PAGE_S_MAX = 900.0, 1200.0
HOME = "/root/person"
RECORDS = "/var/lib/leadscan/records/*.lsr"
# It ends when it is told to.
ENDLESS = "leadscan receive "
ENDLESS_S = 10
# What finds something to tell of on this board, which is neither kiosk nor Raspberry Pi: status 1.
TELLS = ("leadscan doctor", "leadscan status")
# They take long and say the same each time.
ONCE = ("leadscan selftest", "leadscan testpage")
SUDO = """\
#!/bin/sh
# sudo, as far as a README uses it.
if [ "$1" = -u ]; then user=$2; shift 2; exec runuser -u "$user" -- "$@"; fi
exec "$@"
"""
KERNEL_WORDS = "console=serial0,115200 console=tty1 root=PARTUUID=0 rootwait overlayroot=tmpfs"
KERNEL_WORDS_AFTER = (
    "console=tty1 root=PARTUUID=0 rootwait overlayroot=tmpfs:recurse=0 cgroup_enable=memory"
)


@dataclass(frozen=True)
class Typed:
    """What there is to type, and how much of it is marked as not run."""

    commands: list[str]
    marked: int


def typed(text: str) -> Typed:
    """The lines of a README's indented blocks; drawings are fenced."""
    lines = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).splitlines()
    lines = [line.strip() for line in lines if line.startswith("    ")]
    commands = [line for line in lines if NOT_RUN not in line]
    return Typed([re.sub(r"\s+# .*", "", line) for line in commands], len(lines) - len(commands))


def prepare(board: Board) -> None:
    """A person's folder, with a record, and the files that a Raspberry Pi starts from."""
    board.shell("chmod +x /run/board/sudo")
    board.shell(f"mkdir -p {HOME} /boot/firmware")
    board.shell(f"cp /run/board/leadscan.deb {HOME}/leadscan_0_arm64.deb")
    board.shell(f"cd {HOME} && leadscan testpage --out scan.png", COMMAND_S_MAX)
    made = "leadscan digitize /run/board/page.jpg --out records --format native"
    board.shell(f"cd {HOME} && {made}", PAGE_S_MAX)


def run(board: Board, root: pathlib.Path) -> str:
    """Types all of them, README by README."""
    prepare(board)
    count, marked, before = 0, 0, set[str]()
    for name in (*USES, *BOARDS):
        board.shell(f"echo '{KERNEL_WORDS}' >/boot/firmware/cmdline.txt")
        told = typed((root / "board" / name / "README.md").read_text())
        folder = HOME
        for command in told.commands:
            if command.startswith("scripts/") or command in before:
                continue
            if command.startswith(ONCE):
                before.add(command)
            if command == "cd" or command.startswith("cd "):
                folder = command.removeprefix("cd").strip() or HOME
            enter(board, name, folder, command)
            count += 1
        marked += told.marked
        if name.startswith("rpi"):
            words = board.shell("cat /boot/firmware/cmdline.txt").strip()
            if words != KERNEL_WORDS_AFTER:
                raise BoardError(f"{name}: cmdline.txt is {words!r}")
    return f"{count} commands of {len(USES) + len(BOARDS)} READMEs, {marked} are marked as not run"


def enter(board: Board, name: str, folder: str, command: str) -> None:
    """Types one, in a folder."""
    if RECORDS in command:
        wait_record(board)
    line = f"USER=root; cd {folder}; {command}"
    accepted = (0,)
    if command.startswith(ENDLESS):
        line = f"cd {folder}; timeout --preserve-status {ENDLESS_S} {command}"
    if any(word in command for word in TELLS):
        accepted = (0, 1)
    said = board.shell(f"{line}; echo status $?", COMMAND_S_MAX)
    status = int(said.rsplit("status ", 1)[1])
    if status not in accepted:
        raise BoardError(f"{name}/README.md: {command!r} ended with {status}: {said.strip()}")


def wait_record(board: Board) -> None:
    """A page that was put into the folder takes its time here."""
    end = time.monotonic() + PAGE_S_MAX
    while not board.shell(f"ls {RECORDS}", may_fail=True).strip().endswith(".lsr"):
        if time.monotonic() > end:
            raise BoardError(f"no record in {PAGE_S_MAX:.0f} s")
        time.sleep(1)
