"""HTTP archives: out of the page, into other programs, and back."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from harness.agents import Agent, Agents
from harness.edge import Edge
from harness.local import LocalApi, local
from harness.process import until
from page.gallery import PNG, SAID, Gallery
from page.inspector import Inspector, OpenPage


def exported(page: Inspector, folder: Path, kind: str) -> dict[str, Any]:
    page.download(folder)
    page.pick("export", kind)
    saved = folder / "portway.har"
    page.wait_file(saved)
    # It is there before all of it is.
    until("it is whole", lambda: saved.read_text().endswith("}"))
    archive: dict[str, Any] = json.loads(saved.read_text())
    return archive


def test_what_is_exported_can_be_read_by_others_and_by_the_page(
    agent: Agent, api: LocalApi, open_page: OpenPage, tmp_path: Path
) -> None:
    with agent.visitor() as visitor:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer hunter2"}
        visitor.ask("POST", "/echo?a=1", body='{"ü": 1}'.encode(), headers=headers)
    for path in ("/png", "/gzip", "/zstd", "/status/404"):
        agent.get(path)
    page = open_page(api)
    page.wait_count(5)
    archive = exported(page, tmp_path, "plain")
    log = archive["log"]
    assert (log["version"], log["creator"]["name"]) == ("1.2", "portway")
    echo, png, gzip, zstd, missing = log["entries"]
    assert echo["request"]["method"] == "POST"
    assert echo["request"]["url"] == f"{agent.url}/echo?a=1"
    assert echo["request"]["queryString"] == [{"name": "a", "value": "1"}]
    assert echo["request"]["postData"]["text"] == '{"ü": 1}'
    sent = {one["name"].lower(): one["value"] for one in echo["request"]["headers"]}
    assert sent["authorization"] == "••••••"
    assert base64.b64decode(png["response"]["content"]["text"]) == PNG
    assert gzip["response"]["content"]["text"] == zstd["response"]["content"]["text"] == SAID
    assert missing["response"]["status"] == 404
    assert all(one["time"] > 0 and one["timings"]["wait"] >= 0 for one in log["entries"])

    page.all("input[type=file]")[0].send_keys(str(tmp_path / "portway.har"))
    page.wait_text("#count", "5 requests in the file")
    live = ["GET /status/404 404", "GET /zstd 200", "GET /gzip 200", "GET /png 200", "POST /echo?a=1 200"]
    page.wait_rows(*live)
    page.open("/echo?a=1")
    page.wait_text("#response-panel", "ü: 1")
    page.open("/png")
    page.wait_text("#response-panel", "10 × 10")
    page.open("/gzip")
    page.wait_text("#response-panel", SAID.strip())
    # It cannot be sent again: nobody knows where it came from.
    assert not page.all("#replay")
    page.type("#search", "ü")
    page.wait_rows("POST /echo?a=1 200")
    page.click("Close the file")
    page.shot("imported")


def test_credentials_are_in_an_archive_only_where_they_are_asked_for(
    agent: Agent, api: LocalApi, open_page: OpenPage, tmp_path: Path
) -> None:
    agent.get("/hostile", authorization="Bearer hunter2")
    page = open_page(api)
    page.wait_count(1)
    archive = exported(page, tmp_path, "secrets")
    assert "Bearer hunter2" in json.dumps(archive)
    assert "sid=hunter2" in json.dumps(archive)


def test_a_file_that_is_no_archive_is_told_to_be_none(
    agent: Agent, api: LocalApi, open_page: OpenPage, tmp_path: Path
) -> None:
    agent.get("/text")
    page = open_page(api)
    page.wait_count(1)
    field = page.all("input[type=file]")[0]
    for name, text in {
        "text.har": "hello",
        "empty.har": "{}",
        "odd.har": '{"log": {"entries": [{}]}}',
        "null.har": "null",
        "url.har": '{"log": {"entries": [{"request": {"method": "GET", "url": null}, "response": {}}]}}',
    }.items():
        (tmp_path / name).write_text(text)
        field.send_keys(str(tmp_path / name))
        page.wait_text(".said", f"{name} is no HTTP archive")
        page.wait_rows("GET /text 200")


def test_an_archive_of_another_program_is_shown(
    agent: Agent, api: LocalApi, open_page: OpenPage, tmp_path: Path
) -> None:
    agent.get("/text")
    entry = {
        "startedDateTime": "2026-01-02T03:04:05.678Z",
        "time": 12.5,
        "request": {
            "method": "GET",
            "url": "https://example.test/path?q=<b>",
            "httpVersion": "http/2.0",
            "headers": [{"name": ":authority", "value": "example.test"}, {"name": "cookie", "value": "hunter2"}],
        },
        "response": {
            "status": 200,
            "statusText": "",
            "headers": [{"name": "content-encoding", "value": "br"}],
            "content": {"mimeType": "text/html", "text": "<script>window.owned = 1</script>"},
        },
        "timings": {"wait": 10, "receive": 2.5},
    }
    other = tmp_path / "other.har"
    other.write_text(json.dumps({"log": {"version": "1.2", "entries": [entry]}}))
    page = open_page(api)
    page.wait_count(1)
    page.all("input[type=file]")[0].send_keys(str(other))
    page.wait_text("#count", "1 request in the file")
    page.open("/path?q=%3Cb%3E")
    page.wait_text("#response-panel", "<script>window.owned = 1</script>")
    page.wait_text(".timing", "waited 10 ms", "received in 2.50 ms")
    page.tab("Headers")
    assert "hunter2" not in page.text("#part-panel")
    assert page.script("return window.owned") is None


ENTRY: dict[str, Any] = {
    "startedDateTime": "2026-01-02T03:04:05.678Z",
    "time": 12.5,
    "request": {"method": "GET", "url": "https://api.example.test:8443/v1?x=1", "httpVersion": "h2", "headers": []},
    "response": {"status": 200, "statusText": "", "headers": [], "content": {"mimeType": "text/plain", "text": "ok"}},
    "timings": {"wait": 10, "receive": 2.5},
}


def read_in(page: Inspector, folder: Path, *entries: dict[str, Any]) -> None:
    """Opens an archive of another program."""
    path = folder / "other.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    page.all("input[type=file]")[0].send_keys(str(path))
    page.wait_text("#count", "in the file")


def test_what_a_browser_has_kept_is_copied_and_exported_with_its_own_address(
    agent: Agent, api: LocalApi, open_page: OpenPage, tmp_path: Path
) -> None:
    assert agent.url
    page = open_page(api)
    read_in(page, tmp_path, ENTRY)
    page.open("/v1?x=1")
    page.wait_text(".detail .facts", "2026-01-02 ")
    page.pick("copy", "curl")
    page.wait_text(".said", "Copied for")
    assert "'https://api.example.test:8443/v1?x=1'" in page.clipboard()
    (entry,) = exported(page, tmp_path, "plain")["log"]["entries"]
    assert entry["request"]["url"] == ENTRY["request"]["url"]


def test_a_visitor_s_https_is_in_the_archive(
    edge: Edge, agents: Agents, gallery: Gallery, open_page: OpenPage, tmp_path: Path
) -> None:
    agent = agents.http(gallery.address)
    assert agent.url.startswith("https:")
    agent.get("/text")
    page = open_page(local(agent))
    page.wait_count(1)
    (entry,) = exported(page, tmp_path, "plain")["log"]["entries"]
    assert entry["request"]["url"] == f"{agent.url}/text"


def test_odd_entries_of_an_archive_are_shown_as_far_as_they_go(
    agent: Agent, api: LocalApi, open_page: OpenPage, tmp_path: Path
) -> None:
    assert agent.url
    page = open_page(api)
    form = {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "a", "value": "two words"}]}
    header = {"name": "Content-Type", "value": "application/x-www-form-urlencoded"}
    posted = {"method": "POST", "url": "https://a.test/form", "headers": [header], "postData": form}
    failed = {"status": 0, "statusText": "", "headers": [], "content": {}, "_error": "net::ERR_FAILED"}
    read_in(
        page,
        tmp_path,
        ENTRY | {"request": {"method": "GET", "url": "no address", "headers": []}},
        ENTRY | {"request": posted},
        ENTRY | {"response": failed},
    )
    page.wait_text("#count", "3 requests in the file")
    page.open("no address")
    page.wait_text("#response-panel", "ok")
    page.open("/form")
    page.wait_text("#request-panel", "a\ttwo words")
    page.open("/v1?x=1")
    page.wait_text(".detail .facts", "no answer", "net::ERR_FAILED")
    page.wait_text("#part-panel", "There is no answer in the file.")
    read_in(page, tmp_path)
    page.wait_text(".notice", "There is no request in the file.")


def test_messages_of_a_websocket_come_out_of_an_archive_and_go_into_one(
    agent: Agent, api: LocalApi, open_page: OpenPage, tmp_path: Path
) -> None:
    assert agent.url
    page = open_page(api)
    began = 1767323045.678
    said = [
        {"type": "send", "time": began + 1, "opcode": 1, "data": "hello ü"},
        {"type": "receive", "time": began + 1.5, "opcode": 2, "data": base64.b64encode(b"\1\2" * 200).decode()},
        {"type": "receive", "time": began + 2, "opcode": 1, "data": "x" * 300},
    ]
    switched = ENTRY["response"] | {"status": 101, "statusText": "Switching Protocols", "content": {}}
    talk = {"method": "GET", "url": "wss://a.test/talk", "headers": []}
    read_in(page, tmp_path, ENTRY | {"request": talk, "response": switched, "_webSocketMessages": said})
    page.open("/talk")
    page.tab("Frames")
    page.wait_text("table.frames", "1.00 s\t↑\ttext\t8 B\thello ü", "1.50 s\t↓\tbinary\t400 B\t01 02 01")
    (entry,) = exported(page, tmp_path, "plain")["log"]["entries"]
    again = entry["_webSocketMessages"]
    assert [one | {"time": 0} for one in again] == [one | {"time": 0} for one in said]
    assert [round(one["time"] - began, 3) for one in again] == [1, 1.5, 2]
