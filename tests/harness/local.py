"""The local HTTP interface of an agent, asked as programs ask it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from harness.agents import Agent
from harness.edge import address
from harness.process import PATIENCE, Process
from harness.visitor import Answer

JSON = {"Content-Type": "application/json"}


class LocalApi:
    """Where the agent of `process` said it listens."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.addr = process.wait_for("starting web service", obj="web")["addr"]
        self.host, self.port = address(self.addr)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """`body`: any JSON value; `raw`: bytes, sent as they are."""
        content = json.dumps(body).encode() if body is not None else raw
        known = JSON if content is not None else {}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            connection.putrequest(method, path, skip_host="Host" in (headers or {}))
            for name, value in {**known, **(headers or {})}.items():
                connection.putheader(name, value)
            if content is not None and "Content-Length" not in (headers or {}):
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Any:
        """The object at `path`."""
        answer = self.ask("GET", path, headers=headers)
        assert answer.status == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json

    def post(self, path: str, body: Any, status: int = 201) -> Any:
        answer = self.ask("POST", path, body)
        assert answer.status == status, answer.text
        return answer.json if answer.body else None

    def delete(self, path: str) -> None:
        answer = self.ask("DELETE", path)
        assert (answer.status, answer.body) == (204, b""), answer.text

    def names(self, family: str = "tunnels") -> list[str]:
        return [one["name"] for one in self.get(f"/api/{family}")[family]]


def local(agent: Agent | Process) -> LocalApi:
    return LocalApi(agent.process if isinstance(agent, Agent) else agent)
