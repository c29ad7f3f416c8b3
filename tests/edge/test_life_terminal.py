"""An edge and the terminal it was started in: SIGHUP is a reload, unless it says that the terminal is gone."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import logs
from harness.edge import Edge, isolated
from harness.process import until
from harness.terminal import Terminal

Terminals = Callable[..., Terminal]

# Starts a program in the background, as an interactive shell does.
BEHIND = ["bash", "-mc", '"$@" & wait', "bash"]
# Starts it in front and deaf to the end of the terminal. What it would write into a file is not wanted.
NOHUP = ["bash", "-c", 'exec nohup "$@" >/dev/null 2>&1', "bash"]
# Starts it in front and stays there.
IN_FRONT = ["bash", "-mc", '"$@"; exit', "bash"]


@dataclass
class Seated:
    """An edge in a terminal; what it tells goes to a file."""

    edge: Edge
    terminal: Terminal
    log: Path
    pid: int

    def told(self, msg: str) -> int:
        """How often it said that."""
        records = map(logs.parse, self.log.read_text().splitlines())
        return sum(1 for record in records if record and record["msg"] == msg)

    def wait(self, msg: str, times: int = 1) -> None:
        until(f"{msg!r}, {times} times", lambda: self.log.exists() and self.told(msg) >= times)

    def gone(self) -> bool:
        """It ended; whoever started it need not have asked for that yet."""
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_bytes() == b""
        except FileNotFoundError:
            return True

    def hang_up(self) -> None:
        os.kill(self.pid, signal.SIGHUP)


@pytest.fixture
def seated(terminals: Terminals, tmp_path: Path) -> Iterator[Callable[[Sequence[str]], Seated]]:
    made: list[Seated] = []

    def start(before: Sequence[str] = ()) -> Seated:
        edge = Edge(tmp_path, secrets.token_urlsafe(18))
        log = tmp_path / "edge.log"
        argv = [str(log) if part == "stdout" else part for part in edge.argv()]
        terminal = terminals(*before, *argv, env=isolated(tmp_path))
        one = Seated(edge, terminal, log, terminal.popen.pid)
        made.append(one)
        one.wait("edge ready")
        one.pid = edge_below(terminal.popen.pid)
        return one

    yield start
    for one in made:
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)


def edge_below(pid: int) -> int:
    """The process that became the edge: this one, or what it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return edge_below(int(children[0])) if children else pid


@pytest.mark.parametrize("before", [[], IN_FRONT], ids=["alone", "below a shell"])
def test_an_edge_in_front_ends_with_its_terminal(
    before: Sequence[str], seated: Callable[[Sequence[str]], Seated]
) -> None:
    edge = seated(before)
    edge.terminal.hang_up()
    edge.wait("stopped")
    until("it is gone", edge.gone)
    assert edge.told("configuration reloaded") == 0


def test_at_a_terminal_that_is_there_it_is_a_reload(seated: Callable[[Sequence[str]], Seated]) -> None:
    edge = seated([])
    edge.hang_up()
    edge.wait("configuration reloaded")
    edge.hang_up()
    edge.wait("configuration reloaded", 2)
    assert edge.told("stopping") == 0


@pytest.mark.parametrize("before", [NOHUP, BEHIND], ids=["nohup", "in the background"])
def test_who_was_told_to_stay_outlives_its_terminal_and_is_reloaded_afterwards(
    before: Sequence[str], seated: Callable[[Sequence[str]], Seated]
) -> None:
    edge = seated(before)
    edge.terminal.hang_up()
    until("the terminal is gone", lambda: terminal_of(edge.pid) == 0)
    already = edge.told("configuration reloaded")
    edge.hang_up()
    edge.wait("configuration reloaded", already + 1)
    assert edge.told("stopping") == 0


def terminal_of(pid: int) -> int:
    """The number of the controlling terminal of a process; 0 for none."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4])
