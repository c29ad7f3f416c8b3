"""Options of http and https endpoints (traffic-policy.md §9), as SDKs send them and as visitors meet them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.sync.client import connect as open_websocket

from harness.edge import Edge
from harness.muxado import Proxied
from harness.process import until
from harness.scripted import Refused, Request, ScriptedAgent, read_request, response
from harness.visitor import Answer, Visitor, dial

Json = dict[str, Any]
LONG = b"a line that is worth compressing\n" * 200


@pytest.fixture(scope="module")
def edge(new_shared_edge: Callable[..., Edge]) -> Edge:
    return new_shared_edge()


@pytest.fixture
def agent(edge: Edge) -> Iterator[ScriptedAgent]:
    with ScriptedAgent.logged_in(edge) as agent:
        yield agent


def ask(edge: Edge, url: str, path: str = "/", method: str = "GET", **headers: str) -> Answer:
    with Visitor(edge, url) as visitor:
        return visitor.ask(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def refusal(agent: ScriptedAgent, opts: Json, proto: str = "http") -> Refused:
    with pytest.raises(Refused) as refused:
        agent.bind(proto, opts)
    return refused.value


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# === BasicAuth

ANN = {"username": "ann", "cleartext_password": "longenough"}
BO = {"username": "bo", "cleartext_password": "with:colons"}


@pytest.mark.parametrize(
    "opts", [{"BasicAuth": {"credentials": [ANN, BO]}}, {"Auth": "ann:longenough", "BasicAuth": {"credentials": [BO]}}]
)
def test_basic_auth_lets_in_the_pairs_and_nobody_else(edge: Edge, agent: ScriptedAgent, opts: Json) -> None:
    bound = agent.bind("http", opts)
    seen = agent.serve_http()
    for user, password in (("ann", "longenough"), ("bo", "with:colons")):
        assert ask(edge, bound.url, Authorization=basic(user, password)).status == 200
    assert seen[-1].get("authorization") == basic("bo", "with:colons"), "the upstream may look at it too"
    for headers in (
        {},
        {"Authorization": basic("ann", "wrong-one")},
        {"Authorization": basic("bo", "longenough")},
        {"Authorization": "Bearer longenough"},
        {"Authorization": "Basic !"},
    ):
        answer = ask(edge, bound.url, **headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Basic realm="ngrok"'
        assert answer.code is None
    assert len(seen) == 2, "nothing else reached the upstream"


@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        ([], 359),
        ([{"username": "", "cleartext_password": "longenough"}], 359),
        ([{"username": "a", "cleartext_password": "short"}], 360),
        ([{"username": "a"}], 360),
        ([{"username": "a", "hashed_password": base64.b64encode(b"$2y$05$abc").decode()}], 360),
        ([{**ANN, "hashed_password": base64.b64encode(b"$2y$05$abc").decode()}], 360),
        ([{"username": "a:b", "cleartext_password": "longenough"}], 15011),
        ([ANN] * 11, 15009),
    ],
)
def test_basic_auth_that_cannot_be_kept_is_refused(agent: ScriptedAgent, credentials: list[Json], code: int) -> None:
    assert refusal(agent, {"BasicAuth": {"credentials": credentials}}).code == code


def test_a_hashed_password_is_refused_by_name_for_its_hash_is_not_known(agent: ScriptedAgent) -> None:
    hashed = {"username": "a", "hashed_password": base64.b64encode(b"$2y$05$abc").decode()}
    assert "hashed password" in refusal(agent, {"BasicAuth": {"credentials": [hashed]}}).text


# === headers


def test_request_headers_are_removed_and_then_added(edge: Edge, agent: ScriptedAgent) -> None:
    change = {"add": ["x-new:one", "x-new: two", "x-both:edge"], "remove": ["x-old", "User-Agent"]}
    bound = agent.bind("http", {"RequestHeaders": change})
    seen = agent.serve_http()
    ask(edge, bound.url, x_old="1", x_both="visitor", User_Agent="v")
    assert (seen[0].get("x-new"), seen[0].get("x-both")) == ("one, two", "visitor, edge")
    assert seen[0].get("x-old") is None
    assert seen[0].get("user-agent") is None


def test_response_headers_are_removed_and_then_added(edge: Edge, agent: ScriptedAgent) -> None:
    change = {"add": ["x-new:one", "server:edge"], "remove": ["Server", "x-secret"]}
    bound = agent.bind("http", {"ResponseHeaders": change})
    agent.serve_http(lambda request: response(b"ok", server="upstream", x_secret="1", x_kept="1"))
    answer = ask(edge, bound.url)
    assert (answer.headers["x-new"], answer.headers.get_all("server"), answer.headers["x-kept"]) == (
        "one",
        ["edge"],
        "1",
    )
    assert answer.headers["x-secret"] is None


def test_a_header_of_the_edge_cannot_be_forged_by_an_upstream(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http")
    agent.serve_http(lambda request: response(b"ok", ngrok_error_code="ERR_NGROK_3200"))
    assert ask(edge, bound.url).code is None


@pytest.mark.parametrize(
    ("opts", "code"),
    [
        ({"RequestHeaders": {"add": ["nocolon"]}}, 370),
        ({"ResponseHeaders": {"add": ["nocolon"]}}, 371),
        ({"RequestHeaders": {"add": ["a b:c"]}}, 372),
        ({"ResponseHeaders": {"remove": ["a b"]}}, 373),
        ({"RequestHeaders": {"add": ["a:\x01"]}}, 374),
        ({"RequestHeaders": {"add": ["a:b"] * 11}}, 376),
        ({"RequestHeaders": {"remove": ["host"]}}, 398),
        ({"RequestHeaders": {"add": ["content-length:0"]}}, 372),
        ({"RequestHeaders": {"add": ["x:${.ngrok.geo.country_code}"]}}, 2213),
        ({"RequestHeaders": {"add": [], "addParsed": {"x": "y"}}}, 301),
    ],
)
def test_header_rules_that_cannot_be_kept_are_refused(agent: ScriptedAgent, opts: Json, code: int) -> None:
    assert refusal(agent, opts).code == code


# === the upstream's host


@pytest.mark.parametrize("proto", ["http", "https"])
def test_a_rewritten_host_reaches_the_upstream_and_its_redirects_come_back_public(
    edge: Edge, agent: ScriptedAgent, proto: str
) -> None:
    rewrite = {"HostHeaderRewrite": True, "RequestHeaders": {"add": ["host:up.internal:8080"]}}
    bound = agent.bind(proto, rewrite)
    assert bound.opts["HostHeaderRewrite"] is True
    public = bound.url.split("://")[1]

    def app(request: Request) -> bytes:
        return response(b"", "302 Found", location=request.line.split(" ")[1].split("=", 1)[1])

    seen = agent.serve_http(app)
    for sent, shown in (
        ("http://up.internal:8080/x?y", f"{bound.url}/x?y"),
        ("https://up.internal:8080", bound.url),
        ("/relative", "/relative"),
        ("http://up.internal:80801/", "http://up.internal:80801/"),
        ("http://elsewhere.test/", "http://elsewhere.test/"),
    ):
        assert ask(edge, bound.url, f"/?to={sent}").headers["location"] == shown
    assert seen[0].get("host") == "up.internal:8080"
    assert seen[0].get("x-forwarded-host") == public


def test_without_rewriting_redirects_are_left_alone(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http", {"RequestHeaders": {"add": ["host:up.internal"]}})
    agent.serve_http(lambda request: response(b"", "302 Found", location="http://up.internal/x"))
    assert ask(edge, bound.url).headers["location"] == "http://up.internal/x"


# === Compression


def test_compression_is_gzip_for_those_who_take_it(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http", {"Compression": {}})
    agent.serve_http(lambda request: response(LONG, content_type="text/plain"))
    for accept in ("gzip", "br, gzip;q=0.5", "*"):
        answer = ask(edge, bound.url, Accept_Encoding=accept)
        assert (answer.headers["content-encoding"], gzip.decompress(answer.body)) == ("gzip", LONG)
        assert "accept-encoding" in answer.headers["vary"].lower()
    for accept in ("identity", "gzip;q=0", "br"):
        answer = ask(edge, bound.url, Accept_Encoding=accept)
        assert (answer.headers["content-encoding"], answer.body) == (None, LONG)


def test_what_is_compressed_already_or_streams_is_left_alone(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http", {"Compression": {}})
    kinds = {"/br": {"content_encoding": "br"}, "/events": {"content_type": "text/event-stream"}}
    agent.serve_http(lambda request: response(LONG, **kinds[request.line.split(" ")[1]]))
    for path, encoding in (("/br", "br"), ("/events", None)):
        answer = ask(edge, bound.url, path, Accept_Encoding="gzip")
        assert (answer.headers["content-encoding"], answer.body) == (encoding, LONG)


# === CircuitBreaker


def test_a_circuit_breaker_opens_probes_and_closes(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http", {"CircuitBreaker": {"error_threshold": 0.5}})
    status = ["500 Internal Server Error"]
    seen = agent.serve_http(lambda request: response(b"", status[0]))
    with Visitor(edge, bound.url) as visitor:

        def turn() -> Answer:
            return visitor.get("/")

        assert {turn().status for _ in range(10)} == {500}
        refused = turn()
        assert (refused.status, refused.code) == (503, "ERR_NGROK_3202")
        assert len(seen) == 10, "the upstream is left alone"
        # Half open after ten seconds: one request goes through, and as it goes well the circuit closes.
        status[0] = "200 OK"
        until("a probe", lambda: turn().status == 200)
        assert {turn().status for _ in range(10)} == {200}


def test_a_circuit_breaker_counts_an_upstream_that_is_away(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http", {"CircuitBreaker": {"error_threshold": 0.1}})
    agent.serve(lambda it: it.stream.finish())
    assert {ask(edge, bound.url, method="POST").status for _ in range(10)} == {502}
    assert ask(edge, bound.url, method="POST").code == "ERR_NGROK_3202"


def test_a_circuit_breaker_stays_closed_below_its_threshold(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http", {"CircuitBreaker": {"error_threshold": 0.5}})
    counted: list[int] = []

    def app(request: Request) -> bytes:
        counted.append(1)
        return response(b"", "500 No" if len(counted) % 3 == 0 else "200 OK")

    agent.serve_http(app)
    assert 503 not in {ask(edge, bound.url).status for _ in range(30)}


@pytest.mark.parametrize("threshold", [1.5, -0.1])
def test_a_threshold_beyond_zero_to_one_is_refused(agent: ScriptedAgent, threshold: float) -> None:
    assert refusal(agent, {"CircuitBreaker": {"error_threshold": threshold}}).code == 361


# === UserAgentFilter


def test_user_agents_are_let_in_by_the_first_list_and_kept_out_by_the_second(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http", {"UserAgentFilter": {"allow": ["foo.*"], "deny": [".*"]}})
    seen = agent.serve_http()
    assert ask(edge, bound.url, User_Agent="foobarbaz").status == 200
    for headers in ({"User_Agent": "bar"}, {}):
        answer = ask(edge, bound.url, **headers)
        assert (answer.status, answer.code) == (403, "ERR_NGROK_3211")
    assert len(seen) == 1
    only_deny = agent.bind("http", {"UserAgentFilter": {"deny": ["(?i)bad"]}})
    assert ask(edge, only_deny.url, User_Agent="good").status == 200
    assert ask(edge, only_deny.url, User_Agent="a BAD one").status == 403
    assert refusal(agent, {"UserAgentFilter": {"allow": ["("]}}).code == 2090


# === WebsocketTCPConverter


@pytest.mark.parametrize("proto", ["http", "https"])
def test_websocket_messages_are_plain_bytes_for_the_upstream(edge: Edge, agent: ScriptedAgent, proto: str) -> None:
    bound = agent.bind(proto, {"WebsocketTCPConverter": {}})

    def upstream(proxied: Proxied) -> None:
        assert proxied.stream.exactly(10) == b"helloagain"
        proxied.stream.send(b"plain answer")
        proxied.stream.until(b"bye")
        proxied.stream.finish()

    agent.serve(upstream)
    url = bound.url.replace("http", "ws", 1)
    with (
        open_websocket(url, sock=dial(edge, bound.url), compression=None, ssl=None)
        if proto == "http"
        else open_tls(edge, url, bound.url) as socket
    ):
        socket.send(b"hello")
        socket.send("again")
        got = b""
        while got != b"plain answer":
            message = socket.recv(timeout=20)
            assert isinstance(message, bytes), "binary"
            got += message
        socket.send(b"bye")
        assert list(socket) == []


def open_tls(edge: Edge, url: str, bound: str) -> Any:
    # `dial` has done TLS already; the client must not do it again.
    return open_websocket(url.replace("wss", "ws", 1), sock=dial(edge, bound, ["http/1.1"]), compression=None)


def test_a_visitor_without_websocket_is_told_what_is_missing(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http", {"WebsocketTCPConverter": {}})
    answer = ask(edge, bound.url)
    assert (answer.status, answer.code) == (400, "ERR_NGROK_3206")


# === order, and what is refused by name


def test_gates_stand_in_their_order_and_the_first_that_refuses_answers(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind(
        "http",
        {
            "IPRestriction": {"allow_cidrs": ["127.0.0.0/8"]},
            "UserAgentFilter": {"allow": ["foo"], "deny": [".*"]},
            "BasicAuth": {"credentials": [ANN]},
        },
    )
    agent.serve_http()
    assert ask(edge, bound.url, Authorization=basic("ann", "longenough")).code == "ERR_NGROK_3211"
    assert ask(edge, bound.url, User_Agent="foo").status == 401
    assert ask(edge, bound.url, User_Agent="foo", Authorization=basic("ann", "longenough")).status == 200


@pytest.mark.parametrize(
    ("opts", "extra", "code", "named"),
    [
        ({"OAuth": {"provider": "google"}}, {}, 365, "OAuth"),
        ({"OAuth": {}}, {}, 365, "OAuth"),
        ({"OIDC": {"issuer_url": "https://x", "client_id": "a", "client_secret": "b"}}, {}, 388, "OIDC"),
        ({"TrafficPolicy": "on_http_request: []"}, {}, 9026, "traffic policy"),
        ({"Policy": {"inbound": []}}, {}, 9026, "traffic policy"),
        ({"Policy": {"inbound": []}, "TrafficPolicy": "{}"}, {}, 9025, ""),
        ({}, {"IPPolicyRef": "ipp_1,ipp_2"}, 341, "IP policies"),
        ({"JWTValidation": {"issuer": "x"}}, {}, 301, "JWTValidation"),
        ({"SAML": {}}, {}, 301, "SAML"),
        ({"saml": {"x": 1}}, {}, 301, "saml"),
        ({"TLSTermination": {}}, {}, 301, "TLSTermination"),
        ({"MutualTLSAtEdge": {"mutual_tls_ca": ""}}, {}, 301, "MutualTLSAtEdge"),
        ({"IPRestriction": {"allow_cidrs": ["0.0.0.0/0"], "ip_policies": ["x"]}}, {}, 301, "IPRestriction.ip_policies"),
        ({"BasicAuth": {"credentials": [ANN], "realm": "x"}}, {}, 301, "BasicAuth.realm"),
        ({"BasicAuth": None, "basic_auth": {"credentials": []}}, {}, 301, "basic_auth"),
        ({"WebhookVerification": {"provider": "", "secret": "x"}}, {}, 363, ""),
        ({"MutualTLSCA": {}}, {}, 14002, ""),
    ],
    ids=str,
)
def test_what_this_edge_cannot_do_is_refused_by_name_and_never_ignored(
    agent: ScriptedAgent, opts: Json, extra: Json, code: int, named: str
) -> None:
    with pytest.raises(Refused) as refused:
        agent.bind("https", opts, **extra)
    assert refused.value.code == code
    assert named.lower() in refused.value.text.lower()


def test_what_is_off_in_keys_nobody_knows_hinders_nothing(agent: ScriptedAgent) -> None:
    unset: Json = {"New": None, "Newer": False, "Newest": "", "Number": 0, "List": []}
    bound = agent.bind("https", unset)
    assert {key: bound.opts[key] for key in unset} == unset


def test_null_in_one_spelling_does_not_hide_what_another_asks_for(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http", {"BasicAuth": None, "basicAuth": {"credentials": [ANN]}})
    agent.serve_http()
    assert ask(edge, bound.url).status == 401


def test_options_hold_after_a_reconnect_that_repeats_the_answers(edge: Edge) -> None:
    with ScriptedAgent.to(edge) as first:
        client = first.login(edge.token)["ClientId"]
        bound = first.bind("http", {"BasicAuth": {"credentials": [ANN]}})
    with ScriptedAgent.to(edge) as again:
        again.login(edge.token, client_id=client)
        assert again.bind_again(bound).url == bound.url
        again.serve_http(lambda request: response(json.dumps(request.fields).encode()))
        assert ask(edge, bound.url).status == 401
        assert ask(edge, bound.url, Authorization=basic("ann", "longenough")).status == 200


def test_the_agent_sees_every_request_that_was_let_in(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http")
    agent.serve(lambda it: it.stream.send(response(read_request(it).body)))
    with Visitor(edge, bound.url) as visitor:
        assert visitor.ask("POST", body=b"echo").body == b"echo"
