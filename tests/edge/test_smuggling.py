"""What could be understood in two ways never reaches an upstream as two requests."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from edge.smuggling import H2, H2_CASES, HIDDEN, HOST, RAW, Raw, readings
from harness.agents import Agent
from harness.edge import Edge
from harness.http2 import Http2Visitor
from harness.raw import EndedError, RawVisitor
from harness.site import WAYS, Site
from harness.upstreams import HttpUpstream


@dataclass(frozen=True)
class Target:
    """Endpoints of both schemes in front of an upstream that keeps every byte."""

    edge: Edge
    upstream: HttpUpstream
    agents: dict[str, Agent]

    def forget(self) -> None:
        self.upstream.wait_open(0)
        self.upstream.raw.clear()

    def requests(self) -> list[str]:
        """Targets of the requests that came, in the view of all; the visitor must have left."""
        self.upstream.wait_open(0)
        targets: list[str] = []
        for connection in self.upstream.raw:
            views = readings(bytes(connection))
            assert len(views) == 1, f"servers read {bytes(connection)!r} as {views}"
            targets += views.pop()
        return targets


@pytest.fixture(scope="module", params=list(WAYS.values()), ids=list(WAYS))
def target(site: Site, request: pytest.FixtureRequest) -> Iterator[Target]:
    upstream = site.upstreams.http()
    agents = {
        scheme: site.agents.http(upstream.url, *request.param, url=f"{scheme}://{HOST}") for scheme in ("http", "https")
    }
    for agent in agents.values():
        agent.up()
    yield Target(site.edge, upstream, agents)
    for agent in agents.values():
        agent.process.stop()


@pytest.fixture(autouse=True)
def clean(target: Target) -> None:
    target.forget()


def test_the_corpus_is_worth_its_name() -> None:
    assert len(RAW) + len(H2_CASES) >= 60
    assert len({case.name for case in RAW}) == len(RAW)
    assert len({case.name for case in H2_CASES}) == len(H2_CASES)


@pytest.mark.parametrize(
    "name", ["length and chunked", "chunked and a short length", "chunks: a bare LF behind the data"]
)
def test_the_readers_would_notice(name: str) -> None:
    """An edge that passed bytes through would be found out."""
    (case,) = [case for case in RAW if case.name == name]
    assert any(HIDDEN in targets for targets in readings(case.data))


@pytest.mark.parametrize("case", RAW, ids=lambda case: case.name)
def test_one_connection_is_read_in_one_way(case: Raw, target: Target) -> None:
    with RawVisitor.to(target.edge, target.agents["http"].url) as raw:
        raw.send_leniently(case.data)
        try:
            status: int | None = raw.response().status
        except (EndedError, ConnectionError):
            status = None
        assert status in case.statuses
        if status is None or status >= 400:
            assert b"HTTP/1.1 200" not in raw.everything(), "behind a refusal nothing is served"
    seen = target.requests()
    assert HIDDEN not in seen
    assert len(seen) <= 1
    if status == 200:
        assert len(seen) == 1


@pytest.mark.parametrize("case", H2_CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_one_stream_is_read_in_one_way(case: H2, scheme: str, target: Target) -> None:
    fields = case.complete()
    with Http2Visitor(target.edge, target.agents[scheme].url) as visitor:
        try:
            answer = visitor.ask(fields, case.body, case.trailers)
            status = answer.status
            refused = answer.reset is not None or visitor.gone is not None or status in (400, 421)
        except ssl.SSLError:
            status, refused = None, True
    seen = target.requests()
    assert HIDDEN not in seen
    assert len(seen) <= 1
    assert refused or (case.served and status == 200), f"answered {status}"
    if status == 200:
        assert len(seen) == 1


def test_a_refused_connection_says_why(target: Target) -> None:
    with RawVisitor.to(target.edge, target.agents["http"].url) as raw:
        raw.send(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\n\r\n".encode())
        answer = raw.response()
    assert answer.status == 400
    assert b"Host" in answer.body
