"""Credit and room (wire-protocol.md §2.5, §2.10): both kinds of peers are kept within what they can bear."""

from __future__ import annotations

import hashlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from harness.edge import Edge
from harness.muxado import DATA, PROXY, WINDOW, WNDINC, Proxied, Stream
from harness.process import until
from harness.scripted import GO, RUST, ScriptedAgent, response
from harness.visitor import Visitor

MIB = 1 << 20


@pytest.fixture(scope="module")
def edge(new_shared_edge: Callable[..., Edge]) -> Edge:
    return new_shared_edge()


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


def tcp(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), 20)


def granted(agent: ScriptedAgent, stream: Stream) -> int:
    return sum(frame.number for frame in agent.of(stream.id) if frame.kind == WNDINC)


def arrived(agent: ScriptedAgent, stream: Stream) -> int:
    return sum(len(frame.payload) for frame in agent.of(stream.id) if frame.kind == DATA)


@pytest.mark.parametrize("user_agent", [RUST, GO], ids=["rust", "go"])
def test_m25_m31_row23_no_byte_beyond_the_credit_and_the_rest_when_it_comes(edge: Edge, user_agent: str) -> None:
    with ScriptedAgent.logged_in(edge, user_agent=user_agent, credit=False) as agent:
        bound = agent.bind("tcp")
        with tcp(bound.url) as visitor:
            stream = agent.proxied().stream
            sender = threading.Thread(target=visitor.sendall, args=(b"x" * MIB,))
            sender.start()
            agent.wait("all that credit allows", lambda: arrived(agent, stream) >= WINDOW)
            for _ in range(3):
                agent.unbind("meanwhile")
            assert arrived(agent, stream) == WINDOW, "type and header count too"
            stream.grant(1)
            agent.wait("one byte more", lambda: arrived(agent, stream) > WINDOW)
            agent.unbind("meanwhile")
            assert arrived(agent, stream) == WINDOW + 1
            while arrived(agent, stream) < MIB:
                before = arrived(agent, stream)
                stream.grant(WINDOW)
                agent.wait("more", lambda before=before: arrived(agent, stream) > before)  # type: ignore[misc]
            sender.join()


@pytest.mark.parametrize("user_agent", [RUST, GO, "unknown/1.0"], ids=["rust", "go", "other"])
def test_m28_row21_a_sender_that_clamps_its_credit_never_stalls(edge: Edge, user_agent: str) -> None:
    """What is granted beyond 262,144 is lost, as in Rust's SDKs; 4 MiB come through all the same."""
    total, seen = 4 * MIB, hashlib.sha256()
    with ScriptedAgent.logged_in(edge, user_agent=user_agent) as agent:
        bound = agent.bind("tcp")
        with tcp(bound.url) as visitor:
            stream = agent.proxied().stream

            def send() -> None:
                left = total
                while left:
                    agent.wait("credit", lambda: stream.window > 0 or agent.ended)
                    if user_agent != GO:
                        stream.window = min(stream.window, WINDOW)
                    size = min(stream.window, left, 8192)
                    stream.send(b"y" * size)
                    left -= size
                stream.finish()

            sender = threading.Thread(target=send)
            sender.start()
            while data := visitor.recv(1 << 16):
                seen.update(data)
            sender.join()
        assert seen.hexdigest() == hashlib.sha256(b"y" * total).hexdigest()
        if user_agent != GO:
            assert granted(agent, stream) <= total, "no more than was consumed: the excess would be lost"


def test_m27_row21_a_visitor_that_does_not_read_stops_its_agent_and_nobody_else(edge: Edge) -> None:
    with ScriptedAgent.logged_in(edge, user_agent=RUST) as agent:
        bound, other = agent.bind("tcp"), agent.bind("http")
        with tcp(bound.url) as visitor:
            visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream = agent.proxied().stream
            for _ in itertools.repeat(None):
                if stream.window < 16_384:
                    agent.unbind("a turn, in which credit may come")
                    if stream.window < 16_384:
                        break
                stream.send(b"z" * 16_384)
            sent = WINDOW - stream.window + granted(agent, stream)
            assert sent < 64 * MIB
            agent.serve_http(lambda request: response(b"other"))
            with Visitor(edge, other.url) as second:
                assert second.get("/").body == b"other"


