"""The commands of the API as they are looked up: one by its name, those of a group, and the words about them.

Imports next to nothing, for it is also what completion reads.
"""

from __future__ import annotations

from typing import NamedTuple

from portway.api import words
from portway.api.table import COMMANDS

SIGNS = "?#~*@%=<&"
MARKS = "!/-"
METAVARS = {
    "": "TEXT",
    "?": "",
    "#": "NUMBER",
    "~": "NUMBER",
    "*": "LIST",
    "@": "LIST",
    "%": "KEY=VALUE",
    "=": "KEY=NUMBER",
    "<": "FILE",
    "&": "URL",
}


class Flag(NamedTuple):
    name: str
    """Without hyphens in front."""
    sign: str
    """What it holds, as `table` has it."""
    marks: str

    @property
    def required(self) -> bool:
        return "!" in self.marks

    @property
    def in_path(self) -> bool:
        return "/" in self.marks

    @property
    def hidden(self) -> bool:
        return "-" in self.marks

    @property
    def field(self) -> str:
        """The flag whose text this one has in a file or behind a URL; itself, otherwise."""
        return self.name.rpartition("-")[0] if self.sign in ("<", "&") else self.name

    @property
    def keys(self) -> list[str]:
        """Where its value goes in a body, from the outside inwards."""
        return self.field.replace("-", "_").split(".")


class Command(NamedTuple):
    name: str
    method: str
    path: str
    flags: tuple[Flag, ...]

    @property
    def resource(self) -> str:
        return self.name.rpartition(" ")[0]

    @property
    def verb(self) -> str:
        return self.name.rpartition(" ")[2]

    @property
    def parameters(self) -> list[str]:
        """Parts of the path that are words of the command line, by the names they have in the path."""
        flags = {flag.name.replace("-", "_") for flag in self.flags if flag.in_path}
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{") and part[1:-1] not in flags]


def command(name: str) -> Command | None:
    """The command of this name, if there is one."""
    told = COMMANDS.get(name)
    if told is None:
        return None
    method, path, *flags = told.split(" ")
    return Command(name, method, path, tuple(map(_flag, flags)))


def _flag(text: str) -> Flag:
    marked = text.rstrip(MARKS)
    name = marked.rstrip(SIGNS)
    return Flag(name, marked[len(name) :], text[len(marked) :])


def flag_names() -> dict[str, str]:
    """Every flag of every command, and the sign of it."""
    return {flag.name: flag.sign for told in COMMANDS.values() for flag in map(_flag, told.split(" ")[2:])}


def exists(name: str) -> bool:
    """Whether it is a command, or a group of them."""
    return name in COMMANDS or any(command.startswith(f"{name} ") for command in COMMANDS)


def below(group: str, *, hidden: bool = False) -> dict[str, str]:
    """What follows a group (nothing: all of the API) on a command line, with a line about each."""
    prefix = f"{group} ".lstrip()
    found: dict[str, str] = {}
    for name in COMMANDS:
        if name.startswith(prefix) and (hidden or name not in words.UNLISTED):
            word = name.removeprefix(prefix).split(" ")[0]
            found.setdefault(word, about(prefix + word))
    return found


def about(name: str) -> str:
    """A line about a resource, a group of them, or a command."""
    if name in COMMANDS:
        return _summary(name)
    if name in words.GROUPS:
        return words.GROUPS[name]
    return words.RESOURCES[name][3] if name in words.RESOURCES else _capital(_module(name)[0])


def _summary(name: str) -> str:
    resource, _, verb = name.rpartition(" ")
    one, many = words.RESOURCES[resource][:2] if resource in words.RESOURCES else _module(resource)
    return words.VERBS.get(name, words.VERBS.get(verb, "")).format(one=one, many=many)


def _module(resource: str) -> tuple[str, str]:
    """What a module of an edge is: `edge-modules https-edge-route-oauth`."""
    kind, _, rest = resource.partition(" ")[2].partition("-edge-")
    route = rest.startswith("route-")
    module = " ".join(words.SPELT.get(word, word) for word in rest.removeprefix("route-").split("-"))
    article = "an" if kind == "https" else "a"
    return f"the module {module} of {'a route of ' if route else ''}{article} {kind.upper()} edge", ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def help_of(command: Command, flag: Flag) -> str:
    """A few words about a flag."""
    text = _told(words.FLAGS, command, flag)
    return f"{text} (required)" if flag.required else text


def values_of(command: Command, flag: Flag) -> tuple[str, ...]:
    """The values that a flag may have, where these are a few."""
    found = next((words.VALUES[key] for key in _keys(command, flag) if key in words.VALUES), ())
    return ("true", "false") if flag.sign == "?" else found


def secret(command: Command, flag: Flag) -> bool:
    """Whether nobody is to read what it holds."""
    last = flag.name.rpartition(".")[2]
    return last in words.SECRETS or f"{command.resource} {flag.name}" in words.SECRETS_OF


def _told(texts: dict[str, str], command: Command, flag: Flag) -> str:
    return next((texts[key] for key in _keys(command, flag) if key in texts), "")


def _keys(command: Command, flag: Flag) -> tuple[str, str, str, str]:
    last = flag.name.rpartition(".")[2]
    return f"{command.resource} {flag.name}", f"{command.resource} {last}", flag.name, last


def example(command: Command) -> str:
    """A command line that does something, behind `portway api`."""
    known = command.resource in words.RESOURCES
    prefix = words.RESOURCES[command.resource][2] if known else _edge(command.resource)
    ids = {"edge_id": "edghts_ID", "subscription_id": "esb_ID", "id": f"{prefix}_ID"}
    typed = [command.name, *(ids[name] for name in command.parameters)]
    if command.name in words.EXAMPLES:
        typed.append(words.EXAMPLES[command.name])
    elif command.verb not in ("get", "delete") or any(flag.required for flag in command.flags):
        names = {flag.name for flag in command.flags}
        must = [flag.name for flag in command.flags if flag.required]
        shown = must or [name for name in words.USUAL if name in names][:1]
        typed += [f"--{name} {words.USUAL[name]}".rstrip() for name in shown]
    return " ".join(word for word in typed if word)


def _edge(module: str) -> str:
    """How ids begin of what a module belongs to."""
    kind = module.partition(" ")[2].partition("-")[0]
    return "edghtsrt" if "-route-" in module else {"https": "edghts", "tcp": "edgtcp", "tls": "edgtls"}[kind]
