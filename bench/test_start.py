"""How long a command takes before it is of use, beside a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.timing import rounds
from harness.edge import isolated
from harness.process import Process, portway

ROUNDS = 15


def python(*_: str) -> None:
    subprocess.run([sys.executable, "-c", "pass"], check=True)


def version(*_: str) -> None:
    subprocess.run([*portway(), "version"], check=True, stdout=subprocess.DEVNULL)


def completion(home: str) -> None:
    """The most that a TAB costs: names out of the configuration file."""
    file = Path(home) / "portway.yml"
    file.write_text(
        "version: 3\nendpoints:\n" + "".join(f"  - {{name: e{n}, upstream: {{url: 80}}}}\n" for n in range(50))
    )
    argv = [*portway(), "__complete", "--", "start", "--config", str(file), "e"]
    told = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert len(told.stdout.splitlines()) == 50


def http(home: str) -> None:
    """From the command to the printed URL. Its end is not waited for in good order: it is not what is timed."""
    process = Process("agent", [*portway(), "http", "9"], env=isolated(Path(home)))
    try:
        process.wait_line("a URL", lambda line: True if line.startswith("Forwarding") else None)
    finally:
        process.kill()


@pytest.mark.benchmark(group="start")
@pytest.mark.parametrize("what", [python, version, completion, http], ids=lambda what: what.__name__)
def test_start_of(benchmark: BenchmarkFixture, tmp_path: Path, what: Callable[[str], None]) -> None:
    rounds(benchmark, ROUNDS, what, str(tmp_path), warmup=1)
