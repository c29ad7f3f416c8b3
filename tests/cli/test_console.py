"""The screen of an agent on a terminal (cli.md §11), as a person sees it and uses it."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness import need
from harness.edge import Edge, isolated
from harness.process import portway, until
from harness.terminal import Terminal
from harness.upstreams import HttpUpstream, Upstreams
from harness.visitor import Visitor

NewTerminal = Callable[..., Terminal]


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


class Shown:
    """`portway http` on a terminal, in front of an upstream, on an edge."""

    def __init__(self, terminals: NewTerminal, edge: Edge, home: Path, upstream: HttpUpstream) -> None:
        self.terminals, self.edge, self.home, self.upstream = terminals, edge, home, upstream

    def http(self, *flags: str, url: str = "http://screen.localhost", **how: object) -> Terminal:
        env = {**isolated(self.home), **self.edge.agent_env(), **dict(how.pop("env", {}))}  # type: ignore[call-overload]
        return self.terminals(*portway(), "http", self.upstream.url, "--url", url, *flags, env=env, **how)

    def visit(self, path: str, method: str = "GET") -> int:
        with Visitor(self.edge, f"http://screen.localhost:{self.edge.http[1]}") as visitor:
            return visitor.ask(method, path).status


@pytest.fixture
def shown(terminals: NewTerminal, edge: Edge, tmp_path: Path, upstream: HttpUpstream) -> Shown:
    return Shown(terminals, edge, tmp_path / "agent", upstream)


def online(terminal: Terminal) -> str:
    return terminal.wait("online", lambda text: "Session Status                online" in text and "Forwarding" in text)


def quits(terminal: Terminal) -> None:
    """Ctrl+C ends it, and the terminal is as it was."""
    terminal.type(b"\x03")
    assert terminal.end() == 0
    assert terminal.modes() == terminal.before
    until("the shell's screen and its cursor are back", lambda: is_given_back(terminal))


def is_given_back(terminal: Terminal) -> bool:
    raw = bytes(terminal.raw)
    return raw.rfind(b"\x1b[?1049l") > raw.rfind(b"\x1b[?1049h") and raw.rfind(b"\x1b[?25h") > raw.rfind(b"\x1b[?25l")


def test_rows_stand_in_their_order(shown: Shown) -> None:
    terminal = shown.http(columns=100, rows=30)
    terminal.wait("a round trip", lambda text: "ms\n" in text)
    lines = online(terminal).splitlines()
    assert lines[0].startswith("portway ")
    assert lines[0].endswith("(Ctrl+C to quit)")
    assert len(lines[0]) == 100
    labels = [line[:30].strip() for line in lines[2:] if line[:30].strip()]
    assert labels == [
        *("Session Status", "Account", "Version", "Region", "Latency", "Web Interface"),
        *("Forwarding", "Connections", "HTTP Requests", "-------------"),
    ]
    url = f"http://screen.localhost:{shown.edge.http[1]}"
    assert f"{'Forwarding':<30}{url} -> {shown.upstream.url}" in lines
    heads = next(line for line in lines if line.startswith("Connections"))
    assert heads.split()[1:] == ["ttl", "opn", "rt1", "rt5", "p50", "p90"]
    quits(terminal)


def test_a_question_mark_shows_the_keys_and_any_key_leads_back(shown: Shown) -> None:
    terminal = shown.http()
    assert "(? for help) (Ctrl+C to quit)" in online(terminal)
    for back in (b"?", b"x", b"\x1b[A"):
        terminal.type(b"?")
        text = terminal.wait("the keys", lambda text: "Ctrl+Z" in text)
        assert {line.split()[0] for line in text.splitlines()[2:7]} == {"?", "Ctrl+U", "Ctrl+L", "Ctrl+Z", "Ctrl+C"}
        assert "Session Status" not in text
        shown.visit("/meanwhile")
        terminal.type(back)
        online(terminal)
        assert "Ctrl+Z" not in terminal.text()
    terminal.wait("what came meanwhile", lambda text: text.count("GET /meanwhile") == 3)
    terminal.type(b"?")
    terminal.wait("the keys", lambda text: "Ctrl+Z" in text)
    quits(terminal)


def test_the_keys_fit_into_a_window_that_becomes_small(shown: Shown) -> None:
    terminal = shown.http()
    online(terminal)
    terminal.type(b"?")
    terminal.wait("the keys", lambda text: "Ctrl+Z" in text)
    terminal.resize(24, 10)

    def fits(text: str) -> bool:
        keys = {line.split(" ")[0] for line in text.splitlines()}
        return (
            keys >= {"?", "Ctrl+U", "Ctrl+L", "Ctrl+Z", "Ctrl+C"} and "draw the" in text and "screen anew" not in text
        )

    terminal.wait("all keys, and what there is room for", fits)
    quits(terminal)


def test_what_others_wrote_over_it_goes_at_ctrl_l(shown: Shown) -> None:
    terminal = shown.http()
    online(terminal)
    terminal._stream.feed(b"\x1b[25;1Hsomebody else")
    assert "somebody else" in terminal.text()
    terminal.type(b"\x0c")
    terminal.wait("its own screen", lambda text: "somebody else" not in text and "Session Status" in text)
    quits(terminal)


def test_without_an_update_on_offer_ctrl_u_does_nothing(shown: Shown) -> None:
    terminal = shown.http()
    before = online(terminal)
    assert "\nUpdate" not in before
    terminal.type(b"\x15y")
    terminal.type(b"?")
    terminal.wait("the keys", lambda text: "Ctrl+Z" in text)
    terminal.type(b"?")
    assert "\nUpdate" not in online(terminal)
    quits(terminal)


def test_visitors_are_counted_and_requests_listed_newest_first(shown: Shown) -> None:
    terminal = shown.http()
    online(terminal)
    shown.visit("/first")
    shown.visit("/status/404")
    shown.visit("/last?a=b", "POST")
    text = terminal.wait("three connections", lambda text: "\n                              3       0 " in text)
    requests = text.split("-------------")[1].split("\n")
    requests = [line for line in requests if line.strip()]
    assert [line.split()[2:5] for line in requests] == [
        ["POST", "/last?a=b", "200"],
        ["GET", "/status/404", "404"],
        ["GET", "/first", "200"],
    ]
    with Visitor(shown.edge, f"http://screen.localhost:{shown.edge.http[1]}") as visitor:
        visitor.connection.request("GET", "/slow", headers={"Host": visitor.host})
        waiting = terminal.wait("an open one", lambda text: "\n                              4       1 " in text)
        assert "GET /slow" in waiting
        shown.upstream.release_when_waiting()
        visitor.connection.getresponse().read()
        terminal.wait("its answer", lambda text: "GET /slow" in text and text.count(" 200 ") == 3)
    terminal.wait("its end", lambda text: "\n                              4       0 " in text)
    quits(terminal)


def test_a_lost_edge_shows_and_its_return_too(shown: Shown) -> None:
    terminal = shown.http()
    online(terminal)
    shown.edge.kill()
    text = terminal.wait("why", lambda text: "reconnecting (" in text and "refused" in text)
    assert "os error" not in text
    assert "Forwarding" in text, "the URL stays ours"
    assert "Latency                       -" in text
    shown.edge.restart()
    online(terminal)
    # It is online a moment before its URL is there again.
    until("it serves", lambda: shown.visit("/again") == 200)
    terminal.wait("a visitor", lambda text: "GET /again" in text)
    quits(terminal)


def test_before_the_first_session_it_says_what_it_waits_for(
    terminals: NewTerminal, tmp_path: Path, upstreams: Upstreams
) -> None:
    nobody = upstreams.refusing()
    terminal = terminals(
        *(*portway(), "http", "80", "--connect-url", nobody, "--authtoken", "t"), env=isolated(tmp_path)
    )
    terminal.wait("why", lambda text: f"connecting (cannot reach {nobody}: Connection refused)" in text)
    quits(terminal)


def test_a_failure_is_told_on_the_shells_screen(shown: Shown) -> None:
    terminal = shown.http(env={"PORTWAY_AUTHTOKEN": "wrong-token"})
    assert terminal.end() == 1
    text = terminal.wait("why", lambda text: "ERR_NGROK_107" in text)
    assert "ERROR:  authentication failed: " in text
    assert terminal.raw.index(b"ERROR:") > terminal.raw.rindex(b"\x1b[?1049l")
    assert terminal.modes() == terminal.before


@pytest.mark.parametrize(("columns", "rows"), [(20, 5), (1, 1), (39, 10), (79, 8), (300, 80)])
def test_any_size_will_do(columns: int, rows: int, shown: Shown) -> None:
    terminal = shown.http(columns=columns, rows=rows)
    shown.edge.process.wait_for("endpoint bound")
    until("it has drawn", lambda: b"\x1b[?2026l" in terminal.raw)
    shown.visit("/x")
    terminal.resize(90, 24)
    text = online(terminal)
    assert f"http://screen.localhost:{shown.edge.http[1]}" in text
    terminal.wait("the request", lambda text: "GET /x" in text)
    terminal.resize(columns, rows)
    if columns == 20:
        small = terminal.wait("what fits", lambda text: "online" in text and "GET /x" in text and "Version" not in text)
        assert f"http://screen.localhost:{shown.edge.http[1]}" in small.replace("\n", "")
    quits(terminal)


def test_what_a_visitor_sends_cannot_move_the_cursor(shown: Shown) -> None:
    terminal = shown.http()
    online(terminal)
    with Visitor(shown.edge, f"http://screen.localhost:{shown.edge.http[1]}") as visitor:
        visitor.connection.sock.sendall(f"GET /\xc2\x9b2J HTTP/1.1\r\nHost: {visitor.host}\r\n\r\n".encode("latin-1"))
        visitor.connection.sock.recv(1)
    shown.visit("/after")
    terminal.wait("the next one", lambda text: "GET /after" in text)
    assert b"\xc2\x9b" not in terminal.raw
    assert "Session Status" in terminal.text()
    quits(terminal)


def test_keys_are_not_shown_and_do_nothing(shown: Shown) -> None:
    terminal = shown.http()
    online(terminal)
    terminal.type(b"xyzzy\n\x1b[A")
    shown.visit("/after-keys")
    text = terminal.wait("a visitor", lambda text: "GET /after-keys" in text)
    assert "xyzzy" not in text
    quits(terminal)


def test_without_colour_only_bold_is_left(shown: Shown) -> None:
    terminal = shown.http(env={"NO_COLOR": "1"})
    online(terminal)
    quits(terminal)
    colours = [f"\x1b[{code}m".encode() for code in (*range(30, 39), *range(40, 49), *range(90, 98))]
    assert not [code for code in colours if code in terminal.raw]
    assert b"\x1b[38;5;" not in terminal.raw


def test_with_colour_the_status_stands_out(shown: Shown) -> None:
    terminal = shown.http()
    online(terminal)
    row = next(number for number, line in enumerate(terminal.text().splitlines()) if "Session Status" in line)
    assert terminal.screen.buffer[row][30].fg == "00ff00"
    quits(terminal)


def test_a_dumb_terminal_gets_a_log_and_no_control_characters(shown: Shown) -> None:
    terminal = shown.http(env={"TERM": "dumb"}, columns=300)
    text = terminal.wait("the URL", lambda text: "started tunnel" in text)
    assert "Forwarding" not in text
    assert b"\x1b" not in terminal.raw
    terminal.type(b"\x03")
    assert terminal.end() == 0


def test_a_log_on_stdout_takes_the_place_of_the_screen(shown: Shown) -> None:
    terminal = shown.http("--log", "stdout", columns=300)
    terminal.wait("the URL", lambda text: "started tunnel" in text)
    assert b"\x1b[?1049h" not in terminal.raw
    terminal.type(b"\x03")
    assert terminal.end() == 0


def test_a_log_in_a_file_leaves_the_screen(shown: Shown, tmp_path: Path) -> None:
    terminal = shown.http("--log", str(tmp_path / "agent.log"))
    online(terminal)
    assert "started tunnel" in (tmp_path / "agent.log").read_text()
    quits(terminal)


def test_the_configuration_turns_the_screen_off(shown: Shown, tmp_path: Path) -> None:
    file = tmp_path / "c.yml"
    file.write_text("version: 3\nagent: {console_ui: false}\n")
    terminal = shown.http("--config", str(file), columns=300)
    terminal.wait("the URL", lambda text: "started tunnel" in text)
    assert b"\x1b[?1049h" not in terminal.raw


def test_into_a_file_goes_the_url_and_nothing_of_a_screen(shown: Shown, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("wb") as file:
        agent = subprocess.Popen(
            [*portway(), "http", shown.upstream.url, "--url", "http://screen.localhost"],
            env={**isolated(tmp_path / "a"), **shown.edge.agent_env(), "PATH": "/usr/bin:/bin"},
            stdout=file,
        )
        shown.edge.process.wait_for("endpoint bound")
        url = f"http://screen.localhost:{shown.edge.http[1]}"
        until("its line", lambda: out.read_text() == f"Forwarding {url} -> {shown.upstream.url}\n")
        agent.terminate()
        assert agent.wait(30) == 0


def labels(text: str) -> list[str]:
    """What a screen says apart from values: both ends of its title, and the words in front of its rows."""
    rows = [line.strip() for line in text.splitlines()]
    found = [re.match(r"[A-Z-][A-Za-z -]*?(?=  |$)", row) for row in rows[1:]]
    return [*re.split(r" {2,}", rows[0]), *(label[0] for label in found if label)]


def test_the_picture_of_the_readme_has_the_rows_of_the_screen(
    terminals: NewTerminal, tmp_path: Path, upstream: HttpUpstream
) -> None:
    picture = ElementTree.parse(need.ROOT / "docs" / "pictures" / "first_run.svg")
    lines = ["".join(row.itertext()) for row in picture.iterfind("{*}text")]
    screen = lines[1 : next(number for number, line in enumerate(lines) if line == "bash")]
    terminal = terminals(*portway(), "http", upstream.url, env=isolated(tmp_path / "home"), columns=126, rows=18)
    assert labels("\n".join(screen)) == labels(online(terminal))
    quits(terminal)


def test_without_a_terminal_it_says_why_there_is_no_url(tmp_path: Path, upstreams: Upstreams) -> None:
    nobody = upstreams.refusing()
    agent = subprocess.Popen(
        [*portway(), "http", "80", "--connect-url", nobody, "--authtoken", "t"],
        env={**isolated(tmp_path), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert agent.stderr
    assert agent.stderr.readline() == f"cannot reach {nobody}: Connection refused; trying again\n"
    agent.terminate()
    out, err = agent.communicate(timeout=30)
    assert (agent.returncode, out, err) == (0, "", ""), "once is enough"


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(shown: Shown) -> None:
    terminal = shown.http()
    online(terminal)
    status = Path(f"/proc/{terminal.popen.pid}/status")
    terminal.popen.send_signal(signal.SIGTSTP)
    until("it has stopped", lambda: "State:\tT" in status.read_text())
    assert terminal.modes() == terminal.before
    until("the shell's screen is back", lambda: is_given_back(terminal))
    before = terminal.raw.count(b"\x1b[?1049h")
    terminal.popen.send_signal(signal.SIGCONT)
    until("the screen is back", lambda: terminal.raw.count(b"\x1b[?1049h") == before + 1)
    online(terminal)
    quits(terminal)


def test_a_closed_terminal_ends_it(shown: Shown) -> None:
    terminal = shown.http()
    online(terminal)
    since = shown.edge.process.position
    terminal.popen.send_signal(signal.SIGHUP)
    assert terminal.end() == 0
    shown.edge.process.wait_for("agent disconnected", since=since)
