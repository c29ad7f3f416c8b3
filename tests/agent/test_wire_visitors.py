"""What the agent does with the streams of an edge (wire-protocol.md §9: the cases that name its side)."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Callable

import pytest

from harness.agents import Agent
from harness.muxado import PROXY, RST, data, rst
from harness.played import Played, PlayedEdge, with_length
from harness.process import until
from harness.tls import Authority
from harness.upstreams import BLOCK, HttpUpstream, Upstreams

Connecting = Callable[..., Agent]

REFUSED = 4  # RST: not wanted here
BACKLOG = 1024  # streams that an agent lets wait for their type


@pytest.fixture
def session(played: PlayedEdge, connecting: Connecting, upstream: HttpUpstream) -> Played:
    """Of an agent with one http endpoint."""
    connecting("http", upstream.url)
    return played.next().up()


def serves(session: Played) -> bool:
    answer = session.get("/bytes/5")
    return answer.startswith(b"HTTP/1.1 200") and answer.endswith(BLOCK[:5])


# === headers


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(with_length(b"{not json"), id="no JSON"),
        pytest.param(with_length(b"[]"), id="no object"),
        pytest.param(with_length(b"{}"), id="no keys"),
        pytest.param(with_length(b'{"Id":1,"ClientAddr":"","Proto":"http","EdgeType":"0"}'), id="wrong type"),
        pytest.param(with_length(b"{}", -1), id="negative length"),
        pytest.param(with_length(b"", 0), id="zero length"),
        pytest.param(with_length(b"{}", 1 << 62), id="huge length"),
        pytest.param(with_length(b"{}", 1 << 20), id="length beyond the limit"),
        pytest.param(b"\x01\x02", id="cut in the length"),
        pytest.param(with_length(b'{"Id":', 50), id="cut in the JSON"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_91_a_malformed_header_ends_its_stream_only(head: bytes, session: Played) -> None:
    broken = session.peer.open(PROXY, head, fin=len(head) < 20)
    assert broken.everything() == b""
    assert serves(session)


def test_91_an_unknown_id_ends_its_stream_only(session: Played) -> None:
    assert session.visit(b"GET / HTTP/1.1\r\n\r\n", Id="of-somebody-else").everything() == b""
    assert serves(session)


def test_91_the_least_that_a_header_may_have_is_enough(session: Played) -> None:
    """An edge may leave out what has a default, and may say more."""
    for extra in ({"ClientAddr": "nonsense"}, {"EdgeType": ""}, {"Surprise": [1, {"a": None}]}):
        assert session.get("/bytes/5", **extra).endswith(BLOCK[:5]), extra


def test_92_a_header_that_comes_byte_by_byte_holds_up_nobody(session: Played) -> None:
    slow = session.peer.open(None)
    whole = (
        struct.pack("!I", PROXY) + session.header() + b"GET /bytes/5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    for at, byte in enumerate(whole):
        session.peer.send(data(slow.id, bytes([byte]), syn=at == 0))
        if at % 40 == 0:
            assert serves(session), f"after {at} bytes"
    assert slow.everything().endswith(BLOCK[:5])


def test_93_blanks_behind_the_json_do_not_reach_the_upstream(session: Played, upstream: HttpUpstream) -> None:
    padded = with_length(session.header()[8:] + b" \n\t ")
    request = b"GET /bytes/5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert session.peer.open(PROXY, padded + request).everything().endswith(BLOCK[:5])
    assert bytes(upstream.raw[0]) == request


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 11, 12, 13, 60, -1])
def test_94_bytes_on_both_sides_of_the_header_arrive_in_order(
    cut: int, played: PlayedEdge, connecting: Connecting, upstreams: Upstreams
) -> None:
    recording = upstreams.recording()
    connecting("tcp", recording.address)
    session = played.next().up(url="tcp://played.test:1")
    stream = session.peer.open(None)
    whole = struct.pack("!I", PROXY) + session.header(Proto="tcp") + b"one "
    at = len(whole) if cut == -1 else cut
    session.peer.send(
        data(stream.id, whole[:at], syn=True), data(stream.id, whole[at:] + b"two "), data(stream.id, b"three")
    )
    until("all bytes", lambda: bool(recording.received) and bytes(recording.received[0]) == b"one two three")


# === ends


@pytest.mark.parametrize("proto", ["http", "tcp"])
@pytest.mark.parametrize("fin", [False, True], ids=["RST", "FIN and RST"])
def test_22_103_a_reset_closes_the_upstream_at_once(
    fin: bool, proto: str, played: PlayedEdge, connecting: Connecting, upstreams: Upstreams
) -> None:
    recording = upstreams.recording()
    agent = connecting(proto, recording.address)
    session = played.next().up(url=f"{proto}://played.test:1")
    files = agent.process.open_files()
    streams = [session.visit(b"hello", Proto=proto) for _ in range(20)]
    until("all have come", lambda: len(recording.received) == 20 and all(recording.received))
    for stream in streams:
        session.peer.send(*([data(stream.id, fin=True)] if fin else []), rst(stream.id, 6))
    recording.wait_open(0)
    until("no file stays open", lambda: agent.process.open_files() <= files)


def test_103_700_visitors_that_leave_in_the_middle_leave_nothing(session: Played, upstream: HttpUpstream) -> None:
    for _ in range(700):
        stream = session.visit(b"GET /bytes/1000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        stream.until(b"\r\n\r\n")
        session.peer.send(data(stream.id, fin=True), rst(stream.id, 6))
    upstream.wait_open(0)
    assert serves(session)


def test_95_the_visitors_end_reaches_a_tcp_upstream_and_the_upstreams_the_visitor(
    played: PlayedEdge, connecting: Connecting, upstreams: Upstreams
) -> None:
    echo = upstreams.echo()
    connecting("tcp", echo.address)
    session = played.next().up(url="tcp://played.test:1")
    stream = session.visit(b"say it back", Proto="tcp")
    stream.until(b"back")
    stream.send(b", and the end", fin=True)
    assert stream.everything() == b", and the end"


def test_96_an_http_upstream_that_is_down_is_a_502_from_the_agent(
    played: PlayedEdge, connecting: Connecting, upstreams: Upstreams
) -> None:
    down = upstreams.refusing()
    connecting("http", down)
    answer = played.next().up().get("/")
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"connection: close" in head.lower()
    assert down.encode() in body
    assert body.endswith(b"\r\n\r\nERR_NGROK_8012\r\n")
    assert b"portway" not in head.lower(), "an edge that is not ours is told nothing that only ours understands"


def test_96_a_tcp_upstream_that_is_down_is_an_end_without_data(
    played: PlayedEdge, connecting: Connecting, upstreams: Upstreams
) -> None:
    connecting("tcp", upstreams.refusing())
    session = played.next().up(url="tcp://played.test:1")
    assert session.visit(b"hello", Proto="tcp").everything() == b""


# === limits


def test_43_streams_without_a_type_are_refused_beyond_the_backlog(session: Played) -> None:
    silent = [session.peer.open(None) for _ in range(BACKLOG + 5)]
    session.peer.send(*(data(stream.id, b"\x00", syn=True) for stream in silent))
    assert silent[-1].wait_reset() == 9
    refused = [frame for frame in list(session.peer.frames) if frame.kind == RST]
    assert len(refused) == 5
    session.peer.send(*(data(stream.id, fin=True) for stream in silent[:-5]))
    assert serves(session)


# === TLS to the upstream


@pytest.mark.parametrize(
    ("flags", "status"),
    [((), 200), (("--upstream-tls-verify",), 502), (("--upstream-tls-verify-cas", "CA"), 200)],
    ids=["not verified", "unknown CA", "its CA is given"],
)
def test_105_upstream_tls_is_verified_when_asked(
    flags: tuple[str, ...],
    status: int,
    played: PlayedEdge,
    connecting: Connecting,
    upstreams: Upstreams,
    authority: Authority,
) -> None:
    secure = upstreams.http(tls=authority.pair("127.0.0.1").serving())
    connecting("http", secure.url, *(str(authority.pem) if flag == "CA" else flag for flag in flags))
    answer = played.next().up().get("/bytes/5")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    if status == 502:
        assert b"--upstream-tls-verify-cas" in answer


def test_105_the_name_in_the_certificate_must_be_the_upstreams(
    played: PlayedEdge, connecting: Connecting, upstreams: Upstreams, authority: Authority
) -> None:
    context: ssl.SSLContext = authority.pair("elsewhere.test").serving()
    secure = upstreams.http(tls=context)
    connecting("http", secure.url, "--upstream-tls-verify-cas", str(authority.pem))
    assert played.next().up().get("/").startswith(b"HTTP/1.1 502 ")
