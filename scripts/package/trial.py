#!/usr/bin/env python3
"""Tries a Debian package in a root of its own, from installation to purging; for package-test.

    unshare --mount --pid --fork scripts/package/trial.py --package DEB --root TAR --work FOLDER

Needs root and a mount and process namespace of its own. The checks follow one another: each finds
the root as the one before left it. Told as TAP; exit status 1 if a check fails.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CONFIG = "etc/leadscan/leadscan.toml"
STATE = "var/lib/leadscan"
EDIT = '# the site\'s own\nsocket = "/run/leadscan/mine"\n'
# Under emulation a page takes minutes.
PAGE_S_MAX = 1200
# What installing anything leaves behind, and the user that stays.
ALWAYS_LEFT = ("proc/", "run/", "tmp/", "var/cache/", "var/lib/apt/", "var/lib/dpkg/", "var/log/")
USERS = {"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"}
USERS |= {f"{name}-" for name in USERS} | {"etc/.pwd.lock"}


class Wrong(Exception):
    """What is not as it must be."""


@dataclass
class Trial:
    """A package and the root that it is tried in."""

    package: Path
    root: Path
    work: Path
    files_before: set[str]

    def run(self, *command: str, fails: bool = False) -> str:
        """Runs a command in the root; what it says, on both outputs."""
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            ["chroot", str(self.root), *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if (done.returncode != 0) != fails:
            raise Wrong(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}")
        return done.stdout

    def install(self, package: Path) -> str:
        """Installs a file as a person does."""
        shutil.copy(package, self.root / "tmp" / "leadscan.deb")
        # Nobody is there to be asked about a configuration that was edited: it stays.
        options = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
        command = ("apt-get", "install", "-y", "--no-install-recommends", *options)
        return self.run(*command, "/tmp/leadscan.deb")

    def field(self, name: str) -> str:
        """A field of the package's control file."""
        command = ["dpkg-deb", "--field", str(self.package), name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def files(self) -> set[str]:
        """Everything in the root that a package could have left."""
        found = set()
        for folder, folders, names in os.walk(self.root):
            for name in [*folders, *names]:
                path = str(Path(folder, name).relative_to(self.root))
                if not path.startswith(ALWAYS_LEFT):
                    found.add(path)
        return found

    def must_be(self, path: str, there: bool) -> None:
        """A file that must be there, or must not."""
        if os.path.lexists(self.root / path) != there:
            raise Wrong(f"/{path} is {'not there' if there else 'still there'}")

    def mode(self, path: str, needed: str) -> None:
        """Mode and owners of a file, as `stat` writes them."""
        found = self.run("stat", "--format", "%a %U %G", f"/{path}").strip()
        if found != needed:
            raise Wrong(f"/{path} is {found}, not {needed}")


def lint(trial: Trial) -> None:
    """lintian finds nothing that is not explained"""
    command = ["lintian", "--display-info", "--allow-root", str(trial.package)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode != 0 or said.stdout.strip():
        raise Wrong(said.stdout + said.stderr)


def installs(trial: Trial) -> None:
    """installs"""
    trial.install(trial.package)


def version(trial: Trial) -> None:
    """says the package's version"""
    said, packaged = trial.run("leadscan", "--version").split(), trial.field("Version")
    if said != ["leadscan", packaged]:
        raise Wrong(f"{said}, and the package is {packaged}")


def configured(trial: Trial) -> None:
    """the shipped configuration is in order"""
    trial.run("leadscan", "config", "check")


def user(trial: Trial) -> None:
    """the service has its user, its groups and its folders"""
    groups = trial.run("id", "--name", "--groups", "leadscan").split()
    if sorted(groups) != ["dialout", "gpio", "leadscan", "scanner", "video"]:
        raise Wrong(f"leadscan is in {groups}")
    # As systemd does when it starts.
    trial.run("systemd-tmpfiles", "--create", "leadscan.conf")
    trial.mode(STATE, "750 leadscan leadscan")
    trial.mode(f"{STATE}/in", "2770 leadscan leadscan")
    trial.mode(f"{STATE}/records", "2750 leadscan leadscan")


def unit(trial: Trial) -> None:
    """the unit is enabled, understood and hardened"""
    if (said := trial.run("systemctl", "is-enabled", "leadscan").strip()) != "enabled":
        raise Wrong(said)
    path = "/lib/systemd/system/leadscan.service"
    trial.run("systemd-analyze", "verify", "--man=no", path)
    trial.run("systemd-analyze", "security", "--offline=true", "--threshold=20", path)


def documented(trial: Trial) -> None:
    """manual pages, completions, licences, bill and models are there"""
    for path in (
        "usr/share/man/man1/leadscan.1.gz",
        "usr/share/man/man1/leadscan-serve.1.gz",
        "usr/share/bash-completion/completions/leadscan",
        "usr/share/zsh/vendor-completions/_leadscan",
        "usr/share/fish/vendor_completions.d/leadscan.fish",
        "usr/share/doc/leadscan/copyright",
        "usr/share/doc/leadscan/leadscan.cdx.json",
        "usr/share/doc/leadscan/examples/receiver.py",
    ):
        trial.must_be(path, there=True)
    for model in Path("models").glob("*.onnx"):
        if (
            trial.root / "usr/share/leadscan/models" / model.name
        ).read_bytes() != model.read_bytes():
            raise Wrong(f"{model.name} is another model")


def selftest(trial: Trial) -> None:
    """leadscan selftest is content"""
    trial.run("leadscan", "selftest")


def serves(trial: Trial) -> None:
    """a page put into the watched folder becomes a record, as the service's user"""
    page = trial.root / STATE / "in" / "page.jpg"
    shutil.copy("tests/pages/sample/page.jpg", page)
    page.chmod(0o644)
    trial.run("install", "-d", "-o", "leadscan", "-g", "leadscan", "/run/leadscan")
    log = trial.work / "serve.log"
    command = ["chroot", str(trial.root), "setpriv", "--reuid=leadscan", "--regid=leadscan"]
    command += ["--init-groups", "--", "leadscan", "serve"]
    with log.open("w") as out:
        serving = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    records = trial.root / STATE / "records"
    until = time.monotonic() + PAGE_S_MAX
    while not list(records.glob("*.lsr")) and time.monotonic() < until and serving.poll() is None:
        time.sleep(0.2)
    serving.terminate()
    status = serving.wait(120)
    endings = sorted(path.suffix for path in records.iterdir())
    if endings != [".csv", ".json", ".lsr"] or status != 0:
        raise Wrong(f"records {endings}, exit status {status}\n{log.read_text()}")


def edited(trial: Trial) -> None:
    """the edited configuration is in order"""
    path = trial.root / CONFIG
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("socket")))
    path.write_text(path.read_text().replace("[spool]", f"{EDIT}\n[spool]"))
    trial.run("leadscan", "config", "check")
    jobs = trial.root / STATE / "spool" / "jobs"
    (jobs / "waiting").write_text("a page that nobody has yet")


