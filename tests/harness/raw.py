"""A visitor who decides about every byte: sends what it is given, and reads responses as they came."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO

from harness.edge import Edge
from harness.visitor import dial


def head(host: str, method: str = "GET", path: str = "/", *lines: str) -> bytes:
    """The head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


class EndedError(Exception):
    """The connection ended where something was still to come."""


@dataclass
class Head:
    status: int
    version: str
    fields: list[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def get(self, name: str) -> str | None:
        """All values of that name (lower case), joined."""
        return ", ".join(self.all(name)) if self.all(name) else None


@dataclass
class Response:
    head: Head
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def status(self) -> int:
        return self.head.status


class RawVisitor:
    """One connection to an edge."""

    def __init__(self, io: socket.socket) -> None:
        self.io = io
        self._file: BinaryIO = io.makefile("rb")

    @classmethod
    def to(cls, edge: Edge | None, url: str) -> RawVisitor:
        return cls(dial(edge, url, ["http/1.1"] if url.startswith("https") else []))

    def __enter__(self) -> RawVisitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.io.close()

    def send(self, data: bytes) -> None:
        self.io.sendall(data)

    def send_leniently(self, data: bytes) -> None:
        """The other side may have hung up already; what it answered is what counts."""
        with contextlib.suppress(OSError):
            self.io.sendall(data)

    # === reading

    def line(self) -> str:
        line = self._file.readline(1 << 20)
        if not line.endswith(b"\n"):
            raise EndedError(repr(line))
        return line.decode("latin-1").rstrip("\r\n")

    def _fields(self) -> list[tuple[str, str]]:
        fields = []
        while line := self.line():
            name, _, value = line.partition(":")
            fields.append((name.strip().lower(), value.strip()))
        return fields

    def exactly(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) < length:
            raise EndedError(f"{len(data)} of {length} bytes")
        return data

    def some(self) -> bytes:
        """What is there, at least a byte; nothing at the end."""
        return self.io.recv(1 << 16) if not self._file.peek(1) else self._file.read1(1 << 16)  # type: ignore[attr-defined]

    def head(self) -> Head:
        """The next head, be it an informational one."""
        version, status, *_ = self.line().split(" ", 2)
        return Head(int(status), version, self._fields())

    def chunk(self) -> bytes:
        """The next chunk; the last is empty, and its trailers are still to be read."""
        data = self.exactly(int(self.line().split(";")[0], 16))
        if data:
            self.exactly(2)
        return data

    def response(self, method: str = "GET") -> Response:
        head = self.head()
        while 100 <= head.status < 200 and head.status != 101:
            head = self.head()
        return self.rest(head, method)

    def rest(self, head: Head, method: str = "GET") -> Response:
        """The body that belongs to a head."""
        response = Response(head)
        if method == "HEAD" or head.status in (101, 204, 304):
            return response
        if "chunked" in (head.get("transfer-encoding") or ""):
            while data := self.chunk():
                response.body += data
            response.trailers = self._fields()
        elif (length := head.get("content-length")) is not None:
            response.body = self.exactly(int(length))
        else:
            response.body = self._file.read()
        return response

    def everything(self) -> bytes:
        """All bytes until the other side has closed, one way or the other."""
        seen = bytearray()
        with contextlib.suppress(ConnectionError):
            while data := self._file.read1(1 << 16):  # type: ignore[attr-defined]
                seen += data
        return bytes(seen)

    def closed(self) -> bool:
        """Waits for the end; whether it came without another byte."""
        return self.everything() == b""
