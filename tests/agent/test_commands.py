"""Stop, restart and update, as the edge asks for them (agent-behaviour.md §6, wire-protocol.md §6)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness.agents import Agent, Agents
from harness.edge import Edge
from harness.muxado import RESTART, STOP, UNBIND, UPDATE
from harness.played import Played, PlayedEdge
from harness.process import Process, until
from harness.tls import Authority
from harness.upstreams import BLOCK, HttpUpstream
from harness.visitor import Visitor

Connecting = Callable[..., Agent]

KEYS = {RESTART: "RestartUnsupportedError", STOP: "StopUnsupportedError", UPDATE: "UpdateUnsupportedError"}
BODIES = {RESTART: b"{}", STOP: b"{}", UPDATE: b'{"Version":"","PermitMajorVersion":false}'}
MANAGED_OFF = "remote management is disabled in this agent's configuration"
BY_PIP = "this agent was installed by a package manager (pip) and does not replace itself; upgrade it there"
BUSY = "another command is being carried out"


def serves(session: Played) -> bool:
    return session.get("/bytes/5").endswith(BLOCK[:5])


# === what is answered


@pytest.mark.parametrize("kind", [STOP, RESTART, UPDATE], ids=["stop", "restart", "update"])
def test_b18_without_remote_management_all_three_are_refused_at_the_login_and_in_the_reply(
    kind: int, played: PlayedEdge, connecting: Connecting, upstream: HttpUpstream
) -> None:
    agent = connecting("http", upstream.url, settings="{remote_management: false}")
    session = played.next().up()
    assert session.auth["Extra"][KEYS[kind]] == MANAGED_OFF
    stream = session.peer.open(kind, BODIES[kind])
    assert stream.json() == {"Error": MANAGED_OFF}
    assert stream.everything() == b""
    assert serves(session)
    assert agent.process.running()


def test_b18_what_a_package_manager_brought_does_not_update_itself(
    played: PlayedEdge, connecting: Connecting, upstream: HttpUpstream
) -> None:
    agent = connecting("http", upstream.url)
    session = played.next().up()
    assert session.auth["Extra"]["UpdateUnsupportedError"] == BY_PIP
    assert session.peer.open(UPDATE, BODIES[UPDATE]).json() == {"Error": BY_PIP}
    assert serves(session)
    assert agent.process.running()


def test_b18_a_restart_is_answered_and_goes_on_in_the_same_process(
    played: PlayedEdge, connecting: Connecting, upstream: HttpUpstream
) -> None:
    agent = connecting("http", upstream.url)
    session = played.next().up()
    assert session.auth["Extra"]["RestartUnsupportedError"] == ""
    command = session.peer.open(RESTART, b"{}")
    assert command.everything() == b"{}", "the reply, and its end, before anything happens"
    asked = agent.process.wait_for("received restart request")
    assert (asked["obj"], asked["from"], asked["lvl"]) == ("app", "remote", "info")
    unbind = session.peer.accept(UNBIND)
    unbind.answer({"Error": ""})
    session.closed()
    assert session.peer.goaway is not None
    again = played.next().up()
    assert again.auth["ClientId"] == "", "it begins from the beginning"
    assert serves(again)
    assert agent.process.running()
    # Everything that makes a start was done anew, by the same process and no other.
    starts = [record for record in agent.process.records() if record["msg"] == "starting web service"]
    assert len(starts) == 2


@pytest.mark.parametrize("second", [STOP, RESTART], ids=["stop", "restart"])
def test_b18_of_two_commands_at_once_the_second_is_refused(
    second: int, played: PlayedEdge, connecting: Connecting, upstream: HttpUpstream
) -> None:
    agent = connecting("http", upstream.url)
    session = played.next().up()
    first = session.peer.open(RESTART, b"{}")
    # The first has begun, and takes as long as an interpreter needs to read a configuration.
    agent.process.wait_for("received restart request")
    assert session.peer.open(second, b"{}").json() == {"Error": BUSY}
    assert first.everything() == b"{}"
    played.next().up()


def test_a_restart_that_is_refused_leaves_room_for_the_next_command(
    played: PlayedEdge, connecting: Connecting, upstream: HttpUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "wanted.yml"
    good = f"version: 3\nendpoints: [{{name: a, upstream: {{url: {upstream.port}}}}}]\n"
    path.write_text(good)
    agent = connecting("start", "--all", "--config", str(path))
    session = played.next().up()
    path.write_text("version: 4\n")
    for _ in range(2):
        assert "unknown version" in session.peer.open(RESTART, b"{}").json()["Error"]
    path.write_text(good)
    assert session.peer.open(RESTART, b"{}").everything() == b"{}"
    played.next().up()
    assert agent.process.running()


# === over a real edge, as its operator does it


@pytest.fixture
def operate(edge: Edge, agents: Agents) -> Callable[..., Process]:
    """Runs `portway edge agents …` of this edge."""

    def run(*words: str) -> Process:
        done = agents.run("edge", "agents", *words, "--data-dir", str(edge.data), log=False)
        done.wait()
        return done

    return run


def session_of(edge: Edge) -> str:
    return str(edge.process.wait_for("agent connected")["id"])


def config(agents: Agents, *lines: str) -> Path:
    path = agents.home / "wanted.yml"
    path.write_text("version: 3\nendpoints:\n" + "".join(f"- {line}\n" for line in lines))
    return path


def endpoint(name: str, upstream: HttpUpstream, more: str = "") -> str:
    return f"{{name: {name}, url: 'http://{name}.localhost', upstream: {{url: {upstream.port}}}{more}}}"


def test_b18_a_restart_reads_the_configuration_anew(
    edge: Edge, agents: Agents, upstream: HttpUpstream, operate: Callable[..., Process]
) -> None:
    path = config(agents, endpoint("one", upstream))
    agent = agents.agent("start", "--all", "--config", str(path))
    agent.up()
    config(agents, endpoint("one", upstream), endpoint("two", upstream))
    before = agent.process.position
    assert operate("restart", session_of(edge)).popen.returncode == 0
    urls = agent.up(2, since=before)
    assert {urlsplit(url).hostname for url in urls} == {"one.localhost", "two.localhost"}
    for url in urls:
        with Visitor(edge, url) as visitor:
            assert visitor.get("/status/204").status == 204
    assert agent.process.stop() == 0


@pytest.mark.parametrize("broken", ["key", "policy file", "certificate", "pem", "file gone"])
def test_b18_a_restart_into_what_is_broken_is_refused_with_the_reason(
    broken: str,
    edge: Edge,
    agents: Agents,
    upstream: HttpUpstream,
    authority: Authority,
    operate: Callable[..., Process],
) -> None:
    path = config(agents, endpoint("one", upstream))
    agent = agents.agent("start", "--all", "--config", str(path))
    agent.up()
    pem = agents.home / "broken.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n")
    termination = "agent_tls_termination: {server_certificate: %s, server_private_key: %s}"
    said = {
        "key": ("colour: red", "unknown key"),
        "policy file": ("traffic_policy_file: /nowhere/policy.yml", "/nowhere/policy.yml"),
        "certificate": (termination % ("/nowhere/crt.pem", "/nowhere/key.pem"), "/nowhere/"),
        "pem": (termination % (pem, pem), "two"),
        "file gone": ("", "no such file"),
    }
    line, reason = said[broken]
    if broken == "file gone":
        path.unlink()
    else:
        kind = "tls" if line.startswith("agent_tls") else "http"
        address = f"{{name: two, url: '{kind}://two.localhost', upstream: {{url: {upstream.port}}}, {line}}}"
        config(agents, endpoint("one", upstream), address)
    refused = operate("restart", session_of(edge))
    assert refused.popen.returncode == 1
    assert "ERR_NGROK_808" in refused.text("err")
    assert reason in refused.text("err").lower()
    assert agent.process.wait_for("request refused")["lvl"] == "warn"
    assert agent.get("/status/204").status == 204
    assert not [record for record in agent.process.records() if record["msg"] == "session closing"]


def test_b18_a_stop_from_the_edge_is_an_end_in_order(
    edge: Edge, agents: Agents, upstream: HttpUpstream, operate: Callable[..., Process]
) -> None:
    agent = agents.http(upstream.url)
    agent.up()
    done = operate("stop", session_of(edge))
    assert (done.popen.returncode, agent.process.wait()) == (0, 0)


def test_what_an_agent_does_not_do_is_an_error_with_its_words(
    edge: Edge, agents: Agents, upstream: HttpUpstream, operate: Callable[..., Process]
) -> None:
    agents.http(upstream.url).up()
    refused = operate("update", session_of(edge))
    assert refused.popen.returncode == 1
    assert BY_PIP in refused.text("err")
    assert "ERROR:  ERR_NGROK_806" in refused.text("err").splitlines()


def test_the_operator_sees_who_is_connected(
    edge: Edge, agents: Agents, upstream: HttpUpstream, operate: Callable[..., Process]
) -> None:
    agent = agents.http(upstream.url, "--metadata", "of the endpoint")
    url = agent.url
    (told,) = json.loads(operate("list", "--json").text("out"))
    assert told["id"] == session_of(edge)
    assert (told["urls"], told["ip"], told["leg"]) == ([url], "127.0.0.1", 0)
    assert told["user_agent"].startswith("portway/")
    line = operate("list").text("out")
    assert re.match(rf"{told['id']}  .*{re.escape(url)}$", line)
    agent.kill()
    until("it is gone", lambda: operate("list").text("out") == "")


def test_a_session_that_is_not_there_is_told_so(edge: Edge, operate: Callable[..., Process]) -> None:
    for words, said in (
        (("stop", "ts_0"), "no agent has the session"),
        (("restart", "no words; here"), "is no session"),
        (("update", "ts_0", "--to", "a version"), "is no version"),
    ):
        done = operate(*words)
        assert done.popen.returncode == 1
        assert said in done.text("err")
