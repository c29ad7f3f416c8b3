"""An agent with two connections to its edge, each over a road of its own, and one of them goes."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conftest import NewEdge
from harness.agents import Agent, Agents
from harness.edge import Edge
from harness.process import until
from harness.relay import Relay
from harness.scripted import rules
from harness.town import SCHEMES, Town
from harness.visitor import Visitor

LEGS = "{multi_leg: true}"
BROKEN = "broken"


@dataclass
class Legs:
    """An edge that offers both roads, and an agent that has taken them."""

    edge: Edge
    agents: Agents
    roads: list[Relay]

    def start(self, config: str) -> Agent:
        self.agents.home.mkdir(exist_ok=True)
        path = self.agents.home / "legs.yml"
        path.write_text(config)
        env = {"PORTWAY_CONNECT_URL": self.roads[0].address}
        agent = self.agents.agent("start", "--all", "--config", str(path), env=env)
        for road in self.roads:
            road.wait_came(1)
        return agent

    def bound(self, urls: list[str], count: int = 2, since: int = 0) -> None:
        """Waits until each is bound so many times."""

        def enough() -> bool:
            records = self.edge.process.records(since)
            told = Counter(record["url"] for record in records if record["msg"] == "endpoint bound")
            return all(told[url] >= count for url in urls)

        until(f"{urls} on {count} legs", enough)


@pytest.fixture
def legs(relay: Callable[..., Relay], new_edge: NewEdge, agents_of: Callable[[Edge], Agents]) -> Legs:
    roads = [relay(("127.0.0.1", 1)) for _ in range(2)]
    edge = new_edge(*(part for road in roads for part in ("--connect-address", road.address)))
    for road in roads:
        road.to = edge.agent
    return Legs(edge, agents_of(edge), roads)


@dataclass
class Crowd:
    """Visitors that ask without a pause, and what they are told."""

    told: Counter[int | str] = field(default_factory=Counter)
    came: threading.Condition = field(default_factory=threading.Condition)
    over: bool = False

    def visit(self, edge: Edge, url: str, *, keeps: bool) -> None:
        while not self.over:
            with Visitor(edge, url) as visitor:
                while not self.over:
                    try:
                        answer: int | str = visitor.get("/bytes/1000").status
                    except (OSError, http.client.HTTPException):
                        answer = BROKEN
                    with self.came:
                        self.told[answer] += 1
                        self.came.notify_all()
                    if answer != 200 or not keeps:
                        break

    def more(self, count: int = 100) -> None:
        """Waits for so many more answers that are as they should be."""
        with self.came:
            wanted = self.told[200] + count
            assert self.came.wait_for(lambda: self.told[200] >= wanted, 30), dict(self.told)


@contextmanager
def crowd(edge: Edge, urls: list[str]) -> Iterator[Crowd]:
    """Eight visitors of these URLs, of whom half keep their connection."""
    crowd = Crowd()
    visitors = [
        threading.Thread(target=crowd.visit, args=(edge, urls[number % len(urls)]), kwargs={"keeps": number % 4 < 2})
        for number in range(8)
    ]
    for visitor in visitors:
        visitor.start()
    try:
        yield crowd
    finally:
        crowd.over = True
        for visitor in visitors:
            visitor.join()


@pytest.mark.parametrize("lost", [0, 1])
def test_a_leg_that_is_killed_under_load_costs_no_visitor_an_answer(legs: Legs, town: Town, lost: int) -> None:
    agent = legs.start(town.config(["http://", "https://"], LEGS))
    urls = agent.up(2)
    legs.bound(urls)
    road = legs.roads[lost]
    with crowd(legs.edge, urls) as visitors:
        for _ in range(3):
            visitors.more()
            before, at_edge = agent.process.position, legs.edge.process.position
            road.close()
            road.reset()
            agent.process.wait_for("leg closed", since=before, leg=str(lost))
            visitors.more()
            road.open()
            agent.process.wait_for("leg established", since=before, leg=str(lost))
            legs.bound(urls, 1, since=at_edge)
    # What was being sent when the road went is broken off; whoever had no answer yet gets one over the other road.
    told = visitors.told
    assert set(told) <= {200, BROKEN}, dict(told)
    assert told[BROKEN] <= 3 * 8, dict(told)
    assert not [record for record in agent.process.records() if record["msg"].startswith("session closed")]


def test_every_kind_of_endpoint_is_served_over_whatever_leg_is_left(legs: Legs, town: Town) -> None:
    agent = legs.start(town.config(agent=LEGS))
    urls = agent.up(len(SCHEMES))
    legs.bound(urls)
    for lost in (0, 1):
        before, at_edge = agent.process.position, legs.edge.process.position
        legs.roads[lost].close()
        legs.roads[lost].reset()
        agent.process.wait_for("leg closed", since=before, leg=str(lost))
        for url in urls:
            town.visit(legs.edge, url)
        legs.roads[lost].open()
        legs.bound(urls, 1, since=at_edge)
    assert legs.edge.metric("portway_endpoints") == len(urls), "each is counted once"


def test_downloads_are_spread_over_the_legs(legs: Legs, town: Town) -> None:
    agent = legs.start(town.config(["http://"], LEGS))
    url = agent.url
    legs.bound([url])
    visitors = [Visitor(legs.edge, url) for _ in range(8)]
    try:
        for visitor in visitors:
            answer = visitor.open("GET", f"/bytes/{1 << 26}")
            assert answer.read(1 << 16)
        # Nobody reads on: what has come by now went over its own road.
        up = [sum(road.up for road in relay.roads) for relay in legs.roads]
        assert min(up) > max(up) / 4, up
    finally:
        for visitor in visitors:
            visitor.connection.close()


def test_the_edge_comes_back_and_so_do_both_legs(legs: Legs, town: Town) -> None:
    agent = legs.start(town.config(["http://", "tcp://"], LEGS))
    urls = agent.up(2)
    legs.bound(urls)
    before = agent.process.position
    legs.edge.kill()
    agent.process.wait_for("session closed, starting reconnect loop", since=before)
    legs.edge.start()
    legs.bound(urls)
    for url in urls:
        town.visit(legs.edge, url)


def test_an_edge_can_offer_its_own_address_twice(
    new_edge: NewEdge, agents_of: Callable[[Edge], Agents], town: Town
) -> None:
    edge = new_edge(*("--connect-address", "self") * 2)
    agents = agents_of(edge)
    agents.home.mkdir()
    agent = agents.from_config(town.config(["http://"], LEGS))
    town.visit(edge, agent.url)
    until("two connections", lambda: edge.metric("portway_agent_sessions") == 2)
    came = [record for record in edge.process.records() if record["msg"] == "agent connected"]
    assert sorted(record["leg"] for record in came) == ["0", "1"]


def test_visitors_go_the_short_way_and_the_long_one_when_it_is_lost(
    relay: Callable[..., Relay], new_edge: NewEdge, agents_of: Callable[[Edge], Agents], tmp_path: Path, town: Town
) -> None:
    roads = [relay(("127.0.0.1", 1)) for _ in range(2)]
    roads[0].delay(0.1)
    offered = (part for road in roads for part in ("--connect-address", road.address))
    edge = new_edge(*offered, *rules(tmp_path, "limits: {heartbeat_interval: 250ms, heartbeat_tolerance: 9s}\n"))
    for road in roads:
        road.to = edge.agent
    legs = Legs(edge, agents_of(edge), roads)
    agent = legs.start(town.config(["http://"], LEGS))
    url = agent.url
    legs.bound([url])

    def measured() -> bool:
        return len({record["id"] for record in edge.process.records() if record["msg"] == "heartbeat"}) == 2

    until("how far both legs are is known", measured)
    with Visitor(edge, url) as visitor:
        before = [sum(road.up for road in relay.roads) for relay in roads]
        for _ in range(20):
            assert visitor.get("/bytes/10000").status == 200
        long, short = (sum(road.up for road in relay.roads) - was for relay, was in zip(roads, before, strict=True))
        assert long < 20_000, (long, short)
        assert short > 190_000, (long, short)
        roads[1].close()
        roads[1].reset()
        agent.process.wait_for("leg closed", leg="1")
        assert visitor.get("/bytes/10000").status == 200
