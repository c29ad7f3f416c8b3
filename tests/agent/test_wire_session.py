"""What the agent says to an edge, and how it takes what an edge says (wire-protocol.md §3, §4.8, §6, §9)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.agents import Agent
from harness.local import LocalApi
from harness.muxado import AUTH, BIND, HEARTBEAT, RESTART, STOP, STOP_TUNNEL, UNBIND, UPDATE, data, goaway, rst
from harness.played import URL, Played, PlayedEdge
from harness.process import until
from harness.upstreams import BLOCK, HttpUpstream

Connecting = Callable[..., Agent]

BEATS = "{heartbeat_interval: 1s, heartbeat_tolerance: 1s}"
SECOND = 1_000_000_000


@pytest.fixture
def agent(played: PlayedEdge, connecting: Connecting, upstream: HttpUpstream) -> Agent:
    return connecting("http", upstream.url)


def serves(session: Played) -> bool:
    return session.get("/bytes/5").endswith(BLOCK[:5])


# === heartbeats


def test_52_beats_are_echoed_before_and_after_the_login_on_several_streams(agent: Agent, played: PlayedEdge) -> None:
    session = played.next()
    auth = session.peer.accept(AUTH)
    early = session.peer.open(HEARTBEAT, b"\x00\x00\x00\x07")
    session.peer.expect(data(early.id, b"\x00\x00\x00\x07"))
    auth.answer({"Version": "3", "ClientId": "c", "Extra": {}})
    session.bind()
    for beat in (b"\xff\xff\xff\xff", b"abcd", b"\x00\x00\x00\x00"):
        late = session.peer.open(HEARTBEAT, beat)
        session.peer.expect(data(late.id, beat))
        early.send(beat)
        session.peer.expect(data(early.id, beat))


def test_52_a_beat_in_two_pieces_is_echoed_as_one(agent: Agent, played: PlayedEdge) -> None:
    session = played.next().up()
    beats = session.peer.open(HEARTBEAT)
    beats.send(b"\x01\x02")
    beats.send(b"\x03\x04\x05")
    session.peer.expect(data(beats.id, b"\x01\x02\x03\x04"))
    beats.send(b"\x06\x07\x08")
    session.peer.expect(data(beats.id, b"\x05\x06\x07\x08"))


def test_b13_54_without_an_echo_the_session_is_ended_and_made_again(
    played: PlayedEdge, connecting: Connecting, upstream: HttpUpstream
) -> None:
    agent = connecting("http", upstream.url, settings=BEATS)
    deaf = played.next(echo=False).up()
    ours = deaf.auth["Extra"]
    assert (ours["HeartbeatInterval"], ours["HeartbeatTolerance"]) == (SECOND, SECOND)
    agent.process.wait_for("heartbeat timeout, terminating session")
    deaf.closed()
    assert serves(played.next().up())


@pytest.mark.slow
def test_b13_a_swallowed_heartbeat_ends_the_session_after_25_seconds(agent: Agent, played: PlayedEdge) -> None:
    deaf = played.next(echo=False).up()
    began = time.monotonic()
    agent.process.wait_for("heartbeat timeout, terminating session", patience=60)
    assert time.monotonic() - began > 24, "interval and tolerance"
    deaf.closed()
    assert serves(played.next().up())


def test_55_a_wrong_echo_is_none(played: PlayedEdge, agent: Agent) -> None:
    wrong = played.next(echo=False)
    beats = wrong.peer.accept(HEARTBEAT)
    beat = beats.exactly(4)
    beats.send(bytes(byte ^ 1 for byte in beat))
    wrong.closed()
    assert serves(played.next().up())


@pytest.mark.parametrize("end", ["FIN", "RST"])
def test_56_an_edge_that_ends_a_heartbeat_stream_ends_nothing_else(end: str, played: PlayedEdge, agent: Agent) -> None:
    session = played.next().up()
    for stream in (session.peer.accept(HEARTBEAT), session.peer.open(HEARTBEAT, b"beat")):
        session.peer.send(data(stream.id, fin=True) if end == "FIN" else rst(stream.id, 6))
    assert serves(session)
    frames = len(session.peer.frames)
    assert frames < 60, "it answers an end with an end, not with beats"


def test_the_first_beat_tells_the_latency_also_where_it_is_echoed_before_the_login(
    played: PlayedEdge, connecting: Connecting, upstream: HttpUpstream
) -> None:
    # The second would come after the patience of this test.
    agent = connecting("http", upstream.url, settings="{heartbeat_interval: 60s, heartbeat_tolerance: 60s}")
    session = played.next(echo=False)
    beats = session.peer.accept(HEARTBEAT)
    beats.send(beats.exactly(4))
    auth = session.peer.accept(AUTH)
    # What is answered now has come after that echo.
    ours = session.peer.open(HEARTBEAT, b"beat")
    session.peer.expect(data(ours.id, b"beat"))
    auth.answer({"Version": "3", "ClientId": "c", "Extra": {}})
    session.bind()
    api = LocalApi(agent.process)
    until("a latency", lambda: api.get("/api/status")["session"]["legs"][0]["latency"])


# === login


def test_the_login_says_who_it_is(agent: Agent, played: PlayedEdge) -> None:
    request = played.next().login()
    assert request["Version"][0] == "3"
    assert request["ClientId"] == ""
    extra = request["Extra"]
    assert extra.get("Authtoken", extra.get("AuthToken")) == "played-token"
    assert extra["UserAgent"].startswith("portway/")
    assert (extra["OS"], extra["Cookie"], extra["CustomCAs"]) == ("linux", "", True)
    assert (extra["HeartbeatInterval"], extra["HeartbeatTolerance"]) == (10 * SECOND, 15 * SECOND)


# Codes as agent-behaviour.md §1.4 has them: what ends an agent whenever it comes, what only at its first attempt (so
# does a code that nobody here knows), and what passes.
FATAL = [100, 103, 105, 107, 109, 111, 112, 119, 121, 122, 123, 124, 126, 127, 300, 811, 4018, 8014, 15014]
FATAL_AT_FIRST = [108, 115, 116, 9040, 9999]
PASSING_LOGIN = [128, 702, 703, 741, 742, 743, 802, 803]


@pytest.mark.parametrize("code", [*FATAL, *FATAL_AT_FIRST])
def test_b7_a_refusal_that_stands_ends_the_agent(code: int, agent: Agent, played: PlayedEdge) -> None:
    played.next().refuse(code)
    assert agent.process.wait() == 1
    assert f"ERROR:  ERR_NGROK_{code}" in agent.process.text("err").splitlines()


@pytest.mark.parametrize("code", PASSING_LOGIN)
def test_b7_a_refusal_that_may_pass_is_tried_again(code: int, agent: Agent, played: PlayedEdge) -> None:
    played.next().refuse(code)
    session = played.next().up()
    assert serves(session)
    session.peer.close()
    played.next().refuse(code)
    assert serves(played.next().up())


@pytest.mark.parametrize("code", FATAL)
def test_b7_a_refusal_that_stands_ends_a_running_agent_too(code: int, agent: Agent, played: PlayedEdge) -> None:
    played.next().up().peer.close()
    played.next().refuse(code)
    assert agent.process.wait() == 1
    assert f"ERROR:  ERR_NGROK_{code}" in agent.process.text("err").splitlines()
    told = [record["msg"] for record in agent.process.records()]
    assert told.index("failed to auth") < told.index("session closing") < told.index("terminating with error")
    assert told[-1] == "command failed"


def test_b7_an_identity_that_the_edge_does_not_take_is_dropped(agent: Agent, played: PlayedEdge) -> None:
    first = played.next().up()
    first.peer.close()
    again = played.next()
    assert again.refuse(110)["ClientId"] == "client-1"
    assert played.next().login()["ClientId"] == ""


@pytest.mark.parametrize("code", FATAL_AT_FIRST)
def test_b7_some_refusals_are_waited_out_once_a_session_was_up(code: int, agent: Agent, played: PlayedEdge) -> None:
    played.next().up().peer.close()
    played.next().refuse(code)
    agent.process.wait_for("failed to auth")
    assert agent.process.running()


@pytest.mark.parametrize(
    "answer",
    ["", "no json", "[]", '{"Version": 3}', '{"Extra": {"Cookie": 1}}', '{"Error": {}}'],
)
def test_61_an_answer_that_makes_no_sense_is_tried_again(answer: str, agent: Agent, played: PlayedEdge) -> None:
    session = played.next()
    session.peer.accept(AUTH).answer(answer)
    session.closed()
    agent.process.wait_for("failed to reconnect session")
    assert serves(played.next().up())


def test_what_the_edge_wants_people_to_know_is_recorded(agent: Agent, played: PlayedEdge) -> None:
    warning = {"NextMin": "9.0.0", "NextDate": "2030-01-01T00:00:00Z", "Msg": "Upgrade soon."}
    session = played.next()
    session.login(Extra={"Banner": "Works until noon.", "DeprecationWarning": warning})
    banner = agent.process.wait_for("server banner")
    assert (banner["lvl"], banner["obj"], banner["banner"]) == ("info", "tunnels.session", "Works until noon.")
    told = agent.process.wait_for("server deprecation warning")
    assert (told["lvl"], told["obj"]) == ("warn", "tunnels.session")
    assert [told[key] for key in ("next_min", "next_date", "warning")] == list(warning.values())
    session.bind()
    assert serves(session)


def test_an_answer_without_an_end_is_answer_enough(agent: Agent, played: PlayedEdge) -> None:
    session = played.next()
    session.peer.accept(AUTH).answer({"Version": "3", "ClientId": "c"}, fin=False)
    session.bind(fin=False)
    assert serves(session)


# === reconnect


def test_b6_attempts_are_made_after_ever_longer_pauses(agent: Agent, played: PlayedEdge) -> None:
    played.next().up().peer.close()
    came = []
    for _ in range(6):
        attempt, _ = played.listener.accept()
        came.append(time.monotonic())
        attempt.close()
    pauses = [later - earlier for earlier, later in itertools.pairwise(came)]
    # Behind the first failure half a second, then twice as long each time, and at least half of that.
    least = [0.25 * 2**number for number in range(len(pauses))]
    assert all(pause >= wanted - 0.01 for pause, wanted in zip(pauses, least, strict=True)), pauses
    assert serves(played.next().up())


OPTS: dict[str, Any] = {
    "Domain": "played.test",
    "ProxyProto": 0,
    "TrafficPolicy": "",
    "Novelty": {"deep": [1, None, "x"]},
}


@pytest.mark.parametrize("end", ["TCP", "GOAWAY", "Rust's GOAWAY", "an error"])
def test_84_what_the_edge_gave_is_asked_for_again(end: str, agent: Agent, played: PlayedEdge) -> None:
    first = played.next().up(opts=OPTS)
    asked = first.binds[0]
    assert asked["Id"] == ""
    assert asked["Extra"]["Token"] == ""
    match end:
        case "GOAWAY":
            first.peer.send(goaway(3))
        case "Rust's GOAWAY":  # 13 bytes announced, 21 sent (wire-protocol.md §2.8)
            first.peer.send_bytes(bytes.fromhex("00000d3000000000") + bytes(8) + b"unknown frame")
        case "an error":  # an RST of three bytes
            first.peer.send_bytes(bytes.fromhex("0000030000000005000001"))
            first.closed()
    if end == "TCP":
        first.peer.close()
    else:
        first.closed()

    again = played.next()
    login = again.login()
    assert (login["ClientId"], login["Extra"]["Cookie"]) == ("client-1", "crumb")
    request = again.bind(url="http://another.test")
    assert request["Id"] == "bind-1"
    assert request["Extra"]["Token"] == "token-of-bind-1"
    assert request["Opts"] == OPTS
    assert {key: request[key] for key in ("Proto", "ForwardsTo")} == {
        key: asked[key] for key in ("Proto", "ForwardsTo")
    }
    assert serves(again)


def test_84_only_one_session_at_a_time(agent: Agent, played: PlayedEdge) -> None:
    """The old connection is closed before the next login is sent."""
    first = played.next().up()
    first.peer.send(goaway())
    second = played.next()
    second.login()
    assert first.peer.ended


def answer_bind(session: Played, codes: Mapping[str, int]) -> str:
    """Refuses the agent's next bind if there is a code for its name; the name."""
    stream = session.peer.accept(BIND)
    request = stream.json()
    name: str = request["Extra"]["Name"]
    if name in codes:
        stream.answer({"Error": f"Not any more.\n\nERR_NGROK_{codes[name]}"})
    else:
        stream.answer({**request, "URL": URL, "Error": ""})
        session.ids.append(request["Id"])
    return name


