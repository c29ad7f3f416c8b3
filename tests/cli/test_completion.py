"""Completion: what is offered, and that the code for each shell loads and asks for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.command import run
from harness import need
from harness.terminal import Terminal
from portway.cli.candidates import SHELLS, VALUES, candidates
from portway.cli.completion import CODE
from portway.cli.tree import COMMANDS, COMMON

CONFIG = """\
version: 3
endpoints:
  - name: shop
    upstream: {url: 8080}
  - name: ssh
    url: tcp://
    upstream: {url: 22}
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH with the command `portway`, and an empty home."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "portway"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m portway "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def words(*typed: str) -> list[str]:
    return [word for word, _ in candidates(list(typed))]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["co"], ["config", "completion"]),
        (["config", "ch"], ["check"]),
        (["--config", "f.yml", "config", "j"], ["join"]),
        (["edge", "re"], ["reload"]),
        (["help", "config", "e"], ["edit"]),
        (["http", "--upstream-tls"], ["--upstream-tls-verify", "--upstream-tls-verify-cas"]),
        (["tcp", "--subd"], []),
        (["http", "80", "--log", ""], ["stdout", "stderr", "false"]),
        (["http", "80", "--log=st"], ["--log=stdout", "--log=stderr"]),
        (["http", "80", "--log-format", "=", "j"], ["--log-format=json"]),
        (["completion", "p"], ["powershell"]),
        (["config", "upgrade", ""], ["2", "3"]),
        (["config", "upgrade", "--dry-run", "--re"], ["--relocate"]),
        (["edge", "--metadata", ""], []),
        (["completion", "bash", ""], []),
        (["http", ""], []),
    ],
)
def test_what_may_come_next_is_offered(typed: list[str], offered: list[str]) -> None:
    assert words(*typed) == offered


def test_names_of_endpoints_are_offered(installed: Path) -> None:
    file = installed / "portway.yml"
    file.write_text(CONFIG)
    assert words("start", "--config", str(file), "s") == ["shop", "ssh"]
    assert words("start", f"--config={file}", "shop", "s") == ["ssh"]
    assert words("start", "--config", "", "s") == []
    other = installed / "b.yml"
    other.write_text("version: 2\nbogus: 1\ntunnels: {sftp: {}, 1: x}\n")
    assert words("start", "--config", f"{file},{other}", "s") == ["shop", "ssh", "sftp"]
    file.write_text("version: 3\nendpoints: {")
    assert words("start", "--config", str(file), "s") == []


def test_the_names_of_the_file_that_start_would_read_are_offered(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("portway", "ngrok"):
        file = installed / "config" / program / f"{program}.yml"
        file.parent.mkdir(parents=True)
        file.write_text(f"version: 3\nendpoints: [{{name: of-{program}}}]\n")
        monkeypatch.setattr("sys.argv", [f"/usr/bin/{program}"])
        assert words("start", "of") == [f"of-{program}"]
    monkeypatch.setenv("PORTWAY_CONFIG", "/nowhere")
    assert words("start", "of") == []


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "completion", "tcsh")
    assert code == 1
    assert "bash, zsh, fish, powershell" in err


def test_the_shell_of_the_user_is_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert run(capsys, "completion")[1] == run(capsys, "completion", "zsh")[1]
    assert len({run(capsys, "completion", shell)[1] for shell in SHELLS}) == len(SHELLS) == len(CODE)


def test_values_are_offered_for_flags_that_there_are() -> None:
    known = {name for _, _, _, _, flags in COMMANDS.values() for names, *_ in (*flags, *COMMON) for name in names}
    assert set(VALUES) - known <= {"--channel"}, "of `portway update`, which is to come"


