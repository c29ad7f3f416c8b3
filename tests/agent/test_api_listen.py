"""Where the local HTTP interface listens, and who may ask it (agent-api.md §1, §2, §9 cases 1, 7, 8)."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from signal import SIGINT

import pytest

from harness import ports
from harness.agents import Agent, Agents
from harness.edge import isolated
from harness.local import JSON, LocalApi, local
from harness.network import Network
from harness.process import portway
from harness.raw import RawVisitor
from harness.terminal import Terminal
from harness.upstreams import HttpUpstream

Start = Callable[..., Agent]


@pytest.fixture
def start(alone: Agents) -> Start:
    """An agent without endpoints; its settings are lines of `agent:`."""

    def run(settings: str = "{}", *arguments: str, within: Sequence[str] = ()) -> Agent:
        path = alone.home / f"agent-{len(alone.started)}.yml"
        path.write_text(f"version: 3\nagent: {settings}\n")
        return Agent(alone.run("start", "--none", "--config", str(path), *arguments, within=within), alone.edge)

    return run


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


class Held:
    """A network where some ports are taken for sure: in the common one agents of other tests come and go."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.listeners: list[socket.socket] = []

    def take(self, *ports: int) -> None:
        for port in ports:
            self.listeners.append(self.network.run(partial(socket.create_server, ("127.0.0.1", port))))


@pytest.fixture
def held(alone: Agents) -> Iterator[Held]:
    held = Held(Network())
    yield held
    alone.stop()
    for listener in held.listeners:
        listener.close()
    held.network.stop()


# === where it is


def test_a1_b3_where_the_usual_port_is_taken_it_is_the_next_free_one(start: Start, held: Held) -> None:
    held.take(4040)
    found = [local(start(within=held.network.within)) for _ in range(2)]
    assert [api.port for api in found] == [4041, 4042]
    for api in found:
        assert api.addr.startswith("127.0.0.1:")
        assert held.network.run(partial(api.get, "/api"))["uri"] == "/api"


def test_the_search_passes_over_a_port_that_browsers_refuse(start: Start, held: Held) -> None:
    held.take(*range(4040, 4045))
    assert local(start(within=held.network.within)).port == 4046


def test_a1_b3_a_port_that_was_asked_for_is_had_or_the_agent_ends(start: Start, taken: int) -> None:
    process = start(f'{{web_addr: "127.0.0.1:{taken}"}}').process
    assert process.wait() == 1
    told = [record for record in process.records() if record["lvl"] != "debug"]
    assert [record["msg"] for record in told][-2:] == ["terminating with error", "command failed"]
    assert (told[-2]["lvl"], told[-2]["obj"], told[-1]["lvl"]) == ("eror", "app", "crit")
    for record in told[-2:]:
        assert f"listen tcp 127.0.0.1:{taken}: bind: address already in use" in record["err"]
    assert "starting web service" not in process.text()
    assert "client session established" not in process.text()
    assert f"ERROR:  listen tcp 127.0.0.1:{taken}: bind: address already in use" in process.text("err")


def test_a1_the_usual_address_spelled_out_is_asked_for_too(start: Start, held: Held) -> None:
    held.take(4040)
    process = start('{web_addr: "127.0.0.1:4040"}', within=held.network.within).process
    assert process.wait() == 1
    assert "127.0.0.1:4040: bind: address already in use" in process.text("err")


def test_it_is_there_before_it_is_told_and_told_before_the_session(start: Start) -> None:
    agent = start()
    api = local(agent)
    assert api.ask("GET", "/api/tunnels").status == 200
    agent.process.wait_for("tunnel session started")
    told = [record["msg"] for record in agent.process.records()]
    wanted = ["starting web service", "client session established", "tunnel session started"]
    assert [msg for msg in told if msg in wanted] == wanted
    record = agent.process.wait_for("starting web service")
    assert list(record)[3:] == ["obj", "addr", "allow_hosts"]
    assert (record["obj"], record["allow_hosts"]) == ("web", "[]")


def test_the_record_as_json_has_a_list_of_hosts(alone: Agents, tmp_path: Path) -> None:
    config = tmp_path / "hosts.yml"
    config.write_text("version: 3\nagent: {web_allow_hosts: [a.test, .b.test]}\n")
    process = alone.run(
        "start", "--none", "--config", str(config), "--log", "stdout", "--log-format", "json", log=False
    )
    line = process.wait_line("its address", lambda line: line if "starting web service" in line else None)
    record = json.loads(line)
    assert record["allow_hosts"] == ["a.test", ".b.test"]
    assert list(record) == sorted(record)
    process.signal(SIGINT)
    assert process.wait() == 0


@pytest.mark.parametrize("asked", ["127.0.0.1:0", ":0", "0", "localhost:0"])
def test_port_0_is_a_free_port_of_this_machine(start: Start, asked: str) -> None:
    api = local(start(f'{{web_addr: "{asked}"}}'))
    assert api.host == "127.0.0.1"
    assert api.get("/api/status")["uri"] == "/api/status"


