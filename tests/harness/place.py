"""A machine of its own for commands as documents show them: its ports, its addresses, an edge, and the command under a
name."""

from __future__ import annotations

import json
import os
import shlex
import socket
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.edge import Edge, isolated
from harness.network import Network
from harness.process import PATIENCE, Process, portway, stop_all
from harness.tls import Authority
from harness.visitor import Answer, Visitor

# What the examples of the overview forward to.
LAN = "192.168.1.2"
SIX = "2001:db8::123.123.123.123"


class Hello(BaseHTTPRequestHandler):
    """Says who it is and what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address = self.connection.getsockname()
        content = json.dumps({"here": f"{address[0]}:{address[1]}", "path": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Hello)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)


@dataclass
class Place:
    """The machine, and on it the command under the name `command`."""

    command: str
    home: Path
    network: Network
    edge: Edge
    authority: Authority
    processes: list[Process] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.link = self.home / "bin" / self.command
        self.link.parent.mkdir(parents=True)
        self.link.symlink_to(portway()[0])
        self.env = {**isolated(self.home), "PATH": f"{self.link.parent}:{os.environ['PATH']}"}
        self.config = Path(self.env["XDG_CONFIG_HOME"]) / self.command / f"{self.command}.yml"

    def configure(self, text: str = "", *, token: str | None = None) -> None:
        """The configuration file at its usual place: this edge, and what an example needs besides."""
        own = self.edge.token if token is None else token
        agent = {"connect_url": "{}:{}".format(*self.edge.agent), "connect_cas": str(self.edge.ca)}
        settings = json.dumps({**agent, "authtoken": own} if own else agent)
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(f"version: 3\nagent: {settings}\n{text}")

    def serves(self, port: int, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None) -> None:
        """A web server listens there."""
        server = self.network.run(lambda: Server(host, port, tls))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)

    def run(self, example: str, **env: str) -> Process:
        """Runs a line of the overview, word for word but for the name."""
        words = shlex.split(example)
        assert words[0] == "ngrok"
        process = Process(
            example, [*self.network.within, str(self.link), *words[1:]], env={**self.env, **env}, cwd=self.home
        )
        self.processes.append(process)
        return process

    def told(self, example: str, **env: str) -> str:
        """What a line says that ends by itself."""
        process = self.run(example, **env)
        assert process.wait() == 0, process.shown()
        return process.text("out")

    def urls(self, example: str, count: int = 1, **env: str) -> dict[str, str]:
        """Public URL and upstream of each endpoint that a line starts."""
        process = self.run(example, **env)
        found: dict[str, str] = {}

        def collect(line: str) -> bool | None:
            if line.startswith("Forwarding "):
                _, url, _, upstream = line.split()
                found[url] = upstream
            return True if len(found) == count else None

        process.wait_line(f"{count} URLs", collect)
        return found

    def url(self, example: str, **env: str) -> str:
        return next(iter(self.urls(example, 1, **env)))

    def get(self, url: str, path: str = "/", **headers: str) -> Answer:
        with self.network.run(lambda: Visitor(self.edge, url)) as visitor:
            return visitor.get(path, headers=headers)

    def connect(self, port: int) -> socket.socket:
        return self.network.run(lambda: socket.create_connection(("127.0.0.1", port), PATIENCE))

    def stop(self) -> None:
        stop_all(self.processes)
        for server in self.servers:
            server.shutdown()
            server.server_close()
        stop_all(self.edge.processes)
