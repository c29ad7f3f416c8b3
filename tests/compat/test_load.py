"""Many visitors at a time, and many who leave early, through one session of an official SDK."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from harness.edge import Edge
from harness.process import PATIENCE
from harness.sdk import Sdks, Want, each
from harness.upstreams import Upstreams
from harness.visitor import Visitor, dial

# More than a session of an SDK made in Rust can carry at a time (wire-protocol §2.10).
MANY = 600
LEAVING = 700
RESET = struct.pack("ii", 1, 0)


def request(url: str, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.split("content-length:")[1].split("\r\n")[0])
    return int(head.split(" ")[1]), await reader.readexactly(length)


@each()
def test_many_visitors_at_a_time_are_all_served(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.http()
    sdk = sdks.run(kind, Want("http", upstream.url, f"http://many-{kind}.localhost"))
    url = sdk.url

    async def all_at_once() -> list[tuple[int, bytes]]:
        opened = await asyncio.gather(*(asyncio.open_connection(*edge.http) for _ in range(MANY)))
        for _, writer in opened:
            writer.write(request(url, "/slow"))
        # Only once so many are inside, the first are let go; the rest of the waiting ones follow.
        await asyncio.to_thread(upstream.wait_waiting, 300)
        answers = asyncio.gather(*(answer(reader) for reader, _ in opened))
        while not answers.done():
            upstream.release()
            await asyncio.sleep(0.01)  # a turn for the others, nothing is concluded from it
        for _, writer in opened:
            writer.close()
        return await answers

    answers = asyncio.run(asyncio.wait_for(all_at_once(), 4 * PATIENCE))
    assert answers == [(200, b"at last")] * MANY
    assert sdk.get("/status/204").status == 204
    assert len(sdk.told("session")) == 1


@each()
def test_visitors_who_keep_their_connection_take_nobodys_place(
    sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str
) -> None:
    sdk = sdks.run(kind, Want("http", upstreams.http().url, f"http://kept-{kind}.localhost"))
    url = sdk.url
    with contextlib.ExitStack() as kept:
        for number in range(MANY):
            visitor = kept.enter_context(Visitor(edge, url))
            assert visitor.get("/status/204").status == 204, f"visitor {number}"


@each()
def test_visitors_who_leave_in_the_middle_leave_nothing_behind(
    sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str
) -> None:
    since = edge.process.position
    upstream = upstreams.http()
    sdk = sdks.run(kind, Want("http", upstream.url, f"http://leaving-{kind}.localhost"))
    url = sdk.url
    connected = edge.process.wait_for("agent connected", since)
    for _ in range(LEAVING):
        with dial(edge, url) as io:
            io.sendall(request(url, "/bytes/1000000000"))
            assert io.recv(1000).startswith(b"HTTP/1.1 200")
            io.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    upstream.wait_open(0)
    assert upstream.connections == LEAVING
    assert sdk.get("/status/204").status == 204
    gone = [record for record in edge.process.records(since) if record["msg"] == "agent disconnected"]
    assert connected["id"] not in {record["id"] for record in gone}


@each()
def test_tcp_visitors_who_leave_in_the_middle_leave_nothing_behind(
    sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str
) -> None:
    upstream = upstreams.http()
    sdk = sdks.run(kind, Want("tcp", f"tcp://{upstream.address}"))
    url = sdk.url
    for _ in range(LEAVING):
        with dial(edge, url) as io:
            io.sendall(request(url, "/bytes/1000000000"))
            assert io.recv(1000).startswith(b"HTTP/1.1 200")
            io.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    upstream.wait_open(0)
    with dial(edge, url) as io:
        io.sendall(request(url, "/status/204"))
        assert io.recv(1000).startswith(b"HTTP/1.1 204")
    assert len(sdk.told("session")) == 1


@contextlib.contextmanager
def besieged(edge: Edge, url: str, visitors: int) -> Iterator[list[list[tuple[int, str | None]]]]:
    """Visitors of a URL, each asking again and again until it has been served some times."""
    told: list[list[tuple[int, str | None]]] = [[] for _ in range(visitors)]

    def ask(answers: list[tuple[int, str | None]]) -> None:
        with Visitor(edge, url) as visitor:
            while sum(status == 204 for status, _ in answers) < 5:
                answer = visitor.get("/status/204")
                answers.append((answer.status, answer.code))

    threads = [threading.Thread(target=ask, args=(answers,)) for answers in told]
    for thread in threads:
        thread.start()
    yield told
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), told


@each()
def test_the_first_visitor_of_a_new_endpoint_is_not_lost(
    sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str
) -> None:
    """Visitors come before the bind, during it and after it: first nobody is there, then all are served."""
    upstream = upstreams.http()
    sdk = sdks.run(kind)
    sdk.event("session")
    for number in range(10):
        url = f"http://first-{number}-{kind}.localhost"
        with besieged(edge, url, 4) as told:
            sdk.bind(Want("http", upstream.url, url))
            sdk.event("up", number + 1)
        for answers in told:
            assert sorted(answers, reverse=True) == answers, "who was served once is served from then on"
            assert set(answers) <= {(404, "ERR_NGROK_3200"), (204, None)}
