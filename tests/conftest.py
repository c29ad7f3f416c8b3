"""Fixtures: an edge, agents, SDKs, upstreams; and the logs of all of them when a test fails."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.agents import Agents
from harness.edge import Edge
from harness.process import PATIENCE, Process, portway, stop_all
from harness.sdk import Sdks
from harness.servers import Iperf, Nginx, Postgres
from harness.site import Site
from harness.terminal import Terminal
from harness.tls import Authority
from harness.upstreams import Upstreams

# Programs under test are to meet signals as anywhere, also where the whole run ignores one (nohup).
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A visitor that waits for what never comes fails by itself, and with its own line.
socket.setdefaulttimeout(PATIENCE)

# What the person running the tests has set must not reach the programs under test.
for _name in list(os.environ):
    if _name.startswith(("NGROK_", "PORTWAY_")) or _name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
        del os.environ[_name]

NewEdge = Callable[..., Edge]

# The processes whose logs a failed test shows, by test or module.
_shown = pytest.StashKey[list[list[Process]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: many seconds by itself; left out unless asked for with -m")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


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


def _edges(node: pytest.Item | pytest.Collector, home: Path) -> Iterator[NewEdge]:
    made: list[Edge] = []

    def make(*flags: str, env: dict[str, str] | None = None) -> Edge:
        # It begins with a letter: what begins with a dash is quoted by some and refused by others.
        token = f"t{secrets.token_hex(12)}"
        edge = Edge(home / f"edge-{len(made)}", token, flags, env or {})
        _show(node, edge.processes)
        made.append(edge)
        return edge.start()

    yield make
    stop_all([process for edge in made for process in edge.processes])


def _agents(node: pytest.Item | pytest.Collector, home: Path, edge: Edge | None) -> Iterator[Agents]:
    agents = Agents(home, edge)
    _show(node, agents.started)
    yield agents
    agents.stop()


@pytest.fixture
def new_edge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewEdge]:
    """Makes edges with flags of their own."""
    yield from _edges(request.node, tmp_path)


@pytest.fixture(scope="module")
def new_shared_edge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewEdge]:
    """Makes edges that all tests of a module share."""
    yield from _edges(request.node, tmp_path_factory.mktemp("edges"))


@pytest.fixture
def edge(new_edge: NewEdge) -> Edge:
    return new_edge()


@pytest.fixture
def agents(request: pytest.FixtureRequest, edge: Edge, tmp_path: Path) -> Iterator[Agents]:
    """Agents of `edge`."""
    yield from _agents(request.node, tmp_path, edge)


@pytest.fixture
def agents_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Edge], Agents]]:
    """Agents of edges the test makes itself."""
    made: list[Agents] = []

    def of(edge: Edge) -> Agents:
        agents = Agents(tmp_path / f"agents-{len(made)}", edge)
        _show(request.node, agents.started)
        made.append(agents)
        return agents

    yield of
    for agents in made:
        agents.stop()


@pytest.fixture
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agents]:
    """Agents with nothing configured: each carries its own edge."""
    yield from _agents(request.node, tmp_path, None)


@pytest.fixture
def terminals() -> Iterator[Callable[..., Terminal]]:
    """Starts programs on terminals."""
    made: list[Terminal] = []

    def make(*argv: str, **how: Any) -> Terminal:
        made.append(Terminal(argv, **how))
        return made[-1]

    yield make
    for terminal in made:
        terminal.stop()


@pytest.fixture
def sdks(request: pytest.FixtureRequest, edge: Edge) -> Iterator[Sdks]:
    """The official SDKs as agents of `edge`."""
    sdks = Sdks(edge, [])
    _show(request.node, sdks.started)
    yield sdks
    stop_all(sdks.started)


@pytest.fixture
def upstreams(tmp_path: Path) -> Iterator[Upstreams]:
    upstreams = Upstreams(tmp_path)
    yield upstreams
    upstreams.stop()


# === for tests that leave no trace: started once for all tests of a module


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site")
    flags: tuple[str, ...] = getattr(request, "param", ())
    upstreams = Upstreams(home)
    edges = _edges(request.node, home)
    edge = next(edges)()
    groups = _agents(request.node, home, edge)
    agents = next(groups)
    upstream = upstreams.http()
    plain, secure = (agents.http(upstream.url, *flags, url=url) for url in ("http://", ""))
    site = Site(edge, agents, upstreams, upstream, plain, secure)
    for agent in (site.plain, site.secure):
        agent.up()
    yield site
    for rest in (groups, edges):
        next(rest, None)
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


@pytest.fixture
def ngrok(tmp_path: Path) -> Path:
    """A link of that name to the command under test."""
    link = tmp_path / "bin" / "ngrok"
    link.parent.mkdir()
    link.symlink_to(portway()[0])
    return link