def newer(trial: Trial) -> Path:
    """The same package with a higher version and another configuration in it."""
    folder, package = trial.work / "newer", trial.work / "newer.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", trial.package, folder], check=True)
    control = folder / "DEBIAN" / "control"
    control.write_text(control.read_text().replace("Version: ", "Version: 99:"))
    with (folder / CONFIG).open("a") as config:
        config.write("# a newer configuration\n")
    build = ["dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", folder, package]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    return package


def keeps(trial: Trial) -> None:
    """Configuration and what waits are as they were."""
    if EDIT not in (trial.root / CONFIG).read_text():
        raise Wrong("the edited configuration is gone")
    trial.must_be(f"{STATE}/spool/jobs/waiting", there=True)


def upgrades(trial: Trial) -> None:
    """an upgrade keeps the edited configuration and what waits"""
    trial.install(newer(trial))
    found = trial.run("dpkg-query", "-W", "-f", "${Version}", "leadscan")
    if found != f"99:{trial.field('Version')}":
        raise Wrong(f"version {found}")
    keeps(trial)
    trial.run("leadscan", "config", "check")


def removes(trial: Trial) -> None:
    """removing keeps configuration, records and what waits, and says so"""
    said = trial.run("apt-get", "remove", "-y", "leadscan")
    if "not delivered yet" not in said:
        raise Wrong(f"nothing is said of what waits:\n{said}")
    trial.must_be("usr/bin/leadscan", there=False)
    trial.must_be("lib/systemd/system/leadscan.service", there=False)
    if not list((trial.root / STATE / "records").glob("*.lsr")):
        raise Wrong("the record is gone")
    keeps(trial)


def comes_back(trial: Trial) -> None:
    """installed again it finds them"""
    trial.install(trial.package)
    keeps(trial)
    trial.run("leadscan", "config", "check")
    unit(trial)


def purges(trial: Trial) -> None:
    """purging leaves nothing but the locked user"""
    trial.run("apt-get", "purge", "-y", "leadscan")
    left = trial.files() - trial.files_before - USERS
    if left:
        raise Wrong("left: " + ", ".join(sorted(left)))
    locked = trial.run("getent", "shadow", "leadscan").split(":")[1]
    if not locked.startswith(("!", "*")):
        raise Wrong("the user is not locked")


def fresh(trial: Trial) -> None:
    """installed after that it is as new"""
    trial.install(trial.package)
    if EDIT in (trial.root / CONFIG).read_text():
        raise Wrong("the configuration is the old one")
    configured(trial)
    user(trial)
    trial.run("apt-get", "purge", "-y", "leadscan")


CHECKS: list[Callable[[Trial], None]] = [
    lint,
    installs,
    version,
    configured,
    user,
    unit,
    documented,
    selftest,
    serves,
    edited,
    upgrades,
    removes,
    comes_back,
    purges,
    fresh,
]


def unpack(archive: Path, root: Path) -> None:
    """Unpacks a root, with what programs expect to be there."""
    root.mkdir()
    subprocess.run(["tar", "--extract", "--file", archive, "--directory", root], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)


def main() -> None:
    """Runs the checks and tells of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("--package", "--root", "--work"):
        parser.add_argument(option, type=Path, required=True)
    arguments = parser.parse_args()
    root = arguments.work / "root"
    unpack(arguments.root, root)
    trial = Trial(arguments.package, root, arguments.work, set())
    trial.files_before = trial.files()
    architecture = trial.field("Architecture")
    print(f"1..{len(CHECKS)}")
    failed = 0
    for number, check in enumerate(CHECKS, 1):
        begin = time.monotonic()
        try:
            check(trial)
            verdict = "ok"
        except (Wrong, OSError, subprocess.SubprocessError) as error:
            verdict = "not ok"
            failed += 1
            print("\n".join(f"# {line}" for line in str(error).splitlines()))
        seconds = time.monotonic() - begin
        print(f"{verdict} {number} - {architecture}: {check.__doc__} # {seconds:.0f} s", flush=True)
    print(f"# {len(CHECKS) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
