"""What an SDK's endpoint asks for and this edge cannot do yet is refused by name, never left open."""

from __future__ import annotations

import pytest

from harness.edge import Edge
from harness.sdk import Option, Sdks, Want, each
from harness.upstreams import Upstreams

POLICY = "on_http_request:\n  - actions:\n      - type: deny\n"


@each(go2="version 2 has traffic policies instead")
@pytest.mark.parametrize(
    ("option", "code", "name"),
    [
        pytest.param(("oauth", "google"), "ERR_NGROK_365", "OAuth", id="oauth"),
        pytest.param(("oidc", "https://id.example", "client", "secret"), "ERR_NGROK_388", "OIDC", id="oidc"),
    ],
)
def test_logins_elsewhere_are_refused(
    sdks: Sdks, upstreams: Upstreams, kind: str, option: Option, code: str, name: str
) -> None:
    refused = sdks.run(kind, Want("http", upstreams.http().url, options=[option])).event("refused")
    assert refused["code"] == code, refused
    assert name in refused["text"]


@each()
@pytest.mark.parametrize("proto", ["http", "tcp", "tls"])
def test_traffic_policies_are_refused(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str, proto: str) -> None:
    upstream = upstreams.http()
    to = upstream.url if proto == "http" else f"tcp://{upstream.address}"
    refused = sdks.run(kind, Want(proto, to, options=[("traffic_policy", POLICY)])).event("refused")
    assert refused["code"] == "ERR_NGROK_9026", refused
    assert "traffic policy" in refused["text"]


@each(
    python="this version has no bindings",
    node="it takes one binding, and names others than these",
    go1="version 1 has them under another name",
)
def test_internal_endpoints_are_refused(sdks: Sdks, upstreams: Upstreams, kind: str) -> None:
    sdk = sdks.run(kind, Want("http", upstreams.http().url, options=[("bindings", "internal")]))
    refused = sdk.event("refused")
    assert refused["code"] == "ERR_NGROK_15005", refused
    assert "internal" in refused["text"]
