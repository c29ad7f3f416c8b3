"""The live list of the page: what comes, what goes, what is looked for."""

from __future__ import annotations

import pytest

from harness import ports
from harness.agents import Agent, Agents
from harness.local import LocalApi, local
from harness.visitor import Visitor
from page import followers
from page.gallery import Gallery
from page.inspector import OpenPage


def test_before_the_first_request_the_page_says_how_to_send_one(
    agent: Agent, api: LocalApi, open_page: OpenPage
) -> None:
    page = open_page(api)
    page.wait_text(".notice", "No request so far", f"curl {agent.url}")
    page.wait_text(".top .state", "online")
    page.shot("empty")
    agent.get("/text")
    page.wait_rows("GET /text 200")


def test_requests_appear_by_themselves_and_the_newest_is_the_first(
    agent: Agent, api: LocalApi, gallery: Gallery, open_page: OpenPage
) -> None:
    page = open_page(api)
    page.wait_text(".notice", "No request so far")
    agent.get("/status/404")
    page.wait_rows("GET /status/404 404")
    with agent.visitor() as visitor:
        visitor.ask("POST", "/text?a=1", body=b"x")
    page.wait_rows("POST /text?a=1 200", "GET /status/404 404")
    # One that waits is there before its answer.
    with agent.visitor() as visitor:
        visitor.connection.request("GET", "/slow", headers={"Host": visitor.host})
        page.wait_rows("GET /slow …", "POST /text?a=1 200", "GET /status/404 404")
        page.open("/slow").wait_text(".detail", "no answer yet", "has not answered yet")
        gallery.step()
        visitor.connection.getresponse().read()
    page.wait_rows("GET /slow 200", "POST /text?a=1 200", "GET /status/404 404")
    page.wait_text(".detail", "this is /slow")
    page.wait_text(".timing", "waited", "received in")


def test_what_there_was_before_the_page_is_in_the_list(agent: Agent, api: LocalApi, open_page: OpenPage) -> None:
    for number in range(3):
        agent.get(f"/{number}")
    page = open_page(api)
    page.wait_rows("GET /2 200", "GET /1 200", "GET /0 200")


def test_a_request_has_an_address_of_its_own(agent: Agent, api: LocalApi, open_page: OpenPage) -> None:
    agent.get("/one")
    agent.get("/two")
    page = open_page(api)
    page.open("/one")
    address = page.script("return location.pathname + location.search + location.hash")
    page.go("/status")
    page.go(address)
    page.wait_text(".detail .whole", "/one")
    page.script("history.back()")
    page.wait_text("main h2", "Agent")


def test_a_look_at_the_status_loses_neither_filter_nor_request(
    agent: Agent, api: LocalApi, open_page: OpenPage
) -> None:
    agent.get("/one")
    agent.get("/two")
    page = open_page(api, "/inspect/http?path=one")
    page.open("/one")
    before = page.script("return location.href")
    page.click("Status", ".top")
    page.wait("table.figures")
    page.click("Inspect", ".top")
    page.wait_text(".detail .whole", "/one")
    page.wait_rows("GET /one 200")
    assert page.script("return location.href") == before


def test_a_request_that_has_gone_says_so(agent: Agent, api: LocalApi, open_page: OpenPage) -> None:
    assert agent.url
    page = open_page(api, "/inspect/http#airt_000000000000000000000000000")
    page.wait_text(".detail .fault", "no captured request has this id; it may have made room for newer ones")
    page.click("Back to the list")
    page.wait_text(".notice", "No request so far")
    page.forgive()


FILTERS = {
    "text=needle": ["POST /echo 200"],
    "text=THIS IS /C": ["GET /c?x=1 200"],
    "text=coding that scripts": ["GET /deflate-raw 200", "GET /deflate 200", "GET /gzip 200"],
    "path=/a": ["GET /a 200"],
    "status=4xx": ["GET /status/404 404"],
    "status=500-599": ["GET /status/503 503"],
    "method=post": ["POST /echo 200"],
    "size=>10k": ["GET /json 200"],
    "size=<5": ["GET /empty 200"],
    "header=x-mark: yes": ["GET /a 200"],
    "endpoint=nobody": [],
    "status=4xx,5xx&path=/status/5": ["GET /status/503 503"],
    "duration=<1m&method=GET&path=/c": ["GET /c?x=1 200"],
}


def test_filters_stand_in_the_address_and_are_applied_together(
    agent: Agent, api: LocalApi, open_page: OpenPage
) -> None:
    for path in ("/status/404", "/status/503", "/json", "/empty", "/c?x=1", "/gzip", "/deflate", "/deflate-raw"):
        agent.get(path)
    agent.get("/a", x_mark="yes")
    with agent.visitor() as visitor:
        visitor.ask("POST", "/echo", body=b"in the body: a Needle.")
    page = open_page(api)
    page.wait_count(10)
    for query, wanted in FILTERS.items():
        page.go("/inspect/http?" + query.replace(" ", "%20").replace(">", "%3E"))
        page.wait_rows(*wanted)
        if not wanted:
            page.wait_text(".notice", "No request is like that.")
    # Typed, they get into the address; what comes later is filtered as well.
    page.go("/inspect/http")
    page.wait_count(10)
    page.click("Filter")
    page.type("input[name=status]", "404")
    page.wait_rows("GET /status/404 404")
    assert page.script("return location.search") == "?status=404"
    page.shot("filtered")
    agent.get("/status/503")
    agent.get("/status/404")
    page.wait_rows("GET /status/404 404", "GET /status/404 404")
    page.click("Reset")
    page.wait_count(12)


