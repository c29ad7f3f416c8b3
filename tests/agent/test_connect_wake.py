"""A machine that sleeps, or moves to another network (agent-behaviour §2.5, case 13): the agent is back at once.

Beats are an hour apart here, so that nothing but the wake-up can tell that a session is dead.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ports
from harness.agents import Agents
from harness.muxado import HEARTBEAT
from harness.network import Network
from harness.played import PlayedEdge
from harness.process import Process
from harness.suspend import Machine
from harness.tls import Authority

LOOKS = "looking whether the session lives"
DEAD = "heartbeat timeout, terminating session"
FAILED = "failed to reconnect session"
SELDOM = "{heartbeat_interval: 1h, heartbeat_tolerance: 1h}"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.yml"
    path.write_text(f"version: 3\nagent: {SELDOM}\n")
    return path


@pytest.fixture
def away(authority: Authority, alone: Agents) -> Iterator[tuple[Network, PlayedEdge]]:
    network = Network()
    edge = network.run(lambda: PlayedEdge(authority))
    yield network, edge
    alone.stop()
    edge.stop()
    network.stop()


def asleep(alone: Agents, played: PlayedEdge, config: Path, machine: Machine) -> Process:
    return alone.run("http", "8080", "--config", str(config), env={**played.env, **machine.env})


def test_b13_a_session_that_died_in_sleep_is_made_anew_at_wake_up(
    alone: Agents, played: PlayedEdge, config: Path, machine: Machine
) -> None:
    process = asleep(alone, played, config, machine)
    session = played.next().up()
    process.wait_for("started tunnel")
    # What happened to the road meanwhile: nothing is answered on it any more.
    session.peer.echo = False
    machine.sleep(3600)
    assert process.wait_for(LOOKS)["why"] == "the machine has slept"
    before = process.position
    process.wait_for(DEAD)
    played.next().up()
    process.wait_for("client session established", since=before)


def test_b13_a_session_that_lives_is_kept_at_wake_up(
    alone: Agents, played: PlayedEdge, config: Path, machine: Machine
) -> None:
    process = asleep(alone, played, config, machine)
    session = played.next().up()
    beats = session.peer.accept(HEARTBEAT)

    def beaten() -> int:
        return sum(frame.stream == beats.id and len(frame.payload) >= 4 for frame in session.peer.frames)

    session.peer.wait("the first beat", lambda: beaten() == 1)
    process.wait_for("started tunnel")
    machine.sleep(60)
    session.peer.wait("a beat at wake-up", lambda: beaten() == 2)
    assert not [record for record in process.records() if record["msg"] == DEAD]


def test_b13_a_clock_that_is_set_is_no_wake_up(
    alone: Agents, played: PlayedEdge, config: Path, machine: Machine
) -> None:
    process = asleep(alone, played, config, machine)
    played.next().up()
    process.wait_for("started tunnel")
    machine.jump()
    machine.sleep(60)
    process.wait_for(LOOKS)
    assert len([record for record in process.records() if record["msg"] == LOOKS]) == 1


def test_b13_another_default_route_is_a_reason_to_look(
    alone: Agents, away: tuple[Network, PlayedEdge], config: Path
) -> None:
    network, edge = away
    process = alone.run("http", "8080", "--config", str(config), env=edge.env, within=network.within)
    session = edge.next().up()
    process.wait_for("started tunnel")
    session.peer.echo = False
    network.ip("route", "add", "192.0.2.0/24", "dev", "lo")
    network.ip("route", "add", "default", "dev", "lo")
    assert process.wait_for(LOOKS)["why"] == "the default route has changed"
    process.wait_for(DEAD)
    edge.next().up()
    assert len([record for record in process.records() if record["msg"] == LOOKS]) == 1


def test_b13_a_wait_for_the_next_attempt_ends_at_wake_up(alone: Agents, config: Path, machine: Machine) -> None:
    env = {"PORTWAY_CONNECT_URL": f"127.0.0.1:{ports.unused()}", "PORTWAY_AUTHTOKEN": "t", **machine.env}
    process = alone.run("http", "8080", "--config", str(config), env=env)
    for _ in range(6):  # by then it waits for eight seconds at least
        process.wait_for(FAILED, since=process.position)
    before = process.position
    machine.sleep(60)
    process.wait_for(LOOKS, since=before)
    process.wait_for(FAILED, since=before)
