"""An upstream with a page for every kind of body, and for everything hostile that could be in one."""

from __future__ import annotations

import gzip
import json
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import NamedTuple

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000a0000000a0802000000025058ea0000001249444154789c63f80f070c230cc0f0"
    "1f0c00a3e3639db81c6b3b0000000049454e44ae426082"
)
# `SAID`, as the programs brotli and zstd pack it.
BROTLI = bytes.fromhex(
    "1b4600e88dd44e777326aa3473416b0590b137e0900387f6b58501665a77253885d5b9eab9e802db869559353343dc8c00"
)
ZSTD = bytes.fromhex(
    "28b52ffd0468ad010052430b10b0eb640c5bb6558dd4c0f2549c3e100340a8de25e17acf18a6df36e4f279f1ac0d43e469f4ba531f87"
    "2b55460100f20a175018ac33"
)
SAID = "Hello, hello, hello, hello from a coding that scripts cannot take off.\n"
SCRIPT = "<script>window.owned = 1</script><img src=x onerror='window.owned = 2'>"


class Page(NamedTuple):
    type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    status: int = 200


def coded(coding: str, body: bytes, kind: str = "text/plain; charset=utf-8") -> Page:
    return Page(kind, body, (("Content-Encoding", coding),))


def raw_deflate(text: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(text) + packer.flush()


USERS = {"users": [{"id": n, "name": f"user {n}", "ok": True, "none": None, "tags": ["a", "b"]} for n in range(300)]}
HI = gzip.compress(b"\x0a\x02hi", mtime=0)
PAGES: dict[str, Page] = {
    "/json": Page("application/json", json.dumps(USERS).encode()),
    "/big-number": Page("application/problem+json", b'{"id": 12345678901234567890, "price": 1.10}', status=418),
    "/bad-json": Page("application/json", b'{\n "a": 1,\n "b": [1, 2,\n}\n'),
    "/bad-json-in-one-line": Page("application/json", b"[" + b'"abcdef",' * 1000 + b'"a" , ]'),
    "/ndjson": Page("application/x-ndjson", b'{"n": 1}\n{"n": 2}\n'),
    "/xml": Page(
        "application/atom+xml", b'<?xml version="1.0"?><feed xmlns="a"><entry id="1"><t>one</t></entry><entry/></feed>'
    ),
    "/bad-xml": Page("text/xml", b"<a>\n<b></a>"),
    "/png": Page("image/png", PNG),
    "/svg": Page(
        "image/svg+xml",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20" onload="window.owned = 3">'
        b"<script>window.owned = 4</script><rect width='40' height='20' fill='teal'/></svg>",
    ),
    "/broken-png": Page("image/png", PNG[:20]),
    "/text": Page("text/plain", b"one\ntwo\nthree\n" * 20),
    "/latin1": Page("text/plain; charset=iso-8859-1", "für später".encode("latin-1")),
    "/html": Page("text/html; charset=utf-8", f"<!doctype html><h1>übel</h1>{SCRIPT}".encode()),
    "/binary": Page("application/octet-stream", bytes(range(256)) * 8),
    "/empty": Page("text/plain", b""),
    "/long": Page("text/plain", b"0123456789abcdef" * 16_384 + b"the very end"),
    "/gzip": coded("gzip", gzip.compress(SAID.encode())),
    "/deflate": coded("deflate", zlib.compress(SAID.encode())),
    "/deflate-raw": coded("deflate", raw_deflate(SAID.encode())),
    "/br": coded("br", BROTLI),
    "/zstd": coded("zstd", ZSTD),
    "/bomb": coded("gzip", gzip.compress(b"\0" * (64 << 20))),
    "/unknown-coding": coded("lzma2", b"\x01\x02\x03\x04"),
    "/grpc": Page(
        "application/grpc",
        b"\0\0\0\0\x11\x0a\x05hello\x10\x96\x01\x1a\x05\x0a\x03abc\x01" + len(HI).to_bytes(4, "big") + HI,
        (("Grpc-Encoding", "gzip"),),
    ),
    "/hostile": Page(
        "application/json",
        json.dumps({SCRIPT: SCRIPT}).encode(),
        (("X-Hostile", SCRIPT), ("Set-Cookie", "sid=hunter2")),
    ),
}


class Gallery:
    """Serves `PAGES`; `/count` counts up, `/changing` and `/changing-line` say a little else each time; `/echo` gives
    back what it got; `/events` an event for each `step()`; `/status/N`; `/slow` after a `step()`."""

    def __init__(self) -> None:
        gallery = self
        self.bodies: list[bytes] = []
        self.heads: list[tuple[str, str, list[tuple[str, str]]]] = []
        self.count = 0
        self.lock = Lock()
        self.steps: list[Event] = [Event() for _ in range(50)]
        self._stepped = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                with gallery.lock:
                    gallery.bodies.append(body)
                    gallery.heads.append((self.command, self.path, list(self.headers.items())))
                path = self.path.split("?")[0]
                if path == "/events":
                    self.events()
                    return
                if path == "/slow":
                    gallery.steps[0].wait(30)
                page = PAGES.get(path) or gallery.made(path, self.headers.get("Content-Type", ""), body)
                self.send_response(page.status)
                self.send_header("Content-Type", page.type)
                self.send_header("Content-Length", str(len(page.body)))
                for name, value in page.headers:
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(page.body)

            def events(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                for number, step in enumerate(gallery.steps[:3]):
                    step.wait(30)
                    self.wfile.write(f"event: tick\nid: e{number}\ndata: event number {number}\n\n".encode())
                    self.wfile.flush()
                self.close_connection = True

            # The library looks for these names.
            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = answer  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    def step(self) -> None:
        """Lets what waits go one step on."""
        self.steps[self._stepped].set()
        self._stepped += 1

    def made(self, path: str, kind: str, body: bytes) -> Page:
        if path == "/count":
            with self.lock:
                self.count += 1
                return Page("application/json", json.dumps({"count": self.count, "same": "always"}).encode())
        if path.startswith("/changing"):
            with self.lock:
                self.count += 1
                lines = [f"line {n}{f' of {self.count}' if n % 1000 == 7 else ''}" for n in range(20_000)]
            if path == "/changing-line":
                return Page("text/plain", " ".join(lines[:1000]).encode())
            return Page("text/plain", "\n".join(lines).encode())
        if path == "/echo":
            return Page(kind or "text/plain", body)
        if path.startswith("/status/"):
            return Page("text/plain", path.encode(), status=int(path.rsplit("/", 1)[1]))
        return Page("text/plain", f"this is {path}\n".encode())

    def stop(self) -> None:
        for step in self.steps:
            step.set()
        self.server.shutdown()
        self.server.server_close()
