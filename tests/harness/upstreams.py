"""Upstreams in the test's own process: an HTTP one that records every byte, and TCP ones.

The HTTP upstream reads requests the way the least careful servers do: it takes a bare LF for a line end and the
last of two lengths. Whatever gets past the edge in two readings would show here as a request nobody made.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 30.0
BLOCK = bytes(range(256)) * 256  # 64 KiB


def pattern(length: int) -> Iterator[bytes]:
    """The bytes of `/bytes/N`, in blocks."""
    while length > 0:
        yield BLOCK[:length]
        length -= len(BLOCK)


def pattern_digest(length: int) -> str:
    seen = hashlib.sha256()
    for block in pattern(length):
        seen.update(block)
    return seen.hexdigest()


class Loop:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        async def cancel_all() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(cancel_all(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listening:
    """A listener whose connections are served by `serve`; it can go down and come back on its port."""

    def __init__(
        self, loop: Loop, *, tls: ssl.SSLContext | None = None, unix: Path | None = None, host: str = "127.0.0.1"
    ) -> None:
        self._loop, self._tls, self._unix, self._host = loop, tls, unix, host
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.connections = 0
        self.changed = threading.Condition()
        self.up()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self.changed:
            self.connections += 1
            self._open.add(writer)
            self.changed.notify_all()
        try:
            await self.serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            with self.changed:
                self._open.discard(writer)
                self.changed.notify_all()
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _start(self) -> None:
        if self._unix:
            self._server = await asyncio.start_unix_server(self._accept, str(self._unix), ssl=self._tls)
            return
        self._server = await asyncio.start_server(
            self._accept, self._host, self.port, ssl=self._tls, backlog=4096, limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def up(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop.loop).result(PATIENCE)

    async def _stop(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    def down(self) -> None:
        """Stops listening and resets every connection."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop.loop).result(PATIENCE)

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def wait_open(self, most: int) -> None:
        """Waits until no more than so many connections are open."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self._open) <= most, PATIENCE), f"{len(self._open)} are open"

    def wait_connections(self, count: int) -> None:
        """Waits until so many connections have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.connections >= count, PATIENCE), f"{self.connections} came"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class EchoUpstream(Listening):
    """Sends back what comes; after the visitor's FIN, the rest and its own."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


class RecordingUpstream(Listening):
    """Keeps every byte of every connection, says nothing, and closes after the other side did."""

    def __init__(self, loop: Loop, *, greeting: bytes = b"") -> None:
        self.received: list[bytearray] = []
        self.greeting = greeting
        super().__init__(loop)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept = bytearray()
        self.received.append(kept)
        if self.greeting:
            writer.write(self.greeting)
            await writer.drain()
        while data := await reader.read(1 << 16):
            kept += data


@dataclass
class Seen:
    """One request as the upstream understood it."""

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    body_length: int = 0
    body_sha256: str = ""
    body: bytes = b""  # its first 64 KiB
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """All values of that name, joined; `None` if there is none."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None


