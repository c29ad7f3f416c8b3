"""A name server with a few names, and a time server with a clock of its own."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from harness import need

NTP_EPOCH = 2_208_988_800
A = 1
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


class Names(Udp):
    """`records`: addresses by name; `*.x` holds for every name below x."""

    def __init__(self, host: str) -> None:
        self.records: Mapping[str, Sequence[str]] = {}
        self.asked: list[str] = []
        super().__init__((host, 53), self._answer)

    def _answer(self, query: bytes) -> bytes:
        number, labels, at = query[:2], [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        question = query[12 : at + 5]
        (kind,) = struct.unpack_from("!H", query, at + 1)
        name = ".".join(labels).lower()
        self.asked.append(name)
        wildcard = "*." + name.partition(".")[2]
        found = self.records.get(name, self.records.get(wildcard))
        addresses = [] if found is None or kind != A else found
        flags = 0x8580 | (NO_SUCH_NAME if found is None else 0)
        head = number + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0)
        rows = b"".join(struct.pack("!HHHIH", 0xC00C, A, 1, 1, 4) + socket.inet_aton(address) for address in addresses)
        return head + question + rows


class Clock(Udp):
    """An NTP server whose clock is so many seconds ahead of ours."""

    def __init__(self, ahead: float, *, silent: bool = False) -> None:
        def reply(_: bytes) -> bytes:
            now = int(time.time() + ahead) + NTP_EPOCH
            stamp = struct.pack("!II", now, 0)
            return b"" if silent else bytes(32) + stamp + stamp

        super().__init__(("127.0.0.1", 0), reply)
