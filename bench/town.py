"""An edge and an agent, or a pair of nginx, in front of real upstreams, for one scenario."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness import ports
from harness.process import PATIENCE, portway, until
from harness.scripted import ScriptedAgent
from harness.sdk import Sdks, Want
from harness.servers import listening
from portway.bench import BenchError
from portway.bench.generator import measure
from portway.bench.sample import cpu_secs, rss_mb
from portway.bench.target import Target

BIG = 64 << 20


@dataclass
class Pair:
    """What visitors and the relay between the two sides need to know."""

    town: Town
    between: tuple[str, int]
    """Where the agent's side connects."""
    http: int
    host: str | None
    tcp: int
    """Leads to iperf3, and the next two to what sends without end and to an echo."""
    bulk: int
    tcp_hold: int
    edge: int = 0
    agent: int = 0
    config: Path = field(default_factory=Path)

    def connect(self, port: int | None = None) -> None:
        """Starts the agent's side, over a relay on this port."""
        port = port or self.between[1]
        text = self.config.read_text().replace("@between@", f"127.0.0.1:{port}")
        ready = self.config.with_suffix(".ready" + self.config.suffix)
        ready.write_text(text)
        if self.host is None:
            self.agent = self.town.run("nginx", "-c", str(ready))
        else:
            self.agent = self.town.run(*portway(), "start", "--all", "--config", str(ready), "--log", "stdout")
        for number in (self.tcp, self.bulk, self.tcp_hold):
            wait_listening(number)

    def back(self) -> None:
        """Until a request is answered."""
        until("a request is answered", self._answers)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.http), 5) as io:
            io.sendall(f"GET /1k HTTP/1.1\r\nHost: {self.host or 'x'}\r\nConnection: close\r\n\r\n".encode())
            return io.recv(64).startswith(b"HTTP/1.1 200")
        return False

    def edge_cpu(self) -> float:
        """Seconds of CPU that the edge has used."""
        return cpu_secs([self.edge]) or 0.0

    def agent_cpu(self) -> float:
        return cpu_secs([self.agent]) or 0.0

    def resident(self) -> tuple[float, float]:
        """MB in memory, of edge and agent."""
        return rss_mb(self.edge) or 0.0, rss_mb(self.agent) or 0.0

    def session_bytes(self) -> int:
        """Payload on the connections between the two sides, both ways, since they are there."""
        command = ["ss", "-tinH", "state", "established", f"sport = :{self.between[1]}"]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return sum(int(number) for number in re.findall(r"bytes_(?:sent|received):(\d+)", told))


