"""Help: examples first, no wider than the terminal, plain where it is not shown on one."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.command import plan, run
from portway.cli.commands import COMMANDS, below, is_group
from portway.cli.help import SIDE_BY_SIDE, of_command, of_group, wrapped
from portway.cli.tree import COMMANDS as TREE

LISTED = [name for name, (_, about) in COMMANDS.items() if about and not is_group(name)]


@pytest.mark.parametrize("command", LISTED)
def test_help_says_what_examples_how_and_with_which_flags_in_this_order(command: str) -> None:
    text = of_command("portway", command)
    headings = re.findall(r"^(?:[A-Z][a-z]+:|Flags of every command:)$", text, re.MULTILINE)
    order = ["Examples:", "Usage:", "Arguments:", "Flags:", "Flags of every command:"]
    assert headings == [heading for heading in order if heading in headings]
    assert {"Usage:", "Flags of every command:"} <= set(headings)
    assert " ".join(text.split()).startswith(TREE[command][0])
    for names, _, about, hidden in TREE[command][4]:
        shown = re.search(rf"^ +.*{names[-1]}\b", text.split("Flags:")[-1], re.MULTILINE)
        assert bool(shown) or hidden, names
        assert not hidden or not about or about not in text


@pytest.mark.parametrize("command", LISTED)
def test_a_command_that_takes_something_shows_how_it_is_used(command: str) -> None:
    takes = [*TREE[command][3], *(flag for flag in TREE[command][4] if not flag[3])]
    assert TREE[command][2] or not takes, "no examples"


def test_what_is_only_tolerated_is_not_offered() -> None:
    assert "Usage:\n  portway diagnose [FLAGS]\n" in of_command("portway", "diagnose")


def test_the_whole_program_begins_with_examples_too() -> None:
    text = of_group("portway", "")
    assert text.index("Examples:") < text.index("Usage:") < text.index("Commands:") < text.index("Flags of every")
    assert "`portway COMMAND --help`" in text
    for name in below(""):
        assert re.search(rf"^  {name}\b", text, re.MULTILINE)


@pytest.mark.parametrize("columns", [20, 34, SIDE_BY_SIDE - 1, SIDE_BY_SIDE, 80, 300])
@pytest.mark.parametrize("command", ["", "config", *LISTED])
def test_lines_are_no_wider_than_the_terminal(command: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = of_group("portway", command) if is_group(command) else of_command("portway", command)
    long = [line for line in text.split("\n") if len(line) > columns and " " in line.strip()]
    # A word and what must stand in front of it may be wider than a very narrow terminal.
    assert [line for line in long if columns >= 34] == []
    assert "  \n" not in text


@pytest.mark.parametrize("columns", ["", "0", "-5", "none", "1"])
def test_a_width_that_is_none_is_no_error(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert "Usage:" in of_command("portway", "http")


def test_words_are_wrapped_between_words() -> None:
    assert wrapped("  -f  some words here", 12, 6) == ["  -f  some", "      words", "      here"]
    assert wrapped("a" * 30 + " b", 10, 0) == ["a" * 30, "b"]
    assert wrapped("short", 10, 4) == ["short"]


@pytest.mark.parametrize("command", ["", *LISTED])
def test_under_the_name_ngrok_every_command_in_it_has_that_name(command: str) -> None:
    text = of_command("ngrok", command) if command else of_group("ngrok", "")
    assert f"  ngrok {command}".rstrip() in text
    assert "  portway " not in text
    assert "`portway " not in text


def test_an_argument_that_is_only_put_up_with_is_not_in_the_usage() -> None:
    assert "\n  portway diagnose [FLAGS]\n" in of_command("portway", "diagnose")  # which takes `--ipv6 true`


def test_only_what_can_serve_a_folder_is_said_to() -> None:
    for command in ("http", "tcp", "tls"):
        assert ("file://" in of_command("portway", command).partition("Arguments:")[2]) == (command == "http")


@pytest.mark.parametrize(
    ("argv", "helps"),
    [
        (["http", "--help"], True),
        (["http", "80", "--url", "x", "-h"], True),
        (["--log", "stdout", "http", "-h"], True),
        (["config", "check", "--help"], True),
        (["http", "80", "--bogus", "--help"], False),
        (["http", "80", "--url"], False),
        (["http", "--", "--help"], False),
    ],
)
def test_help_is_shown_where_it_is_asked_for(
    argv: list[str], helps: bool, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    if helps:
        code, out, err = run(capsys, *argv)
        assert (code, err) == (0, "")
        assert "\nUsage:\n" in out
    else:
        code, out, err = run(capsys, *argv)
        assert (code, out) == (1, "")


def test_a_value_that_looks_like_help_is_a_value(home: Path) -> None:
    assert plan("http", "80", "--name", "--help")["endpoints"][0]["name"] == "--help"


def test_help_imports_no_framework() -> None:
    code = "import sys; from portway.__main__ import main; main(); print(sorted(sys.modules), file=sys.stderr)"
    for argv in (["http", "--help"], ["help", "config"], ["help", "config", "upgrade"]):
        told = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
        assert "portway.cli.help" in told.stderr
        assert "'typer" not in told.stderr


def styled(env: dict[str, str], tmp_path: Path) -> str:
    """What help writes into a terminal."""
    master, slave = pty.openpty()
    known = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM", "COLUMNS")}
    argv = [sys.executable, "-m", "portway", "http", "--help"]
    with subprocess.Popen(argv, stdout=slave, stderr=slave, stdin=slave, env={**known, **env}) as child:
        os.close(slave)
        text = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            text += piece
        assert child.wait() == 0
    os.close(master)
    return text.decode()


@pytest.mark.parametrize(
    ("env", "bold"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_headings_are_bold_where_a_terminal_can_and_may(env: dict[str, str], bold: bool, tmp_path: Path) -> None:
    text = styled(env, tmp_path)
    assert ("\x1b[1mExamples:\x1b[0m" in text) == bold
    assert ("\x1b" in text) == bold


def test_a_pipe_gets_plain_text() -> None:
    told = subprocess.run([sys.executable, "-m", "portway", "http", "-h"], capture_output=True, text=True, check=True)
    assert "\x1b" not in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80
