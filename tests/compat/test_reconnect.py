"""The edge is killed and comes back: every endpoint of every SDK is there again, under the same URL."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass

from harness.edge import Edge
from harness.process import PATIENCE, until
from harness.sdk import Event, Sdk, Sdks, Want, each
from harness.tls import Authority
from harness.upstreams import HttpUpstream, Upstreams
from harness.visitor import Visitor, dial

# An SDK made in Rust dials at once, after 50 ms and after 2.5 s; its fourth attempt comes 125 s later. A machine too
# busy to bring the edge back before the third has to wait for that one.
THIRD_ATTEMPT = 2.3
FOURTH_ATTEMPT = 128 + PATIENCE


def restart(edge: Edge) -> float:
    """How long a test may wait for the agents that were here."""
    began = time.monotonic()
    edge.restart()
    return PATIENCE if time.monotonic() - began < THIRD_ATTEMPT else FOURTH_ATTEMPT


@dataclass
class Served:
    """An agent with an endpoint of each kind."""

    sdk: Sdk
    edge: Edge
    authority: Authority
    upstream: HttpUpstream
    ups: list[Event]

    def check(self) -> None:
        """Each is served by its own URL."""
        for up in self.ups:
            scheme, host = up["url"].split("://")
            if scheme == "tcp":
                with dial(self.edge, up["url"]) as io:
                    io.sendall(b"GET /status/204 HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert io.recv(12) == b"HTTP/1.1 204"
            elif scheme == "tls":
                context = ssl.create_default_context(cafile=str(self.authority.pem))
                with dial(self.edge, f"https://{host}", context=context) as io:
                    io.sendall(b"hello")
                    assert io.recv(5) == b"hello"
            else:
                with Visitor(self.edge, up["url"]) as visitor:
                    assert visitor.get("/status/204").status == 204

    def wait_back(self, since: int, patience: float) -> None:
        for up in self.ups:
            self.edge.process.wait_for("endpoint bound", since, patience, id=up["id"], url=up["url"])


def serve(sdks: Sdks, edge: Edge, upstreams: Upstreams, authority: Authority, kind: str) -> Served:
    name = f"tls-{kind}.localhost"
    upstream, echo = upstreams.http(), upstreams.echo(tls=authority.pair(name).serving())
    sdk = sdks.run(
        kind,
        Want("http", upstream.url),
        Want("http", upstream.url, f"http://plain-{kind}.localhost"),
        Want("http", upstream.url, f"https://static-{kind}.localhost"),
        Want("tcp", f"tcp://{upstream.address}"),
        Want("tls", f"tcp://{echo.address}", f"tls://{name}"),
    )
    served = Served(sdk, edge, authority, upstream, sdk.up(5))
    served.check()
    return served


@each()
def test_all_endpoints_come_back_with_their_urls(
    sdks: Sdks, edge: Edge, upstreams: Upstreams, authority: Authority, kind: str
) -> None:
    served = serve(sdks, edge, upstreams, authority, kind)
    for _ in range(2):
        patience = restart(edge)
        served.wait_back(0, patience)
        served.check()
    assert len(served.sdk.told("up")) == 5, "the SDK has noticed nothing"


@each(go2="version 2 has no labels")
def test_a_labeled_endpoint_comes_back(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    sdk = sdks.run(kind, Want("labeled", upstreams.http().url, options=[("label", "app", "again")]))
    sdk.event("up")
    patience = restart(edge)
    edge.process.wait_for("endpoint bound", 0, patience)

    def served() -> bool:
        with Visitor(edge, "https://again.localhost") as visitor:
            return visitor.get("/status/204").status == 204

    until("the label is served again", served)


@each(go2="version 2 has no options of this kind")
def test_options_come_back_too(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    """An SDK binds again with the options of the edge's answer: what was missing there would be open now."""
    options = [("basic_auth", "ann", "long enough"), ("response_header", "x-from", "the edge"), ("compression",)]
    url = f"https://again-{kind}.localhost"
    sdk = sdks.run(kind, Want("http", upstreams.http().url, url, options))
    up = sdk.event("up")
    patience = restart(edge)
    edge.process.wait_for("endpoint bound", 0, patience, id=up["id"], url=up["url"])
    assert sdk.get("/").status == 401
    answer = sdk.get("/", Authorization="Basic YW5uOmxvbmcgZW5vdWdo", Accept_Encoding="gzip")
    assert (answer.status, answer.headers["x-from"], answer.headers["content-encoding"]) == (200, "the edge", "gzip")


@each()
def test_an_edge_that_stops_in_order_is_found_again(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    sdk = sdks.run(kind, Want("http", upstreams.http().url))
    up = sdk.event("up")
    began = time.monotonic()
    edge.process.stop()
    edge.start()
    patience = PATIENCE if time.monotonic() - began < THIRD_ATTEMPT else FOURTH_ATTEMPT
    edge.process.wait_for("endpoint bound", 0, patience, id=up["id"], url=up["url"])
    assert sdk.get("/status/204").status == 204
