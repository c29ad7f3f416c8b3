"""The commands of `portway api`, from a file that tools/api_commands.py makes.

A command is a method, a path and its flags. A flag is its name and a sign for what it holds: nothing for text, `?` for
true or false, `#` a whole number, `~` a number, `*` a list, `@` a list of objects that have nothing but a value, `%` a
map of texts, `=` a map of numbers, `<` a file and `&` a URL that have the text of the flag whose name it begins with.
Behind the sign `!` is a flag that has to be there, `/` one that is part of the path, and `-` one that is not listed.
"""

from __future__ import annotations

import zlib

FILE = __file__.rpartition("table.")[0] + "table.gz"


def read() -> dict[str, str]:
    """Everything about every command, by its name."""
    with open(FILE, "rb") as file:  # noqa: PTH123 - as quick as can be, for completion
        text = zlib.decompress(file.read(), 31).decode()
    return dict(line.split("\t") for line in text.splitlines())


COMMANDS = read()
