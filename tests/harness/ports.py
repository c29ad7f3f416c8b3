"""Ports that stay ours: below the range the kernel hands out, and split between the workers of one run.

Most listeners take port 0. An edge that is killed and must come back on the same port, and its range of TCP
endpoints, take theirs here: on a port of the kernel's range somebody else could be quicker.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import closing

FIRST, LAST = 21_000, 32_000
BLOCK = 24


def _blocks() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = (LAST - FIRST) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first = FIRST + worker * share
    blocks = list(range(first, first + share - BLOCK, BLOCK))
    # Runs side by side, of people who share a machine, begin at different places.
    turn = os.getpid() % len(blocks)
    return itertools.cycle(blocks[turn:] + blocks[:turn])


_next = _blocks()

# The last blocks that were given out. Nobody else gets them, even where nobody listens yet, or not just now.
_ours: deque[tuple[int, socket.socket]] = deque(maxlen=12)


def block() -> list[int]:
    """Ports next to each other, none of them in use right now."""
    while True:
        first = next(_next)
        ports = list(range(first, first + BLOCK))
        if _taken(first) and all(free(port) for port in ports):
            return ports


def _taken(first: int) -> bool:
    """Whether the block is ours from now on: a name that only one process can have, and which goes with it, says so."""
    if any(first == block for block, _ in _ours):
        return False
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0portway-tests-{first}")
    except OSError:
        mark.close()
        return False
    if len(_ours) == _ours.maxlen:
        _ours.popleft()[1].close()
    _ours.append((first, mark))
    return True


def free(port: int) -> bool:
    """Whether nobody listens there right now."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def unused() -> int:
    """A port where nobody listens, for an upstream that is down."""
    return block()[0]
