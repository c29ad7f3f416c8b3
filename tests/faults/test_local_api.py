"""Whatever is sent to the local interface, there is an answer or an end, and the interface and its agent live on."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.agents import Agents
from harness.local import JSON, LocalApi, local
from harness.process import PATIENCE
from harness.raw import Head, RawVisitor
from harness.upstreams import Upstreams

MANY = 80  # more than are served at once
LARGEST = 1 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    home = tmp_path_factory.mktemp("shared")
    upstreams, agents = Upstreams(home), Agents(home)
    agent = agents.http(upstreams.http().url, "--name", "precious")
    agent.up()
    yield local(agent)
    agents.stop()
    upstreams.stop()


@pytest.fixture
def api(shared: LocalApi) -> Iterator[LocalApi]:
    """As it was, after each test: alive, with its endpoint, and nothing broken inside."""
    yield shared
    assert shared.process.running()
    assert shared.names() == ["precious"]
    assert "panicked" not in shared.process.text()
    assert [r for r in shared.process.records() if r["msg"] == "internal error"] == []


def dial(api: LocalApi) -> socket.socket:
    return socket.create_connection((api.host, api.port), PATIENCE)


def all_of(api: LocalApi, raw: bytes, *, done: bool = True) -> bytes:
    """All that comes back for these bytes; with `done`, the other side is told that there are no more."""
    with dial(api) as io:
        with contextlib.suppress(OSError):
            io.sendall(raw)
            if done:
                io.shutdown(socket.SHUT_WR)
        came = b""
        with contextlib.suppress(ConnectionError):
            while part := io.recv(1 << 16):
                came += part
        return came


def statuses(came: bytes) -> list[int]:
    """Of all answers in it. None of them holds a line that looks like another."""
    return [int(line.split(b" ")[1]) for line in came.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


# === heads


GET = b"GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
HEADS = {
    "nothing": b"",
    "blank lines": b"\r\n\r\n\r\n",
    "no version": b"GET /api\r\n\r\n",
    "another version": b"GET /api HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a blank in the target": b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no colon": GET + b"nonsense\r\n\r\n",
    "a blank before the colon": GET + b"Content-Length : 5\r\n\r\nhello",
    "a folded line": GET + b"X: a\r\n b\r\n\r\n",
    "NUL in a value": GET + b"X: a\0b\r\n\r\n",
    "a name that is none": GET + b"\xff\xfe: a\r\n\r\n",
    "bare line feeds": GET.replace(b"\r\n", b"\n") + b"\n",
    "bare carriage returns": GET.replace(b"\r\n", b"\r") + b"\r",
    "many fields": GET + b"".join(b"X-%d: y\r\n" % number for number in range(5000)) + b"\r\n",
    "one long field": GET + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n",
    "a long target": b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a length below nothing": GET + b"Content-Length: -1\r\n\r\n",
    "a length beyond everything": GET + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "two lengths": GET + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "an unknown encoding": GET + b"Transfer-Encoding: gzip\r\n\r\n",
    "a chunk of nonsense": GET + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a chunk beyond everything": GET + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "an endless chunk extension": GET + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * (1 << 20),
    "endless trailers": GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "SOCKS": b"\x05\x01\x00",
    "a proxy's CONNECT": b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
    "a proxy's GET": b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    "OPTIONS of nothing": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an upgrade": GET.replace(b"close", b"Upgrade") + b"Upgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("raw", HEADS.values(), ids=HEADS)
def test_a_head_that_is_none_is_refused_or_the_end(raw: bytes, api: LocalApi) -> None:
    for status in statuses(all_of(api, raw)):
        assert status == 200 or 400 <= status < 500, status


SMUGGLED = b"DELETE /api/tunnels/precious HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /api/tunnels HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
FORMS = {
    "length and chunks": POST + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%b",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n%b",
    "chunks of another name": POST + b"Content-Length: %d\r\nTransfer-Encoding: xchunked\r\n\r\n%b",
    "chunks with a tab": POST + b"Content-Length: %d\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n%b",
    "chunks twice": POST + b"Content-Length: %d\r\nTransfer-Encoding: chunked, identity\r\n\r\n%b",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n%b",
    "lengths in a list": POST + b"Content-Length: 0, %d\r\n\r\n%b",
    "a length with a sign": POST + b"Content-Length: +%d\r\n\r\n%b",
    "a length with a blank": POST + b"Content-Length : %d\r\n\r\n%b",
    "a body of GET": GET.replace(b"Connection: close\r\n", b"") + b"Content-Length: %d\r\n\r\n%b",
    "two hosts": SMUGGLED.replace(b"\r\n\r\n", b"\r\nHost: localhost\r\nX: %d %b\r\n\r\n"),
    "a host in the target": SMUGGLED.replace(b" /api", b" http://evil.test/api") + b"%d%b",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_body_is_never_taken_for_a_request(form: bytes, api: LocalApi) -> None:
    """The endpoint would be gone."""
    inner = SMUGGLED if b"Host: localhost\r\nX" not in form else b"x"
    came = all_of(api, form % (len(inner), inner))
    assert 204 not in statuses(came), came
    assert api.names() == ["precious"]


# === bodies


DEEP = 100_000
BODIES = {
    "nothing": b"",
    "half an object": b'{"name": "x"',
    "an array": b"[]",
    "a text": b'"x"',
    "a number": b"1",
    "nothing at all": b"null",
    "two objects": b"{}{}",
    "something behind it": b"{} x",
    "a comma too many": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "no quotes": b"{a: 1}",
    "a comment": b"{/* x */}",
    "NaN": b'{"addr": NaN}',
    "a number beyond everything": b'{"addr": 1' + b"0" * 5000 + b"}",
    "a number of much precision": b'{"addr": 1, "proxy_proto": 0.' + b"1" * 5000 + b"}",
    "invalid UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "a mark in front": b"\xef\xbb\xbf{}",
    "half a surrogate": b'{"name": "\\ud800"}',
    "a bad escape": b'{"name": "\\x"}',
    "a line break in a text": b'{"name": "a\nb"}',
    "NUL": b'{"name": "a\x00b"}',
    "deep arrays": b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep in a tree": b'{"addr": 1, "proto": "http", "traffic_policy": {"a": ' + b"[" * DEEP + b"]" * DEEP + b"}}",
    "many keys": b"{" + b",".join(b'"k%d": 1' % number for number in range(50_000)) + b"}",
    "a key twice": b'{"proto": "http", "url": "http://", "url": "nonsense://", "addr": 1}',
    "a long name": b'{"proto": "http", "addr": 1, "name": "' + b"x" * 1000 + b'"}',
    "a file that never ends": b'{"proto": "http", "addr": 1, "traffic_policy_file": "/dev/zero"}',
    "a file that is none": b'{"proto": "http", "addr": 1, "traffic_policy_file": "/"}',
    "too much": b'{"a": "' + b"x" * LARGEST + b'"}',
    "octets": bytes(range(256)) * 16,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_cannot_stand_is_an_error_object(body: bytes, api: LocalApi) -> None:
    for method, path in (("POST", "/api/tunnels"), ("POST", "/api/endpoints"), ("PUT", "/api/endpoints/precious")):
        answer = api.ask(method, path, raw=body, headers=JSON)
        assert answer.status in (400, 413), answer.text
        assert answer.json.keys() == {"error_code", "status_code", "msg", "details"}
        assert answer.json["status_code"] == answer.status
        assert answer.json["details"]["err"]
        assert len(answer.body) < 16 << 10 or body.startswith(b'{"k0"')


def test_a_pipe_that_nobody_writes_into_holds_up_nobody(api: LocalApi, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    body = {"proto": "http", "addr": 1, "traffic_policy_file": str(pipe)}
    assert "it is no file" in api.post("/api/tunnels", body, 400)["details"]["err"]


# === those who keep others waiting


def test_who_holds_all_connections_open_keeps_nobody_out(api: LocalApi) -> None:
    with ExitStack() as stack:
        for number in range(MANY):
            slow = stack.enter_context(dial(api))
            slow.sendall((b"GET /api HTTP/1.1\r\nHost: loc", b"G", b"", GET)[number % 4])
        assert api.get("/api/status")["uri"] == "/api/status"
        one_by_one = stack.enter_context(RawVisitor(dial(api)))
        for byte in GET + b"\r\n":
            one_by_one.send(bytes([byte]))
        assert one_by_one.response().status == 200


def test_who_sends_bodies_by_halves_is_answered_in_the_end(api: LocalApi) -> None:
    with ExitStack() as stack:
        slow = []
        for _ in range(MANY):
            io = stack.enter_context(RawVisitor(dial(api)))
            io.send(POST + b"Content-Length: 1000\r\n\r\n{")
            slow.append(io)
        assert api.get("/api/status")["uri"] == "/api/status"
        heads: list[Head] = []
        for io in slow:
            with contextlib.suppress(Exception):
                heads.append(io.head())
        assert {head.status for head in heads} == {400}


def test_who_reads_nothing_is_no_burden(api: LocalApi) -> None:
    before = api.process.rss_mib()
    with ExitStack() as stack:
        for _ in range(MANY // 2):
            deaf = stack.enter_context(dial(api))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.settimeout(1)
            with contextlib.suppress(OSError):
                deaf.sendall(b"GET /api/tunnels HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5000)
        assert api.get("/api/status")["uri"] == "/api/status"
        assert api.process.rss_mib() < before + 32


# === anything


def blobs(count: int) -> Iterator[bytes]:
    """Noise, and requests with something wrong somewhere."""
    chance = random.Random(7)
    valid = [
        GET + b"\r\n",
        POST + b"Content-Length: 2\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        POST + b'Content-Length: 36\r\n\r\n{"proto": "http", "addr": "no such"}',
        b"PUT /api/endpoints/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    ]
    for number in range(count):
        if number % 3 == 0:
            yield chance.randbytes(chance.randrange(0, 600))
            continue
        request = bytearray(chance.choice(valid))
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(request) + 1)
            match chance.randrange(4):
                case 0:
                    request[at : at + 1] = chance.randbytes(1)
                case 1:
                    del request[at : at + chance.randrange(1, 20)]
                case 2:
                    request[at:at] = chance.choice([b"\r\n", b"\n", b"\0", b":", b" ", b"[", b"{", b"%", b"\xff"])
                case _:
                    request[at:at] = request[: chance.randrange(len(request) + 1)]
        yield bytes(request)


def test_10000_blobs_of_anything_are_answered_or_ended(api: LocalApi) -> None:
    for _ in range(500):  # what a burst takes once it keeps
        all_of(api, GET + b"\r\n")
    before, files = api.process.rss_mib(), api.process.open_files()
    with ThreadPoolExecutor(8) as pool:
        for raw, came in pool.map(lambda raw: (raw, all_of(api, raw)), blobs(10_000)):
            assert all(200 <= status < 600 and status != 500 for status in statuses(came)), (raw, came)
    assert json.loads(api.ask("GET", "/api/status").body)["uri"] == "/api/status"
    assert api.process.rss_mib() < before + 24
    assert api.process.open_files() <= files + 8
