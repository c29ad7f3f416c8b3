"""Log records (agent-behaviour.md §8, cli.md §12): messages, keys and order are what other programs read."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from signal import SIGINT, SIGTERM
from urllib.parse import urlsplit

import pytest

from harness import logs
from harness.agents import Agents
from harness.edge import Edge, isolated
from harness.process import Process, portway, until
from harness.terminal import Terminal
from harness.tls import Authority
from harness.upstreams import BLOCK, HttpUpstream, Upstreams
from harness.visitor import Visitor
from harness.wrappers import CODE, ENDPOINT, NODE_ERROR, URL, Library, eighth_field

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}")
PUBLIC = re.compile(r"http://\w+\.localhost:\d+")
TERM_LINE = re.compile(r"(DEBG|INFO|WARN|EROR|CRIT)\[\d\d-\d\d\|\d\d:\d\d:\d\d\] (.{40}|\S.*?)( \w+=.*)?$")


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


def ended(process: Process) -> list[str]:
    """What a stopped agent wrote on stdout."""
    process.signal(SIGINT)
    assert process.wait() == 0
    return [text for tag, text in process.lines if tag == "out"]


def public_url(line: str) -> str | None:
    found = PUBLIC.search(line)
    return found[0] if found else None


def served(agents: Agents, upstream: HttpUpstream, *flags: str) -> list[str]:
    """The lines of an agent that had one visitor and was stopped; logging as `flags` say."""
    process = agents.run("http", upstream.url, "--url", "http://", *flags, log=False)
    url = process.wait_line("its URL", public_url)
    with Visitor(agents.edge, url) as visitor:
        assert visitor.get("/").status == 200
    process.wait_line("the visitor", lambda line: True if "join connections" in line else None)
    return ended(process)


# === sequences


def test_b1_records_of_a_good_run_have_their_keys_in_their_order(agents: Agents, upstream: HttpUpstream) -> None:
    lines = served(agents, upstream, "--log", "stdout", "--log-format", "logfmt")
    shown = [(record["lvl"], record["msg"], *list(record)[3:]) for line in lines if (record := logs.parse(line))]
    assert shown == [
        ("info", "no configuration paths supplied"),
        ("info", "ignoring default config path, could not stat it", "path", "err"),
        ("info", "starting web service", "obj", "addr", "allow_hosts"),
        ("info", "client session established", "obj"),
        ("info", "tunnel session started", "obj"),
        ("info", "started tunnel", "obj", "name", "addr", "url"),
        ("info", "join connections", "obj", "id", "l", "r"),
        ("info", "received stop request", "obj", "from"),
        ("info", "session closing", "obj", "err"),
        ("info", "all component stopped", "obj"),
    ]
    assert all(line.startswith("t=") and TIME.match(line[2:]) for line in lines)
    (joined,) = [record for line in lines if (record := logs.parse(line)) and record["msg"] == "join connections"]
    assert re.fullmatch(r"[0-9a-f]{12}", joined["id"])
    assert joined["l"] == upstream.address
    assert re.fullmatch(r"127\.0\.0\.1:\d+", joined["r"])


def test_b1_each_file_that_is_read_has_its_record(agents: Agents, tmp_path: Path) -> None:
    files = [tmp_path / "a.yml", tmp_path / "b c.yml"]
    for file in files:
        file.write_text("version: 3\n")
    process = agents.run(
        "start", "--none", "--config", str(files[0]), "--config", str(files[1]), "--log", "stdout", log=False
    )
    process.wait_for("tunnel session started")
    first, second, *rest = ended(process)
    assert first.endswith(f'lvl=info msg="open config file" path={files[0]} err=nil')
    assert second.endswith(f'lvl=info msg="open config file" path="{files[1]}" err=nil')
    assert 'msg="starting web service" obj=web addr=127.0.0.1:' in rest[0]
    assert rest[1].endswith('msg="client session established" obj=tunnels.session')


def test_b1_b5_a_refused_token_is_told_in_the_order_others_wait_for(edge: Edge, alone: Agents) -> None:
    env = {**edge.agent_env(), "PORTWAY_AUTHTOKEN": "unknown-token-of-somebody"}
    process = alone.run("start", "--none", "--log", "stdout", env=env, log=False)
    assert process.wait() == 1
    out = [text for tag, text in process.lines if tag == "out"]
    told = [(record["lvl"], record["msg"]) for line in out if (record := logs.parse(line))]
    assert told[2:] == [
        ("info", "starting web service"),
        ("eror", "failed to auth"),
        ("eror", "failed to reconnect session"),
        ("eror", "session closing"),
        ("info", "accept failed"),
        ("info", "received stop request"),
        ("eror", "terminating with error"),
        ("crit", "command failed"),
    ]
    library = Library().feed_all(out)
    assert CODE.findall(library.startup_error) == ["ERR_NGROK_107"]
    assert re.search(r"\\r\\n\\r\\nERR_NGROK_107\\r\\n", out[-1])
    stderr = process.text("err")
    assert NODE_ERROR.findall(stderr)
    assert CODE.findall(stderr) == ["ERR_NGROK_107"]
    assert "unknown-token-of-somebody" not in process.text()


def test_b1_a_refused_endpoint_ends_the_agent_with_these_records(agents: Agents, upstream: HttpUpstream) -> None:
    agents.http(upstream.url, url="http://taken.localhost").up()
    second = agents.http(upstream.url, url="http://taken.localhost").process
    assert second.wait() == 1
    told = [record["msg"] for record in second.records() if record["lvl"] != "debug"]
    assert told[-7:] == [
        "tunnel session started",
        "session closing",
        "accept failed",
        "no more state changes",
        "received stop request",
        "terminating with error",
        "command failed",
    ]
    closing = second.wait_for("session closing")
    assert closing["err"].startswith("failed to start tunnel: ")
    assert CODE.findall(closing["err"]) == ["ERR_NGROK_334"]


def test_b1_a_lost_edge_and_its_return_are_told(edge: Edge, agents: Agents, upstream: HttpUpstream) -> None:
    agent = agents.http(upstream.url, url="http://back.localhost")
    agent.up()
    since = agent.process.position
    edge.kill()
    lost = agent.process.wait_for("session closed, starting reconnect loop", since)
    assert (lost["lvl"], lost["obj"]) == ("eror", "tunnels.session")
    failed = agent.process.wait_for("failed to reconnect session", since)
    assert failed["lvl"] == "eror"
    assert "refused" in failed["err"]
    edge.restart()
    agent.process.wait_for("tunnel session started", since)
    again = agent.process.wait_for("started tunnel", since)
    assert again["lvl"] == "debug", "wrappers count these"


# === formats


def test_b1_libraries_scripts_and_extensions_find_what_they_look_for(agents: Agents, upstream: HttpUpstream) -> None:
    lines = served(agents, upstream, "--log=stdout")
    library = Library().feed_all(lines)
    assert library.has_client
    assert library.has_session
    assert library.startup_error == ""
    (started,) = [line for line in lines if "started tunnel" in line]
    name, addr, url = ENDPOINT.findall(started)[0]
    assert (name, addr) == ("command_line", upstream.url)
    assert URL.findall(started) == [url]
    assert eighth_field(started) == url
    assert len(started) < 256, "some read no more at once"


def test_b1_of_two_schemes_the_plain_one_has_the_first_record(alone: Agents, upstream: HttpUpstream) -> None:
    agent = alone.http(upstream.url, "--scheme", "http,https")
    plain, secure = agent.up(2)
    assert (urlsplit(plain).scheme, urlsplit(secure).scheme) == ("http", "https")
    assert urlsplit(plain).hostname == urlsplit(secure).hostname


def test_b1_json_records_are_objects_with_sorted_keys(agents: Agents, upstream: HttpUpstream) -> None:
    lines = served(agents, upstream, "--log", "stdout", "--log-format", "json", "--log-level", "debug")
    records = [json.loads(line) for line in lines]
    for line, record in zip(lines, records, strict=True):
        assert list(record) == sorted(record)
        assert {"t", "lvl", "msg"} <= record.keys()
        assert line == json.dumps(record, separators=(",", ":"), ensure_ascii=False)
        assert TIME.fullmatch(record["t"])
    (started,) = [record for record in records if record["msg"] == "started tunnel"]
    assert list(started) == ["addr", "lvl", "msg", "name", "obj", "t", "url"]
    (closing,) = [record for record in records if record["msg"] == "session closing"]
    assert closing["err"] == "<nil>"


def test_a_pipe_gets_logfmt_and_a_terminal_columns(
    agents: Agents, edge: Edge, upstream: HttpUpstream, terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    lines = served(agents, upstream, "--log", "stdout", "--log-format", "term")
    assert all(logs.parse(line) for line in lines)

    env = {**isolated(tmp_path), **edge.agent_env()}
    file = tmp_path / "a\x1b[2Jb.yml"  # a record has its path
    file.write_text("version: 3\n")
    argv = [*portway(), "http", upstream.url, "--log", "stdout", "--config", str(file)]
    terminal = terminals(*argv, env={**env, "NO_COLOR": "1"}, columns=300)
    text = terminal.wait("its URL", lambda text: "started tunnel" in text)
    lines = [line for line in text.splitlines() if line]
    assert all(TERM_LINE.match(line) for line in lines), text
    assert "[2Jb.yml" in text
    assert b"\x1b" not in terminal.raw
    (started,) = [line for line in lines if "started tunnel" in line]
    assert started.index("obj=tunnels") == len("INFO[11-25|10:00:00] ") + 41

    coloured = terminals(*argv, env=env, columns=300)
    coloured.wait("its URL", lambda text: "started tunnel" in text)
    assert b"\x1b[32mINFO\x1b[0m[" in coloured.raw


def test_a_name_with_anything_in_it_stays_on_one_line(agents: Agents, upstream: HttpUpstream, tmp_path: Path) -> None:
    name = 'it\'s "all" = \\ ünïcode'
    agent = agents.http(upstream.url, "--name", name)
    started = agent.process.wait_for("started tunnel")
    assert started["name"] == name
    Library().feed_all(ended(agent.process))


@pytest.mark.parametrize(
    ("level", "levels"),
    [
        ("debug", {"debug", "info", "eror"}),
        ("info", {"info", "eror"}),
        ("error", {"eror"}),
        ("eror", {"eror"}),
        ("crit", set()),
    ],
)
def test_a_level_hides_what_is_below_it(level: str, levels: set[str], edge: Edge, agents: Agents) -> None:
    process = agents.run("http", "80", "--log", "stdout", "--log-level", level, log=False)
    edge.process.wait_for("endpoint bound")
    if level in ("debug", "info"):
        process.wait_for("started tunnel")
    edge.kill()
    if level != "crit":
        process.wait_for("failed to reconnect session")
    edge.restart()
    edge.process.wait_for("endpoint bound")
    if level == "debug":
        process.wait_for("started tunnel", lvl="debug")
    process.signal(SIGTERM)
    assert process.wait() == 0
    assert {record["lvl"] for record in process.records()} == levels


# === targets


def test_without_a_log_nothing_is_written(edge: Edge, agents: Agents, upstream: HttpUpstream) -> None:
    process = agents.run("http", upstream.url, "--log=false", log=False)
    edge.process.wait_for("endpoint bound")
    process.signal(SIGTERM)
    assert process.wait() == 0
    assert process.text() == ""


def test_a_file_gets_the_records_and_nobody_else_may_read_it(
    agents: Agents, upstream: HttpUpstream, tmp_path: Path
) -> None:
    log = tmp_path / "agent.log"
    for run in (1, 2):
        process = agents.run("http", upstream.url, "--log", str(log), log=False)
        until("the record", partial(told_so_often, log, run))
        process.signal(SIGTERM)
        assert process.wait() == 0
        assert process.text() == "", "nothing but the file"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert all(logs.parse(line) for line in log.read_text().splitlines())


def told_so_often(log: Path, times: int) -> bool:
    return log.exists() and log.read_text().count("started tunnel") == times


def test_stderr_gets_the_records_when_asked(agents: Agents, upstream: HttpUpstream) -> None:
    process = agents.run("http", upstream.url, "--log", "stderr", log=False)
    process.wait_for("started tunnel")
    process.signal(SIGTERM)
    process.wait()
    assert process.text("out") == ""
    assert all(logs.parse(line) for line in process.text("err").splitlines())


def test_console_ui_false_means_a_log_on_stdout(agents: Agents, upstream: HttpUpstream, tmp_path: Path) -> None:
    file = tmp_path / "c.yml"
    file.write_text("version: 3\nagent: {console_ui: false}\n")
    process = agents.run("http", upstream.url, "--config", str(file), log=False)
    process.wait_for("started tunnel")
    assert all(logs.parse(line) for line in ended(process))


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_b1_a_record_is_one_write(form: str, edge: Edge, upstream: HttpUpstream, tmp_path: Path) -> None:
    """A socket that keeps writes apart stands in for a reader with a small buffer."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    agent = subprocess.Popen(
        [*portway(), "start", "--none", "--log", "stdout", "--log-format", form, "--log-level", "debug"],
        env={**os.environ, **isolated(tmp_path), **edge.agent_env()},
        stdout=theirs.fileno(),
    )
    theirs.close()
    writes: list[bytes] = []
    with ours:
        while not writes or b"tunnel session started" not in writes[-1]:
            writes.append(ours.recv(1 << 16))
            assert writes[-1], writes
        agent.terminate()
        while write := ours.recv(1 << 16):
            writes.append(write)
    assert agent.wait(30) == 0
    assert len(writes) > 5
    assert all(write.endswith(b"\n") and write.count(b"\n") == 1 for write in writes), writes


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("log", ["", "--log=stdout"])
def test_an_agent_serves_with_its_streams_closed(
    closed: str, log: str, edge: Edge, upstream: HttpUpstream, tmp_path: Path
) -> None:
    command_line = f"exec {' '.join(portway())} http {upstream.url} --url http://closed.localhost {log} {closed}"
    agent = subprocess.Popen(
        ["sh", "-c", command_line], env={**os.environ, **isolated(tmp_path), **edge.agent_env()}, stdout=subprocess.PIPE
    )
    edge.process.wait_for("endpoint bound")
    with Visitor(edge, f"http://closed.localhost:{edge.http[1]}") as visitor:
        until("it serves", lambda: visitor.get("/bytes/3").body == BLOCK[:3])
    agent.terminate()
    agent.communicate(timeout=30)
    assert agent.returncode == 0


