"""`portway completion`: code for a shell, which asks `portway __complete` at each TAB (`candidates`).

The shell gets no lists of its own, so completion knows the endpoints of the configuration file and needs no update.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import typer

from portway.cli.options import Given, command
from portway.cli.report import CommandError

# What is asked: the words up to the cursor, the last one unfinished. What is answered: a line per candidate, the word,
# a tab and a few words about it. No line means: complete file names.
BASH = r"""
_%(program)s() {
    local IFS=$'\n' line word=${COMP_WORDS[COMP_CWORD]} quote=
    COMPREPLY=()
    # A word stands there as it is typed: behind a quote, or with backslashes.
    case $word in
        [\'\"]*) quote=${word:0:1} word=${word:1} ;;
        *) word=${word//\\/} ;;
    esac
    while read -r line; do
        line=${line%%%%$'\t'*}
        # bash parts words at `=` and replaces what is behind it only.
        if [[ $word == "=" || ${COMP_WORDS[COMP_CWORD-1]} == "=" ]]; then
            line=${line#*=}
        fi
        [[ $quote ]] || printf -v line %%q "$line"
        COMPREPLY+=("$line")
    done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD-1}" "$word" 2>/dev/null)
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

CODE = {"bash": BASH, "zsh": ZSH, "fish": FISH, "powershell": POWERSHELL}


def completion(
    given: Given,
    shell: Annotated[
        str | None, typer.Argument(metavar="[bash|zsh|fish|powershell]", help="Default: the one of $SHELL")
    ] = None,
) -> None:
    """Print completion code for a shell.

    The shell asks portway at each TAB, so endpoints of the configuration file are known, and so are those of tomorrow.
    """
    from portway.__main__ import program

    del given
    name = shell or os.environ.get("SHELL", "").rpartition("/")[2] or ("powershell" if os.name == "nt" else "bash")
    name = {"pwsh": "powershell"}.get(name, name)
    if name not in CODE:
        raise CommandError(f"No completion for the shell {name}: {', '.join(CODE)} are known.")
    print((CODE[name] % {"program": program()}).strip())


EXAMPLES = """\
  eval "$(portway completion)"                                          bash and zsh, in .bashrc or .zshrc
  portway completion fish | source                                      fish, in config.fish
  portway completion powershell | Out-String | Invoke-Expression        PowerShell, in $PROFILE
"""

completion_command = partial(command, completion, (), EXAMPLES)
