"""Upstreams of every kind behind one agent, and visitors that tell whether each endpoint serves."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

from harness.edge import Edge
from harness.process import PATIENCE, until
from harness.tls import Authority
from harness.upstreams import BLOCK, Upstreams
from harness.visitor import Visitor

WORD = b"there and back again"
SCHEMES = ("http", "http", "https", "tcp", "tcp", "tls", "tls")
ANY_NAMES = tuple(f"{scheme}://" for scheme in SCHEMES)


class Town:
    """An HTTP upstream, an echo for tcp endpoints, and one with TLS for tls endpoints."""

    def __init__(self, upstreams: Upstreams, authority: Authority) -> None:
        self.http = upstreams.http()
        self.tcp = upstreams.echo()
        self.trusted = authority.pem
        self.tls = upstreams.echo(tls=authority.pair("localhost").serving())
        self.upstreams = (self.http, self.tcp, self.tls)

    def config(self, urls: Sequence[str] = ANY_NAMES, agent: str = "{}") -> str:
        """A file for an agent that serves these URLs; random names unless given."""
        to = {"http": self.http.url, "https": self.http.url, "tcp": self.tcp.address, "tls": self.tls.address}
        endpoints = [
            {"name": f"e{number}", "url": url, "upstream": {"url": to[url.split(":")[0]]}}
            for number, url in enumerate(urls)
        ]
        return f"version: 3\nagent: {agent}\nendpoints: {json.dumps(endpoints)}\n"

    def visit(self, edge: Edge, url: str) -> None:
        """One visitor of this URL; raises where it gets anything but what the upstream gives."""
        parts = urlsplit(url)
        if parts.scheme in ("http", "https"):
            with Visitor(edge, url) as visitor:
                answer = visitor.get("/bytes/1000")
                assert (answer.status, answer.body) == (200, BLOCK[:1000]), (answer.status, answer.body[:200])
            return
        if parts.scheme == "tcp":
            io = socket.create_connection(("127.0.0.1", parts.port or 0), PATIENCE)
        else:
            io = self._shake(edge, parts.hostname or "")
        with io:
            io.sendall(WORD)
            back = b""
            while len(back) < len(WORD):
                more = io.recv(1 << 16)
                if not more:
                    raise ConnectionError(f"{url} ended after {back!r}")
                back += more
            assert back == WORD

    def _shake(self, edge: Edge, name: str) -> ssl.SSLSocket:
        """TLS with the upstream itself: its authority tells that nobody ended it on the way."""
        context = ssl.create_default_context(cafile=str(self.trusted))
        context.check_hostname = False  # the names are random
        raw = socket.create_connection(edge.https, PATIENCE)
        try:
            return context.wrap_socket(raw, server_hostname=name)
        except BaseException:
            raw.close()
            raise

    def serves(self, edge: Edge, url: str) -> bool:
        try:
            self.visit(edge, url)
        except (OSError, AssertionError, http.client.HTTPException):
            return False
        return True

    def wait_all(self, edge: Edge, urls: Sequence[str]) -> None:
        """Until every one of them serves."""
        for url in urls:
            until(f"{url} serves", lambda url=url: self.serves(edge, url))  # type: ignore[misc]
