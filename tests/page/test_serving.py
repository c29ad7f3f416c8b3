"""The page as it is served (agent-api.md §8): its files, its policy, and that it is small."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable

import pytest

from harness.agents import Agent, Agents
from harness.edge import Edge
from harness.local import LocalApi, local
from harness.need import ROOT
from harness.process import until
from harness.visitor import Visitor
from page.inspector import OpenPage

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
FILES = [
    str(path.relative_to(ROOT / "rust/agent/page"))
    for path in sorted((ROOT / "rust/agent/page").rglob("*"))
    if path.suffix in (".html", ".js", ".css", ".svg")
]


@pytest.fixture
def idle(alone: Agents) -> LocalApi:
    """An agent without endpoints."""
    path = alone.home / "none.yml"
    path.write_text("version: 3\nagent: {web_addr: '127.0.0.1:0'}\n")
    return local(alone.agent("start", "--none", "--config", str(path)))


def test_the_root_leads_to_the_page_and_both_of_its_paths_are_it(idle: LocalApi) -> None:
    answer = idle.ask("GET", "/")
    assert (answer.status, answer.headers["location"]) == (302, "/inspect/http")
    for path in ("/inspect/http", "/inspect/http?status=4xx", "/inspect/http/", "/status"):
        answer = idle.ask("GET", path)
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"] == POLICY
        assert "<!doctype html>" in answer.text
        # No script in it, so none can be put into it.
        assert not re.search(r"<script(?![^>]* src=)|<style| on\w+=|javascript:", answer.text)
        head = idle.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        refused = idle.ask("POST", path, {})
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


def test_all_of_it_comes_from_the_agent_and_is_no_more_than_150_kilobytes(idle: LocalApi) -> None:
    total = 0
    for name in FILES:
        packed = idle.ask("GET", f"/static/{name}", headers={"Accept-Encoding": "br, gzip"})
        assert (packed.status, packed.headers["content-encoding"]) == (200, "gzip"), name
        assert packed.headers["x-content-type-options"] == "nosniff"
        total += len(packed.body)
        plain = idle.ask("GET", f"/static/{name}", headers={"Accept-Encoding": "identity"})
        assert plain.headers["content-encoding"] is None
        assert plain.body == gzip.decompress(packed.body) == (ROOT / "rust/agent/page" / name).read_bytes()
        assert not re.search(rb"(?:src|href|from|import)\W{0,3}[\"'](?:https?:)?//", plain.body), f"{name} asks others"
    assert 30_000 < total <= 150_000


@pytest.mark.parametrize(
    "path", ["/static/", "/static/x.js", "/static/../Cargo.toml", "/static/%2e%2e/app.js", "/api/ui/x"]
)
def test_what_is_not_there_is_told_as_everywhere_in_the_interface(idle: LocalApi, path: str) -> None:
    answer = idle.ask("GET", path)
    assert answer.status == 404
    assert answer.json["msg"] == "not found"


def test_a_page_of_another_site_cannot_have_it_in_a_frame_or_send_in_its_name(idle: LocalApi) -> None:
    assert "frame-ancestors 'none'" in idle.ask("GET", "/status").headers["content-security-policy"]
    for path, method in (("/api/ui/replay", "POST"), ("/api/requests/http", "DELETE")):
        answer = idle.ask(
            method, path, {"id": "x"}, headers={"Origin": "http://evil.test", "Content-Type": "application/json"}
        )
        assert answer.status == 403
    assert idle.ask("GET", "/api/ui/status", headers={"Host": "evil.test"}).status == 403


def test_through_an_endpoint_of_its_own_it_can_be_looked_at(alone: Agents) -> None:
    path = alone.home / "own.yml"
    path.write_text("version: 3\nagent: {web_addr: '127.0.0.1:0'}\n")
    agent = alone.agent("start", "--none", "--config", str(path))
    api = local(agent)
    agent.process.wait_for("tunnel session started")
    url = api.post("/api/tunnels", {"name": "own", "proto": "http", "addr": api.addr, "schemes": ["http"]})[
        "public_url"
    ]
    with Visitor(None, url) as visitor:
        assert visitor.get("/status").status == 200
        assert visitor.get("/api/status").json["status"] == "online"
        assert visitor.ask("DELETE", "/api/requests/http").status == 403


def test_secrets_of_the_configuration_are_nowhere_on_the_status_page(alone: Agents, open_page: OpenPage) -> None:
    path = alone.home / "secrets.yml"
    path.write_text(
        """
version: 3
agent: {web_addr: '127.0.0.1:0', metadata: my laptop}
tunnels:
  shop:
    proto: http
    schemes: [http]
    addr: http://127.0.0.1:9
    basic_auth: ['ann:hunter22']
    request_header: {add: ['authorization: Bearer hunter22', 'x-shop: tea']}
    metadata: the shop
"""
    )
    agent = alone.agent("start", "--all", "--config", str(path))
    api = local(agent)
    agent.up()
    assert "hunter22" not in api.ask("GET", "/api/ui/status").text
    page = open_page(api, "/status")
    shown = page.wait_text(
        "main", "shop", "***", "x-shop: tea", "my laptop", "the shop", "127.0.0.1:9", "inspect_db_size"
    )
    assert "hunter22" not in shown


def test_the_address_of_an_agent_that_has_ended_is_told_to_be_gone(idle: LocalApi, open_page: OpenPage) -> None:
    page = open_page(idle, "/status")
    page.wait_text("main", "None is running.")
    idle.process.kill()
    page.wait_text(".fault", "The agent does not answer")
    page.wait_text(".top .state", "the agent is gone")
    page.forgive()


def test_what_runs_is_on_the_status_page_with_figures_that_move(
    agent: Agent, api: LocalApi, open_page: OpenPage
) -> None:
    page = open_page(api, "/status")
    page.wait_text("main", "online", agent.url, "Connections", "Requests")
    for _ in range(3):
        agent.get("/text")
    until_row = page.wait_text("table.figures tbody", "Requests 3".replace(" ", "\t"))
    assert "ms" in until_row or "s" in until_row
    assert page.all(".chart canvas")
    page.shot("status")


def test_every_connection_to_the_edge_is_on_the_status_page(
    new_edge: Callable[..., Edge], agents_of: Callable[[Edge], Agents], open_page: OpenPage
) -> None:
    agents = agents_of(new_edge(*("--connect-address", "self") * 2))
    agents.home.mkdir()
    api = local(agents.from_config("version: 3\nagent: {multi_leg: true, web_addr: '127.0.0.1:0'}\n", "--none"))
    legs = until("two connections", lambda: len(found := api.get("/api/status")["session"]["legs"]) == 2 and found)
    page = open_page(api, "/status")
    page.wait_text("main", f"Region\t{legs[0]['region']}, {legs[1]['region']}")
