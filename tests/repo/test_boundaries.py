"""The boundaries of ARCHITECTURE.md: who may know whom. Read from the sources, so quick."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.need import ROOT

RUST = ROOT / "rust"
PYTHON = ROOT / "python" / "portway"

# Crate -> the crates of ours it may know.
ARROWS = {
    "mux": set(),
    "wire": set(),
    "logs": set(),
    "policy": {"wire"},
    "agent": {"mux", "wire"},
    "edge": {"mux", "wire", "policy"},
    "load": set(),
    "py": {"agent", "edge", "load", "logs"},
}


def dependencies(crate: str, *, tests: bool = True) -> set[str]:
    sections = re.split(r"^\[(.*)\]$", (RUST / crate / "Cargo.toml").read_text(), flags=re.MULTILINE)
    kinds = ("dependencies", "build-dependencies", *(("dev-dependencies",) if tests else ()))
    named = zip(sections[1::2], sections[2::2], strict=True)
    return {name for kind, rows in named if kind in kinds for name in re.findall(r"^([\w-]+)", rows, re.MULTILINE)}


def sources(crate: str) -> Iterator[tuple[Path, str]]:
    """What a crate is made of, without comments and the tests at the end of its files."""
    for path in sorted((RUST / crate / "src").rglob("*.rs")):
        yield path.relative_to(RUST), re.sub(r"//.*", "", path.read_text()).split("#[cfg(test)]")[0]


def found(crate: str, pattern: str) -> list[str]:
    return [f"{path}: {hit}" for path, text in sources(crate) for hit in re.findall(pattern, text)]


# === crates


def test_every_crate_has_its_place() -> None:
    assert {path.parent.name for path in RUST.glob("*/Cargo.toml")} == set(ARROWS)


@pytest.mark.parametrize("crate", ARROWS)
def test_a_crate_knows_only_those_below_it(crate: str) -> None:
    ours = {name.removeprefix("portway-") for name in dependencies(crate) if name.startswith("portway-")}
    assert ours == ARROWS[crate]


@pytest.mark.parametrize(
    ("crate", "strangers"),
    [
        ("mux", {"rustls", "tokio-rustls", "hyper", "http", "serde", "serde_json"}),
        ("wire", {"tokio", "tokio-util", "hyper", "rustls", "socket2"}),
        ("policy", {"tokio", "tokio-util", "hyper", "rustls", "socket2"}),
        ("agent", {"pyo3", "rcgen"}),
        ("edge", {"pyo3", "regex", "crossterm"}),
        ("load", {"pyo3", "tracing", "rcgen"}),
    ],
)
def test_a_crate_has_no_use_for_the_libraries_of_others(crate: str, strangers: set[str]) -> None:
    assert dependencies(crate, tests=False) & strangers == set()


@pytest.mark.parametrize("crate", ["wire", "policy"])
def test_messages_and_decisions_touch_no_socket_and_no_file(crate: str) -> None:
    assert (
        found(crate, r"\b(?:Tcp|Udp|Unix)(?:Stream|Listener|Socket|Datagram)\b|std::(?:fs|process|env)\b|\basync fn\b")
        == []
    )


def test_the_multiplexer_opens_nothing_itself() -> None:
    assert found("mux", r"tokio::(?:net|fs|process)\b|std::(?:net|fs)\b|tokio::spawn") == []


def test_frames_windows_and_turns_know_neither_a_transport_nor_the_time() -> None:
    parts = {name: (RUST / "mux" / "src" / f"{name}.rs").read_text() for name in ("frame", "window", "sched")}
    assert [name for name, text in parts.items() if re.search(r"tokio::(?!time::Instant;)|::now\(", text)] == []


def test_the_multiplexer_keeps_the_time_that_tests_can_stop() -> None:
    assert found("mux", r"std::time::(?:Instant|SystemTime|\{[^}]*Instant)") == []


def test_only_the_driver_moves_the_bytes_of_a_session() -> None:
    inside = [path.name for path, text in sources("mux") if "self.transport)" in text]
    assert inside == ["drive.rs"]
    core = sorted((RUST / "mux" / "src" / "session").glob("*.rs"))
    assert core
    assert [path.name for path in core if re.search(r"AsyncRead|AsyncWrite|\.await\b", path.read_text())] == []


def test_agent_and_edge_are_joined_in_one_place() -> None:
    both = [str(path) for path, text in sources("py") if "portway_edge::" in text and "portway_agent::" in text]
    assert "py/src/agent.rs" in both
    assert [path for path, text in sources("py") if "Edge::embedded" in text] == [Path("py/src/agent.rs")]


def test_what_python_sends_is_read_strictly() -> None:
    """Every table that can come from a plan refuses keys it does not know."""
    for path in ("agent/src/plan.rs", "edge/src/config.rs", "load/src/plan.rs", "py/src/edge.rs"):
        text = (RUST / path).read_text()
        for attributes, name in re.findall(r"((?:#\[[^\]]*\]\s*)+)(?:pub(?:\(crate\))? )?struct (\w+) \{", text):
            if "Deserialize" in attributes:
                assert "deny_unknown_fields" in attributes, f"{path}: {name}"


def test_every_code_that_is_used_is_in_the_table() -> None:
    known = set(re.findall(r"\n    \((\d+),", (RUST / "wire" / "src" / "codes" / "table.rs").read_text()))
    assert len(known) > 100
    for crate in ("wire", "policy", "agent", "edge"):
        used = {hit.rpartition(": ")[2] for hit in found(crate, r"\bCode\((\d+)\)")}
        assert used <= known, crate


def test_unsafe_code_comes_with_its_proof() -> None:
    for crate in ARROWS:
        for path in (RUST / crate / "src").rglob("*.rs"):
            lines = path.read_text().splitlines()
            for number, line in enumerate(lines):
                if re.search(r"\bunsafe \{", line):
                    before = "\n".join(lines[max(0, number - 6) : number])
                    assert "SAFETY" in before, f"{path.relative_to(ROOT)}:{number + 1}"


# === Python


def imports(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("portway"):
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("portway"))


def layer(module: str) -> str:
    return ".".join(module.split(".")[:2])


# What makes the program of the parts below it.
PROGRAM = {"portway.cli", "portway.bench", "portway.__main__", "portway.demo"}


@pytest.mark.parametrize(
    ("below", "above"),
    [
        ("config", {*PROGRAM, "portway.api", "portway.launch"}),
        ("api", {*PROGRAM, "portway.launch", "portway.update", "portway.service"}),
        ("launch.py", {*PROGRAM, "portway.api", "portway.config"}),
        ("demo.py", {"portway.cli", "portway.config", "portway.launch"}),
        ("bench", {*PROGRAM - {"portway.bench"}, "portway.config"}),
    ],
)
def test_a_layer_of_python_knows_only_those_below_it(below: str, above: set[str]) -> None:
    place = PYTHON / below
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    assert files
    for file in files:
        assert {layer(module) for module in imports(file)} & above == set(), file.relative_to(ROOT)


def test_nobody_imports_the_core_but_the_process_that_becomes_it() -> None:
    for file in PYTHON.rglob("*.py"):
        assert [name for name in imports(file) if name.startswith("portway._core")] == [], file.relative_to(ROOT)
