"""A command line behind `api`: which command of the API it means, and what may be given to it (api-cli.md §1, §2)."""

from __future__ import annotations

from typing import NamedTuple

from portway.api import catalogue
from portway.api.catalogue import METAVARS, Command
from portway.cli.commands import API, HELP_FLAGS, SESSION_METADATA
from portway.cli.describe import Flag, Spec

KEY: Flag = (("--api-key",), "KEY", "Key of the API; else of a variable, or of the file", False)
URL: Flag = (("--api-url",), "URL", "Address of the API; else of a variable, or of the file", False)
LISTED = ("--config", "--log", "--log-format", "--log-level", "-h")
WORDS = {"id": "ID", "edge_id": "EDGE_ID", "subscription_id": "SUBSCRIPTION_ID"}
MODULE = "--module."
"""In front of every flag of a module, as bodies were once told to be."""


class Line(NamedTuple):
    name: str
    """Of the command or group that was found, as the catalogue has it."""
    command: Command | None
    rest: list[str]
    """Everything else that was typed, in its order."""
    strange: str | None = None
    """A word that stands where a command should, and is none."""


class Option(NamedTuple):
    """A flag, as `spelling` asks about it."""

    opts: tuple[str, ...]
    secondary_opts: tuple[str, ...]
    is_flag: bool
    param_type_name: str = "option"


class Word(NamedTuple):
    """A word that is no flag, in the same way."""

    metavar: str
    required: bool = True
    nargs: int = 1
    param_type_name: str = "argument"


def common() -> tuple[Flag, ...]:
    """Flags that all commands of the API have. What else every command has is taken and not listed."""
    from portway.cli import tree

    shared = [flag for flag in tree.COMMON if flag[0][0] not in ("--metadata", SESSION_METADATA)]
    return KEY, URL, *((names, value, text, names[0] not in LISTED) for names, value, text, _ in shared)


def locate(words: list[str]) -> Line:
    """The longest command that `words` begin with, flags looked past wherever they stand."""
    words = _without_session(words)
    name, at = "", 0
    command: Command | None = None
    rest: list[str] = []
    valued: set[str] | None = None
    while at < len(words):
        word = words[at]
        at += 1
        if command or word == "--":
            return Line(name, command, [*rest, *words[at - 1 :]])
        if word.startswith("-") and word != "-":
            rest.append(word)
            valued = valued or _valued()
            if "=" not in word and word in valued and at < len(words):
                rest.append(words[at])
                at += 1
        elif catalogue.exists(longer := f"{name} {word}".lstrip()):
            name, command = longer, catalogue.command(longer)
        else:
            return Line(name, None, [*rest, *words[at:]], word)
    return Line(name, command, rest)


def _without_session(words: list[str]) -> list[str]:
    """The words that are about the API; metadata of a session may stand in front of every command."""
    if SESSION_METADATA in words:
        at = words.index(SESSION_METADATA)
        return _without_session([*words[:at], *words[at + 2 :]])
    return [word for word in words if not word.startswith(f"{SESSION_METADATA}=")]


def _valued() -> set[str]:
    """Every flag that a value follows, of whatever command."""
    found = {f"--{name}" for name, sign in catalogue.flag_names().items() if sign != "?"}
    found |= {f"{MODULE}{name.removeprefix('--')}" for name in found}
    return found | {name for names, value, *_ in common() for name in names if value}


def options(command: Command | None) -> list[Option]:
    """The flags of a command, or of a group, in all their spellings; the first is the one that is listed."""
    found = [Option(names, (), not value) for names, value, *_ in common() if names[0] not in HELP_FLAGS]
    for flag in command.flags if command else ():
        names = [f"--{flag.name}"]
        if command and command.verb == "replace":
            names.append(f"{MODULE}{flag.name}")
        off = tuple(name.replace("--", "--no-", 1) for name in names) if flag.sign == "?" else ()
        found.append(Option(tuple(names), off, flag.sign == "?"))
    return found


def words_of(command: Command) -> list[Word]:
    return [Word(WORDS[name]) for name in command.parameters]


def spec(command: Command) -> Spec:
    """What a command takes, as help and the reference have it."""
    return (
        catalogue.about(command.name),
        "",
        f"  portway {API} {catalogue.example(command)}",
        tuple((word.metavar, "", True) for word in words_of(command)),
        tuple(
            ((f"--{flag.name}",), METAVARS[flag.sign], catalogue.help_of(command, flag), flag.hidden)
            for flag in command.flags
        ),
    )


# === what completion asks


def takes_value(line: Line, name: str) -> bool:
    found = next((option for option in options(line.command) if name in option.opts), None)
    return found is not None and not found.is_flag


def values(line: Line, name: str) -> tuple[str, ...]:
    """The values that a flag may have, where these are a few."""
    flags = line.command.flags if line.command else ()
    found = next((flag for flag in flags if f"--{flag.name}" == name), None)
    return catalogue.values_of(line.command, found) if found and line.command else ()


def flags(line: Line) -> dict[str, str]:
    """The listed flags, with a few words about each."""
    own = spec(line.command)[4] if line.command else ()
    return {names[-1]: text for names, _, text, hidden in (*own, *common()) if not hidden}


def below(line: Line) -> dict[str, str]:
    return catalogue.below(line.name)
