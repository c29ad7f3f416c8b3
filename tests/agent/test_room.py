"""An agent takes on no more than its machine has memory for, and says what it chose."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import need
from harness.agents import Agent, Agents
from harness.upstreams import Upstreams

GROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Path]:
    """A control group with 64 MB of memory."""
    root = GROUPS[0] if GROUPS[0].is_dir() else GROUPS[1]
    group = root / f"portway-{os.getpid()}"
    limit = group / ("memory.limit_in_bytes" if root == GROUPS[0] else "memory.max")
    try:
        group.mkdir()
        limit.write_text(str(64 << 20))
    except OSError as error:
        need.lacking(f"a control group of its own ({error})")
    yield group
    group.rmdir()


def test_an_agent_in_a_small_group_fits_its_windows_to_it(group: Path, alone: Agents, upstreams: Upstreams) -> None:
    upstream = upstreams.http()
    within = ("sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh")
    agent = Agent(alone.run("http", str(upstream.port), within=within), None)
    told = agent.process.wait_for("limits fitted to memory")
    assert (told["memory_mb"], told["window_kb"], told["streams"]) == ("64", "8192", "512")
    assert agent.get("/").status == 200


def test_an_agent_with_room_takes_what_is_usual(alone: Agents, upstreams: Upstreams) -> None:
    agent = alone.http(str(upstreams.http().port))
    assert agent.process.wait_for("limits as usual")["window_kb"] == "32768"
