"""What visitors see when edge, agent or upstream fail: a code, and words that help, in the form they read."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from harness.agents import Agent
from harness.raw import RawVisitor, Response, head
from harness.site import BOTH_WAYS, Site
from harness.upstreams import BLOCK

BROWSER = ("Accept: text/html,application/xhtml+xml,*/*;q=0.8", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)")

pytestmark = BOTH_WAYS


def ask(site: Site, host: str, *lines: str, path: str = "/") -> Response:
    with RawVisitor(site.edge.connect()) as raw:
        raw.send(head(host, "GET", path, *lines))
        return raw.response()


def test_an_unknown_name_is_offline(site: Site) -> None:
    with RawVisitor(site.edge.connect()) as raw:
        raw.send(head("nobody.localhost"))
        answer = raw.response()
    assert answer.status == 404
    assert answer.head.get("ngrok-error-code") == "ERR_NGROK_3200"
    assert answer.head.get("content-type") == "text/plain; charset=utf-8"
    message, code = answer.body.decode().split("\r\n\r\n")
    assert message.endswith("is offline.")
    assert "nobody.localhost" in message
    assert code == "ERR_NGROK_3200\r\n"


@pytest.mark.parametrize(
    ("accept", "agent", "kind"),
    [
        ("text/html,*/*;q=0.8", "Mozilla/5.0 (Macintosh)", "text/html"),
        ("text/html", "curl/8.1", "text/plain"),
        ("*/*", "Mozilla/5.0 (Macintosh)", "text/plain"),
        ("application/json", "anything", "application/json"),
    ],
)
def test_an_error_comes_in_the_form_its_reader_takes(site: Site, accept: str, agent: str, kind: str) -> None:
    with RawVisitor(site.edge.connect()) as raw:
        raw.send(head("nobody.localhost", "GET", "/", f"Accept: {accept}", f"User-Agent: {agent}"))
        answer = raw.response()
    assert (answer.head.get("content-type") or "").startswith(kind)
    assert answer.body.count(b"ERR_NGROK_3200") == 1
    assert (answer.head.get("cache-control") or "") == "no-store"


def test_an_error_page_shows_a_name_and_does_not_run_it(site: Site) -> None:
    name = "<script>alert(1)</script>.localhost"
    with RawVisitor(site.edge.connect()) as raw:
        raw.send(head(name, "GET", "/<script>", "Accept: text/html", "User-Agent: Mozilla/5.0"))
        answer = raw.response()
    assert answer.status in (400, 404)
    assert b"<script>alert" not in answer.body


def test_the_answer_to_head_is_an_error_without_a_body(site: Site) -> None:
    with RawVisitor(site.edge.connect()) as raw:
        raw.send(head("nobody.localhost", "HEAD"))
        assert raw.response("HEAD").status == 404
        raw.send(head(site.host("http"), "GET", "/bytes/2"))
        assert raw.response().body == BLOCK[:2]


@pytest.mark.parametrize("host", ["", "a b", "user@x.localhost", "x.localhost/y", "x.localhost:port"])
def test_a_host_that_is_none_is_a_bad_request(site: Site, host: str) -> None:
    with RawVisitor(site.edge.connect()) as raw:
        raw.send(head(host))
        assert raw.response().status == 400


# === which error


@pytest.fixture(scope="module")
def down(site: Site) -> Agent:
    """An agent whose upstream is not there."""
    return site.agents.http(site.upstreams.refusing(), url="http://down.localhost")


def test_an_upstream_that_is_down_is_named(site: Site, down: Agent) -> None:
    down.up()
    answer = ask(site, "down.localhost")
    assert (answer.status, answer.head.get("ngrok-error-code")) == (502, "ERR_NGROK_8012")
    text, code = answer.body.decode().split("\r\n\r\n")
    assert "refused" in text
    assert "127.0.0.1:" in text
    assert code == "ERR_NGROK_8012\r\n"


def test_an_agent_that_dies_during_a_request_is_told(site: Site) -> None:
    agent = site.agents.http(site.upstream.url, url="http://dies.localhost")
    agent.up()
    with RawVisitor(site.edge.connect()) as raw:
        raw.send(head("dies.localhost", "GET", "/slow"))
        site.upstream.wait_waiting(1)
        agent.kill()
        answer = raw.response()
        assert answer.status in (502, 503)
        assert answer.head.get("ngrok-error-code")
        raw.send(head("dies.localhost"))
        again = raw.response()
    assert (again.status, again.head.get("ngrok-error-code")) == (404, "ERR_NGROK_3200")


@pytest.mark.parametrize(
    ("path", "statuses", "code"),
    [
        ("/close", (502, 503), "ERR_NGROK_3004"),
        ("/garbage", (502, 503), "ERR_NGROK_3004"),
        ("/status/502", (502,), None),
    ],
)
def test_the_error_of_an_upstream_is_told_from_one_of_the_edge(
    site: Site, path: str, statuses: tuple[int, ...], code: str | None
) -> None:
    answer = ask(site, site.host("http"), path=path)
    assert answer.status in statuses
    assert answer.head.get("ngrok-error-code") == code


# === in which form


def test_the_same_error_in_json(site: Site, down: Agent) -> None:
    down.up()
    for host, status, code in (("nobody.localhost", 404, "ERR_NGROK_3200"), ("down.localhost", 502, "ERR_NGROK_8012")):
        answer = ask(site, host, "Accept: application/json")
        told = json.loads(answer.body)
        assert (told["error_code"], told["status_code"]) == (code, status)
        assert host.split(".")[0] in told["msg"] or "refused" in told["msg"]


class Page(HTMLParser):
    """What a page would fetch, and what it says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]

    def handle_data(self, data: str) -> None:
        self.said += data


@pytest.mark.parametrize("host", ["nobody.localhost", "down.localhost"])
def test_a_page_needs_nothing_but_itself(site: Site, down: Agent, host: str) -> None:
    down.up()
    answer = ask(site, host, *BROWSER)
    assert answer.head.get("content-type") == "text/html; charset=utf-8"
    assert answer.head.get("x-content-type-options") == "nosniff"
    text = answer.body.decode()
    page = Page(text)
    assert page.fetched == []
    assert not {"script", "link", "iframe", "img", "form", "object"} & set(page.tags)
    assert not re.search(r"url\(|@import", text)
    code = answer.head.get("ngrok-error-code")
    assert code
    assert page.said.count(code) == 1
    assert str(answer.status) in page.said
    assert 'name="viewport"' in text, "it fits a phone"
    assert "prefers-color-scheme: dark" in text


def test_names_of_the_upstream_are_shown_and_not_run(site: Site) -> None:
    folder = site.upstreams.home / "<img src=x onerror=alert(1)>"
    agent = site.agents.http(f"unix:{folder}", url="http://tagged.localhost")
    agent.up()
    answer = ask(site, "tagged.localhost", *BROWSER)
    assert answer.status == 502
    assert "img" not in Page(answer.body.decode()).tags
