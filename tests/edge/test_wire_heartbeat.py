"""Heartbeats (wire-protocol.md §3): the edge echoes those of agents, and notices agents that do not echo its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.edge import Edge
from harness.muxado import AUTH, DATA, HEARTBEAT, RST, WNDINC, Stream, data, rst
from harness.scripted import ScriptedAgent, auth, rules
from harness.visitor import Visitor

NewEdge = Callable[..., Edge]


@pytest.fixture(scope="module")
def edge(new_shared_edge: NewEdge) -> Edge:
    return new_shared_edge()


@pytest.fixture
def agent(edge: Edge) -> Iterator[ScriptedAgent]:
    """Connected, and nobody yet."""
    with ScriptedAgent.to(edge) as agent:
        yield agent


@pytest.fixture
def quick(new_edge: NewEdge, tmp_path: Path) -> Edge:
    """An edge that beats four times a second and waits a second for echoes."""
    return new_edge(*rules(tmp_path, "limits: {heartbeat_interval: 250ms, heartbeat_tolerance: 1s}\n"))


# === the agent's beats


def test_h51_row16_beats_are_echoed_byte_for_byte_before_and_after_the_login(edge: Edge, agent: ScriptedAgent) -> None:
    streams = [agent.open(HEARTBEAT, apart=True) for _ in range(3)]

    def beat() -> None:
        for number, stream in enumerate(streams):
            sent = bytes([0xFF, number, 0, 0x80])
            stream.send(sent)
            assert stream.exactly(4) == sent

    beat()
    agent.login(edge.token)
    for _ in range(10):
        beat()
    echoes = [frame for frame in agent.of(streams[0].id) if frame.kind == DATA]
    assert [len(frame.payload) for frame in echoes] == [4] * 11, "one frame each"


def test_h51_a_heartbeat_may_be_the_first_stream_or_the_second(edge: Edge) -> None:
    for first in (True, False):
        with ScriptedAgent.to(edge) as agent:
            steps: list[Callable[[], Stream]] = [
                lambda: agent.open(HEARTBEAT, b"\1\2\3\4"),
                lambda: agent.ask(AUTH, auth(edge.token)),
            ]
            one, other = [step() for step in (steps if first else reversed(steps))]
            beats, login = (one, other) if first else (other, one)
            assert beats.exactly(4) == b"\1\2\3\4"
            assert login.json()["Error"] == ""


def test_h52_a_beat_in_two_pieces_is_one_beat(agent: ScriptedAgent) -> None:
    stream = agent.open(HEARTBEAT)
    stream.send(b"\1\2")
    stream.send(b"\3\4\5\6\7\x08")
    assert stream.exactly(8) == b"\1\2\3\4\5\6\7\x08"


def test_h56_the_end_of_a_heartbeat_stream_ends_nothing_else(edge: Edge, agent: ScriptedAgent) -> None:
    agent.login(edge.token)
    finished, aborted = agent.open(HEARTBEAT, b"abcd"), agent.open(HEARTBEAT, b"efgh")
    finished.exactly(4)
    aborted.exactly(4)
    finished.finish()
    agent.send(rst(aborted.id, 6))
    assert finished.everything() == b"", "and no beats without end"
    assert agent.unbind("x")["Error"] == ""


# === the edge's own


def beats_of(agent: ScriptedAgent, stream: Stream) -> list[bytes]:
    payloads = [frame.payload for frame in agent.of(stream.id) if frame.kind == DATA]
    return [payloads[0].removeprefix(b"\xff" * 4), *payloads[1:]]


def test_h53_h57_row17_the_edge_beats_in_frames_of_four_bytes_and_never_ends_the_stream(quick: Edge) -> None:
    with ScriptedAgent.logged_in(quick) as agent:
        agent.wait("five beats", lambda: sum(len(beats_of(agent, stream)) for stream in own(agent)) >= 5)
        [stream] = own(agent)
        beats = [beat for beat in beats_of(agent, stream) if beat]
        assert [len(beat) for beat in beats] == [4] * len(beats)
        assert len(set(beats)) == len(beats), "ids nobody can foresee"
        assert all(beat[0] < 0x80 for beat in beats), "some peers read them as signed"
        assert not any(frame.fin or frame.kind == RST for frame in agent.of(stream.id))


def own(agent: ScriptedAgent) -> list[Stream]:
    """Heartbeat streams that the edge has opened."""
    return [stream for stream in agent.streams.values() if stream.id % 2 == 0 and stream.kind == HEARTBEAT]


def test_h53_one_beat_is_pending_at_a_time(quick: Edge) -> None:
    with ScriptedAgent.logged_in(quick, echo=False) as agent:
        stream = agent.accept(HEARTBEAT)
        for _ in range(3):
            beat = stream.exactly(4)
            for _ in range(3):
                agent.unbind("meanwhile")
            assert not stream.received, "no second before the echo of the first"
            stream.send(beat)
        assert not agent.ended
        assert agent.of(stream.id), "and the stream is still the same"


@pytest.mark.parametrize("echo", [b"", b"\xff\xff\xff\xff", b"\0"], ids=["none", "wrong", "half"])
def test_h54_h55_row18_an_agent_that_does_not_echo_rightly_is_let_go(quick: Edge, echo: bytes) -> None:
    since = quick.process.position
    with ScriptedAgent.to(quick, echo=False) as agent:
        agent.login(quick.token)
        bound = agent.bind("http")
        stream = agent.accept(HEARTBEAT)
        stream.exactly(4)
        if echo:
            stream.send(echo)
        agent.wait_ended()
        assert agent.goaway == agent.frames[-1], "and TCP is closed behind it"
        assert not stream.fin
    quick.process.wait_for("agent disconnected", since=since)
    with Visitor(quick, bound.url) as visitor:
        assert visitor.get("/").code == "ERR_NGROK_3200"


@pytest.mark.parametrize("end", [Stream.finish, lambda stream: stream.abort(6)], ids=["FIN", "RST"])
def test_h56_an_agent_that_ends_the_edges_heartbeat_is_let_go_and_nothing_spins(
    quick: Edge, end: Callable[[Stream], None]
) -> None:
    with ScriptedAgent.logged_in(quick, echo=False) as agent:
        stream = agent.accept(HEARTBEAT)
        end(stream)
        agent.wait_ended()
        assert len(agent.of(stream.id)) < 10


def test_h58_binds_that_take_their_time_are_no_missed_beats(new_edge: NewEdge, tmp_path: Path) -> None:
    edge = new_edge(*rules(tmp_path, "limits: {heartbeat_interval: 1s, heartbeat_tolerance: 1s}\n"))
    with ScriptedAgent.logged_in(edge) as agent:
        for _ in range(50):
            agent.bind("https")
            assert not own(agent), "the clock starts after the last bind"
        agent.accept(HEARTBEAT)


def test_row18_beats_go_on_beside_a_stream_that_nobody_reads(quick: Edge) -> None:
    with ScriptedAgent.logged_in(quick) as agent:
        stuck = agent.open(HEARTBEAT)
        agent.credit = False
        for _ in range(4):
            stuck.send(b"\0" * 65_536)  # their echoes fill all credit there is
        agent.credit = True
        [stream] = [agent.accept(HEARTBEAT)]
        agent.wait("four beats", lambda: len(beats_of(agent, stream)) >= 4)
        assert not agent.ended
        assert [frame for frame in agent.of(stuck.id) if frame.kind == WNDINC], "what was read was credited"
        agent.send(data(stuck.id, fin=True))
