"""`make run`: a small upstream of our own and `portway http` in front of it, with nothing configured.

The page shows what a visitor's request looks like after its way through the tunnel; `/echo` gives bodies back and
`/stream` sends an event every second.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>It works – portway</title>
<style>
  :root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #0b7a5c; }
  @media (prefers-color-scheme: dark) { :root { --accent: #4fd1a5; } }
  body { font: 1rem/1.55 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1.2rem; }
  h1 { font-size: 1.9rem; margin: 0 0 .4rem; }
  h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
  code, td { font-family: ui-monospace, monospace; font-size: .9rem; overflow-wrap: anywhere; }
  table { border-collapse: collapse; width: 100%%; }
  td { border-top: 1px solid var(--line); padding: .35rem .6rem .35rem 0; vertical-align: top; }
  td:first-child { color: var(--accent); white-space: nowrap; }
  pre { background: var(--soft); padding: .7rem .9rem; border-radius: .5rem; overflow: auto; }
  button { font: inherit; padding: .3rem .9rem; border: 1px solid var(--line); border-radius: .5rem; }
</style>
<h1>It works</h1>
<p>This page is served on <code>127.0.0.1:%(port)d</code> and came to you through the tunnel
at <code>%(host)s</code>: edge, agent, upstream, all on this machine.</p>
<h2>Your request, as the upstream saw it</h2>
<pre>%(request)s</pre>
<table>%(rows)s</table>
<h2>Bodies and streams</h2>
<p><button id="echo">POST 1 MiB to /echo</button> <button id="stream">Listen to /stream</button></p>
<pre id="out">…</pre>
<h2>Your own service</h2>
<pre>portway http 8080</pre>
<script>
  const out = document.getElementById("out");
  document.getElementById("echo").onclick = async () => {
    const sent = new Uint8Array(1 << 20).map((_, at) => at * 31);
    const began = performance.now();
    const answer = await fetch("/echo", { method: "POST", body: sent });
    const came = new Uint8Array(await answer.arrayBuffer());
    const same = came.length === sent.length && came.every((byte, at) => byte === sent[at]);
    out.textContent = `${came.length} bytes came back, ${same ? "all the same" : "NOT the same"}, in ` +
      `${(performance.now() - began).toFixed(0)} ms`;
  };
  let events;
  document.getElementById("stream").onclick = () => {
    events?.close();
    events = new EventSource("/stream");
    events.onmessage = (event) => { out.textContent = event.data; };
  };
</script>
"""


class Page(BaseHTTPRequestHandler):
    """One visitor connection."""

    protocol_version = "HTTP/1.1"
    server_version = "portway-demo"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            self._answer(200, "text/html; charset=utf-8", self._page().encode())
        elif path == "/echo":
            told = {"method": self.command, "path": self.path, "headers": list(self.headers.items())}
            self._answer(200, "application/json", json.dumps(told, indent=2).encode() + b"\n")
        elif path == "/stream":
            self._stream()
        else:
            self._answer(404, "text/plain; charset=utf-8", b"Only / and /echo and /stream are here.\n")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        """Gives the body back while it comes in."""
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        self.send_response(200)
        self.send_header("Content-Type", self.headers.get("Content-Type", "application/octet-stream"))
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", self.headers.get("Content-Length", "0"))
        self.end_headers()
        for part in self._body(chunked):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    do_PUT = do_POST  # noqa: N815

    def _body(self, chunked: bool) -> Iterator[bytes]:
        if not chunked:
            left = int(self.headers.get("Content-Length", "0"))
            while left and (part := self.rfile.read1(min(left, 65536))):
                left -= len(part)
                yield part
            return
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass

    def _stream(self) -> None:
        """Events for ten minutes, or until the visitor leaves."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(OSError):
            for number in range(600):
                self.wfile.write(f"data: event {number} at {time.strftime('%H:%M:%S')}\n\n".encode())
                self.wfile.flush()
                time.sleep(1)

    def _page(self) -> str:
        rows = "".join(f"<tr><td>{html.escape(name)}<td>{html.escape(value)}" for name, value in self.headers.items())
        assert isinstance(self.server, Upstream)
        values = {
            "port": self.server.server_port,
            "host": html.escape(self.headers.get("Host", "")),
            "request": html.escape(self.requestline),
            "rows": rows,
        }
        return PAGE % values

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name where it is inherited from
        """The agent shows requests; twice would be noise."""


class Upstream(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Visitors leave in the middle of things; that is no news."""


def serve() -> Upstream:
    """The demo upstream, running in a thread until this process ends."""
    upstream = Upstream(("127.0.0.1", 0), Page)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    return upstream


def main(flags: list[str]) -> int:
    """Runs until the agent ends; its exit code is ours. `flags` are further flags of `portway http`."""
    port = serve().server_port
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NGROK_", "PORTWAY_"))}
    quiet = not sys.stdout.isatty()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "portway.yml")
        config.write_text('version: "3"\n')  # that of the user may name an edge far away
        argv = [sys.executable, "-m", "portway", "http", str(port), "--config", str(config), *flags]
        if quiet:
            argv += ["--log", "stdout", "--log-format", "logfmt"]
        with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE if quiet else None, text=True) as agent:
            _pass_on_signals(agent)
            if agent.stdout:
                _tell(agent.stdout)
            return agent.wait()


def _tell(lines: Iterator[str]) -> None:
    """The URL, in place of the agent's screen; its records, where something went wrong."""
    for line in lines:
        with contextlib.suppress(ValueError):
            record = dict(pair.partition("=")[::2] for pair in shlex.split(line))
            if record.get("msg") == "started tunnel":
                print(f"Open {record['url']}    (Ctrl-C ends it)", flush=True)
            elif record.get("lvl") in ("warn", "eror", "crit"):
                print(line, end="", flush=True)


def _pass_on_signals(agent: subprocess.Popen[str]) -> None:
    """Ctrl-C in a terminal reaches the agent by itself; a second one would cut its farewell short."""
    in_terminal = sys.stdin.isatty()

    def pass_on(number: int, _: object) -> None:
        if number != signal.SIGINT or not in_terminal:
            with contextlib.suppress(OSError):
                agent.send_signal(number)

    signal.signal(signal.SIGINT, pass_on)
    signal.signal(signal.SIGTERM, pass_on)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
