"""HTTP through an edge: what goes in comes out, and only what belongs to one connection is changed."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import subprocess

import pytest

from harness import need
from harness.http2 import Http2Visitor, request
from harness.raw import RawVisitor, head
from harness.servers import Nginx
from harness.site import BOTH_WAYS, Site
from harness.tls import Authority
from harness.upstreams import BLOCK, pattern_digest
from harness.visitor import credulous, dial, digest

BOTH = pytest.mark.parametrize("scheme", ["http", "https"])
pytestmark = BOTH_WAYS
MIB = 1 << 20


def curl(site: Site, url: str, *flags: str) -> subprocess.CompletedProcess[bytes]:
    argv = [need.program("curl", "curl"), "-sS", "--max-time", "30", "--cacert", str(site.edge.ca), *flags, url]
    return subprocess.run(argv, capture_output=True)


# === connections


@BOTH
def test_one_connection_carries_one_request_after_the_other(site: Site, scheme: str) -> None:
    before = site.upstream.connections
    with site.visitor(scheme) as visitor:
        for length in (0, 1, 70_000, 3):
            assert digest(visitor.open("GET", f"/bytes/{length}")) == (length, pattern_digest(length))
        assert visitor.ask("POST", "/", body=b"x" * 1000).json["length"] == 1000
    assert site.upstream.connections == before + 1, "the upstream's connection was kept too"


def test_pipelined_requests_are_answered_in_their_order(site: Site) -> None:
    host = site.host("http")
    with site.raw() as raw:
        raw.send(b"".join(head(host, "GET", f"/bytes/{n}") for n in (5, 50, 500)))
        assert [len(raw.response().body) for _ in range(3)] == [5, 50, 500]


def test_connection_close_is_obeyed(site: Site) -> None:
    with site.raw() as raw:
        raw.send(head(site.host("http"), "GET", "/bytes/3", "Connection: close"))
        answer = raw.response()
        assert (answer.body, answer.head.get("connection")) == (BLOCK[:3], "close")
        assert raw.closed()


def test_a_visitor_of_http_1_0_is_answered_and_let_go(site: Site) -> None:
    with site.raw() as raw:
        raw.send(f"GET /chunked/70000 HTTP/1.0\r\nHost: {site.host('http')}\r\n\r\n".encode())
        answer = raw.response()
        assert answer.head.get("transfer-encoding") is None, "HTTP/1.0 knows no chunks"
        assert len(answer.body) == 70_000
    assert site.upstream.seen[-1].version == "HTTP/1.1"


def test_what_the_upstream_cuts_short_is_cut_short_for_the_visitor(site: Site) -> None:
    with site.raw() as raw:
        raw.send(head(site.host("http"), "GET", "/short"))
        answer = raw.head()
        assert answer.get("content-length") == "1000"
        assert raw.everything() == b"only this", "and then the end, not silence"


def test_a_body_without_a_length_ends_where_the_upstream_hangs_up(site: Site) -> None:
    with site.raw() as raw:
        for _ in range(2):
            raw.send(head(site.host("http"), "GET", "/endless/300000"))
            body = raw.response().body
            assert hashlib.sha256(body).hexdigest() == pattern_digest(300_000)


def test_chunks_that_are_none_are_cut_short(site: Site) -> None:
    with site.raw() as raw:
        raw.send(head(site.host("http"), "GET", "/misframed"))
        assert not raw.everything().endswith(b"0\r\n\r\n")


def test_an_answer_nobody_asked_for_is_nobodys(site: Site) -> None:
    with site.raw() as raw:
        for _ in range(2):
            raw.send(head(site.host("http"), "GET", "/more"))
            assert raw.response().body == b"fine"
        raw.send(head(site.host("http"), "GET", "/bytes/3"))
        assert len(raw.response().body) == 3


def test_what_is_only_passed_on_keeps_its_spelling(site: Site, request: pytest.FixtureRequest) -> None:
    with site.raw() as raw:
        raw.send(head(site.host("http"), "GET", "/", "x-SpeLt: As It Is"))
        names = [name for name, _ in json.loads(raw.response().body)["headers"]]
    short = "[short" in request.node.name
    assert ("x-SpeLt" in names, "x-spelt" in names) == (short, not short), "both ways are tested"


def test_an_upstream_that_hangs_up_is_told(site: Site) -> None:
    with site.visitor("http") as visitor:
        for path in ("/close", "/garbage"):
            answer = visitor.get(path)
            assert (answer.status // 100, answer.code) == (5, "ERR_NGROK_3004"), path
        assert visitor.get("/").status == 200, "the visitor's connection lives on"


def test_a_visitor_who_leaves_lets_the_upstream_go(site: Site) -> None:
    raw = site.raw()
    raw.send(head(site.host("http"), "GET", "/events"))
    assert raw.head().status == 200
    open_before = site.upstream.open_connections
    assert open_before >= 1
    raw.close()
    site.upstream.wait_open(open_before - 1)


# === bodies


@BOTH
def test_bodies_of_any_size_pass_both_ways(site: Site, scheme: str) -> None:
    length = 8 * MIB
    blocks = [BLOCK] * (length // len(BLOCK))
    with site.visitor(scheme) as visitor:
        assert digest(visitor.open("GET", f"/chunked/{length}")) == (length, pattern_digest(length))
        sized = visitor.ask("POST", "/", body=iter(blocks), headers={"Content-Length": str(length)}).json
        chunked = visitor.ask("POST", "/", body=iter(blocks)).json
    for told in (sized, chunked):
        assert (told["length"], told["sha256"]) == (length, pattern_digest(length))
    framing = {name.lower(): value for name, value in sized["headers"]}
    assert framing["content-length"] == str(length)
    assert "transfer-encoding" not in framing


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "PROPFIND"])
def test_any_request_may_have_a_body(site: Site, method: str) -> None:
    with site.raw() as raw:
        raw.send(head(site.host("http"), method, "/", "Content-Length: 5") + b"sized")
        assert raw.response().status == 200
        assert site.upstream.seen[-1].body == b"sized"
        raw.send(head(site.host("http"), method, "/", "Transfer-Encoding: chunked") + b"6\r\nchunks\r\n0\r\n\r\n")
        assert raw.response().status == 200
        assert site.upstream.seen[-1].body == b"chunks"
    with Http2Visitor(site.edge, site.secure.url) as visitor:
        assert visitor.ask(request(site.host("https"), "/", method), b"frames").status == 200
        assert site.upstream.seen[-1].body == b"frames"


def test_a_body_is_passed_on_while_it_comes(site: Site) -> None:
    """The upstream answers after the first half; nobody waits for the second."""
    with site.raw() as raw:
        raw.send(head(site.host("http"), "POST", "/early", "Content-Length: 100000") + b"x" * 1000)
        assert raw.response().status == 413


def test_trailers_pass_both_ways(site: Site) -> None:
    with site.raw() as raw:
        raw.send(head(site.host("http"), "GET", "/trailers", "TE: trailers"))
        answer = raw.response()
        assert (answer.body, answer.trailers) == (b"body", [("x-sum", "42")])
        raw.send(
            head(site.host("http"), "POST", "/", "Transfer-Encoding: chunked", "Trailer: X-Check")
            + b"4\r\nabcd\r\n0\r\nX-Check: 7\r\n\r\n"
        )
        raw.response()
    assert [(name.lower(), value) for name, value in site.upstream.seen[-1].trailers] == [("x-check", "7")]


def test_who_expects_100_continue_gets_it_before_the_body(site: Site) -> None:
    with site.raw() as raw:
        raw.send(head(site.host("http"), "POST", "/", "Content-Length: 5", "Expect: 100-continue"))
        assert raw.head().status == 100
        raw.send(b"hello")
        answer = raw.response()
    assert answer.status == 200
    assert site.upstream.seen[-1].body == b"hello"


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_have_none(site: Site, status: int) -> None:
    with site.raw() as raw:
        for _ in range(2):
            raw.send(head(site.host("http"), "GET", f"/status/{status}"))
            answer = raw.response()
            assert (answer.status, answer.head.get("transfer-encoding")) == (status, None)


def test_the_answer_to_head_tells_the_length_and_has_no_body(site: Site) -> None:
    with site.raw() as raw:
        raw.send(head(site.host("http"), "HEAD", "/bytes/1234"))
        assert raw.response("HEAD").head.get("content-length") == "1234"
        raw.send(head(site.host("http"), "GET", "/bytes/2"))
        assert raw.response().body == BLOCK[:2], "the connection is still in step"


@pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 418, 500, 503, 599])
def test_a_status_is_the_upstreams_affair(site: Site, status: int) -> None:
    with site.visitor("http") as visitor:
        answer = visitor.get(f"/status/{status}")
    assert (answer.status, answer.text, answer.code) == (status, str(status), None)


def test_methods_pass_as_they_are(site: Site) -> None:
    with site.visitor("http") as visitor:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "X-OWN"):
            assert visitor.ask(method, "/").json["method"] == method


def test_a_target_passes_byte_for_byte(site: Site) -> None:
    target = "/a//b/../c;p=1/%2e%2E/%41?q=%20&q=a+b&empty=&x=%zz"
    with site.raw() as raw:
        raw.send(head(site.host("http"), "GET", target))
        raw.response()
    assert site.upstream.seen[-1].target == target


# === events and other protocols


@BOTH
def test_each_event_comes_when_it_is_sent(site: Site, scheme: str) -> None:
    with site.raw(scheme) as raw:
        raw.send(head(site.host(scheme), "GET", "/events", "Accept: text/event-stream"))
        assert raw.head().get("content-type") == "text/event-stream"
        for n in range(3):
            site.upstream.release_when_waiting()
            assert raw.chunk() == f"data: {n}\n\n".encode()
        assert raw.chunk() == b""


def test_any_protocol_can_take_over_a_connection(site: Site) -> None:
    with site.raw() as raw:
        raw.send(head(site.host("http"), "GET", "/upgrade", "Connection: Upgrade", "Upgrade: echo/1"))
        answer = raw.head()
        assert (answer.status, answer.get("upgrade")) == (101, "echo/1")
        raw.send(b"\x00\x01GET / HTTP/1.1\r\n\r\n")
        assert raw.exactly(20) == b"\x00\x01GET / HTTP/1.1\r\n\r\n"


def test_an_upgrade_that_is_declined_is_an_ordinary_answer(site: Site) -> None:
    with site.raw() as raw:
        raw.send(head(site.host("http"), "GET", "/bytes/7", "Connection: Upgrade", "Upgrade: echo/1"))
        assert raw.response().body == BLOCK[:7]
        raw.send(head(site.host("http"), "GET", "/bytes/2"))
        assert raw.response().body == BLOCK[:2]


# === headers


@BOTH
def test_the_upstream_learns_who_asks_and_how(site: Site, scheme: str) -> None:
    with site.visitor(scheme) as visitor:
        visitor.get("/")
    seen = site.upstream.seen[-1]
    assert seen.header("host") == site.host(scheme)
    assert seen.header("x-forwarded-for") == "127.0.0.1"
    assert seen.header("x-forwarded-proto") == scheme
    assert seen.header("x-forwarded-host") == site.host(scheme)


def test_what_a_visitor_claims_to_be_forwarded_stays_in_front(site: Site) -> None:
    claims = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "other.test"}
    with site.visitor("http") as visitor:
        visitor.get("/", headers=claims)
    seen = site.upstream.seen[-1]
    assert seen.header("x-forwarded-for") == "203.0.113.9, 127.0.0.1"
    assert seen.header("x-forwarded-proto") == "https, http"
    assert seen.header("x-forwarded-host") == "other.test"


def test_what_belongs_to_one_connection_ends_there(site: Site) -> None:
    lines = (
        *("Connection: keep-alive, X-Mine", "X-Mine: 1", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive"),
        *("Proxy-Authorization: Basic eDp5", "TE: gzip", "X-Other: 2", "Cookie: a=1", "Cookie: b=2"),
    )
    with site.raw() as raw:
        raw.send(head(site.host("http"), "GET", "/", *lines))
        raw.response()
    seen = site.upstream.seen[-1]
    for gone in ("x-mine", "keep-alive", "proxy-connection", "proxy-authorization", "te"):
        assert seen.header(gone) is None, gone
    assert "x-mine" not in (seen.header("connection") or "").lower()
    assert seen.header("x-other") == "2"
    assert "a=1" in (seen.header("cookie") or "")
    assert "b=2" in (seen.header("cookie") or "")


def test_connection_cannot_take_away_what_the_edge_adds(site: Site) -> None:
    with site.raw() as raw:
        raw.send(head(site.host("http"), "GET", "/", "Connection: host, x-forwarded-for, x-forwarded-proto"))
        assert raw.response().status in (200, 400)
    seen = site.upstream.seen[-1]
    assert (seen.header("x-forwarded-for"), seen.header("host")) == ("127.0.0.1", site.host("http"))


def test_only_the_edge_can_say_that_the_edge_failed(site: Site) -> None:
    with site.visitor("http") as visitor:
        answer = visitor.get("/forged")
    assert (answer.status, answer.text, answer.code) == (200, "fine", None)


@pytest.mark.parametrize(
    ("flag", "host"), [("rewrite", "UPSTREAM"), ("preserve", "PUBLIC"), ("shop.internal.test", "shop.internal.test")]
)
def test_the_host_header_is_what_was_asked_for(site: Site, flag: str, host: str) -> None:
    agent = site.agents.http(site.upstream.url, "--host-header", flag, url="http://")
    public = agent.url.removeprefix("http://")
    wanted = {"UPSTREAM": site.upstream.address, "PUBLIC": public}.get(host, host)
    assert agent.get("/").status == 200
    assert site.upstream.seen[-1].header("host") == wanted
    answer = agent.get("/location")
    if flag == "preserve":
        assert answer.headers["location"] == f"http://{public}/elsewhere"
    else:
        assert site.upstream.seen[-1].header("x-forwarded-host") == public
        assert answer.headers["location"] == f"http://{public}/elsewhere", "back to the public name"


# === HTTP/2


def test_curl_speaks_http_2_over_tls(site: Site) -> None:
    url = f"{site.secure.url}/bytes/100000"
    resolve = f"{site.secure.url.split('://')[1]}:127.0.0.1"
    answer = curl(site, url, "--http2", "--resolve", resolve, "-w", "\n%{http_version}")
    assert answer.returncode == 0, answer.stderr
    body, _, version = answer.stdout.rpartition(b"\n")
    assert (version, len(body)) == (b"2", 100_000)


def test_curl_speaks_http_2_by_prior_knowledge(site: Site) -> None:
    answer = curl(site, f"{site.plain.url}/bytes/1000", "--http2-prior-knowledge", "-w", "\n%{http_version}")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == BLOCK[:1000] + b"\n2"


def test_nghttp_uploads_and_downloads_side_by_side(site: Site) -> None:
    argv = [need.program("nghttp", "nghttp2-client"), "-v", "-n", "--no-verify-peer", "-m", "20"]
    host, port = site.edge.https
    url = f"https://{host}:{port}/bytes/50000"  # it does not know that .localhost is this machine
    argv += ["-H", f":authority: {site.host('https')}", url]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(":status: 200") == 20


def test_http_2_streams_pass_each_other(site: Site) -> None:
    host = site.host("https")
    with Http2Visitor(site.edge, site.secure.url) as visitor:
        slow = visitor.send(request(host, "/slow"))
        for length in (10, 100_000, 10):
            answer = visitor.ask(request(host, f"/bytes/{length}"))
            assert (answer.status, len(answer.body)) == (200, length)
        assert not visitor.exchanges[slow].ended
        site.upstream.release_when_waiting()
        assert visitor.answer(slow).body == b"at last"


def test_http_2_bodies_and_trailers_arrive_as_http_1(site: Site) -> None:
    host = site.host("https")
    with Http2Visitor(site.edge, site.secure.url) as visitor:
        asked = [*request(host, "/", "POST"), ("cookie", "a=1"), ("cookie", "b=2"), ("trailer", "x-check")]
        answer = visitor.ask(asked, b"x" * 30_000, [("x-check", "7")])
        assert answer.status == 200
        seen = site.upstream.seen[-1]
        assert (seen.version, seen.body_length, seen.header("host")) == ("HTTP/1.1", 30_000, host)
        assert seen.header("transfer-encoding") == "chunked"
        assert [(name.lower(), value) for name, value in seen.trailers] == [("x-check", "7")]
        assert seen.header("cookie") in ("a=1; b=2", "a=1, b=2")
        answer = visitor.ask(request(host, "/trailers"))
        assert (bytes(answer.body), answer.trailers) == (b"body", {"x-sum": "42"})


def test_http_2_events_come_when_they_are_sent(site: Site) -> None:
    with Http2Visitor(site.edge, site.secure.url) as visitor:
        stream = visitor.send(request(site.host("https"), "/events"))
        for n in range(3):
            site.upstream.release_when_waiting()
            visitor.body_until(stream, f"data: {n}\n\n".encode())
        assert visitor.answer(stream).ended


def test_http_2_answers_carry_no_headers_of_http_1(site: Site) -> None:
    with Http2Visitor(site.edge, site.secure.url) as visitor:
        answer = visitor.ask(request(site.host("https"), "/chunked/10"))
        assert not {"connection", "transfer-encoding", "keep-alive"} & answer.fields.keys()
        answer = visitor.ask(request(site.host("https"), "/close"))
        assert (answer.status, answer.fields["ngrok-error-code"]) == (502, "ERR_NGROK_3004")


def test_a_name_that_is_not_in_the_certificate_of_the_connection_is_routed_by_its_own(site: Site) -> None:
    """Browsers share connections between names; the request decides, not the handshake."""
    other = site.upstreams.http()
    agent = site.agents.http(other.url)
    with Http2Visitor(site.edge, site.secure.url) as visitor:
        assert visitor.ask(request(agent.url.split("://")[1], "/")).status in (200, 421)
    assert not [seen for seen in site.upstream.seen if seen.header("host") == agent.url.split("://")[1]]


# === names


def test_an_https_endpoint_sends_visitors_of_http_there(site: Site) -> None:
    url = site.secure.url
    with RawVisitor(site.edge.connect()) as raw:
        raw.send(head(url.split("://")[1].split(":")[0], "GET", "/a/b?c=d"))
        answer = raw.response()
    assert (answer.status, answer.head.get("location")) == (307, f"{url}/a/b?c=d")


def test_an_http_endpoint_is_not_served_over_https(site: Site) -> None:
    name = site.host("http").split(":")[0]
    with RawVisitor(dial(site.edge, f"https://{name}", context=credulous())) as raw:
        raw.send(head(name))
        assert raw.response().status == 404


def test_case_port_and_last_dot_do_not_matter(site: Site) -> None:
    name = site.host("http").split(":")[0]
    for host in (name.upper(), f"{name}:80", f"{name}:1234", f"{name}."):
        with RawVisitor(site.edge.connect()) as raw:
            raw.send(head(host, "GET", "/bytes/1"))
            assert raw.response().status == 200, host


def test_a_name_is_bound_once(site: Site) -> None:
    again = site.agents.http(site.upstream.url, url=site.plain.url)
    assert again.process.wait() == 1
    assert "ERR_NGROK_334" in again.process.text("err")
    assert site.plain.get("/").status == 200


def test_the_most_specific_name_is_served(site: Site) -> None:
    names = ["*.wild.localhost", "*.deep.wild.localhost", "exact.wild.localhost"]
    upstreams = {name: site.upstreams.http() for name in names}
    agents = {name: site.agents.http(upstreams[name].url, url=f"http://{name}") for name in names}
    for agent in agents.values():
        agent.up()

    def served_by(host: str) -> str | None:
        before = {name: len(upstreams[name].seen) for name in names}
        with RawVisitor(site.edge.connect()) as raw:
            raw.send(head(host))
            status = raw.response().status
        grown = [name for name in names if len(upstreams[name].seen) > before[name]]
        assert (status, len(grown)) in ((200, 1), (404, 0))
        return grown[0] if grown else None

    assert served_by("a.wild.localhost") == "*.wild.localhost"
    assert served_by("a.b.wild.localhost") == "*.wild.localhost"
    assert served_by("a.deep.wild.localhost") == "*.deep.wild.localhost"
    assert served_by("exact.wild.localhost") == "exact.wild.localhost"
    assert served_by("wild.localhost") is None
    since = site.edge.process.position
    agents["exact.wild.localhost"].process.stop()
    site.edge.process.wait_for("endpoint ended", since=since)
    assert served_by("exact.wild.localhost") == "*.wild.localhost", "the wildcard stands in"


def test_a_wildcard_has_a_certificate_for_each_name(site: Site) -> None:
    site.agents.http(site.upstream.url, url="https://*.many.localhost").up()
    for name in ("a.many.localhost", "b.c.many.localhost"):
        with RawVisitor.to(site.edge, f"https://{name}") as raw:
            raw.send(head(name, "GET", "/bytes/1"))
            assert raw.response().status == 200


# === pools


def test_members_of_a_pool_share_its_visitors(site: Site) -> None:
    upstreams = [site.upstreams.http(), site.upstreams.http()]
    flags = ("--pooling-enabled", "--url", "http://pool.localhost")
    agents = [site.agents.agent("http", upstream.url, *flags) for upstream in upstreams]
    for agent in agents:
        agent.up()
    with agents[0].visitor() as visitor:
        for _ in range(200):  # all on one side: once in 2^199
            assert visitor.get("/").status == 200
            if all(upstream.seen for upstream in upstreams):
                break
        assert all(upstream.seen for upstream in upstreams), "balanced per request"

        since = site.edge.process.position
        agents[0].kill()
        site.edge.process.wait_for("agent disconnected", since=since)
        left = len(upstreams[0].seen)
        for _ in range(20):
            assert visitor.get("/").status == 200
        assert len(upstreams[0].seen) == left


def test_who_does_not_pool_cannot_join_a_pool(site: Site) -> None:
    site.agents.agent("http", site.upstream.url, "--pooling-enabled", "--url", "http://pool2.localhost").up()
    alone = site.agents.http(site.upstream.url, url="http://pool2.localhost")
    assert alone.process.wait() == 1
    assert "ERR_NGROK_" in alone.process.text("err")


# === other upstreams


def test_a_compressed_answer_passes_unopened(site: Site) -> None:
    packed = gzip.compress(b"x" * 1000)
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        agent = site.agents.http(str(upstream.getsockname()[1]), url="http://")
        with agent.visitor() as visitor:
            visitor.connection.request("GET", "/", headers={"Host": visitor.host, "Accept-Encoding": "gzip"})
            io, _ = upstream.accept()
            with io:
                assert io.recv(1 << 16)
                length = str(len(packed)).encode()
                io.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: " + length + b"\r\n\r\n" + packed
                )
                answer = visitor.connection.getresponse()
                assert (answer.headers["content-encoding"], answer.read()) == ("gzip", packed)


def test_an_https_upstream_is_reached_and_verified_when_asked(site: Site, authority: Authority) -> None:
    upstream = site.upstreams.http(tls=authority.pair("localhost", "127.0.0.1").serving())
    address = f"https://localhost:{upstream.port}"
    assert site.agents.http(address, url="http://").get("/").status == 200, "not verified unless asked"
    answer = site.agents.http(address, "--upstream-tls-verify", url="http://").get("/")
    assert (answer.status, answer.code) == (502, "ERR_NGROK_8012")
    assert "certificate" in answer.text.lower()
    trusted = site.agents.http(address, "--upstream-tls-verify-cas", str(authority.pem), url="http://")
    assert trusted.get("/").status == 200


def test_nginx_is_an_upstream_like_any_other(site: Site, nginx: Nginx) -> None:
    nginx.page("hello.txt", b"hello from nginx\n")
    nginx.big("big", 64 * MIB)
    agent = site.agents.http(nginx.url)
    with agent.visitor() as visitor:
        assert visitor.get("/hello.txt").text == "hello from nginx\n"
        part = visitor.get("/hello.txt", headers={"Range": "bytes=6-9"})
        assert (part.status, part.text) == (206, "from")
        assert visitor.get("/host").text == visitor.host.split(":")[0] + "\n"
        assert visitor.get("/headers").text == f"for=127.0.0.1 proto=https host={visitor.host}\n"
        assert visitor.get("/gone").status == 410
        length, _ = digest(visitor.open("GET", "/big"))
        assert length == 64 * MIB
