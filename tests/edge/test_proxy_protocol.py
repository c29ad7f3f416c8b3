"""PROXY headers: what a load balancer in front of an edge tells is believed, and upstreams are told in turn."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import struct
from collections.abc import Callable

import pytest

from harness.agents import Agents
from harness.edge import Address, Edge, address
from harness.process import until
from harness.raw import RawVisitor
from harness.site import Site
from harness.tls import Authority
from harness.upstreams import Listening, Loop, RecordingUpstream

NewEdge = Callable[..., Edge]

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
VISITOR: Address = ("203.0.113.9", 4711)
VISITOR_6: Address = ("2001:db8::9", 4711)
HERE: Address = ("198.51.100.1", 443)
HERE_6: Address = ("2001:db8::1", 443)


def v1(source: Address = VISITOR, to: Address = HERE) -> bytes:
    family = "TCP6" if ":" in source[0] else "TCP4"
    return f"PROXY {family} {source[0]} {to[0]} {source[1]} {to[1]}\r\n".encode()


def v2(source: Address = VISITOR, to: Address = HERE, extra: bytes = b"") -> bytes:
    addresses = b"".join(ipaddress.ip_address(host).packed for host, _ in (source, to))
    body = addresses + struct.pack("!HH", source[1], to[1]) + extra
    return SIGNATURE + bytes([0x21, 0x21 if ":" in source[0] else 0x11]) + struct.pack("!H", len(body)) + body


def told(header: bytes) -> tuple[Address, Address, bytes]:
    """Source, target and what follows, of a header of either version."""
    if header.startswith(b"PROXY "):
        line, _, rest = header.partition(b"\r\n")
        _, _, source, target, source_port, target_port = line.decode().split(" ")
        return (source, int(source_port)), (target, int(target_port)), rest
    assert header.startswith(SIGNATURE), header
    version, family, length = struct.unpack_from("!BBH", header, 12)
    assert (version, family) == (0x21, 0x11)
    source, target = (socket.inet_ntoa(header[at : at + 4]) for at in (16, 20))
    source_port, target_port = struct.unpack_from("!HH", header, 24)
    return (source, source_port), (target, target_port), header[16 + length :]


HEADERS = {
    "v1": (v1(), VISITOR[0]),
    "v1 of IPv6": (v1(VISITOR_6, HERE_6), VISITOR_6[0]),
    "v1 of nobody": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v2": (v2(), VISITOR[0]),
    "v2 of IPv6": (v2(VISITOR_6, HERE_6), VISITOR_6[0]),
    "v2 with more": (v2(extra=b"\x04\x00\x05hello" * 20), VISITOR[0]),
    "v2 of the balancer itself": (SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1"),
}


# === in front of the edge


@pytest.fixture
def balanced(new_edge: NewEdge) -> Edge:
    """An edge whose visitors come through a load balancer."""
    return new_edge("--proxy-protocol", "http,https,tcp")


def get(io: socket.socket, host: str) -> int:
    with RawVisitor(io) as raw:
        raw.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return raw.response().status


def test_http_visitors_are_who_the_header_says(balanced: Edge, agents_of: Callable[[Edge], Agents], site: Site) -> None:
    agents_of(balanced).http(site.upstream.url, url="http://a.localhost").up()
    for name, (header, source) in HEADERS.items():
        io = balanced.connect()
        io.sendall(header)
        assert get(io, "a.localhost") == 200, name
        assert site.upstream.seen[-1].header("x-forwarded-for") == source, name


def test_https_visitors_are_who_the_header_says(
    balanced: Edge, agents_of: Callable[[Edge], Agents], site: Site
) -> None:
    agents_of(balanced).http(site.upstream.url, url="https://a.localhost").up()
    for name, (header, source) in HEADERS.items():
        io = balanced.connect(balanced.https)
        io.sendall(header)
        tls = ssl.create_default_context(cafile=str(balanced.ca)).wrap_socket(io, server_hostname="a.localhost")
        assert get(tls, "a.localhost") == 200, name
        assert site.upstream.seen[-1].header("x-forwarded-for") == source, name


def test_tcp_visitors_are_who_the_header_says(balanced: Edge, agents_of: Callable[[Edge], Agents], site: Site) -> None:
    upstream = site.upstreams.recording()
    agent = agents_of(balanced).tcp(upstream.address, "--upstream-proxy-protocol", "1")
    port = address(agent.url.removeprefix("tcp://"))[1]
    for header in (v1(), v2()):
        with balanced.connect(("127.0.0.1", port)) as io:
            io.sendall(header + b"and the first words")
            assert first_words(upstream, b"words")[0] == VISITOR


def test_a_header_may_come_byte_by_byte_or_with_the_request(
    balanced: Edge, agents_of: Callable[[Edge], Agents], site: Site
) -> None:
    agents_of(balanced).http(site.upstream.url, url="http://a.localhost").up()
    for header in (v1(), v2()):
        io = balanced.connect()
        io.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header:
            io.sendall(bytes([byte]))
        assert get(io, "a.localhost") == 200
        with RawVisitor(balanced.connect()) as raw:
            raw.send(header + b"GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
            assert raw.response().status == 200


@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n",
        b"PROXY TCP4 nonsense 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 1 70000\r\n",
        b"PROXY TCP4 2001:db8::9 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 1 2" + b" " * 3000,
        SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),
    ],
    ids=["none", "no address", "no port", "another family", "endless", "version 3", "too short"],
)
def test_who_comes_past_the_balancer_is_not_served(balanced: Edge, header: bytes) -> None:
    before = refused(balanced, "http", "garbage")
    with RawVisitor(balanced.connect()) as raw:
        raw.send_leniently(header + b"GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
        assert raw.closed()
    until("it is counted", lambda: refused(balanced, "http", "garbage") == before + 1)


def refused(edge: Edge, listener: str, reason: str) -> float:
    return edge.metrics()[f'portway_connections_refused_total{{listener="{listener}",reason="{reason}"}}']


def test_a_header_nobody_asked_for_is_no_request(site: Site) -> None:
    with RawVisitor(site.edge.connect()) as raw:
        raw.send(v1() + f"GET / HTTP/1.1\r\nHost: {site.host('http')}\r\n\r\n".encode())
        assert raw.response().status == 400


class Balancer(Listening):
    """A load balancer that tells who connects."""

    def __init__(self, loop: Loop, behind: Address) -> None:
        self.behind = behind
        super().__init__(loop)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(*self.behind)
        forth.write(v2())

        async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    target.write(data)
                    await target.drain()
            target.close()

        await asyncio.gather(carry(reader, forth), carry(back, writer))


def test_agents_come_through_a_balancer_too(new_edge: NewEdge, agents_of: Callable[[Edge], Agents], site: Site) -> None:
    edge = new_edge("--proxy-protocol", "agent")
    balancer = Balancer(site.upstreams.loop, edge.agent)
    site.upstreams.made.append(balancer)
    agent = agents_of(edge).http(
        site.upstream.url, url="http://a.localhost", env={"PORTWAY_CONNECT_URL": balancer.address}
    )
    agent.up()
    assert edge.process.wait_for("agent connected")["r"] == "{}:{}".format(*VISITOR)
    assert agent.get("/").status == 200, "its visitors need no header"


# === towards upstreams


def first_words(upstream: RecordingUpstream, wanted: bytes) -> tuple[Address, Address, bytes]:
    """What the last connection began with, once `wanted` is in it."""
    until("the first words", lambda: upstream.received and wanted in upstream.received[-1])
    return told(bytes(upstream.received[-1]))


both = pytest.mark.parametrize("version", ["1", "2"])


@both
def test_b16_an_http_upstream_is_told_of_each_visitor(site: Site, version: str) -> None:
    upstream = site.upstreams.recording()
    agent = site.agents.http(upstream.address, "--upstream-proxy-protocol", version, url="http://")
    host = agent.url.removeprefix("http://")
    for path in ("/one", "/two"):
        with site.edge.connect() as io:
            io.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            source, target, rest = first_words(upstream, path.encode())
            assert (source, target) == (io.getsockname(), site.edge.http)
            assert rest.startswith(f"GET {path} HTTP/1.1\r\n".encode())
        upstream.wait_open(0)


@both
def test_b16_a_tcp_upstream_is_told_of_each_visitor(site: Site, version: str) -> None:
    upstream = site.upstreams.recording()
    agent = site.agents.tcp(upstream.address, "--upstream-proxy-protocol", version)
    port = address(agent.url.removeprefix("tcp://"))[1]
    with socket.create_connection(("127.0.0.1", port), 20) as io:
        io.sendall(b"hello")
        assert first_words(upstream, b"hello") == (io.getsockname(), ("127.0.0.1", port), b"hello")


@both
def test_b16_a_tls_upstream_is_told_in_front_of_the_handshake(site: Site, version: str) -> None:
    upstream = site.upstreams.recording()
    name = f"told-{version}.localhost"
    site.agents.tls(upstream.address, "--upstream-proxy-protocol", version, url=f"tls://{name}").up()
    outgoing = ssl.MemoryBIO()
    hello = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    sent = outgoing.read()
    with site.edge.connect(site.edge.https) as io:
        io.sendall(sent)
        assert first_words(upstream, sent) == (io.getsockname(), site.edge.https, sent)


@both
def test_b16_tls_that_ends_before_the_upstream_leaves_the_header_in_front(
    site: Site, authority: Authority, version: str
) -> None:
    upstream = site.upstreams.recording()
    for where in ("edge", "agent"):
        name = f"{where}-{version}.localhost"
        pair = authority.pair(name)
        flags = ("--terminate-at", where, "--crt", str(pair.cert), "--key", str(pair.key))
        site.agents.tls(upstream.address, *flags, "--upstream-proxy-protocol", version, url=f"tls://{name}").up()
        context = ssl.create_default_context(cafile=str(authority.pem))
        with context.wrap_socket(site.edge.connect(site.edge.https), server_hostname=name) as io:
            io.sendall(f"plain {where}".encode())
            said = f"plain {where}".encode()
            assert first_words(upstream, said) == (io.getsockname(), site.edge.https, said)
