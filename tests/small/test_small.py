"""Small machines (agent-behaviour §13): 64 MB, nothing that can be written, nothing to spare while nobody comes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from harness import namespace
from harness.agents import Agent, Agents
from harness.cgroup import Group
from harness.edge import Edge
from harness.local import local
from harness.process import Process, until
from harness.upstreams import HttpUpstream, Upstreams, pattern_digest
from harness.visitor import Visitor

MACHINE_MIB = 64
VISITORS = 100
SENT, TAKEN = 128 << 10, 256 << 10


# Asked for first, so that it goes when its processes have gone.
@pytest.fixture
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    group = Group(re.sub(r"\W", "-", request.node.name)[:40], MACHINE_MIB)
    yield group
    group.remove()


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


def held_mib(process: Process) -> float:
    """What only this process has in memory. Pages of files (its code, which is larger in a build for tests) are left
    out: the system drops them where it needs room."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def small(agents: Agents, group: Group, upstream: HttpUpstream, *settings: str) -> Agent:
    """An agent on the small machine; inspection is on unless a setting says otherwise."""
    config = agents.home / "small.yml"
    lines = "".join(f"  {line}\n" for line in ("console_ui: false", *settings))
    config.write_text(
        f"version: 3\nagent:\n{lines}endpoints:\n"
        f"  - {{name: small, url: 'http://small.localhost', upstream: {{url: '{upstream.url}'}}}}\n"
    )
    agent = Agent(agents.run("start", "--all", "--config", str(config), within=group.within), agents.edge)
    agent.up()
    assert agent.process.pid in group.processes()
    return agent


def visit(edge: Edge, url: str, number: int) -> tuple[int, str, int, str]:
    """A body down, and one up over the same connection that is answered once all are there."""
    body = bytes([number]) * SENT
    with Visitor(edge, url) as visitor:
        first = visitor.get(f"/bytes/{TAKEN}?{number}")
        second = visitor.ask("POST", f"/slow?{number}", body=body)
        return first.status, sha256(first.body).hexdigest(), second.status, second.text


def test_b22_a_machine_of_64_mb_serves_100_visitors_at_once_with_inspection_on(
    group: Group, edge: Edge, agents: Agents, upstream: HttpUpstream
) -> None:
    agent = small(agents, group, upstream)
    with ThreadPoolExecutor(VISITORS) as pool:
        for turn in range(1, 4):
            visits = [pool.submit(visit, edge, agent.url, number) for number in range(VISITORS)]
            upstream.wait_waiting(VISITORS)
            upstream.release()
            answers = {visit.result() for visit in visits}
            assert answers == {(200, pattern_digest(TAKEN), 200, "at last")}
            upstream.wait_requests(turn * 2 * VISITORS)
    uploads = [seen for seen in upstream.seen if seen.method == "POST"]
    expected = {sha256(bytes([number]) * SENT).hexdigest() for number in range(VISITORS)}
    assert {seen.body_sha256 for seen in uploads} == expected
    assert group.kills == 0
    assert agent.process.running()
    assert agent.get("/after").status == 200


def test_b22_a_machine_of_64_mb_carries_more_than_it_could_hold(
    group: Group, edge: Edge, agents: Agents, upstream: HttpUpstream
) -> None:
    """As many downloads as visitors, each to somebody who takes nothing for a while: together twice the machine."""
    agent = small(agents, group, upstream)
    length = 2 * MACHINE_MIB * (1 << 20) // VISITORS
    visitors = [Visitor(edge, agent.url) for _ in range(VISITORS)]
    try:
        answers = [visitor.open("GET", f"/bytes/{length}") for visitor in visitors]
        assert group.kills == 0
        for answer in answers:
            assert sha256(answer.read()).hexdigest() == pattern_digest(length)
    finally:
        for visitor in visitors:
            visitor.connection.close()
    assert group.kills == 0
    assert agent.get("/after").status == 200


@pytest.mark.parametrize(
    ("settings", "most_mib"),
    [(("web_addr: false", "inspect_db_size: -1"), 14), (("inspect_db_size: 1000000",), 20)],
    ids=["plain", "inspection"],
)
def test_b22_an_agent_that_has_nothing_to_do_holds_little(
    group: Group, edge: Edge, agents: Agents, upstream: HttpUpstream, settings: tuple[str, ...], most_mib: int
) -> None:
    agent = small(agents, group, upstream, *settings)
    for _ in range(100):
        assert agent.get("/bytes/1024").status == 200
    until(f"it holds no more than {most_mib} MiB", lambda: held_mib(agent.process) <= most_mib)


# === a file system that cannot be written


@pytest.fixture
def sealed(tmp_path: Path) -> list[str]:
    """Words that run a command where nothing can be written."""
    words = namespace.read_only()
    probe = Process("probe", [*words, "sh", "-c", f"echo x >{tmp_path}/probe"])
    assert probe.wait() != 0, "it could be written"
    return words


def test_a_read_only_file_system_is_enough_for_an_agent(
    edge: Edge, agents: Agents, upstream: HttpUpstream, sealed: list[str]
) -> None:
    agent = Agent(agents.run("http", upstream.url, "--url", "http://sealed.localhost", within=sealed), edge)
    assert agent.get("/served").status == 200
    edge.restart()
    until("it is back", lambda: agent.get("/again").status == 200)
    told = [record for record in agent.process.records() if "ead-only" in str(record)]
    assert [record for record in told if record["lvl"] != "debug"] == []


def test_a_read_only_file_system_is_enough_for_the_edge_inside(
    alone: Agents, upstream: HttpUpstream, sealed: list[str]
) -> None:
    agent = Agent(alone.run("http", upstream.url, within=sealed), None)
    assert agent.get("/served").status == 200


def test_a_log_that_cannot_be_written_is_told_at_the_start(
    agents: Agents, upstream: HttpUpstream, sealed: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "agent.log"
    process = agents.run("http", upstream.url, "--log", str(path), log=False, within=sealed)
    assert process.wait() == 1
    assert str(path) in process.text("err")
    assert "ead-only file system" in process.text("err")


# === no memory left

CAPTURED = "/api/requests/http"
# Takes a MiB of memory for each line that it is sent.
HOG = "import sys\nheld = []\nfor _ in sys.stdin:\n    held.append(b'x' * (1 << 20))\n    print('held', flush=True)\n"


def test_an_agent_without_memory_turns_visitors_away_and_serves_again_when_there_is_some(
    group: Group, edge: Edge, agents: Agents, upstream: HttpUpstream
) -> None:
    agent = small(agents, group, upstream)
    assert agent.get("/before").status == 200
    api = local(agent)
    until("it was captured", lambda: api.get(CAPTURED)["requests"])
    hog = Process("hog", [*group.within, sys.executable, "-c", HOG], stdin=subprocess.PIPE)
    try:
        assert hog.popen.stdin
        while group.used < (MACHINE_MIB - 3) << 20:
            since = hog.position
            hog.popen.stdin.write(b"more\n")
            hog.popen.stdin.flush()
            hog.wait_line("held", lambda line: True if line == "held" else None, since)
        until("a visitor is turned away", lambda: agent.get("/during").status >= 500)
        agent.process.wait_for("connection refused", err="memory runs out")
        # What is only kept to be looked at goes first.
        until("nothing is kept", lambda: agent.get("/during").status >= 500 and not api.get(CAPTURED)["requests"])
    finally:
        hog.kill()
    until("a visitor is served", lambda: agent.get("/after").status == 200)
    assert group.kills == 0
