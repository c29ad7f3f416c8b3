"""Upstreams of all kinds behind our own agent, beyond what a first URL needs (agent-behaviour.md §4, §5)."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from harness.agents import Agent, Agents
from harness.edge import address
from harness.namespace import seeing
from harness.process import PATIENCE, until
from harness.relay import NO_LINGER, BlackHole
from harness.tls import Authority
from harness.upstreams import BLOCK, Listening, Upstreams
from harness.visitor import Answer


def echoed(agent: Agent, said: bytes) -> bytes:
    """What a TCP endpoint in front of an echo sends back."""
    with socket.create_connection(address(agent.url.removeprefix("tcp://")), PATIENCE) as visitor:
        visitor.sendall(said)
        answer = b""
        while len(answer) < len(said) and (part := visitor.recv(1 << 16)):
            answer += part
        return answer


def ends_without_data(agent: Agent) -> bool:
    """Whether a TCP endpoint is closed before a byte has come."""
    with socket.create_connection(address(agent.url.removeprefix("tcp://")), PATIENCE) as visitor:
        return visitor.recv(1) == b""


def failure(agent: Agent) -> Answer:
    """The page of an upstream that cannot be reached."""
    answer = agent.get("/bytes/3")
    assert (answer.status, answer.code) == (502, "ERR_NGROK_8012"), answer.text
    return answer


def test_a_tls_upstream_gets_tls_from_the_agent(alone: Agents, upstreams: Upstreams, authority: Authority) -> None:
    echo = upstreams.echo(tls=authority.pair("127.0.0.1").serving())
    said = b"plain here, TLS there" * 10_000
    assert echoed(alone.tcp(f"tls://{echo.address}"), said) == said


def test_b14_an_https_upstream_is_verified_only_when_asked(
    alone: Agents, upstreams: Upstreams, authority: Authority
) -> None:
    https = upstreams.http(tls=authority.pair("127.0.0.1").serving())
    assert alone.http(https.url).get("/bytes/3").status == 200
    ours = alone.http(https.url, "--upstream-tls-verify", "--upstream-tls-verify-cas", str(authority.pem))
    assert ours.get("/bytes/3").status == 200
    refused = alone.http(https.url, "--upstream-tls-verify").get("/bytes/3")
    assert (refused.status, refused.code) == (502, "ERR_NGROK_8012")
    assert "certificate" in refused.text


def test_b14_who_leaves_an_upstream_that_never_answers_lets_it_go(alone: Agents, upstreams: Upstreams) -> None:
    http = upstreams.http()
    agent = alone.http(http.url)
    host = agent.url.removeprefix("http://")
    visitor = socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), PATIENCE)
    visitor.sendall(f"GET /slow HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    http.wait_waiting(1)
    visitor.close()
    http.wait_open(0)
    assert agent.get("/bytes/3").status == 200


class Resetting(Listening):
    """Takes a connection and breaks it off, once it has heard something."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        writer.transport.abort()


def test_b14_an_upstream_that_breaks_off_is_told_from_one_that_is_not_there(
    alone: Agents, upstreams: Upstreams
) -> None:
    upstream = Resetting(upstreams.loop)
    upstreams.made.append(upstream)
    answer = alone.http(upstream.address).get()
    assert (answer.status, answer.code) == (502, "ERR_NGROK_3004")
    agent = alone.tcp(upstream.address)
    with socket.create_connection(address(agent.url.removeprefix("tcp://")), PATIENCE) as visitor:
        visitor.sendall(b"hello")
        with suppress(ConnectionResetError):
            assert visitor.recv(1) == b""


def test_b14_a_tcp_endpoint_of_an_upstream_that_is_not_there_ends_without_data(
    alone: Agents, upstreams: Upstreams
) -> None:
    agent = alone.tcp(upstreams.refusing())
    assert ends_without_data(agent)
    told = agent.process.wait_for("failed to open private leg")
    assert list(told)[1:] == ["lvl", "msg", "id", "privaddr", "err"]
    assert "refused" in told["err"]


