"""Other people's programs as upstreams: nginx, iperf3, PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from harness import need, ports
from harness.process import Process, until

NGINX = """
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log {home}/access.log;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  client_max_body_size 0;
  keepalive_requests 1000000;
  default_type text/plain;
  server {{
    listen 127.0.0.1:{port};
    root {home}/www;
    location = /host {{ return 200 "$host\\n"; }}
    location = /headers {{
      return 200 "for=$http_x_forwarded_for proto=$http_x_forwarded_proto host=$http_x_forwarded_host\\n";
    }}
    location = /gone {{ return 410; }}
  }}
}}
"""


def listening(port: int) -> bool:
    """Whether somebody listens there, asked of the kernel: a connection made to find out would be one too many."""
    wanted = f"0100007F:{port:04X}"
    return any(
        fields[1] == wanted and fields[3] == "0A"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())
    )


def start(name: str, argv: list[str], port: int, *, user: str | None = None) -> Process:
    process = Process(name, argv, user=user)

    def up() -> bool:
        assert process.running(), process.shown()
        return listening(port)

    until(f"{name} listens on {port}", up)
    return process


class Nginx:
    def __init__(self, home: Path) -> None:
        self.home = home / "nginx"
        (self.home / "www").mkdir(parents=True)
        self.port = ports.block()[0]
        self.url = f"http://127.0.0.1:{self.port}"
        conf = self.home / "nginx.conf"
        user = "user root;\n" if os.geteuid() == 0 else ""
        conf.write_text(user + NGINX.format(home=self.home, port=self.port))
        program = need.program("nginx", "nginx-light")
        self.process = start("nginx", [program, "-p", str(self.home), "-e", "stderr", "-c", str(conf)], self.port)

    def page(self, name: str, content: bytes) -> None:
        (self.home / "www" / name).write_bytes(content)

    def big(self, name: str, size: int) -> None:
        """A file of so many zeros that takes no room on the disk."""
        with (self.home / "www" / name).open("wb") as file:
            file.truncate(size)

    def stop(self) -> None:
        self.process.stop()


class Iperf:
    def __init__(self) -> None:
        self.program = need.program("iperf3", "iperf3")
        self.port = ports.block()[0]
        self.process = start(
            "iperf3", [self.program, "-s", "-B", "127.0.0.1", "-p", str(self.port), "--forceflush"], self.port
        )

    def stop(self) -> None:
        self.process.stop()


class Postgres:
    """A fresh cluster; as root it runs as somebody else, for it refuses to run as root."""

    def __init__(self, home: Path) -> None:
        self.home = home / "postgres"
        self.port = ports.block()[0]
        initdb = need.program("initdb", "postgresql")
        server = str(Path(initdb).resolve().with_name("postgres"))
        if not Path(server).exists():
            server = need.program("postgres", "postgresql")
        self.user = "postgres" if os.geteuid() == 0 else None
        self.home.mkdir()
        if self.user:
            # Its data may lie in a folder that only root can enter.
            self.home = Path(shutil.copytree(self.home, f"/tmp/portway-postgres-{self.port}-{os.getpid()}"))
            shutil.chown(self.home, self.user)
        data = self.home / "data"
        subprocess.run(
            [initdb, "-D", str(data), "-A", "trust", "-U", "portway", "--no-sync"],
            check=True,
            capture_output=True,
            user=self.user,
            cwd=self.home,
        )
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.home),
            "fsync": "off",
        }
        argv = [
            server,
            "-D",
            str(data),
            *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
        ]
        self.process = start("postgres", argv, self.port, user=self.user)
        self.process.wait_line("ready", lambda line: True if "ready to accept connections" in line else None)

    def stop(self) -> None:
        self.process.stop()
        if self.user:
            shutil.rmtree(self.home, ignore_errors=True)
