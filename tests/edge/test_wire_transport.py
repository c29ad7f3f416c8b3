"""Below the frames (wire-protocol.md §1): TLS as agents speak it, names and addresses, and acknowledgements in time."""

from __future__ import annotations

import socket
import ssl
import statistics
import time
from collections.abc import Callable

import pytest

from harness import ports
from harness.edge import Edge
from harness.muxado import UNBIND, Tls
from harness.scripted import GO, RUST, ScriptedAgent, context, hello
from harness.visitor import Visitor

NewEdge = Callable[..., Edge]


@pytest.fixture(scope="module")
def edge(new_shared_edge: NewEdge) -> Edge:
    return new_shared_edge()


@pytest.fixture(scope="module")
def shared(new_shared_edge: NewEdge) -> Edge:
    """Agents and https visitors come to one port."""
    port = ports.block()[0]
    return new_shared_edge("--agent-addr", f"127.0.0.1:{port}", "--https-addr", f"127.0.0.1:{port}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_t1_tls_1_2_and_1_3_are_served_without_alpn(edge: Edge, version: ssl.TLSVersion) -> None:
    made = context(edge)
    made.minimum_version = made.maximum_version = version
    with ScriptedAgent.dial(edge.agent, made) as agent:
        assert agent.login(edge.token)["Error"] == ""
        wire = agent.wire
        assert isinstance(wire, Tls)
        assert wire.tls.selected_alpn_protocol() is None


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_t1_tls_1_1_is_refused(edge: Edge) -> None:
    made = context(edge)
    made.set_ciphers("DEFAULT@SECLEVEL=0")
    made.minimum_version = ssl.TLSVersion.TLSv1
    made.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ScriptedAgent.dial(edge.agent, made)


def test_t2_row35_an_agent_without_sni_is_served(edge: Edge, shared: Edge) -> None:
    for one in (edge, shared):
        with ScriptedAgent.to(one) as agent:
            assert agent.login(one.token)["Error"] == ""


def test_t3_row35_agents_and_visitors_are_told_apart_on_one_port(shared: Edge) -> None:
    assert shared.agent == shared.https
    for name in (None, "connect.localhost"):
        with ScriptedAgent.to(shared, name=name) as agent:
            agent.login(shared.token)
            bound = agent.bind("https")
            agent.serve_http(hello)
            with Visitor(shared, bound.url) as visitor:
                assert visitor.get("/").status == 200
    raw = socket.create_connection(shared.https, 20)
    with context(shared).wrap_socket(raw) as nameless:
        nameless.sendall(b"GET / HTTP/1.1\r\nHost: nobody.localhost\r\nConnection: close\r\n\r\n")
        assert b" 404 " in nameless.recv(1 << 16), "a visitor without a name is a visitor"


def test_t4_row36_the_leaf_is_no_ca_and_names_what_agents_dial(edge: Edge) -> None:
    made = ssl.create_default_context(cafile=str(edge.ca))
    for name in ("127.0.0.1", "localhost", "connect.localhost"):
        with made.wrap_socket(socket.create_connection(edge.agent, 20), server_hostname=name) as io:
            certificate = io.getpeercert()
            assert certificate
            assert ("IP Address", "127.0.0.1") in certificate["subjectAltName"] or name != "127.0.0.1"
    with pytest.raises(ssl.SSLCertVerificationError):
        made.wrap_socket(socket.create_connection(edge.agent, 20), server_hostname="elsewhere.test")
    leaf = ssl.get_server_certificate(edge.agent)
    assert leaf != edge.ca.read_text(), "a leaf of its own, not the CA"


def test_row36_the_leaf_is_refused_by_who_does_not_know_the_ca(edge: Edge) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(socket.create_connection(edge.agent, 20), server_hostname="localhost")


@pytest.mark.parametrize("which", ["own port", "shared port"])
def test_t7_row40_an_agent_with_nagles_algorithm_waits_for_no_delayed_acknowledgement(
    edge: Edge, shared: Edge, which: str
) -> None:
    """Two small writes in a row: the second leaves when the first is acknowledged, which takes 40 ms when delayed.

    Acknowledgements are quick by themselves while a connection is young, hence the first turns do not count.
    """
    one = edge if which == "own port" else shared
    with ScriptedAgent.logged_in(one, user_agent=RUST) as agent:
        wire = agent.wire
        assert isinstance(wire, Tls)
        wire.io.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        turns = []
        for _ in range(60):
            began = time.perf_counter()
            stream = agent.open(UNBIND)
            stream.send(b'{"Id": "x"}')
            assert stream.json()["Error"] == ""
            turns.append(time.perf_counter() - began)
            stream.finish()
        assert statistics.median(turns[30:]) < 0.035


def test_row40_what_the_edge_sends_waits_for_nothing(edge: Edge) -> None:
    """An answer is two frames, message and FIN; neither waits for an acknowledgement of the other."""
    with ScriptedAgent.logged_in(edge, user_agent=GO) as agent:
        turns = []
        for _ in range(40):
            began = time.perf_counter()
            agent.unbind("x")
            turns.append(time.perf_counter() - began)
        assert statistics.median(turns[20:]) < 0.035
