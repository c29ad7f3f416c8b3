"""Several addresses of a name, and several edges (agent-behaviour §2.1, §2.2, case 9)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ports
from harness.agents import Agents
from harness.namespace import seeing
from harness.network import Network
from harness.played import PlayedEdge
from harness.process import Process
from harness.relay import BlackHole
from harness.tls import Authority

FAILED = "failed to reconnect session"
EDGE = "edge.test"
ADDRESSES = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network(*ADDRESSES)
    yield network
    network.stop()


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    return tmp_path / "hosts"


@pytest.fixture
def agents(alone: Agents, network: Network) -> Iterator[Agents]:
    """It is gone before the network is."""
    yield alone
    alone.stop()


def agent_of(
    edge: PlayedEdge, agents: Agents, network: Network, hosts: Path, settings: str = "", **env: str
) -> Process:
    config = agents.home / f"agent-{len(agents.started)}.yml"
    config.write_text(f"version: 3\nagent:\n  heartbeat_interval: 10s\n{settings}")
    return agents.run(
        *("http", "8080", "--config", str(config)),
        env={**edge.env, "PORTWAY_CONNECT_URL": f"{EDGE}:{edge.port}", **env},
        within=[*network.within, *seeing({"/etc/hosts": hosts})],
    )


# === several addresses


@pytest.mark.parametrize(
    ("hole", "well"),
    [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "192.0.2.1"), ("192.0.2.1", "2001:db8::1")],
    ids=["one of IPv4", "IPv6", "IPv4"],
)
def test_b9_an_address_that_swallows_everything_is_not_waited_for(
    hole: str, well: str, agents: Agents, network: Network, hosts: Path, authority: Authority
) -> None:
    edge = network.run(lambda: PlayedEdge(authority, EDGE, host=well))
    swallowing = network.run(lambda: BlackHole(hole, edge.port))
    try:
        hosts.write_text(f"{hole} {EDGE}\n{well} {EDGE}\n")
        process = agent_of(edge, agents, network, hosts, "  connect_timeout: 1h\n")
        edge.next().up()
        process.wait_for("started tunnel")
        assert not [record for record in process.records() if record["msg"] == FAILED]
    finally:
        swallowing.close()
        edge.stop()


def test_b9_a_name_that_leads_nowhere_is_told_with_its_address(
    agents: Agents, network: Network, hosts: Path, authority: Authority
) -> None:
    edge = PlayedEdge(authority)
    hosts.write_text(f"192.0.2.2 {EDGE}\n")
    process = agent_of(edge, agents, network, hosts, PORTWAY_CONNECT_URL=f"{EDGE}:4443")
    failed = process.wait_for(FAILED)
    assert failed["err"].startswith(f"cannot reach {EDGE}:4443 (192.0.2.2): Connection refused")
    edge.stop()


def test_b9_the_address_that_worked_is_the_first_next_time(
    agents: Agents, network: Network, hosts: Path, authority: Authority
) -> None:
    second = network.run(lambda: PlayedEdge(authority, EDGE, host="192.0.2.2"))
    hosts.write_text(f"192.0.2.1 {EDGE}\n192.0.2.2 {EDGE}\n")
    agent_of(second, agents, network, hosts)
    session = second.next().up()
    first = network.run(lambda: PlayedEdge(authority, EDGE, host="192.0.2.1", port=second.port))
    try:
        session.peer.close()
        second.next().up()
        first.listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            first.listener.accept()
    finally:
        first.stop()
        second.stop()


# === connect_interface


def test_b9_the_interface_to_leave_by_can_be_chosen(
    agents: Agents, network: Network, hosts: Path, authority: Authority
) -> None:
    """By an interface without a way to the edge, there is none."""
    network.ip("link", "add", "away0", "type", "veth", "peer", "away1")
    network.ip("link", "set", "away0", "up")
    edge = network.run(lambda: PlayedEdge(authority, EDGE, host="192.0.2.1"))
    hosts.write_text(f"192.0.2.1 {EDGE}\n")
    try:
        process = agent_of(edge, agents, network, hosts, "  connect_interface: lo\n")
        assert edge.next().login()["Extra"]["CustomInterface"] is True
        process.kill()
        process = agent_of(edge, agents, network, hosts, "  connect_interface: nosuch0\n")
        failed = process.wait_for(FAILED)
        assert "cannot use the network interface nosuch0 (connect_interface): No such device" in failed["err"]
        # By this one there is no way to the edge.
        process = agent_of(edge, agents, network, hosts, "  connect_interface: away0\n  connect_timeout: 2s\n")
        process.wait_for(FAILED)
    finally:
        edge.stop()


# === several edges


@pytest.fixture
def two(authority: Authority, alone: Agents) -> Iterator[tuple[PlayedEdge, PlayedEdge]]:
    pair = PlayedEdge(authority), PlayedEdge(authority)
    yield pair
    alone.stop()
    for edge in pair:
        edge.stop()


def of_several(alone: Agents, two: tuple[PlayedEdge, PlayedEdge], urls: list[str]) -> Process:
    config = alone.home / "several.yml"
    config.write_text(f"version: 3\nagent:\n  connect_url: {urls}\n")
    env = {key: value for key, value in two[0].env.items() if key != "PORTWAY_CONNECT_URL"}
    return alone.run("http", "8080", "--config", str(config), env=env)


def test_b9_edges_are_tried_in_their_order(alone: Agents, two: tuple[PlayedEdge, PlayedEdge]) -> None:
    gone = f"127.0.0.1:{ports.unused()}"
    process = of_several(alone, two, [gone, *(f"127.0.0.1:{edge.port}" for edge in two)])
    two[0].next().up()
    process.wait_for("started tunnel")
    failed = process.wait_for(FAILED)
    assert gone in failed["err"]


def test_b9_after_a_session_the_next_attempt_begins_with_the_same_edge(
    alone: Agents, two: tuple[PlayedEdge, PlayedEdge]
) -> None:
    gone = f"127.0.0.1:{ports.unused()}"
    process = of_several(alone, two, [gone, *(f"127.0.0.1:{edge.port}" for edge in two)])
    session = two[0].next().up()
    process.wait_for("started tunnel")
    before = process.position
    session.peer.close()
    two[0].next().up()
    process.wait_for("client session established", since=before)
    assert not [record for record in process.records(before) if record["msg"] == FAILED]


def test_b9_an_edge_that_refuses_for_now_leads_to_the_next(alone: Agents, two: tuple[PlayedEdge, PlayedEdge]) -> None:
    process = of_several(alone, two, [f"127.0.0.1:{edge.port}" for edge in two])
    two[0].next().refuse(742)
    two[1].next().up()
    process.wait_for("started tunnel")
