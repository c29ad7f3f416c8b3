"""Requests that two readers could understand in two ways (RFC 9112 §11.2), and a reader for each way.

`RAW` are bytes for a connection of HTTP/1.1, `H2` header fields for a stream of HTTP/2. `readings` tells what a
connection to the upstream says to servers of many habits: if they all see the same requests, nothing was smuggled.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# A case never needs this path; whoever sees a request for it has been deceived.
HIDDEN = "/hidden"
# The name of the endpoint, where a case says HOST.
HOST = "smuggled.localhost"
_PREFIX = f"GET {HIDDEN} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"

REFUSED = frozenset({400})
SERVED = frozenset({200})
EITHER = frozenset({200, 400})
# RFC 9112 §6.1 wants 501 for a coding nobody knows, §3 414 and 505 for their cases; a closed connection is no answer.
UNKNOWN_CODING = frozenset({400, 501})
VERSION = frozenset({400, 505, None})


@dataclass(frozen=True)
class Raw:
    name: str
    data: bytes
    statuses: frozenset[int | None] = frozenset(REFUSED)


def _raw(name: str, text: str, statuses: Iterable[int | None] = REFUSED) -> Raw:
    return Raw(name, text.replace("HOST", HOST).encode("latin-1"), frozenset(statuses))


def _post(name: str, lines: Iterable[str], body: str, statuses: Iterable[int | None] = REFUSED) -> Raw:
    text = "".join(f"{line}\r\n" for line in ("POST / HTTP/1.1", "Host: HOST", *lines))
    return _raw(name, f"{text}\r\n{body}", statuses)


# For who believes the chunks, a request hides behind the last one; for who believes the length, within it.
_CHUNKED_AWAY = "0\r\n\r\n" + _PREFIX
_AS_CHUNK = f"{len(_PREFIX):x}\r\n{_PREFIX}\r\n0\r\n\r\n"


def _both(name: str, *coding: str, statuses: Iterable[int | None] = REFUSED) -> Iterator[Raw]:
    """A length and this coding, either of them covering the hidden request."""
    length = f"Content-Length: {len(_CHUNKED_AWAY)}"
    yield _post(f"length and {name}", (length, *coding), _CHUNKED_AWAY, statuses)
    yield _post(f"{name} and a short length", (*coding, "Content-Length: 4"), _AS_CHUNK, statuses)


def _lengths() -> Iterator[Raw]:
    yield from _both("chunked", "Transfer-Encoding: chunked")
    yield from _both("CHUNKED", "TRANSFER-ENCODING: CHUNKED")
    yield from _both("xchunked", "Transfer-Encoding: xchunked")
    yield from _both("chunked after a tab", "Transfer-Encoding:\tchunked")
    yield from _both("chunked before a blank", "Transfer-Encoding: chunked ")
    yield from _both("chunked after a vertical tab", "Transfer-Encoding: \x0bchunked")
    yield from _both("chunked before a NUL", "Transfer-Encoding: chunked\x00")
    yield from _both("quoted chunked", 'Transfer-Encoding: "chunked"')
    yield from _both("chunked with a parameter", "Transfer-Encoding: chunked;q=1")
    yield from _both("chunked, identity", "Transfer-Encoding: chunked, identity")
    yield from _both("identity, chunked", "Transfer-Encoding: identity, chunked")
    yield from _both("identity", "Transfer-Encoding: identity")
    yield from _both("chunked twice", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked")
    yield from _both("chunked then identity", "Transfer-Encoding: chunked", "Transfer-Encoding: identity")
    yield from _both("chunked before a comma", "Transfer-Encoding: chunked,")
    yield from _both("a comma before chunked", "Transfer-Encoding: ,chunked")
    yield from _both("an empty coding", "Transfer-Encoding:")
    yield from _both("a blank before the colon", "Transfer-Encoding : chunked")
    yield from _both("a tab before the colon", "Transfer-Encoding\t: chunked")
    yield from _both("a blank before the name", " Transfer-Encoding: chunked")
    yield from _both("a coding folded", "Transfer-Encoding:\r\n chunked")
    yield from _both("a coding behind a bare CR", "X: y\rTransfer-Encoding: chunked")
    yield from _both("a coding behind a NUL", "X: y\x00Transfer-Encoding: chunked")
    # To a reader of bare LFs this is a line of its own, which the edge has to see too.
    yield from _both("a coding behind a bare LF", "X: y\nTransfer-Encoding: chunked")
    yield from _both("a coding ended by a bare LF", "Transfer-Encoding: chunked\nX: y")
    for coding in (
        "xchunked",
        "gzip",
        "identity",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "\x0bchunked",
        "chunked\x0b",
        "chunk",
    ):
        yield _post(f"only {coding!r}", [f"Transfer-Encoding: {coding}"], _CHUNKED_AWAY, UNKNOWN_CODING)

    for name, value in {
        "signed": "+5",
        "negative": "-5",
        "hexadecimal": "0x5",
        "with a fraction": "5.0",
        "with an exponent": "5e0",
        "empty": "",
        "two in one": "5 5",
        "with an underscore": "1_0",
        "with a parameter": "5;x=y",
        "beyond 64 bits": str(2**64 + 5),
        "beyond all": "9" * 60,
        "in other digits": "\xb2\xb3",
        "before a vertical tab": "5\x0b",
        "before a NUL": "5\x00",
    }.items():
        yield _post(f"a length {name}", [f"Content-Length: {value}"], "hello" + _PREFIX)
    yield _post("a list of one length", ["Content-Length: 5, 5"], "hello")
    yield _post("a list of two lengths", ["Content-Length: 5, 50"], "hello" + _PREFIX)
    yield _post("two lengths", ["Content-Length: 5", "Content-Length: 50"], "hello" + _PREFIX)
    yield _post("two lengths, the other way", ["Content-Length: 50", "Content-Length: 5"], "hello" + _PREFIX)
    yield _post("the same length twice", ["Content-Length: 5", "content-length: 5"], "hello")
    yield _post("a length with a blank before the colon", ["Content-Length : 5"], "hello" + _PREFIX)
    yield _post("a length with a NUL in its name", ["Content-\x00Length: 5"], "hello" + _PREFIX)
    yield _post("a length folded", ["Content-Length:\r\n 5"], "hello" + _PREFIX)
    yield _post("a length folded on", ["Content-Length: 5\r\n 0"], "hello" + _PREFIX)
    yield _post("a length hidden by a bare CR", ["X: y\rContent-Length: 50"], _PREFIX)


def _chunks() -> Iterator[Raw]:
    def chunked(name: str, body: str, statuses: Iterable[int | None] = REFUSED) -> Raw:
        return _post(f"chunks: {name}", ["Transfer-Encoding: chunked"], body, statuses)

    end = "\r\n0\r\n\r\n"
    for name, size in {
        "signed size": "+5",
        "negative size": "-5",
        "0x": "0x5",
        "size before garbage": "5g",
        "size behind a blank": " 5",
        "no size": "",
        "size of other digits": "\xb2",
        "size with an underscore": "0_5",
        "size beyond 64 bits": "10000000000000005",
        "size beyond all": "5" * 40,
        "size before a NUL": "5\x00",
        "size ended by a bare CR": "5\rhello",
    }.items():
        yield chunked(name, f"{size}\r\nhello{end}")
    yield chunked("more data than said", f"5\r\nhello world{end}")
    yield chunked("no line end behind the data", f"5\r\nhello0\r\n\r\n{_PREFIX}")
    yield chunked("a bare LF behind the data", f"5\r\nhello\n0\r\n\r\n{_PREFIX}")
    yield chunked("a bare CR behind the data", f"5\r\nhello\r0\r\n\r\n{_PREFIX}")
    yield chunked("a size ended by a bare LF", f"5\nhello{end}")
    yield chunked("a last size ended by a bare LF", f"5\r\nhello\r\n0\n\r\n{_PREFIX}")
    # Who skips extensions up to the CRLF, and who ends them at the LF, disagree on where the data begin.
    hidden = f"{len(_PREFIX):x}"
    yield chunked("an extension with a bare LF", f"5;x\nhello\r\n{hidden}\r\n{_PREFIX}{end}")
    yield chunked("an extension with a bare CR", f"5;x\rhello\r\n{hidden}\r\n{_PREFIX}{end}")
    yield chunked("an extension with a quoted line end", f'5;x="\r\nhello\r\n{hidden}\r\n{_PREFIX}"{end}')
    yield chunked("an extension without end", f"5;{'x' * 100_000}\r\nhello{end}")
    yield chunked("extensions without end", "1;x=y\r\na\r\n" * 20_000 + "0\r\n\r\n", EITHER)
    yield chunked("a trailer with a bare CR", f"0\r\nX: y\r\rGET {HIDDEN} HTTP/1.1\r\nHost: HOST\r\n\r\n")
    yield chunked("a trailer without a colon", "0\r\nxy\r\n\r\n")
    yield chunked("a trailer folded", "0\r\nX: y\r\n z\r\n\r\n", EITHER)
    yield chunked("a length in the trailers", f"0\r\nContent-Length: {len(_PREFIX)}\r\n\r\n", EITHER)
    yield chunked("a coding in the trailers", "0\r\nTransfer-Encoding: chunked\r\n\r\n", EITHER)
    yield chunked("a host in the trailers", "0\r\nHost: other.test\r\n\r\n", EITHER)
    yield _raw(
        "chunks in HTTP/1.0", f"POST / HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n{_CHUNKED_AWAY}"
    )


def _heads() -> Iterator[Raw]:
    def get(name: str, line: str, *lines: str, statuses: Iterable[int | None] = REFUSED) -> Raw:
        return _raw(name, "\r\n".join([line, *(lines or ("Host: HOST",)), "", ""]), statuses)

    yield get("folded header", "GET / HTTP/1.1", "Host: HOST", "X: a", " b")
    yield get("folded host", "GET / HTTP/1.1", "Host:", " HOST")
    yield get("first header behind a blank", "GET / HTTP/1.1", " X: y", "Host: HOST")
    yield get("header without a colon", "GET / HTTP/1.1", "Host: HOST", "nothing")
    yield get("header without a name", "GET / HTTP/1.1", "Host: HOST", ": nothing")
    yield get("blank in a name", "GET / HTTP/1.1", "Host: HOST", "X Y: z")
    yield get("NUL in a value", "GET / HTTP/1.1", "Host: HOST", "X: a\x00b")
    yield get("bare CR in a value", "GET / HTTP/1.1", "Host: HOST", f"X: a\rGET {HIDDEN} HTTP/1.1")
    yield _raw("bare LFs everywhere", "GET / HTTP/1.1\nHost: HOST\n\n", EITHER)
    yield _raw(
        "head ended by LF LF", f"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: {len(_PREFIX)}\n\n{_PREFIX}", EITHER
    )
    yield get("two hosts", "GET / HTTP/1.1", "Host: HOST", "Host: other.test")
    yield get("the same host twice", "GET / HTTP/1.1", "Host: HOST", "Host: HOST")
    yield get("no host", "GET / HTTP/1.1", "X: y")
    yield get("list of hosts", "GET / HTTP/1.1", "Host: HOST, other.test")
    yield get("host with a path", "GET / HTTP/1.1", "Host: HOST/x")
    yield get("host with a user", "GET / HTTP/1.1", "Host: HOST@other.test")
    yield get("host with a blank", "GET / HTTP/1.1", "Host: HOST x")
    yield get("host of a different target", "GET http://other.test/ HTTP/1.1")
    yield get("target of a different host", "GET http://HOST/ HTTP/1.1", "Host: other.test")
    yield get("user in the target", "GET http://user@HOST/ HTTP/1.1")
    yield get("target without a host", f"GET http://{HIDDEN} HTTP/1.1")
    yield get("target without a slash", "GET x HTTP/1.1")
    yield get("target with a blank", f"GET / {HIDDEN} HTTP/1.1")
    yield get("target with a tab", "GET /\tx HTTP/1.1")
    yield get("target with a NUL", "GET /\x00 HTTP/1.1")
    yield get("target with a bare CR", "GET /\rX: HTTP/1.1")
    yield get("two blanks", "GET  / HTTP/1.1")
    yield get("a tab for a blank", "GET\t/ HTTP/1.1")
    yield get("NUL in the method", "GE\x00T / HTTP/1.1")
    yield get("blank before the colon of Host", "GET / HTTP/1.1", "Host : HOST")
    yield get("host in two cases", "GET / HTTP/1.1", "Host: HOST", "hOST: other.test")
    yield get("host with a port that is none", "GET / HTTP/1.1", "Host: HOST:8x")
    yield get("absolute target with another port", "GET http://HOST:81/ HTTP/1.1")
    yield get("target of another scheme", "GET ftp://HOST/ HTTP/1.1", statuses=EITHER)
    yield get("target behind a fragment", f"GET /#{HIDDEN} HTTP/1.1", statuses=EITHER)
    yield get("words behind the version", "GET / HTTP/1.1 x")
    yield get("version 1.2", "GET / HTTP/1.2", statuses=VERSION)
    yield get("version 2", "GET / HTTP/2.0", statuses=VERSION)
    yield get("version 0.9", "GET / HTTP/0.9", statuses=VERSION)
    yield get("version in small letters", "GET / http/1.1", statuses=VERSION)
    yield get("no version", "GET /", statuses=VERSION)
    yield get("a tunnel", "CONNECT HOST HTTP/1.1")
    yield get("the whole server", "GET * HTTP/1.1")
    body = f"Content-Length: {len(_PREFIX)}"
    for named in ("Content-Length", "Transfer-Encoding", "Host", "X-Forwarded-For"):
        name = f"connection takes {named}"
        yield _post(name, [body, f"Connection: close, {named}"], _PREFIX, EITHER)
    name = "connection takes the coding of chunks"
    yield _post(name, ["Connection: close, Transfer-Encoding", "Transfer-Encoding: chunked"], _AS_CHUNK, EITHER)
    upgrade = ("Connection: Upgrade", "Upgrade: websocket")
    yield get(
        "an upgrade with a length", "GET / HTTP/1.1", "Host: HOST", *upgrade, "Content-Length: 5", statuses=EITHER
    )
    yield _raw(
        "an upgrade with a body",
        "\r\n".join(["GET / HTTP/1.1", "Host: HOST", *upgrade, body, "", _PREFIX]),
        EITHER,
    )
    yield _raw(
        "an upgrade with chunks",
        "\r\n".join(["GET / HTTP/1.1", "Host: HOST", *upgrade, "Transfer-Encoding: chunked", "", _AS_CHUNK]),
        EITHER,
    )
    yield _raw(
        "HTTP/2 in an upgrade",
        "\r\n".join(
            [
                "GET / HTTP/1.1",
                "Host: HOST",
                "Connection: Upgrade, HTTP2-Settings, close",
                "Upgrade: h2c",
                "HTTP2-Settings: AAMAAABkAARAAAAA",
                "",
                "",
            ]
        ),
        EITHER,
    )


def _sound() -> Iterator[Raw]:
    """What looks odd and is right: refusing everything would be no art."""
    yield _post("plain body", [f"Content-Length: {len(_PREFIX)}"], _PREFIX, SERVED)
    yield _post("length with zeros in front", [f"Content-Length: 000{len(_PREFIX)}"], _PREFIX, SERVED)
    yield _post("length between blanks", [f"Content-Length: \t{len(_PREFIX)} "], _PREFIX, SERVED)
    yield _post("plain chunks", ["Transfer-Encoding: chunked"], _AS_CHUNK, SERVED)
    yield _post("chunks in capitals", ["transfer-encoding: Chunked"], _AS_CHUNK, SERVED)
    size = f"{len(_PREFIX):x}"
    extended = f"000{size.upper()};a=b;c\r\n{_PREFIX}\r\n00\r\nX: y\r\n\r\n"
    yield _post("chunks with extensions", ["Transfer-Encoding: chunked"], extended, SERVED)
    yield _raw(
        "a body of a GET", f"GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length: {len(_PREFIX)}\r\n\r\n{_PREFIX}", SERVED
    )
    yield _raw("absolute target", "GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\n\r\n", SERVED)
    yield _raw("empty lines in front", "\r\n\r\nGET / HTTP/1.1\r\nHost: HOST\r\n\r\n", SERVED)
    yield _post(
        "a header like the coding", ["Transfer_Encoding: chunked", f"Content-Length: {len(_PREFIX)}"], _PREFIX, SERVED
    )
    yield _post("a header like the length", ["Content_Length: 3", f"Content-Length: {len(_PREFIX)}"], _PREFIX, SERVED)


RAW: tuple[Raw, ...] = (*_lengths(), *_chunks(), *_heads(), *_sound())


# === HTTP/2


@dataclass(frozen=True)
class H2:
    name: str
    fields: tuple[tuple[str, str], ...]
    """Behind the four pseudo-headers, or in place of those of the same name."""
    body: bytes | None = None
    trailers: tuple[tuple[str, str], ...] = ()
    exact: bool = False
    """The fields are all there is."""
    served: bool = False
    """It may be answered with 200."""

    def complete(self) -> list[tuple[str, str]]:
        usual = {":method": "POST", ":scheme": "https", ":authority": HOST, ":path": "/"}
        given = [(name, value.replace("HOST", HOST)) for name, value in self.fields]
        if self.exact:
            return given
        replaced = {name: value for name, value in given if name in usual}
        return [*({**usual, **replaced}).items(), *((name, value) for name, value in given if name not in usual)]


_PSEUDO = ((":method", "GET"), (":scheme", "https"), (":authority", "HOST"), (":path", "/"))
_LINE = f"x\r\n\r\nGET {HIDDEN} HTTP/1.1\r\nHost: HOST\r\n\r\n"
_BODY = _CHUNKED_AWAY.encode()

H2_CASES: tuple[H2, ...] = (
    H2("transfer-encoding", (("transfer-encoding", "chunked"),), _BODY),
    H2("transfer-encoding and length", (("transfer-encoding", "chunked"), ("content-length", str(len(_BODY)))), _BODY),
    H2("transfer-encoding in capitals", (("Transfer-Encoding", "chunked"),), _BODY),
    H2("connection", (("connection", "keep-alive"),)),
    H2("connection that names the length", (("connection", "content-length"), ("content-length", "5")), b"hello"),
    H2("proxy-connection", (("proxy-connection", "keep-alive"),)),
    H2("keep-alive", (("keep-alive", "timeout=5"),)),
    H2("upgrade", (("upgrade", "websocket"),)),
    H2("te that is not trailers", (("te", "chunked"),), served=True),
    H2("length too small", (("content-length", "5"),), b"hello" + _BODY),
    H2("length too large", (("content-length", "5000"),), b"hello"),
    H2("length without a body", (("content-length", "5"),)),
    H2("two lengths", (("content-length", "5"), ("content-length", "50")), b"hello"),
    H2("length in words", (("content-length", "+5"),), b"hello"),
    H2("list of lengths", (("content-length", "5, 5"),), b"hello"),
    H2("CRLF in a value", (("x-a", f"b\r\ntransfer-encoding: chunked\r\nx: {_LINE}"),), _BODY),
    H2("LF in a value", (("x-a", "b\ntransfer-encoding: chunked"),), _BODY),
    H2("CR in a value", (("x-a", "b\rtransfer-encoding: chunked"),), _BODY),
    H2("NUL in a value", (("x-a", "b\x00c"),)),
    H2("CRLF in a name", (("x-a: b\r\ntransfer-encoding", "chunked"),), _BODY),
    H2("colon in a name", (("transfer-encoding: chunked\r\nx", "y"),), _BODY),
    H2("blank in a name", (("transfer-encoding ", "chunked"),), _BODY),
    H2("capital in a name", (("X-A", "b"),)),
    H2("empty name", (("", "b"),)),
    H2("CRLF in the path", ((":path", f"/ HTTP/1.1\r\nHost: HOST\r\n\r\nGET {HIDDEN}"),)),
    H2("blank in the path", ((":path", f"/ {HIDDEN}"),)),
    H2("path without a slash", ((":path", "x"),)),
    H2("path of another host", ((":path", "http://other.test/"),)),
    H2("empty path", ((":path", ""),)),
    H2("CRLF in the method", ((":method", f"GET {HIDDEN} HTTP/1.1\r\nHost: HOST\r\n\r\nGET"),)),
    H2("blank in the method", ((":method", f"GET {HIDDEN} HTTP/1.1"),)),
    H2("empty method", ((":method", ""),)),
    H2("tunnel", ((":method", "CONNECT"),)),
    H2("CRLF in the authority", ((":authority", "HOST\r\nx: y"),)),
    H2("path in the authority", ((":authority", f"HOST{HIDDEN}"),)),
    H2("user in the authority", ((":authority", "user@HOST"),)),
    H2("host that is the same", (("host", "HOST"),), served=True),
    H2("host of somebody else", (("host", "other.test"),)),
    H2("two hosts", (("host", "HOST"), ("host", "other.test"))),
    H2("CRLF in the scheme", ((":scheme", f"https://x{HIDDEN} HTTP/1.1\r\n\r\n"),)),
    H2("two paths", (*_PSEUDO, (":path", HIDDEN)), exact=True),
    H2("two methods", (*_PSEUDO, (":method", "POST")), exact=True),
    H2("two authorities", (*_PSEUDO, (":authority", "other.test")), exact=True),
    H2("unknown pseudo-header", (*_PSEUDO, (":hidden", "x")), exact=True),
    H2("status in a request", (*_PSEUDO, (":status", "200")), exact=True),
    H2("pseudo-header behind a header", (*_PSEUDO[:3], ("x-a", "b"), _PSEUDO[3]), exact=True),
    H2("no path", _PSEUDO[:3], exact=True),
    H2("no method", _PSEUDO[1:], exact=True),
    H2("no host at all", (*_PSEUDO[:2], _PSEUDO[3]), exact=True),
    # It is dropped on the way; what counts is that it does not arrive.
    H2("pseudo-header in the trailers", (), b"x", ((":path", HIDDEN),), served=True),
    H2("coding in the trailers", (), b"x", (("transfer-encoding", "chunked"),), served=True),
    H2("length in the trailers", (), b"x", (("content-length", "50"),), served=True),
    H2("CRLF in the trailers", (("trailer", "x-a"),), b"x", (("x-a", _LINE),)),
    H2("plain", (("content-length", "5"),), b"hello", served=True),
    H2("a body like a request", (), _PREFIX.encode(), served=True),
)


# === readers of many habits


@dataclass(frozen=True)
class Habit:
    line_end: bytes
    """A pattern."""
    length: str
    """Which of several counts, `first` or `last`."""
    prefers: str
    """`coding` or `length`, where there are both."""
    coding: str
    """What means chunks: the very word, or anything with it in it."""

    def chunks(self, values: list[str]) -> bool:
        if self.coding == "exact":
            return [value.strip().lower() for value in values] == ["chunked"]
        return any("chunked" in value.lower() for value in values)


HABITS = tuple(
    Habit(*habit)
    for habit in itertools.product(
        (rb"\r\n", rb"\r?\n", rb"\r\n|\n|\r"), ("first", "last"), ("coding", "length"), ("exact", "within")
    )
)

_REQUEST = re.compile(rb"^[^ \t\r\n]+[ \t]+([^ \t\r\n]+)[ \t]+HTTP/", re.IGNORECASE)
_NUMBER = re.compile(r"\s*\+?(\d+)")
_SIZE = re.compile(r"\s*\+?(?:0x)?([0-9a-f]+)", re.IGNORECASE)


def read(data: bytes, habit: Habit) -> list[str]:
    """The targets of the requests that a server of this habit finds in a connection."""
    lines = re.compile(habit.line_end)
    targets: list[str] = []
    at = 0

    def line() -> bytes | None:
        nonlocal at
        end = lines.search(data, at)
        if end is None:
            return None
        found, at = data[at : end.start()], end.end()
        return found

    while (first := line()) is not None:
        if not first.strip():
            continue
        request = _REQUEST.match(first)
        if request is None:
            break  # garbage: this server would hang up
        targets.append(request[1].decode("latin-1"))
        fields: list[tuple[str, str]] = []
        while text := line():
            name, _, value = text.decode("latin-1").partition(":")
            fields.append((name.strip().lower(), value.strip()))
        codings = [value for name, value in fields if name == "transfer-encoding"]
        lengths = [value for name, value in fields if name == "content-length"]
        if habit.chunks(codings) and not (lengths and habit.prefers == "length"):
            while (size_line := line()) is not None:
                size = _SIZE.match(size_line.decode("latin-1"))
                if size is None:
                    return targets
                if (length := int(size[1], 16)) == 0:
                    while line():
                        pass
                    break
                at += length
                line()
        elif lengths:
            number = _NUMBER.match(lengths[0 if habit.length == "first" else -1])
            at += int(number[1]) if number else 0
    return targets


def readings(data: bytes) -> set[tuple[str, ...]]:
    """What all habits together see: one element if they agree."""
    return {tuple(read(data, habit)) for habit in HABITS}
