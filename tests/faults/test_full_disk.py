"""A disk without room for the log: the agent serves, says so once, and logs again when there is room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import logs
from harness.agents import Agents
from harness.process import Process, until
from harness.small_disk import SmallDisk
from harness.upstreams import BLOCK, HttpUpstream, Upstreams
from harness.visitor import Visitor

SIZE = 64 << 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk", SIZE)
    yield disk
    disk.stop()


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


def lost(process: Process) -> list[str]:
    return [line for line in process.text("err").splitlines() if "cannot be written" in line]


def test_an_agent_serves_and_says_once_that_its_log_is_lost(
    disk: SmallDisk, agents: Agents, upstream: HttpUpstream
) -> None:
    log = disk.path / "agent.log"
    flags = ("--log", str(log), "--log-format", "logfmt", "--log-level", "debug")
    url = "http://full.localhost"
    process = agents.run("http", upstream.url, "--url", url, *flags, log=False, within=disk.within)
    assert agents.edge
    agents.edge.process.wait_for("endpoint bound")

    def serves() -> bool:
        with Visitor(agents.edge, url) as visitor:
            answer = visitor.get("/bytes/1000")
            return (answer.status, answer.body) == (200, BLOCK[:1000])

    disk.fill()
    until("it says so", lambda: serves() and lost(process))
    for _ in range(50):
        assert serves()
    (told,) = lost(process)
    assert str(log) in told
    assert "No space left on device" in told

    disk.empty()
    assert serves()
    until("it is told in the log", lambda: serves() and "log records were lost" in disk.read("agent.log"))
    process.stop()
    lines = disk.read("agent.log").splitlines()
    records = [logs.parse(line) for line in lines]
    torn = [line for line, record in zip(lines, records, strict=True) if record is None]
    assert len(torn) <= 1, "a record that was begun is the only one that is not whole"
    (counted,) = [record for record in records if record and record["msg"] == "log records were lost"]
    assert (counted["lvl"], int(counted["lost"]) > 0) == ("warn", True)
    assert len(lost(process)) == 1


def test_an_agent_whose_log_has_no_room_at_all_starts_and_serves(
    disk: SmallDisk, agents: Agents, upstream: HttpUpstream
) -> None:
    disk.fill()
    url = "http://none.localhost"
    flags = ("--log", str(disk.path / "agent.log"))
    process = agents.run("http", upstream.url, "--url", url, *flags, log=False, within=disk.within)
    assert agents.edge
    agents.edge.process.wait_for("endpoint bound")
    with Visitor(agents.edge, url) as visitor:
        assert visitor.get("/bytes/3").body == BLOCK[:3]
    until("it says so", lambda: lost(process))
    assert process.stop() == 0