PASSING = [0, 128, 334, 350, 702, 703, 741, 742, 743, 802, 803, 9999]
STANDING = [301, 307, 308, 309, 316, 318, 319, 320, 324, 332, 365, 381, 395, 399]
ENDING = [103, 107, 300, 4018, 8014]


@pytest.mark.parametrize("code", PASSING)
def test_a_bind_that_is_refused_again_and_may_pass_is_tried_until_it_does(
    code: int, agent: Agent, played: PlayedEdge
) -> None:
    played.next().up().peer.close()
    again = played.next()
    again.login()
    name = answer_bind(again, {"command_line": code})
    failed = agent.process.wait_for("failed to start tunnel")
    assert (failed["name"], failed["lvl"]) == (name, "eror")
    answer_bind(again, {})
    until("it serves", lambda: serves(again))


@pytest.mark.parametrize("code", STANDING)
def test_a_bind_that_is_refused_again_and_stands_leaves_the_others_alone(
    code: int, played: PlayedEdge, connecting: Connecting, alone_config: Callable[[str], Path]
) -> None:
    agent = connecting("start", "--all", "--config", str(alone_config("a b c")))
    played.next().up(3).peer.close()
    again = played.next()
    again.login()
    refused = {"b": code, "c": 334}
    assert {answer_bind(again, refused) for _ in range(3)} == {"a", "b", "c"}

    def failed() -> list[tuple[str, str]]:
        return [(r["name"], r["lvl"]) for r in agent.process.records() if r["msg"] == "failed to start tunnel"]

    until("both are told", lambda: sorted(failed()) == [("b", "eror"), ("c", "eror")])
    # By its third attempt the other would have had its second.
    assert [answer_bind(again, refused) for _ in range(2)] == ["c", "c"]
    until("it serves", lambda: serves(again))
    again.peer.close()
    after = played.next()
    after.login()
    assert {answer_bind(after, {}) for _ in range(3)} == {"a", "b", "c"}, "the next session asks for all"


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("code", ENDING)
def test_a_bind_that_is_refused_to_the_whole_agent_ends_it(
    code: int, later: bool, agent: Agent, played: PlayedEdge
) -> None:
    played.next().up().peer.close()
    again = played.next()
    again.login()
    if later:
        answer_bind(again, {"command_line": 334})
    answer_bind(again, {"command_line": code})
    assert agent.process.wait() == 1
    assert f"ERROR:  ERR_NGROK_{code}" in agent.process.text("err").splitlines()


