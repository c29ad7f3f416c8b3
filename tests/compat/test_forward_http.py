"""HTTP endpoints of the official SDKs: visitors get what the upstream says, in both directions."""

from __future__ import annotations

import threading

import pytest
from websockets.sync.client import connect as open_websocket
from websockets.sync.server import ServerConnection, serve

from harness.edge import Edge
from harness.sdk import Sdks, Want, each
from harness.upstreams import BLOCK, Upstreams, pattern_digest
from harness.visitor import dial, digest

MIB = 1 << 20


@each()
def test_a_random_name_is_given_and_served(sdks: Sdks, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.http()
    sdk = sdks.run(kind, Want("http", upstream.url))
    up = sdk.event("up")
    assert up["url"].startswith("https://")
    assert up["id"], "the bind has an id"
    with sdk.visitor() as visitor:
        answer = visitor.get("/hello?who=you", headers={"X-Asked": "yes"})
        assert (answer.status, answer.json["target"]) == (200, "/hello?who=you")
        assert visitor.get("/status/410").status == 410
    seen = upstream.seen[0]
    assert seen.header("x-asked") == "yes"
    assert seen.header("host") == up["url"].split("://")[1]
    assert seen.header("x-forwarded-proto") == "https"


@each()
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_was_asked_for_is_served(sdks: Sdks, upstreams: Upstreams, kind: str, scheme: str) -> None:
    sdk = sdks.run(kind, Want("http", upstreams.http().url, f"{scheme}://shop-{kind}.localhost"))
    assert sdk.url.startswith(f"{scheme}://shop-{kind}.localhost:")
    assert sdk.get("/status/201").status == 201


@each()
def test_bodies_pass_both_ways(sdks: Sdks, upstreams: Upstreams, kind: str) -> None:
    length = 4 * MIB
    sdk = sdks.run(kind, Want("http", upstreams.http().url))
    with sdk.visitor() as visitor:
        assert digest(visitor.open("GET", f"/bytes/{length}")) == (length, pattern_digest(length))
        assert digest(visitor.open("GET", f"/chunked/{length}")) == (length, pattern_digest(length))
        told = visitor.ask("POST", "/", body=iter([BLOCK] * (length // len(BLOCK)))).json
    assert (told["length"], told["sha256"]) == (length, pattern_digest(length))


@each()
def test_a_websocket_is_one_to_the_upstream(sdks: Sdks, edge: Edge, kind: str) -> None:
    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        sdk = sdks.run(kind, Want("http", f"http://127.0.0.1:{port}", f"http://ws-{kind}.localhost"))
        host = sdk.url.split("://")[1]
        with open_websocket(f"ws://{host}/", sock=dial(edge, sdk.url), proxy=None) as websocket:
            for message in ("hello", b"\x00\xff" * 40_000, ""):
                websocket.send(message)
                assert websocket.recv(10) == message


@each(go2="version 2 has no labels")
def test_a_labeled_endpoint_is_served_where_the_operator_says(sdks: Sdks, upstreams: Upstreams, kind: str) -> None:
    sdk = sdks.run(kind, Want("labeled", upstreams.http().url, options=[("label", "app", kind)]))
    up = sdk.event("up")
    assert (up["url"], up["labels"]) == ("", {"app": kind})
    with sdk.visitor(f"https://{kind}.localhost") as visitor:
        assert visitor.get("/status/202").status == 202


@each()
def test_an_upstream_that_is_down_is_told_as_a_502_page(sdks: Sdks, upstreams: Upstreams, kind: str) -> None:
    sdk = sdks.run(kind, Want("http", f"http://{upstreams.refusing()}"))
    for _ in range(3):
        assert sdk.get("/").status == 502


@each()
def test_an_upstream_that_comes_back_is_served_at_once(sdks: Sdks, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.http()
    sdk = sdks.run(kind, Want("http", upstream.url))
    assert sdk.get("/status/204").status == 204
    upstream.down()
    assert sdk.get("/").status == 502
    upstream.up()
    assert sdk.get("/status/204").status == 204
