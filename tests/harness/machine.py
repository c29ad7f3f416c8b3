"""A machine of its own with a real systemd: the files of this one underneath, and nothing it does reaches them.

Its root is an overlay whose upper half is memory, and `systemd-nspawn` keeps the rest apart (/tmp, /run, /dev,
processes, control groups). Only the network is ours, so an edge of the test can be reached.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from harness import need
from harness.process import PATIENCE, Process, portway, until

# In a mount namespace of its own; arguments: an empty folder, the name of a control group, those of systemd-nspawn.
BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
for base in GROUPS; do
  if [ -e "$base/cgroup.procs" ]; then mkdir "$base/$2"; echo $$ >"$base/$2/cgroup.procs"; fi
done
root=$1/root; shift 2
exec systemd-nspawn --quiet --directory="$root" --register=no --keep-unit --link-journal=no --resolv-conf=off \
  --timezone=off --console=pipe "$@"
"""
# Where control groups are, in their old and new kinds.
GROUPS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")


class Machine:
    """Booted to the point where services can be started."""

    def __init__(self, home: Path, *shared: Path) -> None:
        if not _possible():
            need.lacking("a machine within the machine (root, overlayfs, systemd-nspawn of systemd-container)")
        folder = home / "machine"
        folder.mkdir()
        group = f"portway-test-{os.getpid()}-{home.name}"
        self._groups = [Path(base) / group for base in GROUPS]
        seen = [f"--bind-ro={path}" for path in (*shared, *_programs())]
        boot = ["unshare", "--mount", "sh", "-c", BOOT.replace("GROUPS", " ".join(GROUPS)), "sh", str(folder), group]
        flags = [*seen, "--boot", "--", "systemd.unit=basic.target"]
        self.process = Process("machine", [*_root(), *boot, *flags])
        self.leader = 0
        try:
            self.leader = until("systemd is the first process of the machine", self._leader)
            until("the machine is up", lambda: self.run("systemctl", "is-system-running").stdout.strip() == "running")
        except BaseException:
            self.stop()
            raise

    def _leader(self) -> int:
        assert self.process.running(), self.process.shown()
        for pid in _children(self.process.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one on the way to it, gone by now
                if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                    return pid
        return 0

    def path(self, name: str) -> Path:
        """A file of the machine, as seen from here."""
        return Path(f"/proc/{self.leader}/root") / name.lstrip("/")

    def write(self, name: str, text: str, mode: int = 0o600, owner: int = 0) -> str:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, owner, owner)
        return name

    def inside(self, *argv: str) -> list[str]:
        """The words that run a program in the machine."""
        enter = ["nsenter", f"--target={self.leader}", "--all", "--wd=/", "env", "-i", "PATH=/usr/sbin:/usr/bin:/bin"]
        return [*_root(), *enter, *argv]

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Runs a program in the machine."""
        return subprocess.run(
            self.inside(*argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * PATIENCE
        )

    def portway(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return self.run(*portway(), *argv)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    def journal(self, unit: str, *flags: str) -> str:
        return self.run("journalctl", "--no-pager", "--quiet", "--unit", unit, *flags).stdout

    def stop(self) -> None:
        """Ends all of it with its first process; whoever is left over could not be told from others later."""
        if self.leader:
            subprocess.run([*_root(), "kill", "-KILL", str(self.leader)], check=True)
            self.process.wait()
        else:
            self.process.stop()
        until("its control groups are empty", lambda: all(map(_removed, self._groups)))


def _removed(group: Path) -> bool:
    try:
        for below in sorted(group.rglob("*/"), reverse=True):
            below.rmdir()
        if group.exists():
            group.rmdir()
    except OSError:  # not empty yet
        return False
    return True


def _root() -> list[str]:
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _programs() -> list[Path]:
    """Where the command under test is, if the machine's own /tmp hides it."""
    words = [Path(word) for word in portway() if word.startswith("/")]
    return [path.parent.parent for path in words if path.is_relative_to("/tmp")]


@functools.cache
def _possible() -> bool:
    if not all(map(shutil.which, ("unshare", "nsenter", "systemd-nspawn"))):
        return False
    trial = shlex.join(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
    trial += " && mkdir /mnt/a /mnt/b /mnt/c && mount -t overlay o -o lowerdir=/,upperdir=/mnt/a,workdir=/mnt/b /mnt/c"
    done = subprocess.run([*_root(), "unshare", "--mount", "sh", "-c", trial], capture_output=True)
    return done.returncode == 0
