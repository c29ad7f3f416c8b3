"""An edge and an agent as services: what they tell the manager, and sockets that it opened for them."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM

import pytest

from conftest import NewEdge
from harness import activation, ports
from harness.agents import Agents
from harness.edge import Edge, isolated
from harness.played import PlayedEdge
from harness.process import PATIENCE, Process, portway
from harness.tls import Authority
from harness.upstreams import Upstreams


class Manager:
    """The end of a notification socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.io = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.io.bind("\0" + address[1:] if address.startswith("@") else address)
        self.io.settimeout(PATIENCE)
        self.env = {"NOTIFY_SOCKET": address}

    def told(self) -> str:
        return self.io.recv(4096).decode()

    def told_nothing(self) -> bool:
        self.io.setblocking(False)
        try:
            self.io.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.io.settimeout(PATIENCE)
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(
        f"@portway-test-{os.getpid()}-{tmp_path.name}" if request.param == "abstract" else str(tmp_path / "notify")
    )
    yield made
    made.io.close()


def test_an_edge_is_ready_once_it_listens_and_says_when_it_stops(new_edge: NewEdge, manager: Manager) -> None:
    edge = new_edge(env=manager.env)
    assert manager.told() == "READY=1"
    for address in (edge.agent, edge.http, edge.https, edge.api):
        socket.create_connection(address, 5).close()
    edge.process.signal(SIGTERM)
    assert manager.told() == "STOPPING=1"
    assert edge.process.wait() == 0


def test_an_agent_is_ready_once_all_its_endpoints_are_bound(
    alone: Agents, authority: Authority, manager: Manager, tmp_path: Path
) -> None:
    played = PlayedEdge(authority)
    try:
        config = tmp_path / "two.yml"
        config.write_text("version: 3\nendpoints: [{name: a, upstream: {url: 1}}, {name: b, upstream: {url: 2}}]\n")
        agent = alone.agent("start", "--all", "--config", str(config), env={**played.env, **manager.env})
        session = played.next()
        session.login()
        session.bind()
        agent.up(1)
        assert manager.told_nothing(), "one is still to be bound"
        session.bind()
        assert manager.told() == "READY=1"
        # A session that is made again is nothing to tell the manager about.
        session.peer.close()
        again = played.next().up(2)
        agent.process.signal(SIGTERM)
        assert manager.told() == "STOPPING=1"
        again.peer.close()
        assert agent.process.wait() == 0
    finally:
        played.stop()


def test_an_agent_without_endpoints_is_ready_once_it_is_connected(edge: Edge, agents: Agents, manager: Manager) -> None:
    agents.run("start", "--none", env=manager.env)
    assert manager.told() == "READY=1"


@pytest.mark.parametrize("role", ["edge", "agent"])
def test_a_manager_that_watches_hears_that_it_is_alive(
    role: str, new_edge: NewEdge, alone: Agents, manager: Manager
) -> None:
    env = {**manager.env, "WATCHDOG_USEC": "100000"}
    process = new_edge(env=env).process if role == "edge" else alone.http("8080", env=env).process
    heard = {manager.told(), manager.told()}
    while heard != {"READY=1", "WATCHDOG=1"}:
        heard.add(manager.told())
    assert {manager.told() for _ in range(3)} == {"WATCHDOG=1"}
    process.signal(SIGTERM)
    while (told := manager.told()) == "WATCHDOG=1":
        pass
    assert told == "STOPPING=1"


@pytest.mark.parametrize("watch", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}], ids=str)
def test_who_is_not_watched_says_nothing(watch: dict[str, str], new_edge: NewEdge, manager: Manager) -> None:
    edge = new_edge(env={**manager.env, "WATCHDOG_USEC": "1000", **watch})
    assert manager.told() == "READY=1"
    edge.ask("/healthz")
    edge.process.signal(SIGTERM)
    assert manager.told() == "STOPPING=1"


def test_a_manager_that_does_not_listen_is_none(new_edge: NewEdge, tmp_path: Path) -> None:
    assert new_edge(env={"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ask("/healthz")[0] == 200


# === sockets opened by somebody else


def activated(home: Path, sockets: dict[str, int], *flags: str) -> Process:
    """An edge whose sockets are there before it starts."""
    argv = [sys.executable, activation.__file__, json.dumps(sockets), *portway(), "edge", *flags]
    log = ("--log", "stdout", "--log-format", "logfmt", "--data-dir", str(home / "data"))
    return Process("edge", [*argv, *log], env=isolated(home))


@pytest.mark.parametrize("names", [("agent",), ("http",), ("https",), ("api",), ("agent", "http", "https", "api")])
def test_each_port_of_an_edge_may_come_from_a_socket_unit(
    names: tuple[str, ...], tmp_path: Path, upstreams: Upstreams, alone: Agents
) -> None:
    given = dict(zip(names, ports.block(), strict=False))
    everywhere_else = [
        part
        for name in ("agent", "http", "https", "api")
        for part in (f"--{name}-addr", "off" if name in names else "127.0.0.1:0")
    ]
    edge = activated(tmp_path, given, *everywhere_else, "--authtoken", "token-of-the-test")
    try:
        ready = edge.wait_for("edge ready")
        for name, port in given.items():
            assert ready[f"{name}_addr"] == f"127.0.0.1:{port}"
        env = {
            "PORTWAY_CONNECT_URL": ready["agent_addr"],
            "PORTWAY_CONNECT_CAS": str(tmp_path / "data" / "ca.pem"),
            "PORTWAY_AUTHTOKEN": "token-of-the-test",
        }
        upstream = upstreams.http()
        agent = alone.http(upstream.url, url="http://shop.localhost", env=env)
        agent.up()
        host, port_text = ready["http_addr"].split(":")
        with socket.create_connection((host, int(port_text)), 20) as visitor:
            visitor.sendall(b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n")
            assert visitor.recv(1 << 16).startswith(b"HTTP/1.1 200")
    finally:
        edge.stop()


def test_what_an_edge_starts_does_not_get_the_sockets_it_was_given(tmp_path: Path) -> None:
    """A reload reads the configuration in another process."""
    given = dict(zip(("http", "unknown"), ports.block(), strict=False))
    off = [part for name in ("agent", "https", "api") for part in (f"--{name}-addr", "off")]
    edge = activated(tmp_path, given, *off)
    try:
        edge.wait_for("edge ready")
        for descriptor in (3, 4):
            fdinfo = Path(f"/proc/{edge.pid}/fdinfo/{descriptor}").read_text()
            (flags,) = [line.split()[1] for line in fdinfo.splitlines() if line.startswith("flags:")]
            assert int(flags, 8) & os.O_CLOEXEC
    finally:
        edge.stop()


def test_sockets_for_another_process_are_left_alone(tmp_path: Path) -> None:
    edge = Process(
        "edge",
        [*portway(), "edge", "--log", "stdout", "--log-format", "logfmt", "--data-dir", str(tmp_path / "data"),
         *(part for name in ("agent", "http", "https", "api") for part in (f"--{name}-addr", "127.0.0.1:0"))],
        env={**isolated(tmp_path), "LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "agent:http"},
    )  # fmt: skip
    try:
        edge.wait_for("edge ready")
    finally:
        edge.stop()
