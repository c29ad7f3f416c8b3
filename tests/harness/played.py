"""An edge that is played by the test, on a scripted muxado peer: our agent connects to it."""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

from harness.muxado import AUTH, BIND, BIND_LABELED, PROXY, Json, Peer, Stream
from harness.process import PATIENCE
from harness.tls import Authority

URL = "http://played.test"


@dataclass
class Played:
    """One session of the agent."""

    peer: Peer
    auth: Json = field(default_factory=dict)
    binds: list[Json] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    # === what an edge says

    def login(self, **answer: Any) -> Json:
        """Lets it in; its request."""
        stream = self.peer.accept(AUTH)
        self.auth = stream.json()
        stream.answer({"Version": "3", "ClientId": "client-1", "Error": "", "Extra": {"Cookie": "crumb"}, **answer})
        return self.auth

    def refuse(self, code: int) -> Json:
        stream = self.peer.accept(AUTH)
        self.auth = stream.json()
        stream.answer({"Version": "", "ClientId": "", "Error": f"No.\n\nERR_NGROK_{code}"})
        return self.auth

    def bind(self, *, url: str = URL, opts: Json | None = None, fin: bool = True, **answer: Any) -> Json:
        """Answers its next bind, and waits until it has taken that in; its request."""
        stream = self.peer.accept(BIND)
        request = stream.json()
        told = request["Id"] or f"bind-{len(self.binds) + 1}"
        stream.answer(
            {
                "Id": told,
                "URL": url,
                "Proto": request["Proto"],
                "Opts": request["Opts"] if opts is None else opts,
                "Extra": {"Token": f"token-of-{told}"},
                "Error": "",
                **answer,
            },
            fin=fin,
        )
        self.peer.wait("the end of the bind's stream", lambda: stream.fin)
        self.binds.append(request)
        self.ids.append(told)
        return request

    def bind_labeled(self, told: str) -> Json:
        """The same for a bind by labels, which gets this id."""
        stream = self.peer.accept(BIND_LABELED)
        request = stream.json()
        stream.answer({"Id": told, "Error": ""})
        self.peer.wait("the end of the bind's stream", lambda: stream.fin)
        self.binds.append(request)
        self.ids.append(told)
        return request

    def up(self, binds: int = 1, **answer: Any) -> Played:
        self.login()
        for _ in range(binds):
            self.bind(**answer)
        return self

    # === visitors

    def header(self, **changed: Any) -> bytes:
        """A connection's header, with its length."""
        known = {
            "Id": self.ids[0] if self.ids else "",
            "ClientAddr": "203.0.113.7:4711",
            "Proto": "http",
            "EdgeType": "0",
            "PassthroughTLS": False,
        }
        return with_length(json.dumps({**known, **changed}).encode())

    def visit(self, first: bytes = b"", *, fin: bool = False, **changed: Any) -> Stream:
        """A visitor's connection, whose first bytes come in the same frame as the header."""
        return self.peer.open(PROXY, self.header(**changed) + first, fin=fin)

    def get(self, path: str = "/", *lines: str, **changed: Any) -> bytes:
        """All that comes back for a request."""
        head = "\r\n".join([f"GET {path} HTTP/1.1", "Host: played.test", "Connection: close", *lines, "", ""])
        return self.visit(head.encode(), **changed).everything()

    def closed(self) -> None:
        self.peer.wait_ended()


def with_length(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<q", len(text) if length is None else length) + text


class PlayedEdge:
    """Where the agent connects; each connection is one `Played`."""

    def __init__(self, authority: Authority, *names: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.context = authority.pair("127.0.0.1", *names).serving()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
        self.listener.settimeout(PATIENCE)
        self.env = {
            "PORTWAY_CONNECT_URL": f"127.0.0.1:{self.port}",
            "PORTWAY_CONNECT_CAS": str(authority.pem),
            "PORTWAY_AUTHTOKEN": "played-token",
        }
        self.sessions: list[Played] = []

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def next(self, **how: Any) -> Played:
        """The agent's next connection."""
        self.sessions.append(Played(Peer.accept_from(self.listener, self.context, **how)))
        return self.sessions[-1]

    def stop(self) -> None:
        self.listener.close()
        for session in self.sessions:
            session.peer.close()