def test_a_request_leaves_the_list_when_it_no_longer_fits(
    agent: Agent, api: LocalApi, gallery: Gallery, open_page: OpenPage
) -> None:
    page = open_page(api, "/inspect/http?status=pending")
    page.wait_text(".notice", "No request is like that.")
    with agent.visitor() as visitor:
        visitor.connection.request("GET", "/slow", headers={"Host": visitor.host})
        page.wait_rows("GET /slow …")
        gallery.step()
        visitor.connection.getresponse().read()
    page.wait_rows()


def test_a_filter_that_is_none_is_told(agent: Agent, api: LocalApi, open_page: OpenPage) -> None:
    assert agent.url
    answer = api.ask("GET", "/api/ui/requests?status=many")
    assert answer.status == 400
    assert "404, 4xx, 200-299, pending" in answer.json["details"]["err"]
    page = open_page(api, "/inspect/http?status=many")
    page.wait_text(".filter .fault", 'status: "many" is none of')
    # It is no news that nothing is found then, and the agent is there.
    assert page.text(".notice") == ""
    assert "gone" not in page.text(".top .state")
    page.forgive()


def test_while_paused_nothing_moves(agent: Agent, api: LocalApi, open_page: OpenPage) -> None:
    agent.get("/before")
    page = open_page(api)
    page.wait_rows("GET /before 200")
    page.click("Pause")
    agent.get("/meanwhile")
    page.wait_text("#count", "more have come")
    assert page.rows() == ["GET /before 200"]
    page.click("Go on")
    page.wait_rows("GET /meanwhile 200", "GET /before 200")
    page.click("Pause")
    page.click("Clear")
    page.wait_rows()


def test_cleared_it_is_empty_here_and_in_the_agent(agent: Agent, api: LocalApi, open_page: OpenPage) -> None:
    agent.get("/one")
    page = open_page(api)
    page.open("/one")
    page.click("Clear")
    page.wait_text(".notice", "No request so far")
    page.wait_text(".detail", "Choose a request")
    assert api.get("/api/requests/http")["requests"] == []
    agent.get("/two")
    page.wait_rows("GET /two 200")


def test_the_list_goes_on_when_the_agent_is_back(alone: Agents, gallery: Gallery, open_page: OpenPage) -> None:
    path = alone.home / "again.yml"
    path.write_text(f"version: 3\nagent: {{web_addr: '127.0.0.1:{ports.unused()}'}}\n")

    def start() -> Agent:
        agent = alone.agent("http", gallery.address, "--config", str(path))
        agent.up()
        return agent

    first = start()
    page = open_page(local(first))
    first.get("/one")
    page.wait_rows("GET /one 200")
    first.kill()
    page.wait_text(".top .state", "the agent is gone")
    second = start()
    page.wait_text(".top .state", "online")
    page.wait_text(".notice", "No request so far")
    second.get("/two")
    page.wait_rows("GET /two 200")
    page.forgive()


def test_a_page_that_finds_no_place_says_why_and_goes_on_when_there_is_one(
    agent: Agent, api: LocalApi, open_page: OpenPage
) -> None:
    agent.get("/one")
    with followers.every_place(api):
        page = open_page(api)
        page.wait_text(".filter .fault", "too many pages look at this agent")
    page.wait_rows("GET /one 200")
    assert page.text(".filter .fault") == ""
    page.forgive("503", "events")


CONFIG = """
version: 3
agent: {{web_addr: '127.0.0.1:0'{agent}}}
endpoints:
{endpoints}
"""


@pytest.mark.parametrize(
    ("agent", "endpoints", "told"),
    [
        ("", ["{name: db, url: 'tcp://', upstream: {url: '5432'}}"], "Only TCP and TLS endpoints are running."),
        (
            "",
            ["{name: web, url: 'http://', upstream: {url: '80'}, inspect: false}"],
            "Inspection is turned off for web",
        ),
        (
            ", inspect_db_size: -1",
            ["{name: web, url: 'http://', upstream: {url: '80'}}"],
            "Inspection is turned off for web",
        ),
    ],
    ids=["tcp", "inspect-false", "no-store"],
)
def test_where_nothing_can_be_seen_the_page_says_why(
    alone: Agents, open_page: OpenPage, agent: str, endpoints: list[str], told: str
) -> None:
    path = alone.home / "blind.yml"
    path.write_text(CONFIG.format(agent=agent, endpoints="\n".join(f"  - {one}" for one in endpoints)))
    running = alone.agent("start", "--all", "--config", str(path))
    api = local(running)
    running.up()
    page = open_page(api)
    page.wait_text(".notice", told)


def test_an_endpoint_that_is_not_inspected_is_named_beside_those_that_are(
    alone: Agents, gallery: Gallery, open_page: OpenPage
) -> None:
    path = alone.home / "two.yml"
    endpoints = (
        f"  - {{name: seen, url: 'http://', upstream: {{url: '{gallery.address}'}}}}\n"
        f"  - {{name: unseen, url: 'http://', upstream: {{url: '{gallery.address}'}}, inspect: false}}\n"
    )
    path.write_text(CONFIG.format(agent="", endpoints=endpoints))
    running = alone.agent("start", "--all", "--config", str(path))
    api = local(running)
    running.up(2)
    urls = {one["name"]: one["public_url"] for one in api.get("/api/tunnels")["tunnels"]}
    page = open_page(api)
    for url in urls.values():
        with Visitor(None, url) as visitor:
            assert visitor.get("/text").status == 200
    page.wait_rows("GET /text seen 200")
    page.wait_text(".aside", "Not inspected: unseen")
