"""What the emulated boards are made of: an initramfs, a disk, a device tree.

In: Debian's kernel tree and busybox as `install-system` unpacked them, the ARM build, pages. Out:
files in the work folder. Needs no root. Fails by `ImageError` where something is not installed.
"""

from __future__ import annotations

import lzma
import os
import pathlib
import stat
import subprocess
from dataclasses import dataclass

HERE = pathlib.Path(__file__).parent
TRIPLE = "aarch64-linux-gnu"
# In the order of need; what these need is found in modules.dep. vivid: one capture node of one HDMI
# input, and one output node of one HDMI output, which the stage program joins.
MODULES = {
    "virtio_mmio": "",
    "virtio_blk": "",
    "virtio_console": "",
    "virtio_rng": "",
    "crc32c_generic": "",
    "ext4": "",
    "vivid": "node_types=0x101 num_inputs=1 input_types=0x3 num_outputs=1 output_types=0x1",
}
LIBRARIES = ("ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libgcc_s.so.1")
# Lines of the PL061; the third is the machine's own power button.
LINES = ("", "", "BUTTON", "", "", "", "LIGHT", "")
DISK_BYTES = 96 << 20


class ImageError(Exception):
    """Something that the board is made of is missing; the text says what to do."""


def tool(*command: str | pathlib.Path) -> bytes:
    """Runs a program; its output, or what it complained of."""
    words = [str(word) for word in command]
    # Where mkfs lies is not in everybody's path.
    path = {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run(words, capture_output=True, timeout=120, check=False, env=path)
    except FileNotFoundError:
        raise ImageError(f"no {words[0]}: run scripts/install board") from None
    except subprocess.TimeoutExpired:
        raise ImageError(f"{words[0]} did not end") from None
    if done.returncode != 0:
        raise ImageError(f"{' '.join(words)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


@dataclass(frozen=True)
class Kernel:
    """Debian's kernel package and busybox, unpacked into one folder."""

    tree: pathlib.Path

    @property
    def version(self) -> str:
        found = sorted(path.name for path in (self.tree / "lib/modules").glob("*-arm64"))
        if not found:
            raise ImageError(f"no kernel in {self.tree}: run scripts/install board")
        return found[-1]

    @property
    def image(self) -> pathlib.Path:
        return self.tree / f"boot/vmlinuz-{self.version}"

    @property
    def busybox(self) -> pathlib.Path:
        return self.tree / "bin/busybox"

    def modules(self) -> list[tuple[str, bytes, str]]:
        """Names, contents and options in the order of loading."""
        base = self.tree / "lib/modules" / self.version
        needs: dict[str, list[str]] = {}
        for line in (base / "modules.dep").read_text().splitlines():
            path, _, needed = line.partition(":")
            needs[path] = needed.split()
        paths = {stem(path): path for path in needs}
        order: dict[str, str] = {}
        for name, options in MODULES.items():
            if name in paths:
                for path in [*reversed(needs[paths[name]]), paths[name]]:
                    order.setdefault(path, options if path == paths[name] else "")
            elif name not in {stem(line) for line in (base / "modules.builtin").open()}:
                raise ImageError(f"the kernel has no module {name}")
        found = []
        for path, options in order.items():
            content = (base / path).read_bytes()
            content = lzma.decompress(content) if path.endswith(".xz") else content
            found.append((pathlib.Path(path).name.removesuffix(".xz"), content, options))
        return found


def stem(path: str) -> str:
    """The name of a module's file as modules are called."""
    return pathlib.Path(path.strip()).name.split(".ko")[0].replace("-", "_")


def cpio(files: dict[str, tuple[int, bytes]]) -> bytes:
    """An archive in the kernel's format (newc), of files and folders, all root's."""
    out = bytearray()
    entries = [*files.items(), ("TRAILER!!!", (0, b""))]
    for number, (path, (mode, content)) in enumerate(entries, 1):
        name = path.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return bytes(out)


def initramfs(
    to: pathlib.Path,
    kernel: Kernel,
    programs: dict[str, pathlib.Path],
    files: dict[str, bytes],
    init: str = "init",
) -> None:
    """Writes the board's root: busybox, modules, libraries, programs in /bin, and `files`."""
    tree: dict[str, tuple[int, bytes]] = {}
    for folder in "bin board dev data disk etc lib lib/modules proc run sys tmp".split():
        tree[folder] = (stat.S_IFDIR | 0o755, b"")
    tree["lib64"] = (stat.S_IFLNK | 0o777, b"lib")
    tree["bin/sh"] = (stat.S_IFLNK | 0o777, b"busybox")
    ours = {name: HERE / name for name in ("control", "drop")}
    programs = {"busybox": kernel.busybox, **ours, **programs}
    for name, path in programs.items():
        tree[f"bin/{name}"] = (stat.S_IFREG | 0o755, path.read_bytes())
    tree["init"] = (stat.S_IFREG | 0o755, (HERE / init).read_bytes())
    for name in LIBRARIES:
        library = pathlib.Path("/lib", TRIPLE, name)
        if not library.exists():
            raise ImageError(f"no {library}: run scripts/install board")
        tree[f"lib/{name}"] = (stat.S_IFREG | 0o755, library.read_bytes())
    order = ""
    for name, content, options in kernel.modules():
        tree[f"lib/modules/{name}"] = (stat.S_IFREG | 0o644, content)
        order += f"{name} {options}\n"
    tree["lib/modules/order"] = (stat.S_IFREG | 0o644, order.encode())
    for name, content in files.items():
        tree[name] = (stat.S_IFREG | 0o644, content)
    # Not compressed: the emulated processor would take longer over it than this one.
    to.write_bytes(cpio(tree))


def stage(to: pathlib.Path) -> None:
    """The test side's program on the board: shows a page to the camera, plays front panel."""
    tool(f"{TRIPLE}-gcc", "-O2", "-Wall", "-Werror", "-static", "-o", to, HERE / "stage.c")


def stripped(program: pathlib.Path, to: pathlib.Path) -> None:
    """Without symbols, as it is shipped."""
    tool(f"{TRIPLE}-strip", "-o", to, program)


def disk(to: pathlib.Path) -> None:
    """An empty data disk."""
    with to.open("wb") as file:
        file.truncate(DISK_BYTES)
    tool("mkfs.ext4", "-q", "-F", "-m", "0", to)


def root_disk(to: pathlib.Path, work: pathlib.Path) -> None:
    """A copy of the root file system that `install-root` made; it shares what it can with it."""
    made = work / "root/root.ext4"
    if not made.exists():
        raise ImageError(f"no {made}: run scripts/board/install-root")
    tool("cp", "--reflink=auto", "--sparse=always", made, to)


def device_tree(to: pathlib.Path, machine: list[str]) -> None:
    """The machine's device tree, with names for its GPIO lines.

    Its seeds would be the same at every start: they are taken out, the board has a generator.
    """
    index = machine.index("-M") + 1
    dump = [*machine[:index], f"{machine[index]},dumpdtb={to}", *machine[index + 1 :]]
    # The second UART is there where something is at its other end.
    tool(*dump, "-serial", "null", "-serial", "null")
    nodes = tool("fdtget", "-l", to, "/").decode().split()
    gpio = [node for node in nodes if node.startswith("pl061@")]
    if len(gpio) != 1:
        raise ImageError(f"the machine has {len(gpio)} PL061")
    tool("fdtput", "-t", "s", to, f"/{gpio[0]}", "gpio-line-names", *LINES)
    for seed in ("rng-seed", "kaslr-seed"):
        tool("fdtput", "-d", to, "/chosen", seed)