def test_b14_plain_http_to_a_tls_upstream_and_the_reverse(
    alone: Agents, upstreams: Upstreams, authority: Authority
) -> None:
    class Plain(Listening):
        """Answers a handshake as web servers do."""

        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1 << 16)
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    plain = Plain(upstreams.loop)
    upstreams.made.append(plain)
    secure = upstreams.http(tls=authority.pair("127.0.0.1").serving())
    told = failure(alone.http(f"https://{plain.address}"))
    assert "TLS failed" in told.text
    assert "use http:// instead of https://" in told.text
    answer = alone.http(f"http://{secure.address}").get("/bytes/3")
    assert (answer.status, answer.code) == (502, "ERR_NGROK_3004")


def test_b14_what_is_wrong_with_a_certificate_is_told_with_what_helps(
    alone: Agents, upstreams: Upstreams, authority: Authority
) -> None:
    elsewhere = upstreams.http(tls=authority.pair("elsewhere.test").serving())
    late = upstreams.http(tls=authority.expired("127.0.0.1").serving())
    for upstream, part in (
        (elsewhere, "its certificate is for another name"),
        (late, "renew its certificate"),
    ):
        agent = alone.http(upstream.url, "--upstream-tls-verify-cas", str(authority.pem))
        text = failure(agent).text
        assert "TLS failed" in text
        assert part in text
        assert "--upstream-tls-verify" in text


HOSTS = {"both": "::1 localhost\n127.0.0.1 localhost\n", "4 first": "127.0.0.1 localhost\n::1 localhost\n"}


