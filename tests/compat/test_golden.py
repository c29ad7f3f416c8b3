"""What the official SDKs really send, recorded here and now, and read by `rust/wire`. None of it is kept."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import need
from harness.muxado import AUTH, BIND, BIND_LABELED, UNBIND, WNDINC, Json, Peer
from harness.played import Played
from harness.process import until
from harness.sdk import Option, Sdks, Want, each
from harness.tls import Authority

UPSTREAM = "http://127.0.0.1:1"
POLICY = "on_tcp_connect: []"


@dataclass
class Recorder:
    """An edge that says yes to everything and keeps what it was asked."""

    listener: socket.socket
    context: ssl.SSLContext
    asked: list[tuple[int, int, Json]] = field(default_factory=list)  # number of the connection, type, message
    peers: list[Peer] = field(default_factory=list)

    def serve(self) -> None:
        while True:
            try:
                peer = Peer.accept_from(self.listener, self.context)
            except OSError:
                return  # the listener was closed
            self.peers.append(peer)
            threading.Thread(target=self._answer, args=(len(self.peers), peer), daemon=True).start()

    def _answer(self, number: int, peer: Peer) -> None:
        # It ends when the SDK has nothing more to say, or when we cut it off.
        with contextlib.suppress(AssertionError, OSError):
            while True:
                stream = peer.accept(AUTH, BIND, BIND_LABELED, UNBIND)
                assert stream.kind is not None
                message = stream.json()
                self.asked.append((number, stream.kind, message))
                stream.answer(reply(stream.kind, message, len(self.asked)))

    def of(self, number: int, *kinds: int) -> list[Json]:
        """The messages of one connection that are of these types."""
        return [message for one, kind, message in list(self.asked) if one == number and kind in kinds]

    def close(self) -> None:
        self.listener.close()
        for peer in self.peers:
            peer.close()


def reply(kind: int, asked: Json, count: int) -> Json:
    if kind == AUTH:
        return {"Version": "3", "ClientId": "client-1", "Error": "", "Extra": {"Cookie": "crumbs"}}
    if kind == BIND_LABELED:
        return {"Id": f"label-{count}", "Error": ""}
    if kind == UNBIND:
        return {"Error": ""}
    bound = asked["Id"] or f"bind-{count}"
    url = f"{asked['Proto']}://{bound}.example" + (":4711" if asked["Proto"] == "tcp" else "")
    return {
        "Id": bound,
        "URL": url,
        "Proto": asked["Proto"],
        "Opts": asked["Opts"],
        "Extra": {"Token": f"token-{bound}"},
        "Error": "",
    }


def wants(kind: str, ca: str, pair: tuple[str, str]) -> list[Want]:
    """Every option the SDK has."""
    tcp = "tcp://127.0.0.1:1"
    addresses: list[Option] = [("allow_cidr", "10.0.0.0/8"), ("deny_cidr", "10.1.0.0/16")]
    proxied: list[Option] = [("proxy_proto", "2"), ("metadata", "mine")]
    policy: list[Option] = [("traffic_policy", POLICY)]
    common = [
        Want("http", UPSTREAM),
        Want("http", UPSTREAM, "http://named.example", [*policy, ("metadata", "mine")]),
        Want("http", UPSTREAM, "https://", [("app_protocol", "http2")]),
        Want("tcp", tcp),
        Want("tcp", tcp, "tcp://named.example:4711", [*policy, *proxied]),
        Want("tls", tcp),
        Want("tls", tcp, "tls://named.example", [*policy, *proxied]),
    ]
    pooled = [Want("http", UPSTREAM, "https://pool.example", [("pooling_enabled", True)])]
    if kind == "go2":
        bound = Want("http", UPSTREAM, "https://inside.example", [("bindings", "internal")])
        own = Want("tls", tcp, "tls://own.example", [("agent_termination", *pair)])
        return [*common, *pooled, bound, own]
    everything: list[Option] = [
        *addresses,
        *proxied,
        ("basic_auth", "ann", "long enough"),
        ("request_header", "X-One", "1"),
        ("remove_request_header", "X-Two"),
        ("response_header", "X-Three", "3"),
        ("remove_response_header", "X-Four"),
        ("compression",),
        ("circuit_breaker", 0.25),
        ("allow_user_agent", "good"),
        ("deny_user_agent", "bad"),
        ("websocket_tcp_conversion",),
        ("webhook_verification", "github", "secret"),
        ("mutual_tlsca", ca),
    ]
    rest = [
        Want("http", UPSTREAM, "https://all.example", everything),
        Want("http", UPSTREAM, options=[("oauth", "google")]),
        Want("http", UPSTREAM, options=[("oidc", "https://id.example", "client", "secret")]),
        Want("tcp", tcp, options=addresses),
        Want("tls", tcp, options=[("termination", "", ""), ("mutual_tlsca", ca), *addresses]),
        Want("tls", tcp, options=[("termination", *pair)]),
        Want("labeled", UPSTREAM, options=[("label", "app", "x"), ("label", "zone", "y"), ("metadata", "mine")]),
    ]
    return [*common, *rest, *(pooled if kind != "python" else [])]


@pytest.fixture
def recorder(authority: Authority) -> Iterator[Recorder]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(None)
    recorder = Recorder(listener, authority.pair("127.0.0.1").serving())
    threading.Thread(target=recorder.serve, daemon=True).start()
    yield recorder
    recorder.close()


@each()
def test_all_that_an_sdk_sends_is_understood(
    sdks: Sdks, recorder: Recorder, authority: Authority, tmp_path: Path, kind: str
) -> None:
    pair = authority.pair("own.example")
    asked = wants(kind, authority.pem.read_text(), (pair.cert.read_text(), pair.key.read_text()))
    address = recorder.listener.getsockname()
    sdk = sdks.run(kind, *asked, metadata="mine", server=address, ca=str(authority.pem))
    sdk.up(len(asked))
    assert len(recorder.of(1, BIND, BIND_LABELED)) == len(asked)

    # Once more, as it binds again: with ids and tokens, and with the options of the answers.
    recorder.peers[0].close()
    until("all is bound again", lambda: len(recorder.of(2, BIND, BIND_LABELED)) == len(asked))
    assert recorder.of(2, AUTH)[0]["ClientId"] == "client-1"
    repeated = {bound["Id"]: bound for bound in recorder.of(2, BIND)}
    assert all(bound["Extra"]["Token"] == f"token-{bound['Id']}" for bound in repeated.values())
    # An SDK made in Rust closes endpoints on its old session until it has taken up the new one. Then it takes visitors,
    # which the first credit shows.
    first = sdk.told("up")[0]["id"]
    again = Played(recorder.peers[1], ids=[first])
    visit = again.visit()
    again.peer.wait("a visitor that is taken", lambda: any(one.kind == WNDINC for one in again.peer.of(visit.id)))
    sdk.unbind(first)
    sdk.event("down")
    assert recorder.of(2, UNBIND)

    captures = tmp_path / "captures"
    captures.mkdir()
    for number, (connection, message_type, message) in enumerate(recorder.asked):
        told = {"type": message_type, "message": message}
        (captures / f"{kind}-{number}-connection-{connection}.json").write_text(json.dumps(told))
    cargo = need.program("cargo", "rustup")
    ran = subprocess.run(
        [cargo, "test", "--quiet", "--locked", "-p", "portway-wire", "--test", "golden"],
        cwd=need.ROOT,
        env={**os.environ, "PORTWAY_CAPTURES": str(captures), "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout, ran.stdout
