"""The official SDKs as agents: each runs its own small program (`tests/compat/*/peer.*`), all with the same ask."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness import need
from harness.edge import Edge
from harness.process import PATIENCE, Process

HERE = need.ROOT / "tests" / "compat"


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

Option = Sequence[str]


@dataclass
class Want:
    """One endpoint to bind; `options` are calls of the SDK's builder, in the Python SDK's spelling."""

    proto: str
    upstream: str
    options: Sequence[Option] = ()


class Sdk:
    """A running SDK agent."""

    def __init__(self, kind: str, process: Process) -> None:
        self.kind = kind
        self.process = process

    def event(self, name: str, since: int = 0, patience: float = PATIENCE) -> dict[str, Any]:
        def pick(line: str) -> dict[str, Any] | None:
            try:
                event = json.loads(line)
            except ValueError:
                return None
            return event if isinstance(event, dict) and event.get("event") == name else None

        return self.process.wait_line(f"event {name!r}", pick, since, patience)

    def ups(self, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        at = 0
        for _ in range(count):
            event = self.event("up", since=at)
            found.append(event)
            at = next(n for n in range(at, self.process.position) if json_of(self.process.lines[n][1]) == event) + 1
        return found

    @property
    def url(self) -> str:
        return str(self.event("up")["url"])

    def close(self) -> int:
        """Ends it as its user would: the session is closed first."""
        assert self.process.popen.stdin
        self.process.popen.stdin.close()
        return self.process.wait()


def json_of(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


@dataclass
class Sdks:
    edge: Edge
    started: list[Process]

    def run(self, kind: str, *wants: Want, token: str | None = None, metadata: str = "") -> Sdk:
        host, port = self.edge.agent
        ask = {
            "server": f"{host}:{port}",
            "ca": str(self.edge.ca),
            "token": self.edge.token if token is None else token,
            "metadata": metadata,
            "endpoints": [
                {"proto": w.proto, "upstream": w.upstream, "options": [list(o) for o in w.options]} for w in wants
            ],
        }
        argv = [*PROGRAMS[kind](), json.dumps(ask)]
        cwd = need.TOOLS / "sdk-node" if kind == "node" else None
        process = Process(f"sdk {kind}", argv, stdin=subprocess.PIPE, cwd=cwd)
        self.started.append(process)
        return Sdk(kind, process)
