"""The spellings of a command line: flags in all of theirs brought to one, words counted, lists parted.

Knows the commands only by what it is told about their parameters, so it does without the framework.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import Any

from portway.cli.commands import HELP_FLAGS
from portway.cli.report import CommandError, nearest

# Flags of version 2 that had another name.
GONE = {"auth": "--basic-auth", "bind-tls": "--scheme"}


def split(values: Iterable[str]) -> list[str]:
    """`a,b` is two values; one with a comma of its own is put in double quotes."""
    try:
        return [part for row in csv.reader(values, skipinitialspace=True) for part in row if part]
    except csv.Error as error:
        raise CommandError(f"cannot read a list of values: {error}") from None


def normalised(arguments: Sequence[str], parameters: Iterable[Any], program: str) -> list[str]:
    """`arguments` in the one spelling that typer reads alike everywhere. Raises `CommandError` for what makes no sense.

    `--flag=true`, `--flag=false` and a value that begins with a hyphen are usual here and not in typer; and what it
    says about flags it does not know is not what scripts look for. `parameters` are those of the typer command.
    """
    options = [one for one in parameters if one.param_type_name == "option"]
    known = {name: option for option in options for name in (*option.opts, *option.secondary_opts)}
    known |= dict.fromkeys(HELP_FLAGS)
    words = list(arguments)
    rest: list[str] = []
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            return [*rest, word, *words]
        if not word.startswith("-") or word == "-":
            rest.append(word)
        elif name not in known:
            raise CommandError(unknown(name, list(known), program))
        elif (option := known[name]) is None:
            rest.append(word)
        elif option.is_flag:
            rest.append(_switch(option, name, value) if equals else name)
        elif not equals and not words:
            raise CommandError(f"flag needs an argument: {name}")
        else:
            # `-w=FILE` would be read as `-w` with the value `=FILE`, so a short name is written out.
            long = name if name.startswith("--") else max(option.opts, key=len)
            rest.append(f"{long}={value if equals else words.pop(0)}")
    return rest


def check_count(words: Sequence[str], parameters: Iterable[Any], program: str) -> None:
    """Raises `CommandError` when `words`, normalised, name too few things or too many."""
    arguments = [one for one in parameters if one.param_type_name == "argument"]
    given = positionals(words)
    names = [str(one.metavar or one.name) for one in arguments]
    if set(words) & set(HELP_FLAGS):
        return
    if missing := names[len(given) : sum(one.required for one in arguments)]:
        raise CommandError(f"{missing[0]} is missing\nSee `{program} --help`.")
    if len(given) > len(names) and not any(one.nargs == -1 for one in arguments):
        raise CommandError(f"unexpected argument: {given[len(names)]}\nSee `{program} --help`.")


def positionals(words: Sequence[str]) -> list[str]:
    """The words that belong to no flag, of words in which every value is joined to its flag."""
    if "--" in words:
        at = words.index("--")
        return [*positionals(words[:at]), *words[at + 1 :]]
    return [word for word in words if not word.startswith("-") or word == "-"]


def _switch(option: Any, name: str, value: str) -> str:
    on = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}.get(value.lower())
    if on is None:
        raise CommandError(f'invalid argument "{value}" for "{name}" flag: expected true or false')
    names = option.opts if on == (name in option.opts) else option.secondary_opts
    return str(names[0])


def unknown(name: str, known: list[str], program: str) -> str:
    """What is told about a flag that `program` has not; `known` are those it has."""
    twin = f"-{name}"
    if (now := GONE.get(name.lstrip("-"))) in known:
        return f"unknown flag: {name}\nIt is called {now} since version 3."
    if not name.startswith("--") and twin in known and len(name) > 2:
        return f"unknown flag: {name}\nLong flags have two hyphens: {twin}"
    hint = nearest(name, [flag for flag in known if flag.startswith("--")])
    return f"unknown flag: {name}{hint}\nSee `{program} --help`."
