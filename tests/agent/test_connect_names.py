"""From the edge's name to its address (agent-behaviour §2.2, case 8): real name servers, in a network of their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.agents import Agents
from harness.dns import AAAA, A, HttpsResolver, Names, Resolver
from harness.namespace import seeing
from harness.network import Network
from harness.played import PlayedEdge
from harness.process import Process, until
from harness.tls import Authority

FAILED = "failed to reconnect session"
OTHERWISE = "name resolved by other means"
EDGE = "edge.example.com"
HERE, HERE_6, ELSEWHERE = "192.0.2.1", "2001:db8::1", "192.0.2.9"
SYSTEM, OWN = "192.0.2.53", "192.0.2.54"
PUBLIC = ("8.8.8.8", "8.8.4.4")


@dataclass
class Land:
    """A network with an edge in it, and name servers where a test puts some."""

    network: Network
    edge: PlayedEdge
    agents: Agents
    resolv: Path
    opened: list[Resolver | HttpsResolver] = field(default_factory=list)

    def resolver(self, host: str, *addresses: str, name: str = EDGE) -> Resolver:
        resolver = self.network.run(lambda: Resolver(host))
        resolver.records = {name: addresses} if addresses else {}
        self.opened.append(resolver)
        return resolver

    def https(self, authority: Authority, *addresses: str) -> HttpsResolver:
        names = Names.__new__(Names)
        names.records, names.asked = {EDGE: addresses}, []
        pair = authority.pair("dns.google", *PUBLIC)
        self.opened.append(self.network.run(lambda: HttpsResolver(PUBLIC[0], pair, names.answer)))
        assert isinstance(self.opened[-1], HttpsResolver)
        return self.opened[-1]

    def agent(self, name: str = EDGE, settings: str = "", **env: str) -> Process:
        config = self.agents.home / f"agent-{len(self.agents.started)}.yml"
        config.write_text(f"version: 3\nagent:\n  heartbeat_interval: 10s\n{settings}")
        files = {"/etc/resolv.conf": self.resolv}
        return self.agents.run(
            *("http", "8080", "--config", str(config)),
            env={**self.edge.env, "PORTWAY_CONNECT_URL": f"{name}:{self.edge.port}", **env},
            within=[*self.network.within, *seeing(files)],
        )

    def connects(self, process: Process) -> None:
        self.edge.next().up()
        process.wait_for("started tunnel")


@pytest.fixture
def land(alone: Agents, authority: Authority, tmp_path: Path) -> Iterator[Land]:
    network = Network(HERE, HERE_6, SYSTEM, OWN, *PUBLIC)
    edge = network.run(lambda: PlayedEdge(authority, EDGE, "edge.internal", "edge.test", host="::"))
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {SYSTEM}\noptions timeout:1 attempts:1\n")
    land = Land(network, edge, alone, resolv)
    yield land
    alone.stop()
    edge.stop()
    for one in land.opened:
        one.stop()
    network.stop()


Silent = Callable[[], None]


# === each way alone


def test_b8_the_system_is_asked_first_and_nobody_else_where_it_knows(land: Land) -> None:
    system = land.resolver(SYSTEM, HERE)
    public = land.resolver(PUBLIC[0], HERE)
    process = land.agent()
    land.connects(process)
    assert EDGE in system.asked
    assert not public.asked
    assert not [record for record in process.records() if record["msg"] == OTHERWISE]


@pytest.mark.parametrize("dead", ["refuses", "says nothing", "knows no such name"])
def test_b8_public_resolvers_carry_alone(dead: str, land: Land) -> None:
    if dead != "refuses":
        system = land.resolver(SYSTEM)
        system.mute_on = {A, AAAA} if dead == "says nothing" else set()
    public = land.resolver(PUBLIC[1], HERE)
    process = land.agent()
    land.connects(process)
    assert process.wait_for(OTHERWISE)["by"] == "public resolvers"
    assert set(public.asked) == {EDGE}


@pytest.mark.parametrize("why", ["silence", "length"])
def test_b8_a_resolver_that_udp_does_not_reach_is_asked_by_tcp(why: str, land: Land) -> None:
    public = land.resolver(PUBLIC[0], HERE)
    public.silent_udp, public.truncating = why == "silence", why == "length"
    process = land.agent()
    land.connects(process)
    assert {"udp", "tcp"} <= set(public.ways)


def test_b8_dns_over_https_carries_alone(land: Land, authority: Authority) -> None:
    """An inspecting network has its CA in the system's store, and `connect_cas: host` says that it counts."""
    https = land.https(authority, HERE)
    process = land.agent(PORTWAY_CONNECT_CAS="host", SSL_CERT_FILE=str(authority.pem))
    land.connects(process)
    assert process.wait_for(OTHERWISE)["by"] == "DNS over HTTPS"
    assert set(https.asked) == {EDGE}


def test_b8_who_cannot_show_that_it_is_the_operator_is_told_no_name(land: Land, authority: Authority) -> None:
    https = land.https(authority, HERE)
    process = land.agent()
    failed = process.wait_for(FAILED)
    assert "DNS over HTTPS: " in failed["err"]
    assert not https.asked


