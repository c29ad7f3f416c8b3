"""Changes to a running edge: taken up without a connection ending, or refused with the reason."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import SIGHUP

import pytest

from conftest import NewEdge
from harness import logs
from harness.agents import Agent, Agents
from harness.edge import Edge
from harness.process import Process
from harness.tls import Authority
from harness.upstreams import HttpUpstream, Upstreams
from harness.visitor import Visitor, digest

MIB = 1 << 20
TOKENS = "tokens: [{token: secret-ann, name: ann}, {token: secret-bo, name: bo}]\n"


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


@dataclass
class Site:
    """An edge with a file of its own, and how it is told to read it again."""

    edge: Edge
    agents: Agents
    file: Path
    how: str

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def agent(self, upstream: HttpUpstream, token: str, *flags: str) -> Agent:
        return self.agents.http(upstream.url, *flags, env={"PORTWAY_AUTHTOKEN": token})

    def reload(self, text: str | None = None) -> str:
        """Writes the file anew and has it read; what the edge says to it."""
        if text is not None:
            self.write(text)
        before = self.edge.process.position
        if self.how == "SIGHUP":
            self.edge.process.signal(SIGHUP)
            return self.edge.process.wait_line("what it did", reloaded, since=before)
        asked = self.command()
        code = asked.wait()
        done = self.edge.process.wait_line("what it did", reloaded, since=before)
        said = asked.text("out" if code == 0 else "err").replace("ERROR:  ", "")
        assert done in said, "who asked is told the same"
        return done

    def command(self) -> Process:
        return self.agents.run("edge", "reload", "--data-dir", str(self.edge.data), log=False)


def reloaded(line: str) -> str | None:
    record = logs.parse(line) or {}
    return {
        "configuration reloaded": record.get("result"),
        "configuration not reloaded, the old one stays": record.get("err"),
    }.get(record.get("msg", ""))


@pytest.fixture(params=["SIGHUP", "edge reload"])
def site(
    request: pytest.FixtureRequest, new_edge: NewEdge, agents_of: Callable[[Edge], Agents], tmp_path: Path
) -> Site:
    file = tmp_path / "edge.yml"
    certs = tmp_path / "certs"
    certs.mkdir()
    file.write_text(TOKENS)
    edge = new_edge("--config", str(file), "--certs-dir", str(certs))
    return Site(edge, agents_of(edge), file, request.param)


def test_a_new_token_is_admitted_and_a_running_download_goes_on(site: Site, upstream: HttpUpstream) -> None:
    agent = site.agent(upstream, "secret-ann", "--url", "http://")
    with Visitor(site.edge, agent.url) as visitor:
        answer = visitor.open("GET", f"/bytes/{32 * MIB}")
        assert answer.read(1) == b"\x00"
        assert "taken up" in site.reload(TOKENS)
        site.reload("tokens: [{token: secret-ann, name: ann}, {token: secret-new, name: new}]\n")
        assert site.agent(upstream, "secret-new").url
        assert site.agent(upstream, "secret-bo").process.wait() == 1
        length, _ = digest(answer)
        assert length == 32 * MIB - 1
        assert visitor.get("/").status == 200, "the connection is still the same"
    assert not [r for r in agent.process.records() if r["msg"] == "session closed, starting reconnect loop"]


def test_a_revoked_token_ends_its_agents_and_no_others(site: Site, upstream: HttpUpstream) -> None:
    ann, bo = site.agent(upstream, "secret-ann"), site.agent(upstream, "secret-bo")
    ann.up()
    bo.up()
    said = site.reload("tokens: [{token: secret-ann, name: ann}]\n")
    assert "1 agent" in said
    assert bo.process.wait() == 1
    assert "ERR_NGROK_107" in bo.process.text("err")
    assert ann.get("/").status == 200


def test_new_rules_hold_for_what_is_bound_and_for_the_next_bind(site: Site, upstream: HttpUpstream) -> None:
    first = site.agent(upstream, "secret-bo", "--url", "http://shop.localhost")
    first.up()
    site.reload(TOKENS + "reserved: [{name: shop.localhost, token: ann}]\n")
    assert first.process.wait() == 1
    assert "reserved" in first.process.text("err"), "what it may serve no longer is taken from it, with the reason"
    second = site.agent(upstream, "secret-bo", "--url", "http://shop.localhost")
    assert second.process.wait() == 1
    assert "reserved" in second.process.text("err")
    assert site.agent(upstream, "secret-ann", "--url", "http://shop.localhost").url


def test_a_new_certificate_is_shown_to_the_next_visitor(
    site: Site, upstream: HttpUpstream, authority: Authority, tmp_path: Path
) -> None:
    agent = site.agent(upstream, "secret-ann", "--url", "https://shop.localhost")
    agent.up()
    own = Visitor(site.edge, agent.url)
    assert own.get("/").status == 200
    pair = authority.pair("shop.localhost")
    (tmp_path / "certs" / "shop.localhost.crt").write_bytes(pair.cert.read_bytes())
    (tmp_path / "certs" / "shop.localhost.key").write_bytes(pair.key.read_bytes())
    site.reload()
    context = ssl.create_default_context(cafile=str(authority.pem))
    with socket.create_connection(site.edge.https, 20) as raw:
        context.wrap_socket(raw, server_hostname="shop.localhost").close()
    assert own.get("/").status == 200, "who came before goes on"
    own.connection.close()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tokens: [", "edge.yml"),
        ("tokens: [{tokn: x}]\n", "token"),
        ("limits: {drain: soon}\n", "drain"),
        ("limits: {connections: many}\n", "connections"),
        ("tokens: [{token_file: /no/such/file}]\n", "/no/such/file"),
    ],
)
def test_a_file_that_cannot_stand_changes_nothing_and_is_explained(
    text: str, told: str, site: Site, upstream: HttpUpstream
) -> None:
    agent = site.agent(upstream, "secret-ann")
    agent.up()
    assert told in site.reload(text)
    assert agent.get("/").status == 200
    assert site.agent(upstream, "secret-bo").url, "the old tokens are still known"
    assert "taken up" in site.reload(TOKENS)


def test_a_broken_certificate_is_told_and_the_rest_is_taken_up(
    site: Site, upstream: HttpUpstream, tmp_path: Path
) -> None:
    (tmp_path / "certs" / "shop.localhost.crt").write_text("nothing")
    (tmp_path / "certs" / "shop.localhost.key").write_text("nothing")
    assert "shop.localhost" in site.reload("tokens: [{token: secret-new}]\n")
    assert site.agent(upstream, "secret-new").url


def test_what_takes_a_restart_is_said(site: Site) -> None:
    said = site.reload(TOKENS + "domains: [example.com]\n")
    # The command line wins over the file, and it names the domain.
    assert "domains" not in said
    assert "threads has changed" in site.reload(TOKENS + "threads: 3\n")


def test_twenty_reloads_at_once_are_all_answered(site: Site) -> None:
    if site.how == "SIGHUP":
        before = site.edge.process.position
        for _ in range(20):
            site.edge.process.signal(SIGHUP)
        site.edge.process.wait_for("configuration reloaded", since=before)
    else:
        for process in [site.command() for _ in range(5)]:
            assert process.wait() == 0
    assert site.edge.ask("/healthz")[0] == 200


def test_where_no_edge_runs_reload_says_so(agents: Agents, tmp_path: Path) -> None:
    process = agents.run("edge", "reload", "--data-dir", str(tmp_path / "nowhere"), log=False)
    assert process.wait() == 1
    assert "No edge runs" in process.text("err")


def test_only_its_owner_can_ask_for_a_reload(edge: Edge) -> None:
    assert (edge.data / "control.sock").stat().st_mode & 0o777 == 0o600
    assert (edge.data / "control.sock").is_socket()
