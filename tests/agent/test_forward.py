"""Upstreams of all kinds behind our own agent, beyond what a first URL needs (agent-behaviour.md §4, §5)."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack
from pathlib import Path

from harness.agents import Agent, Agents
from harness.edge import address
from harness.process import PATIENCE, until
from harness.tls import Authority
from harness.upstreams import Upstreams


def echoed(agent: Agent, said: bytes) -> bytes:
    """What a TCP endpoint in front of an echo sends back."""
    with socket.create_connection(address(agent.url.removeprefix("tcp://")), PATIENCE) as visitor:
        visitor.sendall(said)
        answer = b""
        while len(answer) < len(said) and (part := visitor.recv(1 << 16)):
            answer += part
        return answer


def test_a_tls_upstream_gets_tls_from_the_agent(alone: Agents, upstreams: Upstreams, authority: Authority) -> None:
    echo = upstreams.echo(tls=authority.pair("127.0.0.1").serving())
    said = b"plain here, TLS there" * 10_000
    assert echoed(alone.tcp(f"tls://{echo.address}"), said) == said


def test_an_https_upstream_is_verified_only_when_asked(
    alone: Agents, upstreams: Upstreams, authority: Authority
) -> None:
    https = upstreams.http(tls=authority.pair("127.0.0.1").serving())
    assert alone.http(https.url).get("/bytes/3").status == 200
    ours = alone.http(https.url, "--upstream-tls-verify", "--upstream-tls-verify-cas", str(authority.pem))
    assert ours.get("/bytes/3").status == 200
    refused = alone.http(https.url, "--upstream-tls-verify").get("/bytes/3")
    assert (refused.status, refused.code) == (502, "ERR_NGROK_8012")
    assert "certificate" in refused.text


def test_a_folder_shows_what_is_in_it_only_when_asked(alone: Agents, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "a<b.txt").write_text("x")
    hidden = alone.http(f"file://{folder}").get("/")
    assert hidden.status in (403, 404)
    assert "a" + "&lt;" not in hidden.text
    shown = alone.http(f"file://{folder}", "--file-listing").get("/")
    assert shown.status == 200
    assert "a&lt;b.txt" in shown.text


def test_who_leaves_an_upstream_that_never_answers_lets_it_go(alone: Agents, upstreams: Upstreams) -> None:
    http = upstreams.http()
    agent = alone.http(http.url)
    host = agent.url.removeprefix("http://")
    visitor = socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), PATIENCE)
    visitor.sendall(f"GET /slow HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    http.wait_waiting(1)
    visitor.close()
    http.wait_open(0)
    assert agent.get("/bytes/3").status == 200


# === open files


def limited(agents: Agents, upstream: str, files: int) -> Agent:
    """An agent that may have so many files open."""
    return Agent(agents.run("http", upstream, within=["prlimit", f"--nofile={files}:{files}"]), agents.edge)


def test_at_its_limit_of_connections_an_agent_says_so_and_recovers(agents: Agents, upstreams: Upstreams) -> None:
    http = upstreams.http()
    agent = limited(agents, http.url, 80)  # 64 of these are kept for the agent itself
    with ExitStack() as stack:
        waiting = [stack.enter_context(agent.visitor()) for _ in range(16)]
        for visitor in waiting:
            visitor.connection.request("GET", "/slow", headers={"Host": visitor.host})
        http.wait_waiting(16)
        for _ in range(4):
            refused = agent.get("/bytes/3")
            assert (refused.status, refused.code) == (503, "ERR_NGROK_724")
        told = agent.process.wait_for("connection refused")
        assert (told["lvl"], told["limit"], told["err"]) == ("warn", "16", "too many open connections")
        http.release_when_waiting()
        assert {visitor.connection.getresponse().status for visitor in waiting} == {200}
    http.wait_open(0)
    until("it has room again", lambda: agent.get("/bytes/3").status == 200)
    assert [r["msg"] for r in agent.process.records()].count("connection refused") == 1, "once a minute is enough"


def test_without_a_file_left_an_agent_says_so_and_recovers(agents: Agents, upstreams: Upstreams) -> None:
    http = upstreams.http()
    agent = limited(agents, http.url, 200)
    agent.up()
    # Lower than it was when the agent looked: it may have no file beyond those it has.
    pid = agent.process.pid
    there = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    first_free = min(set(range(len(there) + 1)) - there)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (first_free, 200))
    refused = agent.get("/bytes/3")
    assert (refused.status, refused.code) == (502, "ERR_NGROK_8012")
    assert "too many files open" in refused.text
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (200, 200))
    assert agent.get("/bytes/3").status == 200
