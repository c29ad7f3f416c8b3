"""Processes that are killed and come back, one after the other and 200 in a row: nothing is lost and nothing stays."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness import ports
from harness.agents import Agent, Agents
from harness.edge import Edge
from harness.process import Process, until
from harness.raw import RawVisitor
from harness.relay import NO_LINGER
from harness.town import SCHEMES, Town
from harness.upstreams import BLOCK
from harness.visitor import Visitor, credulous, dial

HUGE = 1 << 30
# A visitor gets what the upstream gives, or is told that nobody is there; never anything else.
HONEST = (200, 404, 502, 503)


def of(urls: list[str], scheme: str) -> str:
    return next(url for url in urls if url.startswith(f"{scheme}://"))


def port_of(url: str) -> tuple[str, int]:
    return "127.0.0.1", int(url.rsplit(":", 1)[1])


# === one at a time


def test_every_endpoint_is_back_under_its_url_after_the_edge_was_killed(edge: Edge, agents: Agents, town: Town) -> None:
    agent = agents.from_config(town.config())
    urls = agent.up(len(SCHEMES))
    town.wait_all(edge, urls)

    before = agent.process.position
    edge.kill()
    agent.process.wait_for("session closed, starting reconnect loop", since=before)
    edge.start()
    started = time.monotonic()
    assert sorted(agent.up(len(SCHEMES), since=before)) == sorted(urls)
    print(f"bound again {time.monotonic() - started:.2f} s after the edge was ready")
    for url in urls:
        town.visit(edge, url)


@pytest.mark.parametrize(
    # So many attempts fail in about 0.2 s, 5 s and a minute.
    "attempts",
    [1, 5, pytest.param(9, marks=pytest.mark.slow)],
)
def test_b6_an_edge_that_is_away_for_longer_is_found_again_all_the_same(
    attempts: int, edge: Edge, agents: Agents, town: Town
) -> None:
    agent = agents.from_config(town.config())
    urls = agent.up(len(SCHEMES))
    at = agent.process.position
    edge.kill()
    for _ in range(attempts):
        agent.process.wait_for("failed to reconnect session", since=at, patience=90)
        at = agent.process.position
    edge.start()
    assert sorted(agent.up(len(SCHEMES), since=at)) == sorted(urls)
    for url in urls:
        town.visit(edge, url)


def test_b20_after_a_kill_the_same_names_are_had_again_at_once(edge: Edge, agents: Agents, town: Town) -> None:
    names = ["http://again.localhost", "https://again.localhost", f"tcp://localhost:{edge.tcp_ports[0]}"]
    for _ in range(5):
        agent = agents.from_config(town.config(names))
        for url in agent.up(len(names)):
            town.visit(edge, url)
        agent.kill()


def test_random_names_and_ports_outlive_three_edges(edge: Edge, agents: Agents, town: Town) -> None:
    agent = agents.from_config(town.config(["http://", "tcp://", "tls://"]))
    urls = agent.up(3)
    for _ in range(3):
        before = agent.process.position
        edge.restart()
        assert sorted(agent.up(3, since=before)) == sorted(urls)
    town.wait_all(edge, urls)


def test_visitors_of_a_killed_agent_are_told_at_once(edge: Edge, agents: Agents, town: Town) -> None:
    agent = agents.from_config(town.config(["http://", "https://", "tcp://", "tls://"]))
    urls = agent.up(4)
    web, raw = of(urls, "http"), of(urls, "tcp")
    town.wait_all(edge, urls)
    with (
        Visitor(edge, web) as waiting,
        Visitor(edge, web) as downloading,
        socket.create_connection(port_of(raw), 20) as talking,
    ):
        waiting.connection.request("GET", "/slow", headers={"Host": waiting.host})
        town.http.wait_requests(3)
        answer = downloading.open("GET", f"/bytes/{HUGE}")
        assert answer.read(1 << 16)
        talking.sendall(b"hello")
        assert talking.recv(5) == b"hello"

        before = edge.process.position
        agent.kill()
        edge.process.wait_for("agent disconnected", since=before)
        for url in urls[:2]:
            # Nobody has the name any more, so there is no certificate of it either.
            with RawVisitor(dial(edge, url, context=credulous(["http/1.1"]))) as late:
                late.send(f"GET / HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode())
                gone = late.response()
                assert (gone.status, gone.head.get("ngrok-error-code")) == (404, "ERR_NGROK_3200")
                assert b"is offline" in gone.body
        with pytest.raises(OSError, match=r"refused|reset"):
            socket.create_connection(port_of(raw), 5).recv(1)

        # Those that were being served come to an end, each in the way its protocol has for it.
        told = waiting.connection.getresponse()
        assert told.status in (502, 503), told.status
        assert told.headers["ngrok-error-code"]
        with pytest.raises((OSError, ValueError)):
            drain(answer.fp)
        assert ended(talking)
    town.http.wait_open(0)


def drain(file: object) -> None:
    """Reads a body to its end; one that ends early is an error."""
    read = 0
    while chunk := file.read(1 << 20):  # type: ignore[attr-defined]
        read += len(chunk)
    if read < HUGE // 2:
        raise ValueError("it ended early")


def ended(io: socket.socket) -> bool:
    try:
        return io.recv(1) == b""
    except ConnectionError:
        return True


def test_a_killed_upstream_is_a_502_until_it_is_back_and_leaves_nothing(edge: Edge, agents: Agents, town: Town) -> None:
    agent = agents.from_config(town.config(["http://", "tcp://"]))
    urls = agent.up(2)
    web, raw = of(urls, "http"), of(urls, "tcp")
    town.wait_all(edge, urls)
    base = until("visitors are gone", lambda: settled(edge, agent))

    with Visitor(edge, web) as waiting, Visitor(edge, web) as downloading:
        waiting.connection.request("GET", "/slow", headers={"Host": waiting.host})
        answer = downloading.open("GET", f"/bytes/{HUGE}")
        assert answer.read(1 << 16)
        for upstream in town.upstreams:
            upstream.down()
        assert waiting.connection.getresponse().status == 502
        with pytest.raises((OSError, ValueError)):
            drain(answer.fp)
    for _ in range(20):
        with Visitor(edge, web) as visitor:
            assert (page := visitor.get("/")).status == 502
            assert page.code == "ERR_NGROK_8012"
        with socket.create_connection(port_of(raw), 5) as io:
            assert ended(io)
    for upstream in town.upstreams:
        upstream.up()
    for url in urls:
        town.visit(edge, url)
    until("nothing stays open", lambda: (now := settled(edge, agent)) and now <= base)


def test_an_upstream_that_is_killed_under_load_is_told_honestly_and_served_again(
    edge: Edge, agents: Agents, tmp_path: Path
) -> None:
    """A process of its own, with `kill -9`, and visitors who never stop."""
    (tmp_path / "block").write_bytes(BLOCK * 16)
    port = ports.block()[0]
    url = agents.http(str(port), url="http://killed.localhost").url
    over = threading.Event()
    seen: list[str] = []

    def told() -> str:
        try:
            with Visitor(edge, url) as visitor:
                answer = visitor.get("/block")
        except http.client.IncompleteRead:
            return "cut off"  # by its missing end, not by a shorter body
        whole = answer.status == 200 and answer.body == BLOCK * 16
        return "whole" if whole else f"{answer.status} {answer.code}"

    def visit() -> None:
        while not over.is_set():
            seen.append(told())

    def serve() -> Process:
        where = [str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)]
        return Process("upstream", [sys.executable, "-m", "http.server", *where])

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for thread in visitors:
        thread.start()
    try:
        for _ in range(3):
            upstream = serve()
            before = len(seen)
            until("it serves", lambda before=before: "whole" in seen[before:])  # type: ignore[misc]
            upstream.kill()
            before = len(seen)
            until("it is missed", lambda before=before: "502 ERR_NGROK_8012" in seen[before:])  # type: ignore[misc]
    finally:
        over.set()
        for thread in visitors:
            thread.join()
    assert set(seen) <= {"whole", "cut off", "502 ERR_NGROK_8012", "502 ERR_NGROK_3004"}, set(seen)


def settled(edge: Edge, agent: Agent) -> int | None:
    """Open files of both, once no visitor is connected."""
    metrics = edge.metrics()
    if any(metrics[f'portway_connections{{listener="{door}"}}'] for door in ("http", "https", "tcp")):
        return None
    return edge.process.open_files() + agent.process.open_files()


# === one after the other


@dataclass
class Storm:
    """Kills at random, by a seed, while visitors come and go. One agent is spared: what it holds at the end counts."""

    edge: Edge
    agents: Agents
    town: Town
    seed: int
    over: threading.Event = field(default_factory=threading.Event)
    wrong: list[str] = field(default_factory=list)
    visits: int = 0
    kills: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        first, second = self.edge.tcp_ports[-2:]
        self.fixed = ["http://a.localhost", "https://b.localhost", f"tcp://localhost:{first}", "tls://c.localhost"]
        self.other = ["http://d.localhost", f"tcp://localhost:{second}"]
        # Those with ports of their own come first: a random one could be theirs.
        self.victims = [self.victim(urls) for urls in (self.fixed, self.other)]
        # Its memory is measured: kept requests are not to be a part of it.
        self.spared = self.agents.from_config(self.town.config(agent="{inspect_db_size: 1000000}"))
        self.random_urls = self.spared.up(len(SCHEMES))
        self.urls = [*self.random_urls, *(url for victim in self.victims for url in victim[1])]

    def victim(self, urls: list[str]) -> tuple[Agent, list[str]]:
        agent = self.agents.from_config(self.town.config(urls))
        return agent, agent.up(len(urls))

    def kill_edge(self) -> None:
        self.edge.restart()

    def kill_agent(self) -> None:
        number = self.chance.randrange(2)
        agent, urls = self.victims[number]
        agent.kill()
        self.victims[number] = self.victim([self.fixed, self.other][number])
        assert self.victims[number][1] == urls

    def kill_upstream(self) -> None:
        upstream = self.chance.choice(self.town.upstreams)
        upstream.down()
        upstream.up()

    def kill_visitor(self) -> None:
        """In the middle of a download; its kernel tells with an RST."""
        url = self.chance.choice([url for url in self.urls if url.startswith("http")])
        until(f"{url} serves", lambda: self.town.serves(self.edge, url))
        visitor = Visitor(self.edge, url)
        answer = visitor.open("GET", f"/bytes/{HUGE}")
        assert answer.read(1 << 16)
        visitor.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        answer.close()
        visitor.connection.close()

    def visit(self, number: int) -> None:
        """A visitor that goes from one URL to the next and notes what should never be seen."""
        chance = random.Random(self.seed + number)
        while not self.over.wait(0.03):
            url = chance.choice([url for url in self.urls if url.startswith("http")])
            try:
                with Visitor(self.edge, url) as visitor:
                    answer = visitor.get("/bytes/100000")
            except (OSError, ValueError, struct.error):
                continue
            except Exception as error:  # http.client has its own family for an answer that ended early
                if type(error).__name__ not in ("IncompleteRead", "RemoteDisconnected", "BadStatusLine"):
                    self.wrong.append(repr(error))
                continue
            self.visits += 1
            if answer.status not in HONEST or (answer.status == 200 and len(answer.body) != 100_000):
                self.wrong.append(f"{url}: {answer.status} {answer.body[:100]!r}")

    def run(self, kills: int) -> None:
        visitors = [threading.Thread(target=self.visit, args=(number,), daemon=True) for number in range(2)]
        for visitor in visitors:
            visitor.start()
        kinds = [self.kill_edge, self.kill_agent, self.kill_upstream, self.kill_visitor]
        try:
            for _ in range(kills):
                kill = self.chance.choice(kinds)
                self.kills[kill.__name__] = self.kills.get(kill.__name__, 0) + 1
                kill()
                url = self.chance.choice(self.urls)
                until(f"{url} serves after {kill.__name__}", lambda url=url: self.town.serves(self.edge, url))  # type: ignore[misc]
        finally:
            self.over.set()
            for visitor in visitors:
                visitor.join(40)


def weather(edge: Edge, agents: Agents, town: Town, kills: int) -> None:
    storm = Storm(edge, agents, town, seed=4)
    town.wait_all(edge, storm.urls)
    files = until("visitors are gone", lambda: settled(edge, storm.spared))
    held = {"edge": edge.process.rss_mib(), "agent": storm.spared.process.rss_mib()}

    began = time.monotonic()
    storm.run(kills)
    print(f"{time.monotonic() - began:.0f} s, {storm.kills}, {storm.visits} visits between")

    assert storm.wrong == []
    assert storm.visits > kills
    town.wait_all(edge, storm.urls)
    assert edge.metric("portway_endpoints") == len(storm.urls)
    assert edge.metric("portway_agent_sessions") == 3
    for upstream in town.upstreams:
        upstream.wait_open(0)
    until("nothing stays open", lambda: (now := settled(edge, storm.spared)) and now <= files + 4)
    after = {"edge": edge.process.rss_mib(), "agent": storm.spared.process.rss_mib()}
    print(f"open files {files}, then {settled(edge, storm.spared)}; MiB {held}, then {after}")
    assert all(after[name] < 2 * held[name] + 16 for name in held), (held, after)


def test_40_kills_in_a_row_lose_nothing(edge: Edge, agents: Agents, town: Town) -> None:
    weather(edge, agents, town, 40)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_200_kills_in_a_row_lose_nothing(edge: Edge, agents: Agents, town: Town) -> None:
    weather(edge, agents, town, 200)
