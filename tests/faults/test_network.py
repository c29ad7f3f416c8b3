"""Roads between agent and edge that go bad: silence, resets, half a handshake, addresses where nobody answers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from signal import SIGINT

import pytest

from conftest import NewEdge
from harness.agents import Agent, Agents
from harness.edge import Address, Edge
from harness.namespace import seeing
from harness.process import until
from harness.relay import BlackHole, Relay
from harness.town import ANY_NAMES, Town

NewRelay = Callable[[Address], Relay]

# The shortest beats an edge admits: a dead road is noticed after two seconds.
BEATS = "{heartbeat_interval: 1s, heartbeat_tolerance: 1s}"
LOST = "session closed, starting reconnect loop"
FAILED = "failed to reconnect session"


def over(relay: Relay, agents: Agents, *arguments: str, **env: str) -> Agent:
    """An agent that reaches its edge over this road."""
    return agents.agent(*arguments, env={"PORTWAY_CONNECT_URL": relay.address, **env})


def of_town(relay: Relay, agents: Agents, town: Town, beats: str = "{}") -> Agent:
    path = agents.home / "town.yml"
    path.write_text(town.config(agent=beats))
    return over(relay, agents, "start", "--all", "--config", str(path))


# === silence


def test_a_road_that_goes_silent_is_given_up_and_all_urls_come_back(
    edge: Edge, agents: Agents, relay: NewRelay, town: Town
) -> None:
    road = relay(edge.agent)
    agent = of_town(road, agents, town, BEATS)
    urls = agent.up(len(ANY_NAMES))
    town.wait_all(edge, urls)

    before, at_edge = agent.process.position, edge.process.position
    road.stall()
    silent = agent.process.wait_for("heartbeat timeout, terminating session", since=before)
    assert silent["obj"] == "csess"
    assert agent.process.wait_for(LOST, since=before)["err"] == "heartbeat timeout"
    road.flow()
    assert sorted(agent.up(len(ANY_NAMES), since=before)) == sorted(urls)
    town.wait_all(edge, urls)
    # The same agent: the edge did not keep a second session for it.
    until("one session", lambda: edge.metric("portway_agent_sessions") == 1)
    assert len({r["client_id"] for r in edge.process.records() if r["msg"] == "agent connected"}) == 1
    assert [r for r in edge.process.records(at_edge) if r["msg"] in ("session taken over", "agent disconnected")]


def test_an_edge_that_died_without_a_word_is_found_out(edge: Edge, agents: Agents, relay: NewRelay, town: Town) -> None:
    """Half-open TCP: the edge's end never reaches the agent."""
    road = relay(edge.agent)
    agent = of_town(road, agents, town, BEATS)
    urls = agent.up(len(ANY_NAMES))
    before = agent.process.position
    road.stall()
    edge.restart()
    agent.process.wait_for("heartbeat timeout, terminating session", since=before)
    road.reset()
    road.flow()
    assert sorted(agent.up(len(ANY_NAMES), since=before)) == sorted(urls)
    town.wait_all(edge, urls)


def test_a_login_that_is_never_answered_is_tried_again(edge: Edge, agents: Agents, relay: NewRelay, town: Town) -> None:
    road = relay(edge.agent)
    road.stall()
    config = agents.home / "quick.yml"
    config.write_text(town.config(["http://"], "{connect_timeout: 1s}"))
    agent = over(road, agents, "start", "--all", "--config", str(config))
    failed = agent.process.wait_for(FAILED)
    assert road.address in failed["err"]
    assert "1s" in failed["err"]
    road.reset()
    road.flow()
    town.wait_all(edge, agent.up())


def test_a_slow_road_is_no_dead_one(edge: Edge, agents: Agents, relay: NewRelay, town: Town) -> None:
    road = relay(edge.agent)
    road.delay(0.3)
    agent = of_town(road, agents, town, BEATS)
    urls = agent.up(len(ANY_NAMES))
    town.wait_all(edge, urls[:2])
    # Three beats of the edge's side and the agent's: more than either would wait for a dead road.
    before = road.roads[0].down
    until("beats", lambda: road.roads[0].down > before + 100)
    assert not [r for r in agent.process.records() if r["msg"] == LOST]


