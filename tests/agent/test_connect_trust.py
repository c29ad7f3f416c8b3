"""Whom an agent takes for its edge (agent-behaviour §2.4, cases 11 and 12): CAs, pins, clocks, revoked certificates."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import ipaddress
import shutil
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from conftest import NewEdge
from harness import ports
from harness.agents import Agent, Agents
from harness.clock import clock, moved_by
from harness.edge import Edge, isolated
from harness.played import PlayedEdge
from harness.process import Process, until
from harness.proxies import Answering, Tinyproxy
from harness.tls import Authority
from harness.upstreams import Loop
from portway.config.load import load

FAILED = "failed to reconnect session"
UP = "client session established"


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.stop()


def failure(process: Process, since: int = 0) -> str:
    return str(process.wait_for(FAILED, since=since)["err"])


# === case 11: CAs and clocks


def test_b11_a_ca_file_is_read_again_for_each_attempt(
    edge: Edge, agents: Agents, authority: Authority, tmp_path: Path
) -> None:
    file = tmp_path / "cas.pem"
    shutil.copy(authority.pem, file)
    agent = agents.http("8080", env={"PORTWAY_CONNECT_CAS": str(file)})
    not_trusted = failure(agent.process)
    assert "connect_cas" in not_trusted
    shutil.copy(edge.ca, file)
    agent.up()
    # It is replaced while a session stands, and counts for the next one.
    shutil.copy(authority.pem, file)
    before = agent.process.position
    edge.restart()
    # An attempt may have come before the edge was back, and says something else.
    agent.process.wait_for(FAILED, since=before, err=not_trusted)


def test_b11_the_pin_of_its_ca_is_enough(edge: Edge, agents: Agents) -> None:
    der = ssl.PEM_cert_to_DER_cert(edge.ca.read_text())
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    agents.http("8080", env={"PORTWAY_CONNECT_CAS": f"pin:sha256:{digest.finalize().hex()}"}).up()


def test_b11_the_cas_of_the_system_are_asked_for_where_they_are_to_be(edge: Edge, agents: Agents) -> None:
    agents.http("8080", env={"PORTWAY_CONNECT_CAS": "host", "SSL_CERT_FILE": str(edge.ca)}).up()
    other = agents.http("8080", env={"PORTWAY_CONNECT_CAS": "trusted", "SSL_CERT_FILE": str(edge.ca)})
    assert "connect_cas" in failure(other.process)


@pytest.mark.parametrize(
    ("year", "told"),
    [
        ("1970-01-02", "the clock of this machine is wrong: it shows a time before this program was made"),
        ("2099-01-01", "the edge has to renew its certificate, or the clock of this machine is wrong"),
    ],
    ids=["1970", "expired"],
)
def test_b11_a_clock_that_is_wrong_is_told(year: str, told: str, edge: Edge, agents: Agents) -> None:
    process = agents.run("http", "8080", env=clock(f"{year} 00:00:00"))
    assert told in failure(process)


# === case 12: revoked certificates


@pytest.fixture
def joined(edge: Edge, alone: Agents, tmp_path: Path) -> Callable[..., Process]:
    """Starts agents that have joined `edge`, and so know where its list is; `settings`: in place of that."""
    home = isolated(tmp_path / "joined")
    assert alone.run("config", "join", edge.join, env=home, log=False).wait() == 0
    file = Path(home["XDG_CONFIG_HOME"]) / "portway" / "portway.yml"
    assert load([file]).agent["crl_url"] == "http://{}:{}/ca.crl".format(*edge.api)

    def run(**settings: str) -> Process:
        text = "".join(line for line in file.read_text().splitlines(True) if line.split(":")[0].strip() not in settings)
        config = tmp_path / f"joined-{len(alone.started)}.yml"
        config.write_text(text + "".join(f"    {key}: {value}\n" for key, value in settings.items()))
        return alone.run("http", "8080", "--config", str(config))

    return run


def ca(edge: Edge, agents: Agents, *words: str) -> str:
    process = agents.run("edge", "ca", *words, "--data-dir", str(edge.data), log=False)
    assert process.wait() == 0, process.shown()
    return process.text("out")


def shown(edge: Edge) -> x509.Certificate:
    """The certificate that agents get."""
    return x509.load_pem_x509_certificate(ssl.get_server_certificate(edge.agent).encode())


def published(edge: Edge) -> x509.CertificateRevocationList:
    connection = http.client.HTTPConnection(*edge.api, timeout=20)
    connection.request("GET", "/ca.crl")
    answer = connection.getresponse()
    assert answer.headers["content-type"] == "application/pkix-crl"
    crl = x509.load_der_x509_crl(answer.read())
    connection.close()
    return crl


def test_b12_the_edges_own_ca_publishes_a_signed_list(edge: Edge) -> None:
    crl = published(edge)
    authority = x509.load_pem_x509_certificate(edge.ca.read_bytes())
    key = authority.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(key)
    assert crl.issuer == authority.subject
    assert crl.next_update_utc
    assert crl.next_update_utc > datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=12)
    assert list(crl) == []


def test_b12_the_list_is_renewed_long_before_it_ends(new_edge: NewEdge, tmp_path: Path) -> None:
    ahead = tmp_path / "ahead"
    ahead.write_text("+0\n")
    edge = new_edge(env=moved_by(ahead))
    first = published(edge)
    assert published(edge) == first
    ahead.write_text("+2h\n")
    later = published(edge)
    assert first.next_update_utc
    assert later.next_update_utc
    assert later.next_update_utc >= first.next_update_utc + datetime.timedelta(hours=2)


def test_b12_who_has_joined_connects_while_nothing_is_revoked(joined: Callable[..., Process]) -> None:
    joined().wait_for(UP)


def test_b12_the_edge_shows_no_certificate_that_was_revoked(
    edge: Edge, joined: Callable[..., Process], alone: Agents
) -> None:
    joined().wait_for(UP)
    old = shown(edge)
    serial = f"{old.serial_number:032x}"
    assert serial in ca(edge, alone, "list")
    assert ca(edge, alone, "revoke", serial) == "1 certificate revoked"
    assert ca(edge, alone, "revoke", serial) == "0 certificates revoked"
    assert f"{serial}  " in ca(edge, alone, "list")
    assert "revoked" in ca(edge, alone, "list")
    until("it shows another", lambda: shown(edge).serial_number != old.serial_number)
    joined().wait_for(UP)


def test_b12_names_and_all_can_be_revoked_and_nothing_else(edge: Edge, alone: Agents) -> None:
    first = shown(edge)
    assert "certificate revoked" in ca(edge, alone, "revoke", "127.0.0.1")
    until("it shows another", lambda: shown(edge).serial_number != first.serial_number)
    assert "certificate revoked" in ca(edge, alone, "revoke", "--all")
    for words in (["revoke", "nobody.test"], ["revoke"], ["revoke", "--all", "127.0.0.1"]):
        process = alone.run("edge", "ca", *words, "--data-dir", str(edge.data), log=False)
        assert process.wait() == 1
        assert process.text("err").startswith("ERROR:")


def test_b12_the_beginning_of_a_serial_number_is_enough_and_nothing_is_said_to_be_revoked_that_is_not(
    edge: Edge, alone: Agents
) -> None:
    first = shown(edge)
    serial = f"{first.serial_number:032x}"
    nobody = "".join("0" if digit == "f" else "f" for digit in serial[:8])
    process = alone.run("edge", "ca", "revoke", nobody, "--data-dir", str(edge.data), log=False)
    assert process.wait() == 1, "the CA has signed no such certificate"
    assert nobody in process.text("err")
    assert ca(edge, alone, "revoke", serial[:8]) == "1 certificate revoked"
    until("it shows another", lambda: shown(edge).serial_number != first.serial_number)
    # Two that begin alike: which one is meant is not guessed.
    with (edge.data / "issued.txt").open("a") as notes:
        notes.write(f"{serial[:8]}{'0' * 24} 2099-01-01 a.test\n")
    process = alone.run("edge", "ca", "revoke", serial[:8], "--data-dir", str(edge.data), log=False)
    assert process.wait() == 1
    assert "2 serial numbers begin with" in process.text("err")


def turned_away(edge: PlayedEdge) -> None:
    """An agent comes, looks at the certificate, and says nothing to who shows it."""
    raw, _ = edge.listener.accept()
    with raw, contextlib.suppress(OSError), edge.context.wrap_socket(raw, server_side=True) as io:
        assert io.recv(1) == b""


class Ca:
    """A CA that signs an edge's certificate and lists."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a CA of somebody")])
        self.cert = self._certificate(self.name, self.key, ca=True)
        self.pem = home / "somebody.pem"
        self.pem.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))

    def _certificate(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def leaf(self, edge: PlayedEdge) -> x509.Certificate:
        """What this edge shows from now on."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._certificate(x509.Name([]), key, ca=False)
        file = self.home / "leaf.pem"
        plain = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        file.write_bytes(cert.public_bytes(serialization.Encoding.PEM) + pem)
        edge.context.load_cert_chain(file)
        return cert

    def crl(self, *revoked: x509.Certificate, hours: float = 1, pem: bool = True) -> bytes:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(now - datetime.timedelta(days=1))
            .next_update(now + datetime.timedelta(hours=hours))
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for cert in revoked:
            row = x509.RevokedCertificateBuilder().serial_number(cert.serial_number).revocation_date(now)
            builder = builder.add_revoked_certificate(row.build())
        encoding = serialization.Encoding.PEM if pem else serialization.Encoding.DER
        return builder.sign(self.key, hashes.SHA256()).public_bytes(encoding)


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@pytest.fixture
def somebody(tmp_path: Path) -> Ca:
    return Ca(tmp_path)


@pytest.fixture
def listed(played: PlayedEdge, somebody: Ca, alone: Agents, loop: Loop) -> Callable[..., tuple[Process, Answering]]:
    """Starts an agent of an edge of `somebody`, with this list; `{crl_url}` in settings is where it is."""

    def run(body: bytes, settings: str = "  crl_url: {crl_url}\n", **env: str) -> tuple[Process, Answering]:
        server = Answering(loop, body)
        config = alone.home / f"listed-{len(alone.started)}.yml"
        config.write_text("version: 3\nagent:\n" + settings.format(crl_url=f"http://{server.address}/a.crl"))
        env = {**played.env, "PORTWAY_CONNECT_CAS": str(somebody.pem), **env}
        return alone.run("http", "8080", "--config", str(config), env=env), server

    return run


@pytest.mark.parametrize("pem", [True, False], ids=["PEM", "DER"])
def test_b12_a_good_list_lets_connect(
    pem: bool, played: PlayedEdge, somebody: Ca, listed: Callable[..., tuple[Process, Answering]]
) -> None:
    somebody.leaf(played)
    other = somebody._certificate(x509.Name([]), ec.generate_private_key(ec.SECP256R1()), ca=False)
    process, server = listed(answer(somebody.crl(other, pem=pem)))
    played.next().up()
    process.wait_for(UP)
    assert server.asked[0].startswith(b"GET /a.crl HTTP/1.1\r\n")


@pytest.mark.parametrize("how", ["garbage", "missing", "expired", "huge", "another CA's", "a forger's", "unreachable"])
def test_b12_without_a_good_list_nobody_is_connected_to(
    how: str, played: PlayedEdge, somebody: Ca, listed: Callable[..., tuple[Process, Answering]], tmp_path: Path
) -> None:
    somebody.leaf(played)
    (tmp_path / "other").mkdir()
    other = Ca(tmp_path / "other")
    other_name = other.name
    if how == "another CA's":
        other.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another CA")])
    bodies = {
        "garbage": (answer(b"<html>Sign in to the Wi-Fi</html>"), "what came is no CRL"),
        "missing": (answer(b"", "404 Not Found"), "the answer is 404 Not Found"),
        "expired": (answer(somebody.crl(hours=-1)), "it is out of date since"),
        "huge": (answer(bytes((1 << 20) + 1)), "it ended early, or has more than 1048576 bytes"),
        "another CA's": (answer(other.crl()), "the CRL of crl_url is of another CA"),
        "a forger's": (answer(other.crl()), "the CRL of crl_url is not signed by the CA"),
        "unreachable": (b"", "it closed the connection without an answer"),
    }
    assert other_name == somebody.name
    body, told = bodies[how]
    process, server = listed(body)
    served = how not in ("another CA's", "a forger's")
    if not served:
        turned_away(played)
    error = failure(process)
    assert told in error
    if served:
        assert error.startswith(f"failed to fetch CRL http://{server.address}/a.crl: ")
    process.wait_for(FAILED, since=process.position)


def test_b12_a_revoked_certificate_is_told(
    played: PlayedEdge, somebody: Ca, listed: Callable[..., tuple[Process, Answering]]
) -> None:
    leaf = somebody.leaf(played)
    process, _ = listed(answer(somebody.crl(leaf)))
    turned_away(played)
    assert "its CA has revoked this certificate" in failure(process)


def test_b12_the_check_can_be_switched_off(
    played: PlayedEdge, somebody: Ca, listed: Callable[..., tuple[Process, Answering]]
) -> None:
    leaf = somebody.leaf(played)
    process, server = listed(answer(somebody.crl(leaf)), "  crl_url: {crl_url}\n  crl_noverify: true\n")
    played.next().up()
    process.wait_for(UP)
    assert not server.asked


def test_b12_the_last_list_serves_while_it_is_good(
    played: PlayedEdge, somebody: Ca, listed: Callable[..., tuple[Process, Answering]]
) -> None:
    somebody.leaf(played)
    process, server = listed(answer(somebody.crl()))
    session = played.next().up()
    process.wait_for(UP)
    server.answer = answer(b"", "500 Internal Server Error")
    session.peer.close()
    played.next().up()
    process.wait_for("failed to fetch CRL, the last one is good still")


def test_b12_the_list_comes_through_the_proxy(edge: Edge, agents: Agents, tmp_path: Path) -> None:
    proxy = Tinyproxy(tmp_path, locked=True)
    try:
        config = tmp_path / "agent.yml"
        # A name that only the proxy knows.
        url = f"http://edge.test:{edge.api[1]}/ca.crl"
        config.write_text(f"version: 3\nagent:\n  crl_url: {url}\n  proxy_url: {proxy.url_with()}\n")
        Agent(agents.run("http", "8080", "--config", str(config)), edge).up()
        assert "GET http://edge.test" in proxy.log
    finally:
        proxy.stop()


def test_b12_an_edge_that_cannot_be_asked_from_elsewhere_tells_of_no_list(
    new_edge: NewEdge, alone: Agents, tmp_path: Path
) -> None:
    """Its API is on its own loopback; whoever joins it would fail closed for ever."""
    first, second = new_edge(), new_edge("--public-agent-addr", f"edge.test:{ports.unused()}")
    home = isolated(tmp_path / "joined")
    for edge, told in ((first, "http://{}:{}/ca.crl".format(*first.api)), (second, "")):
        assert alone.run("config", "join", edge.join, env=home, log=False).wait() == 0
        file = Path(home["XDG_CONFIG_HOME"]) / "portway" / "portway.yml"
        assert load([file]).agent.get("crl_url", "") == told
