"""Agents that come back (wire-protocol.md §4.8, §4.9): they take over from themselves and are never told to wait."""

from __future__ import annotations

import contextlib
import http.client
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.edge import Edge
from harness.muxado import STOP_TUNNEL, UNBIND
from harness.process import until
from harness.scripted import RUST, Refused, ScriptedAgent, response
from harness.visitor import Visitor


@pytest.fixture(scope="module")
def edge(new_shared_edge: Callable[..., Edge]) -> Edge:
    return new_shared_edge()


@pytest.fixture
def comes(edge: Edge) -> Iterator[Callable[..., tuple[ScriptedAgent, str]]]:
    """An agent that logs in, and the identity it has then."""
    with contextlib.ExitStack() as open_ones:

        def come(client_id: str = "", **extra: Any) -> tuple[ScriptedAgent, str]:
            agent = open_ones.enter_context(ScriptedAgent.to(edge))
            return agent, agent.login(edge.token, client_id=client_id, **extra)["ClientId"]

        yield come


Comes = Callable[..., tuple[ScriptedAgent, str]]


def named(name: bytes) -> Any:
    return lambda request: response(name)


def asked(edge: Edge, url: str) -> bytes:
    with Visitor(edge, url) as visitor:
        return visitor.get("/").body


def test_r84_row10_the_same_identity_id_and_token_give_the_same_url(edge: Edge, comes: Comes) -> None:
    first, client = comes()
    bounds = [first.bind("http"), first.bind("https"), first.bind("tcp"), first.bind("tls")]
    first.close()
    again, _ = comes(client)
    for bound in bounds:
        same = again.bind_again(bound)
        assert (same.id, same.url, same.token) == (bound.id, bound.url, bound.token)
        assert same.opts == bound.opts
    seen = again.serve_http(named(b"again"))
    assert asked(edge, bounds[0].url) == b"again"
    assert seen[0].header["Id"] == bounds[0].id, "routed with the id the agent knows"


@pytest.mark.parametrize("user_agent", [RUST, "ngrok-go/2.1.1"], ids=["rust", "go"])
def test_r85_row11_an_agent_takes_over_from_its_own_session_that_still_looks_alive(
    edge: Edge, comes: Comes, user_agent: str
) -> None:
    old, client = comes(UserAgent=user_agent)
    bound = old.bind("http")
    old.serve_http(named(b"old"))
    assert asked(edge, bound.url) == b"old"
    new, _ = comes(client, UserAgent=user_agent)
    old.wait_ended()
    assert old.goaway == old.frames[-1]
    assert new.bind_again(bound).url == bound.url
    new.serve_http(named(b"new"))
    assert asked(edge, bound.url) == b"new"


def test_r85_the_name_is_free_as_soon_as_the_new_login_is_answered(edge: Edge, comes: Comes) -> None:
    old, client = comes()
    bound = old.bind("http")
    for _ in range(20):
        new, _ = comes(client)
        assert new.bind_again(bound).url == bound.url, "no wait, no 'already online'"


def test_r85_visitors_in_flight_are_told_that_their_agent_has_gone(edge: Edge, comes: Comes) -> None:
    old, client = comes()
    bound = old.bind("http")
    with Visitor(edge, bound.url) as waiting, Visitor(edge, bound.url) as reading:
        waiting.connection.request("POST", "/", body=b"x", headers={"Host": waiting.host})
        old.proxied()
        reading.connection.request("GET", "/", headers={"Host": reading.host})
        old.proxied().stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        answer = reading.connection.getresponse()
        comes(client)
        failed = waiting.connection.getresponse()
        assert (failed.status, failed.headers["ngrok-error-code"]) == (502, "ERR_NGROK_3210")
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()


def test_another_identity_does_not_take_over(edge: Edge, comes: Comes) -> None:
    first, _ = comes()
    bound = first.bind("http")
    first.serve_http(named(b"first"))
    stranger, _ = comes("somebody-else")
    with pytest.raises(Refused) as refused:
        stranger.bind_again(bound)
    assert refused.value.code == 334
    assert asked(edge, bound.url) == b"first"


def test_r86_row10_ids_the_edge_has_never_seen_are_taken_as_they_are(edge: Edge, comes: Comes) -> None:
    agent, _ = comes("from-before-the-edge-lost-its-state")
    bound = agent.bind("http", {"URL": "http://remembered.localhost"}, id="id-of-old", token="token-of-old")
    assert (bound.id, bound.token) == ("id-of-old", "token-of-old")
    seen = agent.serve_http()
    asked(edge, bound.url)
    assert seen[0].header["Id"] == "id-of-old"


