"""Help of the commands of the API: what there is, and what one of them takes."""

from __future__ import annotations

from portway.api import catalogue
from portway.api.catalogue import Command
from portway.api.table import COMMANDS
from portway.cli import api_line
from portway.cli.commands import API
from portway.cli.describe import Flag
from portway.cli.help import Page, of_spec, shown

ABOUT = "Use the API: endpoints, domains, credentials and the rest. The answer is JSON on stdout."
EXAMPLES = """\
  portway config add-api-url https://api.example.com         once
  portway config add-api-key KEY                             once
  portway api endpoints list                                 what is online
  portway api reserved-domains create --domain example.com   a domain of your own
"""


def of_command(program: str, command: Command) -> str:
    made = api_line.spec(command)
    own = [flag for flag in made[4] if not flag[3]]
    return of_spec(program, f"{API} {command.name}", made, own, listed())


def of_group(program: str, group: str) -> str:
    """The help of the API, of a group of resources, or of one resource."""
    head = f"{program} {API} {group}".rstrip()
    page = Page(program)
    page.text(f"{catalogue.about(group)}." if group else ABOUT)
    page.examples(examples(group))
    page.heading("Usage:")
    page.text(f"  {head} {'COMMAND' if verbs(group) else 'RESOURCE COMMAND'} [ID] [FLAGS]", hang=6)
    page.table("Commands:" if verbs(group) else "Resources:", list(catalogue.below(group).items()))
    page.table("Flags of every command:", [(shown(flag), flag[2]) for flag in listed()])
    page.text(f"`{head} {'COMMAND' if verbs(group) else 'RESOURCE'} --help` tells more.")
    return page.done()


def verbs(group: str) -> bool:
    """Whether commands are below it, and not only resources."""
    return any(name.rpartition(" ")[0] == group for name in COMMANDS)


def examples(group: str) -> str:
    """A command that looks, and one that makes something."""
    if not group:
        return EXAMPLES
    resource = group if verbs(group) else f"{group} {next(iter(catalogue.below(group)))}"
    lines: list[str] = []
    for verb in ("list", "create", "get", "replace", "self"):
        if (command := catalogue.command(f"{resource} {verb}")) and len(lines) < 2:
            plain = verb == "list" and not command.parameters
            lines.append(f"  portway {API} {command.name if plain else catalogue.example(command)}\n")
    return "".join(lines)


def listed() -> list[Flag]:
    return [flag for flag in api_line.common() if not flag[3]]
