"""Several connections of one agent, as an edge sees them (wire-protocol.md §4.9, agent-behaviour.md §2.1)."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from harness.agents import Agent
from harness.edge import address
from harness.muxado import STOP_TUNNEL, UNBIND, Json
from harness.played import Played, PlayedEdge
from harness.process import until
from harness.upstreams import BLOCK, HttpUpstream

Connecting = Callable[..., Agent]

LEGS = "{multi_leg: true, web_addr: '127.0.0.1:0'}"


@pytest.fixture
def agent(played: PlayedEdge, connecting: Connecting, upstream: HttpUpstream) -> Agent:
    return connecting("http", upstream.url, settings=LEGS)


def offered(played: PlayedEdge, legs: int = 2) -> Json:
    """What an edge adds to its answer that offers so many legs, all of them here."""
    regions = ("near", "far", "elsewhere")
    addresses = [{"Region": region, "ServerAddr": f"127.0.0.1:{played.port}"} for region in regions[:legs]]
    return {"Cookie": "crumb", "Region": "near", "ConnectAddresses": addresses}


def first_leg(played: PlayedEdge, **answer: Any) -> Played:
    session = played.next()
    session.login(Extra=offered(played), **answer)
    session.bind()
    return session


def second_leg(played: PlayedEdge) -> Played:
    session = played.next()
    session.login(Extra={"Region": "far"})
    session.bind()
    return session


def serves(session: Played, **changed: Any) -> bool:
    return session.get("/bytes/5", **changed).endswith(BLOCK[:5])


def local(agent: Agent, path: str, method: str = "GET", body: Json | None = None) -> Any:
    """What its local interface says."""
    web = agent.process.wait_for("starting web service")["addr"]
    connection = http.client.HTTPConnection(*address(web), timeout=20)
    connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    answer = connection.getresponse().read()
    connection.close()
    return json.loads(answer) if answer else None


def regions(agent: Agent) -> list[str]:
    return [leg["region"] for leg in local(agent, "/api/status")["session"]["legs"]]


def test_88_each_leg_has_the_same_identity_and_binds_the_same_id(agent: Agent, played: PlayedEdge) -> None:
    first, second = first_leg(played), second_leg(played)
    assert [leg.auth["Extra"]["LegNumber"] for leg in (first, second)] == [0, 1]
    assert (second.auth["ClientId"], second.auth["Extra"]["Cookie"]) == ("client-1", "crumb")
    assert (second.binds[0]["Id"], second.binds[0]["Extra"]["Token"]) == ("bind-1", "token-of-bind-1")
    assert second.binds[0]["Opts"] == first.binds[0]["Opts"]
    assert serves(first)
    assert serves(second)
    assert regions(agent) == ["near", "far"]


def test_one_leg_is_all_there_is_unless_more_are_wanted(
    played: PlayedEdge, connecting: Connecting, upstream: HttpUpstream
) -> None:
    agent = connecting("http", upstream.url)
    session = first_leg(played)
    assert serves(session)
    agent.process.signal(signal.SIGTERM)
    session.peer.accept(UNBIND).answer({})
    session.closed()
    assert agent.process.wait() == 0
    played.listener.settimeout(0)
    with pytest.raises(BlockingIOError):
        played.listener.accept()


@pytest.mark.parametrize("lost", [0, 1])
def test_a_leg_that_is_lost_comes_back_alone_and_nobody_calls_that_reconnecting(
    agent: Agent, played: PlayedEdge, lost: int
) -> None:
    legs = [first_leg(played), second_leg(played)]
    legs[lost].peer.close()
    agent.process.wait_for("leg closed", leg=str(lost))
    assert local(agent, "/api/status")["status"] == "online"
    assert serves(legs[1 - lost])
    again = played.next()
    auth = again.login(Extra=offered(played))
    assert (auth["Extra"]["LegNumber"], auth["ClientId"]) == (lost, "client-1")
    assert again.bind()["Id"] == "bind-1"
    assert serves(again)
    until("both legs", lambda: len(regions(agent)) == 2)
    said = {record["msg"] for record in agent.process.records()}
    assert "leg established" in said
    assert not said & {"session closed, starting reconnect loop", "failed to reconnect session"}


def test_only_when_all_legs_are_lost_the_session_is(agent: Agent, played: PlayedEdge) -> None:
    legs = [first_leg(played), second_leg(played)]
    before = agent.process.position
    for leg in legs:
        leg.peer.close()
    agent.process.wait_for("session closed, starting reconnect loop", since=before)
    told = local(agent, "/api/status")
    assert (told["status"], told["session"]["legs"]) == ("reconnecting", [])
    numbers = set()
    for _ in legs:
        again = played.next()
        numbers.add(again.login(Extra=offered(played))["Extra"]["LegNumber"])
        assert again.bind()["Id"] == "bind-1"
        assert serves(again)
    assert numbers == {0, 1}
    agent.process.wait_for("client session established", since=before)
    assert local(agent, "/api/status")["status"] == "online"


def test_what_is_started_stopped_and_changed_later_is_so_on_every_leg(
    agent: Agent, played: PlayedEdge, upstream: HttpUpstream
) -> None:
    first, second = first_leg(played), second_leg(played)

    def asked(*how: Any) -> threading.Thread:
        # The edge's answers are the test's, and who asks waits for them.
        thread = threading.Thread(target=local, args=(agent, *how))
        thread.start()
        return thread

    wanted = {"name": "late", "upstream": {"url": upstream.url}}
    starting = asked("/api/endpoints", "POST", wanted)
    first.bind(url="http://late.test")
    starting.join()
    second.bind(url="http://late.test")
    assert second.binds[1]["Id"] == first.ids[1]
    assert serves(second, Id=first.ids[1])

    changing = asked("/api/endpoints/late", "PUT", {**wanted, "pooling_enabled": True})
    first.bind(url="http://late.test")
    changing.join()
    assert second.bind(url="http://late.test")["Extra"]["PoolingEnabled"]

    stopping = asked("/api/endpoints/late", "DELETE")
    for leg in (first, second):
        unbind = leg.peer.accept(UNBIND)
        assert unbind.json()["Id"] == first.ids[1]
        unbind.answer({"Error": ""})
    stopping.join()
    assert not serves(second, Id=first.ids[1])
    assert serves(second)


def test_an_endpoint_that_one_edge_stops_is_stopped_on_every_leg(
    played: PlayedEdge, connecting: Connecting, upstream: HttpUpstream
) -> None:
    agent = connecting("http", upstream.url, settings=LEGS)
    first, second = first_leg(played), second_leg(played)
    second.peer.open(STOP_TUNNEL, json.dumps({"Id": "bind-1", "Message": "Enough.", "ErrorCode": None}).encode())
    assert agent.process.wait_for("tunnel stopped by server")["err"] == "Enough."
    # It had one endpoint, so that was all.
    for leg in (first, second):
        leg.closed()
    assert agent.process.wait() == 1


def test_a_leg_that_is_refused_costs_the_agent_nothing(agent: Agent, played: PlayedEdge) -> None:
    first = first_leg(played)
    refused = played.next()
    refused.refuse(107)
    failed = agent.process.wait_for("failed to connect leg")
    assert (failed["leg"], failed["lvl"]) == ("1", "warn")
    assert "ERR_NGROK_107" in failed["err"]
    assert serves(first)
    assert regions(agent) == ["near"]


def test_legs_follow_what_the_edge_offers(agent: Agent, played: PlayedEdge) -> None:
    first, second = first_leg(played), second_leg(played)
    first.peer.close()
    again = played.next()
    again.login(Extra={"Cookie": "crumb"})
    again.bind()
    second.closed()
    assert serves(again)
    until("one leg", lambda: len(regions(agent)) == 1)


def test_at_the_end_every_leg_is_told(agent: Agent, played: PlayedEdge) -> None:
    legs = [first_leg(played), second_leg(played)]
    agent.process.signal(signal.SIGTERM)
    for leg in legs:
        unbind = leg.peer.accept(UNBIND)
        assert unbind.json()["Id"] == "bind-1"
        unbind.answer({"Error": ""})
    for leg in legs:
        leg.closed()
        assert leg.peer.goaway is not None
    assert agent.process.wait() == 0