SECRETS = """
version: 3
agent: {{authtoken: {token}, api_key: api-key-s3cr3t, metadata: public}}
endpoints:
  - name: vault
    url: tls://vault.localhost
    agent_tls_termination: {{server_certificate: {cert}, server_private_key: {key}}}
    upstream: {{url: 80}}
tunnels:
  guarded:
    proto: http
    addr: {upstream}
    schemes: [http]
    basic_auth: ["ann:password-s3cr3t"]
    verify_webhook: {{provider: github, secret: hook-s3cr3t}}
    request_header: {{add: ["authorization: Bearer header-s3cr3t"]}}
"""


@pytest.fixture
def secretive(edge: Edge, agents: Agents, upstream: HttpUpstream, tmp_path: Path) -> Process:
    """An agent that has every kind of secret from a file, with the log that tells most."""
    pair = Authority(tmp_path).pair("s.localhost")
    file = tmp_path / "c.yml"
    file.write_text(SECRETS.format(token=edge.token, cert=pair.cert, key=pair.key, upstream=upstream.url))
    process = agents.run("start", "--all", "--config", str(file), env={"PORTWAY_AUTHTOKEN": ""})
    process.wait_for("started tunnel", name="guarded")
    process.wait_for("started tunnel", name="vault")
    return process


