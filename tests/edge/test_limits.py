"""What nobody may exceed: who tries is let go and counted, and everybody else is served meanwhile."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harness.agents import Agent, Agents
from harness.edge import Address, Edge, address
from harness.http2 import Http2Visitor, request
from harness.process import until
from harness.raw import RawVisitor
from harness.site import Site
from harness.visitor import credulous

NewEdge = Callable[..., Edge]
AgentsOf = Callable[[Edge], Agents]

# Soon reached; what is to stay within it takes a fraction of it.
SHORT = "500ms"


class Limited:
    """An edge with limits of its own, and an endpoint for everybody who keeps to them."""

    def __init__(self, edge: Edge, agents: Agents, upstream: str) -> None:
        self.edge = edge
        self.agents = agents
        self.agent = agents.http(upstream, url="http://fair.localhost")
        self.agent.up()

    def refused(self, listener: str, reason: str) -> float:
        name = f'portway_connections_refused_total{{listener="{listener}",reason="{reason}"}}'
        return self.edge.metrics()[name]

    @contextmanager
    def one_more(self, listener: str, reason: str) -> Iterator[None]:
        """Somebody is turned away for this reason, and a normal visitor is served before and after."""
        before = self.refused(listener, reason)
        self.serves()
        yield
        until(f"{listener}: {reason}", lambda: self.refused(listener, reason) > before)
        self.serves()

    def serves(self) -> None:
        assert self.agent.get("/bytes/3").status == 200

    def raw(self, to: Address | None = None) -> RawVisitor:
        return RawVisitor(self.edge.connect(to))


Limit = Callable[..., Limited]


@pytest.fixture
def limit(new_edge: NewEdge, agents_of: AgentsOf, site: Site, tmp_path: Path) -> Limit:
    """Makes edges: limits by name, and what else is to be in edge.yml."""

    def make(more: str = "", **limits: object) -> Limited:
        config = tmp_path / "edge.yml"
        lines = [f"  {name}: {value}" for name, value in limits.items()]
        config.write_text("\n".join(["limits:", *lines, more, ""]))
        edge = new_edge("--config", str(config))
        return Limited(edge, agents_of(edge), site.upstream.url)

    return make


HEAD = b"GET /bytes/3 HTTP/1.1\r\nHost: fair.localhost\r\n"


# === size


def test_a_head_that_is_too_long_is_answered_431(limit: Limit) -> None:
    limited = limit(header_bytes=16_384)
    with limited.raw() as raw:
        raw.send(HEAD + b"X: " + b"y" * 12_000 + b"\r\n\r\n")
        assert raw.response().status == 200, "below the limit"
    with limited.one_more("http", "oversized"), limited.raw() as raw:
        raw.send_leniently(HEAD + b"X: " + b"y" * 40_000 + b"\r\n\r\n")
        assert raw.response().status == 431


def test_a_head_without_end_is_cut_off(limit: Limit) -> None:
    limited = limit(header_bytes=16_384)
    with limited.one_more("http", "oversized"), limited.raw() as raw, contextlib.suppress(ConnectionError):
        raw.send(HEAD)
        for n in range(100_000):
            raw.send(b"X-%d: y\r\n" % n)
        pytest.fail("100 000 headers were taken")


def test_too_many_headers_are_answered_431(limit: Limit) -> None:
    limited = limit(header_count=20)
    for count, status in ((10, 200), (40, 431)):
        with limited.raw() as raw:
            raw.send(HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(count)) + b"\r\n")
            assert raw.response().status == status
        with Http2Visitor(limited.edge, "http://fair.localhost") as visitor:
            more = [(f"x-{n}", "y") for n in range(count)]
            fields = [*request("fair.localhost", "/bytes/3", scheme="http"), *more]
            assert visitor.ask(fields).status == status


def test_http_2_headers_that_are_too_long_are_not_taken(limit: Limit) -> None:
    limited = limit(header_bytes=16_384)
    with Http2Visitor(limited.edge, "http://fair.localhost") as visitor:
        big = [*request("fair.localhost", scheme="http"), *((f"x-{n}", "y" * 1000) for n in range(60))]
        answer = visitor.ask(big)
        assert answer.status == 431 or answer.reset is not None or visitor.gone is not None
    limited.serves()


# === time


def test_who_says_nothing_is_let_go(limit: Limit) -> None:
    limited = limit(head_timeout=SHORT)
    with limited.one_more("http", "slow"), limited.raw() as raw:
        assert raw.closed()


@pytest.mark.parametrize("begun", [b"P", b"GET / HT", HEAD, b"PRI * HTTP/2.0\r\n\r\nSM"])
def test_who_does_not_finish_a_head_is_let_go(limit: Limit, begun: bytes) -> None:
    limited = limit(head_timeout=SHORT)
    with limited.one_more("http", "slow"), limited.raw() as raw:
        raw.send(begun)
        assert raw.closed()


def test_who_trickles_a_head_is_let_go(limit: Limit) -> None:
    limited = limit(head_timeout=SHORT)
    with limited.one_more("http", "slow"), limited.raw() as raw:
        raw.io.settimeout(0.05)
        raw.send(HEAD)
        for n in range(10_000):
            with contextlib.suppress(TimeoutError):
                if raw.io.recv(1) == b"":
                    break
            with contextlib.suppress(ConnectionError):
                raw.send(b"X-%d: y\r\n" % n)
        else:
            pytest.fail("headers were waited for without end")


def test_http_2_without_a_request_is_let_go(limit: Limit) -> None:
    limited = limit(head_timeout=SHORT)
    with limited.one_more("http", "slow"), Http2Visitor(limited.edge, "http://fair.localhost") as visitor:
        while visitor.gone is None:
            visitor.h2.ping(b"still on")
            visitor.flush()
            visitor._turn()


def test_who_stops_in_a_body_is_let_go(limit: Limit, site: Site) -> None:
    limited = limit(idle_timeout=SHORT)
    open_before = site.upstream.open_connections
    with limited.raw() as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: fair.localhost\r\nContent-Length: 1000\r\n\r\nonly this")
        assert raw.response().status == 400
        assert raw.closed()
    site.upstream.wait_open(open_before)
    limited.serves()


def test_a_body_takes_as_long_as_it_takes(limit: Limit, site: Site) -> None:
    limited = limit(idle_timeout=SHORT)
    with limited.raw() as raw:
        raw.io.settimeout(0.1)
        raw.send(b"POST / HTTP/1.1\r\nHost: fair.localhost\r\nContent-Length: 30\r\n\r\n")
        for _ in range(29):  # three seconds, six times the limit
            raw.send(b"x")
            with contextlib.suppress(TimeoutError):
                pytest.fail(f"answered early: {raw.io.recv(1000)!r}")
        raw.io.settimeout(20)
        raw.send(b"x")
        assert raw.response().status == 200


def test_an_upstream_that_does_not_answer_is_a_504(limit: Limit) -> None:
    limited = limit(idle_timeout=SHORT)
    with limited.agent.visitor() as visitor:
        answer = visitor.get("/slow")
    assert (answer.status, answer.code) == (504, "ERR_NGROK_3008")


def test_a_connection_on_which_nothing_moves_is_let_go(limit: Limit, site: Site) -> None:
    limited = limit(idle_timeout=SHORT, head_timeout=SHORT)
    with limited.one_more("http", "idle"), limited.raw() as raw:
        raw.send(HEAD + b"\r\n")
        assert raw.response().status == 200
        assert raw.closed()
    with limited.one_more("http", "idle"), limited.raw() as raw:
        raw.send(b"GET /events HTTP/1.1\r\nHost: fair.localhost\r\n\r\n")
        assert raw.head().status == 200
        raw.everything()
    site.upstream.wait_open(1)  # that of the agent's visitor at most


def test_who_does_not_read_is_let_go(limit: Limit, site: Site) -> None:
    limited = limit(idle_timeout=SHORT, head_timeout=SHORT)
    io = socket.socket()
    io.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    io.connect(limited.edge.http)
    with limited.one_more("http", "idle"), RawVisitor(io) as raw:
        raw.send(b"GET /bytes/100000000 HTTP/1.1\r\nHost: fair.localhost\r\n\r\n")
        until("it is let go", lambda: limited.refused("http", "idle") == 1)
    site.upstream.wait_open(1)


def test_a_tcp_connection_on_which_nothing_moves_is_let_go(limit: Limit, site: Site) -> None:
    limited = limit(tcp_idle_timeout=SHORT)
    upstream = site.upstreams.recording()
    agent = limited.agents.tcp(upstream.address)
    with limited.raw(("127.0.0.1", address(agent.url.removeprefix("tcp://"))[1])) as raw:
        upstream.wait_connections(1)
        assert raw.closed()
    upstream.wait_open(0)


def test_a_handshake_without_end_is_let_go(limit: Limit) -> None:
    limited = limit(handshake_timeout=SHORT)
    hello = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        credulous().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="fair.localhost").do_handshake()
    sent = hello.read()
    for listener, to in (("https", limited.edge.https), ("agent", limited.edge.agent)):
        for part in (b"", sent[:3], sent[: len(sent) // 2], sent):
            with limited.one_more(listener, "slow"), limited.raw(to) as raw:
                raw.send(part)
                raw.everything()


# === how many


def test_a_listener_has_room_for_so_many_and_no_more(limit: Limit) -> None:
    limited = limit(connections=4)
    with ExitStack() as held:
        kept = [held.enter_context(limited.raw()) for _ in range(4)]
        for raw in kept:
            raw.send(HEAD + b"\r\n")
            assert raw.response().status == 200
        with limited.raw() as late:
            assert late.closed()
        assert limited.refused("http", "limit") == 1
        kept[0].send(HEAD + b"\r\n")
        assert kept[0].response().status == 200, "who is in stays in"
        kept[0].close()
        until("there is room again", lambda: limited.agent.get("/bytes/1").status == 200 if _room(limited) else None)


def _room(limited: Limited) -> bool:
    return limited.edge.metrics()['portway_connections{listener="http"}'] < 4


def test_an_address_has_room_for_so_many_and_no_more(limit: Limit) -> None:
    """Addresses of this machine are not counted, so the visitors come through a load balancer."""
    limited = limit("proxy_protocol: {https: true}", connections_per_address=2)

    def visitor(source: str) -> socket.socket:
        io = limited.edge.connect(limited.edge.https)
        io.sendall(f"PROXY TCP4 {source} 198.51.100.1 4711 443\r\n".encode())
        return io

    def admitted(io: socket.socket, held: ExitStack) -> bool:
        try:
            held.enter_context(credulous().wrap_socket(io, server_hostname="fair.localhost"))
        except (OSError, ssl.SSLError):
            return False
        return True

    with ExitStack() as held:
        for _ in range(2):
            assert admitted(visitor("203.0.113.9"), held)
        with limited.one_more("https", "limit"):
            assert not admitted(visitor("203.0.113.9"), held)
        assert admitted(visitor("203.0.113.10"), held), "somebody else is not meant"
    with ExitStack() as held:
        until("the places are free again", lambda: admitted(visitor("203.0.113.9"), held))


# === garbage on every port


def garbage() -> Iterator[bytes]:
    """The same for every run; the lengths from nothing to much."""
    chosen = random.Random(4)
    for length in (1, 2, 7, 24, 100, 1000, 20_000):
        yield chosen.randbytes(length)
    yield b"\x00" * 1000
    yield b"\r\n" * 1000
    yield b"\x16\x03\x01\xff\xff" + chosen.randbytes(1000)  # a TLS record that promises much
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + chosen.randbytes(1000)
    yield b"GET / HTTP/1.1\r\n" + chosen.randbytes(1000)


@pytest.mark.parametrize("listener", ["http", "https", "agent", "api"])
def test_garbage_is_counted_and_disturbs_nobody(limit: Limit, listener: str) -> None:
    limited = limit(head_timeout=SHORT, handshake_timeout=SHORT)
    to: Address = getattr(limited.edge, listener)

    def turned() -> float:
        return sum(limited.refused(listener, reason) for reason in ("garbage", "slow", "oversized"))

    before = turned()
    with limited.one_more(listener, "garbage"):
        for data in garbage():
            with limited.raw(to) as raw:
                raw.send_leniently(data)
                with contextlib.suppress(OSError):
                    raw.io.shutdown(socket.SHUT_WR)
                raw.everything()
    assert turned() > before + 3
    until("they are gone", lambda: limited.edge.metrics()[f'portway_connections{{listener="{listener}"}}'] <= 1)
    assert limited.edge.process.running()


def test_garbage_within_tls_is_counted_and_disturbs_nobody(limit: Limit) -> None:
    limited = limit(head_timeout=SHORT)
    limited.agents.http("1", url="https://fair.localhost").up()
    for listener, to in (("https", limited.edge.https), ("agent", limited.edge.agent)):
        with limited.one_more(listener, "garbage"):
            for data in garbage():
                io = credulous().wrap_socket(limited.edge.connect(to), server_hostname="fair.localhost")
                with RawVisitor(io) as raw, contextlib.suppress(ssl.SSLError, OSError):
                    raw.send_leniently(data)
                    if listener == "https":
                        raw.everything()


def test_garbage_for_a_tcp_endpoint_is_the_upstreams_affair(limit: Limit, site: Site) -> None:
    limited = limit()
    upstream = site.upstreams.recording()
    agent: Agent = limited.agents.tcp(upstream.address)
    port = address(agent.url.removeprefix("tcp://"))[1]
    sent = list(garbage())
    for data in sent:
        with limited.raw(("127.0.0.1", port)) as raw:
            raw.send(data)
            raw.io.shutdown(socket.SHUT_WR)
            assert raw.closed()
    assert [bytes(received) for received in upstream.received] == sent
    limited.serves()
