"""Requests sent again from the page, against a real upstream."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness.agents import Agent, Agents
from harness.local import LocalApi, local
from harness.process import until
from harness.visitor import Visitor
from page.gallery import Gallery
from page.inspector import Inspector, OpenPage


@pytest.fixture
def page(agent: Agent, api: LocalApi, open_page: OpenPage) -> Inspector:
    assert agent.url
    return open_page(api)


def test_a_replay_reaches_the_upstream_and_is_the_one_that_is_shown(
    page: Inspector, agent: Agent, gallery: Gallery
) -> None:
    with agent.visitor() as visitor:
        visitor.ask("POST", "/echo?a=1", body=b"\x00exactly\r\nthis", headers={"X-Mark": "one", "Cookie": "a=b"})
    page.open("/echo?a=1")
    page.click("Replay")
    page.wait_text(".detail .facts", "replay of the original")
    page.wait_rows("POST ↻ /echo?a=1 200", "POST /echo?a=1 200")
    assert gallery.bodies == [b"\x00exactly\r\nthis"] * 2
    first, second = ({name.lower(): value for name, value in head[2]} for head in gallery.heads)
    assert first.items() - second.items() <= {("connection", first.get("connection"))}
    page.shot("replayed")


def test_the_response_is_compared_with_that_of_the_original(page: Inspector, agent: Agent) -> None:
    agent.get("/count")
    page.compare("/count")
    page.wait_text(".diff .old", '− "count": 1'.replace("− ", "−   "))
    page.wait_text(".diff .new", '+   "count": 2')
    page.wait_text(".diff .same", '"same": "always"')
    page.shot("compared")


def test_the_same_response_is_said_to_be_the_same(page: Inspector, agent: Agent) -> None:
    agent.get("/br")
    page.compare("/br")
    # But for the time in its head, there is nothing to see.
    shown = page.wait_text("#part-panel", "")
    assert "Hello" not in page.text(".diff .old, .diff .new"), shown


def test_of_long_responses_the_lines_that_differ_are_shown(page: Inspector, agent: Agent) -> None:
    agent.get("/changing")
    page.compare("/changing")
    page.wait_text(".diff .old", "− line 7 of 1", "− line 19007 of 1")
    page.wait_text(".diff .new", "+ line 7 of 2", "+ line 19007 of 2")
    page.wait_text(".diff .gap", "… 993 lines that are the same …")
    assert "line 500\n" not in page.text(".diff")
    page.shot("compared-long")


def test_of_a_long_line_the_part_that_differs_is_shown(page: Inspector, agent: Agent) -> None:
    agent.get("/changing-line")
    page.compare("/changing-line")
    page.wait_text(".diff .old b", "1")
    page.wait_text(".diff .new", "+ line 0 line 1", "line 7 of 2 line 8", "…")
    assert "line 500" not in page.text(".diff")


def test_responses_that_are_no_text_are_compared_byte_by_byte(page: Inspector, agent: Agent, gallery: Gallery) -> None:
    agent.get("/binary")
    page.open("/binary")
    page.click("Replay with changes")
    page.type("form.replay .grow input", "/broken-png")
    page.click("Send")
    page.wait_text(".detail .whole", "/broken-png")
    page.tab("Compare")
    page.wait_text(".diff .old", "− 00000010  10 11 12 13")
    page.wait_text(".diff .new", "+ 00000000  89 50 4e 47")


def test_a_replay_can_have_changes_and_hidden_values_stay_what_they_were(
    page: Inspector, agent: Agent, gallery: Gallery
) -> None:
    with agent.visitor() as visitor:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer hunter2", "X-Gone": "yes"}
        visitor.ask("POST", "/echo", body=b'{"a": 1}\r\n{"b": 2}', headers=headers)
    page.open("/echo")
    page.click("Replay with changes")
    shown = page.wait("form.replay textarea").get_attribute("value") or ""
    assert "hunter2" not in shown
    assert "authorization: ••••••" in shown.lower()
    kept = [line for line in shown.split("\n") if not line.lower().startswith("x-gone")]
    page.type("form.replay input[list]", "PUT")
    page.type("form.replay .grow input", "/echo?changed=1")
    page.set("form.replay textarea", "\n".join([*kept, "X-New: here"]))
    page.set("form.replay label:nth-of-type(2) textarea", '{"a": 5}\n{"b": 2}')
    page.shot("replay-with-changes")
    page.click("Send")
    page.wait_text(".detail .whole", "/echo?changed=1")
    method, path, sent = gallery.heads[-1]
    assert (method, path) == ("PUT", "/echo?changed=1")
    assert gallery.bodies[-1] == b'{"a": 5}\r\n{"b": 2}'
    values = {name.lower(): value for name, value in sent}
    assert values["content-length"] == str(len(gallery.bodies[-1]))
    assert (values["authorization"], values["x-new"]) == ("Bearer hunter2", "here")
    assert "x-gone" not in values
    page.wait_rows("PUT ↻ /echo?changed=1 200", "POST /echo 200")


def test_values_that_are_not_ascii_go_out_byte_for_byte(page: Inspector, agent: Agent, gallery: Gallery) -> None:
    with agent.visitor() as visitor:
        visitor.connection.putrequest("GET", "/text", skip_host=True)
        for name, value in {"Host": visitor.host.encode(), "X-New": "grün".encode(), "X-Old": b"gr\xfcn"}.items():
            visitor.connection.putheader(name, value)
        visitor.connection.endheaders()
        visitor.connection.getresponse().read()
    page.open("/text")
    page.tab("Headers")
    page.wait_text("#part-panel", "x-new\tgrün".title().replace("Grün", "grün"), "X-Old\tgrün")
    page.click("Replay with changes")
    shown = page.wait("form.replay textarea").get_attribute("value") or ""
    page.set("form.replay textarea", f"{shown}\nX-Mine: schön")
    page.click("Send")
    page.wait_text(".detail .facts", "replay of")
    # The library reads them as latin-1.
    values = {name.lower(): value.encode("latin-1") for name, value in gallery.heads[-1][2]}
    assert values["x-new"] == "grün".encode()
    assert values["x-old"] == b"gr\xfcn"
    assert values["x-mine"] == "schön".encode()


def test_trailers_can_be_changed_too(agent: Agent, api: LocalApi, open_page: OpenPage, page: Inspector) -> None:
    with agent.visitor() as visitor:
        visitor.ask("POST", "/echo", body=b"hello")
    page.open("/echo")
    page.click("Replay with changes")
    page.click("Trailers", "form.replay")
    page.set("form.replay details textarea", "X-Sum: 5")
    page.click("Send")
    page.wait_text(".detail .facts", "replay of")
    page.tab("Headers")
    page.wait_text("#part-panel", "Trailers of the request", "X-Sum\t5")
    page.click("Replay with changes")
    assert (page.wait("form.replay details textarea").get_attribute("value") or "") == "X-Sum: 5"


def test_a_body_that_is_no_text_goes_out_as_it_was(page: Inspector, agent: Agent, gallery: Gallery) -> None:
    body = bytes(range(256)) * 40
    with agent.visitor() as visitor:
        visitor.ask("POST", "/echo", body=body)
    page.open("/echo")
    page.click("Replay with changes")
    page.wait_text("form.replay", "The body, 10 kB that are no plain text, goes out as it was.")
    page.type("form.replay .grow input", "/echo?again")
    page.click("Send")
    page.wait_text(".detail .whole", "/echo?again")
    assert gallery.bodies == [body, body]


def test_what_cannot_be_sent_is_told_before_it_is(page: Inspector, agent: Agent, gallery: Gallery) -> None:
    agent.get("/text")
    page.open("/text")
    page.click("Replay with changes")
    page.set("form.replay textarea", "no header at all")
    page.click("Send")
    page.wait_text("form.replay .fault", '"no header at all" is no header: write NAME: VALUE')
    page.set("form.replay textarea", "Host: a.test")
    page.type("form.replay .grow input", "/a b")
    page.click("Send")
    page.wait_text("form.replay .fault", "is no path")
    assert len(gallery.heads) == 1
    page.forgive()


def test_a_replay_can_go_to_another_endpoint(alone: Agents, gallery: Gallery, open_page: OpenPage) -> None:
    other = Gallery()
    path = alone.home / "two.yml"
    path.write_text(
        "version: 3\nagent: {web_addr: '127.0.0.1:0'}\nendpoints:\n"
        f"  - {{name: one, url: 'http://', upstream: {{url: '{gallery.address}'}}}}\n"
        f"  - {{name: two, url: 'http://', upstream: {{url: '{other.address}'}}}}\n"
    )
    agent = alone.agent("start", "--all", "--config", str(path))
    api = local(agent)
    agent.up(2)
    urls = {one["name"]: one["public_url"] for one in api.get("/api/tunnels")["tunnels"]}
    with Visitor(None, urls["one"]) as visitor:
        visitor.get("/text")
    page = open_page(api)
    page.wait_rows("GET /text one 200")
    page.wait(".rows .request").click()
    page.click("Replay with changes")
    page.choose("form.replay select", "two")
    page.click("Send")
    page.wait_rows("GET ↻ /text two 200", "GET /text one 200")
    assert [head[1] for head in other.heads] == ["/text"]
    other.stop()


def test_an_upstream_that_is_down_is_a_502_of_the_replay(page: Inspector, agent: Agent, gallery: Gallery) -> None:
    agent.get("/text")
    page.open("/text")
    gallery.stop()
    page.click("Replay")
    page.wait_rows("GET ↻ /text 502", "GET /text 200")


# === copies that can be run


@pytest.mark.parametrize("form", ["curl", "httpie", "python", "fetch"])
def test_what_is_copied_sends_the_same_request_again(
    page: Inspector, agent: Agent, gallery: Gallery, tmp_path: Path, form: str
) -> None:
    body = 'it\'s "quoted" $HOME `x` \\ ü\n'
    with agent.visitor() as visitor:
        headers = {"Content-Type": "text/plain; charset=utf-8", "X-Mark": "it's $5"}
        visitor.ask("POST", "/echo?a=1&b='2'", body=body.encode(), headers=headers)
    page.open("/echo?a=1&b='2'")
    page.pick("copy", form)
    page.wait_text(".said", "Copied for")
    copied = page.clipboard()
    assert agent.url in copied
    # The name of an edge inside an agent leads to this machine.
    local_url = f"http://127.0.0.1:{urlsplit(agent.url).port}"
    if form == "curl":
        host = urlsplit(agent.url).netloc
        script = copied.replace(agent.url, local_url, 1) + f" -sS -H 'Host: {host}'"
        subprocess.run(["bash", "-c", script], check=True, capture_output=True, timeout=30)
    elif form == "python":
        program = tmp_path / "copied.py"
        program.write_text(
            copied.replace(agent.url, local_url).replace(
                "headers={", f'headers={{"Host": {urlsplit(agent.url).netloc!r},'
            )
        )
        subprocess.run([sys.executable, str(program)], check=True, capture_output=True, timeout=30)
    elif form == "httpie":
        words = shlex.split(copied)
        assert words[:3] == ["http", "POST", f"{agent.url}/echo?a=1&b='2'"]
        # HTTP does not care how a name is written, and neither does the edge.
        assert "x-mark:it's $5" in [word.replace("X-Mark", "x-mark") for word in words]
        assert f"--raw={body}" in words
        return
    else:
        # A script of another page: sent from here, that is the agent's own page, which asks nobody else.
        options = json.loads(copied[copied.index(", {") + 2 : copied.index(");\nconsole")])
        assert options["method"] == "POST"
        assert options["body"] == body
        assert ["x-mark", "it's $5"] in [[name.lower(), value] for name, value in options["headers"]]
        return
    until("it has come", lambda: len(gallery.heads) == 2)
    assert gallery.heads[1][:2] == ("POST", "/echo?a=1&b='2'")
    assert gallery.bodies[1] == body.encode()
    assert {name.lower(): value for name, value in gallery.heads[1][2]}["x-mark"] == "it's $5"
