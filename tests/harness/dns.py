"""Name servers with a few names, by UDP, TCP and HTTPS, and a time server with a clock of its own."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import h2.config
import h2.connection
import h2.events

from harness import need
from harness.tls import Pair

NTP_EPOCH = 2_208_988_800
A, AAAA = 1, 28
NO_SUCH_NAME = 3


class Udp:
    """Answers every datagram with what `reply` makes of it; nothing for an empty reply."""

    def __init__(self, address: tuple[str, int], reply: Callable[[bytes], bytes]) -> None:
        self.io = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.io.settimeout(None)
        try:
            self.io.bind(address)
        except PermissionError:
            need.lacking(f"the right to listen on port {address[1]}")
        self.port = int(self.io.getsockname()[1])
        self.reply = reply
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            asked, who = self.io.recvfrom(1 << 12)
            if not asked:
                return
            if answer := self.reply(asked):
                self.io.sendto(answer, who)

    def stop(self) -> None:
        # A socket that somebody reads from keeps its address beyond `close`.
        self.io.sendto(b"", self.io.getsockname())
        self._thread.join()
        self.io.close()


def question(query: bytes) -> tuple[str, int, bytes]:
    """Name and type that are asked for, and the bytes of the question."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    (kind,) = struct.unpack_from("!H", query, at + 1)
    return ".".join(labels).lower(), kind, query[12 : at + 5]


class Names(Udp):
    """`records`: addresses by name; `*.x` holds for every name below x."""

    def __init__(self, host: str, port: int = 53) -> None:
        self.records: Mapping[str, Sequence[str]] = {}
        self.asked: list[str] = []
        super().__init__((host, port), self.answer)

    def answer(self, query: bytes) -> bytes:
        name, kind, asked = question(query)
        wildcard = "*." + name.partition(".")[2]
        found = self.records.get(name, self.records.get(wildcard))
        self.asked.append(name)
        rows = [row for address in found or () if (row := _row(kind, address))]
        flags = 0x8580 | (NO_SUCH_NAME if found is None else 0)
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(rows), 0, 0) + asked + b"".join(rows)


def _row(kind: int, address: str) -> bytes:
    """A record of this address, where it is one of the type that is asked for."""
    if kind != (AAAA if ":" in address else A):
        return b""
    data = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    return struct.pack("!HHHIH", 0xC00C, kind, 1, 1, len(data)) + data


class Resolver(Names):
    """A name server that is asked by TCP as well, and may be told to misbehave."""

    def __init__(self, host: str, port: int = 53) -> None:
        self.silent_udp = False
        """Datagrams are read and not answered."""
        self.truncating = False
        """What comes by UDP is told to be too long, and is asked for again by TCP."""
        self.mute_on: set[int] = set()
        """Types that are not answered."""
        self.ways: list[str] = []
        self._tcp = socket.create_server((host, port), reuse_port=False)
        super().__init__(host, self._tcp.getsockname()[1] if port == 0 else port)
        threading.Thread(target=self._serve_tcp, daemon=True).start()

    def answer(self, query: bytes) -> bytes:
        self.ways.append("udp")
        answer = super().answer(query)
        if self.silent_udp or question(query)[1] in self.mute_on:
            return b""
        if self.truncating:
            _, _, asked = question(query)
            return query[:2] + struct.pack("!HHHHH", 0x8780, 1, 0, 0, 0) + asked
        return answer

    def _serve_tcp(self) -> None:
        while True:
            try:
                io, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_one, args=(io,), daemon=True).start()

    def _serve_one(self, io: socket.socket) -> None:
        with io, io.makefile("rb") as reader:
            while len(length := reader.read(2)) == 2:
                query = reader.read(int.from_bytes(length, "big"))
                self.ways.append("tcp")
                answer = super().answer(query)
                io.sendall(len(answer).to_bytes(2, "big") + answer)

    def stop(self) -> None:
        self._tcp.shutdown(socket.SHUT_RDWR)
        self._tcp.close()
        super().stop()


class HttpsResolver:
    """DNS over HTTPS (RFC 8484), by HTTP/2."""

    def __init__(self, host: str, pair: Pair, names: Callable[[bytes], bytes]) -> None:
        self.names = names
        self.asked: list[str] = []
        self._context = pair.serving()
        self._context.set_alpn_protocols(["h2"])
        self._listener = socket.create_server((host, 443))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        with contextlib.suppress(OSError), self._context.wrap_socket(raw, server_side=True) as io:
            connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
            connection.initiate_connection()
            io.sendall(connection.data_to_send())
            bodies: dict[int, bytes] = {}
            while data := io.recv(1 << 16):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.DataReceived):
                        bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                    elif isinstance(event, h2.events.StreamEnded):
                        self._answer(connection, event.stream_id, bodies.pop(event.stream_id))
                io.sendall(connection.data_to_send())

    def _answer(self, connection: h2.connection.H2Connection, stream: int, query: bytes) -> None:
        self.asked.append(question(query)[0])
        answer = self.names(query)
        fields = [
            (":status", "200"),
            ("content-type", "application/dns-message"),
            ("content-length", str(len(answer))),
        ]
        connection.send_headers(stream, fields)
        connection.send_data(stream, answer, end_stream=True)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Clock(Udp):
    """An NTP server whose clock is so many seconds ahead of ours."""

    def __init__(self, ahead: float, *, silent: bool = False) -> None:
        def reply(_: bytes) -> bytes:
            now = int(time.time() + ahead) + NTP_EPOCH
            stamp = struct.pack("!II", now, 0)
            return b"" if silent else bytes(32) + stamp + stamp

        super().__init__(("127.0.0.1", 0), reply)
