"""Fixtures of the page's tests: a real browser, an agent with an upstream of every kind of body, and axe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import need
from harness.agents import Agent, Agents
from harness.local import LocalApi, local
from page.gallery import Gallery
from page.inspector import Inspector, OpenPage


@pytest.fixture
def gallery() -> Iterator[Gallery]:
    gallery = Gallery()
    yield gallery
    gallery.stop()


@pytest.fixture
def agent(alone: Agents, gallery: Gallery) -> Agent:
    """An agent of its own edge, in front of the gallery."""
    return alone.http(gallery.address)


@pytest.fixture
def api(agent: Agent) -> LocalApi:
    return local(agent)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are left, for people to look at."""
    return tmp_path_factory.mktemp("page-pictures")


@pytest.fixture
def open_page(pictures: Path) -> Iterator[OpenPage]:
    """Opens the page of an agent; `how`: width, height, dark. At the end nothing may have been complained of."""
    opened: list[Inspector] = []

    def run(api: LocalApi, path: str = "/inspect/http", **how: object) -> Inspector:
        inspector = Inspector(api, pictures, **how)
        opened.append(inspector)
        return inspector.go(path)

    yield run
    said = []
    for inspector in opened:
        said += inspector.close()
    assert said == [], "what the browser complained of"


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return need.tool("axe", "node_modules", "axe-core", "axe.min.js").read_text()
