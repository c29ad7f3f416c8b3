"""Options about connections (traffic-policy.md §9): addresses, client certificates, where TLS ends."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from harness import ports
from harness.edge import Edge
from harness.scripted import Refused, ScriptedAgent, response
from harness.tls import Authority, Pair
from harness.visitor import trusting

Json = dict[str, Any]


@pytest.fixture(scope="module")
def edge(new_shared_edge: Callable[..., Edge]) -> Edge:
    return new_shared_edge()


@pytest.fixture(scope="module")
def six(new_shared_edge: Callable[..., Edge]) -> Edge:
    """All its doors are IPv6."""
    block = ports.block()
    doors = zip(("http", "https"), block, strict=False)
    return new_shared_edge(*(part for name, port in doors for part in (f"--{name}-addr", f"[::1]:{port}")))


@pytest.fixture
def agent(edge: Edge) -> Iterator[ScriptedAgent]:
    with ScriptedAgent.logged_in(edge) as agent:
        yield agent


def pem(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def name_of(url: str) -> str:
    return urlsplit(url).hostname or ""


class Caller:
    """Connects to an endpoint from an address of choice and says whether it was served."""

    def __init__(self, edge: Edge, url: str, source: str) -> None:
        self.edge, self.url, self.source = edge, url, source

    def dial(self) -> socket.socket:
        scheme, port = urlsplit(self.url).scheme, urlsplit(self.url).port or 0
        door = {"http": self.edge.http, "tcp": (self.edge.http[0], port)}.get(scheme, self.edge.https)
        io = socket.create_connection(door, 20, source_address=(self.source, 0))
        if scheme in ("https", "tls"):
            io = trusting(self.edge).wrap_socket(io, server_hostname=name_of(self.url))
        return io

    def status(self) -> str:
        """Of an HTTP answer; for others what the agent says, or nothing."""
        try:
            with self.dial() as io:
                if self.url.startswith("http"):
                    host = urlsplit(self.url).netloc
                    io.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                return b"".join(iter(lambda: io.recv(1 << 16), b"")).decode()
        except (ConnectionError, ssl.SSLError):
            return ""


def serve(agent: ScriptedAgent, proto: str) -> None:
    if proto in ("http", "https"):
        agent.serve_http(lambda request: response(b"served"))
    else:
        agent.serve(lambda it: it.stream.send(b"served", fin=True))


# === IPRestriction

RULES: Json = {"allow_cidrs": ["127.0.0.0/8", "::1"], "deny_cidrs": ["127.0.0.9/32", "127.1.0.0/16"]}


@pytest.mark.parametrize(
    ("proto", "opts"),
    [("http", {}), ("https", {}), ("tcp", {}), ("tls", {"TLSTermination": {}})],
    ids=["http", "https", "tcp", "tls"],
)
def test_addresses_are_let_in_and_kept_out_on_every_protocol(
    edge: Edge, agent: ScriptedAgent, proto: str, opts: Json
) -> None:
    bound = agent.bind(proto, {**opts, "IPRestriction": RULES})
    serve(agent, proto)
    for source, served in (("127.0.0.1", True), ("127.0.0.9", False), ("127.1.2.3", False), ("127.0.0.8", True)):
        answer = Caller(edge, bound.url, source).status()
        assert ("served" in answer) == served, (source, answer)
        if proto in ("http", "https") and not served:
            assert " 403 " in answer
            assert "ERR_NGROK_3205" in answer
    visits = [stream for stream in agent.streams.values() if stream.kind == 3]
    assert len(visits) == 2, "who is kept out never reaches the agent"


def test_a_tls_endpoint_that_passes_through_is_closed_to_them_too(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("tls", {"IPRestriction": {"allow_cidrs": ["127.0.0.2"]}})
    for source, served in (("127.0.0.1", False), ("127.0.0.2", True)):
        with socket.create_connection(edge.https, 20, source_address=(source, 0)) as io:
            out = ssl.MemoryBIO()
            tls = trusting(edge).wrap_bio(ssl.MemoryBIO(), out, server_hostname=name_of(bound.url))
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            io.sendall(out.read())
            if served:
                assert agent.proxied().header["ClientAddr"].startswith("127.0.0.2:")
            else:
                with contextlib.suppress(ConnectionError):
                    assert io.recv(1) == b""


@pytest.mark.parametrize(("cidrs", "served"), [(["::1/128"], True), (["2001:db8::/32"], False), (["0.0.0.0/0"], False)])
@pytest.mark.parametrize("proto", ["http", "tcp"])
def test_ipv6_addresses_are_compared_as_such(six: Edge, proto: str, cidrs: list[str], served: bool) -> None:
    with ScriptedAgent.logged_in(six) as agent:
        bound = agent.bind(proto, {"IPRestriction": {"allow_cidrs": cidrs}})
        serve(agent, proto)
        assert ("served" in Caller(six, bound.url, "::1").status()) == served


@pytest.mark.parametrize("proto", ["http", "tcp", "tls"])
@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ({"allow_cidrs": ["nonsense"]}, 362),
        ({"allow_cidrs": ["10.0.0.0/33"]}, 362),
        ({"allow_cidrs": ["0.0.0.0/0"], "deny_cidrs": ["::/129"]}, 362),
        ({"deny_cidrs": ["10.0.0.0/8"]}, 393),
    ],
)
def test_ranges_that_mean_nothing_are_refused(agent: ScriptedAgent, proto: str, rules: Json, code: int) -> None:
    with pytest.raises(Refused) as refused:
        agent.bind(proto, {"IPRestriction": rules})
    assert refused.value.code == code


def test_an_empty_restriction_lets_nobody_in(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http", {"IPRestriction": {}})
    serve(agent, "http")
    assert "ERR_NGROK_3205" in Caller(edge, bound.url, "127.0.0.1").status()


# === client certificates


def https(edge: Edge, url: str, pair: Pair | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> str:
    context = trusting(edge)
    context.minimum_version = context.maximum_version = version
    if pair:
        context.load_cert_chain(pair.cert, pair.key)
    try:
        with context.wrap_socket(socket.create_connection(edge.https, 20), server_hostname=name_of(url)) as io:
            io.sendall(f"GET / HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: io.recv(1 << 16), b"")).decode()
    except (ConnectionError, ssl.SSLError):
        return ""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_client_certificates_of_the_right_ca_are_required_for_https(
    edge: Edge, agent: ScriptedAgent, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    right, wrong = Authority(tmp_path, "right"), Authority(tmp_path, "wrong")
    bound = agent.bind("https", {"MutualTLSCA": {"mutual_tls_ca": pem(right.pem)}})
    other = agent.bind("https")
    serve(agent, "https")
    assert "served" in https(edge, bound.url, right.pair("visitor.test"), version)
    assert https(edge, bound.url, wrong.pair("visitor.test"), version) == ""
    assert https(edge, bound.url, None, version) == ""
    assert "served" in https(edge, other.url, None, version), "others ask for none"


def test_several_cas_may_be_given(edge: Edge, agent: ScriptedAgent, tmp_path: Path) -> None:
    one, two = Authority(tmp_path, "one"), Authority(tmp_path, "two")
    both = base64.b64encode(one.pem.read_bytes() + two.pem.read_bytes()).decode()
    bound = agent.bind("https", {"MutualTLSCA": {"mutual_tls_ca": both}})
    serve(agent, "https")
    for authority in (one, two):
        assert "served" in https(edge, bound.url, authority.pair("visitor.test"))


def test_a_handshake_for_another_name_does_not_get_around_client_certificates(
    edge: Edge, agent: ScriptedAgent, authority: Authority
) -> None:
    closed = agent.bind("https", {"MutualTLSCA": {"mutual_tls_ca": pem(authority.pem)}})
    door = agent.bind("https")
    serve(agent, "https")
    context = trusting(edge)
    with context.wrap_socket(socket.create_connection(edge.https, 20), server_hostname=name_of(door.url)) as io:
        io.sendall(f"GET / HTTP/1.1\r\nHost: {urlsplit(closed.url).netloc}\r\nConnection: close\r\n\r\n".encode())
        assert b" 421 " in b"".join(iter(lambda: io.recv(1 << 16), b""))


def test_members_of_a_pool_may_all_ask_for_client_certificates(edge: Edge, authority: Authority) -> None:
    closed = {"MutualTLSCA": {"mutual_tls_ca": pem(authority.pem)}}
    pair = authority.pair("visitor.test")
    with ScriptedAgent.logged_in(edge) as one, ScriptedAgent.logged_in(edge) as two:
        bound = one.bind("https", closed, PoolingEnabled=True)
        two.bind("https", {"URL": bound.url, **closed}, PoolingEnabled=True)
        for agent in (one, two):
            agent.serve_http(lambda request: response(b"served"))
        for _ in range(20):
            assert "served" in https(edge, bound.url, pair)
        assert https(edge, bound.url, None) == ""


@pytest.mark.parametrize(
    ("proto", "opts", "code"),
    [
        ("https", {"MutualTLSCA": {"mutual_tls_ca": base64.b64encode(b"no pem").decode()}}, 14002),
        ("http", {"MutualTLSCA": {"mutual_tls_ca": "AAAA"}}, 14002),
        ("tls", {"MutualTLSAtEdge": {"mutual_tls_ca": base64.b64encode(b"no pem").decode()}}, 14002),
        ("tls", {"TLSTermination": {"cert": "AAAA", "key": "AAAA"}}, 14001),
        ("tls", {"TLSTermination": {"cert": "AAAA"}}, 14001),
        ("tls", {"TLSTermination": {"sealed_key": "AAAA"}}, 14001),
    ],
)
def test_certificates_that_cannot_be_used_are_refused(agent: ScriptedAgent, proto: str, opts: Json, code: int) -> None:
    with pytest.raises(Refused) as refused:
        agent.bind(proto, opts)
    assert refused.value.code == code


def test_client_certificates_on_a_tls_endpoint_need_the_edge_to_end_tls(
    agent: ScriptedAgent, authority: Authority
) -> None:
    with pytest.raises(Refused) as refused:
        agent.bind("tls", {"MutualTLSAtEdge": {"mutual_tls_ca": pem(authority.pem)}})
    assert "TLSTermination" in refused.value.text


# === TLSTermination


def tls_says(url: str, edge: Edge, context: ssl.SSLContext) -> str:
    try:
        with context.wrap_socket(socket.create_connection(edge.https, 20), server_hostname=name_of(url)) as io:
            return b"".join(iter(lambda: io.recv(1 << 16), b"")).decode()
    except (ConnectionError, ssl.SSLError) as error:
        return type(error).__name__


def test_p101_row43_tls_ends_at_the_edge_with_its_own_certificate(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("tls", {"TLSTermination": {}})
    serve(agent, "tls")
    assert bound.opts["TLSTermination"] == {}
    assert tls_says(bound.url, edge, trusting(edge)) == "served"


def test_p101_tls_ends_at_the_edge_with_a_certificate_of_the_agents(
    edge: Edge, agent: ScriptedAgent, authority: Authority
) -> None:
    pair = authority.pair("mine.localhost")
    given = {"TLSTermination": {"cert": pem(pair.cert), "key": pem(pair.key)}}
    bound = agent.bind("tls", {"URL": "tls://mine.localhost", **given})
    serve(agent, "tls")
    assert bound.opts["TLSTermination"] == given["TLSTermination"], "it is repeated at a reconnect"
    assert tls_says(bound.url, edge, ssl.create_default_context(cafile=str(authority.pem))) == "served"
    assert tls_says(bound.url, edge, trusting(edge)) == "SSLCertVerificationError"


def test_p101_tls_ended_at_the_edge_may_ask_for_client_certificates(
    edge: Edge, agent: ScriptedAgent, authority: Authority
) -> None:
    strict = {"TLSTermination": {}, "MutualTLSAtEdge": {"mutual_tls_ca": pem(authority.pem)}}
    bound = agent.bind("tls", strict)
    serve(agent, "tls")
    context = trusting(edge)
    assert tls_says(bound.url, edge, context) != "served"
    pair = authority.pair("visitor.test")
    context.load_cert_chain(pair.cert, pair.key)
    assert tls_says(bound.url, edge, context) == "served"


def test_p101_row43_without_termination_the_visitors_tls_goes_through_untouched(
    edge: Edge, agent: ScriptedAgent, authority: Authority
) -> None:
    bound = agent.bind("tls", {"URL": "tls://through.localhost"})
    assert bound.opts["TLSTermination"] is None
    context = authority.pair("through.localhost").serving()

    def end_tls(stream: Any) -> None:
        incoming, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, out, server_side=True)
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            if out.pending:
                stream.send(out.read())
            incoming.write(stream.exactly(1))
        tls.write(b"inside")
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        stream.send(out.read(), fin=True)

    agent.serve(lambda it: end_tls(it.stream))
    assert tls_says(bound.url, edge, ssl.create_default_context(cafile=str(authority.pem))) == "inside"
