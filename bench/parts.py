"""The program of rust/mux/examples/bench.rs, kept running: what is timed is its work, not its start."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


class Mux:
    def __init__(self) -> None:
        program = Path(os.environ.get("MUX_BENCH") or ROOT / "target" / "release" / "examples" / "bench")
        if not program.exists():
            pytest.skip(f"there is no {program.name} of the multiplexer: `make bench` builds it")
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
