"""A small machine: a control group whose processes together get so much memory and no more.

Of both kinds, the old one (v1) with a folder for each controller and the unified one (v2). The kernel counts whom it
had to kill there.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness import need
from harness.process import until

# Moves itself into the group, and becomes the program.
ENTER = 'echo $$ | {root}tee "$1" >/dev/null || exit 125; shift; exec "$@"'


class Group:
    """`within` before a command runs it in there, under its own pid."""

    def __init__(self, name: str, memory_mib: int) -> None:
        found = _controller()
        if found is None:
            need.lacking("a control group with a limit of memory (root, and the memory controller)")
        base, self._unified = found
        self.path = base / f"portway-test-{os.getpid()}-{name}"
        self._root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        self._run("mkdir", str(self.path))
        self._set("memory.max" if self._unified else "memory.limit_in_bytes", f"{memory_mib}M")
        # What is over may not hide in swap; where nothing counts that, there is none to hide in.
        swap = "memory.swap.max" if self._unified else "memory.memsw.limit_in_bytes"
        if (self.path / swap).exists():
            self._set(swap, "0" if self._unified else f"{memory_mib}M")

    @property
    def within(self) -> list[str]:
        enter = ENTER.format(root="".join(f"{word} " for word in self._root))
        return ["sh", "-c", enter, "sh", str(self.path / "cgroup.procs")]

    @property
    def kills(self) -> int:
        """How many the kernel has killed for want of memory."""
        file = "memory.events" if self._unified else "memory.oom_control"
        fields = dict(line.split() for line in (self.path / file).read_text().splitlines())
        return int(fields["oom_kill"])

    @property
    def used(self) -> int:
        """Bytes in use, what the kernel could drop at once (pages of files) left out."""
        total = int((self.path / ("memory.current" if self._unified else "memory.usage_in_bytes")).read_text())
        fields = dict(line.split() for line in (self.path / "memory.stat").read_text().splitlines())
        names = ("active_file", "inactive_file")
        return total - sum(int(fields.get(f"total_{name}", fields.get(name, "0"))) for name in names)

    def processes(self) -> list[int]:
        return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]

    def remove(self) -> None:
        until("the control group is empty", lambda: not self.processes())
        self._run("rmdir", str(self.path))

    def _set(self, file: str, value: str) -> None:
        self._run("tee", str(self.path / file), stdin=value)

    def _run(self, *argv: str, stdin: str = "") -> None:
        subprocess.run([*self._root, *argv], input=stdin, text=True, stdout=subprocess.DEVNULL, check=True)


def _controller() -> tuple[Path, bool] | None:
    """Where groups with a limit can be made, and whether it is the unified kind."""
    unified = Path("/sys/fs/cgroup")
    control = unified / "cgroup.subtree_control"
    if control.exists() and "memory" in control.read_text().split():
        found = (unified, True)
    elif Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists():
        found = (Path("/sys/fs/cgroup/memory"), False)
    else:
        return None
    trial = found[0] / f"portway-trial-{os.getpid()}"
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if subprocess.run([*root, "mkdir", str(trial)], capture_output=True).returncode:
        return None
    subprocess.run([*root, "rmdir", str(trial)], check=True)
    return found
