"""Requests that the agent keeps, shows and sends again (agent-api.md §5.4, §6.4; agent-behaviour.md §7)."""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import grpc
import pytest

from harness.agents import Agent, Agents
from harness.local import LocalApi, local
from harness.process import PATIENCE, until
from harness.tls import Authority
from harness.upstreams import HttpUpstream, Upstreams
from harness.visitor import Visitor

LIST = "/api/requests/http"
KEYS = {"uri", "id", "tunnel_name", "remote_addr", "start", "duration", "request", "response"}
MIB = 1 << 20


@pytest.fixture
def agent(alone: Agents, upstream: HttpUpstream) -> Agent:
    return alone.http(upstream.url)


@pytest.fixture
def api(agent: Agent) -> LocalApi:
    agent.up()
    return local(agent)


def configured(agents: Agents, settings: str, endpoints: str) -> tuple[Agent, LocalApi]:
    agent = agents.from_config(f"version: 3\nagent: {settings}\nendpoints:\n{endpoints}")
    agent.up(endpoints.count("- name"))
    return agent, local(agent)


def endpoint(name: str, upstream: str, url: str = "http://", **more: Any) -> str:
    options = "".join(f"    {key}: {value}\n" for key, value in more.items())
    return f"  - name: {name}\n    url: {url}\n    upstream: {{url: '{upstream}'}}\n{options}"


def captured(api: LocalApi, **query: object) -> list[Any]:
    found = api.get(f"{LIST}?{urlencode(query)}" if query else LIST)
    assert found["uri"] == LIST
    requests: list[Any] = found["requests"]
    return requests


def ended(api: LocalApi, count: int = 1, **query: object) -> list[Any]:
    """The requests, once so many are there and have come to their end."""

    def complete() -> list[Any] | None:
        found = captured(api, **query)
        over = [one for one in found if one["state"] in ("ended", "broken")]
        return found if len(over) == count else None

    return until(f"{count} captured requests", complete)


def raw(message: Any) -> tuple[str, bytes]:
    """Its head, and what is behind it."""
    head, _, rest = base64.b64decode(message["raw"]).partition(b"\r\n\r\n")
    return head.decode(), rest


def replay(api: LocalApi, status: int = 204, **body: Any) -> Any:
    answer = api.ask("POST", LIST, body)
    assert answer.status == status, answer.text
    return answer.json if answer.body else None


# === one request (§5.4)


