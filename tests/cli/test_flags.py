"""Every flag of `portway http`, `tcp` and `tls` does what it says (cli.md §3), through an edge."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import re
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect as open_websocket

from harness.agents import Agent, Agents
from harness.edge import Edge
from harness.process import PATIENCE, until
from harness.site import Site
from harness.tls import Authority, Pair
from harness.visitor import Visitor, dial
from portway.cli.endpoint import flags_of

PASSWORD = "long enough"


def http(site: Site, *flags: str, url: str = "http://") -> Agent:
    return site.agents.http(site.upstream.url, *flags, url=url)


def headers_of(answer_json: object) -> dict[str, str]:
    assert isinstance(answer_json, dict)
    return {name.lower(): value for name, value in answer_json["headers"]}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def refused(agent: Agent) -> str:
    """What an agent says whose endpoint the edge does not bind."""
    assert agent.process.wait() == 1
    crit = agent.process.wait_for("command failed")
    assert crit["lvl"] == "crit"
    said = agent.process.text("err")
    assert said.startswith("ERROR:  failed to start tunnel: ")
    return said


def is_closed(ask: Callable[[], bytes]) -> bool:
    """Whether a connection ends before anything comes, with a word or without."""
    try:
        return ask() == b""
    except (ssl.SSLError, ConnectionError):
        return True


# === names and URLs


def test_name_and_metadata_are_those_of_the_endpoint(site: Site) -> None:
    agent = http(site, "--name", "my shop", "--metadata", "of the endpoint", "--description", "sells things")
    started = agent.process.wait_for("started tunnel")
    assert started["name"] == "my shop"
    assert agent.get("/").status == 200


@pytest.mark.parametrize(
    ("flags", "url"),
    [
        (["--url", "one.localhost"], "https://one.localhost:{https}"),
        (["--url", "http://two.localhost"], "http://two.localhost:{http}"),
        (["--url", "https://*.three.localhost"], "https://*.three.localhost:{https}"),
        (["--domain", "four.localhost"], "https://four.localhost:{https}"),
        (["--hostname", "five.localhost"], "https://five.localhost:{https}"),
        (["--subdomain", "six"], "https://six.localhost:{https}"),
        (["--scheme", "http", "--domain", "seven.localhost"], "http://seven.localhost:{http}"),
        (["--scheme", "http", "--subdomain", "eight"], "http://eight.localhost:{http}"),
        (["--domain", "old.localhost", "--url", "nine.localhost"], "https://nine.localhost:{https}"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_name_can_be_asked_for_in_old_and_new_ways(flags: list[str], url: str, site: Site) -> None:
    agent = site.agents.http(site.upstream.url, *flags)
    assert agent.url == url.format(http=site.edge.http[1], https=site.edge.https[1])
    if "*" not in url:
        assert agent.get("/").status == 200


def test_both_schemes_are_two_endpoints_of_one_name(site: Site) -> None:
    agent = site.agents.http(site.upstream.url, "--scheme", "https,http", "--domain", "both.localhost", "--name", "n")
    first, second = agent.up(2)
    names = [record["name"] for record in agent.process.records() if record["msg"] == "started tunnel"]
    assert names == ["n (http)", "n"]
    assert (urlsplit(first).scheme, urlsplit(second).scheme) == ("http", "https")
    for url in (first, second):
        with Visitor(site.edge, url) as visitor:
            assert visitor.get("/").status == 200


@pytest.mark.parametrize("flag", ["--url", "--remote-addr"])
def test_a_tcp_port_can_be_asked_for(flag: str, site: Site) -> None:
    echo = site.upstreams.echo()
    [port] = site.edge.free_ports(1)
    address = f"localhost:{port}"
    agent = site.agents.tcp(echo.address, flag, f"tcp://{address}" if flag == "--url" else address)
    assert agent.url == f"tcp://localhost:{port}"
    with dial(site.edge, agent.url) as visitor:
        visitor.sendall(b"hello")
        assert visitor.recv(5) == b"hello"


def test_a_deprecated_flag_works_and_says_what_took_its_place(site: Site) -> None:
    agent = http(site, "--compression", "--region", "eu")
    agent.up()
    advice = "keep it until your edge has traffic policies, then use the action compress-response"
    told = [record["err"] for record in agent.process.records() if record["msg"] == "command usage"]
    assert told == [
        "Flag --region has been deprecated, the region is chosen automatically",
        f"Flag --compression has been deprecated, {advice}",
    ]
    assert agent.process.text("err") == ""
    process = site.agents.run("http", site.upstream.url, "--region", "eu", log=False)
    process.wait_line("the URL", lambda line: True if "Forwarding" in line else None)
    assert process.text("err") == "Flag --region has been deprecated, the region is chosen automatically"


@pytest.mark.parametrize("proto", ["http", "tcp", "tls"])
def test_what_is_advised_in_place_of_a_flag_can_be_had(proto: str) -> None:
    flags = flags_of(proto)
    there = {flag.name for flag in flags}
    for flag in flags:
        assert set(re.findall(r"--([a-z-]+)", flag.instead)) <= there, f"{flag.name}: {flag.instead}"


def test_pooling_lets_two_agents_share_a_url(site: Site) -> None:
    other = site.upstreams.http()
    first = http(site, "--pooling-enabled", url="http://pool.localhost")
    first.up()
    second = site.agents.http(other.url, "--pooling-enabled=true", url="http://pool.localhost")
    second.up()
    before = len(site.upstream.seen)
    until("both have served", lambda: first.get("/pool").status == 200 and other.seen and site.upstream.seen[before:])
    third = http(site, "--no-pooling-enabled", url="http://pool.localhost")
    assert "ERR_NGROK_334" in refused(third)


def test_an_internal_binding_is_not_served_to_the_public(site: Site) -> None:
    agent = http(site, "--binding", "internal", url="http://inside.internal")
    assert "ERR_NGROK_" in refused(agent)


# === who may come


def test_basic_auth_may_be_given_several_times(site: Site) -> None:
    agent = http(site, "--basic-auth", f"ann:{PASSWORD}", "--basic-auth", f"bob:{PASSWORD} too")
    with agent.visitor() as visitor:
        answer = visitor.get("/")
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert visitor.get("/", headers=basic("ann", PASSWORD)).status == 200
        assert visitor.get("/", headers=basic("bob", f"{PASSWORD} too")).status == 200
        assert visitor.get("/", headers=basic("bob", PASSWORD)).status == 401
        assert visitor.get("/", headers=basic("eve", PASSWORD)).status == 401
    assert PASSWORD not in agent.process.text()


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        (["--cidr-allow", "127.0.0.0/8"], 200),
        (["--cidr-allow", "10.0.0.0/8,192.0.2.1"], 403),
        (["--cidr-allow", "10.0.0.0/8", "--cidr-allow", "127.0.0.1"], 200),
        (["--cidr-allow", "0.0.0.0/0", "--cidr-deny", "127.0.0.0/8"], 403),
        (["--cidr-allow", "0.0.0.0/0", "--cidr-deny", "10.0.0.0/8"], 200),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_networks_are_let_in_or_turned_away(flags: list[str], status: int, site: Site) -> None:
    assert http(site, *flags).get("/").status == status


@pytest.mark.parametrize(("deny", "let_in"), [("10.0.0.0/8", True), ("127.0.0.1", False)])
def test_networks_are_let_in_or_turned_away_on_tcp_too(deny: str, let_in: bool, site: Site) -> None:
    echo = site.upstreams.echo()
    agent = site.agents.tcp(echo.address, "--cidr-allow", "0.0.0.0/0", "--cidr-deny", deny)
    with dial(site.edge, agent.url) as visitor:
        if let_in:
            visitor.sendall(b"x")
            assert visitor.recv(1) == b"x"
        else:
            assert is_closed(lambda: visitor.recv(1))
            assert echo.connections == 0


def test_denying_without_allowing_anybody_is_told(site: Site) -> None:
    assert "ERR_NGROK_393" in refused(http(site, "--cidr-deny", "10.0.0.0/8"))


@pytest.mark.parametrize(
    ("flags", "agent_name", "status"),
    [
        (["--ua-filter-deny", "(?i)bot"], "SearchBot/1", 403),
        (["--ua-filter-deny", "(?i)bot"], "curl/8", 200),
        (["--ua-filter-allow", "^curl"], "curl/8", 200),
        (["--ua-filter-allow", "^curl", "--ua-filter-deny", ".*"], "wget/1", 403),
    ],
)
def test_user_agents_are_let_in_or_turned_away(flags: list[str], agent_name: str, status: int, site: Site) -> None:
    assert http(site, *flags).get("/", User_Agent=agent_name).status == status


def test_webhooks_are_verified(site: Site) -> None:
    agent = http(site, "--verify-webhook", "github", "--verify-webhook-secret", "s3cr3t-of-hooks")
    body = b'{"action": "opened"}'
    right = "sha256=" + hmac.new(b"s3cr3t-of-hooks", body, hashlib.sha256).hexdigest()
    with agent.visitor() as visitor:
        assert visitor.ask("POST", "/", body=body, headers={"X-Hub-Signature-256": right}).status == 200
        assert visitor.ask("POST", "/", body=body + b" ", headers={"X-Hub-Signature-256": right}).status == 403
        assert visitor.ask("POST", "/", body=body).status == 403
    assert "s3cr3t-of-hooks" not in agent.process.text()


def shown_certificate(edge: Edge, url: str, trusted: Path, pair: Pair | None) -> Callable[[], bytes]:
    """A visitor who shows a client certificate, or none, and asks for `/`; gives the first bytes of the answer."""
    context = ssl.create_default_context(cafile=str(trusted))
    if pair:
        context.load_cert_chain(pair.cert, pair.key)
    host = urlsplit(url).hostname or ""

    def ask() -> bytes:
        raw = socket.create_connection(edge.https, PATIENCE)
        with context.wrap_socket(raw, server_hostname=host) as io:
            io.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return io.recv(12)

    return ask


def test_visitors_of_http_must_show_a_certificate_where_asked(site: Site, authority: Authority, tmp_path: Path) -> None:
    agent = http(site, "--mutual-tls-cas", str(authority.pem), url="mutual.localhost")
    url = agent.url
    with_pair = shown_certificate(site.edge, url, site.edge.ca, authority.pair("visitor.test"))
    assert with_pair() == b"HTTP/1.1 200"
    stranger = Authority(tmp_path, "stranger").pair("visitor.test")
    for pair in (None, stranger):
        assert is_closed(shown_certificate(site.edge, url, site.edge.ca, pair))


# === what is done to requests


def test_headers_are_added_and_removed_on_the_way_in(site: Site) -> None:
    agent = http(
        site,
        *("--request-header-add", "x-when: Mon, 01 Jan 2024 10:00:00 GMT", "--request-header-add", "x-two:a:b"),
        *("--request-header-remove", "x-secret,x-other"),
    )
    seen = headers_of(agent.get("/", x_secret="1", x_other="2", x_kept="3").json)
    assert seen["x-when"] == "Mon, 01 Jan 2024 10:00:00 GMT"
    assert (seen["x-two"], seen["x-kept"]) == ("a:b", "3")
    assert not {"x-secret", "x-other"} & set(seen)


def test_headers_are_added_and_removed_on_the_way_out(site: Site) -> None:
    agent = http(site, "--response-header-add", "x-served-by: us", "--response-header-remove", "content-type")
    answer = agent.get("/")
    assert answer.headers["x-served-by"] == "us"
    assert answer.headers["content-type"] is None


@pytest.mark.parametrize(("flag", "host"), [("rewrite", "UPSTREAM"), ("inner.test", "inner.test"), ("preserve", "")])
def test_the_host_header_is_written_as_asked(flag: str, host: str, site: Site) -> None:
    agent = http(site, "--host-header", flag)
    wanted = {"UPSTREAM": site.upstream.address, "": agent.url.removeprefix("http://")}.get(host, host)
    assert headers_of(agent.get("/").json)["host"] == wanted


def test_answers_are_compressed(site: Site) -> None:
    answer = http(site, "--compression").get("/", Accept_Encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert b'"method"' in gzip.decompress(answer.body)


def test_the_circuit_opens_when_most_answers_fail(site: Site) -> None:
    agent = http(site, "--circuit-breaker", "0.1")
    with agent.visitor() as visitor:
        until("the circuit is open", lambda: visitor.get("/status/500").status == 503)
        before = len(site.upstream.seen)
        assert visitor.get("/").status == 503
        assert len(site.upstream.seen) == before, "the upstream is left alone"


def test_websocket_messages_become_tcp_bytes(site: Site) -> None:
    echo = site.upstreams.echo()
    agent = site.agents.http(echo.address, "--websocket-tcp-converter", url="http://ws.localhost")
    with open_websocket(f"ws://{urlsplit(agent.url).netloc}/", sock=dial(site.edge, agent.url)) as socket_:
        socket_.send(b"bytes, not frames")
        assert socket_.recv(PATIENCE) == b"bytes, not frames"


# === how the upstream is reached


@pytest.mark.parametrize(
    ("flag", "version"),
    [("--upstream-proxy-protocol", "1"), ("--upstream-proxy-protocol", "2"), ("--proxy-proto", "1")],
)
def test_a_proxy_header_goes_before_the_bytes(flag: str, version: str, site: Site) -> None:
    upstream = site.upstreams.recording()
    agent = site.agents.tcp(upstream.address, flag, version)
    with dial(site.edge, agent.url) as visitor:
        mine = visitor.getsockname()
        visitor.sendall(b"payload")
        until("the payload", lambda: upstream.received and upstream.received[0].endswith(b"payload"))
    got = bytes(upstream.received[0])
    if version == "1":
        assert got.startswith(f"PROXY TCP4 127.0.0.1 127.0.0.1 {mine[1]} ".encode())
    else:
        assert got.startswith(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11")
        assert got[24:26] == mine[1].to_bytes(2, "big")


@pytest.mark.parametrize("verify", ["--upstream-tls-verify", "--verify-upstream-tls"])
@pytest.mark.parametrize("cas", ["--upstream-tls-verify-cas", "--upstream-ca-path"])
def test_the_certificate_of_the_upstream_is_verified_when_asked(
    verify: str, cas: str, site: Site, authority: Authority
) -> None:
    upstream = site.upstreams.http(tls=authority.pair("localhost").serving())
    address = f"https://localhost:{upstream.port}"
    assert site.agents.http(address, url="http://").get("/").status == 200
    assert site.agents.http(address, verify, url="http://").get("/").code == "ERR_NGROK_8012"
    assert site.agents.http(address, verify, cas, str(authority.pem), url="http://").get("/").status == 200


@pytest.mark.parametrize("flag", ["--upstream-protocol", "--app-protocol"])
def test_the_upstream_is_spoken_to_in_http_2_when_asked(flag: str, site: Site) -> None:
    upstream = site.upstreams.recording()
    agent = site.agents.http(upstream.address, flag, "http2", url="http://")
    with agent.visitor() as visitor:
        visitor.connection.request("GET", "/", headers={"Host": visitor.host})
        until("its first bytes", lambda: upstream.received and len(upstream.received[0]) >= 24)
    assert upstream.received[0].startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


# === where TLS ends


def exchange(edge: Edge, url: str, context: ssl.SSLContext) -> bytes:
    host = urlsplit(url).hostname
    raw = socket.create_connection(edge.https, PATIENCE)
    with context.wrap_socket(raw, server_hostname=host) as visitor:
        visitor.sendall(b"through")
        return visitor.recv(7)


def test_tls_ends_at_the_upstream_unless_asked_otherwise(site: Site, authority: Authority) -> None:
    upstream = site.upstreams.echo(tls=authority.pair("pass.localhost").serving())
    trusting = ssl.create_default_context(cafile=str(authority.pem))
    for flags in ((), ("--terminate-at", "upstream")):
        agent = site.agents.tls(upstream.address, *flags, url="pass.localhost")
        assert exchange(site.edge, agent.url, trusting) == b"through"
        assert agent.process.stop() == 0


def test_tls_ends_at_the_edge_with_its_certificate_or_ours(site: Site, authority: Authority) -> None:
    upstream = site.upstreams.echo()
    agent = site.agents.tls(upstream.address, "--terminate-at", "edge", url="at-edge.localhost")
    assert exchange(site.edge, agent.url, ssl.create_default_context(cafile=str(site.edge.ca))) == b"through"

    pair = authority.pair("own.localhost")
    files = ("--crt", str(pair.cert), "--key", str(pair.key))
    agent = site.agents.tls(upstream.address, "--terminate-at", "edge", *files, url="own.localhost")
    assert exchange(site.edge, agent.url, ssl.create_default_context(cafile=str(authority.pem))) == b"through"


@pytest.mark.parametrize("where", [(), ("--terminate-at", "agent")], ids=lambda flags: " ".join(flags) or "by default")
def test_tls_ends_in_the_agent_that_has_the_key(where: tuple[str, ...], site: Site, authority: Authority) -> None:
    pair = authority.pair("agent.localhost")
    files = ("--crt", str(pair.cert), "--key", str(pair.key))
    agent = site.agents.tls(site.upstreams.echo().address, *where, *files, url="agent.localhost")
    assert exchange(site.edge, agent.url, ssl.create_default_context(cafile=str(authority.pem))) == b"through"
    assert pair.key.read_text().splitlines()[1] not in agent.process.text() + site.edge.process.text()
    assert agent.process.stop() == 0


@pytest.mark.parametrize("where", ["agent", "edge"])
def test_visitors_of_tls_must_show_a_certificate_where_asked(
    where: str, site: Site, authority: Authority, tmp_path: Path
) -> None:
    pair, name = authority.pair(f"m-{where}.localhost"), f"m-{where}.localhost"
    files = ("--crt", str(pair.cert), "--key", str(pair.key), "--mutual-tls-cas", str(authority.pem))
    agent = site.agents.tls(site.upstreams.echo().address, "--terminate-at", where, *files, url=name)
    url = agent.url
    knows = ssl.create_default_context(cafile=str(authority.pem))
    visitor = authority.pair("visitor.test")
    knows.load_cert_chain(visitor.cert, visitor.key)
    assert exchange(site.edge, url, knows) == b"through"
    stranger = Authority(tmp_path, "stranger").pair("visitor.test")
    for other in (None, stranger):
        context = ssl.create_default_context(cafile=str(authority.pem))
        if other:
            context.load_cert_chain(other.cert, other.key)
        assert is_closed(partial(exchange, site.edge, url, context))


# === what cannot be done is said, never left out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--oauth", "google"], "OAuth"),
        (["--oauth", "google", "--oauth-allow-domain", "a.test"], "OAuth"),
        (["--oidc", "https://i.test", "--oidc-client-id", "c", "--oidc-client-secret", "s3cr3t"], "OIDC"),
        (["--traffic-policy-file", "POLICY"], "traffic policy"),
        (["--policy-file", "POLICY"], "traffic policy"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_edge_cannot_do_yet_is_refused_by_name(
    flags: list[str], told: str, site: Site, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text("on_http_request: []\n")
    said = refused(http(site, *[str(policy) if flag == "POLICY" else flag for flag in flags]))
    assert told.lower() in said.lower()
    assert "s3cr3t" not in said


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--basic-auth", "nocolon"], "basic_auth: write user:password"),
        (["--circuit-breaker", "most"], "circuit_breaker: 'most' is no number from 0 to 1"),
        (["--circuit-breaker", "2"], "circuit_breaker: 2.0 is not between 0 and 1"),
        (["--cidr-allow", "nowhere"], "'nowhere' is neither an address nor a range"),
        (["--request-header-add", "nocolon"], "request_header.add: 'nocolon' is no header"),
        (["--upstream-protocol", "http3"], "the upstream protocol 'http3' must be http1 or http2"),
        (["--proxy-proto", "3"], "the PROXY protocol has versions 1 and 2, not '3'"),
        (["--mutual-tls-cas", "/nowhere/ca.pem"], "/nowhere/ca.pem: No such file or directory"),
        (["--traffic-policy-file", "/nowhere"], "/nowhere: No such file or directory"),
        (["--traffic-policy-file", "a", "--policy-file", "b"], "exclude each other"),
        (["--description", "d" * 256], '--description" flag: longer than 255 bytes'),
        (["--metadata", "m" * 4097], '--metadata" flag: longer than 4096 bytes'),
        (["--name", "n" * 256], '--name" flag: longer than 255 bytes'),
        (["--name", "a\nb"], '--name" flag: a name must not be empty, nor hold control characters'),
        (["--subdomain", "a/b"], "--subdomain\" flag: 'a/b': a subdomain has letters, digits, - and . only"),
        (["--scheme", "ftp"], "ftp"),
        (["--log-level", "loud"], "debug, info, warn, error, crit"),
        (["--log-format", "xml"], "term, logfmt, json"),
        (["--log", "/nowhere/x.log"], "cannot open the log file /nowhere/x.log: No such file or directory"),
        (["--connect-cas", "/nowhere/ca.pem"], "there is no file /nowhere/ca.pem"),
        (["--connect-url", "a b"], "'a b' is no address"),
        (["--config", "/nowhere/c.yml"], "open /nowhere/c.yml: no such file or directory"),
    ],
    ids=lambda value: repr(" ".join(value))[1:40] if isinstance(value, list) else "",
)
def test_a_value_that_makes_no_sense_is_told_in_one_line(flags: list[str], told: str, site: Site) -> None:
    process = site.agents.run("http", "80", *flags, log=False)
    assert process.wait() == 1
    assert process.text("out") == ""
    errors = [line for line in process.text("err").splitlines() if line.startswith("ERROR:")]
    assert any(told in line for line in errors), process.text("err")
    assert len(errors) == 1 or "Error reading configuration" in errors[0], errors
    assert "Traceback" not in process.text("err")
    assert "os error" not in process.text("err")


def test_tls_that_is_to_end_somewhere_else_is_told_in_one_line(site: Site) -> None:
    process = site.agents.run("tls", "80", "--terminate-at", "nowhere", log=False)
    assert process.wait() == 1
    told = "invalid argument for \"--terminate-at\" flag: 'nowhere' is not one of edge, agent, upstream"
    assert f"ERROR:  {told}" in process.text("err").splitlines()


# === settings of the agent


def test_a_flag_for_the_token_wins_over_the_variable(site: Site) -> None:
    agent = site.agents.http(site.upstream.url, "--authtoken", site.edge.token, env={"PORTWAY_AUTHTOKEN": "wrong"})
    agent.up()


def test_flags_point_at_the_edge(alone: Agents, site: Site) -> None:
    where = ("--connect-url", "{}:{}".format(*site.edge.agent), "--connect-cas", str(site.edge.ca))
    agent = alone.http(site.upstream.url, *where, "--authtoken", site.edge.token, url="http://")
    agent.edge = site.edge
    assert agent.get("/").status == 200


def test_several_files_make_one_configuration(alone: Agents, site: Site, tmp_path: Path) -> None:
    first, second = tmp_path / "a.yml", tmp_path / "b.yml"
    first.write_text(f"version: 2\nserver_addr: wrong.test:1\nroot_cas: {site.edge.ca}\nauthtoken: {site.edge.token}\n")
    url = "{}:{}".format(*site.edge.agent)
    second.write_text(
        f"version: 3\nagent: {{connect_url: '{url}'}}\nendpoints:\n"
        f"  - {{name: a, url: 'http://', upstream: {{url: '{site.upstream.url}'}}}}\n"
        f"  - {{name: b, url: 'http://', upstream: {{url: '{site.upstream.url}'}}}}\n"
    )
    agent = alone.agent("start", "b", "--config", str(first), "--config", str(second))
    agent.edge = site.edge
    assert agent.process.wait_for("started tunnel")["name"] == "b"
    assert agent.get("/").status == 200


def test_start_none_keeps_a_session_without_endpoints(site: Site) -> None:
    agent = site.agents.agent("start", "--none")
    agent.process.wait_for("tunnel session started")
    assert agent.process.stop() == 0
