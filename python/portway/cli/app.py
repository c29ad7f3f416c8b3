"""From a command line to an exit code: finds the command, imports it alone, runs it, reports how it failed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from portway.cli.commands import COMMANDS, GLOBAL_FLAGS, HELP_FLAGS, SESSION_METADATA, below, find, usage
from portway.cli.report import Failure, failed, nearest

if TYPE_CHECKING:
    import typer

    from portway.launch import Launch


def main(program: str, argv: list[str]) -> int:
    """Runs a command line; whatever goes wrong ends as text and a code, never as a traceback of what a user did."""
    from portway.launch import Launch, run

    try:
        result = evaluate(program, argv)
        if isinstance(result, Launch):
            run(result.plan, result.kind)
        return result
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1  # whoever read our output has gone
    except Exception as error:
        text = explained(error)
        if text is None:
            raise
        return failed(text)


def explained(error: Exception) -> str | None:
    """The text of an error that a user can act on; `None` for our own mistakes."""
    from portway.config.errors import ConfigError
    from portway.launch import NotBuiltError

    if isinstance(error, (Failure, ConfigError, NotBuiltError)):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    if (usage_error := getattr(error, "format_message", None)) is not None:  # typer's own
        return str(usage_error()).replace("Got unexpected extra argument", "unexpected argument")
    return None


def load(command: str) -> typer.Typer:
    """The typer application of one command."""
    module, _ = COMMANDS[command]
    name = command.split()[-1].replace("-", "_")
    build: Callable[[], typer.Typer] = getattr(import_module(f"portway.cli.{module}"), f"{name}_command")
    return build()


def evaluate(program: str, argv: list[str]) -> Launch | int:
    """Does what a command line says: an exit code, or what is to be run in place of this process."""
    command, rest = find(argv)
    if command == "help":
        command, rest = find([*(word for word in rest if word not in HELP_FLAGS), "--help"])
    if command in ("", "config"):
        return _group(program, command, rest)

    from typer.main import get_command

    from portway.cli.options import normalised
    from portway.launch import Launch

    name = f"{program} {command}"
    runnable: Any = get_command(load(command))
    words = normalised(rest, runnable.params, name)
    result = runnable.main(words, prog_name=name, standalone_mode=False, obj=rest)
    return result if isinstance(result, (Launch, int)) else 0


def _group(program: str, group: str, rest: list[str]) -> int:
    """A command line that ends before a command is reached."""
    words = [word for word in rest if word not in HELP_FLAGS]
    name = f"{program} {group}".rstrip()
    if words and not words[0].startswith("-"):
        hint = nearest(words[0], list(below(group)))
        raise Failure(f'unknown command "{words[0]}" for "{name}"{hint}\nSee `{name} --help`.')
    if words and words[0] in ("-v", "--version"):
        from portway.__main__ import version_line

        print(version_line())
    elif words and (flag := words[0].partition("=")[0]) not in (*GLOBAL_FLAGS, SESSION_METADATA):
        raise Failure(f"unknown flag: {flag}\nSee `{name} --help`.")
    else:
        print(usage(program, group))
    return 0
