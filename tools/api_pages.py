"""The manual and the reference of `portway api`, from the table of its commands."""

from __future__ import annotations

import manual as parts

from portway.api import catalogue, words
from portway.api.catalogue import METAVARS, Command, Flag
from portway.api.table import COMMANDS
from portway.cli import api_help, api_line
from portway.cli.commands import API

PROSE = """\
Each command is one request. What the server answers is on stdout, as JSON; the status, and whatever goes wrong, is on
stderr. Flags may stand anywhere. Only what was given is sent: an update leaves alone what no flag names, and a flag
with an empty value empties it. Lists may be repeated, and parted by commas; maps are repeated, as KEY=VALUE. Switches
take --flag, --flag=true and --flag=false.

A list is one page. The next one begins behind the last id of this one, which --before-id names.
"""
FURTHER = "`portway api RESOURCE COMMAND --help` tells the flags of a command."
EXIT = {"0": "The server did it.", "1": "It did not, or was not reached, or was not asked; stderr tells which."}
HEAD = f"""# Commands of the API

Made by `tools/commands.py` from the table of the commands; the [guide](../guide/api.md) tells how they are used.

{PROSE}"""


def resources() -> list[str]:
    return list(dict.fromkeys(name.rpartition(" ")[0] for name in COMMANDS))


def commands(resource: str) -> list[Command]:
    """Those of a resource that are listed."""
    names = [name for name in COMMANDS if name.rpartition(" ")[0] == resource and name not in words.UNLISTED]
    return [found for name in names if (found := catalogue.command(name))]


def flags(command: Command) -> list[Flag]:
    return [flag for flag in command.flags if not flag.hidden]


def shown(flag: Flag) -> str:
    value = METAVARS[flag.sign]
    return f"--{flag.name}" + (f" {value}" if value else "")


def typed(command: Command) -> str:
    """A command and the words that it takes."""
    return " ".join([command.name, *(word.metavar for word in api_line.words_of(command))])


def reference() -> str:
    text = HEAD + "\n## Flags of every command\n\n| flag | |\n|---|---|\n"
    for names, value, about, hidden in api_line.common():
        text += "" if hidden else f"| `{', '.join(names)}{f' {value}' if value else ''}` | {about} |\n"
    for resource in resources():
        text += f"\n## {resource}\n\n{catalogue.about(resource)}.\n\n```sh\n{api_help.examples(resource)}```\n"
        text = text.replace("\n  portway ", "\nportway ")
        text += "\n| command | |\n|---|---|\n"
        for command in commands(resource):
            text += f"| `{typed(command)}` | {catalogue.about(command.name)} |\n"
        text += flag_rows(commands(resource))
    return text


def flag_rows(all_of_them: list[Command]) -> str:
    """The flags of a resource, and which of its commands have each; those of lists are the same everywhere."""
    rows: dict[str, tuple[str, list[str]]] = {}
    for command in all_of_them:
        for flag in flags(command):
            about = catalogue.help_of(command, flag._replace(marks=""))
            verb = f"**{command.verb}**" if flag.required else command.verb
            rows.setdefault(shown(flag), (about, []))[1].append(verb)
    lines = [
        f"| `{name}` | {about.replace('|', '/')} | {', '.join(verbs)} |\n" for name, (about, verbs) in rows.items()
    ]
    return "\n| flag | | of |\n|---|---|---|\n" + "".join(lines) if lines else ""


def manual() -> str:
    text = parts.head(API, api_help.ABOUT.partition(":")[0])
    text += parts.section("SYNOPSIS") + f".B portway {API}\n.I RESOURCE COMMAND\n[ID] [FLAGS]\n"
    text += parts.section("DESCRIPTION") + parts.prose(f"{PROSE}\n{FURTHER}")
    text += parts.shown_examples(api_help.EXAMPLES)
    text += parts.section("OPTIONS OF EVERY COMMAND")
    text += "".join(parts.option(flag) for flag in api_line.common() if not flag[3])
    text += parts.section("COMMANDS")
    for resource in resources():
        text += f".SS {parts.escaped(resource)}\n{parts.escaped(catalogue.about(resource))}.\n"
        lines = [f"\\fB{parts.escaped(typed(one))}\\fR" for one in commands(resource)]
        text += "".join(f".br\n{line}\n" for line in lines)
    text += parts.section("EXIT STATUS") + parts.listed(list(EXIT.items()))
    return text + parts.also(["", "config add-api-key"])
