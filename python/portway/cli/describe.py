"""What a command takes, as plain data: for help, completion, man pages and the reference.

`tree` holds it ready-made, because asking typer would take longer than everything else about help and completion.
`tools/commands.py` writes that file from here, and a test says when it is stale.
"""

from __future__ import annotations

# One about every flag: names, what stands for its value (nothing: a switch), a few words, whether it is not listed.
Flag = tuple[tuple[str, ...], str, str, bool]
# One about every word: what stands for it, a few words, whether it must be there.
Word = tuple[str, str, bool]
# Summary, what else is to be said, examples, words, flags.
Spec = tuple[str, str, str, tuple[Word, ...], tuple[Flag, ...]]

HELP: Flag = (("-h", "--help"), "", "Help of the command", False)


def spec(command: str) -> Spec:
    """What is known about a command; of one that is too new for the tree it is found out."""
    from portway.cli import tree

    if command not in tree.COMMANDS:
        return described(command)
    summary, about, examples, words, flags = tree.COMMANDS[command]
    own = {name for names, *_ in flags for name in names}
    return summary, about, examples, words, (*flags, *(flag for flag in tree.COMMON if flag[0][0] not in own))


def described(command: str) -> Spec:
    """What typer knows about a command."""
    from inspect import cleandoc

    from typer.main import get_command

    from portway.cli.app import load

    made = get_command(load(command))
    summary, _, about = cleandoc(made.help or "").partition("\n\n")
    words = tuple(
        (str(one.metavar or one.name), one.help or "", bool(one.required))  # type: ignore[attr-defined]
        for one in made.params
        if one.param_type_name == "argument" and not one.hidden  # type: ignore[attr-defined]
    )
    flags = [flag for one in made.params if one.param_type_name == "option" for flag in _flags(one)]
    examples = (made.epilog or "").rstrip("\n")
    return " ".join(summary.split()), about, examples, words, (*flags, HELP)


def _flags(option: object) -> list[Flag]:
    names = tuple(sorted(option.opts, key=len))  # type: ignore[attr-defined]
    switch = option.is_flag  # type: ignore[attr-defined]
    metavar = "" if switch else str(option.metavar or "TEXT").upper()  # type: ignore[attr-defined]
    hidden = bool(option.hidden)  # type: ignore[attr-defined]
    found = [(names, metavar, str(option.help or ""), hidden)]  # type: ignore[attr-defined]
    if off := tuple(option.secondary_opts):  # type: ignore[attr-defined]
        found.append((off, "", "", True))
    return found


def common() -> tuple[Flag, ...]:
    """Flags that every command has; a command that needs another to say something else has that as its own."""
    return described("version")[4]


def shortened(made: Spec, everywhere: tuple[Flag, ...]) -> Spec:
    """A command without the flags that every one has."""
    summary, about, examples, words, flags = made
    return summary, about, examples, words, tuple(flag for flag in flags if flag not in everywhere)


def takes_value(command: str, name: str) -> bool | None:
    """Whether a flag is followed by a value; nothing where the command has no such flag."""
    for names, metavar, _, _ in spec(command)[4]:
        if name in names:
            return bool(metavar)
    return None
