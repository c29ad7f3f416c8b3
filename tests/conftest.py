"""Fixtures: an edge, agents, SDKs, upstreams; and the logs of all of them when a test fails."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.agents import Agents
from harness.edge import Edge
from harness.process import Process
from harness.sdk import Sdks
from harness.servers import Iperf, Nginx, Postgres
from harness.tls import Authority
from harness.upstreams import Upstreams

# What the person running the tests has set must not reach the programs under test.
for _name in list(os.environ):
    if _name.startswith(("NGROK_", "PORTWAY_")) or _name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
        del os.environ[_name]

# The processes whose logs a failed test shows, by test or module.
_shown = pytest.StashKey[list[list[Process]]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed:
        for holder in (item, item.getparent(pytest.Module)):
            for processes in holder.stash.get(_shown, []) if holder else []:
                for process in processes:
                    report.sections.append((f"log of {process.name}", process.shown()))
    return report  # type: ignore[return-value]


def _show(node: pytest.Item | pytest.Collector, processes: list[Process]) -> None:
    node.stash.setdefault(_shown, []).append(processes)


@pytest.fixture
def new_edge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Edge]]:
    """Makes edges with flags of their own."""
    made: list[Edge] = []

    def make(*flags: str, env: dict[str, str] | None = None) -> Edge:
        edge = Edge(tmp_path / f"edge-{len(made)}", secrets.token_urlsafe(18), flags, env or {})
        _show(request.node, edge.processes)
        made.append(edge)
        return edge.start()

    yield make
    for edge in made:
        for process in edge.processes:
            process.stop()


@pytest.fixture
def edge(new_edge: Callable[..., Edge]) -> Edge:
    return new_edge()


@pytest.fixture
def agents(request: pytest.FixtureRequest, edge: Edge, tmp_path: Path) -> Iterator[Agents]:
    """Agents of `edge`."""
    agents = Agents(tmp_path, edge)
    _show(request.node, agents.started)
    yield agents
    agents.stop()


@pytest.fixture
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agents]:
    """Agents with nothing configured: each carries its own edge."""
    agents = Agents(tmp_path)
    _show(request.node, agents.started)
    yield agents
    agents.stop()


@pytest.fixture
def sdks(request: pytest.FixtureRequest, edge: Edge) -> Iterator[Sdks]:
    """The official SDKs as agents of `edge`."""
    sdks = Sdks(edge, [])
    _show(request.node, sdks.started)
    yield sdks
    for process in sdks.started:
        process.stop()


@pytest.fixture
def upstreams(tmp_path: Path) -> Iterator[Upstreams]:
    upstreams = Upstreams(tmp_path)
    yield upstreams
    upstreams.stop()


@pytest.fixture
def nginx(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nginx]:
    nginx = Nginx(tmp_path)
    _show(request.node, [nginx.process])
    yield nginx
    nginx.stop()


@pytest.fixture
def iperf(request: pytest.FixtureRequest) -> Iterator[Iperf]:
    iperf = Iperf()
    _show(request.node, [iperf.process])
    yield iperf
    iperf.stop()


@pytest.fixture
def postgres(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Postgres]:
    postgres = Postgres(tmp_path)
    _show(request.node, [postgres.process])
    yield postgres
    postgres.stop()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)
