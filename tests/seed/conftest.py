"""Fixtures of the overview's examples."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.edge import Edge
from harness.network import Network
from harness.place import LAN, SIX, Place
from harness.tls import Authority


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network(LAN, SIX)
    yield network
    network.stop()


@pytest.fixture
def places(network: Network, authority: Authority, tmp_path: Path) -> Iterator[Callable[..., Place]]:
    made: list[Place] = []

    def make(command: str, rules: str = "") -> Place:
        """`rules`: what the edge's own file says."""
        home = tmp_path / command
        flags = ["--domain", "ngrok.app", "--domain", "example.com"]
        if rules:
            file = tmp_path / "edge.yml"
            file.write_text(rules)
            flags += ["--config", str(file)]
        token = f"t{secrets.token_hex(12)}"
        edge = Edge(tmp_path / "edge", token, flags, within=network.within)
        place = Place(command, home, network, edge, authority)
        made.append(place)
        edge.start()
        place.configure()
        return place

    yield make
    for place in made:
        place.stop()


@pytest.fixture(params=["ngrok", "portway"])
def place(request: pytest.FixtureRequest, places: Callable[..., Place]) -> Place:
    return places(request.param)


@pytest.fixture
def echo(network: Network) -> Iterator[Callable[[int], None]]:
    """Starts what sends back what comes to a port."""
    listeners: list[socket.socket] = []

    def start(port: int) -> None:
        listener = network.run(lambda: socket.create_server(("127.0.0.1", port)))
        listener.settimeout(None)
        listeners.append(listener)

        def serve() -> None:
            while True:
                try:
                    io, _ = listener.accept()
                except OSError:
                    return
                with closing(io):
                    io.sendall(io.recv(1 << 16))

        threading.Thread(target=serve, daemon=True).start()

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
