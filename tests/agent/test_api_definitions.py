"""A definition means the same in a file and posted to the local interface, whose tables are its own (agent-api.md §6.2,
§6.3): what there is in the schema of files is tried on both with values of every kind."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from harness.agents import Agents
from harness.edge import Edge
from harness.local import LocalApi, local
from harness.tls import Authority, Pair
from portway.config import plan as plans
from portway.config import values
from portway.config.errors import ConfigError
from portway.config.load import load_texts
from portway.config.schema import ENDPOINT, TUNNEL, Key

Definition = dict[str, Any]

# Scalars that somebody may write, whatever was asked for.
SCALARS: list[Any] = [
    *("", "x", "a b", " x ", "true", "True", "yes", "OFF", "0", "1", "2", "3", "-1", "0.5", "1.5", "1e3", "nan", "80"),
    *("ann:longenough", "x-a: b", "bad header: b", "a=b", "ab", "192.0.2.0/24", "192.0.2.7", "192.0.2.0/33"),
    *(
        "192.0.2.0/255.255.255.0",
        "fe80::1%1",
        "2001:db8::/32",
        "a_b",
        "a.b-c",
        "http",
        "https",
        "ftp",
        "public",
        "moon",
    ),
    *("/nowhere/file.pem", "/dev/zero", "rewrite", "preserve", "ann:short", ":longenough", "http://127.0.0.1:1/p"),
    *(0, 1, 2, 80, 70_000, -1, 0.5, 1.5, True, False, None),
]
OTHERS: list[Any] = [[], {}, [None], ["x"], ["x", None], ["x", "y"], [1, True], [["x"]], [{}], {"x": "y"}, {"": ""}]
UPSTREAMS = [
    *("8080", "443", "0", "65536", "host", "host:", ":80", "host:80", "host:x", "-host:80", "ho_st:1", "a..b:1"),
    *("[::1]:80", "[::1]", "::1:80", "[::1", "[:::]:80", "[fe80::1%lo]:80", "[1.2.3.4]:80", "http://", "https://"),
    *("http://host", "https://host:8443", "https://host/", "http://host/path", "http://u@host", "HTTP://host"),
    *("tcp://host:22", "tcp://host", "tls://host:443", "ftp://host", "file:///tmp", "file:rel", "unix:///a.sock"),
    *("unix:/a.sock", "unix:a.sock", " 80 ", "８０", "host:８０", "bücher.test:80", "a b:1"),
]
URLS = [
    *("a.localhost", "http://", "https://", "tcp://", "tls://", "http://a.localhost", "HTTPS://a.localhost"),
    *("a.localhost:x", "a.localhost:0", "a.localhost:８０", "a.localhost/", "a.localhost/p", "u@a.localhost", ":80"),
    *("ftp://a.localhost", "a b", "https://a b", "https://:80", "tcp://localhost:1", "https://a.localhost:443"),
]
# Differences that are meant: libraries depend on them (agent-api.md §6).
MEANT: dict[tuple[str, str], str] = {
    ("proto", '"https"'): "an object that was read has the public scheme there",
    ("name", '""'): "a name is made up",
}
LENIENT = ("traffic_policy", "policy")  # may be text


@pytest.fixture(scope="module")
def api(new_shared_edge: Callable[..., Edge], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    agents = Agents(tmp_path_factory.mktemp("agents"), new_shared_edge())
    agent = agents.agent("start", "--none")
    agent.process.wait_for("tunnel session started")
    yield local(agent)
    agents.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Authority(tmp_path_factory.mktemp("certs")).pair("a.localhost")


def in_file(family: str, body: Definition) -> tuple[bool, str]:
    """Whether a file may say so and start it; the upstream, or what is told."""
    content: Definition = (
        {"version": 2, "tunnels": {"x": body}} if family == "tunnels" else {"version": 3, "endpoints": [body]}
    )
    path = Path.cwd() / "definition.yml"
    try:
        config = load_texts([(path, json.dumps(content, ensure_ascii=False))])
        made = plans.endpoints(config.entries)
    except ConfigError as error:
        return False, str(error)
    return True, made[0]["addr"]


def posted(api: LocalApi, family: str, body: Definition) -> tuple[bool, str]:
    """The same of the local interface. That an edge refuses it is another matter."""
    answer = api.ask("POST", f"/api/{family}", body)
    assert answer.status in (201, 400, 502), answer.text
    if answer.status != 201:
        return answer.status != 400, str(answer.json["details"]["err"])
    for name in api.names(family):
        api.delete(f"/api/{family}/{quote(name, safe='')}")
    made = answer.json
    return True, made["config"]["addr"] if family == "tunnels" else made["upstream"]["url"]


def differences(api: LocalApi, family: str, bodies: Iterable[Definition]) -> list[str]:
    found = []
    for body in bodies:
        file, post = in_file(family, body), posted(api, family, body)
        # What an edge has refused shows no upstream.
        alike = file[0] == post[0] and (not file[0] or "ERR_NGROK" in post[1] or file[1] == post[1])
        if not alike:
            found.append(f"{json.dumps(body, ensure_ascii=False)}: file {file}, interface {post}")
            print(found[-1])
    return found


def candidates(key: Key, pair: Pair) -> list[Any]:
    """What may stand behind a key, good and bad."""
    if key.shape == "map":
        inner = [{name: value} for name, one in (key.keys or {}).items() for value in candidates(one, pair)]
        return [*inner, {"no_such": 1}, *SCALARS[:8], *OTHERS]
    found = [*SCALARS, *OTHERS, str(pair.cert)]
    if isinstance(key.parse, values.OneOf):
        found += [*key.parse.allowed, *([word] for word in key.parse.allowed)]
    if isinstance(key.parse, values.AtMost):
        found += ["x" * key.parse.limit, "x" * (key.parse.limit + 1), "ü" * (key.parse.limit // 2 + 1)]
    return found


def meant(name: str, value: Any) -> bool:
    return (name, json.dumps(value)) in MEANT or (name in LENIENT and isinstance(value, str | int | float))


BASE: Definition = {"proto": "http", "addr": "127.0.0.1:9", "schemes": ["http"]}


@pytest.mark.parametrize("name", [name for name in TUNNEL if name != "addr"])
def test_what_an_option_of_a_tunnel_may_hold(name: str, api: LocalApi, pair: Pair) -> None:
    of = {"tcp": ["remote_addr"], "tls": ["terminate_at", "crt", "key"]}
    base = {**BASE, "proto": next((proto for proto, names in of.items() if name in names), "http")}
    if base["proto"] != "http":
        del base["schemes"]
    bodies = [{**base, name: value} for value in candidates(TUNNEL[name], pair) if not meant(name, value)]
    assert differences(api, "tunnels", bodies) == []


def test_what_labels_may_be(api: LocalApi, pair: Pair) -> None:
    labels = [*SCALARS, *OTHERS, ["a=b", "c=d=e"], ["a="], ["=b"], ["a=b", "a=c"]]
    bodies: list[Definition] = [{"addr": "127.0.0.1:9", "labels": one} for one in labels if one is not None]
    bodies += [{"labels": ["a=b"], **more} for more in ({}, {"addr": 9, "crt": "x"}, {"addr": "tcp://h"})]
    bodies += [{"labels": ["a=b"], "addr": 9, "crt": str(pair.cert), "key": str(pair.key)}]
    assert differences(api, "tunnels", bodies) == []


@pytest.mark.parametrize("proto", ["http", "tcp", "tls"])
def test_which_options_go_with_which_protocol(proto: str, api: LocalApi, pair: Pair) -> None:
    some: list[Any] = [True, "1", "0.5", "http1", "edge", ["http"], "a", "a:1", {"add": ["x-a: b"]}, {"allow": ["x"]}]
    bodies = [
        {"proto": proto, "addr": "127.0.0.1:9", name: value}
        for name in TUNNEL
        if name not in ("proto", "addr")
        for value in some
        if not meant(name, value)
    ]
    assert differences(api, "tunnels", bodies) == []


@pytest.mark.parametrize("proto", ["http", "tcp", "tls"])
def test_which_options_exclude_each_other(proto: str, api: LocalApi, pair: Pair, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text("on_http_request: []")
    good: Definition = {
        "url": f"{proto}://",
        "domain": "a.localhost",
        "hostname": "b.localhost",
        "subdomain": "c",
        "remote_addr": "localhost:1",
        "schemes": ["http", "https"],
        "bindings": ["public"],
        "crt": str(pair.cert),
        "key": str(pair.key),
        "mutual_tls_cas": str(pair.cert),
        "terminate_at": "agent",
        "traffic_policy": {"on_tcp_connect": []},
        "traffic_policy_file": str(policy),
        "policy_file": str(policy),
        "traffic_policy_url": "http://127.0.0.1:1/p",
        "policy": {"on_tcp_connect": []},
        "labels": ["a=b"],
        "upstream_protocol": "http1",
        "app_protocol": "http2",
        "proxy_proto": "1",
        "upstream_proxy_protocol": "2",
    }
    bodies = [{"proto": proto, "addr": "127.0.0.1:9", **dict(two)} for two in itertools.combinations(good.items(), 2)]
    assert differences(api, "tunnels", bodies) == []


@pytest.mark.parametrize("proto", ["http", "tcp", "tls"])
def test_what_an_upstream_may_be(proto: str, api: LocalApi) -> None:
    bodies: list[Definition] = [{"proto": proto, "addr": text} for text in UPSTREAMS]
    bodies += [{"proto": proto, "addr": value} for value in (80, 0, -1, 70_000, 1.5, True, None, [80], {"url": 80})]
    bodies += [{"proto": proto}]
    assert differences(api, "tunnels", bodies) == []
    urls: list[Definition] = [{"name": "x", "url": f"{proto}://", "upstream": {"url": text}} for text in UPSTREAMS]
    assert differences(api, "endpoints", urls) == []


@pytest.mark.parametrize("proto", ["http", "tcp", "tls"])
def test_what_a_url_may_be(proto: str, api: LocalApi) -> None:
    bodies = [{"proto": proto, "addr": 9, name: url} for url in URLS for name in ("url", "domain", "remote_addr")]
    assert differences(api, "tunnels", bodies) == []
    ends: list[Definition] = [{"name": "x", "url": url, "upstream": {"url": 9}} for url in URLS]
    assert differences(api, "endpoints", ends) == []


@pytest.mark.parametrize("name", ENDPOINT)
def test_what_a_key_of_an_endpoint_may_hold(name: str, api: LocalApi, pair: Pair) -> None:
    base: Definition = {"name": "x", "url": "http://", "upstream": {"url": 9}}
    if name == "agent_tls_termination":
        tls = {"server_certificate": str(pair.cert), "server_private_key": str(pair.key)}
        base = {**base, "url": "tls://", name: tls}
    bodies = []
    for value in candidates(ENDPOINT[name], pair):
        if meant(name, value) or (name == "name" and value is None):
            continue
        if value == {"server_private_key": str(pair.cert)}:
            continue  # what is in the PEM is looked at by the agent, of a file as well
        inner = base.get(name)
        whole = {**inner, **value} if isinstance(inner, dict) and isinstance(value, dict) else value
        bodies.append({**base, name: whole})
    # Libraries name the upstream of a tcp endpoint and nothing else, so that is no difference in a scheme.
    assert differences(api, "endpoints", bodies) == []


def test_what_is_no_key_is_told_with_the_nearest_one(api: LocalApi) -> None:
    for name in TUNNEL:
        wrong = f"{name}s"
        if wrong in TUNNEL or name in ("bind_tls", "auth"):
            continue
        told = posted(api, "tunnels", {**BASE, wrong: 1})
        assert told == (False, f"unknown option {wrong} (did you mean {name}?)")
