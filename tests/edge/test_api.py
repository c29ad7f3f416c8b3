"""What an edge tells its operator: `/healthz` and `/metrics`."""

from __future__ import annotations

import re
import socket
from signal import SIGTERM

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import need
from harness.agents import Agents
from harness.edge import Edge, address
from harness.process import until
from harness.raw import RawVisitor
from harness.upstreams import HttpUpstream, Upstreams


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


def ask(edge: Edge, request: str) -> tuple[int, str, bytes]:
    with RawVisitor(edge.connect(edge.api)) as raw:
        raw.send(request.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = raw.response("HEAD" if request.startswith("HEAD") else "GET")
        return answer.status, answer.head.get("content-type") or "", answer.body


def test_a_serving_edge_is_healthy(edge: Edge) -> None:
    assert ask(edge, "GET /healthz") == (200, "text/plain", b"ok\n")
    assert ask(edge, "HEAD /healthz")[0] == 200
    assert ask(edge, "POST /healthz")[0] == 405
    assert ask(edge, "GET /")[0] == 404


def test_a_draining_edge_says_so_and_finishes_what_it_began(edge: Edge, agents: Agents, upstream: HttpUpstream) -> None:
    agent = agents.http(upstream.url)
    with agent.visitor() as visitor:
        visitor.connection.request("GET", "/slow", headers={"Host": visitor.host})
        upstream.wait_waiting(1)
        edge.process.signal(SIGTERM)
        until("it drains", lambda: ask(edge, "GET /healthz")[0] == 503)
        with pytest.raises(OSError, match="refused"):
            edge.connect()
        upstream.release_when_waiting()
        assert visitor.connection.getresponse().read() == b"at last"
    assert edge.process.wait() == 0


def test_metrics_are_what_prometheus_reads(edge: Edge, agents: Agents, upstream: HttpUpstream) -> None:
    agents.http(upstream.url).get("/")
    status, kind, body = ask(edge, "GET /metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    read = [sample for family in text_string_to_metric_families(body.decode()) for sample in family.samples]
    assert {sample.name: sample.value for sample in read}["portway_endpoints"] == 1
    assert len(read) == len({(sample.name, *sorted(sample.labels.items())) for sample in read}), "each of them once"
    kinds = dict(re.findall(r"^# TYPE (portway_[a-z_]+) (counter|gauge)$", body.decode(), re.MULTILINE))
    told = dict(re.findall(r"^# HELP (portway_[a-z_]+) (.+)$", body.decode(), re.MULTILINE))
    assert kinds.keys() == told.keys()
    assert {sample.name for sample in read} <= kinds.keys()
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in kinds.items())


def test_every_metric_is_in_the_reference(edge: Edge) -> None:
    reference = (need.ROOT / "docs" / "reference" / "edge.md").read_text()
    names = set(re.findall(r"^# TYPE (\w+)", ask(edge, "GET /metrics")[2].decode(), re.MULTILINE))
    assert names == set(re.findall(r"^\| `(portway_\w+)` \|", reference, re.MULTILINE))


def test_sessions_and_endpoints_are_counted(edge: Edge, agents: Agents, upstream: HttpUpstream) -> None:
    assert (edge.metric("portway_agent_sessions"), edge.metric("portway_endpoints")) == (0, 0)
    first, second = (agents.http(upstream.url) for _ in range(2))
    first.up()
    second.up()
    assert (edge.metric("portway_agent_sessions"), edge.metric("portway_endpoints")) == (2, 2)
    second.kill()
    until("one is gone", lambda: edge.metric("portway_agent_sessions") == 1 and edge.metric("portway_endpoints") == 1)
    assert edge.metric("portway_agent_sessions_total") == 2
    wrong = agents.http(upstream.url, env={"PORTWAY_AUTHTOKEN": "2" + "b" * 48})
    assert wrong.process.wait() == 1
    assert edge.metric("portway_logins_failed_total") == 1
    assert edge.metrics()['portway_errors_total{code="ERR_NGROK_107"}'] == 1


def test_responses_are_counted_by_status_and_errors_by_code(edge: Edge, agents: Agents, upstream: HttpUpstream) -> None:
    agent = agents.http(upstream.url, url="http://")
    for path, times in (("/", 3), ("/status/302", 1), ("/status/404", 2), ("/close", 1)):
        for _ in range(times):
            agent.get(path)
    with RawVisitor(edge.connect()) as raw:
        raw.send(b"GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n")
        assert raw.response().status == 404
    told = edge.metrics()
    counted = {name: told[f'portway_http_responses_total{{status="{name}"}}'] for name in ("2xx", "3xx", "4xx", "5xx")}
    assert counted == {"2xx": 3, "3xx": 1, "4xx": 3, "5xx": 1}
    assert told['portway_errors_total{code="ERR_NGROK_3200"}'] == 1
    assert told['portway_errors_total{code="ERR_NGROK_3004"}'] == 1


def test_connections_and_their_bytes_are_counted(edge: Edge, agents: Agents, upstreams: Upstreams) -> None:
    agent = agents.tcp(upstreams.echo().address)
    port = address(agent.url.removeprefix("tcp://"))[1]

    def tcp(name: str) -> float:
        return edge.metrics()[f'portway_{name}{{listener="tcp"}}']

    with socket.create_connection(("127.0.0.1", port), 20) as io:
        io.sendall(b"x" * 1000)
        heard = 0
        while heard < 1000:
            heard += len(io.recv(1 << 16))
        assert (tcp("connections"), tcp("connections_total")) == (1, 1)
    until("it is over", lambda: tcp("connections") == 0)
    told = edge.metrics()
    assert told['portway_tunnel_bytes_total{direction="in"}'] == 1000
    assert told['portway_tunnel_bytes_total{direction="out"}'] == 1000
