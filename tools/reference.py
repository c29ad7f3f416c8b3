"""docs/reference/cli.md: every command and flag, those that are no longer listed too."""

from __future__ import annotations

import re

from portway.cli.commands import COMMANDS, is_group
from portway.cli.describe import Flag, spec
from portway.cli.help import parted, shown, usage_line

HEAD = """# Command line

Made by `tools/commands.py` from the commands themselves.

Flags may stand anywhere, before the command too. Long ones have two hyphens and take `--flag value` as well as
`--flag=value`; switches take `--flag`, `--flag=true` and `--flag=false`. Lists may be repeated, and parted by commas.
`portway COMMAND --help` shows what stands here. A command ends with 0 when it did what it was to do, or was stopped,
and with 1 after an error, which stderr tells in lines that begin with `ERROR:`. The commands of `portway api` are on
[a page of their own](api.md).

Run under the name `ngrok` (a link is enough), portway looks for that program's configuration file first, writes that
one, and names itself so. Its version is a line that wrappers of that program can read, under either name.
"""

OLD = """
## Older spellings

They work, and say on stderr what took their place; help does not list them.
"""


def page() -> str:
    text = HEAD + heading("Flags of every command") + rows(parted(spec("version"))[1])
    for command, (_, about) in COMMANDS.items():
        if about and not is_group(command):
            text += section(command)
    text += OLD
    hidden = [
        f"`portway {command}`"
        for command, (_, about) in COMMANDS.items()
        if not about and command != "edge plan" and not command.startswith("__")
    ]
    text += f"\nCommands: {', '.join(hidden)}.\n" if hidden else ""
    for command in COMMANDS:
        flags = [] if is_group(command) else [flag for flag in spec(command)[4] if flag[3] and flag[2]]
        if flags and COMMANDS[command][1]:
            text += f"\n### Of portway {command}\n" + rows(flags)
    return text


def heading(text: str) -> str:
    return f"\n## {text}\n"


def section(command: str) -> str:
    made = spec(command)
    text = heading(f"portway {command}") + f"\n{made[0]}\n"
    if made[1]:
        text += f"\n{made[1]}\n"
    if made[2]:
        text += "\n```sh\n" + "\n".join(example(line) for line in made[2].split("\n")) + "\n```\n"
    text += f"\nUsage: `{usage_line('portway', command, made)}`\n"
    words = [f"| `{cell(metavar)}` | {cell(about)} |\n" for metavar, about, _ in made[3] if about]
    text += "\n| argument | |\n|---|---|\n" + "".join(words) if words else ""
    own, _ = parted(made)
    return text + (rows(own) if own else "")


def example(line: str) -> str:
    """What stands behind a command becomes a comment of the shell."""
    command, gap, about = re.fullmatch(r" *(.*?)(?:( {3,})(.*))?", line.rstrip()).groups()  # type: ignore[union-attr]
    return f"{command}{gap}# {about}" if about else str(command)


def rows(flags: list[Flag]) -> str:
    return "\n| flag | |\n|---|---|\n" + "".join(f"| `{cell(shown(flag))}` | {cell(flag[2])} |\n" for flag in flags)


def cell(text: str) -> str:
    return text.replace("|", "\\|")