# === room


def test_m44_row20_an_sdk_over_rust_gets_no_more_than_64_streams_it_has_not_accepted(
    edge: Edge, opened: list[socket.socket]
) -> None:
    with ScriptedAgent.logged_in(edge, user_agent=RUST, credit=False) as agent:
        bound = agent.bind("tcp")
        opened += [tcp(bound.url) for _ in range(80)]
        agent.wait("64 streams", lambda: len(proxied(agent)) >= 64)
        for _ in range(3):
            agent.unbind("meanwhile")
        assert len(proxied(agent)) == 64
        for stream in proxied(agent)[:10]:
            stream.grant(4)  # accepted
        agent.wait("ten more", lambda: len(proxied(agent)) >= 74)
        agent.unbind("meanwhile")
        assert len(proxied(agent)) == 74


def test_m44_row20_a_go_sdk_gets_no_more_than_its_backlog_of_128(edge: Edge, opened: list[socket.socket]) -> None:
    with ScriptedAgent.logged_in(edge, user_agent=GO, credit=False) as agent:
        bound = agent.bind("tcp")
        opened += [tcp(bound.url) for _ in range(160)]
        agent.wait("all its backlog takes", lambda: len(proxied(agent)) >= 120)
        for _ in range(3):
            agent.unbind("meanwhile")
        assert len(proxied(agent)) <= 128


def test_m44_row20_six_hundred_visitors_do_not_end_a_session_over_rust(edge: Edge, opened: list[socket.socket]) -> None:
    with ScriptedAgent.logged_in(edge, user_agent=RUST) as agent:
        bound = agent.bind("tcp")
        opened += [tcp(bound.url) for _ in range(600)]
        agent.wait("as many as it can have", lambda: len(proxied(agent)) >= 470)
        for _ in range(3):
            agent.unbind("meanwhile")
        entries = len(proxied(agent)) + sum(1 for stream in agent.streams.values() if not stream.fin and stream.id % 2)
        assert entries <= 512, "at 512 it dies"
        assert not agent.ended
        for each in opened:
            each.close()


def proxied(agent: ScriptedAgent) -> list[Stream]:
    with agent.came:
        return [stream for stream in agent.streams.values() if stream.kind == PROXY]


def test_m43_an_agent_without_room_gives_http_visitors_a_503(edge: Edge) -> None:
    with ScriptedAgent.logged_in(edge) as full:
        bound = full.bind("http")
        full.serve(lambda it: it.stream.abort(9))
        for method in ("GET", "POST"):
            with Visitor(edge, bound.url) as visitor:
                answer = visitor.ask(method, body=b"x" if method == "POST" else None)
                assert (answer.status, answer.code) == (503, "ERR_NGROK_724")


def test_m43_an_agent_without_room_is_spared_where_another_of_its_pool_has_some(edge: Edge) -> None:
    with ScriptedAgent.logged_in(edge) as free, ScriptedAgent.logged_in(edge) as full:
        bound = free.bind("http", PoolingEnabled=True)
        full.bind("http", {"URL": bound.url}, PoolingEnabled=True)
        free.serve_http(lambda request: response(b"free"))
        refused: list[Proxied] = []

        def refuse(visitor: Proxied) -> None:
            refused.append(visitor)
            visitor.stream.abort(9)

        full.serve(refuse)

        def spared() -> bool:
            with Visitor(edge, bound.url) as visitor:
                assert visitor.get("/").body == b"free"
            return len(refused) >= 10

        # It gets its first visitors a moment after the bind.
        until("ten visitors that were refused and served", spared)
