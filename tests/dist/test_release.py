"""What stands beside the packages of a release: what it is built from, and what package managers read."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from dist.made import Made, dist
from harness import need
from harness.need import ROOT
from portway import __version__
from portway.cli.credits import read

URL = "https://releases.example.com/files"


def test_the_list_of_what_is_in_it_has_every_crate_with_its_checksum(made: Made) -> None:
    told = json.loads(made.one("*.cdx.json").read_text())
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    assert told["metadata"]["component"]["version"] == __version__
    crates = {one["purl"]: one for one in told["components"] if one["purl"].startswith("pkg:cargo/")}
    assert set(crates) == {f"pkg:cargo/{one['name']}@{one['version']}" for one in read()["crates"]}
    lock = (ROOT / "Cargo.lock").read_text()
    for one in crates.values():
        (checksum,) = one["hashes"]
        assert f'name = "{one["name"]}"\nversion = "{one["version"]}"\n' in lock
        assert f'checksum = "{checksum["content"]}"' in lock
        assert one["licenses"][0]["expression"]
    others = [one for one in told["components"] if one["purl"] not in crates]
    page = {f"pkg:npm/{one['name'].lower()}@{one['version']}" for one in read()["scripts"]}
    wanted = (ROOT / "packaging" / "requirements.txt").read_text()
    python = {
        f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
        for name, version in re.findall(r"^([\w.-]+)==(\S+)$", wanted, re.MULTILINE)
    }
    assert {one["purl"] for one in others} == page | python
    for one in told["components"]:
        (licence,) = one["licenses"]
        assert re.fullmatch(r"\(*[A-Z0-9][\w.-]+\)*( (AND|OR|WITH) \(*[A-Z0-9][\w.-]+\)*)*", licence["expression"]), one


def test_it_ends_with_what_could_not_be_made_here_and_why(made: Made) -> None:
    _, _, left = made.told.partition("left to the public workflow (.github/workflows/wheels.yml):\n")
    assert re.search(r"^  container image: \S", left, re.MULTILINE), made.told
    assert "manifest of homebrew" in left
    assert "has no wheel for macOS" in left


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the workflow gathers it, with manifests made of it."""
    out = tmp_path_factory.mktemp("released")
    for name in (
        f"portway-{__version__}-cp310-abi3-macosx_11_0_universal2.whl",
        f"portway-{__version__}-cp310-abi3-manylinux_2_28_x86_64.whl",
        f"portway-{__version__}-cp310-abi3-manylinux_2_28_aarch64.whl",
        f"portway-{__version__}-windows-amd64.zip",
        f"portway-{__version__}-windows-arm64.zip",
    ):
        (out / name).write_bytes(name.encode())
    done = dist(out, "--only", "manifests", "--url", f"{URL}/")
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_homebrew_finds_each_file_by_its_address_and_hash(released: Path) -> None:
    formula = (released / "portway.rb").read_text()
    for wheel in released.glob("*.whl"):
        assert f'url "{URL}/{wheel.name}", using: :nounzip\n' in formula
        assert f'sha256 "{digest(wheel)}"\n' in formula
    wanted = re.findall(r"^([\w-]+)==", (ROOT / "packaging" / "requirements.txt").read_text(), re.MULTILINE)
    found = re.findall(r'resource "(.*)" do\n    url "https://\S+"\n    sha256 "[0-9a-f]{64}"', formula)
    assert {name.lower().replace("_", "-") for name in found} == {name.lower().replace("_", "-") for name in wanted}


def test_a_formula_is_ruby(released: Path) -> None:
    ruby = need.program("ruby", "ruby")
    checked = subprocess.run([ruby, "-c", str(released / "portway.rb")], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_scoop_finds_the_archives(released: Path) -> None:
    told = json.loads((released / "portway.json").read_text())
    assert told["version"] == __version__
    archives = {"64bit": "amd64", "arm64": "arm64"}
    assert set(told["architecture"]) == set(archives)
    for name, arch in archives.items():
        file = released / f"portway-{__version__}-windows-{arch}.zip"
        assert told["architecture"][name] == {"url": f"{URL}/{file.name}", "hash": digest(file)}


def test_winget_finds_the_archives(released: Path) -> None:
    files = {path.name: yaml.safe_load(path.read_text()) for path in (released / "winget").iterdir()}
    assert set(files) == {f"Portway.Portway{kind}.yaml" for kind in ("", ".installer", ".locale.en-US")}
    for one in files.values():
        assert (one["PackageIdentifier"], one["PackageVersion"]) == ("Portway.Portway", __version__)
    told = files["Portway.Portway.installer.yaml"]
    assert told["ArchiveBinariesDependOnPath"] is True, "by a link the program would not find what is beside it"
    installers = {one["Architecture"]: one for one in told["Installers"]}
    for arch, name in (("x64", "amd64"), ("arm64", "arm64")):
        file = released / f"portway-{__version__}-windows-{name}.zip"
        assert installers[arch]["InstallerUrl"] == f"{URL}/{file.name}"
        assert installers[arch]["InstallerSha256"] == digest(file).upper()


def test_a_compose_file_starts_an_edge_that_may_do_nothing_else() -> None:
    (edge,) = yaml.safe_load((ROOT / "packaging" / "compose.yml").read_text())["services"].values()
    assert edge["command"][0] == "edge"
    assert edge["image"] == f"portway:{__version__}", "another version than this"
    assert edge["read_only"] is True
    assert edge["cap_drop"] == ["ALL"]
    image = (ROOT / "packaging" / "image" / "Dockerfile").read_text()
    assert re.search(r"^USER \d+:\d+$", image, re.MULTILINE), "the image runs as root"
    assert (ROOT / "packaging" / edge["build"]["context"] / edge["build"]["dockerfile"]).exists()


def test_every_target_is_built_by_the_workflow() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "wheels.yml").read_text())
    built = set(workflow["jobs"]["linux"]["strategy"]["matrix"]["target"])
    source = (ROOT / "packaging" / "targets.py").read_text()
    named = re.findall(r'Target\("(\w+?)-unknown-linux-(gnu|musl)\w*", \S+ "\w+"(, without)?', source)
    assert len(named) == 14
    assert built == {f"{arch}-{libc}" for arch, libc, without in named if not without}
