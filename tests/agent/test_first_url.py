"""One command, and a URL that works: `portway http PORT` with nothing configured; and what its users run into."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals

import pytest

from harness import need
from harness.agents import Agents
from harness.edge import Edge, isolated
from harness.process import PATIENCE, portway, until
from harness.terminal import Terminal
from harness.upstreams import BLOCK, HttpUpstream, Upstreams, pattern_digest
from harness.visitor import digest

BROWSER = {"Accept": "text/html,application/xhtml+xml", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}
MIB = 1 << 20


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


def curl(url: str, *flags: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([need.program("curl", "curl"), "-sS", *flags, url], capture_output=True, timeout=60)


# === the first URL


def test_curl_gets_the_answer_of_the_upstream(alone: Agents, upstream: HttpUpstream) -> None:
    url = alone.http(str(upstream.port)).url
    assert url.startswith("http://")
    assert url.split(":")[1].endswith(".localhost")

    answer = curl(f"{url}/bytes/5")
    assert (answer.returncode, answer.stdout) == (0, BLOCK[:5]), answer.stderr
    (seen,) = upstream.seen
    assert (seen.method, seen.target, seen.header("host")) == ("GET", "/bytes/5", url.removeprefix("http://"))


def test_the_records_around_a_run_come_in_their_order(alone: Agents, upstream: HttpUpstream) -> None:
    agent = alone.http(str(upstream.port))
    agent.get("/")
    agent.process.wait_for("join connections", obj="join", l=f"127.0.0.1:{upstream.port}")
    agent.process.signal(SIGINT)
    assert agent.process.wait() == 0

    told = [record["msg"] for record in agent.process.records()]
    wanted = [
        "client session established",
        "tunnel session started",
        "started tunnel",
        "join connections",
        "received stop request",
        "session closing",
        "all component stopped",
    ]
    assert [msg for msg in told if msg in wanted] == wanted
    started = agent.process.wait_for("started tunnel")
    assert list(started) == ["t", "lvl", "msg", "obj", "name", "addr", "url"]
    assert (started["obj"], started["name"], started["addr"]) == (
        "tunnels",
        "command_line",
        f"http://localhost:{upstream.port}",
    )
    assert all(line.startswith("t=") for tag, line in agent.process.lines if tag == "out"), "records and nothing else"


def test_into_a_pipe_it_writes_one_line_for_its_url(alone: Agents, upstream: HttpUpstream) -> None:
    process = alone.run("http", str(upstream.port), log=False)
    line = process.wait_line("the URL", lambda line: line if "://" in line else None)
    assert line.startswith("Forwarding http://")
    url = line.split()[1]
    assert curl(url).returncode == 0
    process.signal(SIGTERM)
    assert process.wait() == 0
    assert process.text("out") == line
    assert process.text("err") == ""


def test_two_of_them_side_by_side(alone: Agents, upstreams: Upstreams) -> None:
    first, second = upstreams.http(), upstreams.http()
    agents = [alone.http(str(first.port)), alone.http(str(second.port))]
    for agent in agents:
        assert agent.get("/").status == 200
    assert (len(first.seen), len(second.seen)) == (1, 1)


def test_its_edge_listens_on_loopback_only(alone: Agents, upstream: HttpUpstream) -> None:
    agent = alone.http(str(upstream.port))
    agent.up()
    listening = agent.process.listening()
    assert listening
    loopback = ("0100007F:", "00000000000000000000000001000000:")
    assert all(address.startswith(loopback) for address in listening), listening


# === big bodies


def upload(length: int) -> Iterator[bytes]:
    for _ in range(length // len(BLOCK)):
        yield BLOCK


def both_ways(alone: Agents, upstream: HttpUpstream, length: int) -> float:
    """Carries bodies down and up; MiB that the agent, and the edge in it, hold at the end."""
    agent = alone.http(str(upstream.port))
    with agent.visitor() as visitor:
        assert digest(visitor.open("GET", f"/bytes/{length}")) == (length, pattern_digest(length))
        assert digest(visitor.open("GET", f"/chunked/{length}")) == (length, pattern_digest(length))
        sized = visitor.ask("PUT", "/up", body=upload(length), headers={"Content-Length": str(length)}).json
        assert (sized["length"], sized["sha256"]) == (length, pattern_digest(length))
        chunked = visitor.ask("PUT", "/up", body=upload(length)).json
        assert (chunked["length"], chunked["sha256"]) == (length, pattern_digest(length))
    return agent.process.rss_mib()


def test_100_mb_arrive_whole_both_ways(alone: Agents, upstream: HttpUpstream) -> None:
    held = both_ways(alone, upstream, 100 * MIB)
    assert held < 128, f"{held:.0f} MiB: bodies are carried, not kept"


@pytest.mark.slow
def test_1_gb_arrives_whole_both_ways(alone: Agents, upstream: HttpUpstream) -> None:
    held = both_ways(alone, upstream, 1024 * MIB)
    assert held < 128, f"{held:.0f} MiB: bodies are carried, not kept"


# === its end


@pytest.mark.parametrize("signal", [SIGINT, SIGTERM, SIGHUP], ids=lambda signal: signal.name)
def test_b20_a_signal_ends_it_without_a_word(signal: Signals, alone: Agents, upstream: HttpUpstream) -> None:
    agent = alone.http(str(upstream.port))
    port = int(agent.url.rsplit(":", 1)[1])
    agent.process.signal(signal)
    assert agent.process.wait() == 0
    assert agent.process.text("err") == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_b20_the_second_signal_does_not_wait_for_visitors(alone: Agents, upstream: HttpUpstream) -> None:
    agent = alone.http(str(upstream.port))
    with agent.visitor() as visitor:
        visitor.connection.request("GET", "/slow", headers={"Host": visitor.host})
        agent.process.wait_for("join connections")
        agent.process.signal(SIGINT)
        agent.process.wait_for("received stop request")
        agent.process.signal(SIGINT)
        assert agent.process.wait() in (0, 130)


def test_b20_whoever_read_its_records_may_go(alone: Agents, upstream: HttpUpstream) -> None:
    agent = alone.http(str(upstream.port))
    assert agent.get("/status/204").status == 204
    # Who held the other ends of both pipes closes them, as a wrapper does that ends.
    for pipe in (agent.process.popen.stdout, agent.process.popen.stderr):
        assert pipe
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, pipe.fileno())
        os.close(nowhere)
    for _ in range(50):
        assert agent.get("/status/204").status == 204
    agent.process.signal(SIGTERM)
    assert agent.process.popen.wait(PATIENCE) == 0


# === what goes wrong


def refused(alone: Agents, *arguments: str) -> str:
    """What a command that cannot run says."""
    process = alone.run(*arguments, log=False)
    assert process.wait() == 1
    assert process.text("out") == ""
    said = process.text("err")
    assert all(line.startswith("ERROR:") for line in said.splitlines()), said
    return said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["http", "8080", "--nosuch"], "unknown flag: --nosuch"),
        (["http", "8080", "--ulr", "x.test"], "--url"),
        (["http"], "UPSTREAM"),
        (["http", "99999"], "99999"),
        (["http", "8080", "--url", "ftp://x.test"], "ftp"),
        (["http", "8080", "--url", "tcp://x.test:1"], "tcp"),
        (["htpp", "8080"], "http"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_slip_of_the_pen_is_named(arguments: list[str], told: str, alone: Agents) -> None:
    assert told in refused(alone, *arguments)


def test_a_wrong_token_ends_it_and_says_so(agents: Agents, upstream: HttpUpstream) -> None:
    wrong = "2" + "a" * 48
    agent = agents.http(upstream.url, env={"PORTWAY_AUTHTOKEN": wrong})
    assert agent.process.wait() == 1
    told = [record["msg"] for record in agent.process.records()]
    wanted = [
        "failed to auth",
        "failed to reconnect session",
        "session closing",
        "received stop request",
        "terminating with error",
        "command failed",
    ]
    assert [msg for msg in told if msg in wanted] == wanted
    errors = agent.process.text("err").splitlines()
    assert errors[0].startswith("ERROR:  authentication failed: ")
    assert any(line.startswith("ERROR:  ERR_NGROK_10") for line in errors)
    assert wrong not in agent.process.text()


def test_without_a_token_an_edge_asks_for_one(agents: Agents, upstream: HttpUpstream) -> None:
    agent = agents.http(upstream.url, env={"PORTWAY_AUTHTOKEN": ""})
    assert agent.process.wait() == 1
    assert "ERR_NGROK_4018" in agent.process.text("err")


def test_an_edge_whose_port_is_in_use_names_it(tmp_path: Path, agents_of: Callable[[Edge], Agents]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        free = [part for name in ("agent", "https", "api") for part in (f"--{name}-addr", "127.0.0.1:0")]
        process = subprocess.run(
            [*portway(), "edge", "--data-dir", str(tmp_path / "data"), "--http-addr", address, *free],
            env={**isolated(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert process.returncode == 1
    errors = [line for line in process.stderr.splitlines() if line.startswith("ERROR:")]
    assert any(address in line and "in use" in line for line in errors), process.stderr


def test_where_its_usual_ports_are_taken_it_takes_others(alone: Agents, upstream: HttpUpstream) -> None:
    first = alone.http(str(upstream.port)).url
    second = alone.http(str(upstream.port)).url
    assert first.rsplit(":", 1)[1] != second.rsplit(":", 1)[1]


def test_while_no_edge_is_there_it_tries_again_until_told_to_stop(alone: Agents, upstreams: Upstreams) -> None:
    nobody = upstreams.refusing()
    env = {"PORTWAY_CONNECT_URL": nobody, "PORTWAY_AUTHTOKEN": "some-token"}
    agent = alone.http("8080", env=env)
    agent.process.wait_for("failed to reconnect session")
    first = agent.process.position
    failed = agent.process.wait_for("failed to reconnect session", since=first)
    assert nobody in failed["err"]
    agent.process.signal(SIGINT)
    assert agent.process.wait() == 0


def test_an_edge_that_is_not_to_be_trusted_gets_no_token(
    alone: Agents, edge: Edge, upstream: HttpUpstream, new_edge: Callable[..., Edge]
) -> None:
    impostor = new_edge()
    env = {**edge.agent_env(), "PORTWAY_CONNECT_URL": "{}:{}".format(*impostor.agent)}
    agent = alone.http(upstream.url, env=env)
    failed = agent.process.wait_for("failed to reconnect session")
    assert "certificate" in failed["err"].lower()
    assert not [record for record in impostor.process.records() if record["msg"] == "agent connected"]


# === the upstream is down


def test_b14_b15_a_visitor_learns_which_upstream_is_down_and_why(alone: Agents, upstreams: Upstreams) -> None:
    down = upstreams.refusing()
    agent = alone.http(down)
    answer = agent.get("/")
    assert (answer.status, answer.code) == (502, "ERR_NGROK_8012")
    assert answer.headers["content-type"].startswith("text/plain")
    message, code = answer.text.split("\r\n\r\n")
    assert down in message
    assert "refused" in message
    assert code == "ERR_NGROK_8012\r\n"
    assert agent.process.wait_for("failed to open private leg")["lvl"] == "warn"


def test_b15_a_browser_gets_a_page_of_its_own(alone: Agents, upstreams: Upstreams) -> None:
    down = upstreams.refusing()
    with alone.http(down).visitor() as visitor:
        answer = visitor.get("/", headers=BROWSER)
    assert (answer.status, answer.code) == (502, "ERR_NGROK_8012")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.lstrip().lower().startswith("<!doctype html>")
    assert down in answer.text
    assert answer.text.count("ERR_NGROK_8012") == 1
    assert "http-equiv" not in answer.text or "src=" not in answer.text, "nothing is fetched from elsewhere"
    assert "<script src" not in answer.text
    assert "<link" not in answer.text


def test_b15_with_the_upstream_back_the_same_connection_serves(alone: Agents, upstream: HttpUpstream) -> None:
    agent = alone.http(str(upstream.port))
    with agent.visitor() as visitor:
        assert visitor.get("/").status == 200
        upstream.down()
        assert visitor.get("/").status == 502
        assert visitor.ask("HEAD", "/").body == b""
        assert visitor.ask("POST", "/", body=BLOCK).code == "ERR_NGROK_8012"
        upstream.up()
        assert visitor.get("/").status == 200


# === other upstreams


def test_an_ipv6_address_is_an_upstream(alone: Agents) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as only_six:
        agent = alone.http(f"[::1]:{only_six.getsockname()[1]}")
        with agent.visitor() as visitor:
            visitor.connection.request("GET", "/", headers={"Host": visitor.host})
            only_six.settimeout(PATIENCE)
            accepted, _ = only_six.accept()
            with accepted:
                assert accepted.recv(1) == b"G"
                accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nv6")
                assert visitor.connection.getresponse().read() == b"v6"


def test_b14_a_unix_socket_is_an_upstream(alone: Agents, upstreams: Upstreams, tmp_path: Path) -> None:
    socket_path = tmp_path / "app.sock"
    upstream = upstreams.http(unix=socket_path)
    assert alone.http(f"unix://{socket_path}").get("/bytes/3").body == BLOCK[:3]
    assert len(upstream.seen) == 1


def test_a_folder_is_an_upstream(alone: Agents, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text("<p>hello")
    (folder / "data.bin").write_bytes(BLOCK)
    with alone.http(f"file://{folder}").visitor() as visitor:
        assert visitor.get("/").text == "<p>hello"
        part = visitor.get("/data.bin", headers={"Range": "bytes=10-19"})
        assert (part.status, part.body) == (206, BLOCK[10:20])
        assert visitor.get("/%2e%2e/%2e%2e/etc/passwd").status in (400, 404)
        assert visitor.ask("POST", "/", body=b"x").status == 405


# === on a terminal


def screen(terminals: Callable[..., Terminal], home: Path, upstream: HttpUpstream, **how: object) -> Terminal:
    env = {**isolated(home), **({"NO_COLOR": "1"} if how.pop("plain", False) else {})}
    return terminals(*portway(), "http", str(upstream.port), env=env, **how)


def url_on(text: str) -> str:
    row = next(line for line in text.splitlines() if line.startswith("Forwarding"))
    return row.split()[1]


def test_the_screen_shows_the_url_and_the_requests(
    terminals: Callable[..., Terminal], tmp_path: Path, upstream: HttpUpstream
) -> None:
    terminal = screen(terminals, tmp_path, upstream)
    text = terminal.wait("the URL", lambda text: "Forwarding" in text and "online" in text)
    url = url_on(text)
    row = next(line for line in text.splitlines() if line.startswith("Forwarding"))
    assert row == f"{'Forwarding':<30}{url} -> http://localhost:{upstream.port}"
    assert curl(f"{url}/hello").returncode == 0
    terminal.wait("the request", lambda text: "GET /hello" in text and "200" in text)
    terminal.type(b"\x03")
    assert terminal.end() == 0
    assert terminal.modes() == terminal.before
    assert b"\x1b[?25h" in terminal.raw, "the cursor is back"


def test_a_narrow_terminal_does_not_break_it(
    terminals: Callable[..., Terminal], tmp_path: Path, upstream: HttpUpstream
) -> None:
    terminal = screen(terminals, tmp_path, upstream, columns=24, rows=6)
    terminal.wait("anything", lambda text: "online" in text or "Session" in text)
    terminal.resize(120, 30)
    url = url_on(terminal.wait("the URL", lambda text: "Forwarding" in text and "->" in text))
    assert curl(url).returncode == 0
    terminal.type(b"\x03")
    assert terminal.end() == 0


def test_no_color_means_none(terminals: Callable[..., Terminal], tmp_path: Path, upstream: HttpUpstream) -> None:
    terminal = screen(terminals, tmp_path, upstream, plain=True)
    terminal.wait("the URL", lambda text: "Forwarding" in text and "online" in text)
    with_colour = [f"\x1b[{code}m".encode() for code in (*range(30, 38), *range(40, 48), *range(90, 98))]
    assert not [code for code in with_colour if code in terminal.raw]


def test_a_reader_who_leaves_does_not_end_it(tmp_path: Path, upstream: HttpUpstream) -> None:
    """Standard output is a pipe that nobody reads any more."""
    process = subprocess.Popen(
        [*portway(), "http", str(upstream.port), "--log", "stdout", "--log-format", "logfmt"],
        env={**isolated(tmp_path), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        line = next(line for line in process.stdout if "started tunnel" in line)
        process.stdout.close()
        url = line.split("url=")[1].strip()
        for _ in range(3):
            assert curl(f"{url}/bytes/4").stdout == BLOCK[:4]
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_requests_leave_nothing_behind(alone: Agents, upstream: HttpUpstream) -> None:
    agent = alone.http(str(upstream.port))
    agent.get("/")
    until("the upstream connection is gone", lambda: upstream.open_connections == 0)
    files = agent.process.open_files()
    for _ in range(100):
        agent.get("/")
    until("no connection is left open", lambda: upstream.open_connections == 0)
    until("no file is left open", lambda: agent.process.open_files() <= files)
    assert hashlib.sha256(agent.get("/bytes/65536").body).hexdigest() == pattern_digest(65536)
