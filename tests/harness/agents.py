"""Agents of our own, as `portway http`, `tcp`, `tls` and `start` run them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import logs
from harness.edge import Edge, isolated
from harness.process import Process, portway, stop_all
from harness.visitor import Answer, Visitor

LOG = ("--log", "stdout", "--log-format", "logfmt", "--log-level", "debug")


@dataclass
class Agent:
    process: Process
    edge: Edge | None

    def up(self, count: int = 1, since: int = 0) -> list[str]:
        """The URLs of its endpoints, once so many are bound."""
        urls: list[str] = []
        self.process.wait_line(f"{count} × 'started tunnel'", lambda line: self._collect(line, urls, count), since)
        return urls

    def _collect(self, line: str, urls: list[str], count: int) -> bool | None:
        record = logs.parse(line)
        if record and record["msg"] == "started tunnel":
            urls.append(record["url"])
        return True if len(urls) == count else None

    @property
    def url(self) -> str:
        """Of its only endpoint, or of the first."""
        return self.up()[0]

    def visitor(self) -> Visitor:
        return Visitor(self.edge, self.url)

    def get(self, path: str = "/", **headers: str) -> Answer:
        with self.visitor() as visitor:
            return visitor.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def kill(self) -> None:
        self.process.kill()


@dataclass
class Agents:
    """Starts agents of one edge (or of none: embedded) and keeps them for the end of the test."""

    home: Path
    edge: Edge | None = None
    started: list[Process] = field(default_factory=list)
    number: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        log: bool = True,
        name: str = "",
        within: Sequence[str] = (),
    ) -> Process:
        """Any command of portway; `within`: the words of a program that runs it."""
        number = next(self.number)
        where = self.edge.agent_env() if self.edge else {}
        process = Process(
            name or f"agent {number}",
            [*within, *portway(), *arguments, *(LOG if log else ())],
            env={**isolated(self.home / f"agent-{number}"), **where, **(env or {})},
        )
        self.started.append(process)
        return process

    def agent(self, *arguments: str, env: Mapping[str, str] | None = None) -> Agent:
        return Agent(self.run(*arguments, env=env), self.edge)

    def http(self, upstream: str, *flags: str, url: str = "", env: Mapping[str, str] | None = None) -> Agent:
        return self.agent("http", upstream, *(("--url", url) if url else ()), *flags, env=env)

    def tcp(self, upstream: str, *flags: str, url: str = "") -> Agent:
        return self.agent("tcp", upstream, *(("--url", url) if url else ()), *flags)

    def tls(self, upstream: str, *flags: str, url: str = "") -> Agent:
        return self.agent("tls", upstream, *(("--url", url) if url else ()), *flags)

    def from_config(self, text: str, *arguments: str) -> Agent:
        path = self.home / f"config-{len(self.started)}.yml"
        path.write_text(text)
        return self.agent("start", *(arguments or ("--all",)), "--config", str(path))

    def stop(self) -> None:
        stop_all(self.started)