def test_an_answer_needs_neither_the_framework_nor_the_schema(installed: Path) -> None:
    (installed / "c.yml").write_text(CONFIG)
    code = "import sys; from portway.__main__ import main; main(); print(sorted(sys.modules), file=sys.stderr)"
    for typed in (["start", "--config", str(installed / "c.yml"), "s"], ["http", "--"], ["config", ""]):
        argv = [sys.executable, "-c", code, "__complete", "--", *typed]
        told = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert told.stdout.splitlines()[0].split("\t")[0] in ("shop", "--url", "check")
        for heavy in ("typer", "dataclasses", "inspect", "json", "portway.config.schema", "portway.cli.app"):
            assert f"'{heavy}'" not in told.stderr, typed
        assert ("'yaml'" in told.stderr) == (typed[0] == "start")


BASH = """
eval "$(portway completion bash)"
COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_portway
echo "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("portway config add-a", "add-authtoken add-api-key add-api-url"),
        ("portway http --log = s", "stdout stderr"),
        ("portway api reserved-d", "reserved-domains"),
        ("portway api edges https-routes cr", "create"),
        ("portway api endpoints create --pooling-enabled = f", "false"),
        ("portway http --log =", "stdout stderr false"),
        ("portway http ''", ""),
    ],
)
def test_bash_completes(installed: Path, typed: str, offered: str) -> None:
    told = subprocess.run([need.program("bash", "bash"), "-c", BASH % typed], capture_output=True, text=True)
    assert (told.stdout.strip(), told.stderr) == (offered, "")


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("sh", "shop"),
        ("it", "it\\'s\\ \\$5"),
        ("my\\ b", "my\\ blog"),
        ("'my", "'my blog'"),
        ('"my b', '"my blog"'),
        ("a", 'a\\ \\"b\\"'),
    ],
)
def test_bash_keeps_the_name_of_an_endpoint_one_word(installed: Path, typed: str, becomes: str) -> None:
    """As somebody types it, for what readline makes of an answer is not seen in the answer."""
    names = ["shop", "my blog", "it's $5", 'a "b"']
    file = installed / "config" / "portway" / "portway.yml"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"version": 3, "endpoints": [{"name": name, "upstream": {"url": 1}} for name in names]}))
    shell = Terminal([need.program("bash", "bash"), "--norc", "--noprofile", "-i"], env={"PS1": "$ ", "HISTFILE": ""})
    try:
        shell.wait("a prompt", lambda text: text.startswith("$"))
        shell.type(b'eval "$(portway completion bash)"; clear; echo ready\n')
        shell.wait("that it is set up", lambda text: text.startswith("ready"))
        shell.type(f"portway start {typed}\t".encode())
        shell.wait("the whole name", lambda text: f"$ portway start {becomes}\n" in text)
    finally:
        shell.stop()


def test_fish_completes(installed: Path) -> None:
    code = "portway completion fish | source; complete -C 'portway config add-a'"
    told = subprocess.run([need.program("fish", "fish"), "-c", code], capture_output=True, text=True)
    assert {line.split("\t")[0] for line in told.stdout.splitlines()} == {"add-authtoken", "add-api-key", "add-api-url"}


def test_zsh_loads_the_code(installed: Path) -> None:
    code = 'autoload -Uz compinit && compinit -D; eval "$(portway completion zsh)" && echo ${_comps[portway]}'
    told = subprocess.run([need.program("zsh", "zsh"), "-fc", code], capture_output=True, text=True)
    assert (told.stdout.strip(), told.stderr) == ("_portway", "")


@pytest.mark.skipif(not shutil.which("pwsh"), reason="no PowerShell here")
def test_powershell_completes(installed: Path) -> None:
    code = (
        "portway completion powershell | Out-String | Invoke-Expression;"
        "(TabExpansion2 'portway config add-a' 20).CompletionMatches.CompletionText"
    )
    told = subprocess.run(["pwsh", "-NoProfile", "-Command", code], capture_output=True, text=True)
    assert told.stdout.split() == ["add-authtoken", "add-api-key", "add-api-url"]
