"""Binds (wire-protocol.md §4.4–§4.7): what an agent asks for, what it gets, and what it can repeat later."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from harness.edge import Edge
from harness.muxado import BIND, BIND_LABELED, PATCH
from harness.scripted import (
    GO,
    GO_HTTP,
    GO_TCP,
    GO_TLS,
    RUST,
    RUST_HTTP,
    RUST_TCP,
    RUST_TLS,
    Bound,
    Refused,
    ScriptedAgent,
    bind,
    rules,
)
from harness.visitor import Visitor

Json = dict[str, Any]
LABELS = "labels:\n  - match: {app: shop}\n    url: https://labeled.localhost\n"


@pytest.fixture(scope="module")
def edge(new_shared_edge: Callable[..., Edge], tmp_path_factory: pytest.TempPathFactory) -> Edge:
    return new_shared_edge(*rules(tmp_path_factory.mktemp("rules"), LABELS))


@pytest.fixture
def agent(edge: Edge) -> Iterator[ScriptedAgent]:
    with ScriptedAgent.logged_in(edge) as agent:
        yield agent


def host(bound: Bound) -> str:
    return urlsplit(bound.url).hostname or ""


# What Rust's SDKs insist on in the answer (§4.4).
REQUIRED: dict[str, dict[str, type]] = {
    "http": {"Hostname": str, "Auth": str, "Subdomain": str, "HostHeaderRewrite": bool, "ProxyProto": int},
    "tcp": {"Addr": str, "ProxyProto": int},
    "tls": {"Hostname": str, "Subdomain": str, "ProxyProto": int, "MutualTLSAtAgent": bool},
}
REQUIRED["https"] = REQUIRED["http"]
SENT = {
    "go": {"http": GO_HTTP, "https": GO_HTTP, "tcp": GO_TCP, "tls": GO_TLS},
    "rust": {"http": RUST_HTTP, "https": RUST_HTTP, "tcp": RUST_TCP, "tls": RUST_TLS},
}


@pytest.mark.parametrize("proto", ["http", "https", "tcp", "tls"])
@pytest.mark.parametrize("sdk", ["go", "rust", "bare"])
def test_r69_row4_row5_row6_the_answer_is_what_strict_agents_can_read(edge: Edge, proto: str, sdk: str) -> None:
    with ScriptedAgent.logged_in(edge, user_agent=RUST if sdk == "rust" else GO) as agent:
        opts = SENT[sdk][proto] if sdk in SENT else {}
        bound = Bound(agent.call_or_refused(BIND, bind(proto, opts)))
        answer = bound.answer
        assert bound.id
        assert answer["Proto"] == proto
        url = urlsplit(bound.url)
        assert (url.scheme, bool(url.hostname), url.path) == (proto, True, "")
        assert isinstance(answer["Extra"]["Token"], str)
        assert isinstance(answer["Extra"]["TunnelID"], str)
        for key, kind in REQUIRED[proto].items():
            assert type(bound.opts[key]) is kind, key
        assert isinstance(bound.opts.get("TrafficPolicy", ""), str | None)


@pytest.mark.parametrize("proto", ["https", "tcp", "tls"])
@pytest.mark.parametrize("sdk", ["go", "rust"])
def test_r70_row9_every_option_comes_back_in_the_agents_spelling(agent: ScriptedAgent, proto: str, sdk: str) -> None:
    given: Json = {
        **SENT[sdk][proto],
        "ProxyProto": 2,
        "IPRestriction": {"allow_cidrs": ["127.0.0.0/8"], "deny_cidrs": ["127.9.0.0/16"]},
    }
    if proto == "https":
        given |= {
            "BasicAuth": {"credentials": [{"username": "u", "cleartext_password": "12345678"}]},
            "Compression": {},
        }
    if proto == "tls":
        given |= {"TLSTermination": {}}
    echoed = Bound(agent.call_or_refused(BIND, bind(proto, given))).opts
    assigned = {"URL", "Domain", "Hostname", "Addr"}
    assert {key: echoed.get(key, "absent") for key in given if key not in assigned} == {
        key: value for key, value in given.items() if key not in assigned
    }
    assert set(echoed) == set(given), "no key more, no key less"


def test_r70_row9_the_assigned_name_is_in_every_key_that_the_agent_will_repeat(agent: ScriptedAgent) -> None:
    go = agent.bind("https")
    assert (go.opts["URL"], go.opts["Domain"], go.opts["Hostname"]) == (go.url, host(go), host(go))
    rust = Bound(agent.call_or_refused(BIND, bind("https", RUST_HTTP)))
    assert (rust.opts["Domain"], rust.opts["Hostname"], "URL" in rust.opts) == (host(rust), host(rust), False)
    old = {key: value for key, value in RUST_HTTP.items() if key != "Domain"}
    older = Bound(agent.call_or_refused(BIND, bind("https", old)))
    assert (older.opts["Hostname"], "Domain" in older.opts) == (host(older), False)
    tcp = agent.bind("tcp")
    assert tcp.opts["Addr"] == tcp.url.removeprefix("tcp://")
    assert tcp.opts["URL"] == tcp.url


# === row 8: where a name may stand


@pytest.mark.parametrize(
    ("opts", "name"),
    [
        ({"URL": "https://a1.localhost"}, "a1.localhost"),
        ({"URL": "a2.localhost"}, "a2.localhost"),
        ({"URL": "HTTPS://A3.LocalHost"}, "a3.localhost"),
        ({"Domain": "a4.localhost"}, "a4.localhost"),
        ({"Hostname": "a5.localhost"}, "a5.localhost"),
        ({"Subdomain": "a6"}, "a6.localhost"),
        ({"URL": "https://a7.localhost", "Domain": "no.localhost", "Hostname": "no2.localhost"}, "a7.localhost"),
        ({"Domain": "a8.localhost", "Hostname": "no.localhost", "Subdomain": "no2"}, "a8.localhost"),
        ({"Hostname": "a9.localhost", "Subdomain": "no"}, "a9.localhost"),
        ({"URL": "https://", "Subdomain": ""}, None),
        ({"URL": ""}, None),
    ],
    ids=str,
)
def test_r71_row8_the_name_is_taken_from_the_first_key_that_has_one(
    agent: ScriptedAgent, opts: Json, name: str | None
) -> None:
    bound = agent.bind("https", opts)
    if name is None:
        assert host(bound).endswith(".localhost")
    else:
        assert host(bound) == name
    assert bound.url.startswith("https://")


def test_the_scheme_of_the_url_decides_between_http_and_https(agent: ScriptedAgent) -> None:
    assert agent.bind("https", {"URL": "http://plain.localhost"}).url.startswith("http://plain.localhost")


def test_r72_tcp_addresses_by_addr_by_url_or_any(edge: Edge, agent: ScriptedAgent) -> None:
    first, second = edge.free_ports(2)
    assert agent.bind("tcp", {"Addr": f"localhost:{first}"}).url == f"tcp://localhost:{first}"
    assert agent.bind("tcp", {"URL": f"tcp://localhost:{second}"}).url == f"tcp://localhost:{second}"
    port = urlsplit(agent.bind("tcp").url).port
    assert port in set(edge.tcp_ports) - {first, second}
    with pytest.raises(Refused) as refused:
        agent.bind("tcp", {"Addr": "localhost:9"})
    assert refused.value.code == 307


@pytest.mark.parametrize("bindings", [None, [], ["public"]], ids=str)
def test_r73_bindings_that_mean_public(agent: ScriptedAgent, bindings: list[str] | None) -> None:
    request = bind("https", GO_HTTP, Bindings=bindings)
    del request["Extra"]["PoolingEnabled"]
    assert agent.call_or_refused(BIND, request)["URL"]


@pytest.mark.parametrize(
    ("bindings", "code"),
    [(["internal"], 15005), (["kubernetes"], 15005), (["elsewhere"], 15005), (["public", "public"], 15006)],
)
def test_r73_bindings_that_would_be_more_open_here_are_refused(
    agent: ScriptedAgent, bindings: list[str], code: int
) -> None:
    with pytest.raises(Refused) as refused:
        agent.bind("https", Bindings=bindings)
    assert refused.value.code == code


# === R74: what this edge cannot do


@pytest.mark.parametrize("proto", ["https", "tcp", "tls"])
@pytest.mark.parametrize(
    "policy",
    [
        {"TrafficPolicy": '{"inbound":[{"actions":[{"type":"deny"}]}]}'},
        {"TrafficPolicy": '{"Inbound":[{"Name":"x","Actions":[{"Type":"deny"}]}],"Outbound":[]}'},
        {"TrafficPolicy": "on_http_request:\n  - actions:\n      - type: deny\n"},
        {"Policy": {"inbound": [{"actions": [{"type": "deny", "config": "e30="}]}]}},
        {"Policy": {}},
    ],
    ids=["lower", "pascal", "yaml", "object", "empty object"],
)
def test_r74_a_policy_in_any_form_is_refused_by_name_never_ignored(
    agent: ScriptedAgent, proto: str, policy: Json
) -> None:
    with pytest.raises(Refused) as refused:
        agent.bind(proto, policy)
    assert refused.value.code == 9026
    assert "provided is invalid" in refused.value.text


def test_r76_a_taken_name_is_refused_with_its_code(edge: Edge, agent: ScriptedAgent) -> None:
    with ScriptedAgent.logged_in(edge) as other:
        other.bind("https", {"URL": "https://taken.localhost"})
        with pytest.raises(Refused) as refused:
            agent.bind("https", {"URL": "https://taken.localhost"})
        assert refused.value.code == 334
        assert "taken.localhost" in refused.value.text


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://1.21 gigawatts", 326),
        ("https://user@x.localhost", 9037),
        ("https://x.localhost/path", 9037),
        ("https://x.localhost/", 9038),
        ("https://x.localhost:notaport", 9033),
        ("ftp://x.localhost", 9036),
        ("tcp://x.localhost:1", 9036),
        ("https://x.localhost:9999", 9035),
        ("https://a..localhost", 327),
        ("https://-a.localhost", 328),
        ("https://a-.localhost", 329),
        ("https://api.internal", 15005),
    ],
)
def test_urls_that_cannot_be_served_are_refused_with_their_code(agent: ScriptedAgent, url: str, code: int) -> None:
    with pytest.raises(Refused) as refused:
        agent.bind("https", {"URL": url})
    assert refused.value.code == code


# === row 12: visitors come when the agent knows of its bind


def test_p104_row12_a_visitor_waits_until_the_agent_has_closed_the_bind_stream(
    edge: Edge, agent: ScriptedAgent
) -> None:
    seen = agent.serve_http()
    for _ in range(10):
        began = time.monotonic()
        stream = agent.ask(BIND, bind("http", GO_HTTP))
        bound = Bound(stream.json())
        with Visitor(edge, bound.url) as visitor:
            opened = edge.metrics()['portway_connections_total{listener="http"}']
            visitor.connection.request("GET", "/", headers={"Host": visitor.host})
            for _ in range(5):  # turns in which a stream would have come as well
                agent.unbind("nothing")
            assert edge.metrics()['portway_connections_total{listener="http"}'] >= opened
            early = len(seen)
            # The edge's own patience with an agent that never closes the stream is a second.
            in_time = time.monotonic() - began < 0.7
            stream.finish()
            assert visitor.connection.getresponse().status == 200
        if in_time:
            assert early == 0
            return
        seen.clear()
    pytest.fail("this machine was never quick enough to see it")


def test_row12_an_agent_that_never_closes_the_bind_stream_gets_its_visitors_all_the_same(
    edge: Edge, agent: ScriptedAgent
) -> None:
    bound = Bound(agent.ask(BIND, bind("http", GO_HTTP)).json())
    agent.serve_http()
    with Visitor(edge, bound.url) as visitor:
        assert visitor.get("/").status == 200


def test_p104_row12_a_fresh_endpoint_that_lets_go_of_its_first_visitor_is_asked_once_more(
    edge: Edge, agent: ScriptedAgent
) -> None:
    bound = agent.bind("http")
    with Visitor(edge, bound.url) as visitor:
        visitor.connection.request("GET", "/", headers={"Host": visitor.host})
        agent.proxied().stream.finish()  # as an SDK does that does not know the bind yet
        agent.serve_http()
        assert visitor.connection.getresponse().status == 200


# === unbind and the rest


def test_r77_row29_unbind_is_idempotent(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http")
    agent.serve_http()
    with Visitor(edge, bound.url) as visitor:
        assert visitor.get("/").status == 200
    for _ in range(2):
        assert agent.unbind(bound.id) == {"Error": "", "Extra": None}
    assert agent.unbind("never-heard-of") == {"Error": "", "Extra": None}
    with Visitor(edge, bound.url) as visitor:
        assert visitor.get("/").code == "ERR_NGROK_3200"
    assert agent.bind("http", {"URL": bound.url}).url == bound.url, "the name is free again"


def test_r77_a_tcp_port_is_free_as_soon_as_the_unbind_is_answered(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("tcp")
    for _ in range(50):
        agent.unbind(bound.id)
        with pytest.raises(ConnectionRefusedError):
            edge.connect(("127.0.0.1", urlsplit(bound.url).port or 0))
        assert agent.bind_again(bound).url == bound.url


def test_an_agent_cannot_unbind_what_another_has_bound(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http")
    agent.serve_http()
    with ScriptedAgent.logged_in(edge) as other:
        assert other.unbind(bound.id)["Error"] == ""
    with Visitor(edge, bound.url) as visitor:
        assert visitor.get("/").status == 200


def test_r78_a_bind_by_labels_has_an_id_and_no_url(edge: Edge, agent: ScriptedAgent) -> None:
    answer = agent.call(
        BIND_LABELED, {"Labels": {"app": "shop"}, "ForwardsTo": "x", "ForwardsProto": "", "Metadata": ""}
    )
    assert set(answer) == {"Id", "Error"}
    assert (bool(answer["Id"]), answer["Error"]) == (True, "")
    seen = agent.serve_http()
    with Visitor(edge, "https://labeled.localhost") as visitor:
        assert visitor.get("/").status == 200
    assert (seen[0].header["Id"], seen[0].header["EdgeType"]) == (answer["Id"], "3")
    with pytest.raises(Refused) as refused:
        agent.call_or_refused(BIND_LABELED, {"Labels": {}})
    assert refused.value.code == 394


def test_r80_a_patch_changes_what_it_names_and_nothing_else(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("https", PoolingEnabled=False)
    tunnel = bound.answer["Extra"]["TunnelID"]
    with ScriptedAgent.logged_in(edge) as other:
        for patch, shared in (({"Metadata": ""}, False), ({"PoolingEnabled": True}, True), ({"Name": "n"}, True)):
            assert agent.call(PATCH, {"TunnelId": tunnel, **patch})["Error"] == ""
            request = bind("https", {**GO_HTTP, "URL": bound.url}, PoolingEnabled=True)
            assert (other.call(BIND, request)["Error"] == "") == shared
    with pytest.raises(Refused) as refused:
        agent.call_or_refused(PATCH, {"TunnelId": "tn_none", "Metadata": "x"})
    assert refused.value.code == 333
    with pytest.raises(Refused) as refused:
        agent.call_or_refused(PATCH, {"TunnelId": tunnel, "TrafficPolicy": "on_http_request: []"})
    assert refused.value.code == 9026
    assert agent.call(PATCH, {"TunnelId": tunnel, "TrafficPolicy": ""})["Error"] == ""


def test_many_endpoints_of_one_agent_have_many_names(tmp_path: Path, agent: ScriptedAgent) -> None:
    assert len({agent.bind("https").url for _ in range(60)}) == 60


def test_a_limit_of_endpoints_is_told(new_edge: Callable[..., Edge], tmp_path: Path) -> None:
    edge = new_edge(*rules(tmp_path, "limits: {endpoints_per_session: 2}\n"))
    with ScriptedAgent.logged_in(edge) as agent:
        first = agent.bind()
        agent.bind()
        with pytest.raises(Refused) as refused:
            agent.bind()
        assert refused.value.code == 324
        agent.unbind(first.id)
        agent.bind()
