"""Flags: what they are called, what they hold, and how a typer command comes to have them.

Flags of one command alone stand in its function, as usual with typer. Those that many commands share are rows of
tables, because `http`, `tcp` and `tls` have sixty of them in ever other combinations; `command` joins both.
"""

from __future__ import annotations

import csv
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

import typer
from typer.core import TyperCommand

from portway.cli.commands import HELP_FLAGS
from portway.cli.report import CommandError, nearest

Kind = Literal["text", "list", "flag"]


class Flag(NamedTuple):
    name: str
    """Without hyphens."""
    kind: Kind
    help: str = ""
    metavar: str = ""
    instead: str = ""
    """Of a deprecated flag, which is not listed: what its users are told."""

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")


GLOBALS = (
    Flag("config", "list", "Configuration file; several are merged, later ones win", "FILE"),
    Flag("log", "text", "Where records go: stdout, stderr, false or a file", "TARGET"),
    Flag("log-format", "text", "term, logfmt or json", "FORMAT"),
    Flag("log-level", "text", "debug, info, warn, error or crit", "LEVEL"),
    Flag("authtoken", "text", "Credential towards the edge", "TOKEN"),
    Flag("metadata", "text", "Stored by the edge with this session", "TEXT"),
    Flag("session-metadata", "text"),
    Flag("connect-url", "text", "Address of the edge", "HOST:PORT"),
    Flag("connect-cas", "text", "Whom to trust as the edge: trusted, host, pin:sha256:HEX or a PEM file", "CAS"),
)


# Flags of version 2 that had one hyphen and another name.
GONE = {"-auth": "--basic-auth", "-bind-tls": "--scheme"}


class Given:
    """The values of flags from tables, by key. A flag that was not given is `None`, a list is empty."""

    def __init__(self, flags: Iterable[Flag], values: dict[str, Any], argv: Sequence[str] = ()) -> None:
        self.argv = list(argv)
        """The words behind the command, as they were typed."""
        self._flags = {flag.key: flag for flag in flags}
        self._values = {key: value for key in self._flags if (value := values[key]) not in (None, [], ())}

    def text(self, key: str) -> str | None:
        value = self._values.get(key)
        return None if value is None else str(value)

    def flag(self, key: str) -> bool | None:
        value = self._values.get(key)
        return None if value is None else bool(value)

    def many(self, key: str) -> list[str]:
        """Repeated flags and comma-separated values add up."""
        return split(self.repeated(key))

    def repeated(self, key: str) -> list[str]:
        """Repeated flags only, for values that have commas of their own."""
        value = self._values.get(key, [])
        return [value] if isinstance(value, str) else list(value)

    def notices(self) -> list[str]:
        """What is told about deprecated flags that were used."""
        used = (self._flags[key] for key in self._values)
        return [f"Flag --{flag.name} has been deprecated, {flag.instead}" for flag in used if flag.instead]


def split(values: Iterable[str]) -> list[str]:
    """`a,b` is two values; one with a comma of its own is put in double quotes."""
    try:
        return [part for row in csv.reader(values, skipinitialspace=True) for part in row if part]
    except csv.Error as error:
        raise CommandError(f"cannot read a list of values: {error}") from None


def headers(values: Iterable[str]) -> list[str]:
    """`name:value` pairs. A comma parts two of them only where a name follows it; header values have commas too."""
    return [part for value in values for part in re.split(r",(?=\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+:)", value)]


class Command(TyperCommand):
    """Without the braces that typer puts around what must be given."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


def command(run: Callable[..., Any], flags: Sequence[Flag] = (), examples: str = "") -> typer.Typer:
    """A typer command of `run`: its own annotated parameters, the flags of the table, and those of every command.

    `run` gets the latter two as its first argument, a `Given`. `examples` are the first lines of its help.
    """
    table = [*flags, *(flag for flag in GLOBALS if flag.name not in {other.name for other in flags})]
    hints = get_type_hints(run, include_extras=True)
    _, *own = inspect.signature(run).parameters.values()
    parameters = [one.replace(annotation=hints[one.name], kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    parameters += [_parameter(flag) for flag in table]
    parameters.append(inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))

    def call(ctx: typer.Context, **values: Any) -> Any:
        own_values = {one.name: values.pop(one.name) for one in own}
        return run(Given(table, values, ctx.obj or ()), **own_values)

    call.__doc__ = run.__doc__
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters}

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
    app.command(
        name=run.__name__.replace("_", "-"),
        cls=Command,
        options_metavar="[FLAGS]",
        context_settings=settings,
        epilog=examples or None,
    )(call)
    return app


def _parameter(flag: Flag) -> inspect.Parameter:
    kinds: dict[Kind, Any] = {"text": str | None, "list": list[str] | None, "flag": bool | None}
    names = f"--{flag.name}/--no-{flag.name}" if flag.kind == "flag" else f"--{flag.name}"
    option = typer.Option(
        names,
        help=flag.help or flag.instead,
        metavar=flag.metavar or None,
        hidden=bool(flag.instead) or not flag.help,
        show_default=False,
    )
    return inspect.Parameter(
        flag.key,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kinds[flag.kind], option],
    )


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
            raise CommandError(_unknown(name, list(known), program))
        elif (option := known[name]) is None:
            rest.append(word)
        elif option.is_flag:
            rest.append(_switch(option, name, value) if equals else name)
        elif not equals and not words:
            raise CommandError(f"flag needs an argument: {name}")
        else:
            rest.append(f"{name}={value if equals else words.pop(0)}")
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


def _unknown(name: str, known: list[str], program: str) -> str:
    twin = f"-{name}"
    if (now := GONE.get(name)) in known:
        return f"unknown flag: {name}\nIt is called {now} since version 3."
    if not name.startswith("--") and twin in known and len(name) > 2:
        return f"unknown flag: {name}\nLong flags have two hyphens: {twin}"
    hint = nearest(name, [flag for flag in known if flag.startswith("--")])
    return f"unknown flag: {name}{hint}\nSee `{program} --help`."
