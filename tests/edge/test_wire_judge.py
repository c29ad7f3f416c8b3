"""The scripted peer itself: it notices what an edge must never send (wire-protocol.md §8 rows 13, 17, 22–25)."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from harness.muxado import DATA, FIN, WINDOW, WNDINC, Frame, Peer, Plain, credit, data, goaway, rst

OPEN = data(2, b"\0\0\0\3", syn=True)


@pytest.fixture
def pair() -> Iterator[tuple[Peer, socket.socket]]:
    """An agent, and what plays the edge."""
    ours, theirs = socket.socketpair()
    peer = Peer(Plain(ours), agent=True, credit=False)
    yield peer, theirs
    theirs.close()
    peer.close()


def verdict(pair: tuple[Peer, socket.socket], *frames: Frame) -> list[str]:
    peer, edge = pair
    edge.sendall(b"".join(frame.encode() for frame in frames))
    peer.wait("all of them", lambda: len(peer.frames) == len(frames))
    return [complaint.split(":")[0] for complaint in peer.complaints]


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ([Frame(9, 2)], "unknown type of frame"),
        ([OPEN, Frame(DATA, 2, b"x", 4)], "reserved flags, or flags on what is no DATA"),
        ([OPEN, Frame(WNDINC, 2, b"\0\0\0\1", FIN)], "reserved flags, or flags on what is no DATA"),
        ([data(2, b"\0\0\0\3", syn=True, fin=True)], "SYN and FIN together"),
        ([data(2, b"\0\0\0", syn=True)], "SYN without the whole type"),
        ([data(5, b"\0\0\0\3", syn=True)], "SYN on a stream that is open, or of the wrong parity"),
        ([OPEN, OPEN], "SYN on a stream that is open, or of the wrong parity"),
        ([data(0, b"x")], "stream 0"),
        ([OPEN, credit(2, 0)], "WNDINC of 0"),
        ([OPEN, rst(2, 0)], "RST without a code"),
        ([OPEN, data(2, b"x" * (33 << 10))], "a frame of more than 32 KiB"),
        ([OPEN, *[data(2, b"x" * 32_768)] * (WINDOW // 32_768)], "more than credit allows"),
        ([goaway(), data(3)], "a frame behind GOAWAY"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_kills_an_sdk_is_noticed(pair: tuple[Peer, socket.socket], frames: list[Frame], complaint: str) -> None:
    assert verdict(pair, *frames) == [complaint]


def test_what_is_in_order_is_not_complained_about(pair: tuple[Peer, socket.socket]) -> None:
    whole = [data(2, b"x" * 32_764), *[data(2, b"x" * 32_768)] * (WINDOW // 32_768 - 1)]
    rest = [credit(2, 5), data(2, fin=True), rst(2, 6), goaway(3, 0, b"bye")]
    assert verdict(pair, OPEN, *whole, *rest) == []
