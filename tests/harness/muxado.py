"""A muxado peer that does as it is told (wire-protocol.md §2–§5): both roles, over TLS or any socket.

Frames are sent exactly as given, and every frame that came is kept in its order. On top of that: streams, messages and
proxied connections. Credit and heartbeats are answered by the reader unless `credit` or `echo` is switched off.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from harness.process import PATIENCE

if TYPE_CHECKING:
    from typing_extensions import Self

RST, DATA, WNDINC, GOAWAY = range(4)
FIN, SYN = 1, 2

# Types of streams (§2.12).
AUTH, BIND, UNBIND, PROXY, RESTART, STOP, UPDATE, BIND_LABELED, SRV_INFO, STOP_TUNNEL, PATCH, METRICS = range(12)
HEARTBEAT = 0xFFFF_FFFF

WINDOW = 262_144  # credit of a new stream, each way

Json = dict[str, Any]


@dataclass(frozen=True)
class Frame:
    kind: int
    stream: int
    payload: bytes = b""
    flags: int = 0

    def encode(self) -> bytes:
        head = len(self.payload) << 8 | self.kind << 4 | self.flags
        return struct.pack("!II", head, self.stream) + self.payload

    @property
    def syn(self) -> bool:
        return bool(self.flags & SYN)

    @property
    def fin(self) -> bool:
        return bool(self.flags & FIN)

    @property
    def number(self) -> int:
        """The code of an RST, the increment of a WNDINC."""
        return int.from_bytes(self.payload, "big")

    @property
    def last_stream(self) -> int:
        """Of a GOAWAY."""
        return int.from_bytes(self.payload[:4], "big")

    @property
    def code(self) -> int:
        """Of a GOAWAY."""
        return int.from_bytes(self.payload[4:8], "big")


def data(stream: int, payload: bytes = b"", *, syn: bool = False, fin: bool = False) -> Frame:
    return Frame(DATA, stream, payload, SYN * syn | FIN * fin)


def credit(stream: int, increment: int) -> Frame:
    return Frame(WNDINC, stream, increment.to_bytes(4, "big"))


def rst(stream: int, code: int) -> Frame:
    return Frame(RST, stream, code.to_bytes(4, "big"))


def goaway(last: int = 0, code: int = 0, debug: bytes = b"") -> Frame:
    return Frame(GOAWAY, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + debug)


# === transports


class Wire(Protocol):
    """Bytes both ways; reading and writing may happen at the same time."""

    def recv(self) -> bytes: ...
    def send(self, data: bytes) -> None: ...
    def close(self) -> None: ...


class Plain:
    def __init__(self, io: socket.socket) -> None:
        self.io = io
        self._turn = threading.Lock()
        io.settimeout(None)

    def recv(self) -> bytes:
        return self.io.recv(1 << 16)

    def send(self, data: bytes) -> None:
        with self._turn:
            self.io.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.io.shutdown(socket.SHUT_RDWR)
        self.io.close()


class Tls:
    """TLS that one thread reads while others write, which `ssl.SSLSocket` does not promise."""

    def __init__(self, io: socket.socket, context: ssl.SSLContext, *, server: bool = False, name: str | None = None):
        self.io = io
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_side=server, server_hostname=name)
        self._state, self._turn = threading.Lock(), threading.Lock()
        io.settimeout(PATIENCE)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                io.sendall(self._out.read())
                self._feed()
            except ssl.SSLError:
                io.sendall(self._out.read())  # the alert
                raise
        io.sendall(self._out.read())
        io.settimeout(None)

    def _feed(self) -> None:
        read = self.io.recv(1 << 16)
        with self._state:
            if read:
                self._in.write(read)
            else:
                self._in.write_eof()

    def recv(self) -> bytes:
        while True:
            with self._state:
                try:
                    return self.tls.read(1 << 16)
                except ssl.SSLWantReadError:
                    pass
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""
            self._feed()

    def send(self, data: bytes) -> None:
        with self._turn:
            with self._state:
                self.tls.write(data)
                sealed = self._out.read()
            self.io.sendall(sealed)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.io.shutdown(socket.SHUT_RDWR)
        self.io.close()


# === streams


@dataclass
class Stream:
    """One stream as this side sees it."""

    peer: Peer
    id: int
    kind: int | None = None  # its type, once known
    received: bytearray = field(default_factory=bytearray)  # not read yet, without the type
    fin: bool = False
    reset: int | None = None  # code of the first RST that came
    window: int = WINDOW  # what may still be sent
    room: int = WINDOW  # what the other side may still send

    def send(self, payload: bytes, *, fin: bool = False) -> None:
        """As much at a time as credit allows."""
        while len(payload) > self.window:
            piece, payload = payload[: self.window], payload[self.window :]
            if piece:
                self._data(piece)
            self.peer.wait(f"credit on stream {self.id}", lambda: self.window > 0)
        self._data(payload, fin=fin)

    def _data(self, payload: bytes, *, fin: bool = False) -> None:
        with self.peer.came:
            self.window -= len(payload)
        self.peer.send(data(self.id, payload, fin=fin))

    def finish(self) -> None:
        self.peer.send(data(self.id, fin=True))

    def abort(self, code: int) -> None:
        self.peer.send(rst(self.id, code))

    def grant(self, increment: int) -> None:
        self.peer.send(credit(self.id, increment))

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.fin or self.reset is not None or self.peer.ended

    def exactly(self, length: int) -> bytes:
        self.peer.wait(f"{length} bytes on stream {self.id}", lambda: len(self.received) >= length or self.over)
        with self.peer.came:
            assert len(self.received) >= length, f"stream {self.id} ended after {bytes(self.received)!r}"
            taken = bytes(self.received[:length])
            del self.received[:length]
        return taken

    def until(self, end: bytes) -> bytes:
        """All bytes up to and with these."""
        self.peer.wait(f"{end!r} on stream {self.id}", lambda: end in self.received or self.over)
        with self.peer.came:
            at = self.received.find(end)
            assert at >= 0, f"stream {self.id} ended after {bytes(self.received)!r}"
            taken = bytes(self.received[: at + len(end)])
            del self.received[: at + len(end)]
        return taken

    def more(self) -> bytes:
        """What has come, at least a byte."""
        self.peer.wait(f"more on stream {self.id}", lambda: bool(self.received) or self.over)
        with self.peer.came:
            assert self.received, f"stream {self.id} ended"
            taken = bytes(self.received)
            self.received.clear()
        return taken

    def everything(self) -> bytes:
        """All bytes to the end, which must be a FIN."""
        self.peer.wait(f"the end of stream {self.id}", lambda: self.over)
        assert self.fin, f"stream {self.id}: no FIN, reset {self.reset}, session ended {self.peer.ended}"
        return bytes(self.received)

    def wait_reset(self) -> int:
        self.peer.wait(f"an RST on stream {self.id}", lambda: self.reset is not None or self.peer.ended)
        assert self.reset is not None, f"stream {self.id}: the session ended without an RST"
        return self.reset

    def json(self) -> Json:
        """The first JSON object, as soon as it is whole; no FIN is waited for."""
        found: list[Json] = []

        def whole() -> bool:
            with contextlib.suppress(ValueError):
                value, end = json.JSONDecoder().raw_decode(self.received.decode())
                del self.received[:end]
                found.append(value)
            return bool(found) or self.over

        self.peer.wait(f"a JSON object on stream {self.id}", whole)
        assert found, f"stream {self.id} ended after {bytes(self.received)!r}"
        return found[0]

    def answer(self, message: Mapping[str, Any] | str, *, fin: bool = True) -> None:
        self.send((message if isinstance(message, str) else json.dumps(message)).encode(), fin=fin)


@dataclass
class Proxied:
    """A visitor's connection at the agent: what the edge told of it, and its bytes."""

    stream: Stream
    header: Json

    @classmethod
    def of(cls, stream: Stream) -> Proxied:
        length = int.from_bytes(stream.exactly(8), "little")
        return cls(stream, json.loads(stream.exactly(length)))


