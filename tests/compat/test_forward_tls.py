"""TLS endpoints of the official SDKs: whose certificate a visitor is shown, and that the bytes arrive."""

from __future__ import annotations

import ssl

import pytest

from harness.edge import Edge
from harness.sdk import Sdks, Want, each
from harness.tls import Authority
from harness.upstreams import BLOCK, Upstreams
from harness.visitor import dial, trusting


def talk(edge: Edge, url: str, context: ssl.SSLContext) -> None:
    """A visitor who trusts only this: it is heard, and hears."""
    assert url.startswith("tls://")
    with dial(edge, url.replace("tls://", "https://"), context=context) as io:
        io.sendall(BLOCK)
        seen = b""
        while len(seen) < len(BLOCK):
            data = io.recv(1 << 16)
            assert data, f"the end after {len(seen)} bytes"
            seen += data
        assert seen == BLOCK


@each()
def test_tls_goes_through_to_the_upstream(
    sdks: Sdks, edge: Edge, upstreams: Upstreams, authority: Authority, kind: str
) -> None:
    name = f"through-{kind}.localhost"
    upstream = upstreams.echo(tls=authority.pair(name).serving())
    sdk = sdks.run(kind, Want("tls", f"tcp://{upstream.address}", f"tls://{name}"))
    assert sdk.url.startswith(f"tls://{name}")
    talk(edge, sdk.url, ssl.create_default_context(cafile=str(authority.pem)))


@each(go2="it puts TLS into TLS")
def test_an_upstream_of_tls_gets_the_visitors_own(
    sdks: Sdks, edge: Edge, upstreams: Upstreams, authority: Authority, kind: str
) -> None:
    """PassthroughTLS, and TLSTermination in the answer, tell the SDK to add none of its own."""
    name = f"same-{kind}.localhost"
    upstream = upstreams.echo(tls=authority.pair(name).serving())
    sdk = sdks.run(kind, Want("tls", f"tls://{upstream.address}", f"tls://{name}"))
    talk(edge, sdk.url, ssl.create_default_context(cafile=str(authority.pem)))


@each(go2="version 2 ends TLS in the agent only")
def test_the_edge_ends_tls_with_its_own_certificate(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    options = [("termination", "", "")]
    sdk = sdks.run(kind, Want("tls", f"tcp://{upstreams.echo().address}", options=options))
    talk(edge, sdk.url, trusting(edge))


@each()
def test_tls_ends_with_the_certificate_of_the_endpoint(
    sdks: Sdks, edge: Edge, upstreams: Upstreams, authority: Authority, kind: str
) -> None:
    """At the edge, or for version 2 of the Go SDK in the agent."""
    name = f"own-{kind}.localhost"
    pair = authority.pair(name)
    option = ("agent_termination" if kind == "go2" else "termination", pair.cert.read_text(), pair.key.read_text())
    sdk = sdks.run(kind, Want("tls", f"tcp://{upstreams.echo().address}", f"tls://{name}", [option]))
    talk(edge, sdk.url, ssl.create_default_context(cafile=str(authority.pem)))
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(edge, sdk.url, trusting(edge))


@each(go2="version 2 cannot ask for it")
def test_an_endpoint_may_want_client_certificates(
    sdks: Sdks, edge: Edge, upstreams: Upstreams, authority: Authority, kind: str
) -> None:
    options = [("termination", "", ""), ("mutual_tlsca", authority.pem.read_text())]
    sdk = sdks.run(kind, Want("tls", f"tcp://{upstreams.echo().address}", options=options))
    known = trusting(edge)
    pair = authority.pair("visitor.example")
    known.load_cert_chain(pair.cert, pair.key)
    talk(edge, sdk.url, known)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        talk(edge, sdk.url, trusting(edge))