@pytest.fixture
def alone_config(tmp_path: Path, upstream: HttpUpstream) -> Callable[[str], Path]:
    def write(names: str) -> Path:
        path = tmp_path / "endpoints.yml"
        lines = "".join(f"- {{name: {name}, upstream: {{url: {upstream.port}}}}}\n" for name in names.split())
        path.write_text(f"version: 3\nendpoints:\n{lines}")
        return path

    return write


# === commands


def test_106_stop_is_answered_and_obeyed(agent: Agent, played: PlayedEdge) -> None:
    session = played.next().up()
    assert session.auth["Extra"]["StopUnsupportedError"] == ""
    stop = session.peer.open(STOP, b"{}")
    assert stop.everything() == b"{}"
    stopped = agent.process.wait_for("received stop request")
    assert (stopped["obj"], stopped["from"]) == ("app", "remote")
    unbind = session.peer.accept(UNBIND)
    assert unbind.json()["Id"] == "bind-1"
    unbind.answer({"Error": ""})
    assert agent.process.wait() == 0
    session.closed()
    assert session.peer.goaway is not None


def stop_tunnel(session: Played, code: str = '"ERR_NGROK_8014"', name: str = "bind-1") -> None:
    body = f'{{"Id":"{name}","Message":"Enough of it.","ErrorCode":{code}}}'.encode()
    stream = session.peer.open(None)
    # All in one write, as the specification has it (§6): that the stream is given up takes nothing of it back.
    command = data(stream.id, STOP_TUNNEL.to_bytes(4, "big") + body, syn=True)
    session.peer.send(command, data(stream.id, fin=True), rst(stream.id, 6))


