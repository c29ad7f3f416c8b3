"""Every kind of body on the page: as what it is, as text, and as bytes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest

from harness.agents import Agent
from harness.local import LocalApi
from page.gallery import BROTLI, PAGES, PNG, SAID, SCRIPT, ZSTD
from page.inspector import Inspector, OpenPage

RESPONSE = "#response-panel"
REQUEST = "#request-panel"


@pytest.fixture
def page(agent: Agent, api: LocalApi, open_page: OpenPage) -> Inspector:
    assert agent.url
    return open_page(api)


def see(page: Inspector, agent: Agent, path: str) -> Inspector:
    """The detail of a request for that path."""
    agent.get(path)
    return page.open(path)


def views(page: Inspector, side: str = "response") -> list[str]:
    return [tab.text for tab in page.all(f"[id^={side}-][role=tab]")]


def test_json_is_a_tree_that_unfolds(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/json")
    assert views(page) == ["Tree", "Raw", "Hex"]
    page.wait_text(RESPONSE, "users: [ 300 ]", "100 more")
    # Only a part of it is there, until somebody asks for more.
    assert len(page.all(f"{RESPONSE} .value")) < 3000
    page.click("100 more", RESPONSE)
    page.wait_text(RESPONSE, "299: {")
    page.shot("json")
    page.tab("Raw", ".body")
    page.wait_text(RESPONSE, '{"users": [{"id": 0')


def test_numbers_are_shown_as_they_were_written(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/big-number")
    page.wait_text(".detail .facts", "418")
    page.wait_text(RESPONSE, "12345678901234567890", "1.10")


@pytest.mark.parametrize(
    ("path", "told", "marked"),
    [
        ("/bad-json", "Not well-formed JSON: line 4, column 1", "}"),
        ("/bad-json-in-one-line", "Not well-formed JSON: line 1, column 9008: a value wanted here", "]"),
        ("/bad-xml", "Not well-formed XML: line 2, column ", "</a>"),
    ],
)
def test_the_place_of_an_error_is_told_and_marked(
    page: Inspector, agent: Agent, path: str, told: str, marked: str
) -> None:
    see(page, agent, path)
    page.wait_text(f"{RESPONSE} .fault", told)
    assert page.text(f"{RESPONSE} mark.wrong") == marked
    assert page.text(f"{RESPONSE} .text").replace("\n", "") == PAGES[path].body.decode().replace("\n", "")
    assert "rendering" not in page.text(f"{RESPONSE} .fault"), "of the browser's own page"
    page.shot(f"error{path.replace('/', '-')}")
    # Chromium's own description of an error in XML, which is only read, has a style that the policy takes off.
    if "xml" in path:
        page.forgive("formats.js", "style-src-attr")


def test_lines_of_json_are_each_a_tree(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/ndjson")
    page.wait_text(RESPONSE, "n: 1", "n: 2")
    assert len(page.all(f"{RESPONSE} .tree")) == 2


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_json_that_is_sent_under_another_name_is_a_tree(page: Inspector, agent: Agent, kind: str) -> None:
    """curl calls it a form unless it is told."""
    with agent.visitor() as visitor:
        visitor.ask("POST", "/echo", body=b'{"like": {"curl": "-d"}}', headers={"Content-Type": kind})
    page.open("/echo")
    page.wait_text(REQUEST, 'curl: "-d"')
    assert views(page, "request") == ["Tree", *(["Form"] if "form" in kind else []), "Raw", "Hex"]


def test_xml_is_a_tree_too(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/xml")
    page.wait_text(RESPONSE, 'feed xmlns="a"', 'entry id="1"', "t one")
    page.shot("xml")


def test_the_query_and_a_form_are_tables(page: Inspector, agent: Agent) -> None:
    fields = {"name": "Ann Ö", "note": "a&b=c"}
    with agent.visitor() as visitor:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        visitor.ask("POST", "/echo?page=2&q=x%20y", body=urlencode(fields).encode(), headers=form)
    page.open("/echo?page=2&q=x%20y")
    page.wait_text("table[aria-label=Query]", "page\t2", "q\tx y")
    page.wait_text(f"{REQUEST} table", "name\tAnn Ö", "note\ta&b=c")
    page.shot("form")


def test_each_part_of_a_multipart_body_is_shown_as_what_it_is(page: Inspector, agent: Agent) -> None:
    body = b"\r\n".join(
        [
            b"--XX",
            b'Content-Disposition: form-data; name="title"',
            b"",
            b"hello",
            b"--XX",
            b'Content-Disposition: form-data; name="data"; filename="a.json"',
            b"Content-Type: application/json",
            b"",
            b'{"inside": [1, 2]}',
            b"--XX",
            b'Content-Disposition: form-data; name="photo"; filename="p.png"',
            b"Content-Type: image/png",
            b"",
            PNG,
            b"--XX--",
            b"",
        ]
    )
    with agent.visitor() as visitor:
        visitor.ask("POST", "/upload", body=body, headers={"Content-Type": "multipart/form-data; boundary=XX"})
    page.open("/upload")
    page.wait_text(REQUEST, "title", "hello", "a.json", "inside: [ 2 ]", "p.png", "10 × 10")
    assert len(page.all(f"{REQUEST} .part")) == 3
    page.shot("multipart")


@pytest.mark.parametrize(("path", "told"), [("/png", "10 × 10"), ("/svg", "40 × 20")])
def test_an_image_is_shown(page: Inspector, agent: Agent, path: str, told: str) -> None:
    see(page, agent, path)
    page.wait_text(RESPONSE, told)
    assert views(page) == ["Image", "Raw", "Hex"]
    page.shot(f"image{path.replace('/', '-')}")
    assert page.script("return window.owned") is None


def test_an_image_that_is_none_says_so(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/broken-png")
    page.wait_text(RESPONSE, "It is no whole image.")
    page.forgive()


def test_bytes_are_shown_in_hexadecimal(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/binary")
    assert views(page) == ["Hex", "Raw"]
    page.wait_text(RESPONSE, "00000010  10 11 12 13", "30 31 32 33 34 35 36 37 38 39", "0123456789:;<=>?")
    page.shot("hex")


def test_a_charset_is_honoured(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/latin1")
    page.wait_text(RESPONSE, "für später")


def test_no_body_is_said_to_be_none(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/empty")
    page.wait_text("#part-panel", "Response body\n\nNo body.")


def test_a_long_text_is_shown_in_part_and_then_whole(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/long")
    page.wait_text(RESPONSE, "Show the other")
    assert "the very end" not in page.text(RESPONSE)
    page.click("Show the other", RESPONSE)
    page.wait_text(RESPONSE, "the very end")


@pytest.mark.parametrize("path", ["/gzip", "/deflate", "/deflate-raw", "/br", "/zstd"])
def test_a_compressed_body_is_shown_without_its_coding(page: Inspector, agent: Agent, path: str) -> None:
    see(page, agent, path)
    page.wait_text(RESPONSE, SAID.strip())
    page.wait_text(".body", f"71 B without {dict(PAGES[path].headers)['Content-Encoding']}")


def test_what_unpacks_to_more_than_anybody_reads_is_cut(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/bomb")
    page.wait_text(RESPONSE, "Only the beginning of what it unpacks to is shown.")
    page.wait_text(".body", "10 MB without gzip")


def test_a_coding_that_is_not_known_is_told_and_the_bytes_are_shown(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/unknown-coding")
    page.wait_text(RESPONSE, "Its lzma2 coding could not be taken off.", "01 02 03 04")


def test_the_body_can_be_had_as_a_file_with_its_coding(page: Inspector, agent: Agent, api: LocalApi) -> None:
    for path, body in (("/br", BROTLI), ("/zstd", ZSTD)):
        see(page, agent, path)
        wanted = page.script("return location.hash.slice(1)")
        answer = api.ask("GET", f"/api/ui/requests/{wanted}/response")
        assert (answer.body, answer.headers["content-encoding"]) == (body, path[1:])
        assert answer.headers["content-disposition"] == "attachment"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["content-type"] == "application/octet-stream"


def test_a_body_is_saved_as_it_is_shown(page: Inspector, agent: Agent, tmp_path: Path) -> None:
    page.download(tmp_path)
    see(page, agent, "/gzip")
    page.wait_text(RESPONSE, SAID.strip())
    page.click("Save", ".body")
    saved = tmp_path / "body.plain"
    page.wait_file(saved)
    assert saved.read_text() == SAID


def test_messages_of_grpc_are_decoded_without_a_schema(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/grpc")
    page.wait_text(RESPONSE, "Message 1", "1 string hello", "2 varint 150", "3 message", "1 string abc")
    page.wait_text(RESPONSE, "Message 2", "compressed (gzip)", "1 string hi")
    page.shot("grpc")


def test_what_is_hostile_is_only_ever_text(page: Inspector, agent: Agent) -> None:
    for path in ("/hostile", "/html", f"/nothing?{urlencode({'q': SCRIPT})}"):
        see(page, agent, path)
        for name in ("Headers", "Raw", "Summary"):
            page.tab(name)
    page.open("/hostile")
    page.wait_text(RESPONSE, SCRIPT.replace('"', '\\"'))
    page.tab("Headers")
    page.wait_text("#part-panel", SCRIPT)
    assert page.script("return window.owned") is None
    assert page.all(".detail script") == page.all(".detail img") == []


def test_credentials_and_cookies_are_hidden_until_somebody_asks(page: Inspector, agent: Agent) -> None:
    agent.get("/hostile", authorization="Bearer hunter1", cookie="sid=hunter3", x_api_key="hunter4")
    page.open("/hostile")
    for tab in ("Headers", "Raw"):
        page.tab(tab)
        hidden = page.wait_text("#part-panel", "••••••")
        assert "hunter" not in hidden, tab
        page.click("Show credentials and cookies")
        page.wait_text("#part-panel", "Bearer hunter1", "sid=hunter2", "sid=hunter3", "hunter4")
        page.click("Hide credentials and cookies")
        assert "hunter" not in page.wait_text("#part-panel", "••••••")
    page.shot("masked")


def test_words_are_found_in_the_body_however_deep_they_are(page: Inspector, agent: Agent) -> None:
    see(page, agent, "/json")
    page.type("#find", "user 277")
    page.wait_text(f"{RESPONSE} mark", "user 277")
    page.wait_text(".find", "1 here")
    page.press("\n")
    page.wait_text(".find", "1 of 1")
    assert page.script(
        "const box = document.querySelector('mark.current').getBoundingClientRect();"
        "return box.top > 0 && box.bottom < innerHeight"
    )
    page.type("#find", "no such words")
    page.wait_text(".find", "not here")
    page.type("#find", "TAGS")
    page.wait_text(".find", "here")
    page.shot("found")
