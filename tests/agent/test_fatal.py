"""What no further attempt can mend ends the agent: a message, exit code 1, no second attempt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest

from conftest import NewEdge
from harness.agents import Agents
from harness.edge import Edge
from harness.process import Process
from harness.tls import Authority
from harness.upstreams import HttpUpstream, Upstreams
from harness.visitor import Visitor

AgentsOf = Callable[[Edge], Agents]


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


def ended_with(process: Process, code: str = "") -> str:
    """What it said before it gave up after one attempt."""
    assert process.wait() == 1
    tried = [r for r in process.records() if r["msg"] in ("failed to reconnect session", "client session established")]
    assert len(tried) <= 1, "it tried again"
    said = process.text("err")
    assert all(line.startswith("ERROR:") for line in said.splitlines()), said
    assert [r for r in process.records() if r["msg"] == "command failed"]
    if code:
        assert f"ERROR:  {code}" in said.splitlines()
    return said


@pytest.mark.parametrize("command", ["http", "tcp", "tls", "start"])
def test_b5_a_wrong_token_is_fatal_for_every_command(command: str, agents: Agents, upstream: HttpUpstream) -> None:
    wrong = {"PORTWAY_AUTHTOKEN": "nobody-has-this-one"}
    if command == "start":
        process = agents.run("start", "--none", env=wrong)
    else:
        process = agents.run(command, upstream.address, env=wrong)
    assert "authentication failed" in ended_with(process, "ERR_NGROK_107")


def test_b5_a_token_that_is_none_is_fatal(agents: Agents, upstream: HttpUpstream) -> None:
    process = agents.run("http", upstream.url, env={"PORTWAY_AUTHTOKEN": "two words"})
    ended_with(process, "ERR_NGROK_105")


@pytest.mark.parametrize("url", ["http://shop.localhost", "https://shop.localhost", "tls://shop.localhost", "tcp"])
def test_b5_a_name_that_somebody_else_serves_is_fatal(
    url: str, edge: Edge, agents: Agents, upstream: HttpUpstream
) -> None:
    url = f"tcp://localhost:{edge.tcp_ports[0]}" if url == "tcp" else url
    command = url.split(":")[0].removesuffix("s") if url.startswith("http") else url.split(":")[0]
    first = agents.agent(command, upstream.address, "--url", url)
    assert first.url.startswith(url)
    second = agents.agent(command, upstream.address, "--url", url)
    assert "command_line" not in ended_with(second.process, "ERR_NGROK_334")
    assert first.process.running()


def test_b5_one_endpoint_of_several_that_is_refused_ends_them_all(
    edge: Edge, agents: Agents, upstream: HttpUpstream
) -> None:
    first = agents.http(upstream.url, url="http://shop.localhost")
    first.up()
    several = agents.from_config(
        "version: 3\nendpoints:\n"
        f"- {{name: free, url: 'http://free.localhost', upstream: {{url: {upstream.port}}}}}\n"
        f"- {{name: taken, url: 'http://shop.localhost', upstream: {{url: {upstream.port}}}}}\n"
    )
    ended_with(several.process, "ERR_NGROK_334")
    with Visitor(edge, "http://free.localhost") as visitor:
        assert visitor.get("/").status == 404
    assert first.get("/").status == 200


# === trust


def test_a_ca_file_that_is_not_there_is_named_before_anything_is_dialled(
    agents: Agents, upstream: HttpUpstream, tmp_path: Path
) -> None:
    process = agents.run("http", upstream.url, env={"PORTWAY_CONNECT_CAS": str(tmp_path / "no-such.pem")})
    assert process.wait() == 1
    assert str(tmp_path / "no-such.pem") in process.text("err")
    assert not process.records()


@pytest.mark.parametrize(
    "content", ["", "no PEM at all", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_ca_file_that_holds_no_certificate_is_fatal(
    content: str, agents: Agents, upstream: HttpUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "broken.pem"
    path.write_text(content)
    process = agents.run("http", upstream.url, env={"PORTWAY_CONNECT_CAS": str(path)})
    assert str(path) in ended_with(process)


def test_another_ca_is_told_with_what_to_do_and_tried_again(
    agents: Agents, upstream: HttpUpstream, authority: Authority
) -> None:
    """An inspecting proxy on the way can look the same for a while, so this is not the end."""
    process = agents.run("http", upstream.url, env={"PORTWAY_CONNECT_CAS": str(authority.pem)})
    failed = process.wait_for("failed to reconnect session")
    assert "connect_cas" in failed["err"]
    process.wait_for("failed to reconnect session", since=process.position)
    process.signal(SIGINT)
    assert process.wait() == 0


@pytest.mark.parametrize("cas", ["pin:sha256:abc", "pin:md5:" + "a" * 64])
def test_a_pin_that_is_none_is_fatal(cas: str, agents: Agents, upstream: HttpUpstream) -> None:
    process = agents.run("http", upstream.url, env={"PORTWAY_CONNECT_CAS": cas})
    assert process.wait() == 1
    assert cas in process.text("err")


def test_the_ca_of_another_edge_does_not_match_the_pin(agents: Agents, upstream: HttpUpstream) -> None:
    process = agents.run("http", upstream.url, env={"PORTWAY_CONNECT_CAS": "pin:sha256:" + "a" * 64})
    assert "fingerprint" in process.wait_for("failed to reconnect session")["err"]


# === addresses and files


@pytest.mark.parametrize("address", ["no-port:", "host:99999", "http://host:1", "a b:1", ""])
def test_an_address_that_is_none_is_named(address: str, agents: Agents, upstream: HttpUpstream) -> None:
    flags = ("--connect-url", address) if address else ("--connect-url=",)
    process = agents.run("http", upstream.url, *flags)
    assert process.wait() == 1
    assert process.text("err").startswith("ERROR:")


def test_a_folder_that_is_not_there_is_named(agents: Agents, tmp_path: Path) -> None:
    process = agents.run("http", f"file://{tmp_path}/nowhere")
    assert process.wait() == 1
    assert f"{tmp_path}/nowhere" in process.text("err")


def test_cas_for_an_upstream_that_hold_no_certificate_are_named(
    agents: Agents, upstream: HttpUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "broken.pem"
    path.write_text("nothing")
    process = agents.run("http", f"https://127.0.0.1:{upstream.port}", "--upstream-tls-verify-cas", str(path))
    assert process.wait() == 1
    assert "CA" in process.text("err")


# === once a session was up


def test_a_token_that_is_revoked_ends_a_running_agent(
    new_edge: NewEdge, agents_of: AgentsOf, upstream: HttpUpstream, tmp_path: Path
) -> None:
    rules = tmp_path / "edge.yml"
    rules.write_text("tokens: [{token: first, name: a}]\n")
    edge = new_edge("--config", str(rules))
    agent = agents_of(edge).http(upstream.url, env={"PORTWAY_AUTHTOKEN": "first"})
    agent.up()
    before = agent.process.position
    rules.write_text("tokens: []\n")
    edge.restart()
    assert agent.process.wait() == 1
    assert "ERR_NGROK_107" in agent.process.text("err")
    assert len([r for r in agent.process.records(before) if r["msg"] == "failed to auth"]) == 1


@pytest.mark.parametrize("signal", [SIGINT, SIGTERM], ids=lambda signal: signal.name)
def test_what_may_pass_is_tried_until_a_signal(signal: Signals, agents: Agents, upstreams: Upstreams) -> None:
    agent = agents.http("8080", env={"PORTWAY_CONNECT_URL": upstreams.refusing()})
    for _ in range(4):
        agent.process.wait_for("failed to reconnect session", since=agent.process.position)
    agent.process.signal(signal)
    assert agent.process.wait() == 0
    assert agent.process.text("err") == ""
