"""Sessions of the official SDKs: login, several endpoints, heartbeats, names, the end."""

from __future__ import annotations

from harness.edge import Edge
from harness.process import until
from harness.sdk import Sdks, Want, each
from harness.upstreams import Upstreams
from harness.visitor import Visitor

UNKNOWN_TOKEN = "ERR_NGROK_107"
TAKEN = "ERR_NGROK_334"
OFFLINE = "ERR_NGROK_3200"
TOO_LONG = "ERR_NGROK_100"


@each()
def test_one_session_carries_several_endpoints(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    since = edge.process.position
    first, second = upstreams.http(), upstreams.http()
    sdk = sdks.run(kind, Want("http", first.url), Want("http", second.url), Want("tcp", f"tcp://{first.address}"))
    ups = sdk.up(3)
    assert len({up["id"] for up in ups}) == len({up["url"] for up in ups}) == 3
    for up, upstream in zip(ups, (first, second), strict=False):
        with sdk.visitor(up["url"]) as visitor:
            assert visitor.get("/").status == 200
        assert len(upstream.seen) == 1
    logins = [record for record in edge.process.records(since) if record["msg"] == "agent connected"]
    assert len(logins) == 1


@each()
def test_the_id_an_sdk_shows_is_the_one_the_edge_logs(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    since = edge.process.position
    up = sdks.run(kind, Want("http", upstreams.http().url)).event("up")
    bound = edge.process.wait_for("endpoint bound", since)
    assert (bound["id"], bound["url"]) == (up["id"], up["url"])


@each()
def test_metadata_is_taken_and_its_length_is_limited(sdks: Sdks, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.http().url
    sdk = sdks.run(kind, Want("http", upstream, options=[("metadata", "é" * 2000)]), metadata="m" * 4096)
    assert sdk.event("up")["metadata"] == "é" * 2000
    sdk.bind(Want("http", upstream, options=[("metadata", "m" * 4097)]))
    assert sdk.event("refused")["code"] == TOO_LONG
    assert sdks.run(kind, metadata="m" * 4097).event("refused")["code"] == TOO_LONG


@each()
def test_a_name_that_another_agent_has_is_refused(sdks: Sdks, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.http()
    want = Want("http", upstream.url, f"https://mine-{kind}.localhost")
    owner = sdks.run(kind, want)
    owner.up()
    other = sdks.run(kind, want)
    refused = other.event("refused")
    assert refused["code"] == TAKEN, refused
    assert other.process.wait() == 1
    assert owner.get("/status/204").status == 204


@each()
def test_a_name_that_is_bound_already_is_refused_and_the_session_lives_on(
    sdks: Sdks, upstreams: Upstreams, kind: str
) -> None:
    want = Want("http", upstreams.http().url, f"https://once-{kind}.localhost")
    sdk = sdks.run(kind, want)
    sdk.up()
    sdk.bind(want)
    assert sdk.event("refused")["code"] == TAKEN
    sdk.bind(Want("http", upstreams.http().url))
    for up in sdk.up(2):
        with sdk.visitor(up["url"]) as visitor:
            assert visitor.get("/status/204").status == 204


# === login


@each()
def test_a_wrong_token_is_refused_at_once(sdks: Sdks, upstreams: Upstreams, kind: str) -> None:
    sdk = sdks.run(kind, Want("http", upstreams.http().url), token="no-such-token")
    refused = sdk.event("refused")
    assert refused["code"] == UNKNOWN_TOKEN, refused
    assert "authtoken" in refused["text"].lower(), refused
    assert sdk.process.wait() == 1
    assert not sdk.told("session")


# === heartbeats


@each()
def test_heartbeats_are_answered(sdks: Sdks, kind: str) -> None:
    sdk = sdks.run(kind, heartbeat=1)
    for number in (1, 2, 3):
        latency = sdk.event("heartbeat", number)["ms"]
        assert 0 <= latency < 10_000
    assert len(sdk.told("session")) == 1


# === the end


@each()
def test_a_closed_endpoint_is_gone_at_once_and_its_neighbour_stays(sdks: Sdks, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.http().url
    sdk = sdks.run(kind, Want("http", upstream), Want("http", upstream))
    first, second = sdk.up(2)
    with sdk.visitor(first["url"]) as visitor:
        assert visitor.get("/status/204").status == 204
        sdk.unbind(first["id"])
        sdk.event("down")
        answer = visitor.get("/status/204")
        assert (answer.status, answer.code) == (404, OFFLINE)
    assert sdk.get("/status/204").code == OFFLINE, "a new connection meets the same"
    with sdk.visitor(second["url"]) as visitor:
        assert visitor.get("/status/204").status == 204


@each()
def test_a_session_that_is_closed_takes_its_endpoints_along(
    sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str
) -> None:
    sdk = sdks.run(kind, Want("http", upstreams.http().url), Want("tcp", f"tcp://{upstreams.echo().address}"))
    ups = sdk.up(2)
    assert sdk.close() == 0
    assert sdk.told("closed")
    with Visitor(edge, ups[0]["url"]) as visitor:
        answer = visitor.get("/")
    assert (answer.status, answer.code) == (404, OFFLINE)
    until("the edge knows of no endpoint", lambda: edge.metric("portway_endpoints") == 0)


@each()
def test_an_agent_that_is_killed_is_missed_at_once(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    since = edge.process.position
    sdk = sdks.run(kind, Want("http", upstreams.http().url))
    assert sdk.get("/status/204").status == 204
    connected = edge.process.wait_for("agent connected", since)
    sdk.process.kill()
    edge.process.wait_for("agent disconnected", since, id=connected["id"])
    answer = sdk.get("/")
    assert (answer.status, answer.code) == (404, OFFLINE)
