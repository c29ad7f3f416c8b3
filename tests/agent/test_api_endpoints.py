"""Endpoints that are started, changed and stopped while the agent runs (agent-api.md §3–§6.3, §9 cases 3–6, 10, 11)."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from harness.agents import Agent, Agents
from harness.edge import Edge
from harness.local import JSON, LocalApi, local
from harness.played import PlayedEdge
from harness.process import until
from harness.upstreams import HttpUpstream, Upstreams
from harness.visitor import Visitor

METRICS = {
    "conns": {"count", "gauge", "rate1", "rate5", "rate15", "p50", "p90", "p95", "p99"},
    "http": {"count", "rate1", "rate5", "rate15", "p50", "p90", "p95", "p99"},
}
NOT_READY = {
    "error_code": 104,
    "status_code": 503,
    "msg": "ngrok is not yet ready to start tunnels",
    "details": {"err": "a successful ngrok tunnel session has not yet been established"},
}


@pytest.fixture
def edge(new_shared_edge: Callable[..., Edge], request: pytest.FixtureRequest) -> Edge:
    """One for all tests of this file; each has names of its own."""
    known: dict[str, Edge] = request.module.__dict__.setdefault("_edges", {})
    if "edge" not in known:
        known["edge"] = new_shared_edge()
    return known["edge"]


@pytest.fixture
def agent(agents: Agents) -> Agent:
    """An agent without endpoints, its session up."""
    agent = agents.agent("start", "--none")
    agent.process.wait_for("tunnel session started")
    return agent


@pytest.fixture
def api(agent: Agent) -> LocalApi:
    return local(agent)


def tunnel(name: str, upstream: HttpUpstream, **more: Any) -> dict[str, Any]:
    return {"name": name, "proto": "http", "addr": upstream.port, **more}


def status(agent: Agent, url: str, path: str = "/") -> int:
    with Visitor(agent.edge, url) as visitor:
        return visitor.get(path).status


# === before the session (case 3)


def test_a3_b4_a_tunnel_that_is_asked_for_too_early_is_started_with_the_session(
    played: PlayedEdge, connecting: Callable[..., Agent]
) -> None:
    api = local(connecting("start", "--none"))
    made: list[Any] = []
    asking = threading.Thread(target=lambda: made.append(api.post("/api/tunnels", {"proto": "http", "addr": 80})))
    asking.start()
    session = played.next()
    session.login()
    session.bind()
    asking.join()
    assert made[0]["public_url"] == "http://played.test"


def test_a3_b4_without_an_edge_it_is_told_in_the_words_that_wrappers_wait_for(
    played: PlayedEdge, connecting: Callable[..., Agent]
) -> None:
    api = local(connecting("start", "--none"))
    body = {"name": "early", "proto": "http", "addr": 80}
    for path in ("/api/tunnels", "/api/tunnels"):
        answer = api.ask("POST", path, body)
        assert (answer.status, answer.json) == (503, NOT_READY)
    assert api.get("/api/status")["status"] == "connecting"
    assert api.names() == []
    # The name is free all the same.
    session = played.next()
    session.login()
    made: list[Any] = []
    asking = threading.Thread(target=lambda: made.append(api.post("/api/tunnels", body)))
    asking.start()
    session.bind()
    asking.join()
    assert made[0]["name"] == "early"
    assert api.names() == ["early"]


def test_what_cannot_stand_is_told_before_a_session_is_waited_for(
    played: PlayedEdge, connecting: Callable[..., Agent]
) -> None:
    api = local(connecting("start", "--none"))
    assert api.post("/api/tunnels", {"proto": "nonsense", "addr": 80}, 400)["error_code"] == 102


# === objects (case 6)


def test_a6_a_tunnel_has_its_keys_in_every_place(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    made = api.post("/api/tunnels", tunnel("keys", upstream, schemes=["http"]))
    assert set(made) == {"name", "ID", "uri", "public_url", "proto", "config", "metrics"}
    assert (made["name"], made["uri"], made["proto"]) == ("keys", "/api/tunnels/keys", "http")
    assert made["ID"]
    assert made["public_url"].startswith("http://")
    assert made["config"] == {"addr": f"http://localhost:{upstream.port}", "inspect": True}
    assert {block: set(made["metrics"][block]) for block in made["metrics"]} == METRICS
    assert all(value == 0 for block in made["metrics"].values() for value in block.values())
    assert api.get("/api/tunnels/keys") == made
    assert api.get("/api/tunnels")["tunnels"] == [made]
    started = agent.process.wait_for("started tunnel", name="keys")
    assert (started["lvl"], started["url"]) == ("info", made["public_url"])


def test_a6_an_endpoint_has_its_keys_in_every_place(api: LocalApi, upstream: HttpUpstream) -> None:
    body = {
        "name": "full",
        "url": "http://full.localhost",
        "upstream": {"url": f"http://127.0.0.1:{upstream.port}", "proxy_protocol": "2"},
        "description": "what it is for",
        "metadata": "m",
        "inspect": False,
        "pooling_enabled": True,
    }
    made = api.post("/api/endpoints", body)
    assert set(made) == {
        *("id", "name", "uri", "url", "public_url", "proto", "upstream", "config", "inspect"),
        *("bindings", "pooling_enabled", "description", "metadata", "metrics"),
    }
    assert made["upstream"] == {
        "url": f"http://127.0.0.1:{upstream.port}",
        "protocol": "http1",
        "proxy_protocol": "2",
    }
    assert (made["uri"], made["bindings"], made["pooling_enabled"]) == ("/api/endpoints/full", ["public"], True)
    assert (made["description"], made["metadata"], made["inspect"]) == ("what it is for", "m", False)
    assert made["url"] == made["public_url"]
    assert {block: set(made["metrics"][block]) for block in made["metrics"]} == METRICS
    assert api.get("/api/endpoints/full") == made
    assert api.get("/api/endpoints")["endpoints"] == [made]
    assert api.get("/api/tunnels/full")["public_url"] == made["url"]
    api.delete("/api/endpoints/full")


def test_a6_upstreams_are_shown_in_full(api: LocalApi, upstream: HttpUpstream) -> None:
    tcp = api.post("/api/tunnels", {"name": "t", "proto": "tcp", "addr": "22"})
    assert (tcp["proto"], tcp["config"]) == ("tcp", {"addr": "localhost:22", "inspect": False})
    assert tcp["public_url"].startswith("tcp://")
    tls = api.post("/api/tunnels", {"name": "s", "proto": "tls", "addr": 443, "domain": "shown.localhost"})
    assert (tls["proto"], tls["config"]["addr"]) == ("tls", "tls://localhost:443")
    assert "protocol" not in api.get("/api/endpoints/t")["upstream"]
    only = api.post("/api/endpoints", {"name": "only", "upstream": {"url": "tcp://localhost:22"}})
    assert (only["proto"], only["upstream"]) == ("tcp", {"url": "localhost:22"})
    api.delete("/api/tunnels/s")


def test_a6_connections_and_requests_are_counted_in_nanoseconds(
    agent: Agent, api: LocalApi, upstream: HttpUpstream
) -> None:
    url = api.post("/api/tunnels", tunnel("counted", upstream, schemes=["http"]))["public_url"]
    with Visitor(agent.edge, url) as visitor:
        for _ in range(3):
            visitor.get()
        until("three requests", lambda: metrics(api, "counted")["http"]["count"] == 3)
        assert (metrics(api, "counted")["conns"]["count"], metrics(api, "counted")["conns"]["gauge"]) == (1, 1)
    until("none is open", lambda: metrics(api, "counted")["conns"]["gauge"] == 0)
    counted = metrics(api, "counted")
    for block in ("conns", "http"):
        assert 1_000 < counted[block]["p50"] <= counted[block]["p99"] < 60e9
    until("a tick of the rates", lambda: metrics(api, "counted")["conns"]["rate1"] > 0)
    assert metrics(api, "counted")["conns"]["rate15"] <= 1


def metrics(api: LocalApi, name: str) -> Any:
    return api.get(f"/api/tunnels/{name}")["metrics"]


def test_a6_the_status_of_the_session(agent: Agent, api: LocalApi) -> None:
    status = until("a round trip", lambda: (found := api.get("/api/status"))["session"]["legs"][0]["latency"] and found)
    assert status["status"] == "online"
    assert set(status) == {"status", "agent_version", "portway_version", "session", "uri"}
    assert status["agent_version"].startswith("3.")
    (leg,) = status["session"]["legs"]
    assert set(leg) == {"region", "latency"}
    assert leg["latency"].endswith("s")


# === names (case 4)


@pytest.mark.parametrize("name", ["tunnel (1)", "a/b", "ü", "http-https://h:1-x", "50%", "a?b#c", "end/"])
def test_a4_any_name_is_found_by_its_uri(api: LocalApi, upstream: HttpUpstream, name: str) -> None:
    made = api.post("/api/tunnels", tunnel(name, upstream))
    assert made["name"] == name
    assert made["uri"].isascii()
    assert api.get(made["uri"])["public_url"] == made["public_url"]
    # As other clients write it.
    assert api.get("/api/endpoints/" + quote(name, safe=""))["name"] == name
    api.delete(made["uri"])
    assert api.names() == []
    assert api.ask("GET", made["uri"]).status == 404


def test_a4_names_that_are_not_escaped_are_found_too(api: LocalApi, upstream: HttpUpstream) -> None:
    for name in ("http-https://h:1-x", "x (http)"):
        api.post("/api/tunnels", tunnel(name, upstream))
        answer = api.ask("DELETE", f"/api/tunnels/{name.replace(' ', '%20')}", {})
        assert answer.status == 204


def test_without_a_name_it_gets_one(api: LocalApi, upstream: HttpUpstream) -> None:
    made = api.post("/api/tunnels", {"proto": "http", "addr": upstream.port})
    assert made["name"]
    assert api.names() == [made["name"]]


# === two schemes (case 5)


@pytest.mark.parametrize("how", [{"schemes": ["http", "https"]}, {"bind_tls": "both"}, {"schemes": ["https", "http"]}])
def test_a5_both_schemes_are_two_of_one_host(agent: Agent, api: LocalApi, upstream: HttpUpstream, how: Any) -> None:
    made = api.post("/api/tunnels", tunnel("pair", upstream, **how))
    assert (made["name"], made["proto"]) == ("pair", "https")
    https, http = api.get("/api/tunnels")["tunnels"]
    assert https == made
    assert (http["name"], http["proto"], http["uri"]) == ("pair (http)", "http", "/api/tunnels/pair%20%28http%29")
    host = https["public_url"].split("/")[2].split(":")[0]
    assert http["public_url"].split("/")[2].split(":")[0] == host
    assert [status(agent, one["public_url"]) for one in (https, http)] == [200, 200]
    told = [record["name"] for record in agent.process.records() if record["msg"] == "started tunnel"]
    assert told == ["pair (http)", "pair"]
    api.delete("/api/tunnels/pair")
    assert api.names() == ["pair (http)"]
    assert status(agent, http["public_url"]) == 200
    api.delete(http["uri"])
    assert api.names() == []


# === starting and stopping


def test_started_it_serves_and_stopped_it_is_gone(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    made = api.post("/api/tunnels", tunnel("come", upstream, url="http://come.localhost"))
    assert status(agent, made["public_url"]) == 200
    api.delete(made["uri"])
    stopped = agent.process.wait_for("stopped tunnel")
    assert (stopped["lvl"], stopped["obj"], stopped["name"]) == ("info", "tunnels", "come")
    assert stopped["url"] == made["public_url"]
    assert status(agent, made["public_url"]) == 404
    assert api.ask("DELETE", made["uri"]).status == 404
    again = api.post("/api/tunnels", tunnel("come", upstream, url="http://come.localhost"))
    assert status(agent, again["public_url"]) == 200


def test_a_visitor_that_is_served_may_finish(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    made = api.post("/api/tunnels", tunnel("slow", upstream, schemes=["http"]))
    with Visitor(agent.edge, made["public_url"]) as visitor:
        visitor.connection.request("GET", "/slow", headers={"Host": visitor.host})
        upstream.wait_waiting(1)
        api.delete(made["uri"])
        upstream.release()
        assert visitor.connection.getresponse().read() == b"at last"


def test_who_is_served_for_long_is_cut_off_some_seconds_later(
    agent: Agent, api: LocalApi, upstream: HttpUpstream
) -> None:
    made = api.post("/api/tunnels", tunnel("long", upstream, schemes=["http"]))
    with Visitor(agent.edge, made["public_url"]) as visitor:
        visitor.connection.request("GET", "/slow", headers={"Host": visitor.host})
        upstream.wait_waiting(1)
        api.delete(made["uri"])
        upstream.wait_open(0)


def test_endpoints_of_the_file_are_listed_and_stopped_alike(agents: Agents, upstream: HttpUpstream) -> None:
    agent = agents.from_config(
        "version: 3\nendpoints:\n"
        + "".join(f"- {{name: {name}, url: 'http://', upstream: {{url: {upstream.port}}}}}\n" for name in "ab")
    )
    agent.up(2)
    api = local(agent)
    assert api.names() == api.names("endpoints") == ["a", "b"]
    api.delete("/api/tunnels/a")
    api.post("/api/tunnels", tunnel("c", upstream))
    assert api.names() == ["b", "c"]


def test_a_command_goes_on_without_its_endpoint(agents: Agents, upstream: HttpUpstream) -> None:
    agent = agents.http(upstream.url, url="http://")
    agent.up()
    api = local(agent)
    api.delete("/api/tunnels/command_line")
    made = api.post("/api/tunnels", tunnel("next", upstream, schemes=["http"]))
    assert status(agent, made["public_url"]) == 200


def test_what_was_started_here_comes_back_with_the_edge(
    new_edge: Callable[..., Edge], agents_of: Callable[[Edge], Agents], upstream: HttpUpstream
) -> None:
    edge = new_edge()
    agent = agents_of(edge).agent("start", "--none")
    agent.process.wait_for("tunnel session started")
    api = local(agent)
    kept = api.post("/api/tunnels", tunnel("kept", upstream, schemes=["http"]))
    gone = api.post("/api/tunnels", tunnel("gone", upstream, schemes=["http"]))
    api.post("/api/endpoints", {"name": "old", "url": "http://old.localhost", "upstream": {"url": 1}})
    since = agent.process.position
    edge.kill()
    agent.process.wait_for("session closed, starting reconnect loop", since)
    assert api.get("/api/status")["status"] == "reconnecting"
    assert api.get("/api/status")["session"]["legs"] == []
    assert api.get("/api/tunnels/kept")["public_url"] == kept["public_url"]
    api.delete("/api/tunnels/gone")
    assert api.ask("PUT", "/api/endpoints/old", {"upstream": {"url": upstream.port}}).status == 200
    edge.restart()
    agent.process.wait_for("started tunnel", since, name="kept")
    agent.process.wait_for("started tunnel", since, name="old")
    assert status(agent, kept["public_url"]) == 200
    assert status(agent, "http://old.localhost") == 200
    assert status(agent, gone["public_url"]) == 404


def test_a_name_that_is_taken_is_refused(api: LocalApi, upstream: HttpUpstream) -> None:
    api.post("/api/tunnels", tunnel("one", upstream))
    error = api.post("/api/tunnels", tunnel("one", upstream), 400)
    assert (error["error_code"], error["msg"]) == (102, "invalid tunnel configuration")
    assert error["details"]["err"] == 'tunnel "one" already exists'
    error = api.post("/api/endpoints", {"name": "one", "upstream": {"url": 1}}, 400)
    assert error["msg"] == "invalid endpoint configuration"
    assert error["details"]["err"] == 'endpoint "one" already exists'


def test_what_the_edge_refuses_leaves_nothing_behind(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    api.post("/api/tunnels", tunnel("has", upstream, url="http://had.localhost"))
    error = api.post("/api/tunnels", tunnel("wants", upstream, url="http://had.localhost"), 502)
    assert (error["error_code"], error["status_code"], error["msg"]) == (103, 502, "failed to start tunnel")
    assert "ERR_NGROK_334" in error["details"]["err"]
    assert api.names() == ["has"]
    assert agent.process.wait_for("failed to start tunnel")["name"] == "wants"
    # One of two: the other goes too.
    both = tunnel("both", upstream, domain="had.localhost", schemes=["http", "https"])
    assert api.post("/api/tunnels", both, 502)["error_code"] == 103
    assert api.names() == ["has"]
    assert api.post("/api/tunnels", tunnel("wants", upstream))["name"] == "wants"
    assert agent.process.running()


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"proto": "http", "addr": 80, "foo": 1}, "unknown option foo"),
        ({"proto": "http", "addr": 80, "pooling_enable": True}, "did you mean pooling_enabled?"),
        ({"proto": "invalid", "addr": 80}, "protocol name"),
        ({"addr": 80}, "protocol name"),
        ({"proto": "http", "addr": 80, "basic_auth": ["a:b"]}, "8 to 128 characters"),
        ({"proto": "http", "addr": "file:///no/such/folder"}, "cannot be served"),
    ],
)
def test_what_cannot_stand_is_told(api: LocalApi, body: Any, part: str) -> None:
    error = api.post("/api/tunnels", {"name": "bad", **body}, 400)
    assert (error["error_code"], error["status_code"], error["msg"]) == (102, 400, "invalid tunnel configuration")
    assert part in error["details"]["err"]
    assert api.names() == []


def test_a11_f7_nonsense_that_a_file_may_hold_is_an_error_when_it_is_started(api: LocalApi, agent: Agent) -> None:
    odd = {
        "name": "odd",
        "proto": "http",
        "addr": "5000",
        "inspect": False,
        "basic_auth": ["no-colon-here"],
        "circuit_breaker": 20,
        "ip_restriction": {"allow_cidrs": ["nonsense"], "deny_cidrs": ["rubbish"]},
        "request_header": {"add": ["nocolon"], "remove": ["x"]},
        "proxy_proto": "1",
        "traffic_policy": {"on_http_request": {"name": "n", "expressions": "e", "actions": {"type": "t"}}},
    }
    error = api.post("/api/tunnels", odd, 400)
    assert error["error_code"] == 102
    del odd["basic_auth"], odd["circuit_breaker"], odd["ip_restriction"], odd["request_header"]
    error = api.post("/api/tunnels", odd, 502)
    assert "ERR_NGROK_" in error["details"]["err"]
    assert agent.process.running()
    assert api.names() == []


@pytest.mark.parametrize(
    ("raw", "headers", "wanted"),
    [
        (b"{", JSON, (400, 101)),
        (b"[]", JSON, (400, 101)),
        (b"", JSON, (400, 101)),
        (b"addr=80&proto=http", {"Content-Type": "application/x-www-form-urlencoded"}, (415, 100)),
        (b'{"addr": 80}', {"Content-Type": "text/plain"}, (415, 100)),
        (b'{"addr": 80}', {"Content-Type": ""}, (415, 100)),
        (b'{"a": "' + b"x" * (1 << 20) + b'"}', JSON, (413, 100)),
    ],
)
def test_a8_a_body_is_one_json_object_of_some_size(
    api: LocalApi, raw: bytes, headers: dict[str, str], wanted: tuple[int, int]
) -> None:
    for path in ("/api/tunnels", "/api/endpoints"):
        answer = api.ask("POST", path, raw=raw, headers=headers)
        assert (answer.status, answer.json["error_code"]) == wanted
        assert answer.json["status_code"] == answer.status


def test_a_client_that_hangs_up_does_not_undo_it(played: PlayedEdge, connecting: Callable[..., Agent]) -> None:
    api = local(connecting("start", "--none"))
    session = played.next()
    session.login()
    before = len(session.peer.streams)
    gone = socket.create_connection((api.host, api.port))
    body = b'{"name": "left", "proto": "http", "addr": 80}'
    head = ["POST /api/tunnels HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    gone.sendall("\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body)
    until("the bind has come", lambda: len(session.peer.streams) > before)
    gone.close()
    session.bind()
    until("it is there", lambda: api.names() == ["left"])


def test_a_policy_may_be_text_an_object_a_file_or_a_url(
    api: LocalApi, played: PlayedEdge, connecting: Callable[..., Agent], tmp_path: Path, policy_server: str
) -> None:
    api = local(connecting("start", "--none"))
    session = played.next()
    session.login()
    policy = {"on_http_request": [{"actions": [{"type": "deny"}]}]}
    text = json.dumps(policy)
    file = tmp_path / "policy.json"
    file.write_text(text)
    ways: list[dict[str, Any]] = [
        {"traffic_policy": policy},
        {"traffic_policy": text},
        {"traffic_policy_file": str(file)},
        {"traffic_policy_url": policy_server},
        {"policy": policy},
    ]
    for number, way in enumerate(ways):
        body = {"name": f"p{number}", "upstream": {"url": 80}, **way}
        made: list[Any] = []
        asking = threading.Thread(target=lambda body=body, made=made: made.append(api.post("/api/endpoints", body)))
        asking.start()
        request = session.bind()
        asking.join()
        assert json.loads(request["Opts"]["TrafficPolicy"]) == policy
        assert json.loads(made[0]["traffic_policy"]) == policy


def test_credentials_of_a_policy_are_never_told_and_stay_when_the_rest_is_put_back(
    played: PlayedEdge, connecting: Callable[..., Agent]
) -> None:
    api = local(connecting("start", "--none"))
    session = played.next()
    session.login()
    config = {"client_secret": "hunter2", "scopes": ["openid"]}
    policy = json.dumps({"on_http_request": [{"actions": [{"type": "openid-connect", "config": config}]}]})
    made: list[Any] = []
    body = {"name": "guarded", "upstream": {"url": 80}, "traffic_policy": policy}
    asking = threading.Thread(target=lambda: made.append(api.post("/api/endpoints", body)))
    asking.start()
    assert session.bind()["Opts"]["TrafficPolicy"] == policy
    asking.join()
    read = api.get("/api/endpoints/guarded")
    assert "openid" in read["traffic_policy"]
    told = json.dumps([made, read, api.get("/api/endpoints"), api.get("/api/tunnels"), api.get("/api/ui/status")])
    assert "hunter2" not in told
    changing = threading.Thread(
        target=lambda: made.append(api.ask("PUT", read["uri"], {**read, "description": "changed"}))
    )
    changing.start()
    assert session.bind()["Opts"]["TrafficPolicy"] == policy
    changing.join()
    assert made[-1].status == 200, made[-1].text
    assert made[-1].json["description"] == "changed"
    other = read["traffic_policy"].replace("openid", "else")
    refused = api.ask("PUT", read["uri"], {**read, "traffic_policy": other})
    assert refused.status == 400
    assert refused.json["details"]["err"] == 'traffic_policy: "***" stands for what is hidden; write that anew'


@pytest.fixture
def policy_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps({"on_http_request": [{"actions": [{"type": "deny"}]}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/policy.yml"
    server.shutdown()
    thread.join()
    server.server_close()


# === changing (case 10)


def test_a10_another_upstream_leaves_url_and_open_connections(
    agent: Agent, api: LocalApi, upstreams: Upstreams, upstream: HttpUpstream
) -> None:
    made = api.post("/api/endpoints", {"name": "move", "url": "http://", "upstream": {"url": upstream.url}})
    other = upstreams.http()
    with Visitor(agent.edge, made["url"]) as visitor:
        visitor.connection.request("GET", "/slow", headers={"Host": visitor.host})
        upstream.wait_waiting(1)
        changed = api.ask("PUT", "/api/endpoints/move", {"upstream": {"url": other.url}, "description": "moved"})
        assert changed.status == 200
        assert changed.json["upstream"]["url"] == other.url
        assert changed.json["description"] == "moved"
        assert (changed.json["url"], changed.json["id"]) == (made["url"], made["id"])
        assert status(agent, made["url"], "/new") == 200
        assert [seen.target for seen in other.seen] == ["/new"]
        upstream.release()
        assert visitor.connection.getresponse().read() == b"at last"
    assert api.get("/api/endpoints/move") | {"metrics": 0} == changed.json | {"metrics": 0}
    assert api.get("/api/endpoints/move")["metrics"]["conns"]["count"] == 2
    assert api.names("endpoints") == ["move"]


def test_a10_what_was_read_can_be_put_back(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    api.post("/api/endpoints", {"name": "same", "url": "http://", "upstream": {"url": upstream.url}})
    read = api.get("/api/endpoints/same")
    answer = api.ask("PUT", read["uri"], {**read, "pooling_enabled": True})
    assert answer.status == 200, answer.text
    assert answer.json | {"metrics": 0} == read | {"pooling_enabled": True, "metrics": 0}
    assert status(agent, read["url"]) == 200


def test_a10_a_slash_behind_the_name_is_no_other_name(api: LocalApi, upstream: HttpUpstream) -> None:
    api.post("/api/endpoints", {"name": "same", "url": "http://", "upstream": {"url": upstream.url}})
    changed = api.ask("PUT", "/api/endpoints/same/", {"upstream": {"url": upstream.url}, "description": "changed"})
    assert (changed.status, changed.json["name"]) == (200, "same"), changed.text
    assert api.get("/api/endpoints/same/")["description"] == "changed"
    made = api.ask("PUT", "/api/endpoints/other/", {"name": "other", "url": "http://", "upstream": {"url": "80"}})
    assert (made.status, made.json["uri"]) == (201, "/api/endpoints/other"), made.text
    # One that is called so is found all the same.
    api.post("/api/endpoints", {"name": "same/", "url": "http://", "upstream": {"url": upstream.url}})
    api.delete("/api/endpoints/same/")
    assert api.names("endpoints") == ["same", "other"]


def test_a10_another_url_is_bound_before_the_old_one_goes(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    first, second = "http://first.localhost", "http://second.localhost"
    api.post("/api/endpoints", {"name": "url", "url": first, "upstream": {"url": upstream.url}})
    answer = api.ask("PUT", "/api/endpoints/url", {"url": second, "upstream": {"url": upstream.url}})
    assert answer.status == 200
    assert answer.json["url"].startswith(second)
    assert [status(agent, url) for url in (first, second)] == [404, 200]


def test_a10_a_change_that_is_refused_leaves_what_there_was(
    agent: Agent, api: LocalApi, upstream: HttpUpstream
) -> None:
    up = {"url": upstream.url}
    api.post("/api/endpoints", {"name": "other", "url": "http://theirs.localhost", "upstream": up})
    api.post("/api/endpoints", {"name": "mine", "url": "http://mine.localhost", "upstream": up})
    before = api.get("/api/endpoints/mine")
    for change, wanted in (
        ({"url": "http://theirs.localhost", "upstream": up}, 502),
        ({"url": "http://mine.localhost", "upstream": up, "traffic_policy": {"on_http_request": "x"}}, 502),
        ({"url": "http://mine.localhost", "upstream": {"url": "x y"}}, 400),
        ({"name": "else", "url": "http://mine.localhost", "upstream": up}, 400),
        ({"url": "http://mine.localhost", "nonsense": 1, "upstream": up}, 400),
    ):
        answer = api.ask("PUT", "/api/endpoints/mine", change)
        assert answer.status == wanted, answer.text
        assert api.get("/api/endpoints/mine") | {"metrics": 0} == before | {"metrics": 0}
        assert status(agent, "http://mine.localhost") == 200


def test_a10_changes_at_once_come_one_after_the_other(
    agent: Agent, api: LocalApi, upstreams: Upstreams, upstream: HttpUpstream
) -> None:
    """Each asks the edge again, and none takes away what another has made."""
    url = "http://busy.localhost"
    api.post("/api/endpoints", {"name": "busy", "url": url, "upstream": {"url": upstream.url}})
    wanted: list[Any] = [{"pooling_enabled": n % 2 == 0, "upstream": {"url": upstream.url}} for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        changed = list(pool.map(lambda body: api.ask("PUT", "/api/endpoints/busy", body), wanted))
    assert {answer.status for answer in changed} == {200}, [answer.text for answer in changed]
    assert status(agent, url) == 200
    assert api.get("/api/endpoints/busy")["url"].startswith(url)


def test_an_endpoint_by_labels_has_no_url(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    made = api.post("/api/tunnels", {"name": "labelled", "addr": upstream.port, "labels": ["app=shop", "env=test"]})
    assert (made["public_url"], made["proto"], made["labels"]) == ("", "", ["app=shop", "env=test"])
    assert api.get(made["uri"]) | {"metrics": 0} == made | {"metrics": 0}
    assert api.get("/api/endpoints/labelled")["labels"] == made["labels"]
    assert agent.process.wait_for("started tunnel", name="labelled")["url"] == "app=shop,env=test"
    api.delete(made["uri"])
    assert api.names() == []


def test_both_schemes_keep_one_host_when_the_edge_has_forgotten_it(
    played: PlayedEdge, connecting: Callable[..., Agent]
) -> None:
    api = local(connecting("start", "--none"))
    session = played.next()
    session.login()
    made: list[Any] = []
    body = {"name": "pair", "proto": "http", "addr": 80, "schemes": ["http", "https"]}
    asking = threading.Thread(target=lambda: made.append(api.post("/api/tunnels", body)))
    asking.start()
    session.bind(url="https://one.played.test")
    assert session.bind(url="http://one.played.test")["Opts"]["URL"] == "http://one.played.test"
    asking.join()
    assert [one["public_url"] for one in api.get("/api/tunnels")["tunnels"]] == [
        "https://one.played.test",
        "http://one.played.test",
    ]


def test_put_makes_what_is_not_there(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    answer = api.ask("PUT", "/api/endpoints/a%2Fnew", {"url": "http://", "upstream": {"url": upstream.port}})
    assert answer.status == 201
    assert answer.json["name"] == "a/new"
    assert status(agent, answer.json["url"]) == 200
    assert api.ask("PUT", "/api/tunnels/a", {}).status == 405
