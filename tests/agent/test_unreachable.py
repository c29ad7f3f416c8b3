"""The page of an upstream that is down, from the agent and from the edge (agent-behaviour.md §5, §16 case 15)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from harness.agents import Agent, Agents
from harness.http2 import Http2Visitor, request
from harness.played import Played, PlayedEdge
from harness.raw import RawVisitor, head
from harness.upstreams import BLOCK, Listening, Loop, Upstreams

Connecting = Callable[..., Agent]

BROWSER = ("Accept: text/html,*/*;q=0.8", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)")
CODE = "ERR_NGROK_8012"
MANY = 10 << 20


# === what the agent says, to an edge that is not ours


@pytest.fixture
def down(upstreams: Upstreams) -> str:
    return upstreams.refusing()


@pytest.fixture
def session(played: PlayedEdge, connecting: Connecting, down: str) -> Played:
    connecting("http", down)
    return played.next().up()


def asked(session: Played, method: str, *lines: str, body: bytes = b"") -> tuple[str, bytes]:
    """Head and body of what comes back."""
    first = "\r\n".join([f"{method} / HTTP/1.1", "Host: played.test", *lines, "", ""]).encode() + body
    answer = session.visit(first).everything()
    came, _, rest = answer.partition(b"\r\n\r\n")
    return came.decode().lower(), rest


def test_b15_the_agents_page_is_text_or_for_a_browser_a_page(session: Played, down: str) -> None:
    told, body = asked(session, "GET")
    assert told.startswith("http/1.1 502 bad gateway\r\n")
    assert "content-type: text/plain; charset=utf-8" in told
    assert f"content-length: {len(body)}" in told
    assert "connection: close" in told
    message, code = body.decode().split("\r\n\r\n")
    assert down in message
    assert "refused" in message
    assert code == f"{CODE}\r\n"

    told, body = asked(session, "GET", *BROWSER)
    assert "content-type: text/html; charset=utf-8" in told
    assert body.startswith(b"<!doctype html>")
    assert body.decode().count(CODE) == 1
    assert not re.search(rb"(src|href)=", body), "nothing is fetched from elsewhere"


def test_b15_the_answer_to_head_is_a_head(session: Played) -> None:
    told, body = asked(session, "HEAD")
    assert told.startswith("http/1.1 502 ")
    assert body == b""


def test_b15_a_large_body_is_not_read_to_its_end(session: Played) -> None:
    stream = session.visit(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {MANY}\r\n\r\n".encode())
    stream.send(BLOCK)
    answer = stream.everything()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert CODE.encode() in answer
    small, _ = asked(session, "POST", "Content-Length: 5", body=b"hello")
    assert small.startswith("http/1.1 502 ")


def test_b15_who_waits_to_be_told_to_send_is_not(session: Played) -> None:
    told, _ = asked(session, "POST", "Content-Length: 5", "Expect: 100-continue")
    assert told.startswith("http/1.1 502 ")


# === what visitors of our edge see


def test_b15_ten_megabytes_to_an_upstream_that_is_down_are_answered(agents: Agents, down: str) -> None:
    agent = agents.http(down, url="http://")
    host = agent.url.removeprefix("http://")
    with RawVisitor.to(agents.edge, agent.url) as raw:
        raw.send_leniently(head(host, "POST", "/", f"Content-Length: {MANY}"))
        raw.send_leniently(BLOCK * (MANY // len(BLOCK)))
        answer = raw.response()
        assert (answer.status, answer.head.get("ngrok-error-code")) == (502, CODE)
    assert agent.get().code == CODE


def test_b15_a_kept_connection_outlives_the_page(agents: Agents, down: str) -> None:
    agent = agents.http(down)
    with agent.visitor() as visitor:
        for method, body in (("GET", None), ("HEAD", None), ("POST", b"some"), ("GET", None)):
            answer = visitor.ask(method, "/", body=body)
            assert (answer.status, answer.code) == (502, CODE)


@pytest.mark.parametrize("flags", [(), ("--upstream-protocol", "http2")], ids=["http1", "http2"])
def test_b15_visitors_of_both_versions_get_the_page(flags: tuple[str, ...], agents: Agents, down: str) -> None:
    """In HTTP/2 to the agent as well as in HTTP/1.1."""
    agent = agents.http(down, *flags)
    assert (agent.get().status, agent.get().code) == (502, CODE)
    with Http2Visitor(agents.edge, agent.url) as visitor:
        host = agent.url.removeprefix("https://")
        for _ in range(2):
            exchange = visitor.ask(request(host))
            assert (exchange.status, exchange.fields["ngrok-error-code"]) == (502, CODE)
            assert down in exchange.body.decode()
        posted = visitor.ask(request(host, method="POST"), body=BLOCK)
        assert (posted.status, posted.fields["ngrok-error-code"]) == (502, CODE)


class Impostor(Listening):
    """An upstream that speaks as an agent does of an upstream that is down."""

    def __init__(self, loop: Loop, *lines: str) -> None:
        self.lines = lines
        super().__init__(loop)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write("\r\n".join(["HTTP/1.1 502 Bad Gateway", "Content-Length: 4", *self.lines, "", "mine"]).encode())
        await writer.drain()


@pytest.mark.parametrize("ways", [(), ("--cidr-allow", "0.0.0.0/0")], ids=["short", "long"])
@pytest.mark.parametrize(
    "lines",
    [
        (f"Portway-Agent-Error: {CODE} guessed The agent cannot reach the upstream.",),
        (f"Portway-Agent-Error: {CODE}",),
        ("Portway-Agent-Error: ",),
        (f"Portway-Agent-Error: {CODE} a no", f"Portway-Agent-Error: {CODE} b no"),
        (f"Ngrok-Error-Code: {CODE}",),
    ],
)
def test_b15_an_upstream_that_forges_it_is_shown_as_what_it_is(
    lines: tuple[str, ...], ways: tuple[str, ...], agents: Agents, upstreams: Upstreams
) -> None:
    impostor = Impostor(upstreams.loop, *lines)
    upstreams.made.append(impostor)
    answer = agents.http(impostor.address, *ways).get()
    assert (answer.status, answer.body) == (502, b"mine")
    assert answer.code is None
    assert answer.headers["portway-agent-error"] is None


def test_b15_the_token_of_the_bind_never_reaches_an_upstream_nor_a_visitor(
    agents: Agents, upstreams: Upstreams, down: str
) -> None:
    upstream = upstreams.http()
    agent = agents.http(upstream.url)
    assert agent.get().status == 200
    assert b"portway-agent" not in bytes(upstream.raw[-1]).lower()
    answer = agents.http(down).get()
    assert answer.code == CODE
    assert answer.headers["portway-agent-error"] is None