class HttpUpstream(Listening):
    """Answers by path:

    `/bytes/N` N known bytes · `/chunked/N` the same without a length · `/status/N` · `/slow` after `release()` ·
    `/events` server-sent events, one for each `release()` · `/close` no answer · `/garbage` no HTTP ·
    `/short` less than promised · `/misframed` chunks longer than said · `/endless/N` ends by hanging up ·
    `/more` a second answer that nobody asked for ·
    `/early` 413 before the body is read · `/trailers` · `/upgrade` echo of raw bytes ·
    `/hints` 103 before the answer · `/location` a redirect to the Host it was asked for · `/forged` an error code of
    the edge in its answer · anything else: the request as JSON.
    """

    def __init__(self, loop: Loop, *, tls: ssl.SSLContext | None = None, unix: Path | None = None) -> None:
        self.seen: list[Seen] = []
        self.raw: list[bytearray] = []
        self.arrived = threading.Condition()
        self._gate = asyncio.Event()
        self._steps = 0
        self._waiting = 0
        super().__init__(loop, tls=tls, unix=unix)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def release(self) -> None:
        """Lets everything that waits in `/slow` and `/events` go one step on."""
        self._loop.loop.call_soon_threadsafe(self._step)

    def release_when_waiting(self) -> None:
        """The same, once somebody waits."""
        self.wait_waiting(1)
        self.release()

    def wait_waiting(self, count: int) -> None:
        """Until so many wait in `/slow` and `/events`."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: self._waiting >= count, PATIENCE), f"{self._waiting} wait"

    def _step(self) -> None:
        self._steps += 1
        old, self._gate = self._gate, asyncio.Event()
        old.set()

    async def _released(self, beyond: int, reader: asyncio.StreamReader) -> None:
        """Waits for a step. Whoever hangs up meanwhile is noticed; nobody pipelines behind these requests."""
        with self.arrived:
            self._waiting += 1
            self.arrived.notify_all()
        gone = asyncio.ensure_future(reader.read(1))
        try:
            while self._steps <= beyond:
                gate = asyncio.ensure_future(self._gate.wait())
                await asyncio.wait({gate, gone}, return_when=asyncio.FIRST_COMPLETED)
                gate.cancel()
                if gone.done():
                    raise asyncio.IncompleteReadError(gone.result(), 1)
        finally:
            gone.cancel()
            with self.arrived:
                self._waiting -= 1

    def wait_requests(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.seen) >= count, PATIENCE), (
                f"{len(self.seen)} of {count} requests"
            )

    # === reading

    async def _line(self, reader: asyncio.StreamReader, kept: bytearray) -> str:
        line = await reader.readline()
        kept += line
        if not line:
            raise asyncio.IncompleteReadError(b"", 1)
        return line.decode("latin-1").rstrip("\r\n")

    async def _fields(self, reader: asyncio.StreamReader, kept: bytearray) -> list[tuple[str, str]]:
        fields: list[tuple[str, str]] = []
        while line := await self._line(reader, kept):
            name, _, value = line.partition(":")
            fields.append((name.strip(), value.strip()))
        return fields

    async def _body(self, reader: asyncio.StreamReader, kept: bytearray, seen: Seen) -> AsyncIterator[bytes]:
        if "chunked" in (seen.header("transfer-encoding") or "").lower():
            while True:
                size = int((await self._line(reader, kept)).split(";")[0], 16)
                if size == 0:
                    seen.trailers = await self._fields(reader, kept)
                    return
                left = size
                while left:
                    data = await reader.read(min(left, 1 << 18))
                    if not data:
                        raise asyncio.IncompleteReadError(b"", left)
                    left -= len(data)
                    yield data
                kept += await reader.readexactly(2)
        left = int((seen.header("content-length") or "0").split(",")[-1])
        while left > 0:
            data = await reader.read(min(left, 1 << 18))
            if not data:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(data)
            yield data

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept = bytearray()
        self.raw.append(kept)
        while True:
            line = await self._line(reader, kept)
            words = [*line.split(" ", 2), "", "", ""][:3]
            seen = Seen(words[0], words[1], words[2], await self._fields(reader, kept))
            path = seen.target.split("?")[0]
            if path == "/early":
                self._note(seen)
                await self._send(writer, 413, b"enough", close=True)
                return
            if (seen.header("expect") or "").lower() == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await writer.drain()
            digest = hashlib.sha256()
            async for data in self._body(reader, kept, seen):
                digest.update(data)
                seen.body_length += len(data)
                if len(seen.body) < 1 << 16:
                    seen.body += data
                    kept += data
            seen.body_sha256 = digest.hexdigest()
            self._note(seen)
            if not await self._answer(reader, writer, path, seen):
                return
            if (seen.header("connection") or "").lower() == "close":
                return

    def _note(self, seen: Seen) -> None:
        with self.arrived:
            self.seen.append(seen)
            self.arrived.notify_all()

    # === answering

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        body: bytes,
        *headers: str,
        close: bool = False,
        head: bool = False,
    ) -> None:
        lines = [f"HTTP/1.1 {status} As-Asked", *headers]
        if status not in (204, 304) and status >= 200:
            lines.append(f"Content-Length: {len(body)}")
        if close:
            lines.append("Connection: close")
        writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if head else body))
        await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, seen: Seen) -> bool:
        """Whether the connection may be used again."""
        head = seen.method == "HEAD"
        kind, _, number = path.strip("/").partition("/")
        if kind == "bytes":
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {number}\r\n\r\n".encode())
            for block in pattern(0 if head else int(number)):
                writer.write(block)
                await writer.drain()
        elif kind == "chunked":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for block in pattern(int(number)):
                writer.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        elif kind == "status":
            await self._send(writer, int(number), b"" if number in ("204", "304") else number.encode(), head=head)
        elif kind == "slow":
            await self._released(self._steps, reader)
            await self._send(writer, 200, b"at last")
        elif kind == "events":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            await writer.drain()
            before = self._steps
            for n in range(3):
                await self._released(before + n, reader)
                event = f"data: {n}\n\n".encode()
                writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        elif kind == "close":
            return False
        elif kind == "garbage":
            writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")
            await writer.drain()
            return False
        elif kind == "short":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
            await writer.drain()
            return False
        elif kind == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            for block in pattern(int(number)):
                writer.write(block)
                await writer.drain()
            return False
        elif kind == "misframed":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n")
            await writer.drain()
        elif kind == "more":
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfineHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
            )
            await writer.drain()
        elif kind == "trailers":
            writer.write(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n"
            )
            await writer.drain()
        elif kind == "upgrade":
            await self._upgrade(reader, writer, seen)
            return False
        elif kind == "hints":
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
            await self._send(writer, 200, b"after the hints")
        elif kind == "location":
            await self._send(writer, 302, b"", f"Location: http://{seen.header('host')}/elsewhere")
        elif kind == "forged":
            await self._send(writer, 200, b"fine", "ngrok-error-code: ERR_NGROK_3200")
        else:
            told = {
                "method": seen.method,
                "target": seen.target,
                "headers": seen.headers,
                "trailers": seen.trailers,
                "length": seen.body_length,
                "sha256": seen.body_sha256,
            }
            await self._send(writer, 200, json.dumps(told).encode(), "Content-Type: application/json", head=head)
        return True

    async def _upgrade(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        protocol = seen.header("upgrade") or ""
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\n".encode())
        await writer.drain()
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


@dataclass
class Upstreams:
    """Makes upstreams and takes them down at the end of the test."""

    home: Path
    loop: Loop = field(default_factory=Loop)
    made: list[Listening] = field(default_factory=list)

    def http(self, *, tls: ssl.SSLContext | None = None, unix: Path | None = None) -> HttpUpstream:
        upstream = HttpUpstream(self.loop, tls=tls, unix=unix)
        self.made.append(upstream)
        return upstream

    def echo(self, *, tls: ssl.SSLContext | None = None) -> EchoUpstream:
        upstream = EchoUpstream(self.loop, tls=tls)
        self.made.append(upstream)
        return upstream

    def recording(self, greeting: bytes = b"") -> RecordingUpstream:
        upstream = RecordingUpstream(self.loop, greeting=greeting)
        self.made.append(upstream)
        return upstream

    def refusing(self) -> str:
        """An address where nobody listens."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            host, port = probe.getsockname()
        return f"{host}:{port}"

    def stop(self) -> None:
        for upstream in self.made:
            upstream.down()
        self.loop.stop()
