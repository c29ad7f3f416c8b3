"""Programs of rust/*/examples that do parts of the work, kept running: what is timed is that work, not their start."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


class Parts:
    def __init__(self, name: str) -> None:
        program = ROOT / "target" / "release" / "examples" / name
        if not program.exists():
            pytest.skip(f"there is no {program.relative_to(ROOT)}: `make bench` builds it")
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *command: str | int) -> int:
        """Runs one command; its answer is a number."""
        assert self._process.stdin
        assert self._process.stdout
        print(*command, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the program ended with {self._process.wait(10)}"
        return int(answer)

    def stop(self) -> None:
        self._process.communicate(timeout=10)