def test_localhost_is_both_families(start: Start) -> None:
    port = ports.block()[0]
    api = local(start(f'{{web_addr: "localhost:{port}"}}'))
    assert api.addr == f"127.0.0.1:{port}"
    if "::1" in [str(found[4][0]) for found in socket.getaddrinfo("localhost", None)]:
        with RawVisitor(socket.create_connection(("::1", port), 10)) as raw:
            raw.send(f"GET /api HTTP/1.1\r\nHost: [::1]:{port}\r\n\r\n".encode())
            assert raw.response().status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_all_interfaces_are_one_listener_and_any_host(start: Start, host: str) -> None:
    port = ports.block()[0]
    api = local(start(f'{{web_addr: "{host}:{port}"}}'))
    assert api.addr == f"{host}:{port}"
    assert api.ask("GET", "/api/tunnels", headers={"Host": "agent:4040"}).status == 200


def test_false_is_no_interface(agents: Agents, tmp_path: Path) -> None:
    config = tmp_path / "agent.yml"
    config.write_text("version: 3\nagent: {web_addr: false}\n")
    agent = agents.agent("start", "--none", "--config", str(config))
    agent.process.wait_for("tunnel session started")
    assert "starting web service" not in agent.process.text()
    assert not agent.process.listening()
    with_one = agents.agent("start", "--none")
    port = local(with_one).port
    assert with_one.process.listening() == {f"0100007F:{port:04X}"}


def test_the_screen_shows_its_address(
    alone: Agents, upstream: HttpUpstream, terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = terminals(*portway(), "http", upstream.url, env=isolated(tmp_path / "home"))
    row = re.compile(r"^Web Interface {17}http://127\.0\.0\.1:4\d\d\d$", re.MULTILINE)
    terminal.wait("the address", lambda text: bool(row.search(text)))


# === who may ask (case 7)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    agents = Agents(tmp_path_factory.mktemp("shared"))
    yield local(agents.agent("start", "--none"))
    agents.stop()


def status(api: LocalApi, host: str, method: str = "GET", path: str = "/api/tunnels", **headers: str) -> int:
    return api.ask(method, path, headers={"Host": host, **headers}).status


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:4040", "localhost.", "127.0.0.1", "127.8.8.8:1", "[::1]:4040", "[::1]", "x.localhost"],
)
def test_a7_names_of_this_machine_are_answered(shared: LocalApi, host: str) -> None:
    assert status(shared, host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:4040", "localhost.evil.test", "10.1.2.3", "[2001:db8::1]:4040", "127.0.0.1.nip.test"],
)
def test_a7_a_name_that_was_led_here_is_refused_and_told_why(shared: LocalApi, host: str) -> None:
    for path in ("/api/tunnels", "/api", "/", "/status", "/nothing"):
        answer = shared.ask("GET", path, headers={"Host": host})
        assert answer.status == 403
        error = answer.json
        assert (error["error_code"], error["status_code"], error["msg"]) == (100, 403, "forbidden")
        assert "web_allow_hosts" in error["details"]["err"]
        assert host.partition(":4040")[0].strip("[]") in error["details"]["err"]


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        ("agent.test", ["x.agent.test", "agent.test.evil"]),
        (".agent.test", ["agent.test", "xagent.test"]),
        ("10.1.0.0/16", ["10.2.0.1"]),
        ("192.0.2.7", ["192.0.2.8"]),
        ("2001:db8::/32", ["[2001:db9::1]"]),
        ("bücher.test", ["bucher.test"]),
    ],
)
def test_a7_a_list_adds_to_the_names_of_this_machine(start: Start, allowed: str, refused: list[str]) -> None:
    named = {
        ".agent.test": "deep.x.Agent.test:4040",
        "10.1.0.0/16": "10.1.2.3",
        "2001:db8::/32": "[2001:db8::9]:4040",
        "bücher.test": "xn--bcher-kva.test",
    }.get(allowed, allowed)
    api = local(start(f'{{web_allow_hosts: ["{allowed}"], web_addr: "127.0.0.1:0"}}'))
    assert status(api, named) == 200
    assert status(api, "localhost") == 200
    assert [status(api, host) for host in refused] == [403] * len(refused)


def test_a7_beyond_this_machine_a_list_is_the_limit(start: Start) -> None:
    api = local(start('{web_addr: "0.0.0.0:0", web_allow_hosts: [agent]}'))
    assert (status(api, "agent:4040"), status(api, "localhost"), status(api, "evil.test")) == (200, 200, 403)


def test_a7_one_host_and_no_other(shared: LocalApi) -> None:
    def answered(head: str) -> int:
        with RawVisitor(socket.create_connection((shared.host, shared.port), 10)) as raw:
            raw.send(head.replace("\n", "\r\n").encode())
            return raw.response().status

    assert answered("GET /api HTTP/1.0\n\n") == 400
    assert answered("GET /api HTTP/1.1\n\n") == 400
    assert answered("GET /api HTTP/1.1\nHost: localhost\nHost: localhost\n\n") == 400
    assert answered("GET http://evil.test/api HTTP/1.1\nHost: localhost\n\n") in (400, 403)
    assert answered("GET /api HTTP/1.0\nHost: localhost\n\n") == 200