def test_a9_a_request_and_its_answer_are_kept_key_by_key(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    with agent.visitor() as visitor:
        answer = visitor.ask("POST", "/a/b?c=d", body=b"what was sent", headers={"x-LOWER-case": "1", "Accept": "*/*"})
    (one,) = ended(api)
    assert set(one) == KEYS | {"state"}
    assert re.fullmatch("airt_[0-9A-Za-z]{27}", one["id"])
    assert one["uri"] == f"{LIST}/{one['id']}"
    assert (one["tunnel_name"], one["remote_addr"]) == ("command_line", "127.0.0.1")
    start = datetime.fromisoformat(one["start"])
    assert start.tzinfo
    assert abs(datetime.now().astimezone() - start).total_seconds() < PATIENCE
    assert 1_000 < one["duration"] < PATIENCE * 1e9
    request, response = one["request"], one["response"]
    assert set(request) == {"method", "proto", "uri", "headers", "raw", "size", "truncated"}
    assert (request["method"], request["proto"], request["uri"]) == ("POST", "HTTP/1.1", "/a/b?c=d")
    assert (request["size"], request["truncated"]) == (13, False)
    headers = request["headers"]
    assert headers["X-Lower-Case"] == ["1"]
    assert headers["Host"] == [visitor.host]
    assert headers["X-Forwarded-For"] == ["127.0.0.1"], "as it is sent to the upstream"
    head, body = raw(request)
    assert body == b"what was sent"
    assert head.splitlines()[0] == "POST /a/b?c=d HTTP/1.1"
    sent = bytes(upstream.raw[-1]).decode()
    assert sent == f"{head}\r\n\r\nwhat was sent", "byte by byte what the upstream got"
    assert set(response) == {"status", "status_code", "proto", "headers", "raw", "size", "truncated"}
    assert (response["status"], response["status_code"], response["proto"]) == ("200 As-Asked", 200, "HTTP/1.1")
    assert response["headers"]["Content-Length"] == [str(len(answer.body))]
    assert raw(response)[1] == answer.body
    assert api.get(one["uri"]) == one


def test_a9_chunks_are_joined_and_trailers_stand_behind_them(agent: Agent, api: LocalApi) -> None:
    with agent.visitor() as visitor:
        visitor.ask("POST", "/trailers", body=iter([b"first ", b"second"]))
    (one,) = ended(api)
    assert raw(one["request"])[1] == b"first second"
    assert one["request"]["size"] == 12
    body = raw(one["response"])[1]
    assert body.endswith(b"\r\n\r\n"), body
    assert b"\r\n0\r\n" not in body


def test_a9_the_list_is_of_the_newest_first_and_of_so_many(agent: Agent, api: LocalApi) -> None:
    with agent.visitor() as visitor:
        for number in range(5):
            visitor.get(f"/bytes/{number}")
    found = ended(api, 5)
    assert [one["request"]["uri"] for one in found] == [f"/bytes/{number}" for number in (4, 3, 2, 1, 0)]
    ids = [one["id"] for one in found]
    assert ids == sorted(ids, reverse=True), "they sort by time as text"
    assert [one["id"] for one in captured(api, limit=2)] == ids[:2]
    assert [one["id"] for one in captured(api, limit=99)] == ids
    for wrong in ("0", "-1", "x", ""):
        answer = api.ask("GET", f"{LIST}?limit={wrong}")
        assert (answer.status, answer.json["msg"]) == (400, "invalid request")


def test_a9_the_list_is_of_one_endpoint_where_that_is_asked_for(alone: Agents, upstream: HttpUpstream) -> None:
    _, api = configured(alone, "{}", endpoint("one & two", upstream.url) + endpoint("other", upstream.url))
    urls = {one["name"]: one["public_url"] for one in api.get("/api/tunnels")["tunnels"]}
    for name, url in urls.items():
        with Visitor(None, url) as visitor:
            visitor.get(f"/bytes/{len(name)}")
    ended(api, 2)
    (one,) = captured(api, tunnel_name="one & two")
    assert (one["tunnel_name"], one["request"]["uri"]) == ("one & two", "/bytes/9")
    assert captured(api, tunnel_name="nobody") == []
    assert captured(api, tunnel_name="other", limit=1)[0]["request"]["uri"] == "/bytes/5"


def test_a9_without_an_answer_there_is_none_in_the_record(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    asking = threading.Thread(target=agent.get, args=["/slow"])
    asking.start()
    upstream.wait_waiting(1)
    (one,) = until("the request", lambda: captured(api))
    assert (one["response"], one["state"]) == (None, "pending")
    later = api.get(one["uri"])
    assert later["duration"] > one["duration"], "the time so far"
    upstream.release()
    asking.join()
    (one,) = ended(api)
    assert one["response"]["status_code"] == 200


def test_a9_of_long_bodies_the_first_mebibyte_is_kept(agent: Agent, api: LocalApi) -> None:
    body = bytes(range(256)) * 6000
    with agent.visitor() as visitor:
        answer = visitor.ask("POST", "/bytes/2000000", body=body)
        exact = visitor.get(f"/bytes/{MIB}")
    assert (len(answer.body), len(exact.body)) == (2_000_000, MIB)
    whole, cut = ended(api, 2)
    assert (cut["request"]["size"], cut["request"]["truncated"]) == (len(body), True)
    assert raw(cut["request"])[1] == body[:MIB]
    assert (cut["response"]["size"], cut["response"]["truncated"]) == (2_000_000, True)
    assert raw(cut["response"])[1] == answer.body[:MIB]
    assert (whole["response"]["truncated"], raw(whole["response"])[1]) == (False, exact.body)
    told = replay(api, 400, id=cut["id"])
    assert "too long" in told["details"]["err"]


def test_a9_the_oldest_make_room_for_the_newest(alone: Agents, upstream: HttpUpstream) -> None:
    agent, api = configured(alone, "{inspect_db_size: 1000000}", endpoint("small", upstream.url))
    with agent.visitor() as visitor:
        for number in range(30):
            visitor.get(f"/bytes/{50_000 + number}")
    newest = until("the last", lambda: (found := captured(api))[0]["request"]["uri"] == "/bytes/50029" and found)
    assert 10 < len(newest) < 20, "a million bytes of 50,000 each"
    uris = [one["request"]["uri"] for one in newest]
    assert uris == [f"/bytes/{50_000 + number}" for number in range(29, 29 - len(uris), -1)]
    with agent.visitor() as visitor:
        visitor.get("/bytes/900000")
    found = until("the large one", lambda: (got := captured(api))[0]["request"]["uri"] == "/bytes/900000" and got)
    large = found[0]["response"]
    assert large["truncated"]
    assert len(raw(large)[1]) < 125_000, "one takes an eighth of all at most"
    assert len(found) > 8


def test_a9_what_nobody_knows_is_not_found(agent: Agent, api: LocalApi) -> None:
    agent.get("/bytes/1")
    (one,) = ended(api)
    other = one["id"][:-1] + ("0" if one["id"][-1] != "0" else "1")
    for unknown in (other, "airt_", "airt_" + "z" * 27, "x", one["id"] + "0", "%00"):
        answer = api.ask("GET", f"{LIST}/{unknown}")
        assert (answer.status, answer.json["msg"]) == (404, "not found"), unknown
    assert api.get(one["uri"] + "/") == one
    for method, path, allowed in (
        ("PUT", LIST, "GET, HEAD, POST, DELETE"),
        ("DELETE", one["uri"], "GET, HEAD"),
    ):
        answer = api.ask(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)


def test_a9_all_are_cleared_at_once(agent: Agent, api: LocalApi) -> None:
    for _ in range(3):
        agent.get("/bytes/1")
    (one, *_) = ended(api, 3)
    api.delete(LIST)
    assert captured(api) == []
    assert api.ask("GET", one["uri"]).status == 404
    assert api.ask("POST", LIST, {"id": one["id"]}).status == 404
    agent.get("/bytes/2")
    assert [one["request"]["uri"] for one in ended(api, 1)] == ["/bytes/2"]


# === kinds of answers


def event(number: int) -> bytes:
    return b"data: %d\n\n" % number


def answered_with(api: LocalApi, body: bytes) -> list[Any]:
    return [one for one in captured(api) if raw(one["response"])[1] == body]


def test_b19_events_are_seen_as_they_flow(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    with agent.visitor() as visitor:
        events = visitor.open("GET", "/events")
        for number in range(3):
            upstream.release_when_waiting()
            assert events.readline() + events.readline() == event(number)
            so_far = b"".join(map(event, range(number + 1)))
            (one,) = until("the event", partial(answered_with, api, so_far))
            if number < 2:
                assert (one["state"], one["response"]["status_code"]) == ("answered", 200)
        assert events.read() == b""
    (one,) = ended(api)
    assert (one["state"], one["response"]["headers"]["Content-Type"]) == ("ended", ["text/event-stream"])


def test_b19_of_an_upgrade_heads_and_pieces_are_kept(agent: Agent, api: LocalApi) -> None:
    host = urlsplit(agent.url).netloc
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), PATIENCE) as visitor:
        visitor.sendall(
            f"GET /upgrade HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += visitor.recv(1 << 16)
        for said in (b"first", b"second"):
            visitor.sendall(said)
            echoed = b""
            while len(echoed) < len(said):
                echoed += visitor.recv(1 << 16)
        (one,) = until("the pieces", lambda: [x for x in captured(api) if len(x["response"].get("stream", ())) == 2])
        assert (one["response"]["status_code"], one["state"]) == (101, "answered")
    (one,) = ended(api)
    assert one["state"] == "ended"
    for message in (one["request"], one["response"]):
        assert raw(message)[1] == b"", "no body is behind the head"
        assert [base64.b64decode(piece["raw"]) for piece in message["stream"]] == [b"first", b"second"]
        times = [piece["at"] for piece in message["stream"]]
        assert times == sorted(times)
        assert 0 < times[0] < one["duration"]


def test_b19_answers_that_only_announce_are_not_shown(agent: Agent, api: LocalApi) -> None:
    agent.get("/hints")
    with agent.visitor() as visitor:
        visitor.ask("PUT", "/status/201", body=b"x", headers={"Expect": "100-continue"})
    assert [one["response"]["status_code"] for one in ended(api, 2)] == [201, 200]


def test_an_upstream_that_breaks_off_leaves_what_there_was(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    for path in ("/short", "/close", "/garbage"):
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            agent.get(path)
    # Where a visitor has seen nothing of an answer, the edge asks once more.
    found = {one["request"]["uri"]: one for one in ended(api, len(upstream.seen))}
    assert {one["state"] for one in found.values()} == {"broken"}
    assert raw(found["/short"]["response"])[1] == b"only this"
    assert "in the middle of its answer" in found["/short"]["note"]
    assert (found["/close"]["response"], found["/garbage"]["response"]) == (None, None)
    assert "without an answer" in found["/close"]["note"]
    assert "no HTTP/1" in found["/garbage"]["note"]


def test_a_visitor_that_leaves_ends_the_record(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    host = urlsplit(agent.url).netloc
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), PATIENCE) as visitor:
        visitor.sendall(f"GET /slow HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        upstream.wait_waiting(1)
    (one,) = ended(api)
    assert (one["state"], one["response"]) == ("broken", None)


def test_b15_a_502_of_the_agents_own_is_kept(alone: Agents, upstreams: Upstreams) -> None:
    agent = alone.http(upstreams.refusing())
    api = local(agent)
    with agent.visitor() as visitor:
        answer = visitor.ask("POST", "/x?y", body=b"small")
    assert answer.status == 502
    (one,) = ended(api)
    assert (one["request"]["method"], one["request"]["uri"]) == ("POST", "/x?y")
    assert (one["response"]["status"], one["response"]["status_code"]) == ("502 Bad Gateway", 502)
    assert b"ERR_NGROK_8012" in raw(one["response"])[1]


def test_requests_to_a_folder_are_kept(alone: Agents, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.txt").write_text("what is in it")
    agent = alone.http(f"file://{tmp_path}/site")
    api = local(agent)
    with agent.visitor() as visitor:
        assert visitor.get("/a.txt").text == "what is in it"
        assert visitor.get("/b.txt").status == 404
    missing, found = ended(api, 2)
    assert raw(found["response"])[1] == b"what is in it"
    assert missing["response"]["status_code"] == 404
    replay(api, id=found["id"])
    assert raw(ended(api, 3)[0]["response"])[1] == b"what is in it"


@pytest.mark.parametrize("version", [1, 2])
def test_b16_a_proxy_header_is_no_part_of_the_request(alone: Agents, upstreams: Upstreams, version: int) -> None:
    echo = upstreams.echo()
    agent, api = configured(
        alone, "{}", endpoint("p", f"http://{echo.address}").replace("'}", f"', proxy_protocol: '{version}'}}")
    )
    # What comes back is the header first, and so no answer.
    assert agent.get("/behind").status == 502
    (one,) = until("the record", lambda: captured(api))
    assert (one["request"]["method"], one["request"]["uri"]) == ("GET", "/behind")
    assert raw(one["request"])[0].startswith("GET /behind HTTP/1.1")


# === HTTP/2


class Echo(grpc.GenericRpcHandler):
    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return grpc.unary_unary_rpc_method_handler(self.echo)

    def echo(self, asked: bytes, context: grpc.ServicerContext) -> bytes:
        if asked == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
        context.set_trailing_metadata((("x-length", str(len(asked))),))
        return asked


@pytest.fixture
def http2_service() -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Echo()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def test_b19_requests_of_http2_are_kept_one_by_one(agents: Agents, http2_service: int) -> None:
    agent = agents.http(f"http://127.0.0.1:{http2_service}", "--upstream-protocol", "http2")
    api = local(agent)
    edge = agents.edge
    assert edge
    host = urlsplit(agent.url).hostname or ""
    credentials = grpc.ssl_channel_credentials(edge.ca.read_bytes())
    options = (("grpc.ssl_target_name_override", host), ("grpc.default_authority", host))
    with grpc.secure_channel(f"127.0.0.1:{edge.https[1]}", credentials, options) as channel:
        echo: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Service/Echo")
        for number in range(20):
            said = b"call %d " % number * 100
            assert echo(said, metadata=(("x-number", str(number)),), timeout=PATIENCE) == said
        with pytest.raises(grpc.RpcError):
            echo(b"fail", timeout=PATIENCE)
    failed, *found = ended(api, 21)
    for number, one in enumerate(reversed(found)):
        request, response = one["request"], one["response"]
        assert (request["method"], request["proto"], request["uri"]) == ("POST", "HTTP/2.0", "/test.Service/Echo")
        assert request["headers"]["X-Number"] == [str(number)]
        assert request["headers"]["Host"] == [host]
        said = b"call %d " % number * 100
        assert raw(request)[1][5:] == said
        assert (response["status"], response["proto"]) == ("200 OK", "HTTP/2.0")
        message, _, trailers = raw(response)[1][5:].partition(said)
        assert message == b""
        assert f"x-length: {len(said)}\r\n".encode() in trailers
    assert b"grpc-status: 9" in base64.b64decode(failed["response"]["raw"])
    tunnel = api.get("/api/tunnels/command_line")
    assert tunnel["metrics"]["http"]["count"] == 21
    replay(api, id=found[0]["id"])
    again = ended(api, 22)[0]
    assert again["replay_of"] == found[0]["id"]
    assert again["request"]["headers"]["Ngrok-Replay-Original-Request-Id"] == [found[0]["id"]]
    assert raw(again["response"])[1] == raw(found[0]["response"])[1]


# === replay (§6.4)


def test_a9_a_replay_is_listed_when_it_is_answered(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    with agent.visitor() as visitor:
        visitor.ask("POST", "/r?q=1", body=b"\x00 any bytes \xff", headers={"X-Mine": "kept"})
    (original,) = ended(api)
    counted = api.get("/api/tunnels/command_line")["metrics"]["http"]["count"]
    replay(api, id=original["id"], unknown="ignored")
    found = captured(api)
    assert len(found) == 2, "it is there at once"
    again, first = found
    assert first == original
    assert again["id"] > original["id"]
    assert again["replay_of"] == original["id"]
    assert (again["tunnel_name"], again["remote_addr"]) == ("command_line", "127.0.0.1")
    assert again["response"]["status_code"] == 200
    assert raw(again["request"])[1] == b"\x00 any bytes \xff"
    sent, resent = upstream.seen
    assert (resent.method, resent.target, resent.body) == (sent.method, sent.target, sent.body)
    assert resent.header("Ngrok-Replay-Original-Request-ID") == original["id"]
    kept = [field for field in resent.headers if field[0] not in ("Ngrok-Replay-Original-Request-ID", "Content-Length")]
    assert kept == [field for field in sent.headers if field[0].lower() != "content-length"]
    assert upstream.connections == 2, "over a connection of its own"
    replay(api, id=again["id"], tunnel_name=None)
    assert upstream.seen[-1].header("Ngrok-Replay-Original-Request-ID") == again["id"]
    assert api.get("/api/tunnels/command_line")["metrics"]["http"]["count"] == counted, "replays are not counted"


def test_a9_chunks_are_sent_as_chunks_again(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    with agent.visitor() as visitor:
        visitor.ask("POST", "/c", body=iter([b"one", b"two"]))
    (original,) = ended(api)
    replay(api, id=original["id"])
    sent, resent = upstream.seen
    assert resent.header("transfer-encoding") == sent.header("transfer-encoding")
    assert (resent.body, resent.header("content-length")) == (b"onetwo", None)


def test_a9_a_replay_can_go_to_another_endpoint(alone: Agents, upstreams: Upstreams, authority: Authority) -> None:
    one, other = upstreams.http(), upstreams.http(tls=authority.pair("127.0.0.1").serving())
    _, api = configured(alone, "{}", endpoint("one", one.url) + endpoint("other", other.url))
    url = api.get("/api/tunnels/one")["public_url"]
    with Visitor(None, url) as visitor:
        visitor.get("/somewhere")
    (original,) = ended(api)
    replay(api, id=original["id"], tunnel_name="other")
    assert [seen.target for seen in other.seen] == ["/somewhere"]
    again = ended(api, 2)[0]
    assert (again["tunnel_name"], again["replay_of"]) == ("other", original["id"])
    told = replay(api, 404, id=original["id"], tunnel_name="nobody")
    assert "nobody" in told["details"]["err"]
    for wrong in ({"id": 5}, {}, {"id": original["id"], "tunnel_name": 3}):
        assert api.ask("POST", LIST, wrong).status == 400


def test_a9_a_replay_to_an_upstream_that_is_down_is_kept_as_502(
    agent: Agent, api: LocalApi, upstream: HttpUpstream
) -> None:
    agent.get("/bytes/1")
    (original,) = ended(api)
    upstream.down()
    replay(api, id=original["id"])
    again = captured(api)[0]
    assert (again["response"]["status_code"], again["state"]) == (502, "ended")
    assert b"connection refused" in raw(again["response"])[1]


def test_a9_a_replay_that_takes_long_is_told_all_the_same(agent: Agent, api: LocalApi, upstream: HttpUpstream) -> None:
    asking = threading.Thread(target=agent.get, args=["/slow"])
    asking.start()
    upstream.release_when_waiting()
    asking.join()
    (original,) = ended(api)
    replay(api, id=original["id"])
    again = captured(api)[0]
    assert (again["replay_of"], again["response"]) == (original["id"], None)
    upstream.release_when_waiting()
    assert ended(api, 2)[0]["response"]["status_code"] == 200


def test_a_replay_of_an_upgrade_ends_with_its_head(agent: Agent, api: LocalApi) -> None:
    host = urlsplit(agent.url).netloc
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), PATIENCE) as visitor:
        visitor.sendall(
            f"GET /upgrade HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n".encode()
        )
        assert b"101" in visitor.recv(1 << 16)
    (original,) = ended(api)
    replay(api, id=original["id"])
    again = captured(api)[0]
    assert (again["state"], again["response"]["status_code"]) == ("ended", 101)


# === switched off


def test_b19_nothing_is_kept_where_that_is_switched_off(alone: Agents, upstream: HttpUpstream) -> None:
    agent, api = configured(alone, "{inspect_db_size: -1}", endpoint("off", upstream.url))
    agent.get("/bytes/1")
    assert captured(api) == []
    assert api.ask("POST", LIST, {"id": "airt_" + "0" * 27}).status == 404
    api.delete(LIST)
    assert api.get("/api/tunnels/off")["metrics"]["http"]["count"] == 0, "they are not even looked at"


def test_b19_an_endpoint_that_is_not_inspected_counts_its_requests(alone: Agents, upstream: HttpUpstream) -> None:
    both = endpoint("off", upstream.url, inspect="false") + endpoint("on", upstream.url)
    _, api = configured(alone, "{}", both)
    for name in ("off", "on"):
        with Visitor(None, api.get(f"/api/tunnels/{name}")["public_url"]) as visitor:
            for _ in range(3):
                visitor.get("/bytes/1")
    assert [one["tunnel_name"] for one in ended(api, 3)] == ["on"] * 3
    for name in ("off", "on"):
        metrics = api.get(f"/api/tunnels/{name}")["metrics"]["http"]
        assert metrics["count"] == 3
        assert 1_000 < metrics["p50"] < PATIENCE * 1e9


# === memory


def test_a12_ten_thousand_requests_take_no_more_memory_than_the_limit(agents: Agents, upstreams: Upstreams) -> None:
    upstream = upstreams.http()
    agent, api = configured(agents, "{inspect_db_size: 8000000}", endpoint("many", upstream.url))
    flood(agent, 200, "/bytes/100")
    until("the first", lambda: len(captured(api, limit=200)) == 200)
    api.delete(LIST)
    before = agent.process.rss_mib()
    flood(agent, 10_000, "/bytes/5000")
    kept = len(captured(api))
    assert 800 < kept < 1600, "8 MB of 5,000 bytes and their heads each"
    grown = agent.process.rss_mib() - before
    assert grown < 8 + 8, f"{grown} MiB more than before"


def flood(agent: Agent, count: int, path: str, connections: int = 8) -> None:
    """So many requests, side by side."""

    def ask() -> None:
        with agent.visitor() as visitor:
            for _ in range(count // connections):
                assert visitor.get(path).status == 200

    together([ask] * connections)


def together(work: list[Any]) -> None:
    with futures.ThreadPoolExecutor(len(work)) as pool:
        for done in [pool.submit(one) for one in work]:
            done.result()


def flooded(agent: Agent, api: LocalApi, seconds: float) -> None:
    """Requests of all kinds while others list, clear and send again; the memory stays within its bounds."""
    limit = 6
    before = agent.process.rss_mib()
    end = time.monotonic() + seconds
    most = [0.0]

    def visit(number: int) -> None:
        bodies = (b"", b"x" * 3000, b"y" * 300_000, b"z" * 2_000_000)
        paths = ("/bytes/10", "/chunked/40000", "/bytes/700000", "/status/404", "/trailers")
        turn = number
        with agent.visitor() as visitor:
            while time.monotonic() < end:
                visitor.ask("POST", paths[turn % len(paths)], body=bodies[turn % len(bodies)])
                turn += 1

    def look() -> None:
        while time.monotonic() < end:
            found = captured(api, limit=20)
            for one in found[:3]:
                assert api.ask("GET", one["uri"]).status in (200, 404)
                assert api.ask("POST", LIST, {"id": one["id"]}).status in (204, 400, 404)
            most[0] = max(most[0], agent.process.rss_mib())

    together([*(lambda number=number: visit(number) for number in range(6)), look])
    assert len(captured(api)) > 2
    assert most[0] - before < limit + 24, f"{most[0] - before} MiB more than before"
    api.delete(LIST)
    assert captured(api) == []


def test_b19_a_flood_stays_within_the_limit(agents: Agents, upstreams: Upstreams) -> None:
    agent, api = configured(agents, "{inspect_db_size: 6000000}", endpoint("flood", upstreams.http().url))
    flood(agent, 80, "/bytes/100000")
    flooded(agent, api, 20)


@pytest.mark.slow
def test_b19_a_flood_of_ten_minutes_stays_within_the_limit(agents: Agents, upstreams: Upstreams) -> None:
    agent, api = configured(agents, "{inspect_db_size: 6000000}", endpoint("flood", upstreams.http().url))
    flood(agent, 80, "/bytes/100000")
    flooded(agent, api, 600)
