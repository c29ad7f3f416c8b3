"""The end of an edge: what runs may finish, nothing new begins, agents are told and go elsewhere."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Callable
from signal import SIGINT, SIGTERM, Signals

import pytest

from conftest import NewEdge
from harness.agents import Agents
from harness.edge import Edge
from harness.process import until
from harness.relay import Relay
from harness.upstreams import HttpUpstream, Upstreams, pattern_digest
from harness.visitor import Visitor, digest

MIB = 1 << 20


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


@pytest.mark.parametrize("signal", [SIGTERM, SIGINT], ids=lambda signal: signal.name)
def test_without_visitors_it_ends_at_once(signal: Signals, edge: Edge, agents: Agents, upstream: HttpUpstream) -> None:
    agent = agents.http(upstream.url)
    agent.up()
    edge.process.signal(signal)
    assert edge.process.wait() == 0
    told = [record["msg"] for record in edge.process.records()]
    assert told.index("stopping") < told.index("agent disconnected") < told.index("stopped")
    lost = agent.process.wait_for("session closed, starting reconnect loop")
    assert "the edge is stopping" in lost["err"], "the agent was told by GOAWAY"


def test_an_idle_visitor_does_not_hold_it_up(edge: Edge, agents: Agents, upstream: HttpUpstream) -> None:
    agent = agents.http(upstream.url, url="http://")
    with Visitor(edge, agent.url) as visitor:
        assert visitor.get("/").status == 200
        edge.process.signal(SIGTERM)
        assert edge.process.wait(8) == 0


def test_a_running_download_finishes_and_nobody_else_begins(edge: Edge, agents: Agents, upstream: HttpUpstream) -> None:
    agent = agents.http(upstream.url, url="http://")
    url = agent.url
    with Visitor(edge, url) as downloading, Visitor(edge, url) as waiting, Visitor(edge, url) as kept:
        assert kept.get("/").status == 200
        waiting.connection.request("GET", "/slow", headers={"Host": waiting.host})
        upstream.wait_requests(2)
        answer = downloading.open("GET", f"/bytes/{64 * MIB}")
        edge.process.signal(SIGTERM)
        until("it drains", lambda: edge.ask("/healthz")[0] == 503)
        # New visitors: the listener is gone, or says that it is draining.
        try:
            with Visitor(edge, url) as late:
                told = late.get("/")
                assert told.status == 503
                assert told.code == "ERR_NGROK_742"
        except (OSError, http.client.HTTPException):
            pass
        # On a kept connection nothing new begins either.
        with pytest.raises((OSError, http.client.HTTPException)):
            kept.get("/")
        assert edge.process.running()
        assert digest(answer) == (64 * MIB, pattern_digest(64 * MIB))
        upstream.release_when_waiting()
        assert waiting.connection.getresponse().read() == b"at last"
    assert edge.process.wait() == 0
    assert agent.process.running()


def test_a_tcp_connection_may_go_on_while_it_drains(edge: Edge, agents: Agents, upstreams: Upstreams) -> None:
    echo = upstreams.echo()
    port = int(agents.tcp(echo.address).url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), 20) as io:
        io.sendall(b"before")
        assert io.recv(6) == b"before"
        edge.process.signal(SIGTERM)
        edge.process.wait_for("stopping")
        until("the port is closed", lambda: refused(port))
        io.sendall(b"after")
        assert io.recv(5) == b"after"
    assert edge.process.wait() == 0


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return True
    return False


def test_the_second_signal_ends_it_at_once(edge: Edge, agents: Agents, upstream: HttpUpstream) -> None:
    agent = agents.http(upstream.url, url="http://")
    with Visitor(edge, agent.url) as visitor:
        visitor.connection.request("GET", "/slow", headers={"Host": visitor.host})
        upstream.wait_requests(1)
        edge.process.signal(SIGTERM)
        edge.process.wait_for("stopping")
        assert edge.process.running()
        edge.process.signal(SIGTERM)
        assert edge.process.wait(8) == 0
        with contextlib.suppress(OSError, http.client.HTTPException):
            assert visitor.connection.getresponse().status in (502, 503)
    upstream.wait_open(0)


def test_what_takes_too_long_is_ended_after_the_time_for_draining(
    new_edge: NewEdge, agents_of: Callable[[Edge], Agents], upstream: HttpUpstream, tmp_path: object
) -> None:
    config = f"{tmp_path}/edge.yml"
    with open(config, "w") as file:  # noqa: PTH123
        file.write("limits: {drain: 1s}\n")
    edge = new_edge("--config", config)
    agent = agents_of(edge).http(upstream.url, url="http://")
    with Visitor(edge, agent.url) as visitor:
        visitor.connection.request("GET", "/slow", headers={"Host": visitor.host})
        upstream.wait_requests(1)
        edge.process.signal(SIGTERM)
        assert edge.process.wait_for("stopping")["drain"] == "1s"
        assert edge.process.wait() == 0


def test_agents_go_to_another_edge_meanwhile(
    new_edge: NewEdge, agents_of: Callable[[Edge], Agents], upstreams: Upstreams, upstream: HttpUpstream
) -> None:
    ports = ("--public-http-port", "80")
    first, second = new_edge(*ports), new_edge(*ports)
    road = Relay(upstreams.loop, first.agent)
    try:
        # Both are the same to the agent: same name, same token, a CA it trusts.
        both = first.home / "both.pem"
        both.write_text(first.ca.read_text() + second.ca.read_text())
        second.flags = (*ports, "--authtoken", first.token)
        second.restart()
        env = {"PORTWAY_CONNECT_URL": road.address, "PORTWAY_CONNECT_CAS": str(both)}
        agent = agents_of(first).http(upstream.url, url="http://shop.localhost", env=env)
        agent.up()
        road.to = second.agent
        first.process.signal(SIGTERM)
        second.process.wait_for("endpoint bound")
        with Visitor(second, "http://shop.localhost") as visitor:
            until("it serves", lambda: visitor.get("/").status == 200)
        assert first.process.wait() == 0
    finally:
        road.stop()


def test_1000_signals_do_no_harm(edge: Edge) -> None:
    """Whoever holds down Ctrl-C sends them by the hundred."""
    edge.process.signal(SIGTERM)
    for _ in range(1000):
        if edge.process.running():
            edge.process.signal(SIGINT)
    assert edge.process.wait() == 0