# === ends


@pytest.mark.parametrize("end", ["cut", "reset"])
def test_a_connection_that_breaks_is_made_again_with_the_same_urls(
    end: str, edge: Edge, agents: Agents, relay: NewRelay, town: Town
) -> None:
    road = relay(edge.agent)
    agent = of_town(road, agents, town)
    urls = agent.up(len(ANY_NAMES))
    for _ in range(3):
        before = agent.process.position
        getattr(road, end)()
        agent.process.wait_for(LOST, since=before)
        assert sorted(agent.up(len(ANY_NAMES), since=before)) == sorted(urls)
        town.wait_all(edge, urls)


@pytest.mark.parametrize("length", [0, 1, 5, 300, 1000])
def test_tls_that_breaks_off_is_told_and_tried_again(
    length: int, edge: Edge, agents: Agents, relay: NewRelay, town: Town
) -> None:
    road = relay(edge.agent)
    if length:
        road.let_down(length)
    else:
        road.close()
    agent = of_town(road, agents, town)
    failed = agent.process.wait_for(FAILED)
    assert road.address in failed["err"]
    road.let_down(None)
    if not length:
        road.open()
    urls = agent.up(len(ANY_NAMES))
    town.wait_all(edge, urls)


def test_what_is_no_edge_at_all_is_told_and_tried_again(agents: Agents, relay: NewRelay, town: Town) -> None:
    road = relay(("127.0.0.1", town.tcp.port))
    agent = over(road, agents, "http", town.http.url)
    first = agent.process.wait_for(FAILED)
    assert "TLS" in first["err"]
    agent.process.wait_for(FAILED, since=agent.process.position)
    agent.process.signal(SIGINT)
    assert agent.process.wait() == 0


def test_the_address_for_visitors_is_told_as_not_that_for_agents(edge: Edge, agents: Agents, town: Town) -> None:
    """Its TLS is as good as that of the other, and behind it somebody waits for HTTP."""
    address = f"localhost:{edge.https[1]}"
    agent = agents.http(town.http.url, env={"PORTWAY_CONNECT_URL": address})
    told = agent.process.wait_for(FAILED)["err"]
    assert told.startswith(f"{address} did not answer the login: ")
    assert told.endswith("(is it the address for agents?)")


def test_a_name_that_was_taken_meanwhile_is_asked_for_until_it_is_free(
    edge: Edge, agents: Agents, relay: NewRelay, town: Town
) -> None:
    """The session and the other endpoints go on."""
    road = relay(edge.agent)
    config = agents.home / "names.yml"
    config.write_text(town.config(["http://other.localhost", "http://shop.localhost"]))
    agent = over(road, agents, "start", "--all", "--config", str(config))
    other, shop = agent.up(2)
    before = agent.process.position
    road.close()
    road.cut()
    edge.process.wait_for("agent disconnected")
    rival = agents.http(town.http.url, url="http://shop.localhost")
    assert rival.url == shop

    road.open()
    refused = agent.process.wait_for("failed to start tunnel", since=before)
    assert refused["lvl"] == "eror"
    assert "ERR_NGROK_334" in refused["err"]
    agent.process.wait_for("started tunnel", since=before, url=other)
    town.visit(edge, other)
    rival.process.stop()
    agent.process.wait_for("started tunnel", since=before, url=shop)
    town.visit(edge, shop)


# === several addresses


def test_an_edge_of_the_list_that_is_down_leads_to_the_next(
    edge: Edge, agents: Agents, relay: NewRelay, town: Town
) -> None:
    road = relay(edge.agent)
    down = relay(edge.agent)
    down.close()
    agent = over(road, agents, "http", town.http.url, PORTWAY_CONNECT_URL=f"{down.address},{road.address}")
    town.wait_all(edge, agent.up())
    # The one that worked is where the next attempt begins.
    before = agent.process.position
    road.cut()
    agent.up(since=before)
    assert not [r for r in agent.process.records(before) if r["msg"] == FAILED]


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    """What `named` has for /etc/hosts."""
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    return path


