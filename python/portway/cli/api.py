"""`portway api …`: which command of the API is meant, and help where none is (api-cli.md)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from portway.api.catalogue import exists
from portway.api.errors import hidden
from portway.cli import api_help, api_line
from portway.cli.commands import API, HELP_FLAGS
from portway.cli.report import CommandError, nearest
from portway.cli.spelling import check_count, normalised

KEY = api_line.KEY[0][0]


def run(program: str, argv: list[str]) -> int:
    """Does what stands behind `api`. Raises what goes wrong, with a text for the user."""
    try:
        return _run(program, argv)
    except CommandError as error:
        # A word too many, or one in the wrong place, is quoted; it may be the key.
        behind = [word for flag, word in pairwise(argv) if flag == KEY]
        joined = [word.partition("=")[2] for word in argv if word.startswith(f"{KEY}=")]
        raise CommandError(hidden(str(error), [*behind, *joined])) from None


def _run(program: str, argv: list[str]) -> int:
    line = api_line.locate(argv)
    if line.command is None:
        return _group(program, line)
    name = f"{program} {API} {line.name}"
    typed = normalised(line.rest, api_line.options(line.command), name)
    if _asks_help(typed):
        print(api_help.of_command(program, line.command))
        return 0
    check_count(typed, api_line.words_of(line.command), name)

    from portway.cli.api_call import call  # late: help needs no client

    return call(program, line.command, typed)


def _group(program: str, line: api_line.Line) -> int:
    """A command line that names a resource, or nothing."""
    name = f"{program} {API} {line.name}".rstrip()
    if line.strange is None:
        normalised(line.rest, api_line.options(None), name)
        print(api_help.of_group(program, line.name))
        return 0
    hint = nearest(line.strange, list(api_line.below(line)))
    text = f'unknown command "{line.strange}" for "{name}"{hint}\n'
    if not line.name and not hint and exists(f"endpoints {line.strange}"):
        text += f"What of comes first, as in `{program} {API} endpoints {line.strange}`.\n"
    raise CommandError(f"{text}See `{name} --help`.")


def _asks_help(typed: Sequence[str]) -> bool:
    flags = typed[: typed.index("--")] if "--" in typed else typed
    return any(word in HELP_FLAGS for word in flags)
