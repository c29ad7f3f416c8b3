"""`portway completion`: code for a shell, which asks `portway __complete` at each TAB.

The shell gets no lists of its own, so completion knows the endpoints of the configuration file and needs no update.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import pairwise
from typing import Annotated, Any

import typer

from portway.cli.commands import COMMANDS, below, find
from portway.cli.options import Given, command
from portway.cli.report import CommandError

# What is asked: the words up to the cursor, the last one unfinished. What is answered: a line per candidate, the word,
# a tab and a few words about it. No line means: complete file names.
BASH = r"""
_%(program)s() {
    local IFS=$'\n' line
    COMPREPLY=()
    while read -r line; do
        line=${line%%%%$'\t'*}
        # bash parts words at `=` and replaces what is behind it only.
        if [[ ${COMP_WORDS[COMP_CWORD]} == "=" || ${COMP_WORDS[COMP_CWORD-1]} == "=" ]]; then
            line=${line#*=}
        fi
        COMPREPLY+=("$line")
    done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o bashdefault -o default -F _%(program)s %(program)s
"""

ZSH = r"""
#compdef %(program)s
_%(program)s() {
    local -a candidates
    local line
    while IFS= read -r line; do
        candidates+=("${${line%%%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done < <("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#candidates} )); then
        _describe '%(program)s' candidates
    else
        _files
    fi
}
if [[ $funcstack[1] == _%(program)s ]]; then
    _%(program)s "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _%(program)s %(program)s
fi
"""

FISH = r"""
function __%(program)s_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] __complete -- $words[2..-1] 2>/dev/null
end
complete -c %(program)s -a '(__%(program)s_complete)'
"""

POWERSHELL = r"""
Register-ArgumentCompleter -Native -CommandName %(program)s -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | ForEach-Object { $_.ToString() })
    & %(program)s __complete -- @words "$wordToComplete" 2>$null | ForEach-Object {
        $text, $about = $_ -split "`t", 2
        [System.Management.Automation.CompletionResult]::new($text, $text, 'ParameterValue', ($about + ' '))
    }
}
"""

SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH, "powershell": POWERSHELL}

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
}


def completion(
    given: Given,
    shell: Annotated[
        str | None, typer.Argument(metavar="[bash|zsh|fish|powershell]", help="Default: the one of $SHELL")
    ] = None,
) -> None:
    """Print completion code for a shell.

    bash and zsh: `eval "$(portway completion)"`. fish: `portway completion fish | source`. PowerShell:
    `portway completion powershell | Out-String | Invoke-Expression`.
    """
    from portway.__main__ import program

    del given
    name = shell or os.environ.get("SHELL", "").rpartition("/")[2] or ("powershell" if os.name == "nt" else "bash")
    name = {"pwsh": "powershell"}.get(name, name)
    if name not in SHELLS:
        raise CommandError(f"No completion for the shell {name}: {', '.join(SHELLS)} are known.")
    print((SHELLS[name] % {"program": program()}).strip())


def __complete(
    given: Given, words: Annotated[list[str] | None, typer.Argument(metavar="WORD", help="The words so far")] = None
) -> None:
    """Print the words that may stand in place of the last one."""
    del given
    for word, about in candidates(words or [""]):
        print(word, about, sep="\t")


def candidates(words: list[str]) -> list[tuple[str, str]]:
    """What may stand in place of the last of `words`, with a few words about it each."""
    *before, current = _rejoined(words)
    name, ahead, rest = find(before)
    typed = [*ahead, *rest]
    last = typed[-1] if typed else ""
    found: dict[str, str] = {}
    if last.startswith("--") and "=" not in last and _takes_value(name, last):
        found = dict.fromkeys(VALUES.get(last, ()), "")
    elif current.startswith("-"):
        flag, equals, _ = current.partition("=")
        found = {f"{flag}={value}": "" for value in VALUES.get(flag, ())} if equals else _flags(name)
    elif name == "start":
        found = dict.fromkeys(_endpoint_names(typed), "endpoint")
    elif name == "completion":
        found = {} if rest else dict.fromkeys(SHELLS, "")
    elif name == "help":
        name, _, rest = find(rest)
        found = {} if rest else below(name)
    elif not rest:
        found = below(name)
    return [(word, about) for word, about in found.items() if word.startswith(current)]


def _rejoined(words: list[str]) -> list[str]:
    """bash parts words at `=`: `--log = std` was typed as `--log=std`."""
    joined: list[str] = []
    for word in words:
        if joined and (word == "=" or joined[-1].endswith("=")) and joined[-1].startswith("--"):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _options(command_name: str) -> list[Any]:
    from typer.main import get_command

    from portway.cli.app import load

    if not command_name or not COMMANDS[command_name][0]:
        command_name = "version"  # has the flags that every command has, and no other
    return [option for option in get_command(load(command_name)).params if option.param_type_name == "option"]


def _flags(command_name: str) -> dict[str, str]:
    shown = [option for option in _options(command_name) if not option.hidden]
    return {option.opts[0]: option.help or "" for option in shown} | {"--help": "Help of the command"}


def _takes_value(command_name: str, flag: str) -> bool:
    return any(flag in option.opts and not option.is_flag for option in _options(command_name))


def _endpoint_names(words: list[str]) -> list[str]:
    """The names in the configuration; none where it cannot be read, for nobody waits for an error here."""
    from portway.cli.agent import configured_names

    paths = [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
    paths += [after for word, after in pairwise(words) if word == "--config"]
    try:
        return [name for name in configured_names(paths) if name not in words]
    except Exception:
        return []


completion_command = partial(command, completion)
__complete_command = partial(command, __complete)