def test_108_the_only_endpoint_of_a_command_ends_with_the_edges_words(agent: Agent, played: PlayedEdge) -> None:
    session = played.next().up()
    stop_tunnel(session)
    assert agent.process.wait() == 1
    told = agent.process.wait_for("tunnel stopped by server")
    assert (told["lvl"], told["url"]) == ("warn", URL)
    assert "Enough of it." in agent.process.text("err")
    assert "ERROR:  ERR_NGROK_8014" in agent.process.text("err").splitlines()


@pytest.mark.parametrize("code", ["null", '""', '"ERR_NGROK_8014"'])
def test_108_one_of_several_endpoints_ends_alone(
    code: str, played: PlayedEdge, connecting: Connecting, alone_config: Callable[[str], Path]
) -> None:
    agent = connecting("start", "--all", "--config", str(alone_config("a b")))
    session = played.next().up(2)
    stop_tunnel(session, code, "bind-2")
    assert agent.process.wait_for("tunnel stopped by server")["name"] == "b"
    assert session.visit(b"GET / HTTP/1.1\r\n\r\n", Id="bind-2").everything() == b""
    assert serves(session)
    stop_tunnel(session, code, "nobody")
    assert serves(session)


@pytest.mark.parametrize("kind", [STOP, RESTART, UPDATE, STOP_TUNNEL])
@pytest.mark.parametrize("body", [b"", b"{", b'{"Id":', b"[]", b"null", b"x"])
def test_111_half_a_command_is_an_error_and_nothing_more(
    kind: int, body: bytes, agent: Agent, played: PlayedEdge
) -> None:
    session = played.next().up()
    stream = session.peer.open(kind, body, fin=True)
    told = stream.everything()
    assert kind == STOP_TUNNEL or b"Error" in told
    assert serves(session)
    assert agent.process.running()


@pytest.mark.parametrize("kind", [77, 0x7FFF_FFFF])
def test_a_stream_of_an_unknown_type_is_dropped(kind: int, agent: Agent, played: PlayedEdge) -> None:
    session = played.next().up()
    stream = session.peer.open(kind, b"whatever it may be")
    session.peer.wait("its end", lambda: stream.over)
    assert serves(session)