# === the peer


class Peer:
    """One end of a session. `agent` opens 3, 5, …; `edge` opens 2, 4, …"""

    def __init__(self, wire: Wire, *, agent: bool, credit: bool = True, echo: bool = True) -> None:
        self.wire = wire
        self.agent = agent
        self.credit = credit  # every byte that comes is given back at once
        self.echo = echo  # beats of the other side are answered
        self.write_bytes = 0  # so many bytes per write; 0: all at once
        self.frames: list[Frame] = []  # all that came
        self.streams: dict[int, Stream] = {}
        self.ended = False
        self.error: Exception | None = None
        self.came = threading.Condition(threading.RLock())
        self.complaints: list[str] = []  # what the other side must never do
        self._next_id = 3 if agent else 2
        self._expected = 0
        self._accepted: set[int] = set()
        self._sending = threading.Lock()  # frames stay whole, however many threads send
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def dial(cls, to: tuple[str, int], context: ssl.SSLContext, name: str | None = None, **how: Any) -> Self:
        """The agent's side. Without a name there is no SNI, and no name is checked."""
        io = socket.create_connection(to, PATIENCE)
        io.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(Tls(io, context, name=name), agent=True, **how)

    @classmethod
    def accept_from(cls, listener: socket.socket, context: ssl.SSLContext, **how: Any) -> Self:
        """The edge's side, of the next connection to `listener`."""
        io, _ = listener.accept()
        io.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(Tls(io, context, server=True), agent=False, **how)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None:
            assert not self.complaints, self.complaints

    def close(self) -> None:
        """TCP goes, without a word."""
        self.wire.close()

    # === frames

    def send(self, *frames: Frame) -> None:
        with self.came:
            for frame in frames:
                if frame.kind == WNDINC and frame.stream in self.streams:
                    self.streams[frame.stream].room += frame.number
        self.send_bytes(b"".join(frame.encode() for frame in frames))

    def send_leniently(self, *frames: Frame) -> None:
        """The other side may have closed already."""
        with contextlib.suppress(OSError):
            self.send(*frames)

    def send_bytes(self, raw: bytes) -> None:
        step = self.write_bytes or len(raw)
        with self._sending:
            for at in range(0, len(raw), step):
                self.wire.send(raw[at : at + step])

    def expect(self, what: Frame | Callable[[Frame], bool]) -> Frame:
        """The next frame, beyond those expected before, that is this one or answers to it."""
        matches: Callable[[Frame], bool] = what if callable(what) else lambda frame: frame == what
        found: list[Frame] = []

        def look() -> bool:
            while not found and self._expected < len(self.frames):
                frame = self.frames[self._expected]
                self._expected += 1
                if matches(frame):
                    found.append(frame)
            return bool(found) or self.ended

        self.wait(f"frame {what}", look)
        assert found, f"the session ended without {what}; came: {self.frames[-20:]}"
        return found[0]

    def of(self, stream: int) -> list[Frame]:
        """All frames of one stream so far."""
        with self.came:
            return [frame for frame in self.frames if frame.stream == stream]

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        with self.came:
            while not ready():
                left = end - time.monotonic()
                assert left > 0, f"not within {PATIENCE:.0f} s: {what}; last frames: {self.frames[-10:]}"
                self.came.wait(left)

    def wait_ended(self) -> None:
        """Until the other side has closed TCP."""
        self.wait("the end of the connection", lambda: self.ended)

    @property
    def goaway(self) -> Frame | None:
        with self.came:
            return next((frame for frame in self.frames if frame.kind == GOAWAY), None)

    def _read(self) -> None:
        buffer = bytearray()
        try:
            while read := self.wire.recv():
                buffer += read
                for frame in _cut(buffer):
                    self._take(frame)
        except (OSError, ValueError) as error:
            self.error = error
        with self.came:
            self.ended = True
            self.came.notify_all()

    def _take(self, frame: Frame) -> None:
        replies: list[Frame] = []
        with self.came:
            self.frames.append(frame)
            self._judge(frame)
            stream = self.streams.get(frame.stream)
            if stream is None and frame.kind == DATA and frame.syn:
                stream = self.streams[frame.stream] = Stream(self, frame.stream, room=WINDOW - len(frame.payload))
            if stream is not None:
                self._apply(stream, frame, replies)
            self.came.notify_all()
        if replies:
            with contextlib.suppress(OSError):
                self.send(*replies)

    def _judge(self, frame: Frame) -> None:
        """What kills one SDK or the other (§8 rows 22–24), wherever it happens."""
        theirs = frame.stream % 2 != self._next_id % 2
        known = frame.stream in self.streams
        wrong = {
            "unknown type of frame": frame.kind > GOAWAY,
            "reserved flags, or flags on what is no DATA": frame.flags & ~(SYN | FIN if frame.kind == DATA else 0),
            "SYN and FIN together": frame.syn and frame.fin,
            "SYN without the whole type": frame.syn and len(frame.payload) < 4,
            "SYN on a stream that is open, or of the wrong parity": frame.syn and (known or not theirs),
            "stream 0": frame.stream == 0 and frame.kind != GOAWAY,
            "top bit of the stream id": frame.stream >> 31,
            "WNDINC of 0": frame.kind == WNDINC and frame.number == 0,
            "RST without a code": frame.kind == RST and frame.number == 0,
            "more than credit allows": frame.kind == DATA and known and self._overrun(frame),
            "a frame of more than 32 KiB": len(frame.payload) > 32 << 10,
            "a frame behind GOAWAY": any(earlier.kind == GOAWAY for earlier in self.frames[:-1]),
        }
        self.complaints += [f"{what}: {frame}" for what, is_so in wrong.items() if is_so]

    def _overrun(self, frame: Frame) -> bool:
        stream = self.streams[frame.stream]
        stream.room -= len(frame.payload)
        return stream.room < 0

    def _apply(self, stream: Stream, frame: Frame, replies: list[Frame]) -> None:
        match frame.kind:
            case 0:  # RST
                stream.reset = frame.number if stream.reset is None else stream.reset
            case 1:  # DATA
                stream.received += frame.payload
                if self.credit and frame.payload and not frame.fin:
                    replies.append(credit(stream.id, len(frame.payload)))
                stream.fin |= frame.fin
                theirs = stream.id % 2 == (0 if self.agent else 1)
                if theirs and stream.kind is None and len(stream.received) >= 4:
                    stream.kind = int.from_bytes(stream.received[:4], "big")
                    del stream.received[:4]
                if theirs and stream.kind == HEARTBEAT and self.echo:
                    while len(stream.received) >= 4:
                        replies.append(data(stream.id, bytes(stream.received[:4])))
                        del stream.received[:4]
            case 2:  # WNDINC
                stream.window += frame.number

    # === streams

    def open(self, kind: int | None, payload: bytes = b"", *, fin: bool = False, apart: bool = False) -> Stream:
        """A new stream of ours: type and payload in one frame, or `apart`, as the SDKs do. Without a type: silence."""
        with self.came:
            stream = self.streams[self._next_id] = Stream(self, self._next_id, kind)
            self._next_id += 2
        if kind is not None:
            head = kind.to_bytes(4, "big")
            stream.window -= 4
            if apart:
                self.send(data(stream.id, head, syn=True))
                stream.send(payload, fin=fin)
            else:
                stream.window -= len(payload)
                self.send(data(stream.id, head + payload, syn=True, fin=fin))
        return stream

    def accept(self, *kinds: int) -> Stream:
        """The next stream of the other side that is of one of these types."""
        found: list[Stream] = []

        def look() -> bool:
            found.extend(self._taken(kinds))
            return bool(found) or self.ended

        self.wait(f"a stream of type {kinds}", look)
        assert found, f"the session ended without a stream of type {kinds}; came: {self.frames[-20:]}"
        return found[0]

    def _taken(self, kinds: tuple[int, ...]) -> Iterator[Stream]:
        """The first that was not accepted before, if there is one."""
        for stream in self.streams.values():
            theirs = stream.id % 2 != self._next_id % 2
            if theirs and stream.id not in self._accepted and stream.kind in kinds:
                self._accepted.add(stream.id)
                yield stream
                return

    def proxied(self) -> Proxied:
        return Proxied.of(self.accept(PROXY))

    def call(
        self,
        kind: int,
        message: Mapping[str, Any] | str,
        *,
        newline: bool = True,
        fin: bool = False,
        apart: bool = True,
    ) -> Json:
        """A message and its answer, read to the FIN as Rust's SDKs do; our FIN comes after it."""
        stream = self.ask(kind, message, newline=newline, fin=fin, apart=apart)
        answer: Json = json.loads(stream.everything())
        if not fin:
            stream.finish()
        return answer

    def ask(
        self,
        kind: int,
        message: Mapping[str, Any] | str,
        *,
        newline: bool = True,
        fin: bool = False,
        apart: bool = True,
    ) -> Stream:
        """Sends a message; its stream is the caller's to read and to end."""
        text = message if isinstance(message, str) else json.dumps(message)
        return self.open(kind, (text + "\n" * newline).encode(), fin=fin, apart=apart)

    def serve(self, each: Callable[[Proxied], None]) -> None:
        """Gives every proxied connection from now on to `each`, in a thread of its own."""

        def run(stream: Stream) -> None:
            with contextlib.suppress(AssertionError, OSError):  # the session, or the visitor, has gone
                each(Proxied.of(stream))

        def accept() -> None:
            while True:
                with self.came:
                    # It lives as long as the session: nothing else ends its patience.
                    self.came.wait_for(lambda: self.ended or any(map(fresh, self.streams.values())))
                    streams = list(self._taken((PROXY,)))
                if not streams:
                    return
                threading.Thread(target=run, args=(streams[0],), daemon=True).start()

        def fresh(stream: Stream) -> bool:
            return stream.kind == PROXY and stream.id not in self._accepted

        threading.Thread(target=accept, daemon=True).start()


def _cut(buffer: bytearray) -> Iterator[Frame]:
    """Takes whole frames off the front."""
    while len(buffer) >= 8:
        head, stream = struct.unpack_from("!II", buffer)
        length = head >> 8
        if len(buffer) < 8 + length:
            return
        yield Frame(head >> 4 & 0xF, stream, bytes(buffer[8 : 8 + length]), head & 0xF)
        del buffer[: 8 + length]
