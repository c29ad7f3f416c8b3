"""TLS that ends in the agent: client certificates, versions, certificates that change (agent-behaviour.md §4.3, §16
case 17)."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness.agents import Agent, Agents
from harness.edge import Edge
from harness.local import LocalApi, local
from harness.played import PlayedEdge
from harness.process import until
from harness.tls import Authority, Pair
from harness.upstreams import EchoUpstream, Upstreams
from harness.visitor import echoes

NAME = "vault.localhost"


@pytest.fixture
def echo(upstreams: Upstreams) -> EchoUpstream:
    return upstreams.echo()


@pytest.fixture
def clients(tmp_path: Path) -> Authority:
    """Who vouches for visitors."""
    return Authority(tmp_path, "clients")


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.pair(NAME)


def config(echo: EchoUpstream, pair: Pair, **more: Any) -> str:
    tls = {"server_certificate": str(pair.cert), "server_private_key": str(pair.key), **more}
    endpoint = {"name": "vault", "url": f"tls://{NAME}", "agent_tls_termination": tls}
    return f"version: 3\nendpoints: {json.dumps([{**endpoint, 'upstream': {'url': echo.port}}])}\n"


def shaken(edge: Edge, authority: Authority, shown: Pair | None = None, **how: Any) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(authority.pem))
    for name, value in how.items():
        setattr(context, name, value)
    if shown:
        context.load_cert_chain(shown.cert, shown.key)
    return context.wrap_socket(edge.connect(edge.https), server_hostname=NAME)


def refused(edge: Edge, authority: Authority, shown: Pair | None = None) -> bool:
    """In TLS 1.3 a client learns of the refusal after its own part of the handshake."""
    try:
        with shaken(edge, authority, shown) as io:
            io.sendall(b"hello")
            return io.recv(1) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def test_b17_who_shows_no_certificate_of_the_right_ca_is_not_let_in(
    edge: Edge, agents: Agents, echo: EchoUpstream, pair: Pair, authority: Authority, clients: Authority, tmp_path: Path
) -> None:
    cas = [str(clients.pem)]
    agent = agents.from_config(config(echo, pair, mutual_tls_certificate_authorities=cas))
    agent.up()
    right = clients.pair("visitor.test")
    wrong: dict[str, Pair | None] = {
        "none": None,
        "of another CA": Authority(tmp_path, "others").pair("visitor.test"),
        "of the CA of the server": authority.pair("visitor.test"),
        "expired": clients.expired("visitor.test"),
    }

    def as_promised() -> None:
        with shaken(edge, authority, right) as io:
            assert echoes(io)
        before = echo.connections
        for why, shown in wrong.items():
            assert refused(edge, authority, shown), why
        assert echo.connections == before, "nobody unknown comes as far as the upstream"

    as_promised()
    failed = agent.process.wait_for("TLS handshake with a visitor failed")
    assert failed["lvl"] == "debug"
    before = agent.process.position
    edge.restart()
    agent.process.wait_for("started tunnel", since=before)
    as_promised()


def test_b17_client_cas_of_several_places_add_up(
    edge: Edge, agents: Agents, echo: EchoUpstream, pair: Pair, authority: Authority, clients: Authority, tmp_path: Path
) -> None:
    others = Authority(tmp_path, "others")
    cas = [str(clients.pem), others.pem.read_text()]
    agents.from_config(config(echo, pair, mutual_tls_certificate_authorities=cas)).up()
    for shown in (clients.pair("a.test"), others.pair("b.test")):
        with shaken(edge, authority, shown) as io:
            assert echoes(io)
    assert refused(edge, authority, authority.pair("c.test"))


def test_b17_nothing_of_it_is_told_the_edge(
    played: PlayedEdge, connecting: Callable[..., Agent], echo: EchoUpstream, pair: Pair
) -> None:
    flags = ("--crt", str(pair.cert), "--key", str(pair.key), "--mutual-tls-cas", str(pair.cert))
    connecting("tls", echo.address, *flags)
    session = played.next()
    session.login()
    request = session.bind(url=f"tls://{NAME}")
    assert request["Opts"].get("TLSTermination") is None
    key = pair.key.read_text().splitlines()[1]
    assert key not in json.dumps(request)


# === versions


@pytest.mark.parametrize(
    ("chosen", "spoken"),
    [
        ({}, ["TLSv1.2", "TLSv1.3"]),
        ({"min_version": "1.3"}, ["TLSv1.3"]),
        ({"max_version": "1.2"}, ["TLSv1.2"]),
        ({"min_version": "1.2", "max_version": "1.3"}, ["TLSv1.2", "TLSv1.3"]),
    ],
)
def test_the_versions_can_be_chosen(
    chosen: dict[str, str],
    spoken: list[str],
    edge: Edge,
    agents: Agents,
    echo: EchoUpstream,
    pair: Pair,
    authority: Authority,
) -> None:
    agents.from_config(config(echo, pair, **chosen)).up()
    heard = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        limits: dict[str, Any] = {"minimum_version": version, "maximum_version": version}
        with suppress(ssl.SSLError), shaken(edge, authority, **limits) as io:
            assert echoes(io)
            heard.append(io.version())
    assert heard == spoken


def test_versions_of_which_none_is_left_are_refused(agents: Agents, echo: EchoUpstream, pair: Pair) -> None:
    agent = agents.from_config(config(echo, pair, min_version="1.3", max_version="1.2"))
    assert agent.process.wait() == 1
    assert "min_version 1.3 is above max_version 1.2" in agent.process.text("err")


# === certificates that change


def copied(pair: Pair, to: Path) -> Pair:
    """The pair under names that stay."""
    kept = Pair(to / "vault.crt", to / "vault.key")
    kept.cert.write_bytes(pair.cert.read_bytes())
    kept.key.write_bytes(pair.key.read_bytes())
    return kept


def shows(edge: Edge, authority: Authority, pair: Pair) -> bool:
    try:
        with shaken(edge, authority) as io:
            shown = io.getpeercert(binary_form=True)
    except ssl.SSLError:
        return False
    first = pair.cert.read_text().partition("-----END CERTIFICATE-----")
    return shown == ssl.PEM_cert_to_DER_cert(first[0] + first[1] + "\n")


def test_a_certificate_that_changes_is_taken_up_and_a_bad_one_is_not(
    edge: Edge, agents: Agents, echo: EchoUpstream, pair: Pair, authority: Authority, tmp_path: Path
) -> None:
    kept = copied(pair, tmp_path)
    agent = agents.from_config(config(echo, kept))
    agent.up()
    with shaken(edge, authority) as before:
        assert shows(edge, authority, pair)
        renewed = Authority(tmp_path, "renewed")
        new = copied(renewed.pair(NAME), tmp_path)
        until("the new one is shown", lambda: shows(edge, renewed, new))
        assert agent.process.wait_for("certificate reloaded")["name"] == "vault"
        assert echoes(before), "who is there stays"

    since = agent.process.position
    kept.cert.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

    def told() -> bool:
        with shaken(edge, renewed):
            return "failed to reload the certificate" in agent.process.text()

    until("the bad one is told, and the old one shown", told)
    failed = agent.process.wait_for("failed to reload the certificate, the old one stays", since=since)
    assert (failed["lvl"], failed["name"]) == ("eror", "vault")
    kept.cert.unlink()
    with shaken(edge, renewed) as io:
        assert echoes(io)
    copied(pair, tmp_path)
    until("it is good again", lambda: shows(edge, authority, pair))


def test_client_cas_that_change_are_taken_up(
    edge: Edge, agents: Agents, echo: EchoUpstream, pair: Pair, authority: Authority, clients: Authority, tmp_path: Path
) -> None:
    cas = tmp_path / "cas.pem"
    cas.write_bytes(clients.pem.read_bytes())
    agents.from_config(config(echo, pair, mutual_tls_certificate_authorities=[str(cas)])).up()
    old = clients.pair("a.test")
    others = Authority(tmp_path, "others")
    new = others.pair("a.test")
    with shaken(edge, authority, old) as io:
        assert echoes(io)
    assert refused(edge, authority, new)
    cas.write_bytes(others.pem.read_bytes())
    until("the new CA counts", lambda: not refused_quickly(edge, authority, new))
    assert refused(edge, authority, old)


def refused_quickly(edge: Edge, authority: Authority, shown: Pair) -> bool:
    try:
        with shaken(edge, authority, shown) as io:
            return not echoes(io)
    except (ssl.SSLError, ConnectionError):
        return True


def test_an_endpoint_of_the_local_interface_ends_tls_and_follows_its_files(
    edge: Edge, agents: Agents, echo: EchoUpstream, pair: Pair, authority: Authority, tmp_path: Path
) -> None:
    agent = agents.agent("start", "--none")
    agent.process.wait_for("tunnel session started")
    api: LocalApi = local(agent)
    kept = copied(pair, tmp_path)
    tls = {"server_certificate": str(kept.cert), "server_private_key": str(kept.key), "min_version": "1.3"}
    api.post(
        "/api/endpoints",
        {"name": "v", "url": f"tls://{NAME}", "upstream": {"url": echo.port}, "agent_tls_termination": tls},
    )
    assert shows(edge, authority, pair)
    with pytest.raises(ssl.SSLError):
        shaken(edge, authority, maximum_version=ssl.TLSVersion.TLSv1_2)
    renewed = Authority(tmp_path, "renewed")
    new = copied(renewed.pair(NAME), tmp_path)
    until("the new one is shown", lambda: shows(edge, renewed, new))


def test_a_key_that_is_readable_no_longer_keeps_the_agent_from_starting(
    agents: Agents, echo: EchoUpstream, pair: Pair
) -> None:
    pair.key.unlink()
    agent = agents.from_config(config(echo, pair))
    assert agent.process.wait() == 1
    assert str(pair.key) in agent.process.text("err")


# === labels


def test_tls_ends_in_the_agent_for_visitors_that_labels_lead_to_it(
    played: PlayedEdge, connecting: Callable[..., Agent], echo: EchoUpstream, pair: Pair, authority: Authority
) -> None:
    connecting("tunnel", echo.address, "--label", "app=vault", "--crt", str(pair.cert), "--key", str(pair.key))
    session = played.next()
    session.login()
    bound = session.bind_labeled("labelled-1")
    assert bound["Labels"] == {"app": "vault"}
    # The visitor's own TLS, passed through.
    outgoing, incoming = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(authority.pem))
    tls = context.wrap_bio(incoming, outgoing, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    stream = session.visit(outgoing.read(), EdgeType="2", Proto="tls", PassthroughTLS=True)
    while True:
        incoming.write(stream.more())
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            continue
    tls.write(b"hello")
    stream.send(outgoing.read())
    while True:
        try:
            assert tls.read(5) == b"hello"
            break
        except ssl.SSLWantReadError:
            incoming.write(stream.more())
    # What the edge has ended comes in the clear.
    plain = session.visit(b"in the clear", EdgeType="2", Proto="tls", PassthroughTLS=False)
    plain.until(b"clear")
