"""Flags: what they are called, what they hold, and how a typer command comes to have them.

Flags of one command alone stand in its function, as usual with typer. Those that many commands share are rows of
tables, because `http`, `tcp` and `tls` have sixty of them in ever other combinations; `command` joins both.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

import typer
from typer.core import TyperCommand

from portway.cli.spelling import split

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