def test_a7_an_endpoint_that_leads_to_it_may_be_looked_at_through(alone: Agents) -> None:
    port = ports.block()[0]
    path = alone.home / "mirror.yml"
    path.write_text(
        f'version: 3\nagent: {{web_addr: "127.0.0.1:{port}"}}\n'
        f'endpoints: [{{name: mirror, url: "http://mirror.localhost", upstream: {{url: {port}}}}}]\n'
    )
    agent = alone.agent("start", "--all", "--config", str(path))
    for page in ("/api/status", "/status", "/api/tunnels"):
        assert agent.get(page).status == 200, page
    with agent.visitor() as visitor:
        assert visitor.ask("DELETE", "/api/tunnels/mirror").status == 403
        assert visitor.ask("POST", "/api/tunnels", body=b"{}", headers=JSON).status == 403
    assert local(agent).names() == ["mirror"]
    assert status(local(agent), "other.localhost.test") == 403


# === pages of other sites (case 8)


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
@pytest.mark.parametrize(
    "told",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a8_what_other_sites_send_changes_nothing(shared: LocalApi, method: str, told: dict[str, str]) -> None:
    answer = shared.ask(method, "/api/tunnels", {}, headers={"Host": f"localhost:{shared.port}", **told})
    assert (answer.status, answer.json["msg"]) == (403, "forbidden")


def test_a8_nobody_elses_page_may_read_an_answer(shared: LocalApi) -> None:
    answer = shared.ask("GET", "/api/tunnels", headers={"Origin": "https://evil.test"})
    assert answer.status == 200
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert shared.ask("OPTIONS", "/api/tunnels").status == 405


# === conventions


def test_what_is_not_there_is_an_error_object(shared: LocalApi) -> None:
    for path, told in {
        "/api/nothing": "there is nothing at this path; /api names what there is",
        "/api/tunnels/no%20body": 'no endpoint is called "no body"',
        "/api/endpoints/nobody/": 'no endpoint is called "nobody"',
        "/api/requests/http/nothing": "no captured request has this id; it may have made room for newer ones",
        "/api/ui/requests/nothing": "no captured request has this id; it may have made room for newer ones",
        "/favicon.ico": "there is nothing at this path; /api names what there is",
        # What only begins like a route is none.
        "/api/tunnelss": "there is nothing at this path; /api names what there is",
        "/api/endpoints5": "there is nothing at this path; /api names what there is",
        "/api/requests/httpx": "there is nothing at this path; /api names what there is",
    }.items():
        answer = shared.ask("GET", path)
        assert answer.status == 404, path
        assert answer.headers["content-type"] == "application/json"
        assert answer.json == {
            "error_code": 100,
            "status_code": 404,
            "msg": "not found",
            "details": {"path": path, "err": told},
        }


@pytest.mark.parametrize("path", ["/api", "/api/status", "/api/tunnels", "/api/endpoints"])
def test_with_and_without_a_slash_and_head_are_the_same(shared: LocalApi, path: str) -> None:
    assert shared.ask("GET", path).status == 200
    assert shared.ask("GET", f"{path}/", headers={"Accept": "text/html,application/xml"}).json == shared.get(path)
    head = shared.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert shared.ask("GET", path, headers=JSON).status == 200
    wrong = shared.ask("PATCH", path)
    assert wrong.status == 405
    assert "GET" in wrong.headers["allow"]


def test_the_root_names_the_routes(shared: LocalApi) -> None:
    assert shared.get("/api") == {
        "uri": "/api",
        "status_uri": "/api/status",
        "tunnels_uri": "/api/tunnels",
        "endpoints_uri": "/api/endpoints",
        "requests_uri": "/api/requests/http",
    }
    assert shared.get("/api/tunnels") == {"tunnels": [], "uri": "/api/tunnels"}
    assert shared.get("/api/endpoints") == {"endpoints": [], "uri": "/api/endpoints"}


def test_each_request_has_its_two_records(shared: LocalApi) -> None:
    since = shared.process.position
    shared.ask("GET", "/api/tunnels/no%20body")
    end = shared.process.wait_for("end", since)
    begin = shared.process.wait_for("start", since)
    assert list(begin)[3:] == ["pg", "id"]
    assert list(end)[3:] == ["pg", "id", "status", "dur"]
    assert begin["pg"] == end["pg"] == "/api/tunnels/no%20body"
    assert begin["id"] == end["id"]
    assert re.fullmatch("[0-9a-f]{16}", end["id"])
    assert end["status"] == "404"
    assert re.fullmatch(r"[0-9.]+(ns|µs|ms|s)", end["dur"])


def test_people_who_open_it_get_a_page(shared: LocalApi) -> None:
    for path in ("/", "/inspect/http", "/status"):
        answer = shared.ask("GET", path)
        assert answer.status in (200, 302)
        assert "text/html" in (answer.headers["content-type"] or "text/html")
