"""SDKs that have several connections where the edge offers several addresses (wire-protocol.md §4.9): those in Go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.edge import Edge
from harness.sdk import Sdks, Want, each
from harness.upstreams import Upstreams

GO_ONLY = "one connection is all it knows"


@pytest.fixture(scope="module")
def edge(new_shared_edge: Callable[..., Edge]) -> Edge:
    """It offers its own address twice."""
    return new_shared_edge(*("--connect-address", "self") * 2)


@each(python=GO_ONLY, node=GO_ONLY)
def test_r88_e115_an_sdk_with_two_legs_serves_over_both_and_ends_both(
    sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str
) -> None:
    before = edge.process.position
    sdk = sdks.run(kind, Want("http", upstreams.http().url), legs=True)
    up = sdk.event("up")
    first, second = (edge.process.wait_for("agent connected", before, leg=leg) for leg in ("0", "1"))
    assert first["client_id"] == second["client_id"]
    for leg in (first, second):
        edge.process.wait_for("endpoint bound", before, url=up["url"], r=leg["r"])
    assert sdk.get("/status/204").status == 204
    sdk.unbind(str(up["id"]))
    sdk.event("down")
    assert sdk.get("/").code == "ERR_NGROK_3200"
    sdk.close()
    for leg in (first, second):
        edge.process.wait_for("agent disconnected", before, r=leg["r"])


@each(python="it does as it always did", node="it does as it always did")
def test_an_sdk_that_wants_one_leg_has_one(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    before = edge.process.position
    sdk = sdks.run(kind, Want("http", upstreams.http().url))
    assert sdk.get("/status/204").status == 204
    sdk.close()
    edge.process.wait_for("agent disconnected", before)
    legs = [record["leg"] for record in edge.process.records(before) if record["msg"] == "agent connected"]
    assert legs == ["0"]