@pytest.mark.parametrize("hosts", HOSTS.values(), ids=HOSTS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_b14_localhost_is_found_on_the_family_it_listens_on(
    host: str, hosts: str, alone: Agents, tmp_path: Path
) -> None:
    file = tmp_path / "hosts"
    file.write_text(hosts)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as only:
        only.settimeout(PATIENCE)
        where = str(only.getsockname()[1])
        agent = Agent(alone.run("http", where, within=seeing({"/etc/hosts": file})), None)
        with agent.visitor() as visitor:
            visitor.connection.request("GET", "/", headers={"Host": visitor.host})
            accepted, _ = only.accept()
            with accepted:
                accepted.recv(1 << 16)
                accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                assert visitor.connection.getresponse().read() == b"ok"
        shown = f"[{host}]" if ":" in host else host
        assert agent.process.wait_for("join connections")["l"] == f"{shown}:{where}"


@pytest.fixture
def hole() -> Iterator[BlackHole]:
    """Where every SYN is lost."""
    hole = BlackHole("127.0.0.8")
    yield hole
    hole.close()


def test_b14_an_address_that_swallows_everything_does_not_keep_from_the_next(
    alone: Agents, upstreams: Upstreams, hole: BlackHole, tmp_path: Path
) -> None:
    class Answering(Listening):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

        async def _start(self) -> None:
            self.port = hole.port
            await super()._start()

    upstreams.made.append(Answering(upstreams.loop))
    file = tmp_path / "hosts"
    file.write_text("127.0.0.1 localhost\n127.0.0.8 app.test\n127.0.0.1 app.test\n")
    agent = Agent(alone.run("http", f"app.test:{hole.port}", within=seeing({"/etc/hosts": file})), None)
    assert agent.get().body == b"ok"


@pytest.mark.slow
def test_b14_an_upstream_that_says_nothing_is_told_after_a_while(
    alone: Agents, upstreams: Upstreams, hole: BlackHole
) -> None:
    agent = alone.http(f"127.0.0.8:{hole.port}")
    assert "did not answer in time" in failure(agent).text
    silent = alone.http(f"https://{upstreams.recording().address}")
    assert "TLS failed: it did not answer in time" in failure(silent).text


def test_b14_a_name_that_is_none_and_a_socket_that_is_not_there_are_told(
    alone: Agents, upstreams: Upstreams, tmp_path: Path
) -> None:
    assert "the name nobody.invalid cannot be resolved" in failure(alone.http("nobody.invalid:80")).text
    missing = tmp_path / "missing.sock"
    told = failure(alone.http(f"unix://{missing}"))
    assert f"unix://{missing}: there is no such socket" in told.text
    assert ends_without_data(alone.tcp(f"unix://{missing}"))


def test_b14_a_unix_socket_is_an_upstream_of_tcp_too(alone: Agents, upstreams: Upstreams, tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"

    class Echo(Listening):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1 << 16):
                writer.write(data)

    upstreams.made.append(Echo(upstreams.loop, unix=path))
    assert echoed(alone.tcp(f"unix:{path}"), BLOCK) == BLOCK


def test_a_storm_of_failures_is_told_in_few_records(alone: Agents, upstreams: Upstreams) -> None:
    agent = alone.http(upstreams.refusing())
    agent.up()
    count = 200
    with ThreadPoolExecutor(16) as pool:
        assert {answer.status for answer in pool.map(lambda _: agent.get(), range(count))} == {502}

    def seen() -> tuple[int, int]:
        records = [r for r in agent.process.records() if r["msg"] == "failed to open private leg"]
        left_out = [int(record["suppressed"]) for record in records if "suppressed" in record]
        return len(records) - len(left_out), sum(left_out)

    def all_told() -> bool:
        """What was left out is told with the next failure of another second."""
        told, left_out = seen()
        if told + left_out < count:
            agent.get()
            return False
        return True

    until("each of them is told or counted", all_told)
    told, left_out = seen()
    seconds = {r["t"] for r in agent.process.records() if r["msg"] == "failed to open private leg"}
    assert left_out > 0
    assert told <= 10 * (len(seconds) + 1)


# === open files


def limited(agents: Agents, upstream: str, files: int) -> Agent:
    """An agent that may have so many files open."""
    return Agent(agents.run("http", upstream, within=["prlimit", f"--nofile={files}:{files}"]), agents.edge)


def test_at_its_limit_of_connections_an_agent_says_so_and_recovers(agents: Agents, upstreams: Upstreams) -> None:
    http = upstreams.http()
    agent = limited(agents, http.url, 80)  # 64 of these are kept for the agent itself
    with ExitStack() as stack:
        waiting = [stack.enter_context(agent.visitor()) for _ in range(16)]
        for visitor in waiting:
            visitor.connection.request("GET", "/slow", headers={"Host": visitor.host})
        http.wait_waiting(16)
        for _ in range(4):
            refused = agent.get("/bytes/3")
            assert (refused.status, refused.code) == (503, "ERR_NGROK_724")
        told = agent.process.wait_for("connection refused")
        assert (told["lvl"], told["limit"], told["err"]) == ("warn", "16", "too many open connections")
        http.release_when_waiting()
        assert {visitor.connection.getresponse().status for visitor in waiting} == {200}
    http.wait_open(0)
    until("it has room again", lambda: agent.get("/bytes/3").status == 200)
    assert [r["msg"] for r in agent.process.records()].count("connection refused") == 1, "once a minute is enough"


def test_without_a_file_left_an_agent_says_so_and_recovers(agents: Agents, upstreams: Upstreams) -> None:
    http = upstreams.http()
    agent = limited(agents, http.url, 200)
    agent.up()
    # Lower than it was when the agent looked: it may have no file beyond those it has.
    pid = agent.process.pid
    there = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    first_free = min(set(range(len(there) + 1)) - there)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (first_free, 200))
    refused = agent.get("/bytes/3")
    assert (refused.status, refused.code) == (502, "ERR_NGROK_8012")
    assert "too many files open" in refused.text
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (200, 200))
    assert agent.get("/bytes/3").status == 200
