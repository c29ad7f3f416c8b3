"""The site of the documentation, as `make docs` builds it: whole, and from nowhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from harness.need import ROOT

# What a browser fetches by itself.
FETCHED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """Names of a page, and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if not value:
                continue
            if name == "id":
                self.names.add(value)
            if name in ("href", "src"):
                self.links.add(value)
            if (tag, name) in FETCHED:
                self.fetched.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """Its pages by path."""
    folder = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return {path: Page(path.read_text()) for path in folder.rglob("*.html") if path.name != "404.html"}


def outside(link: str) -> bool:
    return re.match(r"[a-z]+:|//", link) is not None


def test_every_page_of_docs_is_on_the_site(site: dict[Path, Page]) -> None:
    built = {path.stem for path in site}
    assert {page.stem for page in (ROOT / "docs").rglob("*.md")} <= built
    assert {"architecture", "contributing", "changes", "reporting", "benches"} <= built


def test_every_link_of_the_site_leads_somewhere(site: dict[Path, Page]) -> None:
    broken = []
    for path, page in site.items():
        for link in page.links:
            if outside(link):
                continue
            file, anchor = urldefrag(unquote(link))
            target = (path.parent / file).resolve() if file else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists() or (anchor and target in site and anchor not in site[target].names):
                broken.append(f"{path.name}: {link}")
    assert site
    assert broken == []


def test_a_reader_of_the_site_fetches_nothing_from_elsewhere(site: dict[Path, Page]) -> None:
    assert {link for page in site.values() for link in page.fetched if outside(link)} == set()
    styles = {sheet for path in site for sheet in path.parent.rglob("*.css")}
    assert styles
    assert [sheet for sheet in styles if re.search(r"url\(.?(https?:)?//|@import", sheet.read_text())] == []
