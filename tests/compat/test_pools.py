"""Several SDK agents behind one URL."""

from __future__ import annotations

from harness.edge import Edge
from harness.process import until
from harness.sdk import Sdks, Want, each
from harness.upstreams import HttpUpstream, Upstreams
from harness.visitor import Visitor

POOLED = each(python="version 1.4.0 has no pools")


def want(upstream: HttpUpstream, kind: str, *, pooled: bool = True) -> Want:
    options = [("pooling_enabled", True)] if pooled else []
    return Want("http", upstream.url, f"http://pool-{kind}.localhost", options)


@POOLED
def test_visitors_are_spread_over_the_members(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    first, second = upstreams.http(), upstreams.http()
    agents = [sdks.run(kind, want(upstream, kind)) for upstream in (first, second)]
    assert len({agent.url for agent in agents}) == 1
    url = agents[0].url
    visits = 0

    def both() -> bool:
        nonlocal visits
        with Visitor(edge, url) as visitor:
            assert visitor.get("/status/204").status == 204
        visits += 1
        return min(len(first.seen), len(second.seen)) > 0

    # A new member gets its first visitors once its agent has had time to enter it.
    until("visitors at both members", both)
    assert len(first.seen) + len(second.seen) == visits

    agents[0].close()
    before = len(second.seen)
    for _ in range(10):
        with Visitor(edge, url) as visitor:
            assert visitor.get("/status/204").status == 204
    assert len(second.seen) == before + 10


@POOLED
def test_who_does_not_pool_is_not_let_in_and_lets_nobody_in(sdks: Sdks, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.http()
    alone, pooled = want(upstream, f"alone-{kind}", pooled=False), want(upstream, f"alone-{kind}")
    sdks.run(kind, alone).up()
    assert sdks.run(kind, pooled).event("refused")["code"] == "ERR_NGROK_334"
    pooled, alone = want(upstream, f"shared-{kind}"), want(upstream, f"shared-{kind}", pooled=False)
    sdks.run(kind, pooled).up()
    assert sdks.run(kind, alone).event("refused")["code"] == "ERR_NGROK_334"


@POOLED
def test_the_pool_is_there_again_after_a_restart(sdks: Sdks, edge: Edge, upstreams: Upstreams, kind: str) -> None:
    upstream = upstreams.http()
    ups = [sdks.run(kind, want(upstream, f"again-{kind}")).event("up") for _ in range(2)]
    edge.restart()
    for up in ups:
        edge.process.wait_for("endpoint bound", 0, 160, id=up["id"], url=up["url"])
    with Visitor(edge, ups[0]["url"]) as visitor:
        assert visitor.get("/status/204").status == 204
