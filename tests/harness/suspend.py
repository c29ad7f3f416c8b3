"""A machine that sleeps and wakes up, as far as one program can tell (`suspend.c`)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness import need


class Machine:
    """`env` is for the program; no time passes while it sleeps, as for every program on a machine that does."""

    def __init__(self, home: Path) -> None:
        library = home / "suspend.so"
        source = Path(__file__).with_suffix(".c")
        compiler = need.program("cc", "build-essential")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        self._slept, self._wake = home / "slept", home / "wake"
        self._slept.write_text("0")
        os.mkfifo(self._wake)
        self._seconds = 0
        self.env = {"LD_PRELOAD": str(library), "SUSPEND_SLEPT": str(self._slept), "SUSPEND_WAKE": str(self._wake)}

    def sleep(self, seconds: int) -> None:
        """It slept so long, and wakes up."""
        self._seconds += seconds
        self._slept.write_text(str(self._seconds))
        self.jump()

    def jump(self) -> None:
        """Its wall clock is set, which is no sleep."""
        pipe = os.open(self._wake, os.O_WRONLY | os.O_NONBLOCK)
        os.write(pipe, bytes(8))
        os.close(pipe)
