"""Writes python/portway/credits.json.gz: who wrote the software that portway is built from, under which licences.

usage: python tools/credits.py

Which packages these are, Cargo.lock says, and for the inspection page the note beside its libraries; licences and texts
come from the sources that cargo has fetched. A test says when a package is missing or too many.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "python" / "portway" / "credits.json.gz"
BUILT = "portway-py"
TEXTS = re.compile(r"(?:un)?licen[cs]e|copying|notice|copyright", re.IGNORECASE)
LARGEST = 64 << 10
VENDOR = ROOT / "rust" / "agent" / "page" / "vendor"
SCRIPTS = {
    "preact": ("MIT", "Jason Miller", "https://github.com/preactjs/preact"),
    "htm": ("Apache-2.0", "Jason Miller", "https://github.com/developit/htm"),
    "uPlot": ("MIT", "Leon Sorokin", "https://github.com/leeoniya/uPlot"),
}


def crates() -> set[tuple[str, str]]:
    """Name and version of every crate that is built into portway, on whatever system."""
    blocks = (ROOT / "Cargo.lock").read_text().split("[[package]]\n")[1:]
    packages: dict[str, dict[str, list[str]]] = {}
    for block in blocks:
        fields = dict(re.findall(r'^(name|version) = "(.*)"$', block, re.MULTILINE))
        needs = re.findall(r'^ "(.*)",$', block, re.MULTILINE)
        packages.setdefault(fields["name"], {})[fields["version"]] = needs
    members = {path.parent.name: path for path in ROOT.glob("rust/*/Cargo.toml")}
    found: set[tuple[str, str]] = set()
    waiting = [BUILT]
    while waiting:
        name, _, version = waiting.pop().partition(" ")
        version = version.partition(" ")[0] or next(iter(packages[name]))
        if (name, version) in found:
            continue
        found.add((name, version))
        needs = packages[name][version]
        member = members.get(name.removeprefix("portway-"))
        if member and name.startswith("portway-"):
            own = _dependencies(member.read_text())
            needs = [one for one in needs if one.partition(" ")[0] in own]
        waiting += needs
    return {one for one in found if not one[0].startswith("portway-")}


def _dependencies(manifest: str) -> set[str]:
    """What a crate of ours is built from; not what its tests need."""
    sections = re.split(r"^\[(.*)\]$", manifest, flags=re.MULTILINE)
    names: set[str] = set()
    for title, rows in zip(sections[1::2], sections[2::2], strict=True):
        if title.endswith("dependencies") and not title.endswith("dev-dependencies"):
            names |= set(re.findall(r"^([\w-]+)", rows, re.MULTILINE))
            names |= set(re.findall(r'package = "(.*?)"', rows))
    return names


def python_packages() -> list[str]:
    """What system packages and the image carry; pip installs the same beside a wheel."""
    return re.findall(r"^([\w.-]+)==", (ROOT / "packaging" / "requirements.txt").read_text(), re.MULTILINE)


def scripts() -> list[tuple[str, str]]:
    """Name and version of what the inspection page is built from, as the note beside them tells."""
    return re.findall(r"\b(\w+) (\d+\.\d+\.\d+)", (VENDOR / "README.md").read_text())


def _script(name: str, version: str, texts: dict[str, int]) -> dict[str, Any]:
    text = (VENDOR / f"LICENSE.{name.lower()}").read_text().strip()
    licence, author, home = SCRIPTS[name]
    told = {"name": name, "version": version, "license": licence, "authors": [author], "home": home}
    return {**told, "texts": [texts.setdefault(text, len(texts))]}


def credits() -> dict[str, Any]:  # noqa: A001
    argv = ["cargo", "metadata", "--offline", "--locked", "--format-version", "1"]
    told = json.loads(subprocess.run(argv, cwd=ROOT, check=True, capture_output=True).stdout)
    wanted = crates()
    texts: dict[str, int] = {}
    packages = []
    for one in sorted(told["packages"], key=lambda one: (one["name"], one["version"])):
        if (one["name"], one["version"]) not in wanted:
            continue
        packages.append(
            {
                "name": one["name"],
                "version": one["version"],
                "license": one["license"] or "see its text",
                "authors": [re.sub(r" <.*>", "", author) for author in one["authors"]],
                "home": one["repository"] or one["homepage"] or "",
                "texts": [texts.setdefault(text, len(texts)) for text in _texts(Path(one["manifest_path"]).parent)],
            }
        )
    page = [_script(name, version, texts) for name, version in scripts()]
    python = [_python(name) for name in python_packages()]
    return {"crates": packages, "scripts": page, "python": python, "texts": list(texts)}


def _texts(folder: Path) -> list[str]:
    """Licences; where there is a choice, the short one that names the authors."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and TEXTS.match(path.name))
    mit = [path for path in files if "mit" in path.name.lower()]
    notices = [path for path in files if path.name.lower().startswith(("notice", "copyright"))]
    chosen = [*mit, *notices] if mit else files
    return ["\n".join(path.read_text(errors="replace")[:LARGEST].split("\n")).strip() for path in chosen]


def _python(name: str) -> dict[str, Any]:
    told = metadata(name)
    urls = dict(url.split(", ", 1) for url in told.get_all("Project-URL") or [])
    home = urls.get("Source") or urls.get("Repository") or urls.get("Source Code") or told.get("Home-page") or ""
    author = told.get("Author") or re.sub(r" <.*>", "", told.get("Author-email") or "")
    return {
        "name": name,
        "license": told.get("License-Expression") or (told.get("License") or "").removesuffix(" License"),
        "authors": [author],
        "home": home,
    }


if __name__ == "__main__":
    told = json.dumps(credits(), separators=(",", ":"), ensure_ascii=False).encode()
    FILE.write_bytes(gzip.compress(told, mtime=0))  # an eighth; without a time, the same each time
