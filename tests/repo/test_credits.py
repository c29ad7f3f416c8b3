"""The credits name what portway is built from, as the lock file has it."""

from __future__ import annotations

import runpy

import pytest

from cli.command import run
from harness.need import ROOT
from portway.cli.credits import read

TOOL = runpy.run_path(str(ROOT / "tools" / "credits.py"))
TOLD = read()
STALE = "the credits are stale: run `python tools/credits.py`"


def test_the_credits_have_every_crate_of_the_lock_file_and_no_other() -> None:
    assert {(one["name"], one["version"]) for one in TOLD["crates"]} == TOOL["crates"](), STALE


def test_the_credits_have_the_packages_of_python() -> None:
    assert [one["name"] for one in TOLD["python"]] == TOOL["python_packages"](), STALE


def test_the_credits_have_the_libraries_of_the_inspection_page() -> None:
    assert [(one["name"], one["version"]) for one in TOLD["scripts"]] == TOOL["scripts"](), STALE
    folder = ROOT / "rust" / "agent" / "page" / "vendor"
    kept = {path.stem for path in folder.glob("*.js")} - {"hooks"}  # preact's
    assert {one["name"].lower() for one in TOLD["scripts"]} == kept


def test_what_only_tests_need_is_not_in_it() -> None:
    names = {one["name"] for one in TOLD["crates"]}
    assert {"tokio", "rustls", "webpki-roots", "windows-sys"} <= names
    assert not {"proptest", "hickory-server"} & names
    assert not {name for name in names if name.startswith("portway")}


def test_every_package_has_a_licence_and_nearly_all_its_text() -> None:
    assert [one["name"] for one in (*TOLD["crates"], *TOLD["scripts"], *TOLD["python"]) if not one["license"]] == []
    without = [one["name"] for one in TOLD["crates"] if not one["texts"]]
    assert len(without) < 10, without
    used = {number for one in (*TOLD["crates"], *TOLD["scripts"]) for number in one["texts"]}
    assert used == set(range(len(TOLD["texts"])))


def test_all_packages_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "credits")
    assert (code, err) == (0, "")
    for one in (*TOLD["crates"], *TOLD["scripts"], *TOLD["python"]):
        assert f"  {one['name']} " in out
    assert "Apache-2.0" in out.splitlines()[0]


def test_one_package_is_told_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "credits", "Tokio")
    assert code == 0
    assert out.startswith("tokio ")
    assert "  licence: MIT\n" in out
    assert "THE SOFTWARE IS PROVIDED" in out.upper()


def test_a_package_that_is_not_in_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "credits", "toki")
    assert (code, out) == (1, "")
    assert "portway is not built from toki (did you mean tokio?)" in err
