"""What the site of the documentation has besides docs/: the repository's own pages (a hook of mkdocs, see mkdocs.yml).

They stay where a repository has them, and links between them and docs/ hold in both places: here they are rewritten.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

# Where a page of the repository is on the site.
MOVED = {
    "ARCHITECTURE.md": "project/architecture.md",
    "bench/README.md": "project/benches.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/reporting.md",
    "CHANGELOG.md": "project/changes.md",
}
_ORIGIN = {there: here for here, there in MOVED.items()}
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for here, there in MOVED.items():
        files.append(File.generated(config, there, content=(ROOT / here).read_text()))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    there = page.file.src_uri
    here = posixpath.dirname(_ORIGIN.get(there, f"docs/{there}"))

    def moved(link: re.Match[str]) -> str:
        if "://" in link[0]:
            return link[0]
        target = posixpath.normpath(posixpath.join(here, link[0]))
        on_site = MOVED.get(target, target.removeprefix("docs/"))
        return posixpath.relpath(on_site, posixpath.dirname(there))

    return _LINK.sub(moved, markdown)
