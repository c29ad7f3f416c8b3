"""The reference pages have everything there is, and nothing else."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP

import pytest

from harness import ports
from harness.agents import Agents
from harness.edge import Edge, isolated
from harness.local import local
from harness.need import ROOT
from harness.pages import code, tables
from harness.process import Process, portway
from portway.config import edge_file, schema, values


def test_every_key_of_the_edges_file_is_told() -> None:
    told = tables("docs/reference/edge.md")
    keys = {key for row in told["edge.yml"] for key in code(row[0])}
    assert keys == {*edge_file.TOP, *edge_file.LISTS}
    assert {key for row in told["Limits"] for key in code(row[0])} == set(edge_file.LIMITS)


def rust_value(text: str) -> int:
    """A number, or a duration in nanoseconds, of the source."""
    duration = re.fullmatch(r"Duration::from_(\w+)\((\d+)\)", text)
    if duration:
        unit = {"secs": "s", "mins": "m", "hours": "h", "millis": "ms"}[duration[1]]
        return values.duration(duration[2] + unit)
    shifted = re.fullmatch(r"(\d+) << (\d+)", text)
    if shifted:
        return int(shifted[1]) << int(shifted[2])
    product = 1
    for factor in text.split(" * "):
        product *= int(factor)
    return product


def test_the_defaults_of_limits_are_those_of_the_edge() -> None:
    source = (ROOT / "rust" / "edge" / "src" / "config.rs").read_text()
    body = source.split("impl Default for Limits")[1].split("        Self {\n")[1].split("}")[0]
    defaults = {name: rust_value(text) for name, text in re.findall(r"(\w+): ([^,\n]+),", body)}
    told = {}
    for key, default, *_ in tables("docs/reference/edge.md")["Limits"]:
        read = values.duration if re.fullmatch(r"\d+(s|m|h|ms)", default) else values.integer
        told[key.strip("`")] = read(default)
    assert told == defaults


def test_every_metric_is_told_with_its_labels(edge: Edge) -> None:
    _, text = edge.ask("/metrics")
    there = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    told = {code(row[0])[0]: set(code(row[1])) for row in tables("docs/reference/edge.md")["Metrics"]}
    assert set(told) == there
    for name, labels in re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE):
        assert set(re.findall(r"(\w+)=", labels)) == told[name], name


def test_every_reason_to_refuse_a_connection_is_told(edge: Edge) -> None:
    _, text = edge.ask("/metrics")
    there = set(re.findall(r'reason="(\w+)"', text))
    rows = tables("docs/reference/edge.md")["Metrics"]
    (meaning,) = [row[2] for row in rows if "connections_refused" in row[0]]
    assert set(code(meaning)) == there


@pytest.mark.parametrize(
    ("heading", "keys"), [("Keys below agent", set(schema.AGENT)), ("Keys of an endpoint", set(schema.ENDPOINT))]
)
def test_every_key_of_the_agents_file_is_told(heading: str, keys: set[str]) -> None:
    text = (ROOT / "docs" / "guide" / "config.md").read_text()
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (found,) = [part for part in section if part.replace("`", "").startswith(heading)]
    rows = [line.split(" | ")[0] for line in found.splitlines() if line.startswith("| `")]
    without_effect = [line for line in re.split(r"\n\n", found) if "without effect" in line]
    told = {key for text in (*rows, *without_effect) for key in code(text)}
    assert {key.partition(".")[0] for key in told} == keys
    if heading.endswith("endpoint"):
        assert {key.partition(".")[2] for key in told if "." in key} == set(schema.UPSTREAM)


def test_the_page_of_error_codes_is_the_table() -> None:
    path = ROOT / "docs" / "reference" / "errors.py"
    spec = importlib.util.spec_from_file_location("errors", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.page()
    assert page == path.with_suffix(".md").read_text(), "run docs/reference/errors.py"
    rows = (ROOT / "rust" / "wire" / "src" / "codes" / "table.rs").read_text().count("\n    (")
    assert page.count("| `ERR_NGROK_") == rows


def test_a_reload_names_what_the_page_says_it_cannot_take_up(tmp_path: Path) -> None:
    first, second = ports.block(), ports.block()
    path = tmp_path / "edge.yml"

    def settings(ours: list[int], name: str, number: int) -> dict[str, str]:
        return {
            **{
                key: f"127.0.0.1:{ours[n]}"
                for n, key in enumerate(("agent_addr", "http_addr", "https_addr", "api_addr"))
            },
            "tcp_ports": f"{ours[10]}-{ours[20]}",
            "domains": f"[{name}.test]",
            "data_dir": name,
            "certs_dir": name,
            "public_http_port": str(number),
            "public_https_port": str(number),
            "public_agent_addr": f"{name}.test:443",
            "connect_addresses": f"[{name}.test]",
            "crl_url": f"https://{name}.test/ca.crl",
            "threads": str(number),
            "proxy_protocol": f"{{http: {'true' if number == 1 else 'false'}}}",
            "tokens": f"[{{token: {name}-token}}]",
            "reserved": f"[{{name: {name}.test, token: {name}}}]",
            "reserved_only": "true" if number == 1 else "false",
            "labels": f"[{{match: {{a: {name}}}, url: 'https://{name}.test'}}]",
            "limits": f"{{drain: {number}s}}",
        }

    def write(said: dict[str, str]) -> None:
        path.write_text("".join(f"{key}: {value}\n" for key, value in said.items()))

    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    write(settings(first, "before", 1))
    argv = [*portway(), "edge", "--config", str(path), "--log", "stdout", "--log-format", "logfmt"]
    process = Process("edge", argv, env=isolated(tmp_path / "home"))
    try:
        process.wait_for("edge ready")
        write(settings(second, "after", 2))
        process.signal(SIGHUP)
        result = process.wait_for("configuration reloaded")["result"]
    finally:
        process.stop()
    named = set(re.findall(r"(\w+) has changed", result))
    rows = [row for row in tables("docs/reference/edge.md")["edge.yml"] if "`log`" not in row[0]]
    told = {code(row[0])[0]: row[3] == "yes" for row in rows}
    assert set(told) == set(settings(first, "any", 1))
    assert named == {key for key, taken_up in told.items() if not taken_up}


LOCAL = "docs/reference/local-api.md"


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Agents]:
    agents = Agents(tmp_path)
    yield agents
    agents.stop()


def test_the_routes_of_the_local_interface_are_told_with_their_methods(alone: Agents) -> None:
    api = local(alone.agent("start", "--none"))
    told = [row for row in tables(LOCAL)["Routes"] if code(row[0])]
    assert len(told) == 8
    for row in told:
        (path,) = code(row[0])
        answer = api.ask("PATCH", path)
        assert answer.status == 405, path
        allowed = set(answer.headers["allow"].split(", "))
        assert allowed == {*code(row[1]), "HEAD"}, path


def test_the_keys_of_the_local_interface_are_told(alone: Agents, tmp_path: Path) -> None:
    told = {title: {key for row in rows for key in code(row[0])} for title, rows in tables(LOCAL).items()}
    agent = alone.http(f"file://{tmp_path}", "--description", "d", "--metadata", "m")
    api = local(agent)
    agent.get("/")
    (captured,) = api.get("/api/requests/http")["requests"]
    found = {
        "Status": api.get("/api/status"),
        "Endpoint": api.get("/api/endpoints/command_line"),
        "Tunnel": api.get("/api/tunnels/command_line"),
        "Figures": api.get("/api/tunnels/command_line")["metrics"]["conns"],
        "Captured request": captured,
    }
    # What is there now and then.
    optional = {
        "Endpoint": {"traffic_policy", "labels"},
        "Tunnel": {"labels"},
        "Captured request": {"note", "replay_of"},
    }
    for title, there in found.items():
        assert told[title] - optional.get(title, set()) == set(there), title
    rows = {row[0]: set(code(row[1])) for row in tables(LOCAL)["Captured request"]}
    assert set(captured["request"]) == rows["`request`"]
    assert set(captured["response"]) == rows["`response`"] - {"null"}
