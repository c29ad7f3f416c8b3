"""Manual pages of the commands, in the macros of man(7)."""

from __future__ import annotations

from portway.cli.commands import API, COMMANDS, below, is_group
from portway.cli.describe import Flag, Spec, spec
from portway.cli.help import ABOUT, EXAMPLES, parted, usage_line
from portway.cli.tree import COMMON

ENVIRONMENT = {
    "PORTWAY_CONFIG, NGROK_CONFIG": "Configuration files, as if given by --config; several are parted by commas.",
    "PORTWAY_AUTHTOKEN, NGROK_AUTHTOKEN": "Credential towards the edge.",
    "PORTWAY_API_KEY, NGROK_API_KEY": "Key of the API.",
    "PORTWAY_API_URL": "Address of the API.",
    "PORTWAY_CONNECT_URL": "Address of the edge; several are parted by commas.",
    "PORTWAY_CONNECT_CAS": "Whom to trust as the edge.",
    "PORTWAY_UPDATE_URL": "Where `portway update` asks for releases.",
    "PORTWAY_INSTALLED_BY": "`image`: a container image says so of itself, and is not updated from within.",
    "PORTWAY_EDGE_AUTHTOKEN": "Tokens that `portway edge` admits, parted by commas or blanks.",
    "XDG_CONFIG_HOME": "Where configuration lives, else ~/.config.",
    "VISUAL, EDITOR": "What `portway config edit` starts.",
    "NO_COLOR": "Not empty: no colours, and help without bold headings.",
    "TERM": "`dumb`: a log instead of a screen.",
    "COLUMNS": "Width that help is made for; else that of the terminal.",
}
FILES = {
    "~/.config/portway/portway.yml": "Configuration, unless --config names another file.",
    "~/Library/Application Support/portway/portway.yml": "The same on macOS.",
    "%LocalAppData%\\portway\\portway.yml": "The same on Windows.",
    "~/.config/ngrok/ngrok.yml, ~/.ngrok2/ngrok.yml": "Another program's, read where there is no file of ours.",
}
EXIT = {
    "0": "Done, or stopped by a signal or by the edge.",
    "1": "An error; stderr tells which.",
    "130": "Interrupted before anything was started.",
}


def pages() -> dict[str, str]:
    """Text by file name. The one about the API is made from a table of its own (`api_pages`)."""
    listed = [command for command, (_, about) in COMMANDS.items() if about and command not in ("help", API)]
    made = {"portway.1": program()}
    for command in listed:
        text = group(command) if is_group(command) else page(command)
        made[f"{name(command)}.1"] = text
    return made


def name(command: str) -> str:
    return f"portway {command}".rstrip().replace(" ", "-")


def page(command: str) -> str:
    made = spec(command)
    own, _ = parted(made)
    text = head(command, COMMANDS[command][1])
    text += section("SYNOPSIS") + f".B {escaped(f'portway {command}')}\n{escaped(synopsis(command, made))}\n"
    text += section("DESCRIPTION") + prose("\n\n".join(part for part in made[:2] if part))
    text += shown_examples(made[2])
    words = [(metavar, about) for metavar, about, _ in made[3] if about]
    text += section("ARGUMENTS") + listed(words) if words else ""
    text += section("OPTIONS") + "".join(option(flag) for flag in own) if own else ""
    return text + also([parent(command)])


def group(command: str) -> str:
    text = head(command, COMMANDS[command][1])
    text += section("SYNOPSIS") + f".B {escaped(f'portway {command}')}\n.I COMMAND\n"
    text += section("COMMANDS") + listed(list(below(command).items()))
    return text + also([parent(command), *(f"{command} {one}" for one in below(command))])


def program() -> str:
    text = head("", ABOUT)
    text += section("SYNOPSIS") + ".B portway\n.I COMMAND\n[ARGS] [FLAGS]\n"
    text += section("DESCRIPTION") + prose(
        "Flags may stand anywhere, before the command too. Long ones have two hyphens, and take --flag value as well "
        "as --flag=value. Switches take --flag, --flag=true and --flag=false. Lists may be repeated, and parted by "
        "commas. A flag wins over a variable, a variable over a file, a later file over an earlier one."
    )
    text += shown_examples(EXAMPLES)
    text += section("COMMANDS") + listed(list(below("").items()))
    rows = [flag for flag in COMMON if not flag[3]]
    text += section("OPTIONS OF EVERY COMMAND") + "".join(option(flag) for flag in rows)
    text += option((("-v", "--version"), "", "The version", False))
    text += section("ENVIRONMENT") + listed(list(ENVIRONMENT.items()))
    text += section("FILES") + listed(list(FILES.items()))
    text += section("EXIT STATUS") + listed(list(EXIT.items()))
    return text + also([one for one in below("") if one != "help"])


# === pieces


def head(command: str, about: str) -> str:
    title = name(command)
    return (
        '.\\" Made by tools/commands.py.\n'
        f'.TH "{title.upper()}" "1" "" "portway" "portway"\n.nh\n.ad l\n'
        f"{section('NAME')}{escaped(title)} \\- {escaped(about.rstrip('.'))}\n"
    )


def section(title: str) -> str:
    return f".SH {title}\n"


def synopsis(command: str, made: Spec) -> str:
    return usage_line("portway", command, made).removeprefix(f"portway {command} ")


def prose(text: str) -> str:
    return ".PP\n".join(escaped(" ".join(paragraph.split())) + "\n" for paragraph in text.split("\n\n"))


def shown_examples(text: str) -> str:
    if not text:
        return ""
    lines = "".join(f"{escaped(line)}\n" for line in text.rstrip("\n").replace("\n  ", "\n").strip().split("\n"))
    return section("EXAMPLES") + f".nf\n{lines}.fi\n"


def listed(rows: list[tuple[str, str]]) -> str:
    return "".join(f".TP\n.B {escaped(term)}\n{escaped(about)}\n" for term, about in rows)


def option(flag: Flag) -> str:
    names, metavar, about, _ = flag
    bold = ", ".join(f"\\fB{escaped(one)}\\fR" for one in names)
    value = f" \\fI{escaped(metavar)}\\fR" if metavar else ""
    return f".TP\n{bold}{value}\n{escaped(about)}\n"


def also(commands: list[str]) -> str:
    rows = [f".BR {escaped(name(command))} (1)" for command in commands]
    return section("SEE ALSO") + ",\n".join(rows) + "\n"


def parent(command: str) -> str:
    return command.rpartition(" ")[0]


def escaped(text: str) -> str:
    """Backslashes, hyphens that are typed, and lines that would be taken for a macro."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{text}" if text.startswith(".") else text
