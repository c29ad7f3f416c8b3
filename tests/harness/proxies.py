"""Other people's proxies on the way to an edge: tinyproxy (HTTP) and dante (SOCKS5), with or without credentials.

They alone know the name `edge.test`: an agent that reaches it has left the name to the proxy.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

from harness import need, ports
from harness.edge import Address
from harness.namespace import seeing
from harness.process import Process
from harness.servers import start
from harness.tls import Pair
from harness.upstreams import Listening, Loop

EDGE = "edge.test"
USER = "visitor"

TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 600
MaxClients 50
LogLevel Connect
"""

DANTED = """
logoutput: stderr
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: {method}
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 log: connect error }}
"""


class Proxy:
    """A running proxy; `restart` brings it back on its port, with credentials or without."""

    scheme = "http"
    # tinyproxy reads letters, digits, and - . _ only.
    password = "p_ss.w0rd"
    quoted = "visitor:p%5Fss%2Ew0rd"

    def __init__(self, home: Path, *, locked: bool = False) -> None:
        self.home = home / f"{self.scheme}-proxy"
        self.home.mkdir()
        self.port = ports.block()[0]
        self.hosts = self.home / "hosts"
        self.hosts.write_text(f"127.0.0.1 localhost {EDGE}\n")
        self.processes: list[Process] = []
        self.restart(locked=locked)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"

    def url_with(self, more: str = "") -> str:
        """With its credentials, to which `more` is added."""
        return f"{self.scheme}://{self.quoted}{more}@{self.address}"

    @property
    def log(self) -> str:
        return "".join(process.text("out") + process.text("err") for process in self.processes)

    def restart(self, *, locked: bool = False, password: str = "") -> None:
        self.stop()
        argv = self.argv((password or self.password) if locked else None)
        self.processes.append(start(f"{self.scheme} proxy", argv, self.port))

    def argv(self, password: str | None) -> list[str]:
        raise NotImplementedError

    def stop(self) -> None:
        for process in self.processes:
            process.stop()


class Tinyproxy(Proxy):
    def argv(self, password: str | None) -> list[str]:
        conf = self.home / "tinyproxy.conf"
        login = f"BasicAuth {USER} {password}\n" if password else ""
        conf.write_text(TINYPROXY.format(port=self.port) + login)
        program = need.program("tinyproxy", "tinyproxy")
        return [*seeing({"/etc/hosts": self.hosts}), program, "-d", "-c", str(conf)]


class Dante(Proxy):
    """It asks the system whether a password is right, so it sees a system in which one is."""

    scheme = "socks5"
    password = "p@ss:w0rd"
    quoted = "visitor:p%40ss%3Aw0rd"

    def argv(self, password: str | None) -> list[str]:
        if os.geteuid():
            need.lacking("the right to run dante, which is root's")
        conf = self.home / "danted.conf"
        conf.write_text(DANTED.format(port=self.port, method="username" if password else "none"))
        program = need.program("danted", "dante-server")
        files = {"/etc/hosts": self.hosts}
        if password:
            asked = [need.program("openssl", "openssl"), "passwd", "-6", password]
            hashed = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
            rows = {"passwd": f"{USER}:x:4711:65534::/:/bin/false\n", "shadow": f"{USER}:{hashed}:19000:0:99999:7:::\n"}
            for name, row in rows.items():
                files[f"/etc/{name}"] = self.home / name
                files[f"/etc/{name}"].write_text(Path(f"/etc/{name}").read_text() + row)
        return [*seeing(files), program, "-f", str(conf)]


class TlsFront(Listening):
    """TLS in front of a proxy that knows none: an HTTPS proxy."""

    def __init__(self, loop: Loop, pair: Pair, to: Address) -> None:
        self.to = to
        super().__init__(loop, tls=pair.serving())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind = await asyncio.open_connection(*self.to)
        try:
            await asyncio.gather(_pass(reader, behind), _pass(behind_reader, writer))
        finally:
            behind.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


class Answering(Listening):
    """A proxy that answers whatever it is asked with the same bytes, and keeps what it was asked."""

    def __init__(self, loop: Loop, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        super().__init__(loop)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.read(1 << 16))
        writer.write(self.answer)
        await writer.drain()
        if self.answer:
            await reader.read()
