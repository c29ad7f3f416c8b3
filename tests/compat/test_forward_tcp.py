"""TCP endpoints of the official SDKs."""

from __future__ import annotations

import hashlib
import socket
import threading
from urllib.parse import urlsplit

from harness.edge import Edge
from harness.sdk import Sdks, Want, each
from harness.upstreams import BLOCK, Upstreams, pattern_digest
from harness.visitor import dial


def everything(io: socket.socket) -> bytes:
    seen = bytearray()
    while data := io.recv(1 << 16):
        seen += data
    return bytes(seen)


@each()
def test_a_port_is_given_and_bytes_pass_both_ways(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    length = 4 << 20
    sdk = sdks.run(kind, Want("tcp", f"tcp://{upstreams.echo().address}"))
    url = urlsplit(sdk.url)
    assert (url.scheme, url.port in edge.tcp_ports) == ("tcp", True)
    with dial(edge, sdk.url) as io:
        sending = threading.Thread(target=io.sendall, args=(BLOCK * (length // len(BLOCK)),))
        sending.start()
        seen, left = hashlib.sha256(), length
        while left:
            data = io.recv(1 << 16)
            assert data, f"the end came {left} bytes early"
            seen.update(data)
            left -= len(data)
        sending.join()
    assert seen.hexdigest() == pattern_digest(length)


@each()
def test_the_port_that_was_asked_for_is_given(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    [port] = edge.free_ports(1)
    wanted = f"tcp://localhost:{port}"
    sdk = sdks.run(kind, Want("tcp", f"tcp://{upstreams.echo().address}", wanted))
    assert sdk.url == wanted
    with dial(edge, sdk.url) as io:
        io.sendall(b"hello")
        assert io.recv(5) == b"hello"


@each()
def test_an_upstream_may_speak_first_and_end_it(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.recording(greeting=b"220 ready\r\n")
    sdk = sdks.run(kind, Want("tcp", f"tcp://{upstream.address}"))
    with dial(edge, sdk.url) as io:
        assert io.recv(100) == b"220 ready\r\n"
        upstream.down()
        assert everything(io) == b""


@each(go1="it closes the upstream at a visitor's FIN", go2="it closes the upstream at a visitor's FIN")
def test_who_has_said_all_still_hears_the_answer(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    sdk = sdks.run(kind, Want("tcp", f"tcp://{upstreams.echo().address}"))
    with dial(edge, sdk.url) as io:
        io.sendall(BLOCK * 8)
        io.shutdown(socket.SHUT_WR)
        assert everything(io) == BLOCK * 8


@each()
def test_a_visitor_who_leaves_lets_the_upstream_go(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.echo()
    sdk = sdks.run(kind, Want("tcp", f"tcp://{upstream.address}"))
    with dial(edge, sdk.url) as io:
        io.sendall(b"x")
        assert io.recv(1) == b"x"
        assert upstream.open_connections == 1
    upstream.wait_open(0)


@each()
def test_an_upstream_that_is_down_ends_the_connection(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    sdk = sdks.run(kind, Want("tcp", f"tcp://{upstreams.refusing()}"))
    with dial(edge, sdk.url) as io:
        assert everything(io) == b""
