"""The official SDKs as agents: each runs its own small program (`tests/compat/*/peer.*`), all with the same ask."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from harness import need
from harness.edge import Edge
from harness.process import PATIENCE, Process
from harness.visitor import Answer, Visitor

HERE = need.ROOT / "tests" / "compat"

Option = Sequence[Any]
Event = dict[str, Any]


def python_sdk() -> list[str]:
    return [str(need.tool("sdk-python", "bin", "python")), str(HERE / "python" / "peer.py")]


def node_sdk() -> list[str]:
    need.tool("sdk-node", "node_modules", "@ngrok", "ngrok")
    return [shutil.which("node") or need.lacking("node"), str(HERE / "node" / "peer.mjs")]


def go1_sdk() -> list[str]:
    return [str(need.tool("bin", "sdk-go1"))]


def go2_sdk() -> list[str]:
    return [str(need.tool("bin", "sdk-go2"))]


PROGRAMS: dict[str, Callable[[], list[str]]] = {"python": python_sdk, "node": node_sdk, "go1": go1_sdk, "go2": go2_sdk}


def each(**without: str) -> pytest.MarkDecorator:
    """A test for every SDK as `kind`, but those that cannot; why not stands beside the name."""
    assert without.keys() <= PROGRAMS.keys(), without
    return pytest.mark.parametrize("kind", [kind for kind in PROGRAMS if kind not in without])


@dataclass
class Want:
    """One endpoint to bind; `options` are calls of the SDK's builder, in the Python SDK's spelling."""

    proto: str
    upstream: str
    url: str = ""
    options: Sequence[Option] = ()

    def ask(self, kind: str) -> dict[str, Any]:
        options = [*self._located(kind), *map(list, self.options)]
        return {"proto": self.proto, "upstream": self.upstream, "options": options}

    def _located(self, kind: str) -> list[list[str]]:
        """Version 2 of the Go SDK is told a URL, the others its parts."""
        if kind == "go2":
            return [["url", self.url or {"http": "https://"}.get(self.proto, f"{self.proto}://")]]
        parts = urlsplit(self.url)
        if self.proto == "tcp":
            return [["remote_addr", parts.netloc]] if parts.netloc else []
        scheme = [["scheme", parts.scheme]] if self.proto == "http" and parts.scheme else []
        return [*scheme, *([["domain", parts.netloc]] if parts.netloc else [])]


class Sdk:
    """A running SDK agent."""

    def __init__(self, kind: str, process: Process, edge: Edge) -> None:
        self.kind = kind
        self.process = process
        self.edge = edge

    # === what it tells

    def event(self, name: str, number: int = 1, patience: float = PATIENCE) -> Event:
        """The so-manyth event of that name."""
        left = number

        def pick(line: str) -> Event | None:
            nonlocal left
            event = read(line)
            left -= event is not None and event["event"] == name
            return event if left == 0 else None

        return self.process.wait_line(f"event {name!r} × {number}", pick, 0, patience)

    def told(self, name: str) -> list[Event]:
        """All events of that name that have come."""
        events = [read(line) for line in self.process.text("out").splitlines()]
        return [event for event in events if event is not None and event["event"] == name]

    def up(self, count: int = 1) -> list[Event]:
        """The events of its first endpoints, once so many are bound."""
        self.event("up", count)
        return self.told("up")[:count]

    @property
    def url(self) -> str:
        """Of its only endpoint, or of the first."""
        return str(self.event("up")["url"])

    # === what it is told

    def bind(self, want: Want) -> None:
        self._order({"do": "bind", "endpoint": want.ask(self.kind)})

    def unbind(self, bound: str) -> None:
        """Closes the endpoint with this id."""
        self._order({"do": "close", "id": bound})

    def _order(self, order: dict[str, Any]) -> None:
        stdin = self.process.popen.stdin
        assert stdin
        stdin.write(json.dumps(order).encode() + b"\n")
        stdin.flush()

    def close(self) -> int:
        """Ends it as its user would: the session is closed first."""
        assert self.process.popen.stdin
        self.process.popen.stdin.close()
        return self.process.wait()

    # === who visits it

    def visitor(self, url: str = "") -> Visitor:
        return Visitor(self.edge, url or self.url)

    def get(self, path: str = "/", **headers: str) -> Answer:
        with self.visitor() as visitor:
            return visitor.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def read(line: str) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


@dataclass
class Sdks:
    edge: Edge
    started: list[Process]

    def run(
        self,
        kind: str,
        *wants: Want,
        token: str | None = None,
        metadata: str = "",
        heartbeat: int = 0,
        persist: bool = False,
        legs: bool = False,
        server: tuple[str, int] | None = None,
        ca: str = "",
    ) -> Sdk:
        """An agent of that SDK.

        `persist`: it does not give up at a refusal, if it is one that by itself would not. `legs`: it has several
        connections where it is offered several.
        """
        host, port = server or self.edge.agent
        ask = {
            "server": f"{host}:{port}",
            "ca": ca or str(self.edge.ca),
            "token": self.edge.token if token is None else token,
            "metadata": metadata,
            "heartbeat": heartbeat,
            "persist": persist,
            "legs": legs,
            "endpoints": [want.ask(kind) for want in wants],
        }
        argv = [*PROGRAMS[kind](), json.dumps(ask)]
        cwd = need.TOOLS / "sdk-node" if kind == "node" else None
        process = Process(f"sdk {kind}", argv, stdin=subprocess.PIPE, cwd=cwd)
        self.started.append(process)
        return Sdk(kind, process, self.edge)
