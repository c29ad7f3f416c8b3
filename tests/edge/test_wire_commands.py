"""What the edge tells agents to do (wire-protocol.md §6): that an endpoint has ended, because new rules forbid it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.edge import Edge
from harness.muxado import BIND_LABELED, DATA, RST, STOP_TUNNEL, SYN
from harness.scripted import GO, RUST, Refused, ScriptedAgent, response, rules
from harness.visitor import Visitor

TOKEN, OTHER = "token-of-ann", "token-of-bo"
LABELS = "labels: [{match: {app: web}, url: https://web.localhost}]\n"


def tokens(acl: str) -> str:
    return f"tokens: [{{token: {TOKEN}, name: ann, acl: [{acl}]}}, {{token: {OTHER}, name: bo}}]\n{LABELS}"


@pytest.fixture
def edge(new_edge: Callable[..., Edge], tmp_path: Path) -> Edge:
    return new_edge(*rules(tmp_path, tokens("")))


@pytest.fixture(params=[RUST, GO], ids=["rust", "go"])
def agent(edge: Edge, request: pytest.FixtureRequest) -> Iterator[ScriptedAgent]:
    with ScriptedAgent.to(edge) as agent:
        agent.login(TOKEN, user_agent=request.param)
        yield agent


def reload(edge: Edge, home: Path, text: str) -> None:
    since = edge.process.position
    rules(home, text)
    edge.process.signal(signal.SIGHUP)
    edge.process.wait_for("configuration reloaded", since=since)


def test_k108_k110_row27_row28_row30_an_endpoint_that_new_rules_forbid_is_ended_and_its_agent_told(
    edge: Edge, agent: ScriptedAgent, tmp_path: Path
) -> None:
    kept, ended = (agent.bind("http", {"URL": f"http://{name}.localhost"}) for name in ("kept", "ended"))
    agent.serve_http(lambda request: response(b"served"))
    reload(edge, tmp_path, tokens("'bind:kept.localhost'"))
    stream = agent.accept(STOP_TUNNEL)
    body = json.loads(stream.everything())
    assert (body["Id"], body["ErrorCode"]) == (ended.id, "ERR_NGROK_316")
    assert "ended.localhost" in body["Message"]
    with Visitor(edge, ended.url) as visitor:
        assert visitor.get("/").code == "ERR_NGROK_3200", "unrouted, whatever the agent does about it"
    with Visitor(edge, kept.url) as visitor:
        assert visitor.get("/").body == b"served"
    # The agent neither answers nor ends its side; the edge waits for neither.
    assert stream.wait_reset() == 6
    first, *rest = [frame for frame in agent.of(stream.id) if frame.kind in (DATA, RST)]
    assert (first.flags, json.loads(first.payload[4:])) == (SYN, body), "type and body in one frame, FIN behind it"
    assert [(frame.kind, frame.fin) for frame in rest] == [(DATA, True), (RST, False)]
    # As Rust's SDKs do when they are told.
    assert agent.unbind(ended.id)["Error"] == ""
    with pytest.raises(Refused) as refused:
        agent.bind_again(ended)
    assert refused.value.code == 316


def test_k109_row30_an_agent_that_goes_on_serving_gets_no_visitors(
    edge: Edge, agent: ScriptedAgent, tmp_path: Path
) -> None:
    bound = agent.bind("tcp")
    reload(edge, tmp_path, tokens("'bind:else.localhost'"))
    agent.accept(STOP_TUNNEL)
    with pytest.raises(OSError, match="refused"):
        edge.connect(("127.0.0.1", int(bound.url.rsplit(":", 1)[1])))
    with ScriptedAgent.to(edge) as other:
        other.login(OTHER)
        assert other.bind("tcp", {"URL": bound.url}).url == bound.url, "the port is free for others"


def test_a_visitor_in_flight_is_served_to_the_end(edge: Edge, agent: ScriptedAgent, tmp_path: Path) -> None:
    bound = agent.bind("http", {"URL": "http://flight.localhost"})
    with Visitor(edge, bound.url) as visitor:
        visitor.connection.request("GET", "/", headers={"Host": visitor.host})
        proxied = agent.proxied()
        reload(edge, tmp_path, tokens("'bind:else.localhost'"))
        agent.accept(STOP_TUNNEL)
        proxied.stream.send(response(b"to the end"))
        assert visitor.connection.getresponse().read() == b"to the end"


def test_labels_that_new_rules_forbid_are_ended_too(edge: Edge, agent: ScriptedAgent, tmp_path: Path) -> None:
    id = agent.call_or_refused(BIND_LABELED, {"Labels": {"app": "web"}})["Id"]  # noqa: A001 — the protocol's word
    reload(edge, tmp_path, tokens("'bind:app=web'"))
    reload(edge, tmp_path, tokens("'bind:app=api'"))
    body = agent.accept(STOP_TUNNEL).json()
    assert (body["Id"], body["ErrorCode"]) == (id, "ERR_NGROK_399")


def test_a_reservation_for_somebody_else_ends_what_is_there(edge: Edge, agent: ScriptedAgent, tmp_path: Path) -> None:
    bound = agent.bind("https", {"URL": "https://wanted.localhost"})
    random = agent.bind("https")
    reload(edge, tmp_path, tokens("") + "reserved: [{name: wanted.localhost, token: bo}]\n")
    body = agent.accept(STOP_TUNNEL).json()
    assert (body["Id"], body["ErrorCode"]) == (bound.id, "ERR_NGROK_320")
    agent.serve_http()
    with Visitor(edge, random.url) as visitor:
        assert visitor.get("/").status == 200


def test_a_reload_that_changes_no_rule_ends_nothing(edge: Edge, agent: ScriptedAgent, tmp_path: Path) -> None:
    bound = agent.bind("http")
    agent.serve_http()
    for _ in range(3):
        reload(edge, tmp_path, tokens("") + "limits: {drain: 3s}\n")
    with Visitor(edge, bound.url) as visitor:
        assert visitor.get("/").status == 200
    assert not [stream for stream in agent.streams.values() if stream.kind == STOP_TUNNEL]
