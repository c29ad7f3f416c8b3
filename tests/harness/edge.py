"""An edge of our own, as `portway edge` runs it."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import ports
from harness.process import Process, portway

Address = tuple[str, int]

SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{[^}]*\})? ([-+.\deEinfNa]+)$", re.MULTILINE)


def address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def isolated(home: Path) -> dict[str, str]:
    """A home of its own: nothing of the person running the tests has a say (see also `conftest.py`)."""
    home.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_STATE_HOME": str(home / "state"),
    }


@dataclass
class Edge:
    """A running edge and where it listens. `restart` brings it back on the same addresses and data."""

    home: Path
    token: str
    flags: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    within: Sequence[str] = ()
    """The words of a program that runs it."""
    processes: list[Process] = field(default_factory=list)
    fixed: dict[str, str] = field(default_factory=dict)
    agent: Address = ("", 0)
    http: Address = ("", 0)
    https: Address = ("", 0)
    api: Address = ("", 0)
    join: str = ""

    def __post_init__(self) -> None:
        block = ports.block()
        names = ("agent", "http", "https", "api")
        self.fixed = {name: f"127.0.0.1:{port}" for name, port in zip(names, block, strict=False)}
        self.tcp_ports = block[len(names) :]

    @property
    def process(self) -> Process:
        return self.processes[-1]

    @property
    def data(self) -> Path:
        return self.home / "edge-data"

    @property
    def ca(self) -> Path:
        return self.data / "ca.pem"

    def argv(self) -> list[str]:
        return [
            *self.within,
            *portway(),
            "edge",
            *("--domain", "localhost"),
            *(part for name in self.fixed for part in (f"--{name}-addr", self.fixed[name])),
            *("--tcp-ports", f"{self.tcp_ports[0]}-{self.tcp_ports[-1]}"),
            *("--data-dir", str(self.data)),
            *("--authtoken", self.token),
            *("--log", "stdout", "--log-format", "logfmt", "--log-level", "debug"),
            *self.flags,
        ]

    def start(self) -> Edge:
        name = f"edge {len(self.processes) + 1}"
        self.processes.append(Process(name, self.argv(), env={**isolated(self.home), **self.env}))
        ready = self.process.wait_for("edge ready")
        self.agent, self.http, self.https, self.api = (
            address(ready[f"{name}_addr"]) for name in ("agent", "http", "https", "api")
        )
        self.join = ready.get("join", "")
        return self

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> Edge:
        if self.process.running():
            self.process.kill()
        return self.start()

    def free_ports(self, count: int) -> list[int]:
        """Ports to ask for: random ones, of the same range, may be with others that share this edge."""
        return [port for port in self.tcp_ports if ports.free(port)][:count]

    def agent_env(self) -> dict[str, str]:
        """What points an agent at this edge."""
        return {
            "PORTWAY_CONNECT_URL": "{}:{}".format(*self.agent),
            "PORTWAY_CONNECT_CAS": str(self.ca),
            "PORTWAY_AUTHTOKEN": self.token,
        }

    # === its own HTTP interface

    def ask(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(*self.api, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """Every sample, by `name{labels}`."""
        status, text = self.ask("/metrics")
        assert status == 200, text
        return {name + labels: float(value) for name, labels, value in SAMPLE.findall(text)}

    def metric(self, name: str) -> float:
        """The sum over all labels; it is an error when there is no such metric."""
        found = [value for key, value in self.metrics().items() if key.split("{")[0] == name]
        assert found, f"no metric {name} in\n{self.ask('/metrics')[1]}"
        return sum(found)

    def connect(self, to: Address | None = None, timeout: float = 20) -> socket.socket:
        """A plain visitor connection, to the HTTP listener unless said otherwise."""
        return socket.create_connection(to or self.http, timeout)
