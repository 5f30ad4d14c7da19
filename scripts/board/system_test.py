"""The emulated board with systemd: scripts/board-test --part system.

A Debian for arm64 is started as on a card without leadscan; the package is installed by `dpkg -i`,
and everything else is looked at from outside: the journal, the unit's state, the light, the records
that come over the second UART to `leadscan receive` on this machine. The disk is a copy of its own
for each run; what is the test's own lies under /run.
"""

from __future__ import annotations

import base64
import pathlib
import re
import struct
import time

import image
import readme
from board import MACHINE, Board, BoardError, Image
from desk import PAGE_S_MAX, Desk, Place
from device_test import (
    DEVICES,
    LIGHT_S_MAX,
    around,
    cut_in_load,
    cut_in_picture,
    cut_in_press,
    described,
    full,
    pages,
    press_and_watch,
)
from options import Options
from tap import Check, Part

STATE = "/var/lib/leadscan"
CONFIG_AT = "/etc/leadscan/leadscan.toml"
UNIT = "leadscan.service"
GROUP = f"/sys/fs/cgroup/system.slice/{UNIT}"
MEMORY_MIB = 1024
PLACE = Place(
    pages="/run/board",
    watched=f"{STATE}/in",
    spool=f"{STATE}/spool",
    unsynced="/var/tmp/unsynced",
    ready_s_max=900.0,
)
INSTALL_S_MAX, COMMAND_S_MAX, DOCTOR_S_MAX = 900.0, 120.0, 900.0
# A page of 1 MP, ten times.
PAGE_WIDTH_PX, PAGES = 1336, 10
LOAD_PAGES = 4
# Longer than three times RestartSec=.
LOOP_S = 20.0
# Nothing but the journal and the test on the console; nothing that comes at its own time.
WORDS = " ".join(
    [
        "rw systemd.journald.forward_to_console=1 systemd.journald.max_level_console=info",
        "systemd.show_status=no systemd.mask=serial-getty@ttyAMA0.service",
        *(f"systemd.mask={name}.timer" for name in ("apt-daily", "apt-daily-upgrade")),
        "systemd.mask=e2scrub_reap.service systemd.mask=e2scrub_all.timer",
    ]
)
CONFIG = f"""\
device = "emulated"
[spool]
folder = "{STATE}/spool"
free_mib_min = 16
pages_kept_max = 20
[watch]
folder = "{STATE}/in"
settle_ms = 500
{DEVICES}"""
# A key that no table has.
WRONG_KEY = "free_mib_mim"
WRONG = CONFIG.replace("free_mib_min", WRONG_KEY)
WRONG_LINE = 1 + WRONG.splitlines().index(f"{WRONG_KEY} = 16")
# A line that the board has not, and a broker that is not there.
WRONG_NAME = "BUTTOM"
BROKEN = CONFIG.replace('"BUTTON"', f'"{WRONG_NAME}"') + (
    """\
[[destination]]
name = "ward"
link = "mqtt"
address = "127.0.0.1:1883"
security = "plain"
prefix = "ward/emulated"
"""
)


class SystemDesk(Desk):
    """A board with systemd, on which the package gets installed before anything else is asked."""

    installed = ""

    def start(self, words: str = "") -> None:
        if self.installed:
            super().start(words)
            return
        self.board.start(words)
        self.installed = self._install()

    def give_up(self) -> None:
        super().give_up()
        if self.installed:
            try:
                self._mend()
            except BoardError:
                # The next check tries to start it, and says why it cannot.
                self.board.power_cut()

    def _mend(self) -> None:
        """The disk may bear what a check that failed has put there."""
        mark = self.board.mark()
        self.board.start()
        use_config(self.board, "good")
        self.board.shell(f"systemctl restart --no-block {UNIT}", COMMAND_S_MAX)
        self.wait_ready(mark)

    def _install(self) -> str:
        board = self.board
        began = time.monotonic()
        board.shell("dpkg -i /run/board/leadscan.deb", INSTALL_S_MAX)
        took_s = time.monotonic() - began
        use_config(board, "good")
        mark = board.mark()
        board.shell(f"install -d -o leadscan -g leadscan {STATE}/in", COMMAND_S_MAX)
        board.shell(f"systemctl restart --no-block {UNIT}; sync", COMMAND_S_MAX)
        self.wait_ready(mark)
        return f"{took_s:.0f} s for dpkg -i"


