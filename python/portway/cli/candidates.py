"""What may come next on a command line: answers the shells, at each TAB, and so imports next to nothing."""

from __future__ import annotations

import os

from portway.cli.commands import API, COMMANDS, below, find, is_group
from portway.cli.describe import spec, takes_value

SHELLS = ("bash", "zsh", "fish", "powershell")

# Flags with a few known values.
VALUES = {
    "--log": ("stdout", "stderr", "false"),
    "--log-format": ("term", "logfmt", "json"),
    "--log-level": ("debug", "info", "warn", "error", "crit"),
    "--connect-cas": ("trusted", "host"),
    "--binding": ("public", "internal", "kubernetes"),
    "--upstream-protocol": ("http1", "http2"),
    "--upstream-proxy-protocol": ("1", "2"),
    "--only": ("latency", "rps", "connections", "down", "up", "loaded"),
    "--proxy-protocol": ("agent", "http", "https", "tcp"),
    "--channel": ("stable", "beta", "unstable"),
}

# Commands whose first word is one of a few.
WORDS = {"completion": SHELLS, "config upgrade": ("2", "3")}


def answer(words: list[str]) -> None:
    """Prints the words that may stand in place of the last one: a line each, with a few words about it behind a tab."""
    for word, about in candidates(words or [""]):
        print(word, about, sep="\t")


def candidates(words: list[str]) -> list[tuple[str, str]]:
    """What may stand in place of the last of `words`, with a few words about it each."""
    *before, current = _rejoined(words)
    name, ahead, rest = find(before)
    typed = [*ahead, *rest]
    if name == API:
        return [(word, about) for word, about in _of_api(typed, current).items() if word.startswith(current)]
    last = typed[-1] if typed else ""
    command = "version" if is_group(name) else name  # has the flags that every command has, and no other
    found: dict[str, str] = {}
    if last.startswith("-") and "=" not in last and takes_value(command, last):
        found = dict.fromkeys(VALUES.get(last, ()), "")
    elif current.startswith("-"):
        flag, equals, _ = current.partition("=")
        found = {f"{flag}={value}": "" for value in VALUES.get(flag, ())} if equals else _flags(command)
    elif name == "start":
        found = dict.fromkeys(_endpoint_names(typed), "endpoint")
    elif name in WORDS:
        found = {} if rest else dict.fromkeys(WORDS[name], "")
    elif name == "help":
        name, ahead, rest = find(rest)
        if name == API and rest:
            return candidates([API, *ahead, *rest, current])
        found = {} if rest else below(name)
    elif not rest:
        found = below(name)
    return [(word, about) for word, about in found.items() if word.startswith(current)]


def _of_api(typed: list[str], current: str) -> dict[str, str]:
    from portway.cli import api_line

    line = api_line.locate(typed)
    last = typed[-1] if typed else ""
    if line.strange is not None:
        return {}
    if last.startswith("-") and "=" not in last and api_line.takes_value(line, last):
        return dict.fromkeys(api_line.values(line, last) or VALUES.get(last, ()), "")
    if current.startswith("-"):
        flag, equals, _ = current.partition("=")
        values = api_line.values(line, flag) or VALUES.get(flag, ())
        return {f"{flag}={value}": "" for value in values} if equals else api_line.flags(line)
    return {} if line.command else api_line.below(line)


def _rejoined(words: list[str]) -> list[str]:
    """bash parts words at `=`: `--log = std` was typed as `--log=std`."""
    joined: list[str] = []
    for word in words:
        if joined and (word == "=" or joined[-1].endswith("=")) and joined[-1].startswith("--"):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _flags(command: str) -> dict[str, str]:
    if command not in COMMANDS:
        return {}
    return {names[-1]: about for names, _, about, hidden in spec(command)[4] if not hidden}


def _endpoint_names(words: list[str]) -> list[str]:
    """The names in the configuration; none where it cannot be read, for nobody waits for an error here."""
    paths = [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
    paths += [after for word, after in zip(words, words[1:], strict=False) if word == "--config"]  # noqa: RUF007 - an import less
    try:
        from portway.__main__ import program
        from portway.config import files
        from portway.config.names import names

        found = files.search([part for path in paths for part in path.split(",")], os.environ, program())
        return [name for name in names(found.read) if name not in words]
    except Exception:
        return []
