"""Our agent at an edge made of the Go multiplexer (wire-protocol §9, case 116): another's frames, windows and end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import need
from harness.agents import Agent, Agents
from harness.process import Process
from harness.sdk import read
from harness.tls import Authority
from harness.upstreams import Upstreams

AUTH, BIND, UNBIND = range(3)


class GoEdge:
    def __init__(self, authority: Authority) -> None:
        self.ca = authority.pem
        pair = authority.pair("127.0.0.1")
        program = str(need.tool("bin", "gomux"))
        self.process = Process("go edge", [program, str(pair.cert), str(pair.key)], stdin=subprocess.PIPE)
        self.address = self.event("listening")["address"]

    def event(self, name: str, since: int = 0, **fields: object) -> dict[str, Any]:
        def pick(line: str) -> dict[str, Any] | None:
            event = read(line)
            return event if event and event["event"] == name and fields.items() <= event.items() else None

        return self.process.wait_line(f"event {name!r} {fields}", pick, since)

    def order(self, **order: object) -> None:
        stdin = self.process.popen.stdin
        assert stdin
        stdin.write(json.dumps(order).encode() + b"\n")
        stdin.flush()

    def agent_env(self) -> dict[str, str]:
        return {
            "PORTWAY_CONNECT_URL": self.address,
            "PORTWAY_CONNECT_CAS": str(self.ca),
            "PORTWAY_AUTHTOKEN": "any",
        }


@pytest.fixture
def go_edge(authority: Authority) -> Iterator[GoEdge]:
    edge = GoEdge(authority)
    yield edge
    edge.process.stop()


@pytest.fixture
def serve(alone: Agents, go_edge: GoEdge) -> Callable[[str], Agent]:
    """Starts an agent of that edge."""

    def start(upstream: str) -> Agent:
        alone.started.append(go_edge.process)  # so that a failed test shows what it said
        return alone.agent("tcp", upstream, env=go_edge.agent_env())

    return start


def test_ten_megabytes_pass_both_ways(go_edge: GoEdge, serve: Callable[[str], Agent], upstreams: Upstreams) -> None:
    agent = serve(upstreams.echo().address)
    assert agent.up() == ["tcp://mux.example:1"]
    size = 10 << 20
    go_edge.order(do="visit", id="bind-1", bytes=size)
    visited = go_edge.event("visited")
    assert visited["bytes"] == size
    assert visited["got"] == visited["sent"]


def test_visitors_side_by_side_are_kept_apart(
    go_edge: GoEdge, serve: Callable[[str], Agent], upstreams: Upstreams
) -> None:
    serve(upstreams.echo().address).up()
    sizes = [0, 1, 262_144, 262_145, *range(1_000_000, 1_000_030)]
    for size in sizes:
        go_edge.order(do="visit", id="bind-1", bytes=size)
    for size in sizes:
        visited = go_edge.event("visited", bytes=size)
        assert visited["got"] == visited["sent"]


def test_its_heartbeats_are_answered(go_edge: GoEdge, serve: Callable[[str], Agent], upstreams: Upstreams) -> None:
    serve(upstreams.echo().address).up()
    for _ in range(2):
        since = go_edge.process.position
        assert go_edge.event("beat", since)["timeout"] is False


def test_a_visitor_for_an_unknown_bind_is_let_go_and_the_session_stays(
    go_edge: GoEdge, serve: Callable[[str], Agent], upstreams: Upstreams
) -> None:
    serve(upstreams.echo().address).up()
    go_edge.order(do="visit", id="somebody else's", bytes=0)
    assert go_edge.event("visited")["bytes"] == 0
    go_edge.order(do="visit", id="bind-1", bytes=1000)
    assert go_edge.event("visited", bytes=1000)


def test_after_a_goaway_the_agent_comes_back_with_what_it_had(
    go_edge: GoEdge, serve: Callable[[str], Agent], upstreams: Upstreams
) -> None:
    agent = serve(upstreams.echo().address)
    agent.up()
    assert go_edge.event("asked", type=AUTH)["client"] == ""
    assert go_edge.event("asked", type=BIND)["id"] == ""
    go_edge.event("answered", type=BIND)
    since = go_edge.process.position
    go_edge.order(do="leave")
    assert go_edge.event("asked", since, type=AUTH)["client"] == "client-1"
    assert go_edge.event("asked", since, type=BIND)["id"] == "bind-1"
    go_edge.event("answered", since, type=BIND)
    go_edge.order(do="visit", id="bind-1", bytes=100_000)
    visited = go_edge.event("visited", since)
    assert visited["got"] == visited["sent"]
    assert agent.process.running()


def test_an_agent_that_ends_says_goodbye(go_edge: GoEdge, serve: Callable[[str], Agent], upstreams: Upstreams) -> None:
    """Its GOAWAY reaches the other side before the connection ends."""
    agent = serve(upstreams.echo().address)
    agent.up()
    assert agent.process.stop() == 0
    ended = go_edge.event("ended")
    assert "no error" in ended["remote"].lower() or ended["debug"], ended
