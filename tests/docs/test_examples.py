"""What the pages show works as it stands there."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from harness import need
from harness.edge import isolated
from harness.need import ROOT
from harness.pages import PAGES, Example, examples
from harness.process import portway
from portway.cli.commands import find


def run(home: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {**isolated(home), "PATH": "/usr/bin:/bin"}
    return subprocess.run([*portway(), *arguments], env=env, capture_output=True, text=True, input=stdin)


@pytest.mark.parametrize("example", examples("yaml", "# portway.yml"), ids=str)
def test_configuration_of_agents_is_valid(example: Example, tmp_path: Path) -> None:
    path = tmp_path / "portway.yml"
    path.write_text(example.text)
    checked = run(tmp_path, "config", "check", "--config", str(path))
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("example", examples("yaml", "# edge.yml"), ids=str)
def test_configuration_of_edges_is_valid(example: Example, tmp_path: Path) -> None:
    path = tmp_path / "edge.yml"
    path.write_text(example.text)
    for file in re.findall(r"token_file: (\S+)", example.text):
        (tmp_path / file).write_text("token-of-the-file\n")
    planned = run(tmp_path, "edge", "plan", stdin=json.dumps({"argv": ["--config", str(path)]}))
    assert planned.returncode == 0, planned.stderr
    written = yaml.safe_load(example.text).get("tokens", [])
    assert len(json.loads(planned.stdout)["edge"]["tokens"]) == len(written)


def test_every_yaml_example_says_whose_it_is() -> None:
    assert [str(one) for one in examples("yaml") if not re.match(r"# (portway|edge)\.yml\n", one.text)] == []


def commands() -> list[tuple[str, list[str]]]:
    """The command lines of ours on all pages, as words, and where each stands."""
    found = []
    for example in examples("sh"):
        for number, line in enumerate(example.text.splitlines()):
            words = shlex.split(line.partition(" > ")[0], comments=True)
            if words:
                found.append((f"{example.page.relative_to(ROOT)}:{example.line + number}", words))
    for example in examples("ini"):
        lines = re.findall(r"^Exec\w+=\S+/bin/(.*)$", example.text, re.MULTILINE)
        found += [(str(example), line.split()) for line in lines]
    return found


OURS = [(where, words[1:]) for where, words in commands() if words[0] == "portway"]


@pytest.mark.parametrize(("where", "words"), OURS, ids=[where for where, _ in OURS])
def test_command_lines_have_commands_and_flags_that_exist(where: str, words: list[str], tmp_path: Path) -> None:
    shown = run(tmp_path, *words, "--help")
    assert shown.returncode == 0, f"{where}: {shown.stderr}"
    if words[0] == "edge":  # takes no words but those of a longer command
        name, _, rest = find(words)
        takes = name.endswith("revoke") or name.startswith("edge agents ")
        assert takes or all(word.startswith("-") for word in rest[:1]), where
        assert f"\nUsage:\n  portway {name} " in shown.stdout, where


# Stands in for what takes minutes: the packages, and an environment of Python with one of them in it.
QUICK = """
set -e
make() { mkdir -p dist; touch dist/portway-0.whl; }
python3() {
    mkdir -p "$3/bin"
    printf '#!/bin/sh\\n' > "$3/bin/pip"
    chmod +x "$3/bin/pip"
    cp "$(command -v portway)" "$3/bin/portway"
}
"""
# What a shell that is started anew answers at TAB, or has for it.
SHELLS = {
    "bash": ("bash -ic 'complete -p portway'", "-F _portway portway"),
    "zsh": ("zsh -ic 'echo $_comps[portway]'", "_portway"),
    "fish": ("fish -c 'complete -C \"portway config add-a\"'", "add-authtoken"),
}


def in_an_empty_home(home: Path, script: str) -> str:
    """What a script prints on a machine on which nobody has done anything yet."""
    program = home / "machine" / "portway"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.join(portway())} "$@"\n')
    program.chmod(0o755)
    env = {"HOME": str(home), "PATH": f"{program.parent}:/usr/bin:/bin", "TERM": "dumb"}
    ran = subprocess.run(["bash", "-c", script], cwd=home, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def block(page: str, words: str) -> str:
    (found,) = [one.text for one in examples("sh") if one.page.name == page and words in one.text]
    return found


def test_installing_works_in_an_empty_home(tmp_path: Path) -> None:
    told = in_an_empty_home(tmp_path, f"{QUICK}\n{block('install.md', 'venv')}\ncommand -v portway")
    version, place = told.splitlines()
    assert version.startswith("portway version 3.")
    assert place == str(tmp_path / ".local" / "bin" / "portway")


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_is_there_in_the_next_shell(shell: str, tmp_path: Path) -> None:
    need.program(shell, shell)
    ask, told = SHELLS[shell]
    assert told in in_an_empty_home(tmp_path, f"set -e\n{block('install.md', 'completion')}\n{ask}")


def test_the_name_of_the_other_program_is_a_link_away(tmp_path: Path) -> None:
    in_an_empty_home(tmp_path, f"set -e\n{block('config.md', 'bin/ngrok')}\n~/.local/bin/ngrok version")


def test_flags_that_help_does_not_list_are_on_the_page_that_does() -> None:
    """Who sees a flag here looks for it there."""
    text = (ROOT / "docs" / "reference" / "cli.md").read_text()
    older = text.partition("## Older spellings")[2]
    for example in examples("sh"):
        for flag in re.findall(r"^portway (?:http|tcp|tls) .*?(--[a-z-]+)", example.text, re.MULTILINE):
            if f"`{flag}" not in text.partition("## Older spellings")[0]:
                assert f"`{flag}" in older, flag
                assert "cli.md#older-spellings" in example.page.read_text(), f"{example.page}: {flag}"


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for _, words in commands() if words[0] == "make" for target in words[1:] if "=" not in target}
    named |= {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)`", page.read_text())}
    assert named
    assert named <= targets


@pytest.mark.parametrize("example", examples("ini"), ids=str)
def test_units_can_be_read_and_name_sockets_that_the_edge_takes(example: Example) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(example.text)
    if example.text.splitlines()[0].endswith(".socket"):
        taken = re.findall(r'"(\w+)" => &mut sockets', (ROOT / "rust" / "py" / "src" / "systemd.rs").read_text())
        assert unit["Socket"]["FileDescriptorName"] in taken
        assert unit["Socket"]["Service"] == "portway-edge.service"
    else:
        assert unit["Service"]["Type"] == "notify"


def anchors(page: Path) -> set[str]:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


NAMED_PATH = re.compile(r"`((?:rust|python|tests|bench|docs|packaging|tools|\.ci|\.github|\.config)/[\w./-]+)`")
NAMED_TEST = re.compile(r"`((?:test_|[mh]\d+_)\w+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_tests_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    assert [path for path in NAMED_PATH.findall(text) if not (ROOT / path).exists()] == []
    sources = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "rust").glob("*/tests/**/*.rs")]
    defined = set(re.findall(r"\b(?:def|fn) (\w+)\(", "\n".join(path.read_text() for path in sources)))
    assert [name for name in NAMED_TEST.findall(text) if name not in defined] == []
