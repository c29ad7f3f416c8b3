"""WebSockets through an edge, with a client and a server of a library that minds every rule of RFC 6455."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from harness.agents import Agent
from harness.process import PATIENCE
from harness.raw import RawVisitor
from harness.site import Site
from harness.upstreams import BLOCK
from harness.visitor import trusting

MIB = 1 << 20
BOTH = pytest.mark.parametrize("scheme", ["http", "https"])


class Server:
    """Sends back what comes, text as text; some words it takes as an order."""

    def __init__(self) -> None:
        self.ended: dict[str, ConnectionClosed] = {}
        self.came = threading.Condition()
        self._server = serve(
            self._talk,
            "127.0.0.1",
            0,
            max_size=None,
            select_subprotocol=self._choose,  # type: ignore[arg-type]
            process_request=self._admit,
        )
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _choose(self, _: ServerConnection, offered: Sequence[str]) -> str | None:
        return offered[-1] if offered else None

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(403, "not you\n") if request.path == "/closed" else None

    def _talk(self, connection: ServerConnection) -> None:
        try:
            while True:
                message = connection.recv()
                if message == "close":
                    connection.close(4321, "as asked")
                elif message == "in parts":
                    connection.send(part for part in ("one, ", "two, ", "three"))
                elif message == "ping me":
                    connection.send("pong" if connection.ping().wait(PATIENCE) else "no pong")
                elif message == "vanish":
                    connection.socket.shutdown(socket.SHUT_RDWR)
                else:
                    connection.send(message)
        except ConnectionClosed as ended:
            with self.came:
                self.ended[connection.request.path if connection.request else ""] = ended
                self.came.notify_all()

    def end(self, path: str) -> ConnectionClosed:
        """How the connection to this path has ended."""
        with self.came:
            assert self.came.wait_for(lambda: path in self.ended, PATIENCE), "it has not ended"
            return self.ended.pop(path)

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(10)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def agents(site: Site, server: Server) -> dict[str, Agent]:
    """In front of the server, by scheme."""
    return {
        "http": site.agents.http(str(server.port), url="http://"),
        "https": site.agents.http(str(server.port)),
    }


def visit(site: Site, agents: dict[str, Agent], scheme: str, path: str = "/", **how: Any) -> connect:
    """A connection, to be entered. (The library's other client reads and writes TLS from two threads, which Python's
    ssl does not survive.)
    """
    parts = urlsplit(agents[scheme].url)
    if scheme == "https":
        how |= {"ssl": trusting(site.edge, ["http/1.1"]), "server_hostname": parts.hostname}
    address = f"{'wss' if scheme == 'https' else 'ws'}://{parts.netloc}{path}"
    io = site.edge.connect(site.edge.https if scheme == "https" else site.edge.http)
    return connect(address, sock=io, **{"max_size": None, "proxy": None, "open_timeout": PATIENCE, **how})


def talk(conversation: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(conversation, PATIENCE))


@BOTH
def test_messages_of_all_sizes_come_back(site: Site, agents: dict[str, Agent], scheme: str) -> None:
    async def conversation() -> None:
        async with visit(site, agents, scheme) as connection:
            for message in ("hello", b"\x00\xff" * 10, "", b"", "é" * 100_000, "x" * 125, "x" * 126, "x" * 65_536):
                await connection.send(message)
                assert await connection.recv() == message
            big = BLOCK * (5 * MIB // len(BLOCK))
            await connection.send(big)
            assert await connection.recv() == big

    talk(conversation())


@BOTH
def test_messages_in_parts_stay_in_parts(site: Site, agents: dict[str, Agent], scheme: str) -> None:
    async def conversation() -> None:
        async with visit(site, agents, scheme) as connection:
            await connection.send(part for part in (b"a" * 70_000, b"", b"b" * 3))
            assert await connection.recv() == b"a" * 70_000 + b"bbb"
            await connection.send("in parts")
            assert [part async for part in connection.recv_streaming()] == ["one, ", "two, ", "three", ""]

    talk(conversation())


@BOTH
def test_pings_are_answered_by_who_is_pinged(site: Site, agents: dict[str, Agent], scheme: str) -> None:
    async def conversation() -> None:
        async with visit(site, agents, scheme) as connection:
            await (await connection.ping(b"are you there?"))
            await connection.send("ping me")
            assert await connection.recv() == "pong"

    talk(conversation())


@BOTH
def test_the_reason_of_a_close_arrives_at_the_visitor(site: Site, agents: dict[str, Agent], scheme: str) -> None:
    async def conversation() -> None:
        async with visit(site, agents, scheme) as connection:
            await connection.send("close")
            with pytest.raises(ConnectionClosedError) as ended:
                await connection.recv()
        assert ended.value.rcvd
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (4321, "as asked")

    talk(conversation())


@BOTH
@pytest.mark.parametrize(("code", "reason"), [(CloseCode.NORMAL_CLOSURE, ""), (4000, "enough")])
def test_the_reason_of_a_close_arrives_at_the_upstream(
    site: Site, agents: dict[str, Agent], server: Server, scheme: str, code: int, reason: str
) -> None:
    path = f"/{scheme}/{int(code)}"

    async def conversation() -> None:
        async with visit(site, agents, scheme, path) as connection:
            await connection.close(code, reason)

    talk(conversation())
    heard = server.end(path)
    assert isinstance(heard, ConnectionClosedOK if code == CloseCode.NORMAL_CLOSURE else ConnectionClosedError)
    assert heard.rcvd
    assert (heard.rcvd.code, heard.rcvd.reason) == (code, reason)


@BOTH
def test_who_vanishes_is_noticed_on_the_other_side(
    site: Site, agents: dict[str, Agent], server: Server, scheme: str
) -> None:
    path = f"/{scheme}/vanishes"

    async def conversation() -> None:
        async with visit(site, agents, scheme, path) as connection:
            await connection.send("hello")
            assert await connection.recv() == "hello"
            connection.transport.abort()
        async with visit(site, agents, scheme) as connection:
            await connection.send("vanish")
            with pytest.raises(ConnectionClosedError) as ended:
                await connection.recv()
            assert ended.value.rcvd is None

    talk(conversation())
    assert server.end(path).rcvd is None


def test_what_both_sides_agree_on_passes(site: Site, agents: dict[str, Agent]) -> None:
    async def conversation() -> None:
        async with visit(site, agents, "https", subprotocols=["chat.v1", "chat.v2"]) as connection:
            assert connection.subprotocol == "chat.v2"
            assert [extension.name for extension in connection.protocol.extensions] == ["permessage-deflate"]
        async with visit(site, agents, "https", compression=None) as connection:
            assert connection.protocol.extensions == []
            await connection.send("plain")
            assert await connection.recv() == "plain"

    talk(conversation())


def test_a_server_that_declines_is_heard(site: Site, agents: dict[str, Agent]) -> None:
    async def conversation() -> None:
        with pytest.raises(InvalidStatus) as declined:
            async with visit(site, agents, "https", "/closed"):
                pass
        assert declined.value.response.status_code == 403
        assert declined.value.response.body == b"not you\n"

    talk(conversation())


def test_many_at_once_do_not_mix_up_their_messages(site: Site, agents: dict[str, Agent]) -> None:
    async def conversation() -> None:
        async with AsyncExitStack() as held:
            connections = [await held.enter_async_context(visit(site, agents, "https")) for _ in range(50)]
            for round_ in range(5):
                for number, connection in enumerate(connections):
                    await connection.send(f"{number}: {round_}")
                for number, connection in enumerate(connections):
                    assert await connection.recv() == f"{number}: {round_}"

    talk(conversation())


def test_a_request_that_asks_for_another_protocol_has_no_body(site: Site, agents: dict[str, Agent]) -> None:
    with RawVisitor.to(site.edge, agents["http"].url) as raw:
        host = agents["http"].url.split("://")[1]
        lines = ("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 5")
        raw.send("\r\n".join([f"GET / HTTP/1.1\r\nHost: {host}", *lines, "", "hello"]).encode())
        assert raw.response().status == 400
        assert raw.closed()
