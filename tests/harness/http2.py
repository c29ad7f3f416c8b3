"""An HTTP/2 visitor that sends whatever header fields it is told, also those that nobody may send."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from harness.edge import Edge
from harness.visitor import dial

Fields = Iterable[tuple[str, str]]


@dataclass
class Exchange:
    """What came back on one stream."""

    fields: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    trailers: dict[str, str] = field(default_factory=dict)
    informational: list[int] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int | None:
        return int(self.fields[":status"]) if ":status" in self.fields else None


class Http2Visitor:
    """One connection, over TLS where the URL says so, else by prior knowledge."""

    def __init__(self, edge: Edge | None, url: str) -> None:
        self.io: socket.socket = dial(edge, url, ["h2"] if url.startswith("https") else [])
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.exchanges: dict[int, Exchange] = {}
        self.gone: int | None = None  # code of the GOAWAY, or the end of the connection
        self.flush()

    def __enter__(self) -> Http2Visitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.io.close()

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self.io.sendall(self.h2.data_to_send())

    def send(self, fields: Fields, body: bytes | None = None, trailers: Fields = ()) -> int:
        """A request; with `body` `None` its end is the head's."""
        stream = self.h2.get_next_available_stream_id()
        self.exchanges[stream] = Exchange()
        self.h2.send_headers(stream, list(fields), end_stream=body is None and not trailers)
        if body is not None:
            self._send_body(stream, body, end=not trailers)
        if trailers:
            self.h2.send_headers(stream, list(trailers), end_stream=True)
        self.flush()
        return stream

    def _send_body(self, stream: int, body: bytes, *, end: bool) -> None:
        while len(body) > self.h2.max_outbound_frame_size:
            self._send_piece(stream, body[: self.h2.max_outbound_frame_size], end=False)
            body = body[self.h2.max_outbound_frame_size :]
        self._send_piece(stream, body, end=end)

    def _send_piece(self, stream: int, piece: bytes, *, end: bool) -> None:
        while self.h2.local_flow_control_window(stream) < len(piece):
            self.flush()
            assert self._turn(), "the connection ended during the upload"
        self.h2.send_data(stream, piece, end_stream=end)

    def data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self._send_body(stream, data, end=end)
        self.flush()

    def _turn(self) -> bool:
        """Takes in what has come; whether the connection is still open."""
        try:
            data = self.io.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            if self.gone is None:
                self.gone = -1
            return False
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self.gone = -2
            return False
        for event in events:
            self._take(event)
        self.flush()
        return True

    def _take(self, event: h2.events.Event) -> None:
        exchange = self.exchanges.get(getattr(event, "stream_id", None) or 0, Exchange())
        match event:
            case h2.events.ResponseReceived():
                exchange.fields = dict(_text(event.headers))
            case h2.events.InformationalResponseReceived():
                exchange.informational.append(int(dict(_text(event.headers))[":status"]))
            case h2.events.DataReceived():
                exchange.body += event.data or b""
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            case h2.events.TrailersReceived():
                exchange.trailers = dict(_text(event.headers))
            case h2.events.StreamEnded():
                exchange.ended = True
            case h2.events.StreamReset():
                exchange.reset = int(event.error_code or 0)
            case h2.events.ConnectionTerminated():
                self.gone = int(event.error_code or 0)

    def answer(self, stream: int) -> Exchange:
        """Waits until the stream has ended, was reset, or the connection is gone."""
        exchange = self.exchanges[stream]
        while not exchange.ended and exchange.reset is None and self._turn():
            pass
        return exchange

    def body_until(self, stream: int, wanted: bytes) -> None:
        """Waits until the body so far ends with these bytes."""
        exchange = self.exchanges[stream]
        while not bytes(exchange.body).endswith(wanted):
            assert self._turn(), f"the connection ended after {bytes(exchange.body)!r}"

    def ask(self, fields: Fields, body: bytes | None = None, trailers: Fields = ()) -> Exchange:
        return self.answer(self.send(fields, body, trailers))


def _text(headers: Iterable[tuple[str | bytes, str | bytes]] | None) -> Iterator[tuple[str, str]]:
    for name, value in headers or ():
        yield (
            name.decode() if isinstance(name, bytes) else name,
            value.decode() if isinstance(value, bytes) else value,
        )


def request(host: str, path: str = "/", method: str = "GET", scheme: str = "https") -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", scheme), (":authority", host), (":path", path)]