class Town:
    """Used with `with`: what was started is ended, and its files are gone."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="portway-bench-"))
        self.home.chmod(0o755)
        self.running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Town:
        www = self.home / "www"
        www.mkdir()
        (www / "1k").write_bytes(b"x" * 1024)
        with (www / "big").open("wb") as big:
            big.truncate(BIG)
        self.web, self.iperf, self.echo, self.endless, *self.free = ports.block()
        (self.home / "web.conf").write_text(
            f"user root; worker_processes 1; daemon off; pid {self.home}/web.pid; error_log {self.home}/web.err;\n"
            "events { worker_connections 20000; }\n"
            "http { access_log off; sendfile on; keepalive_requests 100000000;\n"
            f"server {{ listen 127.0.0.1:{self.web} backlog=4096; root {www}; }} }}\n"
        )
        self.run("nginx", "-c", str(self.home / "web.conf"))
        self.run("iperf3", "-s", "-B", "127.0.0.1", "-p", str(self.iperf))
        self.run(sys.executable, "-c", UPSTREAMS, str(self.echo), str(self.endless))
        for port in (self.web, self.iperf, self.echo, self.endless):
            wait_listening(port)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.running):
            process.terminate()
        end = time.monotonic() + 10
        while time.monotonic() < end and any(process.poll() is None for process in self.running):
            time.sleep(0.02)
        for process in self.running:
            process.kill()
            process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def run(self, *argv: str) -> int:
        with (self.home / f"{len(self.running)}.log").open("wb") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env())
        self.running.append(process)
        return process.pid

    def end(self, pid: int) -> None:
        """Ends one of them before the others."""
        process = next(process for process in self.running if process.pid == pid)
        self.running.remove(process)
        process.terminate()
        process.wait()

    def env(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home), "PATH": path()}

    # === the two sides

    @property
    def agent_door(self) -> tuple[str, int]:
        """Where an edge of this town listens for agents."""
        return "127.0.0.1", self.free[0]

    def portway(self, *flags: str) -> Pair:
        """`flags`: more of them for the edge."""
        data = self.home / "edge"
        http, *tcp = self.free[1:5]
        edge = self.run(
            *(*portway(), "edge", "--domain", "localhost", "--data-dir", str(data), "--authtoken", "bench-token"),
            *("--agent-addr", "{}:{}".format(*self.agent_door), "--http-addr", f"127.0.0.1:{http}"),
            *("--tcp-ports", f"{min(tcp)}-{max(tcp)}", "--https-addr", "off", "--api-addr", "off", "--log", "stdout"),
            *flags,
        )
        wait_listening(self.agent_door[1])
        upstreams = (self.iperf, self.endless, self.echo)
        endpoints = "".join(
            f"  - {{name: t{port}, url: 'tcp://localhost:{port}', upstream: {{url: 'tcp://127.0.0.1:{upstream}'}}}}\n"
            for port, upstream in zip(tcp, upstreams, strict=True)
        )
        config = self.home / "agent.yml"
        config.write_text(
            "version: 3\nagent:\n  authtoken: bench-token\n  connect_url: '@between@'\n"
            f"  connect_cas: {data}/ca.pem\n  web_addr: false\nendpoints:\n"
            f"  - {{name: web, url: 'http://web.localhost', upstream: {{url: 'http://127.0.0.1:{self.web}'}}}}\n{endpoints}"
        )
        iperf3, bulk, hold = tcp
        return Pair(self, self.agent_door, http, "web.localhost", iperf3, bulk, hold, edge=edge, config=config)

    def nginx(self) -> Pair:
        """TLS between two that pass bytes: to iperf3, where a relay may stand between, to the pages and to bulk."""
        key, cert = self.home / "key.pem", self.home / "cert.pem"
        made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=localhost"
        argv = [*made.split(), "-keyout", str(key), "-out", str(cert)]
        subprocess.run(argv, check=True, capture_output=True)
        between, tcp, *more = self.free[:6]
        module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
        load = f"load_module {module};\n" if module.exists() else ""
        front = f"worker_processes 1; daemon off; events {{ worker_connections 4000; }} pid {self.home}"
        far_web, http, far_bulk, bulk = more
        far = ((between, self.iperf), (far_web, self.web), (far_bulk, self.endless))
        near = ((tcp, "@between@"), (http, f"127.0.0.1:{far_web}"), (bulk, f"127.0.0.1:{far_bulk}"))
        (self.home / "far.conf").write_text(
            f"{load}{front}/far.pid; error_log {self.home}/far.err; stream {{ proxy_buffer_size 64k;\n"
            f"ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;\n"
            + "".join(f"server {{ listen 127.0.0.1:{at} ssl; proxy_pass 127.0.0.1:{to}; }}\n" for at, to in far)
            + "}\n"
        )
        config = self.home / "near.conf"
        config.write_text(
            f"{load}{front}/near.pid; error_log {self.home}/near.err; stream {{ proxy_buffer_size 64k;\n"
            "proxy_ssl on; proxy_ssl_protocols TLSv1.3;\n"
            + "".join(f"server {{ listen 127.0.0.1:{at}; proxy_pass {to}; }}\n" for at, to in near)
            + "}\n"
        )
        edge = self.run("nginx", "-c", str(self.home / "far.conf"))
        wait_listening(between)
        return Pair(self, ("127.0.0.1", between), http, None, tcp, bulk, bulk, edge=edge, config=config)

    def sdk(self, pair: Pair, port: int) -> None:
        """An agent made with the Python SDK that leads to iperf3, over a relay on this port."""
        edge: Any = SimpleNamespace(ca=self.home / "edge" / "ca.pem", token="bench-token")
        want = Want("tcp", f"tcp://127.0.0.1:{self.iperf}", f"tcp://localhost:{pair.tcp}")
        agent = Sdks(edge, []).run("python", want, server=("127.0.0.1", port))
        self.running.append(agent.process.popen)
        agent.up()

    # === visitors

    @contextlib.contextmanager
    def slow_readers(self, port: int, count: int, rate: float) -> Iterator[None]:
        """So many that are sent bulk and take `rate` bytes a second each."""
        over = threading.Event()

        def read() -> None:
            with socket.create_connection(("127.0.0.1", port)) as io:
                while not over.is_set():
                    over.wait(len(io.recv(65536)) / rate)

        readers = [threading.Thread(target=read, daemon=True) for _ in range(count)]
        for reader in readers:
            reader.start()
        time.sleep(2)  # until what can fill up is full
        try:
            yield
        finally:
            over.set()
            for reader in readers:
                reader.join()

    async def hold(self, pair: Pair, count: int) -> tuple[float, float]:
        """So many connections at once, each of which has said and heard one byte: what both sides hold then, MB."""
        turn = asyncio.Semaphore(200)
        held: list[asyncio.StreamWriter] = []

        async def one() -> None:
            async with turn:
                reader, writer = await asyncio.open_connection("127.0.0.1", pair.tcp_hold)
                writer.write(b"x")
                await asyncio.wait_for(reader.readexactly(1), PATIENCE)
                held.append(writer)

        await asyncio.gather(*(one() for _ in range(count)))
        await asyncio.sleep(1)
        sides = pair.resident()
        for writer in held:
            writer.close()
        return sides

    async def cancel_downloads(self, pair: Pair, count: int) -> None:
        """Each is broken off after a few kilobytes."""
        turn = asyncio.Semaphore(50)

        async def one() -> None:
            async with turn:
                reader, writer = await asyncio.open_connection("127.0.0.1", pair.http)
                writer.write(f"GET /big HTTP/1.1\r\nHost: {pair.host}\r\n\r\n".encode())
                await asyncio.wait_for(reader.readexactly(20_000), PATIENCE)
                writer.transport.abort()

        await asyncio.gather(*(one() for _ in range(count)))

    def agents(self, pair: Pair, count: int) -> list[ScriptedAgent]:
        """So many that have logged in, and do nothing."""
        edge: Any = SimpleNamespace(agent=pair.between, ca=self.home / "edge" / "ca.pem", token="bench-token")
        return [ScriptedAgent.logged_in(edge) for _ in range(count)]

    def storm(self, pair: Pair, count: int) -> None:
        """Agents that log in, a hundred at a time, and are gone."""
        for _ in range(0, count, 100):
            for agent in self.agents(pair, 100):
                agent.close()


# Echo, and bytes without end to whoever connects.
UPSTREAMS = """
import asyncio, sys
async def echo(reader, writer):
    try:
        while data := await reader.read(4096):
            writer.write(data); await writer.drain()
    except OSError: pass
    finally: writer.close()
