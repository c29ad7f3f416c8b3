"""Who follows what happens, as the page does, and looks at nothing of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from harness.local import LocalApi

PLACES = 32
"""So many may follow one agent at once."""


def ask(connection: socket.socket, api: LocalApi) -> None:
    connection.sendall(f"GET /api/ui/events HTTP/1.1\r\nHost: {api.addr}\r\n\r\n".encode())


def follows(connection: socket.socket, api: LocalApi) -> bool:
    """Asks, and says whether there was a place for it."""
    ask(connection, api)
    return connection.recv(12) == b"HTTP/1.1 200"


@contextmanager
def every_place(api: LocalApi) -> Iterator[list[socket.socket]]:
    """Takes all of them."""
    with ExitStack() as stack:
        taken = []
        for _ in range(PLACES):
            taken.append(stack.enter_context(socket.create_connection((api.host, api.port))))
            assert follows(taken[-1], api)
        yield taken