def test_b8_the_addresses_of_last_time_carry_alone(land: Land, tmp_path: Path) -> None:
    state = tmp_path / "state"
    system = land.resolver(SYSTEM, ELSEWHERE, HERE)
    first = land.agent(XDG_STATE_HOME=str(state))
    land.connects(first)
    file = state / "portway" / "addresses.json"
    until("the address is kept", file.exists)
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())[EDGE]["addresses"][0] == HERE
    first.kill()
    land.opened.remove(system)
    system.stop()
    process = land.agent(XDG_STATE_HOME=str(state))
    land.connects(process)
    assert process.wait_for(OTHERWISE)["by"] == "the addresses of last time"


@pytest.mark.parametrize("name", [EDGE, "edge.internal"])
def test_b8_addresses_that_the_operator_publishes_carry_alone(name: str, land: Land) -> None:
    class Published(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps({name: [HERE], "other.example.com": "192.0.2.99"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name above
            pass

    land.network.add(ELSEWHERE)
    server = land.network.run(lambda: ThreadingHTTPServer((ELSEWHERE, 0), Published))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://{ELSEWHERE}:{server.server_port}/addresses.json"
    process = land.agent(name, f"  dns_fallback_url: {url}\n")
    land.connects(process)
    assert process.wait_for(OTHERWISE)["by"] == "the addresses of dns_fallback_url"
    server.shutdown()
    server.server_close()


def test_b8_a_file_system_that_takes_no_file_keeps_nobody_from_connecting(land: Land) -> None:
    land.resolver(SYSTEM, HERE)
    process = land.agent(XDG_STATE_HOME="/proc/nowhere")
    land.connects(process)
    process.wait_for("cannot keep addresses")


def test_b8_where_nobody_knows_each_way_is_told(land: Land) -> None:
    failed = land.agent().wait_for(FAILED)
    assert failed["err"].startswith(f"cannot resolve {EDGE}: the system's resolver: ")
    for way in ("; public resolvers: ", "; DNS over HTTPS: ", "; the addresses of last time: there are none"):
        assert way in failed["err"]


def test_b8_a_wrong_answer_does_not_end_the_search(land: Land) -> None:
    land.resolver(SYSTEM, ELSEWHERE)
    public = land.resolver(PUBLIC[0], ELSEWHERE, HERE)
    process = land.agent()
    land.connects(process)
    assert EDGE in public.asked


# === what stays here


@pytest.mark.parametrize("name", ["edge", "edge.internal", "edge.local", "edge.lan", "edge.home.arpa", "edge.test"])
def test_b8_a_private_name_never_leaves_the_machine(name: str, land: Land, authority: Authority) -> None:
    public, https = land.resolver(PUBLIC[0], HERE, name=name), land.https(authority, HERE)
    process = land.agent(name, PORTWAY_CONNECT_CAS="host", SSL_CERT_FILE=str(authority.pem))
    for _ in range(2):
        failed = process.wait_for(FAILED, since=process.position)
        assert failed["err"].startswith(f"cannot resolve {name}: ")
    assert not public.asked
    assert not https.asked


def test_b8_no_name_leaves_the_machine_where_that_is_switched_off(land: Land) -> None:
    public = land.resolver(PUBLIC[0], HERE)
    process = land.agent(settings="  dns_fallback: false\n")
    for _ in range(2):
        process.wait_for(FAILED, since=process.position)
    assert not public.asked


# === dns_resolver_ips


@pytest.mark.parametrize("why", ["well", "silence", "length"])
@pytest.mark.parametrize("port", [53, 0], ids=["usual port", "other port"])
def test_b8_chosen_servers_are_asked_instead_of_the_system(why: str, port: int, land: Land) -> None:
    system = land.resolver(SYSTEM, ELSEWHERE)
    own = land.network.run(lambda: Resolver(OWN, port))
    land.opened.append(own)
    own.records = {EDGE: [HERE]}
    own.silent_udp, own.truncating = why == "silence", why == "length"
    address = OWN if port else f"{OWN}:{own.port}"
    process = land.agent(settings=f"  dns_resolver_ips: [{address}]\n")
    land.connects(process)
    assert set(own.asked) == {EDGE}
    assert not system.asked
    assert ("tcp" in own.ways) == (why != "well")


def test_b8_one_chosen_server_of_two_is_enough(land: Land) -> None:
    own = land.resolver(OWN, HERE)
    process = land.agent(settings=f"  dns_resolver_ips: [{SYSTEM}, {OWN}]\n")
    land.connects(process)
    assert own.asked


def test_b8_the_search_goes_on_where_chosen_servers_are_gone(land: Land) -> None:
    land.resolver(PUBLIC[0], HERE)
    process = land.agent(settings=f"  dns_resolver_ips: [{OWN}]\n")
    land.connects(process)
    assert process.wait_for(OTHERWISE)["by"] == "public resolvers"


@pytest.mark.parametrize(("mute", "left"), [(AAAA, HERE), (A, HERE_6)], ids=["IPv6", "IPv4"])
def test_b8_a_family_that_is_not_answered_for_is_not_waited_for(mute: int, left: str, land: Land) -> None:
    own = land.resolver(OWN, HERE, HERE_6)
    own.mute_on = {mute}
    process = land.agent(settings=f"  dns_resolver_ips: [{OWN}]\n")
    land.connects(process)
    assert not [record for record in process.records() if record["msg"] == FAILED], left
    assert "tcp" not in own.ways, "it was there before the other answer was given up"
