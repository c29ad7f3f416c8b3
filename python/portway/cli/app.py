"""From a command line to an exit code: finds the command, imports it alone, runs it, reports how it failed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from portway.cli import help as pages
from portway.cli.commands import API, COMMANDS, GLOBAL_FLAGS, HELP_FLAGS, below, find, is_group
from portway.cli.report import CommandError, dropped, failed, flushed, nearest

if TYPE_CHECKING:
    import typer

    from portway.launch import Launch


def main(program: str, argv: list[str]) -> int:
    """Runs a command line; whatever goes wrong ends as text and a code, never as a traceback of what a user did."""
    from portway.launch import Launch, run

    try:
        result = evaluate(program, argv)
        if isinstance(result, Launch):
            from portway.update.trial import begun

            run(begun(result), result.kind)
        flushed()
        return result
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return ended(error)


def ended(error: Exception) -> int:
    """The exit code of a command that failed, once it is told why. Raises our own mistakes again."""
    if isinstance(error, BrokenPipeError):  # whoever read our output has gone
        dropped(1, 2)
        return 1
    text = explained(error)
    if text is None:
        raise error
    return failed(text)


def explained(error: Exception) -> str | None:
    """The text of an error that a user can act on; `None` for our own mistakes."""
    if type(error).__module__.startswith("portway."):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    if (usage_error := getattr(error, "format_message", None)) is not None:  # typer's own
        return str(usage_error())
    return None


def load(command: str) -> typer.Typer:
    """The typer application of one command."""
    module, _ = COMMANDS[command]
    name = command.rpartition(" ")[2].replace("-", "_")
    build: Callable[[], typer.Typer] = getattr(import_module(f"portway.cli.{module}"), f"{name}_command")
    return build()


def evaluate(program: str, argv: list[str]) -> Launch | int:
    """Does what a command line says: an exit code, or what is to be run in place of this process."""
    command, ahead, rest = find(argv)
    if command == "help":
        command, ahead, rest = find(["--help", *(word for word in rest if word not in HELP_FLAGS)])
    if command == API:
        from portway.cli.api import run

        return run(program, [*ahead, *rest])
    if is_group(command):
        return _group(program, command, rest)
    if pages.asked(command, [*ahead, *rest]):
        print(pages.of_command(program, command))
        return 0

    from typer.main import get_command

    from portway.cli.spelling import check_count, normalised
    from portway.launch import Launch

    name = f"{program} {command}"
    runnable: Any = get_command(load(command))
    words = normalised([*ahead, *rest], runnable.params, name)
    check_count(words, runnable.params, name)
    result = runnable.main(words, prog_name=name, standalone_mode=False, obj=[*ahead, *rest])
    return result if isinstance(result, (Launch, int)) else 0


def _group(program: str, group: str, rest: list[str]) -> int:
    """A command line that names no command: `rest` is what stands in the place of one."""
    name = f"{program} {group}".rstrip()
    if not rest:
        print(pages.of_group(program, group))
    elif rest[0] in ("-v", "--version") and not group:
        from portway.__main__ import version_line

        print(version_line())
    elif rest[0].startswith("-"):
        from portway.cli.spelling import unknown

        raise CommandError(unknown(rest[0].partition("=")[0], [*GLOBAL_FLAGS, *HELP_FLAGS, "--version"], name))
    else:
        hint = nearest(rest[0], list(below(group)))
        raise CommandError(f'unknown command "{rest[0]}" for "{name}"{hint}\nSee `{name} --help`.')
    return 0
