"""The way to the edge through a proxy (agent-behaviour §2.3, case 10): real proxies, real credentials."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import NewEdge
from harness import ports
from harness.agents import Agent, Agents
from harness.edge import Edge
from harness.played import PlayedEdge
from harness.process import Process, until
from harness.proxies import EDGE, Answering, Dante, Proxy, Tinyproxy, TlsFront
from harness.tls import Authority
from harness.town import Town
from harness.upstreams import Loop, Upstreams

FAILED = "failed to reconnect session"
VARIABLES = ("http_proxy", "http_proxy_env", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
QUOTED = Tinyproxy.quoted
SECRETS = tuple(text for kind in (Tinyproxy, Dante) for text in (kind.password, kind.quoted.partition(":")[2]))

NewProxy = Callable[..., Proxy]
Through = Callable[..., Process]


@pytest.fixture
def edge(new_edge: NewEdge) -> Edge:
    return new_edge("--public-agent-addr", f"{EDGE}:443")


@pytest.fixture
def new_proxy(tmp_path: Path) -> Iterator[NewProxy]:
    made: list[Proxy] = []

    def make(kind: type[Proxy] = Tinyproxy, *, locked: bool = False) -> Proxy:
        made.append(kind(tmp_path, locked=locked))
        return made[-1]

    yield make
    for proxy in made:
        proxy.stop()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.stop()


@pytest.fixture
def town(upstreams: Upstreams, authority: Authority) -> Town:
    return Town(upstreams, authority)


@pytest.fixture
def through(edge: Edge, agents: Agents, town: Town) -> Through:
    """Starts an agent for whom the edge has the name that only proxies know."""

    def run(proxy_url: str = "", settings: str = "", **env: str) -> Process:
        config = agents.home / f"agent-{len(agents.started)}.yml"
        line = f"  proxy_url: {proxy_url}\n" if proxy_url else ""
        config.write_text(f"version: 3\nagent:\n  connect_timeout: 20s\n{line}{settings}")
        env = {"PORTWAY_CONNECT_URL": f"{EDGE}:{edge.agent[1]}", **env}
        return agents.run("http", town.http.url, "--config", str(config), env=env)

    return run


def serves(process: Process, edge: Edge, town: Town) -> None:
    town.visit(edge, Agent(process, edge).url)


def is_served(process: Process, edge: Edge, town: Town) -> bool:
    """A new session is there a moment before its endpoints are."""
    with contextlib.suppress(AssertionError):
        serves(process, edge, town)
        return True
    return False


def shows_no_secret(process: Process) -> None:
    text = process.text("out") + process.text("err")
    assert not [secret for secret in SECRETS if secret in text]


# === with and without credentials


@pytest.mark.parametrize("locked", [False, True], ids=["open", "locked"])
@pytest.mark.parametrize("kind", [Tinyproxy, Dante])
def test_b10_the_edge_is_reached_through_a_proxy_that_alone_knows_its_name(
    kind: type[Proxy], locked: bool, edge: Edge, through: Through, new_proxy: NewProxy, town: Town
) -> None:
    proxy = new_proxy(kind, locked=locked)
    process = through(proxy.url_with() if locked else proxy.url)
    serves(process, edge, town)
    assert str(edge.agent[1]) in proxy.log
    shows_no_secret(process)


def test_b10_a_proxy_may_be_spoken_to_by_tls(
    edge: Edge, through: Through, new_proxy: NewProxy, town: Town, authority: Authority, loop: Loop
) -> None:
    proxy = new_proxy(locked=True)
    front = TlsFront(loop, authority.pair("localhost"), ("127.0.0.1", proxy.port))
    url = f"https://{QUOTED}@localhost:{front.port}"
    refused = through(url, SSL_CERT_FILE="/etc/ssl/certs/ca-certificates.crt")
    failed = refused.wait_for(FAILED)
    assert f"https://localhost:{front.port} (from proxy_url): TLS with it failed" in failed["err"]
    process = through(url, SSL_CERT_FILE=str(authority.pem))
    serves(process, edge, town)
    assert EDGE in proxy.log
    shows_no_secret(process)


@pytest.mark.parametrize("wrong", ["", "x"], ids=["none", "wrong"])
@pytest.mark.parametrize("kind", [Tinyproxy, Dante])
def test_b10_a_proxy_that_wants_other_credentials_ends_the_first_attempt(
    kind: type[Proxy], wrong: str, through: Through, new_proxy: NewProxy
) -> None:
    proxy = new_proxy(kind, locked=True)
    process = through(proxy.url_with(wrong) if wrong else proxy.url)
    assert process.wait() == 1
    said = process.text("err")
    assert f"proxy {proxy.url} (from proxy_url): it wants credentials" in said
    assert ("it does not accept those" in said) == bool(wrong)
    assert len([record for record in process.records() if record["msg"] == FAILED]) == 1
    shows_no_secret(process)


def test_b10_credentials_that_are_changed_later_are_waited_for(
    edge: Edge, through: Through, new_proxy: NewProxy, town: Town
) -> None:
    proxy = new_proxy(locked=True)
    process = through(proxy.url_with())
    serves(process, edge, town)
    proxy.restart(locked=True, password="another-one")
    process.wait_line("it wants credentials", lambda line: True if "it does not accept those" in line else None)
    proxy.restart(locked=True)
    process.wait_for("client session established", since=process.position)
    until("the endpoint is back", lambda: is_served(process, edge, town))


@pytest.mark.parametrize(("kind", "told"), [(None, ""), (Tinyproxy, "http"), (Dante, "socks5")])
def test_b10_the_edge_is_told_by_what_kind_of_proxy(
    kind: type[Proxy] | None, told: str, alone: Agents, authority: Authority, new_proxy: NewProxy
) -> None:
    played = PlayedEdge(authority, EDGE)
    try:
        env = dict(played.env)
        if kind:
            env |= {"all_proxy": new_proxy(kind).url, "PORTWAY_CONNECT_URL": f"{EDGE}:{played.port}"}
        alone.http("8080", env=env)
        assert played.next().login()["Extra"]["ProxyType"] == told
    finally:
        played.stop()


# === where it is taken from, and for whom


@pytest.mark.parametrize("name", VARIABLES)
def test_b10_a_stale_variable_is_named_in_the_record(name: str, through: Through) -> None:
    port = ports.unused()
    process = through(**{name: f"http://{QUOTED}@127.0.0.1:{port}"})
    failed = process.wait_for(FAILED)
    assert failed["err"].startswith(f"proxy http://127.0.0.1:{port} (from {name}): cannot reach it")
    process.wait_for(FAILED, since=process.position)
    shows_no_secret(process)


def test_b10_the_file_wins_over_variables_and_a_proxy_over_none(
    edge: Edge, through: Through, new_proxy: NewProxy, town: Town
) -> None:
    stale = f"http://127.0.0.1:{ports.unused()}"
    serves(through(new_proxy().url, http_proxy=stale, all_proxy=stale), edge, town)


def test_b10_what_a_visitor_of_a_web_server_may_set_is_no_proxy(through: Through) -> None:
    process = through(HTTP_PROXY=f"http://127.0.0.1:{ports.unused()}", REQUEST_METHOD="GET")
    assert "cannot resolve edge.test" in process.wait_for(FAILED)["err"]


def test_b10_the_answer_407_ends_the_first_attempt(through: Through, loop: Loop) -> None:
    """As most proxies say it; tinyproxy says 401 to credentials it does not know."""
    proxy = Answering(loop, b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
    process = through(f"http://{proxy.address}")
    assert process.wait() == 1
    assert "it wants credentials (407 Proxy Authentication Required)" in process.text("err")


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_b10_what_is_excepted_is_reached_directly(name: str, through: Through) -> None:
    stale = f"http://127.0.0.1:{ports.unused()}"
    process = through(https_proxy=stale, **{name: "other.test, .edge.test"})
    assert "cannot resolve edge.test" in process.wait_for(FAILED)["err"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_b10_this_machine_is_never_reached_through_a_proxy(host: str, edge: Edge, agents: Agents, town: Town) -> None:
    config = agents.home / "agent.yml"
    config.write_text(f"version: 3\nagent:\n  proxy_url: http://127.0.0.1:{ports.unused()}\n")
    env = {"PORTWAY_CONNECT_URL": f"{host}:{edge.agent[1]}", "all_proxy": f"socks5://127.0.0.1:{ports.unused()}"}
    agent = agents.agent("http", town.http.url, "--config", str(config), env=env)
    town.visit(edge, agent.url)


@pytest.mark.parametrize(
    "url",
    ["proxy:3128", "ftp://proxy", "http://", "http://proxy:99999", "http://me:s3cr3t@", "http://me:s3cr3t@proxy/path"],
)
def test_b10_what_is_no_proxy_ends_the_agent_before_it_dials(url: str, through: Through) -> None:
    process = through(https_proxy=url)
    assert process.wait() == 1
    assert process.text("err").startswith("ERROR:  https_proxy: ")
    assert "s3cr3t" not in process.text("err")
    assert not process.records()


# === proxies that do not do what they should


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 403 Filtered\r\nContent-Length: 0\r\n\r\n", "it does not connect to edge.test:PORT: 403"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://portal.test/\r\n\r\n", "it does not connect to edge.test:PORT: 302"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "it does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 17_000, "it does not speak HTTP, or answers with too large a head"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "it sends something of its own"),
        (b"", "it closed the connection without an answer"),
    ],
    ids=["refuses", "redirects", "is none", "talks too much", "talks first", "hangs up"],
)
def test_b10_a_proxy_that_does_something_else_is_told_and_tried_again(
    answer: bytes, told: str, edge: Edge, through: Through, loop: Loop
) -> None:
    proxy = Answering(loop, answer)
    process = through(f"http://{QUOTED}@{proxy.address}")
    failed = process.wait_for(FAILED)
    told = told.replace("PORT", str(edge.agent[1]))
    assert f"proxy http://{proxy.address} (from proxy_url): {told}" in failed["err"]
    process.wait_for(FAILED, since=process.position)
    asked = proxy.asked[0].decode().split("\r\n")
    assert asked[0] == f"CONNECT {EDGE}:{edge.agent[1]} HTTP/1.1"
    assert "proxy-authorization: Basic dmlzaXRvcjpwX3NzLncwcmQ=" in asked
    shows_no_secret(process)


def test_b10_an_http_proxy_is_no_socks_proxy(through: Through, new_proxy: NewProxy) -> None:
    proxy = new_proxy()
    process = through(f"socks5://{proxy.address}")
    assert f"proxy socks5://{proxy.address} (from proxy_url): " in process.wait_for(FAILED)["err"]


def test_b10_an_edge_that_is_not_there_is_told_with_the_proxy(through: Through, new_proxy: NewProxy) -> None:
    proxy = new_proxy(Dante)
    process = through(proxy.url, PORTWAY_CONNECT_URL=f"{EDGE}:{ports.unused()}")
    failed = process.wait_for(FAILED)
    assert f"proxy {proxy.url} (from proxy_url): it does not connect to {EDGE}:" in failed["err"]


def test_b10_who_answers_behind_the_proxy_is_checked(
    through: Through, new_proxy: NewProxy, authority: Authority
) -> None:
    proxy = new_proxy()
    process = through(proxy.url, PORTWAY_CONNECT_CAS=str(authority.pem))
    failed = process.wait_for(FAILED)
    assert f"through proxy {proxy.url} (from proxy_url)" in failed["err"]
    assert "connect_cas" in failed["err"]
