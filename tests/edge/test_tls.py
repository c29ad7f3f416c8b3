"""TLS at an edge: which certificate a visitor sees, where TLS ends, and who has to show a certificate of their own."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from harness import need, ports
from harness.agents import Agents
from harness.edge import Address, Edge
from harness.process import Process
from harness.raw import RawVisitor
from harness.site import Site
from harness.tls import Authority, Pair
from harness.upstreams import BLOCK
from harness.visitor import echoes

NewEdge = Callable[..., Edge]


@pytest.fixture
def clients(tmp_path: Path) -> Authority:
    """Who vouches for visitors."""
    return Authority(tmp_path, "clients")


def trusting(ca: Path, *, shown: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    if shown:
        context.load_cert_chain(shown.cert, shown.key)
    return context


def connect(to: Address, name: str | None, context: ssl.SSLContext) -> ssl.SSLSocket:
    io = context.wrap_socket(socket.create_connection(to, 20), server_hostname=name)
    io.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return io


def certificate(io: ssl.SSLSocket) -> x509.Certificate:
    der = io.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der)


def names(shown: x509.Certificate) -> list[str]:
    extension = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in extension.value]


def served(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.cert.read_bytes())


def name_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def get(io: socket.socket, host: str, path: str = "/bytes/3") -> int:
    with RawVisitor(io) as raw:
        raw.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return raw.response().status


class OpenSsl:
    """`openssl s_client`: another TLS than Python's and ours."""

    def __init__(self, to: Address, name: str, *flags: str) -> None:
        argv = [need.program("openssl", "openssl"), "s_client", "-connect", "{}:{}".format(*to), "-servername", name]
        self.process = Process("openssl", [*argv, "-brief", "-nocommands", *flags], stdin=subprocess.PIPE)

    def says_and_hears(self, line: str) -> None:
        assert self.process.popen.stdin
        self.process.popen.stdin.write(f"{line}\n".encode())
        self.process.popen.stdin.flush()
        self.process.wait_line(f"{line!r} once more", lambda heard: True if heard == line else None)

    def version(self) -> str:
        return self.process.wait_line(
            "the version", lambda line: line.split(": ")[1] if line.startswith("Protocol version:") else None
        )

    def end(self) -> str:
        """All it wrote."""
        assert self.process.popen.stdin
        self.process.popen.stdin.close()
        self.process.wait()
        return self.process.text()


# === certificates


