"""A link with a length: a relay between two TCP sockets that holds every byte back for half a round trip.

Both directions carry at most `rate` bytes a second and hold what fits on such a link and as much again, so whoever
sends faster has to wait, as before a router. A part of the pieces can be held longer, as by a retransmission.
"""

from __future__ import annotations

import contextlib
import queue
import random
import socket
import threading
import time

from harness.relay import NO_LINGER

PIECE = 64 * 1024


class Link:
    """Listens on loopback and leads to `target`. Used with `with`."""

    def __init__(
        self, target: tuple[str, int], *, round_trip: float, rate: float, stalled: float = 0.0, stall: float = 0.2
    ) -> None:
        self.target = target
        self.one_way = round_trip / 2
        self.rate = rate
        self.stalled, self.stall = stalled, stall
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.sockets: list[socket.socket] = []

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def __enter__(self) -> Link:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        self.cut()

    def cut(self) -> None:
        """Ends every connection there is, as a link that breaks."""
        for one in self.sockets:
            with contextlib.suppress(OSError):
                # Closed with nothing to wait for, a connection is reset.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                one.shutdown(socket.SHUT_RD)
                one.close()
        self.sockets.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                return
            self.sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                for end in (source, sink):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # What is on the way: as much as the link holds, and a router's buffer of the same size.
                pieces = max(16, int(4 * self.one_way * self.rate / PIECE))
                way: queue.Queue[tuple[float, bytes]] = queue.Queue(pieces)
                threading.Thread(target=self._take, args=(source, way), daemon=True).start()
                threading.Thread(target=self._deliver, args=(way, sink), daemon=True).start()

    def _take(self, source: socket.socket, way: queue.Queue[tuple[float, bytes]]) -> None:
        free = 0.0
        while True:
            try:
                # A link acknowledges nothing, and so holds nobody up who waits for that; it does not last.
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                piece = source.recv(PIECE)
            except OSError:
                piece = b""
            now = time.monotonic()
            free = max(free, now) + len(piece) / self.rate
            late = self.stall if self.stalled and random.random() < self.stalled else 0.0
            way.put((free + self.one_way + late, piece))
            if not piece:
                return

    def _deliver(self, way: queue.Queue[tuple[float, bytes]], sink: socket.socket) -> None:
        while True:
            due, piece = way.get()
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            try:
                if piece:
                    sink.sendall(piece)
                else:
                    sink.shutdown(socket.SHUT_WR)
                    return
            except OSError:
                # Whoever still sends is told by its own write.
                while piece:
                    _, piece = way.get()
                return