def use_config(board: Board, name: str) -> None:
    board.shell(f"cp /run/board/{name}.toml {CONFIG_AT} && sync", COMMAND_S_MAX)


def unit(board: Board, name: str) -> str:
    """A property of the unit."""
    return board.shell(f"systemctl show -P {name} {UNIT}", COMMAND_S_MAX).strip()


def installed(desk: SystemDesk) -> str:
    """dpkg -i installs it: its unit is started at boot; once configured it is ready and lit"""
    board = desk.board
    state = board.shell("dpkg-query -W -f '${Status}\\n' leadscan", COMMAND_S_MAX).strip()
    enabled = board.shell(f"systemctl is-enabled {UNIT}", COMMAND_S_MAX, may_fail=True).strip()
    groups = board.shell("id -nG leadscan", COMMAND_S_MAX).strip()
    if state != "install ok installed" or enabled != "enabled":
        raise BoardError(f"the package is {state!r}, the unit {enabled!r}")
    # The service may use the pins at once, not only after the next start.
    board.until("a light that is on", lambda: is_lit(board), LIGHT_S_MAX)
    return f"{desk.installed}; groups {groups}"


def is_lit(board: Board) -> bool:
    edges = board.light_edges()
    return bool(edges) and edges[-1].level == 1


def ready(desk: SystemDesk) -> str:
    """after a start the unit is active, by its own word, and nothing else has failed"""
    board = desk.board
    board.power_cut()
    mark = board.mark()
    desk.start()
    board.until("an active unit", lambda: unit(board, "ActiveState") == "active", COMMAND_S_MAX)
    ready_s = desk.wait_ready(mark) - board.powered_s
    kind, user = unit(board, "Type"), unit(board, "User")
    owner = board.shell("stat -c %U /proc/$(pidof leadscan)", COMMAND_S_MAX).strip()
    failed = board.shell("systemctl --failed --no-legend --plain", COMMAND_S_MAX).strip()
    if kind != "notify" or owner != user or failed:
        raise BoardError(f"Type={kind}, run by {owner}; failed units: {failed!r}")
    return f"{ready_s:.0f} s after power; Type={kind}, user {user}"


def pressed(desk: SystemDesk) -> str:
    """a press of the line found by name becomes a record, with the native build's signals"""
    job, seen = press_and_watch(desk)
    page = desk.receiver.out.parent / f"{job}.png"
    page.write_bytes(kept_page(desk, job))
    return f"{seen}; {desk.compare(page, [job])}"


def kept_page(desk: SystemDesk, job: str) -> bytes:
    """The picture that the service took, from its spool: src/deliver/spool/entry.rs."""
    packed = desk.board.shell(f"base64 {STATE}/spool/kept/{job}.page", PAGE_S_MAX)
    sealed = base64.b64decode(packed)
    meta_bytes, body_bytes = struct.unpack_from("<II", sealed, 12)
    begin = 36 + meta_bytes + 4
    return sealed[begin : begin + body_bytes]


def memory(desk: SystemDesk) -> str:
    """ten pages of 1 MP pass within MemoryMax=, each with the native build's signals"""
    board = desk.board
    mark = board.mark()
    most = int(unit(board, "MemoryMax"))
    for _ in range(PAGES):
        desk.picture()
    desk.wait_accepted(PAGES, mark, PAGE_S_MAX)
    jobs = desk.accepted(mark)
    for job in jobs:
        desk.wait_digitized(job, mark)
    all_there = desk.settle(PAGE_S_MAX)
    peak = int(board.shell(f"cat {GROUP}/memory.peak"))
    limit = int(board.shell(f"cat {GROUP}/memory.max"))
    events = dict(re.findall(r"(\w+) (\d+)", board.shell(f"cat {GROUP}/memory.events")))
    if limit != most or not 0 < peak <= most or events["oom_kill"] != "0" or events["oom"] != "0":
        raise BoardError(f"peak {peak} of {limit} (MemoryMax={most}) bytes, {events}")
    seen = desk.compare(desk.receiver.out.parent / "page.jpg", jobs)
    peaked = f"peak {peak >> 20} of {most >> 20} MiB, at the limit {events['max']} times"
    return f"{peaked}; {seen}; {all_there}"


