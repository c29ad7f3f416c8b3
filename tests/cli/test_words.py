"""What a command line may look like, and how a wrong one fails (cli.md §1)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli.command import run
from harness import need
from portway import COMPATIBLE_VERSION, __version__
from portway.cli import commands, options
from portway.cli.app import load
from portway.cli.options import Flag, command, headers
from portway.cli.spelling import normalised, split

FLAGS = (Flag("name", "text", "A name"), Flag("inspect", "flag", "Keep"), Flag("tag", "list", "Tags"))


def portway(*argv: str, name: str = "") -> subprocess.CompletedProcess[str]:
    started = [sys.executable, "-m", "portway", *argv]
    if name:
        code = f"import sys; sys.argv[0] = {name!r}; from portway.__main__ import main; sys.exit(main())"
        started = [sys.executable, "-c", code, *argv]
    return subprocess.run(started, capture_output=True, text=True)


# === version and help


@pytest.mark.parametrize(
    "argv", [["version"], ["--version"], ["-v"], ["version", "--log", "stdout"], ["--log=false", "-v"]]
)
def test_the_version_is_one_line_that_wrappers_can_read(argv: list[str]) -> None:
    told = portway(*argv)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == f"portway version {COMPATIBLE_VERSION} (portway {__version__})\n"
    assert told.stdout.split("version ")[1].startswith("3")


def test_under_the_name_ngrok_the_version_says_so() -> None:
    assert portway("version", name="/usr/local/bin/ngrok").stdout.startswith("ngrok version 3")


def test_the_version_is_that_of_the_workspace() -> None:
    cargo = Path(__file__).parents[2] / "Cargo.toml"
    assert re.findall(r'^version = "(.+)"$', cargo.read_text(), re.MULTILINE) == [__version__]


@pytest.mark.parametrize("argv", [["version"], []])
def test_what_needs_no_framework_imports_none(argv: list[str]) -> None:
    code = "import sys; from portway.__main__ import main; main(); print(sorted(sys.modules), file=sys.stderr)"
    told = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    assert "portway.__main__" in told.stderr
    for heavy in ("typer", "yaml", "typing", "json", "re'"):
        assert f"'{heavy}" not in told.stderr


def test_no_arguments_give_a_short_usage() -> None:
    told = portway()
    assert (told.returncode, told.stderr) == (0, "")
    assert "\nUsage:\n  portway COMMAND [ARGS] [FLAGS]\n" in told.stdout


@pytest.mark.parametrize(
    ("argv", "about"),
    [
        (["--help"], "portway COMMAND"),
        (["help"], "portway COMMAND"),
        (["help", "http"], "portway http "),
        (["http", "-h"], "portway http "),
        (["help", "edge", "check"], "portway edge check "),
        (["config"], "portway config COMMAND"),
        (["config", "--help"], "portway config COMMAND"),
        (["help", "config", "check"], "portway config check "),
    ],
)
def test_help_is_about_the_command_named(argv: list[str], about: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, err) == (0, "")
    assert f"\nUsage:\n  {about}" in out


def test_deprecated_flags_and_hidden_commands_are_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "http", "--help")
    assert "--url" in out
    for hidden in ("--subdomain", "--basic-auth", "--region", "--session-metadata"):
        assert hidden not in out
    _, out, _ = run(capsys, "--help")
    assert "authtoken" in commands.COMMANDS
    assert re.search(r"^  edge\b", out, re.MULTILINE)
    assert not re.search(r"^  authtoken\b", out, re.MULTILINE)


# === finding the command


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        (["http", "80"], ("http", ["80"])),
        (["--config", "f.yml", "http", "80"], ("http", ["--config", "f.yml", "80"])),
        (["--config=f.yml", "config", "check"], ("config check", ["--config=f.yml"])),
        (["config", "--log", "stdout", "check"], ("config check", ["--log", "stdout"])),
        (["--config", "http", "tcp", "22"], ("tcp", ["--config", "http", "22"])),
        (["edge", "--domain", "check"], ("edge", ["--domain", "check"])),
        (["edge", "check", "--domain", "x"], ("edge check", ["--domain", "x"])),
        (["start", "edge"], ("start", ["edge"])),
        (["--metadata", "m", "http", "--metadata", "n"], ("http", ["--session-metadata", "m", "--metadata", "n"])),
        (["bogus"], ("", ["bogus"])),
    ],
)
def test_the_command_is_found_behind_flags(argv: list[str], found: tuple[str, list[str]]) -> None:
    command, ahead, rest = commands.find(argv)
    assert (command, ahead + rest) == found


def test_flags_before_the_command_are_those_every_command_has() -> None:
    listed = {f"--{flag.name}" for flag in options.GLOBALS}
    assert listed == {*commands.GLOBAL_FLAGS, commands.SESSION_METADATA}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["http", "80", "--bogus"], "unknown flag: --bogus"),
        (["http", "80", "--subdomian", "x"], "unknown flag: --subdomian (did you mean --subdomain?)"),
        (["--bogus"], "unknown flag: --bogus"),
        (["--log", "stdout", "--bogus"], "unknown flag: --bogus"),
        (["http", "-hostname=x", "80"], "unknown flag: -hostname"),
        (["http", "80", "-x"], "unknown flag: -x"),
        (["http", "80", "--url"], "flag needs an argument: --url"),
        (["http", "80", "--inspect=maybe"], 'invalid argument "maybe" for "--inspect" flag: expected true or false'),
        (["http"], "UPSTREAM is missing"),
        (["http", "80", "81"], "unexpected argument: 81"),
        (["htpp", "80"], 'unknown command "htpp" for "portway" (did you mean http?)'),
        (["config", "chekc"], 'unknown command "chekc" for "portway config" (did you mean check?)'),
    ],
)
def test_a_wrong_command_line_fails_in_words(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, out) == (1, "")
    assert err.splitlines()[0] == f"ERROR:  {message}"
    assert all(line.startswith("ERROR:  ") for line in err.splitlines())


@pytest.mark.parametrize(
    ("argv", "now"),
    [
        (["http", "-auth", "u:p", "80"], "It is called --basic-auth since version 3."),
        (["http", "--auth=u:p", "80"], "It is called --basic-auth since version 3."),
        (["http", "-bind-tls=both", "80"], "It is called --scheme since version 3."),
        (["http", "--bind-tls", "true", "80"], "It is called --scheme since version 3."),
        (["http", "-subdomain=x", "80"], "Long flags have two hyphens: --subdomain"),
        (["-config=x", "http", "80"], "Long flags have two hyphens: --config"),
        (["-log", "stdout", "start", "--all"], "Long flags have two hyphens: --log"),
        (["config", "-config", "x"], "Long flags have two hyphens: --config"),
    ],
)
def test_flags_of_version_2_are_told_what_they_are_called_now(
    argv: list[str], now: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, out) == (1, "")
    assert err.splitlines()[1] == f"ERROR:  {now}"


def test_an_error_of_a_user_ends_with_code_1_and_without_a_traceback() -> None:
    told = portway("edge", "--config", "/nowhere/edge.yml")
    assert (told.returncode, told.stdout) == (1, "")
    assert "Traceback" not in told.stderr
    assert "/nowhere/edge.yml" in told.stderr


def test_control_characters_in_errors_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = run(capsys, "\x1b[2Jboo")
    assert "\x1b" not in err
    assert "boo" in err


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("portway.cli.app.evaluate", interrupted)
    assert run(capsys, "http", "80") == (130, "", "")


# === values


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["--inspect=false", "80"], ["--no-inspect", "80"]),
        (["--inspect=TRUE"], ["--inspect"]),
        (["--no-inspect=false"], ["--inspect"]),
        (["80", "--name", "--inspect=false"], ["80", "--name=--inspect=false"]),
        (["--name=a=b"], ["--name=a=b"]),
        (["--name", ""], ["--name="]),
        (["--", "--name", "-x"], ["--", "--name", "-x"]),
        (["-", "-h"], ["-", "-h"]),
    ],
)
def test_all_spellings_of_a_flag_are_one(given: list[str], read: list[str]) -> None:
    parameters = get_command(command(lambda given: None, FLAGS)).params
    assert normalised(given, parameters, "portway") == read


@pytest.mark.parametrize("command_name", [name for name in commands.COMMANDS if not commands.is_group(name)])
def test_a_value_may_stand_behind_every_name_of_its_flag(command_name: str) -> None:
    made: Any = get_command(load(command_name))
    for option in made.params:
        if option.param_type_name != "option" or option.is_flag:
            continue
        for name in option.opts:
            for given in ([name, "value"], [f"{name}=value"]):
                words = normalised(given, made.params, "portway")
                parser = made.make_parser(made.context_class(made, resilient_parsing=True))
                read, rest, _ = parser.parse_args(words)
                assert (read[option.name], rest) in (("value", []), (["value"], [])), name


def test_lists_may_be_repeated_and_parted_by_commas() -> None:
    assert split(["a,b", "c", '"d,e"', "f, g"]) == ["a", "b", "c", "d,e", "f", "g"]


def test_commas_in_header_values_stay() -> None:
    assert headers(["cache-control: no-store, max-age=0", "a:1,b:2", "date: Mon, 01 Jan 2024 10:00:00 GMT"]) == [
        "cache-control: no-store, max-age=0",
        "a:1",
        "b:2",
        "date: Mon, 01 Jan 2024 10:00:00 GMT",
    ]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["help http", "version", "http", "config check --config /nowhere"])
def test_a_stream_that_is_closed_is_one_nobody_reads(words: str, closed: str) -> None:
    command_line = f"{sys.executable} -m portway {words} {closed}"
    told = subprocess.run(["sh", "-c", command_line], capture_output=True, text=True)
    assert told.returncode == (0 if words in ("help http", "version") else 1)
    assert "Traceback" not in told.stdout + told.stderr


FULL = Path("/dev/full")
AT_ONCE = ["version", "", "__complete -- st", "help http", "config check --log-format json --config /nowhere"]


@pytest.mark.parametrize("unbuffered", [True, False], ids=["unbuffered", "buffered"])
@pytest.mark.parametrize("words", AT_ONCE)
def test_output_nobody_reads_is_no_error(words: str, unbuffered: bool) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    env = {**os.environ, "PYTHONUNBUFFERED": "1" if unbuffered else ""}
    with os.fdopen(writing, "wb") as gone:
        argv = [sys.executable, "-m", "portway", *words.split()]
        told = subprocess.run(argv, stdout=gone, stderr=subprocess.PIPE, text=True, env=env)
    assert (told.returncode, told.stderr) == (1, "")


@pytest.mark.parametrize("unbuffered", [True, False], ids=["unbuffered", "buffered"])
@pytest.mark.parametrize("words", AT_ONCE)
def test_a_full_disk_under_the_output_is_told(words: str, unbuffered: bool) -> None:
    if not FULL.exists():
        need.lacking(f"{FULL}, a disk that is always full")
    env = {**os.environ, "PYTHONUNBUFFERED": "1" if unbuffered else ""}
    with FULL.open("wb") as full:
        argv = [sys.executable, "-m", "portway", *words.split()]
        told = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, env=env)
    assert (told.returncode, told.stderr) == (1, "ERROR:  No space left on device\n")
