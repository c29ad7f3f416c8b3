"""Folders as upstreams (agent-behaviour.md §4.4)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.agents import Agents
from harness.http2 import Http2Visitor, request
from harness.upstreams import BLOCK
from harness.visitor import Answer, Visitor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "sub").mkdir(parents=True)
    (folder / "index.html").write_text("<p>home")
    (folder / "page.txt").write_text("text")
    (folder / ".hidden").write_text("seen by who knows it")
    (folder / "octets").write_bytes(bytes(range(256)))
    (folder / "sub" / "a<b.txt").write_text("x")
    (tmp_path / "secret.txt").write_text("not for you")
    return folder


@pytest.fixture
def ask(folder: Path, alone: Agents) -> Callable[..., Answer]:
    agent = alone.http(f"file://{folder}")

    def ask(path: str, method: str = "GET", **headers: str) -> Answer:
        with agent.visitor() as visitor:
            return visitor.ask(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return ask


def test_a_folder_does_not_show_what_is_in_it_when_asked_not_to(alone: Agents, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "a<b.txt").write_text("x")
    hidden = alone.http(f"file://{folder}", "--no-file-listing").get("/")
    assert hidden.status in (403, 404)
    assert "a" + "&lt;" not in hidden.text
    for flags in ((), ("--file-listing",)):
        shown = alone.http(f"file://{folder}", *flags).get("/")
        assert shown.status == 200
        assert "a&lt;b.txt" in shown.text


def test_a_folder_has_its_index_or_what_is_in_it(ask: Callable[..., Answer]) -> None:
    assert ask("/").text == "<p>home"
    assert ask("/sub").status == 301
    assert ask("/sub?q=1").headers["location"] == "/sub/?q=1"
    shown = ask("/sub/")
    assert shown.headers["content-type"].startswith("text/html")
    assert "a&lt;b.txt" in shown.text
    assert ask("/sub/a%3Cb.txt").text == "x"


def test_a_file_has_its_type_and_nobody_guesses_another(ask: Callable[..., Answer]) -> None:
    for path, kind in (("/page.txt", "text/plain"), ("/octets", "application/octet-stream"), ("/", "text/html")):
        answer = ask(path)
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_a_visitor_has_is_not_sent_again_and_a_part_is_a_part(ask: Callable[..., Answer]) -> None:
    whole = ask("/octets")
    for name, value in (
        ("If_None_Match", whole.headers["etag"]),
        ("If_Modified_Since", whole.headers["last-modified"]),
    ):
        again = ask("/octets", **{name: value})
        assert (again.status, again.body) == (304, b"")
    part = ask("/octets", Range="bytes=250-")
    assert (part.status, part.body) == (206, bytes(range(250, 256)))
    assert part.headers["content-range"] == "bytes 250-255/256"
    beyond = ask("/octets", Range="bytes=256-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, "bytes */256")
    head = ask("/octets", "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "256")


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/sub/../../secret.txt", "/%2e%2e/secret.txt", "/sub%2fa", "/sub%5c..", "/page.txt%00", "/%zz"],
)
def test_no_path_leads_out_of_it(path: str, ask: Callable[..., Answer]) -> None:
    answer = ask(path)
    assert answer.status == 400
    assert "not for you" not in answer.text


def test_a_link_that_leaves_it_is_not_followed(folder: Path, ask: Callable[..., Answer]) -> None:
    (folder / "out").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to("..")
    (folder / "in").symlink_to("page.txt")
    assert ask("/out").status == 403
    assert ask("/up/").status == 403
    assert ask("/up/secret.txt").status == 403
    assert ask("/in").text == "text"


def test_names_with_a_dot_are_served_and_not_shown(folder: Path, ask: Callable[..., Answer]) -> None:
    (folder / "index.html").unlink()
    assert ask("/.hidden").text == "seen by who knows it"
    assert "hidden" not in ask("/").text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_is_only_read(method: str, ask: Callable[..., Answer]) -> None:
    answer = ask("/page.txt", method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_what_is_no_file_is_not_served_and_holds_up_nobody(folder: Path, ask: Callable[..., Answer]) -> None:
    os.mkfifo(folder / "pipe")
    for _ in range(3):
        assert ask("/pipe").status == 403
    assert ask("/page.txt/").status == 404
    assert ask("/nothing").status == 404


def test_a_folder_speaks_http2_where_the_edge_is_to(folder: Path, agents: Agents) -> None:
    (folder / "block").write_bytes(BLOCK)
    agent = agents.http(f"file://{folder}", "--upstream-protocol", "http2")
    with Visitor(agents.edge, agent.url) as visitor:
        assert visitor.get("/block").body == BLOCK
    with Http2Visitor(agents.edge, agent.url) as h2:
        exchange = h2.ask(request(agent.url.removeprefix("https://"), "/block"))
        assert (exchange.status, bytes(exchange.body)) == (200, BLOCK)