def killed(desk: SystemDesk) -> str:
    """kill -9: systemd starts it again, and nothing accepted is lost"""
    return ended(desk, "KILL", "killed")


def watchdog(desk: SystemDesk) -> str:
    """a service that stands still is ended by the watchdog and started again"""
    within = unit(desk.board, "WatchdogUSec")
    return f"within {within}; {ended(desk, 'STOP', 'Watchdog timeout')}"


def ended(desk: SystemDesk, name: str, reason: str) -> str:
    """Ends the service under load by a signal; what systemd says of it holds `reason`."""
    board = desk.board
    before = int(unit(board, "NRestarts"))
    mark = desk.load(LOAD_PAGES)
    desk.wait_accepted(1, mark)
    mark, began = board.mark(), time.monotonic()
    board.shell(f"kill -{name} $(systemctl show -P MainPID {UNIT})", COMMAND_S_MAX)
    again_s = desk.wait_ready(mark) - began
    restarts = int(unit(board, "NRestarts")) - before
    if restarts != 1 or not board.said(reason, mark):
        raise BoardError(f"{restarts} restarts; nothing said of {reason!r}")
    return f"ready again after {again_s:.0f} s; {desk.settle()}"


def refused(desk: SystemDesk) -> str:
    """a wrong configuration is refused with its line, and not tried again and again"""
    board = desk.board
    use_config(board, "wrong")
    # It forgets how often the unit was started again.
    board.shell(f"systemctl stop {UNIT}; systemctl reset-failed", COMMAND_S_MAX)
    board.shell(f"systemctl start {UNIT}", COMMAND_S_MAX, may_fail=True)
    # There is nothing to wait for: what must not happen would have happened by then.
    time.sleep(LOOP_S)
    state, restarts = unit(board, "ActiveState"), int(unit(board, "NRestarts"))
    told = board.shell(f"journalctl -b -o cat -u {UNIT} --since -5min", COMMAND_S_MAX)
    lines = [line for line in told.splitlines() if WRONG_KEY in line]
    use_config(board, "good")
    if state != "failed" or restarts != 0:
        raise BoardError(f"it is {state}, and was started again {restarts} times in {LOOP_S:.0f} s")
    if not any(re.search(rf"\b{WRONG_LINE}\b", line) for line in lines):
        raise BoardError(f"the journal does not name line {WRONG_LINE}: {lines}")
    mark = board.mark()
    board.shell(f"systemctl restart {UNIT}", COMMAND_S_MAX, may_fail=True)
    desk.wait_ready(mark)
    return f"{lines[0]!r}; no start in {LOOP_S:.0f} s; ready once it is mended"


def doctor_well(desk: SystemDesk) -> str:
    """doctor finds nothing broken on a board that is well"""
    said = doctor(desk, "good")
    if any(health == "BROKEN" for health, _ in said.values()):
        raise BoardError(f"{said}")
    warned = [f"{what}: {found}" for what, (health, found) in said.items() if health != "ok"]
    return f"{len(said)} things are well or warned of: {warned}"


def doctor_broken(desk: SystemDesk) -> str:
    """doctor names each thing that is broken: camera, line name, broker, clock"""
    board = desk.board
    unplug = "echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind"
    try:
        said = doctor(desk, "broken", f"{unplug}; date -s @3600 >/dev/null; ")
    finally:
        # The next check finds the camera and the time of a new start.
        use_config(board, "good")
        board.power_cut()
    wanted = {
        "source bed": ("BROKEN", "/dev/video0"),
        "panel": ("BROKEN", WRONG_NAME),
        "destination ward": ("BROKEN", ""),
        "clock": ("warning|BROKEN", ""),
    }
    for what, (health, word) in wanted.items():
        found = said.get(what, ("nothing", ""))
        if not re.fullmatch(health, found[0]) or word not in found[1]:
            raise BoardError(f"{what}: {found}")
    broken = [what for what, (health, _) in said.items() if health == "BROKEN"]
    others = [what for what in broken if what not in wanted]
    if others:
        raise BoardError(f"found broken as well: {others}")
    return "; ".join(f"{what}: {said[what][1]}" for what in wanted)


