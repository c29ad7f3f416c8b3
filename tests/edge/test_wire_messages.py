"""Messages between agent and edge (wire-protocol.md §4.1, §4.2): how they are read, and how every answer ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest

from harness.edge import Edge
from harness.muxado import AUTH, BIND, DATA, HEARTBEAT, METRICS, PATCH, PROXY, RST, SRV_INFO, STOP, UNBIND, data
from harness.scripted import ScriptedAgent, auth


@pytest.fixture(scope="module")
def edge(new_shared_edge: Callable[..., Edge]) -> Edge:
    return new_shared_edge()


@pytest.fixture
def agent(edge: Edge) -> Iterator[ScriptedAgent]:
    with ScriptedAgent.logged_in(edge) as agent:
        yield agent


def lives(agent: ScriptedAgent) -> bool:
    """Whether the session still does what a session does."""
    return agent.unbind("nothing") == {"Error": "", "Extra": None}


# === row 2: the end of the JSON is the end of the message


@pytest.mark.parametrize("newline", [True, False], ids=["newline", "no newline"])
@pytest.mark.parametrize("fin", [True, False], ids=["FIN at once", "no FIN"])
@pytest.mark.parametrize("apart", [True, False], ids=["type apart", "one frame"])
def test_r59_row2_a_message_is_read_to_the_end_of_its_json(
    agent: ScriptedAgent, newline: bool, fin: bool, apart: bool
) -> None:
    answer = agent.call(UNBIND, {"Id": 'x}{\\"'}, newline=newline, fin=fin, apart=apart)
    assert answer["Error"] == ""


def test_r59_a_message_may_come_in_frames_of_one_byte(agent: ScriptedAgent) -> None:
    stream = agent.open(UNBIND)
    for byte in b'{"Id": "cut", "Extra": {"a": [1, "]"]}}\n':
        stream.send(bytes([byte]))
    assert json.loads(stream.everything()) == {"Error": "", "Extra": None}
    stream.finish()


def test_r59_the_type_may_come_in_pieces_too(agent: ScriptedAgent) -> None:
    stream = agent.open(None)
    agent.send(data(stream.id, b"\0", syn=True), data(stream.id, b""), data(stream.id, b"\0\0"))
    agent.send(data(stream.id, b"\x02" + b'{"Id": "x"}'))
    assert json.loads(stream.everything())["Error"] == ""


def test_r59_records_of_one_byte_are_put_together(edge: Edge) -> None:
    with ScriptedAgent.to(edge) as agent:
        agent.write_bytes = 1
        assert agent.login(edge.token)["ClientId"]


# === row 1: the answer, then FIN, and never a reset


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (UNBIND, "{}"),
        (SRV_INFO, "{}"),
        (BIND, "{}"),
        (BIND, "{"),
        (AUTH, json.dumps(auth("x"))),
        (PATCH, '{"TunnelId": "none"}'),
        (99, ""),
    ],
    ids=["unbind", "info", "bind refused", "cut short", "second login", "patch", "unknown"],
)
def test_r60_row1_every_answer_is_followed_by_fin_and_never_by_a_reset(
    agent: ScriptedAgent, kind: int, message: str
) -> None:
    stream = agent.ask(kind, message, newline=False, fin=message == "{")
    assert isinstance(json.loads(stream.everything()), dict)
    stream.finish()
    assert lives(agent)
    frames = [frame for frame in agent.of(stream.id) if frame.kind in (DATA, RST)]
    assert [frame.kind for frame in frames] == [DATA] * len(frames), "no RST"
    assert [frame.fin for frame in frames] == [False] * (len(frames) - 1) + [True], "FIN is the last of them"


# === what is wrong is answered, and the session lives


@pytest.mark.parametrize(
    ("kind", "message", "code"),
    [
        (BIND, "not json at all", "301"),
        (BIND, '{"Proto": 1}', "301"),
        (BIND, '{"Proto": "https", "Opts": []}', "301"),
        (BIND, '{"Proto": "https", "Opts": {"BasicAuth": "x"}}', "301"),
        (BIND, '{"Proto": "https", "Opts": {"TrafficPolicy": {}}}', "301"),
        (BIND, '{"Proto": "gopher"}', "332"),
        (BIND, '["Proto"]', "301"),
        (BIND, '{"Proto": "https", "Extra": {"Bindings": "public"}}', "301"),
        (UNBIND, '{"Id": 7}', "801"),
        (UNBIND, "}", "801"),
        (PATCH, '{"TunnelId": []}', "801"),
    ],
)
def test_r61_what_cannot_be_read_is_answered_with_an_error_and_the_session_lives(
    agent: ScriptedAgent, kind: int, message: str, code: str
) -> None:
    answer = agent.call(kind, message)
    assert answer["Error"].splitlines()[-1] == f"ERR_NGROK_{code}"
    assert lives(agent)


def test_r61_a_message_without_end_is_refused_and_the_session_lives(agent: ScriptedAgent) -> None:
    stream = agent.open(BIND, b'{"Id": "')
    flood = b"x" * 65_536
    for _ in range(24):  # half as much again as a message may have
        if stream.over:
            break
        stream.send(flood)
    answer = json.loads(stream.everything())
    assert "larger than" in answer["Error"]
    assert lives(agent)


@pytest.mark.parametrize("kind", [PROXY, STOP, METRICS, 12, 0x7FFF_FFFF])
@pytest.mark.parametrize("body", ["{}", "", "\x0a\x0b\x0c"], ids=["json", "nothing", "binary"])
def test_r62_r81_a_type_the_edge_does_not_know_is_answered_at_once(agent: ScriptedAgent, kind: int, body: str) -> None:
    answer = agent.call(kind, body, newline=False)
    assert f"type {kind}" in answer["Error"]
    assert answer["Error"].splitlines()[-1] == "ERR_NGROK_800"
    assert lives(agent)


def test_row13_m15_a_stream_that_ends_before_its_type_ends_nothing_else(agent: ScriptedAgent) -> None:
    for payload in (b"", b"\0\0\0"):
        stream = agent.open(None)
        agent.send(data(stream.id, payload, syn=True, fin=True))
    assert lives(agent)


# === row 33, errors


def test_r83_row33_the_code_stands_alone_on_the_last_line_and_nowhere_else(agent: ScriptedAgent) -> None:
    answers = [
        agent.call(BIND, "{}"),
        agent.call(BIND, {"Proto": "https", "Opts": {"URL": "https://1.21 gigawatts"}}),
        agent.call(BIND, {"Proto": "https", "Opts": {"OAuth": {"provider": "github"}}}),
        agent.call(PATCH, {"TunnelId": "none"}),
        agent.call(99, "{}"),
    ]
    for answer in answers:
        *text, empty, code = answer["Error"].rstrip("\r\n").split("\r\n")
        assert code.startswith("ERR_NGROK_"), answer
        assert code.removeprefix("ERR_NGROK_").isdigit()
        assert empty == ""
        assert "".join(text).strip(), "there are words too"
        assert not any("ERR_NGROK_" in line for line in text)


# === concurrency


def test_r82_fifty_messages_at_once_are_all_answered(agent: ScriptedAgent) -> None:
    streams = [agent.ask(BIND, {"Proto": "https", "Opts": {}}) for _ in range(50)]
    urls = {json.loads(stream.everything())["URL"] for stream in streams}
    assert len(urls) == 50
    for stream in streams:
        stream.finish()


def test_r82_messages_one_after_the_other_as_rust_sends_them(agent: ScriptedAgent) -> None:
    for number in range(50):
        assert agent.call(UNBIND, {"Id": str(number)}, newline=False)["Error"] == ""


def test_a_message_that_never_ends_holds_up_no_other(agent: ScriptedAgent) -> None:
    for _ in range(20):
        agent.open(BIND, b'{"Proto":')
    assert lives(agent)


def test_answers_are_read_by_many_threads_at_once(agent: ScriptedAgent) -> None:
    problems: list[str] = []

    def work() -> None:
        for _ in range(5):
            problems.extend(filter(None, [agent.unbind("x")["Error"]]))

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_a_heartbeat_stream_is_no_message(agent: ScriptedAgent) -> None:
    stream = agent.open(HEARTBEAT, b"{}{}")
    assert stream.exactly(4) == b"{}{}"
