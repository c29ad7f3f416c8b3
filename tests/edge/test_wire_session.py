"""Life and end of a session (wire-protocol.md §2.8, §2.9): GOAWAY, frames that must not be, and silence."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.edge import Edge
from harness.muxado import (
    AUTH,
    BIND,
    DATA,
    FIN,
    GOAWAY,
    HEARTBEAT,
    RST,
    SYN,
    UNBIND,
    WINDOW,
    WNDINC,
    Frame,
    credit,
    data,
    goaway,
    rst,
)
from harness.process import until
from harness.scripted import GO_HTTP, ScriptedAgent, bind, rules
from harness.visitor import Visitor

NewEdge = Callable[..., Edge]


@pytest.fixture(scope="module")
def edge(new_shared_edge: NewEdge) -> Edge:
    return new_shared_edge()


@pytest.fixture
def agent(edge: Edge) -> Iterator[ScriptedAgent]:
    with ScriptedAgent.logged_in(edge) as agent:
        yield agent


def lives(agent: ScriptedAgent) -> bool:
    return agent.unbind("nothing") == {"Error": "", "Extra": None}


# === rows 25, 26: GOAWAY


def test_m37_row25_a_stopping_edge_says_goaway_last_and_closes(new_edge: NewEdge) -> None:
    edge = new_edge()
    with ScriptedAgent.logged_in(edge) as agent:
        last = agent.ask(UNBIND, {"Id": "x"})
        last.everything()
        edge.process.signal(signal.SIGTERM)
        agent.wait_ended()
        assert agent.goaway == agent.frames[-1]
        assert (agent.goaway.code, agent.goaway.last_stream) == (0, last.id)
        assert edge.process.wait() == 0


@pytest.mark.parametrize(
    "frame",
    [goaway(0, 0, b"no error"), goaway(7, 1), goaway(0, 0, b"x" * (2 << 20))],
    ids=["go", "with error", "2 MiB of text"],
)
def test_m39_m40_row26_on_goaway_from_an_agent_tcp_is_closed_at_once(
    edge: Edge, agent: ScriptedAgent, frame: Frame
) -> None:
    bound = agent.bind("http")
    since = edge.process.position
    agent.send_leniently(frame)
    agent.wait_ended()
    edge.process.wait_for("agent disconnected", since=since)
    with Visitor(edge, bound.url) as visitor:
        assert visitor.get("/").code == "ERR_NGROK_3200"


def test_m38_row26_what_follows_a_goaway_is_not_read(edge: Edge, agent: ScriptedAgent) -> None:
    """As ngrok-rust sends it: the length leaves out the 8 fixed bytes, which would then be read as a frame."""
    body = (0).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"bad frame type"
    broken = (len(body) - 8).to_bytes(3, "big") + bytes([GOAWAY << 4]) + bytes(4) + body
    sneaked = data(101, b"\0\0\0\1" + b'{"Proto": "http", "Opts": {"URL": "http://sneaked.localhost"}}', syn=True)
    agent.send_bytes(broken + sneaked.encode())
    agent.wait_ended()
    with Visitor(edge, "http://sneaked.localhost") as visitor:
        assert visitor.get("/").code == "ERR_NGROK_3200"


# === frames that kill a session, and those that do not


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Frame(WNDINC, 3, b"\0\0\1"), 8),
        (Frame(RST, 3, b"\0\0\0\0\1"), 8),
        (data(0, b"x"), 1),
        (rst(0, 1), 1),
        (credit(0, 1), 1),
        (data(4, b"\0\0\0\0", syn=True), 1),
    ],
    ids=["short WNDINC", "long RST", "DATA on 0", "RST on 0", "WNDINC on 0", "wrong parity"],
)
def test_m33_m34_m12_a_frame_that_must_not_be_is_goaway_and_the_end(
    agent: ScriptedAgent, frame: Frame, code: int
) -> None:
    agent.send(frame)
    agent.wait_ended()
    assert agent.goaway == agent.frames[-1]
    assert agent.goaway.code == code


def test_m13_syn_on_a_stream_that_is_open_is_the_end(agent: ScriptedAgent) -> None:
    stream = agent.open(BIND, b"{")
    agent.send(data(stream.id, b"\0\0\0\1", syn=True))
    agent.wait_ended()
    assert agent.goaway is not None
    assert agent.goaway.code == 1


@pytest.mark.parametrize(
    "frame",
    [
        Frame(7, 3, b"whatever"),
        Frame(15, 0, b""),
        credit(3, 0),
        credit(999, 5),
        rst(999, 4),
        data(999, fin=True),
        data(999),
        Frame(WNDINC, 997, b"\0\0\0\5", 2),
    ],
    ids=["type 7", "type 15", "WNDINC 0", "late WNDINC", "late RST", "late FIN", "empty DATA", "SYN on WNDINC"],
)
def test_m20_m32_m35_m36_what_means_nothing_is_passed_over(agent: ScriptedAgent, frame: Frame) -> None:
    agent.send(frame)
    assert lives(agent)


def test_m20_data_for_a_stream_that_is_not_is_answered_with_rst_4(agent: ScriptedAgent) -> None:
    agent.send(data(999, b"late"))
    assert agent.expect(lambda frame: frame.stream == 999) == rst(999, 4)
    assert lives(agent)


def test_m30_a_byte_beyond_the_window_resets_that_stream_only(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("tcp")
    with socket.create_connection(("127.0.0.1", int(bound.url.rsplit(":", 1)[1])), 20) as visitor:
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream = agent.proxied().stream
        for _ in range(4096):  # whatever its buffers take in between
            if stream.reset is not None:
                break
            agent.send(data(stream.id, b"x" * (WINDOW + 1)))
        assert stream.wait_reset() == 3
        assert lives(agent)


def test_m36_the_top_bit_of_a_stream_id_is_masked_off(agent: ScriptedAgent) -> None:
    stream = agent.open(None)
    agent.send(data(stream.id | 1 << 31, b"\0\0\0\2" + b'{"Id": "x"}', syn=True))
    assert stream.json()["Error"] == ""


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff" * 4096, b"SSH-2.0-x\r\n"], ids=["HTTP", "ones", "SSH"]
)
def test_a_client_of_another_protocol_inside_tls_is_let_go(new_edge: NewEdge, tmp_path: Path, junk: bytes) -> None:
    """At the latest with the time for the login: a frame may claim to go on for long."""
    edge = new_edge(*rules(tmp_path, "limits: {login_timeout: 1s}\n"))
    with ScriptedAgent.to(edge) as agent:
        agent.send_bytes(junk + bytes(1 << 16))
        agent.wait_ended()


def test_too_many_streams_before_the_login_are_the_end(edge: Edge) -> None:
    with ScriptedAgent.to(edge) as agent:
        for _ in range(100):
            agent.send_leniently(data(agent.open(None).id, b"\0\0\0\1{", syn=True))
        agent.wait_ended()


# === T6: those who say nothing


@pytest.mark.parametrize("stage", ["no hello", "half a hello", "no frame", "no login", "half a login", "failed bind"])
def test_t6_who_does_not_log_in_in_time_is_let_go_and_counted(new_edge: NewEdge, tmp_path: Path, stage: str) -> None:
    edge = new_edge(*rules(tmp_path, "limits: {handshake_timeout: 1s, login_timeout: 1s}\n"))
    counted = 'portway_connections_refused_total{listener="agent",reason="slow"}'
    if "hello" in stage:
        with edge.connect(edge.agent) as silent:
            silent.sendall(b"\x16\x03\x01" if stage == "half a hello" else b"")
            assert silent.recv(1) == b""
    else:
        with ScriptedAgent.to(edge) as agent:
            if stage == "no login":
                assert agent.open(0xFFFF_FFFF, b"beat").exactly(4) == b"beat"
            elif stage == "half a login":
                agent.open(AUTH, b'{"Version": ["3"]')
            elif stage == "failed bind":
                assert agent.call(BIND, bind("https", GO_HTTP))["Error"]
            agent.wait_ended()
    until("it is counted", lambda: edge.metrics()[counted] == 1)


def test_t6_who_has_logged_in_may_be_silent(new_edge: NewEdge, tmp_path: Path) -> None:
    edge = new_edge(*rules(tmp_path, "limits: {handshake_timeout: 1s, login_timeout: 1s}\n"))
    with ScriptedAgent.logged_in(edge) as quiet, ScriptedAgent.to(edge) as late:
        late.wait_ended()
        assert lives(quiet)


def test_m49_a_connection_that_is_cut_ends_everything_on_it(edge: Edge) -> None:
    since = edge.process.position
    with ScriptedAgent.logged_in(edge) as agent:
        bound = agent.bind("http")
        with Visitor(edge, bound.url) as visitor:
            visitor.connection.request("POST", "/", body=b"x", headers={"Host": visitor.host})
            agent.proxied()
            agent.close()
            answer = visitor.connection.getresponse()
            assert (answer.status, answer.headers["ngrok-error-code"]) == (502, "ERR_NGROK_3210")
    edge.process.wait_for("agent disconnected", since=since, err="the connection ended")


def test_m41_a_thousand_streams_come_and_go(agent: ScriptedAgent) -> None:
    for _ in range(1000):
        assert lives(agent)


def test_row22_row23_row24_nothing_that_kills_an_sdk_is_sent_whatever_happens(
    new_edge: NewEdge, tmp_path: Path
) -> None:
    """Every scripted agent judges all frames it gets (`Peer._judge`); here many kinds of them come in one session."""
    edge = new_edge(*rules(tmp_path, "limits: {heartbeat_interval: 250ms}\n"))
    with ScriptedAgent.logged_in(edge) as agent:
        urls = {proto: agent.bind(proto).url for proto in ("http", "https", "tcp", "tls")}
        agent.serve_http()
        for proto in ("http", "https"):
            with Visitor(edge, urls[proto]) as visitor:
                assert visitor.ask("POST", body=b"x" * 300_000).status == 200
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", int(urls["tcp"].rsplit(":", 1)[1])), 20) as visitor:
                visitor.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert visitor.recv(1)
        agent.send(data(999, b"late"), credit(997, 1))
        agent.call(99, "")
        agent.wait(
            "the edge's own heartbeat", lambda: any(stream.kind == HEARTBEAT for stream in agent.streams.values())
        )
        assert agent.complaints == []
        kinds = {(frame.kind, frame.flags) for frame in agent.frames}
        assert kinds == {(DATA, 0), (DATA, SYN), (DATA, FIN), (RST, 0), (WNDINC, 0)}