def doctor_memory(desk: SystemDesk) -> str:
    """doctor names a memory controller that is off"""
    desk.board.power_cut()
    try:
        desk.start("cgroup_disable=memory")
        said = doctor(desk, "good")
    finally:
        desk.board.power_cut()
    health, found = said["memory limit"]
    if health == "ok":
        raise BoardError(f"memory limit: {found}")
    return f"{health}: {found}"


def doctor(desk: SystemDesk, config: str, first: str = "") -> dict[str, tuple[str, str]]:
    """What doctor says of each thing, run as a person is told to; the service is stopped for it."""
    board = desk.board
    use_config(board, config)
    board.shell(f"systemctl stop {UNIT}", COMMAND_S_MAX)
    said = board.shell(
        f"{first}runuser -u leadscan -- leadscan doctor", DOCTOR_S_MAX, may_fail=True
    )
    found = re.findall(r"^(ok|warning|BROKEN) +([^:\n]+): (.*?)\r?$", said, re.MULTILINE)
    if not found:
        raise BoardError(f"doctor said {said!r}")
    if config == "good":
        mark = board.mark()
        board.shell(f"systemctl start --no-block {UNIT}", COMMAND_S_MAX)
        desk.wait_ready(mark)
    return {what: (health, text) for health, what, text in found}


def readmes(desk: SystemDesk) -> str:
    """every command of the boards' READMEs that is not marked as not run does what it should"""
    seen = readme.run(desk.board, pathlib.Path())
    # It leaves another configuration, and a line in fstab: nothing comes after it.
    desk.board.power_cut()
    return seen


def build(options: Options, folder: pathlib.Path) -> SystemDesk:
    """The board, and all that it is started from."""
    kernel = image.Kernel(options.work / "kernel")
    disk = folder / "root"
    made = Image(
        kernel=kernel.image,
        initramfs=folder / "initramfs-system",
        device_tree=folder / "device-tree",
        disk=disk,
        memory_mib=MEMORY_MIB,
        words=WORDS,
        boot_s_max=PLACE.ready_s_max,
    )
    image.stage(folder / "stage")
    pages(folder, PAGE_WIDTH_PX)
    files = {
        "board/leadscan.deb": options.deb.read_bytes(),
        "board/page.jpg": (folder / "page.jpg").read_bytes(),
        "board/camera.ppm": (folder / "camera.ppm").read_bytes(),
        "board/sudo": readme.SUDO.encode(),
        "board/good.toml": CONFIG.encode(),
        "board/wrong.toml": WRONG.encode(),
        "board/broken.toml": BROKEN.encode(),
    }
    image.initramfs(made.initramfs, kernel, {"stage": folder / "stage"}, files, "init-system")
    image.root_disk(disk, options.work)
    image.device_tree(made.device_tree, MACHINE)
    return SystemDesk(*around(options, folder, made), PLACE, options.seed)


def part(options: Options) -> Part:
    """All checks; the first of them installs the package."""
    runs = [installed, ready, pressed, memory, killed, watchdog, full]
    checks = [Check(run.__name__, described(run), run) for run in runs]
    kinds = [cut_in_load, cut_in_picture, cut_in_press]
    for number in range(options.system_cuts):
        run = kinds[number % len(kinds)]
        checks.append(Check(f"cut-{number + 1}", described(run), run))
    last = [refused, doctor_well, doctor_broken, doctor_memory, readmes]
    checks += [Check(run.__name__.replace("_", "-"), described(run), run) for run in last]
    return Part("system", options.deb, checks, lambda folder: build(options, folder))
