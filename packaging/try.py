"""Tries the `portway` of this Python, or the one that is named: a tunnel with nothing configured, and a visitor.

usage: packaging/try.py [COMMAND …]

For machines that packages were built for elsewhere; the standard library is all it takes. It ends with 0 when the
visitor got what is behind the tunnel.
"""

from __future__ import annotations

import http.client
import http.server
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

BODY = os.urandom(1 << 20)
PATIENCE = 180  # an emulated machine takes its time


class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


def main() -> int:
    command = sys.argv[1:] or [str(Path(sysconfig.get_path("scripts")) / "portway")]
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_STATE_HOME": home}
        agent = subprocess.Popen(
            [*command, "http", str(service.server_port), "--url", "http://try.localhost"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        patience = threading.Timer(PATIENCE, agent.kill)
        patience.start()
        assert agent.stdout
        line = agent.stdout.readline()  # Forwarding URL -> UPSTREAM
        try:
            return visit(line)
        finally:
            agent.terminate()
            agent.wait(PATIENCE)
            gone(line)
            patience.cancel()


def visit(line: str) -> int:
    if not line.startswith("Forwarding "):
        print(f"try: no tunnel: {line!r}", file=sys.stderr)
        return 1
    url = urlsplit(line.split()[1])
    visitor = http.client.HTTPConnection("127.0.0.1", url.port or 80, timeout=PATIENCE)
    visitor.request("GET", "/", headers={"Host": url.netloc})
    answer = visitor.getresponse()
    same = answer.status == 200 and answer.read() == BODY
    print(f"try: {line.split()[1]} answers {answer.status}{'' if same else ', with something else'}")
    return 0 if same else 1


def gone(line: str) -> None:
    """Waits until nobody serves the URL any more: where the agent is a child of what was ended, it has to end too."""
    port = urlsplit(line.split()[1]).port or 80 if line.startswith("Forwarding ") else 0
    latest = time.monotonic() + PATIENCE
    while port and listens(port):
        if time.monotonic() > latest:
            raise SystemExit("try: it still runs, though it was ended")


def listens(port: int) -> bool:
    with socket.socket() as visitor:
        visitor.settimeout(PATIENCE)
        return visitor.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main())