def test_r86_after_a_restart_of_the_edge_everything_can_be_bound_again(new_edge: Callable[..., Edge]) -> None:
    edge = new_edge()
    with ScriptedAgent.to(edge) as agent:
        client = agent.login(edge.token)["ClientId"]
        bounds = [agent.bind("http"), agent.bind("tcp")]
        edge.kill()
        agent.wait_ended()
        agent.complaints.clear()
    edge.restart()
    with ScriptedAgent.to(edge) as agent:
        assert agent.login(edge.token, client_id=client)["ClientId"] == client
        assert [agent.bind_again(bound).url for bound in bounds] == [bound.url for bound in bounds]
        agent.serve_http(named(b"back"))
        assert asked(edge, bounds[0].url) == b"back"


def test_a_bind_that_is_repeated_in_its_own_session_replaces_itself(edge: Edge, comes: Comes) -> None:
    agent, _ = comes()
    bound = agent.bind("http")
    assert agent.bind_again(bound).url == bound.url
    before = edge.metric("portway_endpoints")
    agent.unbind(bound.id)
    assert edge.metric("portway_endpoints") == before - 1


# === legs


def test_r88_two_legs_of_one_agent_serve_together_and_unbind_together(edge: Edge, comes: Comes) -> None:
    zero, client = comes(LegNumber=0)
    one, _ = comes(client, LegNumber=1)
    assert not zero.ended, "another leg takes nothing over"
    bound = zero.bind("http")
    assert one.bind_again(bound).url == bound.url
    for leg, name in ((zero, b"zero"), (one, b"one")):
        leg.serve_http(named(name))
    answers = {asked(edge, bound.url) for _ in range(60)}
    assert answers == {b"zero", b"one"}
    assert zero.call(UNBIND, {"Id": bound.id, "Extra": None})["Error"] == ""
    with Visitor(edge, bound.url) as visitor:
        assert visitor.get("/").code == "ERR_NGROK_3200"


def test_r88_a_leg_takes_over_from_the_same_leg_only(edge: Edge, comes: Comes) -> None:
    zero, client = comes(LegNumber=0)
    one, _ = comes(client, LegNumber=1)
    bound = zero.bind("http")
    one.bind_again(bound)
    again, _ = comes(client, LegNumber=1)
    one.wait_ended()
    again.bind_again(bound)
    zero.serve_http(named(b"zero"))
    again.serve_http(named(b"again"))
    assert {asked(edge, bound.url) for _ in range(60)} == {b"zero", b"again"}


def test_an_agent_that_dies_leaves_no_name_behind(edge: Edge, comes: Comes) -> None:
    agent, _ = comes()
    bound = agent.bind("http")
    since = edge.process.position
    agent.close()
    edge.process.wait_for("agent disconnected", since=since)
    with Visitor(edge, bound.url) as visitor:
        assert visitor.get("/").code == "ERR_NGROK_3200"
    other, _ = comes()
    assert other.bind("http", {"URL": bound.url}).url == bound.url
    assert not [frame for frame in other.frames if frame.payload[:4] == STOP_TUNNEL.to_bytes(4, "big")]


def test_r87_a_restart_of_the_edge_shows_an_agent_that_tries_on_no_error_answer(new_edge: Callable[..., Edge]) -> None:
    """Refused connections are what SDKs try again soon; an `Error` sends those over Rust away for minutes."""
    edge = new_edge()
    with ScriptedAgent.to(edge) as agent:
        client = agent.login(edge.token)["ClientId"]
        bound = agent.bind("http")
        edge.process.signal(signal.SIGTERM)
        agent.wait_ended()
    restart = threading.Thread(target=lambda: (edge.process.wait(), edge.start()))
    restart.start()

    def come_back() -> ScriptedAgent | None:
        try:
            return ScriptedAgent.to(edge)
        except OSError:  # refused, or cut off during the handshake
            return None

    with until("the edge is there again", come_back) as agent:
        assert agent.login(edge.token, client_id=client)["Error"] == ""
        assert agent.bind_again(bound).url == bound.url
        agent.serve_http(named(b"back"))
        restart.join()
        assert asked(edge, bound.url) == b"back"
