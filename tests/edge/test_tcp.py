"""TCP endpoints: a port of the edge, and bytes both ways until each side has ended."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator

import pytest

from harness import need, ports
from harness.agents import Agent, Agents
from harness.edge import Address, Edge, address
from harness.process import until
from harness.servers import Iperf, Postgres
from harness.site import Site
from harness.upstreams import BLOCK

NewEdge = Callable[..., Edge]
MIB = 1 << 20


def where(agent: Agent) -> Address:
    """The port of its endpoint, on this machine."""
    url = agent.url
    assert url.startswith("tcp://")
    return "127.0.0.1", address(url.removeprefix("tcp://"))[1]


def connect(agent: Agent) -> socket.socket:
    return socket.create_connection(where(agent), 20)


def rest(io: socket.socket) -> bytes:
    """All that comes until the other side has ended."""
    heard = b""
    while more := io.recv(1 << 16):
        heard += more
    return heard


def gone(io: socket.socket) -> bool:
    """Waits for the end, a polite one or not; whether nothing came before it."""
    try:
        return io.recv(1) == b""
    except ConnectionResetError:
        return True


def reset(io: socket.socket) -> None:
    """Ends a connection the rude way."""
    io.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    io.close()


# === other people's programs


# Not --bidir: iperf3 tells its two connections apart by the order in which they arrive, which no proxy keeps.
# Up, it says at once over one connection that it has sent all over the others, and nobody reads these any further: what
# fits into buffers on the way would not be received at all. So it sends for a time there, not so many bytes.
@pytest.mark.parametrize(
    "flags",
    [("-t", "1"), ("-n", "20M", "-R"), ("-t", "1", "-P", "8"), ("-n", "20M", "-R", "-P", "8")],
    ids=["up", "down", "8 up", "8 down"],
)
def test_iperf3_measures_through_an_endpoint(site: Site, iperf: Iperf, flags: tuple[str, ...]) -> None:
    port = where(site.agents.tcp(str(iperf.port)))[1]
    argv = [iperf.program, "-c", "127.0.0.1", "-p", str(port), "-J", *flags]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert "error" not in told
    assert told["end"]["sum_sent"]["bytes"] >= MIB
    assert told["end"]["sum_received"]["bytes"] > 0


def test_psql_asks_a_database_behind_an_endpoint(site: Site, postgres: Postgres) -> None:
    port = where(site.agents.tcp(str(postgres.port)))[1]
    argv = [need.program("psql", "postgresql-client"), "-h", "127.0.0.1", "-p", str(port), "-U", "portway"]
    asked = "select count(*), sum(length(repeat('x', n))) from generate_series(1, 2000) n"
    done = subprocess.run([*argv, "-d", "postgres", "-Atc", asked], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "2000|2001000\n"), done.stderr
    rows = subprocess.run(
        [*argv, "-d", "postgres", "-Atc", "select repeat('y', 1000) from generate_series(1, 5000)"],
        capture_output=True,
        timeout=60,
    )
    assert rows.stdout == (b"y" * 1000 + b"\n") * 5000


# === bytes and ends


def test_bytes_come_back_as_they_were_sent(site: Site) -> None:
    with connect(site.agents.tcp(site.upstreams.echo().address)) as io:
        for said in (b"\x00", b"hello", BLOCK):
            io.sendall(said)
            heard = b""
            while len(heard) < len(said):
                heard += io.recv(1 << 16)
            assert heard == said


def test_a_server_may_speak_first(site: Site) -> None:
    upstream = site.upstreams.recording(greeting=b"220 ready\r\n")
    with connect(site.agents.tcp(upstream.address)) as io:
        assert io.recv(100) == b"220 ready\r\n"


def test_a_visitor_who_has_said_all_still_hears_the_answer(site: Site) -> None:
    with connect(site.agents.tcp(site.upstreams.echo().address)) as io:
        io.sendall(BLOCK)
        io.shutdown(socket.SHUT_WR)
        assert rest(io) == BLOCK


def test_an_upstream_that_has_said_all_still_hears_the_visitor(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        agent = site.agents.tcp(f"127.0.0.1:{upstream.getsockname()[1]}")
        with connect(agent) as io:
            behind, _ = upstream.accept()
            with behind:
                behind.sendall(b"all of it")
                behind.shutdown(socket.SHUT_WR)
                assert rest(io) == b"all of it"
                io.sendall(b"and you?")
                io.shutdown(socket.SHUT_WR)
                assert rest(behind) == b"and you?"


def test_a_visitor_who_breaks_off_lets_the_upstream_go(site: Site) -> None:
    upstream = site.upstreams.recording()
    agent = site.agents.tcp(upstream.address)
    for leave in (reset, socket.socket.close):
        io = connect(agent)
        io.sendall(b"x")
        until("the byte arrived", lambda: upstream.open_connections == 1 and upstream.received[-1] == b"x")
        leave(io)
        upstream.wait_open(0)


def test_an_upstream_that_breaks_off_lets_the_visitor_go(site: Site) -> None:
    upstream = site.upstreams.recording()
    with connect(site.agents.tcp(upstream.address)) as io:
        upstream.wait_connections(1)
        upstream.down()
        assert gone(io)


def test_where_nobody_answers_the_visitor_is_let_go(site: Site) -> None:
    with connect(site.agents.tcp(site.upstreams.refusing())) as io:
        assert gone(io)


def test_a_visitor_who_does_not_read_stops_nobody_else(site: Site) -> None:
    agent = site.agents.tcp(site.upstreams.echo().address)
    with connect(agent) as deaf, connect(agent) as other:
        deaf.settimeout(1)
        with pytest.raises(TimeoutError):
            deaf.sendall(bytes(256 * MIB))
        other.sendall(b"still there?")
        assert other.recv(100) == b"still there?"


# === ports


def test_a_random_port_is_one_of_the_range(site: Site) -> None:
    agents = [site.agents.tcp(site.upstreams.echo().address) for _ in range(3)]
    taken = {where(agent)[1] for agent in agents}
    assert len(taken) == 3
    assert taken <= set(site.edge.tcp_ports)


def test_a_port_can_be_asked_for(edge: Edge, agents: Agents, site: Site) -> None:
    wanted = edge.tcp_ports[7]
    agent = agents.tcp(site.upstreams.echo().address, url=f"tcp://localhost:{wanted}")
    assert agent.url == f"tcp://localhost:{wanted}"
    with connect(agent) as io:
        io.sendall(b"x")
        assert io.recv(1) == b"x"


def test_a_port_is_bound_once(edge: Edge, agents: Agents, site: Site) -> None:
    url = f"tcp://localhost:{edge.tcp_ports[3]}"
    first = agents.tcp(site.upstreams.echo().address, url=url)
    first.up()
    second = agents.tcp("1", url=url)
    assert second.process.wait() == 1
    assert "ERR_NGROK_334" in second.process.text("err")
    with connect(first) as io:
        io.sendall(b"x")
        assert io.recv(1) == b"x"


def test_a_port_of_somebody_else_is_refused_by_name(edge: Edge, agents: Agents) -> None:
    port = edge.tcp_ports[5]
    with socket.create_server(("127.0.0.1", port)):
        agent = agents.tcp("1", url=f"tcp://localhost:{port}")
        assert agent.process.wait() == 1
    assert str(port) in agent.process.text("err")
    assert "ERR_NGROK_381" in agent.process.text("err")


def test_a_port_outside_the_range_is_refused(edge: Edge, agents: Agents) -> None:
    agent = agents.tcp("1", url=f"tcp://localhost:{ports.unused()}")
    assert agent.process.wait() == 1
    assert "ERR_NGROK_" in agent.process.text("err")


def test_when_all_ports_are_taken_that_is_said(
    new_edge: NewEdge, agents_of: Callable[[Edge], Agents], site: Site
) -> None:
    only = ports.unused()
    agents = agents_of(new_edge("--tcp-ports", f"{only}-{only}"))
    agents.tcp(site.upstreams.echo().address).up()
    late = agents.tcp("1")
    assert late.process.wait() == 1
    assert "are in use" in late.process.text("err")


def test_a_port_closes_with_its_endpoint(edge: Edge, agents: Agents, site: Site) -> None:
    agent = agents.tcp(site.upstreams.echo().address)
    port = where(agent)
    with connect(agent) as open_one:
        open_one.sendall(b"x")
        assert open_one.recv(1) == b"x"
    since = edge.process.position
    agent.process.stop()
    edge.process.wait_for("agent disconnected", since=since)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(port, 5)
    again = agents.tcp(site.upstreams.echo().address, url=f"tcp://localhost:{port[1]}")
    with connect(again) as io:
        io.sendall(b"y")
        assert io.recv(1) == b"y"


def test_members_of_a_pool_share_a_port(edge: Edge, agents: Agents, site: Site) -> None:
    upstreams = [site.upstreams.recording(greeting=name) for name in (b"one", b"two")]
    url = f"tcp://localhost:{edge.tcp_ports[2]}"
    members = [agents.tcp(upstream.address, "--pooling-enabled", url=url) for upstream in upstreams]
    for member in members:
        member.up()

    def heard() -> bytes:
        with connect(members[0]) as io:
            return io.recv(3)

    seen: set[bytes] = set()
    for _ in range(200):  # all on one side: once in 2^199
        seen.add(heard())
        if len(seen) == 2:
            break
    assert seen == {b"one", b"two"}
    since = edge.process.position
    members[0].kill()
    edge.process.wait_for("agent disconnected", since=since)
    assert {heard() for _ in range(10)} == {b"two"}


# === IPv6


@pytest.fixture
def six() -> Iterator[str]:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            yield "[::1]"
    except OSError:
        need.lacking("IPv6 on loopback")


def test_an_edge_on_ipv6_serves_all_of_it(
    six: str, new_edge: NewEdge, agents_of: Callable[[Edge], Agents], site: Site
) -> None:
    first = ports.block()
    listeners = zip(("agent", "http", "https", "api"), first, strict=False)
    edge = new_edge(*(part for name, port in listeners for part in (f"--{name}-addr", f"{six}:{port}")))
    assert edge.agent[0] == "::1"
    agents = agents_of(edge)
    agents_env = {"PORTWAY_CONNECT_URL": f"{six}:{edge.agent[1]}"}
    tcp = agents.agent("tcp", site.upstreams.echo().address, env=agents_env)
    with socket.create_connection(("::1", address(tcp.url.removeprefix("tcp://"))[1]), 20) as io:
        io.sendall(b"by six")
        assert io.recv(100) == b"by six"
    web = agents.http(site.upstream.url, url="http://six.localhost", env=agents_env)
    web.up()
    with socket.create_connection(edge.http, 20) as io:
        io.sendall(b"GET / HTTP/1.1\r\nHost: six.localhost\r\nConnection: close\r\n\r\n")
        assert b" 200 " in rest(io)
    assert site.upstream.seen[-1].header("x-forwarded-for") == "::1"
    assert edge.ask("/healthz")[0] == 200