async def endless(reader, writer):
    try:
        while True:
            writer.write(bytes(65536)); await writer.drain()
    except OSError: pass
    finally: writer.close()
async def main():
    await asyncio.start_server(echo, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await asyncio.start_server(endless, "127.0.0.1", int(sys.argv[2]))
    await asyncio.Event().wait()
asyncio.run(main())
"""


def path() -> str:
    return os.environ["PATH"] + ":/usr/sbin"


def wait_listening(port: int) -> None:
    """Until somebody listens there; no connection is made to find out, for it would be one too many for iperf3."""
    until(f"somebody listens on port {port}", lambda: listening(port))


def iperf(port: int, secs: int, *, omit: int, up: bool = False) -> float:
    """Mbit/s down one stream, or up, once it has run for `omit` seconds."""
    argv = ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-J", "-t", str(secs), "-O", str(omit)]
    argv += [] if up else ["-R"]
    told = json.loads(subprocess.run(argv, check=False, capture_output=True, text=True).stdout)
    if "error" in told:
        raise OSError(f"iperf3: {told['error']}")
    rate: float = told["end"]["sum_received"]["bits_per_second"] / 1e6
    return rate


def requests(pair: Pair, secs: int, *, connections: int, rate: float | None = None) -> Mapping[str, float]:
    """Small requests as `portway bench` makes them, so many a second or as many as can be: `p50` and `p99` of their
    latency in milliseconds, and `count`."""
    authority = pair.host or "127.0.0.1"
    address = f"127.0.0.1:{pair.http}"
    target = Target(f"http://{authority}/1k", False, authority, pair.http, authority, "/1k", address)
    plan = {"target": target.plan(), "kind": "steady", "secs": secs, "warm_up_secs": 0.5, "connections": connections}
    done = measure(plan | ({"rate": rate} if rate else {}), lambda _: None)
    if done["failures"]:
        raise BenchError(f"requests failed: {done['failures']}")
    latency = done["latency_us"]
    return {"p50": latency["p50"] / 1e3, "p99": latency["p99"] / 1e3, "count": done["requests"]}