@pytest.fixture
def named(hosts: Path, agents: Agents, town: Town) -> Callable[[int], Agent]:
    """Runs an agent that knows its edge by the name edge.test, as `hosts` has it."""

    def run(port: int) -> Agent:
        env = {"PORTWAY_CONNECT_URL": f"edge.test:{port}"}
        return Agent(agents.run("http", town.http.url, env=env, within=seeing({"/etc/hosts": hosts})), agents.edge)

    return run


@pytest.fixture
def edge(new_edge: NewEdge) -> Edge:
    """Known to agents as edge.test too."""
    return new_edge("--public-agent-addr", "edge.test:443")


def test_a_name_is_looked_up_again_for_each_attempt(
    edge: Edge, hosts: Path, named: Callable[[int], Agent], relay: NewRelay, town: Town
) -> None:
    other = Relay(town.http._loop, edge.agent, "127.0.0.8", edge.agent[1])
    try:
        agent = named(edge.agent[1])
        assert "edge.test" in agent.process.wait_for(FAILED)["err"]
        hosts.write_text("127.0.0.8 edge.test\n")
        url = agent.url
        assert other.came
        town.visit(edge, url)
        # It moves: where it was, nobody is any more.
        hosts.write_text("127.0.0.1 edge.test\n")
        before = agent.process.position
        other.stop()
        assert agent.up(since=before) == [url]
        town.visit(edge, url)
    finally:
        other.stop()


def test_an_address_that_swallows_everything_does_not_keep_from_the_next(
    edge: Edge, hosts: Path, named: Callable[[int], Agent], town: Town
) -> None:
    hole = BlackHole("127.0.0.8", edge.agent[1])
    try:
        hosts.write_text("127.0.0.8 edge.test\n127.0.0.1 edge.test\n")
        agent = named(edge.agent[1])
        town.visit(edge, agent.url)
        assert not [r for r in agent.process.records() if r["msg"] == FAILED], "one attempt is enough"
    finally:
        hole.close()


def test_nobody_but_a_hole_is_told_within_the_time_limit(agents: Agents, town: Town) -> None:
    hole = BlackHole("127.0.0.1")
    try:
        config = agents.home / "hole.yml"
        config.write_text(town.config(["http://"], "{connect_timeout: 1s}"))
        env = {"PORTWAY_CONNECT_URL": f"127.0.0.1:{hole.port}"}
        agent = agents.agent("start", "--all", "--config", str(config), env=env)
        failed = agent.process.wait_for(FAILED)
        assert "did not answer within 1s" in failed["err"]
    finally:
        hole.close()


def test_an_agent_that_waits_for_an_answer_ends_when_it_is_told_to(agents: Agents, town: Town) -> None:
    hole = BlackHole("127.0.0.1")
    try:
        agent = agents.http(town.http.url, env={"PORTWAY_CONNECT_URL": f"127.0.0.1:{hole.port}"})
        agent.process.wait_for("ignoring default config path, could not stat it")
        until("it dials", lambda: _dials(agent, hole.port))
        agent.process.signal(SIGINT)
        assert agent.process.wait() == 0
    finally:
        hole.close()


def _dials(agent: Agent, port: int) -> bool:
    """Whether it has a connection to that port under way (state SYN_SENT)."""
    wanted = f"0100007F:{port:04X}"
    ours = agent.process.files()
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[2] == wanted and f"socket:[{line.split()[9]}]" in ours for line in lines)


# === the visitor's own road


def test_a_visitor_that_goes_silent_costs_nobody_else_anything(
    edge: Edge, agents: Agents, town: Town, relay: NewRelay
) -> None:
    agent = agents.from_config(town.config(["http://", "tcp://"]))
    web, raw = agent.up(2)
    road = relay(edge.http)
    host, port = road.address.split(":")
    with socket.create_connection((host, int(port)), 20) as silent:
        name = web.removeprefix("http://")
        silent.sendall(f"GET /bytes/{1 << 30} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        road.wait_down(1 << 16)
        road.stall()
        for url in (web, raw) * 10:
            town.visit(edge, url)
    road.reset()
    town.http.wait_open(0)
