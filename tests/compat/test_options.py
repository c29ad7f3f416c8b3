"""Options of the SDKs' builders, each with a visitor who passes and one who does not.

Version 2 of the Go SDK has none of them: it says all this in a traffic policy, which this edge refuses (see
`test_refused_options.py`).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import socket
import ssl
import struct
import time
from concurrent import futures
from urllib.parse import urlsplit

import grpc
import pytest
from websockets.sync.client import connect as open_websocket

from harness.edge import Edge
from harness.sdk import Option, Sdk, Sdks, Want, each
from harness.tls import Authority
from harness.upstreams import HttpUpstream, Upstreams
from harness.visitor import Answer, Visitor, dial, trusting

OLD = each(go2="version 2 has traffic policies instead")

IP_BLOCKED = (403, "ERR_NGROK_3205")
CIRCUIT_OPEN = (503, "ERR_NGROK_3202")
AGENT_BLOCKED = (403, "ERR_NGROK_3211")
NOT_SIGNED = (403, "ERR_NGROK_3204")
NO_WEBSOCKET = "ERR_NGROK_3206"
PASSED = (200, None)


def told(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.code


def from_address(edge: Edge, url: str, address: str) -> Answer:
    """A visitor of an http endpoint who comes from that address."""
    visitor = Visitor(edge, url)
    visitor.connection.sock.close()
    visitor.connection.sock = socket.create_connection(edge.http, 20, (address, 0))
    with visitor:
        return visitor.get("/")


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


def http(sdks: Sdks, kind: str, upstream: HttpUpstream, *options: Option, scheme: str = "https") -> Sdk:
    return sdks.run(kind, Want("http", upstream.url, f"{scheme}://opt-{time.time_ns():x}.localhost", options))


# === who may come


@OLD
def test_basic_auth_lets_in_who_knows_the_password(sdks: Sdks, upstream: HttpUpstream, kind: str) -> None:
    sdk = http(sdks, kind, upstream, ("basic_auth", "ann", "long enough"), ("basic_auth", "bob", "another one"))
    refused = sdk.get("/")
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    for who, status in (("ann:long enough", 200), ("bob:another one", 200), ("ann:another one", 401), ("eve:", 401)):
        given = "Basic " + base64.b64encode(who.encode()).decode()
        assert sdk.get("/", Authorization=given).status == status, who
    assert len(upstream.seen) == 2


@OLD
def test_only_allowed_addresses_come_in(sdks: Sdks, edge: Edge, upstream: HttpUpstream, kind: str) -> None:
    sdk = http(sdks, kind, upstream, ("allow_cidr", "127.0.0.8/30"), scheme="http")
    assert told(from_address(edge, sdk.url, "127.0.0.9")) == PASSED
    assert told(from_address(edge, sdk.url, "127.0.0.12")) == IP_BLOCKED
    assert len(upstream.seen) == 1


@OLD
def test_denied_addresses_stay_out(sdks: Sdks, edge: Edge, upstream: HttpUpstream, kind: str) -> None:
    sdk = http(sdks, kind, upstream, ("deny_cidr", "127.0.0.9/32"), ("allow_cidr", "127.0.0.0/8"), scheme="http")
    assert told(from_address(edge, sdk.url, "127.0.0.10")) == PASSED
    assert told(from_address(edge, sdk.url, "127.0.0.9")) == IP_BLOCKED
    assert len(upstream.seen) == 1


@OLD
def test_addresses_are_denied_on_tcp_too(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.echo()
    options = [("deny_cidr", "127.0.0.9/32"), ("allow_cidr", "127.0.0.0/8")]
    sdk = sdks.run(kind, Want("tcp", f"tcp://{upstream.address}", options=options))
    to = ("127.0.0.1", urlsplit(sdk.url).port or 0)
    with socket.create_connection(to, 20, ("127.0.0.9", 0)) as io:
        assert io.recv(10) == b""
    with socket.create_connection(to, 20, ("127.0.0.10", 0)) as io:
        io.sendall(b"hello")
        assert io.recv(10) == b"hello"
    assert upstream.connections == 1


@OLD
def test_user_agents_are_let_in_and_kept_out(sdks: Sdks, upstream: HttpUpstream, kind: str) -> None:
    options = (("deny_user_agent", ".*Bot.*"), ("allow_user_agent", "^GoodBot/"))
    sdk = http(sdks, kind, upstream, *options)
    assert told(sdk.get("/", User_Agent="curl/8")) == PASSED
    assert told(sdk.get("/", User_Agent="GoodBot/1")) == PASSED
    assert told(sdk.get("/", User_Agent="BadBot/1")) == AGENT_BLOCKED
    assert len(upstream.seen) == 2


@OLD
def test_client_certificates_of_one_ca_are_asked_for(
    sdks: Sdks, edge: Edge, upstream: HttpUpstream, authority: Authority, kind: str
) -> None:
    sdk = http(sdks, kind, upstream, ("mutual_tlsca", authority.pem.read_text()))
    pair = authority.pair("visitor.example")
    known = trusting(edge, ["http/1.1"])
    known.load_cert_chain(pair.cert, pair.key)
    request = f"GET / HTTP/1.1\r\nHost: {urlsplit(sdk.url).netloc}\r\nConnection: close\r\n\r\n".encode()
    with dial(edge, sdk.url, context=known) as io:
        io.sendall(request)
        assert io.recv(100).startswith(b"HTTP/1.1 200")
    # TLS 1.3 says no only where the visitor reads.
    with dial(edge, sdk.url, context=trusting(edge)) as io, pytest.raises((ssl.SSLError, ConnectionError)):
        io.recv(100)
    assert len(upstream.seen) == 1


@OLD
def test_webhooks_must_be_signed_by_their_provider(sdks: Sdks, upstream: HttpUpstream, kind: str) -> None:
    sdk = http(sdks, kind, upstream, ("webhook_verification", "github", "the secret"))
    body = b'{"action": "opened"}'
    signature = "sha256=" + hmac.new(b"the secret", body, hashlib.sha256).hexdigest()
    with sdk.visitor() as visitor:
        for given, sent, expected in (
            ({"X-Hub-Signature-256": signature}, body, PASSED),
            ({"X-Hub-Signature-256": signature}, body + b" ", NOT_SIGNED),
            ({"X-Hub-Signature-256": "sha256=" + "0" * 64}, body, NOT_SIGNED),
            ({}, body, NOT_SIGNED),
        ):
            assert told(visitor.ask("POST", "/hook", body=sent, headers=given)) == expected, given
    assert [seen.body for seen in upstream.seen] == [body]


@OLD
def test_webhooks_with_a_time_must_be_fresh(sdks: Sdks, upstream: HttpUpstream, kind: str) -> None:
    sdk = http(sdks, kind, upstream, ("webhook_verification", "slack", "the secret"))
    body = b"token=x&text=hello"

    def signed(at: int) -> dict[str, str]:
        mac = hmac.new(b"the secret", f"v0:{at}:".encode() + body, hashlib.sha256)
        return {"X-Slack-Signature": "v0=" + mac.hexdigest(), "X-Slack-Request-Timestamp": str(at)}

    with sdk.visitor() as visitor:
        now = int(time.time())
        assert told(visitor.ask("POST", "/hook", body=body, headers=signed(now))) == PASSED
        assert told(visitor.ask("POST", "/hook", body=body, headers=signed(now - 3600))) == NOT_SIGNED


# === what is changed


@OLD
def test_headers_are_added_to_and_taken_from_both_ways(sdks: Sdks, upstream: HttpUpstream, kind: str) -> None:
    sdk = http(
        sdks,
        kind,
        upstream,
        ("request_header", "X-Added", "by the edge"),
        ("remove_request_header", "X-Secret"),
        ("response_header", "X-Answered", "by the edge"),
        ("remove_response_header", "Content-Type"),
    )
    answer = sdk.get("/", X_Secret="mine", X_Other="kept")
    assert answer.headers["x-answered"] == "by the edge"
    assert answer.headers["content-type"] is None
    seen = upstream.seen[0]
    given = (seen.header("x-added"), seen.header("x-secret"), seen.header("x-other"))
    assert given == ("by the edge", None, "kept")


@OLD
def test_answers_are_compressed_for_who_takes_it(sdks: Sdks, upstream: HttpUpstream, kind: str) -> None:
    sdk = http(sdks, kind, upstream, ("compression",))
    plain = sdk.get("/bytes/100000", Accept_Encoding="identity")
    small = sdk.get("/bytes/100000", Accept_Encoding="gzip")
    assert (plain.headers["content-encoding"], small.headers["content-encoding"]) == (None, "gzip")
    assert len(small.body) < len(plain.body) / 10
    assert gzip.decompress(small.body) == plain.body


@OLD
def test_the_circuit_breaker_spares_an_upstream_that_fails(sdks: Sdks, upstream: HttpUpstream, kind: str) -> None:
    sdk = http(sdks, kind, upstream, ("circuit_breaker", 0.5))
    with sdk.visitor() as visitor:
        while told(visitor.get("/status/500")) == (500, None):
            assert len(upstream.seen) < 100, "it never opens"
        asked = len(upstream.seen)
        assert asked >= 10, "a few failures are not enough"
        assert told(visitor.get("/status/200")) == CIRCUIT_OPEN
    assert len(upstream.seen) == asked


@OLD
def test_a_circuit_breaker_lets_a_healthy_upstream_be(sdks: Sdks, upstream: HttpUpstream, kind: str) -> None:
    sdk = http(sdks, kind, upstream, ("circuit_breaker", 0.9))
    with sdk.visitor() as visitor:
        for _ in range(15):
            assert visitor.get("/status/500").status == 500
            assert visitor.get("/status/200").status == 200


@OLD
def test_websocket_messages_become_bytes_of_tcp(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.recording(greeting=b"220 ready\r\n")
    options = [("websocket_tcp_conversion",)]
    sdk = sdks.run(kind, Want("http", f"tcp://{upstream.address}", f"http://ws-{kind}.localhost", options))
    host = sdk.url.split("://")[1]
    with open_websocket(f"ws://{host}/", sock=dial(edge, sdk.url), proxy=None) as websocket:
        assert websocket.recv(20) == b"220 ready\r\n"
        websocket.send(b"HELO ")
        websocket.send("you\r\n")
    upstream.wait_open(0)
    assert bytes(upstream.received[0]) == b"HELO you\r\n"
    assert sdk.get("/").code == NO_WEBSOCKET
    assert upstream.connections == 1


# === what the upstream is told


@each()
def test_proxy_header_1_names_the_visitor(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.recording()
    sdk = sdks.run(kind, Want("tcp", f"tcp://{upstream.address}", options=[("proxy_proto", "1")]))
    with dial(edge, sdk.url) as io:
        visitor, local = io.getsockname(), io.getpeername()
        io.sendall(b"hello, upstream")
        io.shutdown(socket.SHUT_WR)
        upstream.wait_connections(1)
        upstream.wait_open(0)
    line = f"PROXY TCP4 {visitor[0]} {local[0]} {visitor[1]} {local[1]}\r\n".encode()
    assert bytes(upstream.received[0]) == line + b"hello, upstream"


@each()
def test_proxy_header_2_names_the_visitor(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.recording()
    sdk = sdks.run(kind, Want("tcp", f"tcp://{upstream.address}", options=[("proxy_proto", "2")]))
    with dial(edge, sdk.url) as io:
        visitor, local = io.getsockname(), io.getpeername()
        io.sendall(b"hello, upstream")
        io.shutdown(socket.SHUT_WR)
        upstream.wait_connections(1)
        upstream.wait_open(0)
    header = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(
        "!BBH4s4sHH", 0x21, 0x11, 12, socket.inet_aton(visitor[0]), socket.inet_aton(local[0]), visitor[1], local[1]
    )
    assert bytes(upstream.received[0]) == header + b"hello, upstream"


@each(go2="it never tells the edge that its upstream speaks HTTP/2")
def test_an_http2_upstream_is_spoken_to_in_http2(sdks: Sdks, edge: Edge, kind: str) -> None:
    """gRPC, for it knows nothing else."""

    class Echo(grpc.GenericRpcHandler):
        def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
            return grpc.unary_unary_rpc_method_handler(lambda asked, _: asked[::-1])

    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Echo()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sdk = sdks.run(kind, Want("http", f"http://127.0.0.1:{port}", options=[("app_protocol", "http2")]))
    host = sdk.url.split("://")[1]
    trust = grpc.ssl_channel_credentials(root_certificates=edge.ca.read_bytes())
    options = [("grpc.ssl_target_name_override", host.split(":")[0]), ("grpc.default_authority", host)]
    with grpc.secure_channel("{}:{}".format(*edge.https), trust, options=options) as channel:
        echo: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Service/Echo")
        for message in (b"hello", bytes(range(256)) * 4096):
            assert echo(message, timeout=20) == message[::-1]
    server.stop(None).wait()
