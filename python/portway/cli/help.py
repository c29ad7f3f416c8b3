"""Help of commands: examples first, then what may be given. Fits the terminal it is shown in, and pipes."""

from __future__ import annotations

import os
import sys

from portway.cli.commands import COMMANDS, HELP_FLAGS, below
from portway.cli.describe import Flag, Spec, spec, takes_value
from portway.cli.report import called

WIDEST = 110
NARROWEST = 20
SIDE_BY_SIDE = 60
"""From this width on there are two columns."""

ABOUT = "Public URLs for services behind NAT, on an edge of your own."
EXAMPLES = """\
  portway http 8080                          a URL for the service on port 8080
  portway http 8080 --url shop.example.com   under a name
  portway tcp 22                             a public TCP port
  portway start --all                        everything in the configuration file
  portway edge --domain example.com          the edge that agents connect to
"""


def asked(command: str, words: list[str]) -> bool:
    """Whether `words` ask for help, among flags that are all known. Whatever else they are, is told another way."""
    waiting = list(words)
    found = False
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            break
        if word in HELP_FLAGS:
            found = True
        elif word.startswith("-") and word != "-":
            name, equals, _ = word.partition("=")
            takes = takes_value(command, name)
            if takes is None or (takes and not equals and not waiting):
                return False
            if takes and not equals:
                waiting.pop(0)
    return found


def of_command(program: str, command: str) -> str:
    """The help of one command."""
    made = spec(command)
    return of_spec(program, command, made, *parted(made))


def of_spec(program: str, command: str, made: Spec, own: list[Flag], everywhere: list[Flag]) -> str:
    """The same for a command that is not in the tree; its flags, and those that are not its alone."""
    page = Page(program)
    page.text(made[0])
    page.paragraphs(made[1])
    page.examples(made[2])
    page.heading("Usage:")
    page.text(f"  {usage_line(program, command, made)}", hang=6)
    page.table("Arguments:", [(metavar, text) for metavar, text, _ in made[3] if text])
    page.table("Flags:", [(shown(flag), flag[2]) for flag in own])
    page.table("Flags of every command:", [(shown(flag), flag[2]) for flag in everywhere])
    return page.done()


def of_group(program: str, group: str) -> str:
    """The help of the whole program, or of a group of commands."""
    page = Page(program)
    head = f"{program} {group}".rstrip()
    page.text(COMMANDS[group][1] + "." if group else ABOUT)
    page.examples("" if group else EXAMPLES)
    page.heading("Usage:")
    page.text(f"  {head} COMMAND [ARGS] [FLAGS]", hang=6)
    page.table("Commands:", list(below(group).items()))
    if not group:
        from portway.cli import tree

        rows = [(shown(flag), flag[2]) for flag in tree.COMMON if not flag[3]]
        page.table("Flags of every command:", [*rows, ("-v, --version", "The version")])
    page.text(f"`{head} COMMAND --help` tells more about a command.")
    return page.done()


def usage_line(program: str, command: str, made: Spec) -> str:
    words = [metavar if required or metavar.startswith("[") else f"[{metavar}]" for metavar, _, required in made[3]]
    return " ".join([program, command, *words, "[FLAGS]"])


def parted(made: Spec) -> tuple[list[Flag], list[Flag]]:
    """The listed flags that a command has for itself, and those that it shares with all."""
    from portway.cli import tree

    listed = [flag for flag in made[4] if not flag[3]]
    return [flag for flag in listed if flag not in tree.COMMON], [flag for flag in listed if flag in tree.COMMON]


def shown(flag: Flag) -> str:
    names, metavar, _, _ = flag
    return ", ".join(names) + (f" {metavar}" if metavar else "")


class Page:
    """Lines as wide as the terminal."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.width = width()
        self.bold = styled()
        self.lines: list[str] = []

    def text(self, text: str, hang: int = 0) -> None:
        self.lines += [*wrapped(text, self.width, hang), ""]

    def paragraphs(self, text: str) -> None:
        for paragraph in text.split("\n\n"):
            if paragraph:
                self.text(" ".join(paragraph.split()))

    def heading(self, text: str) -> None:
        self.lines.append(f"\x1b[1m{text}\x1b[0m" if self.bold else text)

    def examples(self, text: str) -> None:
        if not text:
            return
        self.heading("Examples:")
        own = text.rstrip("\n").replace("  portway ", f"  {self.program} ")
        for line in own.split("\n"):
            if len(line) <= self.width:
                self.lines.append(line)
                continue
            command, _, about = line.strip().partition("   ")
            self.lines += wrapped(f"  {command}", self.width, 6)
            if about.strip():
                self.lines += wrapped(f"      {about.strip()}", self.width, 6)
        self.lines.append("")

    def table(self, heading: str, rows: list[tuple[str, str]]) -> None:
        if not rows:
            return
        self.heading(heading)
        column = min(max(len(name) for name, _ in rows), 34) + 4
        for name, about in rows:
            if self.width < SIDE_BY_SIDE:
                self.lines += wrapped(f"  {name}", self.width, 4)
                self.lines += wrapped(f"      {about}", self.width, 6) if about else []
            elif len(name) + 4 > column:
                self.lines.append(f"  {name}")
                self.lines += wrapped(" " * column + about, self.width, column)
            else:
                self.lines += wrapped(f"  {name:<{column - 2}}{about}", self.width, column)
        self.lines.append("")

    def done(self) -> str:
        return called("\n".join(self.lines).rstrip("\n"), self.program)


def wrapped(text: str, columns: int, hang: int) -> list[str]:
    """`text` in lines of at most so many columns where words allow it; later lines begin at column `hang`."""
    lines = []
    line = text
    while len(line) > columns:
        indent = len(line) - len(line.lstrip())
        at = line.rfind(" ", indent, columns + 1)
        if at <= indent:
            at = line.find(" ", max(columns, indent))
            if at < 0:
                break
        head = line[:at].rstrip()
        if len(head) <= hang and head.strip() == "":
            break
        lines.append(head)
        line = " " * min(hang, columns // 2) + line[at:].lstrip()
    return [*lines, line.rstrip()]


def width() -> int:
    """Of the terminal, if there is one; a pipe gets lines of the usual length."""
    try:
        columns = int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        try:
            columns = os.get_terminal_size(sys.stdout.fileno()).columns or 80
        except (OSError, ValueError, AttributeError):
            columns = 80
    return max(min(columns, WIDEST), NARROWEST)


def styled() -> bool:
    """Whether headings may be bold: on a terminal that can do it, unless its user wants none."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
