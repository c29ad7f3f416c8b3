"""WebSockets through an edge, with a client and a server of a library that minds every rule of RFC 6455."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_websocket
from websockets.sync.server import ServerConnection, serve

from harness.agents import Agent
from harness.process import PATIENCE
from harness.raw import RawVisitor
from harness.site import Site
from harness.upstreams import BLOCK
from harness.visitor import dial

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


def visit(site: Site, agents: dict[str, Agent], scheme: str, path: str = "/", **how: Any) -> ClientConnection:
    url = agents[scheme].url
    io = dial(site.edge, url, ["http/1.1"])
    how = {"max_size": None, "proxy": None, **how}
    connection: ClientConnection = open_websocket(f"ws://{url.split('://')[1]}{path}", sock=io, **how)
    return connection


@BOTH
def test_messages_of_all_sizes_come_back(site: Site, agents: dict[str, Agent], scheme: str) -> None:
    with visit(site, agents, scheme) as connection:
        for message in ("hello", b"\x00\xff" * 10, "", b"", "é" * 100_000, "x" * 125, "x" * 126, "x" * 65_536):
            connection.send(message)
            assert connection.recv() == message
        big = BLOCK * (5 * MIB // len(BLOCK))
        connection.send(big)
        assert connection.recv() == big


@BOTH
def test_messages_in_parts_stay_in_parts(site: Site, agents: dict[str, Agent], scheme: str) -> None:
    with visit(site, agents, scheme) as connection:
        connection.send(part for part in (b"a" * 70_000, b"", b"b" * 3))
        assert connection.recv() == b"a" * 70_000 + b"bbb"
        connection.send("in parts")
        assert list(connection.recv_streaming()) == ["one, ", "two, ", "three", ""]


@BOTH
def test_pings_are_answered_by_who_is_pinged(site: Site, agents: dict[str, Agent], scheme: str) -> None:
    with visit(site, agents, scheme) as connection:
        assert connection.ping(b"are you there?").wait(PATIENCE)
        connection.send("ping me")
        assert connection.recv() == "pong"


@BOTH
def test_the_reason_of_a_close_arrives_on_the_other_side(
    site: Site, agents: dict[str, Agent], server: Server, scheme: str
) -> None:
    with visit(site, agents, scheme) as connection:
        connection.send("close")
        with pytest.raises(ConnectionClosedError) as ended:
            connection.recv()
        assert ended.value.rcvd
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (4321, "as asked")
    for code, reason in ((CloseCode.NORMAL_CLOSURE, ""), (4000, "enough")):
        path = f"/{scheme}/{int(code)}"
        with visit(site, agents, scheme, path) as connection:
            connection.close(code, reason)
        heard = server.end(path)
        assert isinstance(heard, ConnectionClosedOK if code == CloseCode.NORMAL_CLOSURE else ConnectionClosedError)
        assert heard.rcvd
        assert (heard.rcvd.code, heard.rcvd.reason) == (code, reason)


def test_who_vanishes_is_noticed_on_the_other_side(site: Site, agents: dict[str, Agent], server: Server) -> None:
    with visit(site, agents, "http", "/vanishes") as connection:
        connection.send("hello")
        assert connection.recv() == "hello"
        connection.socket.shutdown(socket.SHUT_RDWR)
    assert server.end("/vanishes").rcvd is None
    with visit(site, agents, "http") as connection:
        connection.send("vanish")
        with pytest.raises(ConnectionClosedError) as ended:
            connection.recv()
        assert ended.value.rcvd is None


def test_what_both_sides_agree_on_passes(site: Site, agents: dict[str, Agent]) -> None:
    with visit(site, agents, "https", subprotocols=["chat.v1", "chat.v2"]) as connection:
        assert connection.subprotocol == "chat.v2"
        assert [extension.name for extension in connection.protocol.extensions] == ["permessage-deflate"]
    with visit(site, agents, "https", compression=None) as connection:
        assert connection.protocol.extensions == []
        connection.send("plain")
        assert connection.recv() == "plain"


def test_a_server_that_declines_is_heard(site: Site, agents: dict[str, Agent]) -> None:
    with pytest.raises(InvalidStatus) as declined:
        visit(site, agents, "https", "/closed")
    assert declined.value.response.status_code == 403
    assert declined.value.response.body == b"not you\n"


def test_many_at_once_do_not_mix_up_their_messages(site: Site, agents: dict[str, Agent]) -> None:
    with ExitStack() as held:
        connections = [held.enter_context(visit(site, agents, "https")) for _ in range(20)]
        for round_ in range(5):
            for number, connection in enumerate(connections):
                connection.send(f"{number}: {round_}")
            for number, connection in enumerate(connections):
                assert connection.recv() == f"{number}: {round_}"


def test_a_request_that_asks_for_another_protocol_has_no_body(site: Site, agents: dict[str, Agent]) -> None:
    with RawVisitor.to(site.edge, agents["http"].url) as raw:
        host = agents["http"].url.split("://")[1]
        lines = ("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 5")
        raw.send("\r\n".join([f"GET / HTTP/1.1\r\nHost: {host}", *lines, "", "hello"]).encode())
        assert raw.response().status == 400
        assert raw.closed()
