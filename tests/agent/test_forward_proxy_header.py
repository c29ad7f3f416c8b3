"""PROXY headers in front of what the agent sends an upstream (agent-behaviour.md §4.2, §16 case 16).

That every kind of endpoint has them is seen in tests/edge/test_proxy_protocol.py; here is what is behind the header.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from harness.agents import Agents
from harness.edge import address
from harness.process import until
from harness.tls import Authority
from harness.upstreams import RecordingUpstream, Upstreams
from harness.visitor import dial

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

both = pytest.mark.parametrize("version", ["1", "2"])


def behind_header(upstream: RecordingUpstream, version: str, length: int = 3) -> bytes:
    """What the last connection holds behind its header, once so much has come."""

    def rest() -> bytes | None:
        came = bytes(upstream.received[-1]) if upstream.received else b""
        if version == "1":
            line, mark, rest = came.partition(b"\r\n")
            assert line.startswith(b"PROXY TCP4 127.0.0.1 "[: len(line)])
            return rest if mark and len(rest) >= length else None
        assert came.startswith(SIGNATURE[: len(came)])
        return came[28:] if len(came) >= 28 + length else None

    return until("what is behind the header", rest)


@both
def test_b16_the_header_comes_in_front_of_the_tls_of_the_upstream(
    version: str, agents: Agents, upstreams: Upstreams
) -> None:
    for start, url in ((agents.http, "https://"), (agents.tcp, "tls://")):
        upstream = upstreams.recording()
        agent = start(url + upstream.address, "--upstream-proxy-protocol", version)
        if url == "https://":
            io = dial(agents.edge, agent.url, ["http/1.1"])
            io.sendall(f"GET / HTTP/1.1\r\nHost: {agent.url.removeprefix('https://')}\r\n\r\n".encode())
        else:
            io = dial(None, agent.url.replace("tcp://", "http://"))
            io.sendall(b"hello")
        with io:
            assert behind_header(upstream, version)[:3] == b"\x16\x03\x01", "a handshake"


@both
def test_b16_the_header_comes_in_front_of_the_preface_of_http2(
    version: str, agents: Agents, upstreams: Upstreams
) -> None:
    upstream = upstreams.recording()
    agent = agents.http(upstream.address, "--upstream-proxy-protocol", version, "--upstream-protocol", "http2")
    with dial(agents.edge, agent.url, ["http/1.1"]) as io:
        io.sendall(f"GET / HTTP/1.1\r\nHost: {agent.url.removeprefix('https://')}\r\n\r\n".encode())
        assert behind_header(upstream, version, len(PREFACE)).startswith(PREFACE)


@both
def test_b16_the_header_stays_in_front_where_tls_ends_here_and_begins_again(
    version: str, agents: Agents, upstreams: Upstreams, authority: Authority
) -> None:
    pair = authority.pair("again.localhost")
    flags = ("--crt", str(pair.cert), "--key", str(pair.key), "--upstream-proxy-protocol", version)
    upstream = upstreams.recording()
    agents.tls(f"tls://{upstream.address}", *flags, url="tls://again.localhost").up()
    context = ssl.create_default_context(cafile=str(authority.pem))
    assert agents.edge
    with context.wrap_socket(agents.edge.connect(agents.edge.https), server_hostname="again.localhost") as io:
        io.sendall(b"hello")
        assert behind_header(upstream, version)[:3] == b"\x16\x03\x01"


@both
def test_b16_what_the_agent_answers_itself_has_no_use_for_it(
    version: str, agents: Agents, upstreams: Upstreams, tmp_path: Path
) -> None:
    flags = ("--upstream-proxy-protocol", version)
    down = upstreams.refusing()
    for upstream in (down, f"https://{down}"):
        answer = agents.http(upstream, *flags).get()
        assert (answer.status, answer.code) == (502, "ERR_NGROK_8012")
    (tmp_path / "index.html").write_text("<p>hello")
    folder = agents.http(f"file://{tmp_path}", *flags)
    with folder.visitor() as visitor:
        assert [visitor.get().text for _ in range(2)] == ["<p>hello"] * 2


def test_b16_versions_that_are_none_are_refused(agents: Agents) -> None:
    process = agents.run("http", "8080", "--upstream-proxy-protocol", "3")
    assert process.wait() == 1
    assert "versions 1 and 2" in process.text("err")


def test_b16_each_connection_has_its_own(agents: Agents, upstreams: Upstreams) -> None:
    upstream = upstreams.recording()
    agent = agents.tcp(upstream.address, "--upstream-proxy-protocol", "1")
    to = address(agent.url.removeprefix("tcp://"))
    for number in range(3):
        with dial(None, f"http://localhost:{to[1]}") as io:
            io.sendall(b"hello")
            until("the connection", lambda number=number: len(upstream.received) > number)  # type: ignore[misc]
            assert behind_header(upstream, "1", 5) == b"hello"
            ours = io.getsockname()[1]
            assert bytes(upstream.received[number]).startswith(f"PROXY TCP4 127.0.0.1 127.0.0.1 {ours} ".encode())
        upstream.wait_open(0)
