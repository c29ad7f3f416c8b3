"""Visitors on their way to an agent (wire-protocol.md §5): what a stream begins with, and how it ends."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import http2
from harness.edge import Edge
from harness.http2 import Http2Visitor
from harness.muxado import DATA, RST, SYN, Frame, Stream, rst
from harness.raw import RawVisitor
from harness.scripted import GO_HTTP, Refused, ScriptedAgent, response
from harness.visitor import Visitor, dial, trusting


@pytest.fixture(scope="module")
def edge(new_shared_edge: Callable[..., Edge]) -> Edge:
    return new_shared_edge()


@pytest.fixture
def agent(edge: Edge) -> Iterator[ScriptedAgent]:
    with ScriptedAgent.logged_in(edge) as agent:
        yield agent


def first_frame(agent: ScriptedAgent, stream: Stream) -> Frame:
    return agent.of(stream.id)[0]


def port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def tcp(url: str, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port(url)), 20, source_address=(source, 0))


# === rows 13, 14, 15: the first frame


def test_p89_row13_row14_row15_type_length_and_header_are_one_frame_byte_for_byte(
    edge: Edge, agent: ScriptedAgent
) -> None:
    bound = agent.bind("tcp")
    with tcp(bound.url) as visitor:
        client = "{}:{}".format(*visitor.getsockname())
        stream = agent.proxied().stream
        frame = first_frame(agent, stream)
        rest = '"Proto":"tcp","EdgeType":"0","PassthroughTLS":false'
        header = f'{{"Id":"{bound.id}","ClientAddr":"{client}",{rest}}}'.encode()
        assert (frame.kind, frame.flags) == (DATA, SYN), "no FIN with it"
        assert frame.payload == b"\0\0\0\x03" + struct.pack("<q", len(header)) + header


def test_p94_what_the_visitor_sent_comes_right_behind_the_header(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http")
    with Visitor(edge, bound.url) as visitor:
        visitor.connection.request("GET", "/first", headers={"Host": visitor.host})
        proxied = agent.proxied()
        assert proxied.stream.until(b"\r\n\r\n").startswith(b"GET /first HTTP/1.1\r\n")
        frame = first_frame(agent, proxied.stream)
        assert b"}" in frame.payload, "the header is whole in the first frame here too"


def test_row42_no_stream_comes_before_a_request_does(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http")
    host = bound.url.removeprefix("http://")
    with RawVisitor.to(edge, bound.url) as visitor:
        visitor.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n".encode())  # no end of the head yet
        agent.unbind("nothing")
        assert not [stream for stream in agent.streams.values() if stream.kind == 3]
        visitor.send(b"\r\n")
        agent.proxied().stream.send(response(b"ok"))
        assert visitor.response().status == 200


@pytest.mark.parametrize(
    ("proto", "opts", "passthrough"),
    [("http", {}, False), ("https", {}, False), ("tls", {}, True), ("tls", {"TLSTermination": {}}, False)],
    ids=["http", "https", "tls through", "tls ended here"],
)
def test_row15_row43_header_keys_have_their_names_and_types(
    edge: Edge, agent: ScriptedAgent, proto: str, opts: dict[str, Any], passthrough: bool
) -> None:
    bound = agent.bind(proto, opts)
    if proto == "tls":
        assert bound.opts["TLSTermination"] == opts.get("TLSTermination"), "agents go by the answer's"
        raw = socket.create_connection(edge.https, 20)
        context = trusting(edge)
        name = bound.url.removeprefix("tls://").split(":")[0]
        if passthrough:
            out = ssl.MemoryBIO()
            with pytest.raises(ssl.SSLWantReadError):
                context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
            raw.sendall(out.read())
            io: socket.socket = raw
        else:
            io = context.wrap_socket(raw, server_hostname=name)
    else:
        io = dial(edge, bound.url, ["http/1.1"])
        io.sendall(f"GET / HTTP/1.1\r\nHost: {bound.url.split('://')[1]}\r\n\r\n".encode())
    with io:
        header = agent.proxied().header
        assert list(header) == ["Id", "ClientAddr", "Proto", "EdgeType", "PassthroughTLS"]
        assert header["Id"] == bound.id
        assert header["Proto"] == proto
        assert header["EdgeType"] == "0"
        assert header["PassthroughTLS"] is passthrough


def test_p90_a_visitor_over_ipv6_is_told_as_such(new_edge: Callable[..., Edge]) -> None:
    edge = new_edge("--http-addr", "[::1]:0")
    with ScriptedAgent.logged_in(edge) as agent:
        bound = agent.bind("http", {"URL": "http://six.localhost"})
        with socket.create_connection(edge.http, 20) as visitor:
            host = bound.url.removeprefix("http://")
            visitor.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            proxied = agent.proxied()
            assert proxied.header["ClientAddr"] == f"[::1]:{visitor.getsockname()[1]}"


# === ends


def test_p95_a_half_close_is_passed_on_both_ways_on_tcp(agent: ScriptedAgent) -> None:
    bound = agent.bind("tcp")
    with tcp(bound.url) as visitor:
        stream = agent.proxied().stream
        visitor.sendall(b"question")
        visitor.shutdown(socket.SHUT_WR)
        assert stream.everything() == b"question"
        stream.send(b"answer", fin=True)
        assert visitor.recv(100) == b"answer"
        assert visitor.recv(100) == b""
    with tcp(bound.url) as visitor:
        stream = agent.proxied().stream
        stream.send(b"bye", fin=True)
        assert visitor.recv(100) == b"bye"
        assert visitor.recv(100) == b""
        visitor.sendall(b"still talking")
        assert stream.exactly(13) == b"still talking"


def test_p95_row41_an_agent_never_sees_a_lone_fin_on_http(edge: Edge, agent: ScriptedAgent) -> None:
    """A visitor that closes its side has gone, as for other servers: FIN with RST, never FIN as on TCP endpoints."""
    bound = agent.bind("http")
    host = bound.url.removeprefix("http://")
    with RawVisitor.to(edge, bound.url) as visitor:
        visitor.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        stream = agent.proxied().stream
        stream.until(b"\r\n\r\n")
        visitor.io.shutdown(socket.SHUT_WR)
        assert stream.wait_reset() == 6
    with Visitor(edge, bound.url) as kept:
        kept.connection.request("POST", "/", body=b"whole body", headers={"Host": kept.host})
        stream = agent.proxied().stream
        assert stream.until(b"whole body")
        agent.unbind("nothing")
        assert not stream.fin, "the end of a request is no end of the stream"
        stream.send(response(b"ok"))
        assert kept.connection.getresponse().read() == b"ok"


def test_m24_p103_row19_a_visitor_that_goes_away_is_fin_and_then_rst_6(edge: Edge, agent: ScriptedAgent) -> None:
    tcp_url, http_url = agent.bind("tcp").url, agent.bind("http").url
    for number in range(20):
        if number % 2:
            gone: Any = tcp(tcp_url)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream = agent.proxied().stream
        else:
            gone = Visitor(edge, http_url).connection
            gone.request("GET", "/", headers={"Host": http_url.removeprefix("http://")})
            stream = agent.proxied().stream
        gone.close()
        assert stream.wait_reset() == 6
        ends = [frame for frame in agent.of(stream.id) if frame.fin or frame.kind == RST]
        assert [(frame.kind, frame.fin) for frame in ends] == [(DATA, True), (RST, False)], "FIN first"


def test_p103_seven_hundred_visitors_that_go_away_leave_nothing_behind(agent: ScriptedAgent) -> None:
    bound = agent.bind("tcp")
    for _ in range(700):
        visitor = tcp(bound.url)
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream = agent.proxied().stream
        visitor.close()
        stream.wait_reset()
        stream.finish()
    with tcp(bound.url):
        agent.proxied()


def test_p99_m39_row39_fin_followed_by_rst_4_is_the_normal_end_of_an_answer(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http")
    body = b"x" * 100_000
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
    for _ in range(10):
        with Visitor(edge, bound.url) as visitor:
            visitor.connection.request("GET", "/", headers={"Host": visitor.host})
            stream = agent.proxied().stream
            stream.send(head + body, fin=True)
            agent.send(rst(stream.id, 4))
            assert visitor.connection.getresponse().read() == body


def test_p98_row39_an_answer_before_the_upload_is_done_reaches_the_visitor(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http")
    host = bound.url.removeprefix("http://")
    with RawVisitor.to(edge, bound.url) as visitor:
        visitor.send(f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000000\r\n\r\nbegin".encode())
        stream = agent.proxied().stream
        stream.until(b"begin")
        stream.send(response(b"too big", "413 Content Too Large", connection="close"), fin=True)
        agent.send(rst(stream.id, 4))
        answer = visitor.response()
        assert (answer.status, answer.body) == (413, b"too big")


@pytest.mark.parametrize(
    "nonsense",
    [b"HTTP/0.0 502 Bad Gateway\r\n\r\nfailed to dial", b"not http at all\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"],
)
def test_p97_row38_an_answer_that_cannot_be_read_becomes_a_502_page(
    edge: Edge, agent: ScriptedAgent, nonsense: bytes
) -> None:
    bound = agent.bind("http")
    with Visitor(edge, bound.url) as visitor:
        visitor.connection.request("GET", "/", headers={"Host": visitor.host})
        agent.proxied().stream.send(nonsense, fin=True)
        answer = visitor.connection.getresponse()
        assert (answer.status, answer.headers["ngrok-error-code"]) == (502, "ERR_NGROK_3004")


@pytest.mark.parametrize("refuse", [Stream.finish, lambda stream: stream.abort(4), lambda stream: stream.abort(0)])
def test_p96_m23_a_refusal_on_tcp_closes_the_visitors_connection(
    agent: ScriptedAgent, refuse: Callable[[Stream], None]
) -> None:
    bound = agent.bind("tcp")
    with tcp(bound.url) as visitor:
        refuse(agent.proxied().stream)
        with contextlib.suppress(ConnectionResetError):
            assert visitor.recv(1) == b""


def test_p96_a_502_of_the_agents_own_reaches_the_visitor(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http")
    agent.serve_http(lambda request: response(b"failed to dial backend: x", "502 Bad Gateway", connection="close"))
    with Visitor(edge, bound.url) as visitor:
        answer = visitor.get("/")
        assert (answer.status, answer.text) == (502, "failed to dial backend: x")


# === PROXY headers


@pytest.mark.parametrize("proto", ["http", "tcp", "tls"])
@pytest.mark.parametrize("version", [1, 2])
def test_p100_row37_a_proxy_header_is_written_first_and_at_once(
    edge: Edge, agent: ScriptedAgent, proto: str, version: int
) -> None:
    opts = {"ProxyProto": version, **({"TLSTermination": {}} if proto == "tls" else {})}
    bound = agent.bind(proto, opts)
    assert bound.opts["ProxyProto"] == version
    if proto == "tcp":
        io: socket.socket = tcp(bound.url)  # says nothing: the server speaks first
        at = port(bound.url)
    elif proto == "tls":
        name = bound.url.removeprefix("tls://").split(":")[0]
        io = trusting(edge).wrap_socket(socket.create_connection(edge.https, 20), server_hostname=name)
        at = edge.https[1]
    else:
        io = dial(edge, bound.url)
        io.sendall(f"GET / HTTP/1.1\r\nHost: {bound.url.split('://')[1]}\r\n\r\n".encode())
        at = edge.http[1]
    with io:
        me = io.getsockname()[1]
        stream = agent.proxied().stream
        if version == 1:
            assert stream.until(b"\r\n") == f"PROXY TCP4 127.0.0.1 127.0.0.1 {me} {at}\r\n".encode()
        else:
            expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([127, 0, 0, 1] * 2) + struct.pack("!HH", me, at)
            assert stream.exactly(28) == expected
        if proto == "http":
            assert stream.until(b"\r\n") == b"GET / HTTP/1.1\r\n"


def test_proxy_headers_of_no_known_version_are_refused(agent: ScriptedAgent) -> None:
    for version in (3, -1):
        with pytest.raises(Refused) as refused:
            agent.bind("tcp", {"ProxyProto": version})
        assert refused.value.code == 301


# === HTTP/2 to the agent


def test_p102_row44_forwards_proto_http2_is_prior_knowledge_on_the_stream(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("https", forwards_proto="http2")
    with Visitor(edge, bound.url) as visitor:
        visitor.connection.request("GET", "/", headers={"Host": visitor.host})
        assert agent.proxied().stream.exactly(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def test_p102_row44_without_it_an_h2_visitor_is_http_1_1_to_the_agent(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("https", forwards_proto="http1")
    agent.serve_http()
    with Http2Visitor(edge, bound.url) as visitor:
        answer = visitor.ask(http2.request(bound.url.removeprefix("https://"), "/x"))
        assert json.loads(bytes(answer.body))["line"] == "GET /x HTTP/1.1"


def test_p102_other_upstream_protocols_are_refused(agent: ScriptedAgent) -> None:
    with pytest.raises(Refused) as refused:
        agent.bind("https", GO_HTTP, forwards_proto="http3")
    assert refused.value.code == 15003
