"""A road between an agent and its edge, or a visitor and an upstream, that can be made bad."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from harness.edge import Address
from harness.upstreams import PATIENCE, Loop

T = TypeVar("T")

# Closing with this on sends RST instead of FIN.
NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Road:
    """One connection and its continuation. Bytes are counted once they were passed on."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    up: int = 0
    down: int = 0


class Relay:
    """Passes on what comes to `address`, to `to` and back, until it is told otherwise. `to` may be changed."""

    def __init__(self, loop: Loop, to: Address, host: str = "127.0.0.1", port: int = 0) -> None:
        self.to = to
        self.roads: list[Road] = []
        self.came = 0
        self.changed = threading.Condition()
        self._loop = loop
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay = 0.0
        self._let_down: int | None = None
        self._host, self._port = host, port
        self.open()

    @property
    def address(self) -> str:
        return f"{self._host}:{self._port}"

    def _run(self, what: Awaitable[T]) -> T:
        async def wrapped() -> T:
            return await what

        return asyncio.run_coroutine_threadsafe(wrapped(), self._loop.loop).result(PATIENCE)

    def _do(self, what: Callable[[], object]) -> None:
        async def wrapped() -> None:
            what()

        self._run(wrapped())

    # === the listener

    def open(self) -> None:
        """Listens, on the same port as before."""
        self._run(self._open())

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Nobody listens any more; connections stay."""
        server = self._server
        if server:
            self._do(server.close)

    # === what happens on the way

    def stall(self) -> None:
        """Nothing gets through any more, not even an end: both sides are left alone with what they know."""
        self._do(self._flowing.clear)

    def flow(self) -> None:
        self._do(self._flowing.set)

    def delay(self, seconds: float) -> None:
        """Everything arrives so much later."""
        self._delay = seconds

    def let_down(self, length: int | None) -> None:
        """Of what comes back, each new connection lets so many bytes through and ends behind them."""
        self._let_down = length

    def cut(self) -> None:
        """Every connection ends with FIN, both ways."""
        self._do(lambda: self._end(reset=False))

    def reset(self) -> None:
        """Every connection ends with RST, both ways."""
        self._do(lambda: self._end(reset=True))

    def _end(self, *, reset: bool) -> None:
        for road in self.roads:
            self._end_one(road, reset=reset)

    def _end_one(self, road: Road, *, reset: bool) -> None:
        for writer in (road.near, road.far):
            if reset:
                with contextlib.suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                writer.transport.abort()
            else:
                writer.close()
        for task in road.tasks:
            task.cancel()

    def stop(self) -> None:
        self.close()
        self.reset()

    # === what is seen of it

    def wait_came(self, count: int) -> None:
        """Waits until so many connections have come since the start."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.came >= count, PATIENCE), f"{self.came} of {count} came"

    def wait_gone(self) -> None:
        """Waits until no connection is left."""
        with self.changed:
            assert self.changed.wait_for(lambda: not self.roads, PATIENCE), f"{len(self.roads)} are open"

    def wait_down(self, more: int) -> None:
        """Waits until so many more bytes have come back."""
        with self.changed:
            wanted = self._total() + more
            assert self.changed.wait_for(lambda: self._total() >= wanted, PATIENCE), f"{self._total()} of {wanted}"

    def _total(self) -> int:
        return sum(road.down for road in self.roads)

    # === passing on

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self.changed:
            self.came += 1
            self.changed.notify_all()
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.to)
        except OSError:
            writer.transport.abort()
            return
        road = Road(writer, far_writer)
        road.tasks = [
            asyncio.ensure_future(self._pass(road, reader, far_writer, back=False)),
            asyncio.ensure_future(self._pass(road, far_reader, writer, back=True)),
        ]
        with self.changed:
            self.roads.append(road)
        await asyncio.gather(*road.tasks, return_exceptions=True)
        for end in (writer, far_writer):
            end.close()
        with self.changed:
            self.roads.remove(road)
            self.changed.notify_all()

    async def _pass(
        self, road: Road, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool
    ) -> None:
        left = self._let_down if back else None
        try:
            while data := await reader.read(1 << 16):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._flowing.wait()
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                writer.write(data)
                await writer.drain()
                with self.changed:
                    if back:
                        road.down += len(data)
                    else:
                        road.up += len(data)
                    self.changed.notify_all()
                if left == 0:
                    self._end_one(road, reset=False)
                    return
            await self._flowing.wait()
            writer.write_eof()
        except (OSError, RuntimeError):
            await self._flowing.wait()
            self._end_one(road, reset=True)


class BlackHole:
    """A listener whose queue is full: the kernel drops every further SYN, so who connects waits for ever."""

    def __init__(self, host: str, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((host, port))
        self._listener.listen(0)
        self.port = int(self._listener.getsockname()[1])
        self._queued: list[socket.socket] = []
        for _ in range(64):
            queued = socket.socket(family, socket.SOCK_STREAM)
            queued.settimeout(0.3)
            self._queued.append(queued)
            try:
                queued.connect((host, self.port))
            except TimeoutError:
                return
        raise AssertionError("the queue of a listener with a backlog of 0 does not fill up here")

    def close(self) -> None:
        for one in (*self._queued, self._listener):
            one.close()
