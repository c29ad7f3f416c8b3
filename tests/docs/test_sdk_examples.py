"""The examples for the official SDKs, run as they stand in README.md but for address, CA, token and port."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import need
from harness.edge import Edge
from harness.pages import examples
from harness.process import Process
from harness.upstreams import BLOCK, Upstreams
from harness.visitor import Visitor

URL = re.compile(r"https://\S+")


def program(language: str, edge: Edge, port: int, path: Path) -> Path:
    """The example of this language, made for this edge."""
    (example,) = [one for one in examples(language) if one.page.name == "README.md"]
    text = example.text
    here = {
        "connect.example.com:4443": "{}:{}".format(*edge.agent),
        "/etc/portway/ca.pem": str(edge.ca),
        "TOKEN": edge.token,
        "8080": str(port),
    }
    for there, ours in here.items():
        assert there in text, f"{example} names no {there}"
        text = text.replace(there, ours)
    path.write_text(text)
    return path


def python(edge: Edge, port: int, home: Path) -> Process:
    path = program("python", edge, port, home / "example.py")
    # `print` into a pipe would wait for more.
    return Process("example", [str(need.tool("sdk-python", "bin", "python")), "-u", str(path)], stdin=subprocess.PIPE)


def javascript(edge: Edge, port: int, home: Path) -> Process:
    node = shutil.which("node") or need.lacking("node")
    modules = need.tool("sdk-node", "node_modules")
    path = program("js", edge, port, home / "example.cjs")
    return Process("example", [node, str(path)], env={"NODE_PATH": str(modules)}, stdin=subprocess.PIPE)


def go(edge: Edge, port: int, home: Path) -> Process:
    need.tool("bin", "sdk-go2")  # its module is there
    program("go", edge, port, home / "example.go")
    built = subprocess.run(
        ["go", "build", "-o", str(home / "example"), str(home / "example.go")],
        cwd=need.ROOT / "tests" / "compat" / "go2",
        env={**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return Process("example", [str(home / "example")])


@pytest.mark.parametrize("start", [python, javascript, go], ids=lambda start: start.__name__)
def test_the_example_forwards(
    start: Callable[[Edge, int, Path], Process], edge: Edge, upstreams: Upstreams, tmp_path: Path
) -> None:
    upstream = upstreams.http()
    process = start(edge, upstream.port, tmp_path)
    try:
        url = process.wait_line("a URL", lambda line: (found := URL.search(line)) and found[0])
        with Visitor(edge, url) as visitor:
            assert visitor.get("/bytes/9").body == BLOCK[:9]
    finally:
        process.stop()