def test_no_secret_is_ever_logged(secretive: Process, edge: Edge, tmp_path: Path) -> None:
    ended(secretive)
    key = next(tmp_path.rglob("*.key")).read_text().splitlines()[1]
    shown = secretive.text() + edge.process.text().replace(edge.join, "")
    for secret in (edge.token, "s3cr3t", key):
        assert secret not in shown


def test_no_secret_of_a_file_shows_in_the_process(secretive: Process, edge: Edge) -> None:
    assert b"run_agent" in proc(secretive, "cmdline")
    shown = proc(secretive, "cmdline") + proc(secretive, "environ")
    for secret in (edge.token, "s3cr3t"):
        assert secret.encode() not in shown


def test_a_token_of_a_flag_does_not_stay_in_the_arguments(alone: Agents, edge: Edge) -> None:
    env = {**edge.agent_env(), "PORTWAY_AUTHTOKEN": ""}
    process = alone.run("start", "--none", "--authtoken", edge.token, env=env)
    process.wait_for("tunnel session started")
    assert edge.token.encode() not in proc(process, "cmdline") + proc(process, "environ")
    assert edge.token not in process.text()


def proc(process: Process, name: str) -> bytes:
    return Path(f"/proc/{process.pid}/{name}").read_bytes()


def test_what_runs_is_rust_and_a_bare_interpreter(agents: Agents) -> None:
    """What the command line needed is gone from memory (design, decision 2)."""
    process = agents.run("start", "--none")
    process.wait_for("tunnel session started")
    mapped = {line.split()[5] for line in proc(process, "maps").decode().splitlines() if len(line.split()) > 5}
    files = {Path(name).name for name in mapped if name.startswith("/")}
    assert [name for name in files if name.startswith("_core")]
    for stray in ("yaml", "typer", "_ssl", "_json", "_socket", "_hashlib", "pyexpat", "libyaml", "_ctypes"):
        assert not [name for name in files if stray in name], files
    assert not [file for file in process.files() if "portway-plan" in file]