def test_every_name_has_a_certificate_of_the_edges_own_ca(site: Site) -> None:
    name = name_of(site.secure.url)
    ca = x509.load_pem_x509_certificate(site.edge.ca.read_bytes())
    with connect(site.edge.https, name, trusting(site.edge.ca)) as io:
        leaf = certificate(io)
    assert names(leaf) == [name]
    leaf.verify_directly_issued_by(ca)
    assert leaf.public_key() != ca.public_key(), "the CA's key stays at home"
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert not constraints.value.ca
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert list(usage.value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days <= 398, "browsers take no longer ones"
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_openssl_is_content_with_the_chain(site: Site) -> None:
    name = name_of(site.secure.url)
    client = OpenSsl(
        site.edge.https, name, "-CAfile", str(site.edge.ca), "-verify_return_error", "-verify_hostname", name
    )
    client.version()
    assert "Verification: OK" in client.end()


def test_agents_find_the_address_they_dial_in_the_certificate(site: Site) -> None:
    for name in ("127.0.0.1", "localhost", "connect.localhost"):
        with connect(site.edge.agent, name, trusting(site.edge.ca)) as io:
            leaf = certificate(io)
        assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_key_of_the_ca_is_nobody_elses_to_read(site: Site) -> None:
    assert (site.edge.data / "ca-key.pem").stat().st_mode & 0o077 == 0


def test_the_ca_survives_a_restart(edge: Edge) -> None:
    before = edge.ca.read_bytes()
    edge.restart()
    assert edge.ca.read_bytes() == before


def laid_out(folder: Path, stem: str, pair: Pair) -> None:
    folder.mkdir(exist_ok=True)
    shutil.copy(pair.cert, folder / f"{stem}.crt")
    shutil.copy(pair.key, folder / f"{stem}.key")


def test_certificates_of_the_operator_win_over_the_edges_own(
    new_edge: NewEdge, agents_of: Callable[[Edge], Agents], authority: Authority, tmp_path: Path, site: Site
) -> None:
    folder = tmp_path / "certs"
    exact, wild = authority.pair("own.localhost"), authority.pair("*.shops.localhost")
    laid_out(folder, "exact", exact)
    laid_out(folder, "wild", wild)
    edge = new_edge("--certs-dir", str(folder))
    agents = agents_of(edge)
    for url in ("https://own.localhost", "https://a.shops.localhost", "https://other.localhost"):
        agents.http(site.upstream.url, url=url).up()
    for name, shown in (("own.localhost", exact), ("a.shops.localhost", wild)):
        with connect(edge.https, name, trusting(authority.pem)) as io:
            assert certificate(io) == served(shown)
            assert get(io, name) == 200
    with connect(edge.https, "other.localhost", trusting(edge.ca)) as io:
        assert get(io, "other.localhost") == 200


def test_a_reload_takes_up_new_certificates_and_drops_nobody(
    new_edge: NewEdge, agents_of: Callable[[Edge], Agents], authority: Authority, tmp_path: Path, site: Site
) -> None:
    folder, name = tmp_path / "certs", "own.localhost"
    old, new = authority.pair(name), Authority(tmp_path, "renewed").pair(name)
    laid_out(folder, "own", old)
    edge = new_edge("--certs-dir", str(folder))
    agents_of(edge).http(site.upstream.url, url=f"https://{name}").up()
    with connect(edge.https, name, trusting(authority.pem)) as before:
        assert certificate(before) == served(old)
        laid_out(folder, "own", new)
        (folder / "broken.crt").write_text("this is no certificate")
        edge.process.signal(SIGHUP)
        told = edge.process.wait_for("configuration reloaded")
        assert "broken.crt" in told["result"], "what cannot be used is named, and the rest is"
        with connect(edge.https, name, trusting(tmp_path / "renewed" / "ca.pem")) as after:
            assert certificate(after) == served(new)
            assert get(after, name) == 200
        assert get(before, name) == 200


# === versions and hellos


def test_tls_1_2_and_1_3_are_spoken_and_nothing_older(site: Site) -> None:
    name = name_of(site.secure.url)
    for flag, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        client = OpenSsl(site.edge.https, name, flag)
        assert client.version() == version
        client.end()
    for flag in ("-tls1_1", "-tls1"):
        client = OpenSsl(site.edge.https, name, flag, "-cipher", "DEFAULT@SECLEVEL=0")
        assert "alert" in client.end()


def test_h2_is_preferred_and_nobody_has_to_take_it(site: Site) -> None:
    for offered, taken in ((["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), ([], None)):
        context = trusting(site.edge.ca)
        if offered:
            context.set_alpn_protocols(offered)
        with connect(site.edge.https, name_of(site.secure.url), context) as io:
            assert io.selected_alpn_protocol() == taken


def hello(context: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return tls, incoming, outgoing


def test_a_hello_may_come_byte_by_byte(site: Site, authority: Authority) -> None:
    echo = site.upstreams.echo(tls=authority.pair("bytes.localhost").serving())
    site.agents.tls(echo.address, url="tls://bytes.localhost").up()
    for name, ca in ((name_of(site.secure.url), site.edge.ca), ("bytes.localhost", authority.pem)):
        tls, incoming, outgoing = hello(trusting(ca), name)
        with socket.create_connection(site.edge.https, 20) as io:
            io.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in outgoing.read():
                io.sendall(bytes([byte]))
            while True:
                incoming.write(io.recv(1 << 16))
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                break
            io.sendall(outgoing.read())
            assert tls.version() == "TLSv1.3"


def test_who_names_nobody_is_served_by_the_host_header(site: Site) -> None:
    context = trusting(site.edge.ca)
    context.check_hostname = False
    for name, shown in ((None, "localhost"), ("elsewhere.test", "localhost"), ("nobody.localhost", "nobody.localhost")):
        with connect(site.edge.https, name, context) as io:
            assert shown in names(certificate(io))
            assert get(io, "nobody.localhost") == 404
    with connect(site.edge.https, None, context) as io:
        assert get(io, name_of(site.secure.url)) == 200


def test_a_connection_made_for_one_owner_does_not_reach_another(
    new_edge: NewEdge, agents_of: Callable[[Edge], Agents], tmp_path: Path, site: Site
) -> None:
    """Browsers share a connection between names of one certificate; the answer 421 tells them not to."""
    other_token = "token-of-somebody-else"
    config = tmp_path / "edge.yml"
    config.write_text(f"tokens: [{{name: other, token: {other_token}}}]\n")
    edge = new_edge("--config", str(config))
    agents = agents_of(edge)
    for name in ("mine.localhost", "mine-too.localhost"):
        agents.http(site.upstream.url, url=f"https://{name}").up()
    agents.http(site.upstream.url, url="https://theirs.localhost", env={"PORTWAY_AUTHTOKEN": other_token}).up()
    for host, status in (("mine.localhost", 200), ("mine-too.localhost", 200), ("theirs.localhost", 421)):
        with connect(edge.https, "mine.localhost", trusting(edge.ca)) as io:
            assert get(io, host) == status, host


# === tls endpoints


def test_tls_passes_through_to_the_upstreams_own_certificate(site: Site, authority: Authority) -> None:
    pair = authority.pair("pass.localhost")
    echo = site.upstreams.echo(tls=pair.serving())
    site.agents.tls(echo.address, url="tls://pass.localhost").up()
    with connect(site.edge.https, "pass.localhost", trusting(authority.pem)) as io:
        assert certificate(io) == served(pair)
        assert echoes(io, BLOCK)
    client = OpenSsl(site.edge.https, "pass.localhost", "-CAfile", str(authority.pem), "-verify_return_error")
    client.says_and_hears("through and through")
    assert "Verification: OK" in client.end()


def test_names_lead_to_their_endpoints(site: Site, authority: Authority) -> None:
    pairs = {name: authority.pair(name) for name in ("one.localhost", "two.localhost", "*.many.localhost")}
    for name, pair in pairs.items():
        site.agents.tls(site.upstreams.echo(tls=pair.serving()).address, url=f"tls://{name}").up()
    for name, asked in (("one.localhost",) * 2, ("two.localhost",) * 2, ("*.many.localhost", "x.many.localhost")):
        with connect(site.edge.https, asked, trusting(authority.pem)) as io:
            assert certificate(io) == served(pairs[name])


def test_tls_can_end_at_the_edge_with_its_own_certificate(site: Site) -> None:
    echo = site.upstreams.echo()
    site.agents.tls(echo.address, "--terminate-at", "edge", url="tls://ends.localhost").up()
    with connect(site.edge.https, "ends.localhost", trusting(site.edge.ca)) as io:
        assert names(certificate(io)) == ["ends.localhost"]
        assert echoes(io, BLOCK)
    client = OpenSsl(site.edge.https, "ends.localhost", "-CAfile", str(site.edge.ca), "-verify_return_error")
    client.says_and_hears("in plain words")
    assert "Verification: OK" in client.end()


def test_tls_can_end_at_the_edge_with_a_certificate_of_the_endpoint(site: Site, authority: Authority) -> None:
    pair, echo = authority.pair("given.localhost"), site.upstreams.echo()
    flags = ("--terminate-at", "edge", "--crt", str(pair.cert), "--key", str(pair.key))
    site.agents.tls(echo.address, *flags, url="tls://given.localhost").up()
    with connect(site.edge.https, "given.localhost", trusting(authority.pem)) as io:
        assert certificate(io) == served(pair)
        assert echoes(io)


@pytest.mark.parametrize("flags", [("--terminate-at", "agent"), ()], ids=["said", "by its key"])
def test_tls_can_end_in_the_agent(site: Site, authority: Authority, flags: tuple[str, ...]) -> None:
    name = f"agent-{len(flags)}.localhost"
    pair, echo = authority.pair(name), site.upstreams.echo()
    site.agents.tls(echo.address, *flags, "--crt", str(pair.cert), "--key", str(pair.key), url=f"tls://{name}").up()
    with connect(site.edge.https, name, trusting(authority.pem)) as io:
        assert certificate(io) == served(pair)
        assert echoes(io, BLOCK)


def test_a_key_that_does_not_fit_its_certificate_is_refused(site: Site, authority: Authority) -> None:
    cert, key = authority.pair("a.localhost").cert, authority.pair("b.localhost").key
    for where in ("edge", "agent"):
        flags = ("--terminate-at", where, "--crt", str(cert), "--key", str(key))
        agent = site.agents.tls("80", *flags, url="tls://unfit.localhost")
        assert agent.process.wait() == 1
        assert "does not belong" in agent.process.text("err") or "match" in agent.process.text("err")


def test_tls_that_ends_at_the_edge_can_begin_again_at_the_upstream(site: Site, authority: Authority) -> None:
    echo = site.upstreams.echo(tls=authority.pair("localhost").serving())
    upstream = f"tls://localhost:{echo.port}"
    verified = ("--upstream-tls-verify-cas", str(authority.pem))
    site.agents.tls(upstream, "--terminate-at", "edge", *verified, url="tls://again.localhost").up()
    with connect(site.edge.https, "again.localhost", trusting(site.edge.ca)) as io:
        assert names(certificate(io)) == ["again.localhost"]
        assert echoes(io)


@pytest.mark.parametrize("farewell", [True, False], ids=["as TLS has it", "without a word"])
def test_who_ends_a_tls_connection_is_heard_on_the_other_side(site: Site, farewell: bool) -> None:
    echo = site.upstreams.recording()
    site.agents.tls(echo.address, "--terminate-at", "edge", url=f"tls://over-{farewell}.localhost").up()
    io = connect(site.edge.https, f"over-{farewell}.localhost", trusting(site.edge.ca))
    io.sendall(b"last words")
    echo.wait_connections(1)
    # Closed at once, with something unread, it would be reset, and what is reset may lose its last words.
    if farewell:
        io.unwrap().close()
    else:
        io.shutdown(socket.SHUT_WR)
        while io.recv(1 << 16):
            pass
        io.close()
    echo.wait_open(0)
    assert bytes(echo.received[-1]) == b"last words"


def test_a_tls_endpoint_that_is_gone_serves_nobody(site: Site, authority: Authority) -> None:
    agent = site.agents.tls(site.upstreams.echo().address, "--terminate-at", "edge", url="tls://gone.localhost")
    agent.up()
    since = site.edge.process.position
    agent.process.stop()
    site.edge.process.wait_for("agent disconnected", since=since)
    context = trusting(site.edge.ca)
    context.check_hostname = False
    with connect(site.edge.https, "gone.localhost", context) as io:
        assert get(io, "gone.localhost") == 404


# === certificates of visitors


def refused(to: Address, name: str, context: ssl.SSLContext) -> bool:
    """TLS 1.3 tells a client of the refusal after its own part of the handshake is done."""
    try:
        with connect(to, name, context) as io:
            io.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return io.recv(1) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def test_an_https_endpoint_can_ask_for_certificates(site: Site, clients: Authority, authority: Authority) -> None:
    name = "members.localhost"
    site.agents.http(site.upstream.url, "--mutual-tls-cas", str(clients.pem), url=f"https://{name}").up()
    with connect(site.edge.https, name, trusting(site.edge.ca, shown=clients.pair("visitor.test"))) as io:
        assert get(io, name) == 200
    assert refused(site.edge.https, name, trusting(site.edge.ca))
    assert refused(site.edge.https, name, trusting(site.edge.ca, shown=authority.pair("visitor.test")))
    with connect(site.edge.https, name_of(site.secure.url), trusting(site.edge.ca)) as io:
        assert get(io, name) == 421, "nor is there a way around by another name"
    with connect(site.edge.https, name_of(site.secure.url), trusting(site.edge.ca)) as io:
        assert get(io, name_of(site.secure.url)) == 200, "nobody else is asked"


@pytest.mark.parametrize("where", ["edge", "agent"])
def test_b17_a_tls_endpoint_can_ask_for_certificates(
    site: Site, clients: Authority, authority: Authority, where: str
) -> None:
    name = f"members-{where}.localhost"
    pair, echo = authority.pair(name), site.upstreams.echo()
    flags = ("--terminate-at", where, "--crt", str(pair.cert), "--key", str(pair.key))
    site.agents.tls(echo.address, *flags, "--mutual-tls-cas", str(clients.pem), url=f"tls://{name}").up()
    with connect(site.edge.https, name, trusting(authority.pem, shown=clients.pair("visitor.test"))) as io:
        assert echoes(io)
    before = echo.connections
    assert refused(site.edge.https, name, trusting(authority.pem))
    assert refused(site.edge.https, name, trusting(authority.pem, shown=authority.pair("visitor.test")))
    assert echo.connections == before, "nobody unknown comes as far as the upstream"


# === one port for agents and visitors


@pytest.fixture
def shared(new_edge: NewEdge) -> Edge:
    address = f"127.0.0.1:{ports.block()[0]}"
    return new_edge("--agent-addr", address, "--https-addr", address)


def test_agents_and_visitors_can_share_a_port(
    shared: Edge, agents_of: Callable[[Edge], Agents], authority: Authority, site: Site
) -> None:
    assert shared.agent == shared.https
    agents = agents_of(shared)
    by_address = agents.http(site.upstream.url, url="https://a.localhost")
    by_name = agents.http(
        site.upstream.url,
        url="https://b.localhost",
        env={"PORTWAY_CONNECT_URL": f"connect.localhost:{shared.agent[1]}"},
    )
    echo = site.upstreams.echo(tls=authority.pair("c.localhost").serving())
    raw_tls = agents.tls(echo.address, url="tls://c.localhost")
    for agent in (by_address, by_name, raw_tls):
        agent.up()
    for name in ("a.localhost", "b.localhost"):
        with connect(shared.https, name, trusting(shared.ca)) as io:
            assert get(io, name) == 200
    with connect(shared.https, "c.localhost", trusting(authority.pem)) as io:
        assert echoes(io)
    context = trusting(shared.ca)
    with connect(shared.https, "127.0.0.1", context) as io:
        assert get(io, "a.localhost") == 200, "a visitor who dials an address is told from an agent by what it says"
