"""Visitors: HTTP/1.1 over a kept connection, with TLS where the URL says so."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from harness.edge import Address, Edge


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The error code, when the edge itself answered."""
        return self.headers["ngrok-error-code"]


def trusting(edge: Edge | None, alpn: Iterable[str] = ()) -> ssl.SSLContext:
    assert edge, "the edge inside an agent shows its CA to nobody"
    context = ssl.create_default_context(cafile=str(edge.ca))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def credulous(alpn: Iterable[str] = ()) -> ssl.SSLContext:
    """For names that no certificate can be had for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def dial(edge: Edge | None, url: str, alpn: Iterable[str] = (), context: ssl.SSLContext | None = None) -> socket.socket:
    """A connection to where the URL leads, past name resolution, with TLS done for https.

    Without an edge, the URL is one of an edge inside an agent: its port is the listener's.
    """
    parts = urlsplit(url)
    if parts.scheme == "https":
        assert edge
        raw = socket.create_connection(edge.https, 20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return (context or trusting(edge, alpn)).wrap_socket(raw, server_hostname=parts.hostname)
    to: Address = edge.http if edge and parts.scheme == "http" else ("127.0.0.1", parts.port or 0)
    return socket.create_connection(to, 20)


class Visitor:
    """One visitor connection to one URL; requests go over it one after the other."""

    def __init__(self, edge: Edge | None, url: str) -> None:
        self.host = urlsplit(url).netloc
        self.connection = http.client.HTTPConnection("edge.invalid")
        self.connection.sock = dial(edge, url, ["http/1.1"] if url.startswith("https") else [])

    def __enter__(self) -> Visitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def open(
        self,
        method: str,
        path: str = "/",
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """Sends a request and returns the answer with its body still to be read."""
        given = {"Host": self.host, **(headers or {})}
        chunked = body is not None and not isinstance(body, bytes) and "Content-Length" not in given
        if chunked:
            given["Transfer-Encoding"] = "chunked"
        self.connection.request(method, path, body=body, headers=given, encode_chunked=chunked)
        return self.connection.getresponse()

    def ask(
        self,
        method: str,
        path: str = "/",
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        answer = self.open(method, path, body=body, headers=headers)
        return Answer(answer.status, answer.headers, answer.read())

    def get(self, path: str = "/", *, headers: Mapping[str, str] | None = None) -> Answer:
        return self.ask("GET", path, headers=headers)


def digest(answer: http.client.HTTPResponse) -> tuple[int, str]:
    """Length and SHA-256 of a body too big to hold."""
    seen, total = hashlib.sha256(), 0
    while chunk := answer.read(1 << 20):
        seen.update(chunk)
        total += len(chunk)
    return total, seen.hexdigest()


def echoes(io: socket.socket, said: bytes = b"hello") -> bool:
    """Whether what is said comes back, all of it and nothing else."""
    io.sendall(said)
    heard = b""
    while len(heard) < len(said) and (more := io.recv(1 << 16)):
        heard += more
    return heard == said
