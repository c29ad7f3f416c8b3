"""Which commands there are, and which one a command line means. Imports nothing, so that it costs nothing."""

from __future__ import annotations

# Command -> module and one line about it. A command without such a line works and is not listed.
COMMANDS = {
    "http": ("endpoint", "Give a local HTTP service a public URL"),
    "tcp": ("endpoint", "Give a local TCP service a public address"),
    "tls": ("endpoint", "Give a local TLS service a public name"),
    "tunnel": ("endpoint", ""),
    "start": ("start", "Start endpoints of the configuration file"),
    "edge": ("edge", "Run an edge: what agents connect to and visitors reach"),
    "edge reload": ("edge_reload", "Let a running edge take up changed tokens, rules and certificates"),
    "edge check": ("edge_check", "Test what an edge needs: DNS, ports, certificate, clock"),
    "edge plan": ("edge_reload", ""),
    "edge agents": ("", "The agents that are connected to an edge"),
    "edge agents list": ("edge_agents", "Show the agents that are connected"),
    "edge agents stop": ("edge_agents", "Stop an agent"),
    "edge agents restart": ("edge_agents", "Let an agent start again with its configuration as it is now"),
    "edge agents update": ("edge_agents", "Let an agent replace itself by another version"),
    "edge ca": ("", "The edge's own certificate authority"),
    "edge ca list": ("edge_ca", "Show the certificates it has signed"),
    "edge ca revoke": ("edge_ca", "Revoke certificates it has signed"),
    "bench": ("bench", "Measure how fast a tunnel is, and whether a change helped"),
    "config": ("", "Read and change the configuration file"),
    "config check": ("config", "Check configuration files"),
    "config edit": ("config", "Open the configuration file in an editor"),
    "config join": ("config", "Point this agent at an edge with the string the edge printed"),
    "config upgrade": ("config_upgrade", "Bring the configuration file to a later version"),
    "config add-authtoken": ("config", "Save the authtoken of this agent"),
    "config add-api-key": ("config", "Save the key of `portway api`"),
    "config add-api-url": ("config", "Save the address of the API"),
    "config add-connect-url": ("config", "Save the address of the edge"),
    "config add-server-addr": ("config", ""),
    "authtoken": ("config", ""),
    "service": ("", "Run as a service of the operating system"),
    "service install": ("service", "Install a service that starts everything in the configuration file"),
    "service start": ("service", "Start the service"),
    "service stop": ("service", "Stop the service"),
    "service restart": ("service", "Stop the service and start it again"),
    "service uninstall": ("service", "Remove the service"),
    "service run": ("service", ""),
    "api": ("", "Use the API: endpoints, domains, credentials and the rest"),
    "diagnose": ("diagnose", "Find out why there is no connection to the edge"),
    "update": ("update", "Update to the newest version, or say who does"),
    "completion": ("completion", "Print completion code for bash, zsh, fish or PowerShell"),
    "credits": ("credits", "Authors and licences of the software in it"),
    "version": ("version", "Print the version"),
    "help": ("", "Help for any command"),
    # What a running agent has done by another process.
    "__plan": ("again", ""),
    "__update": ("again", ""),
}

# Flags every command has; all of them take a value. They may stand before the command too.
GLOBAL_FLAGS = (
    "--config",
    "--log",
    "--log-format",
    "--log-level",
    "--authtoken",
    "--metadata",
    "--connect-url",
    "--connect-cas",
)

HELP_FLAGS = ("-h", "--help")

# What is below it is not in this table but in that of the API.
API = "api"
API_FLAGS = ("--api-key", "--api-url")

# What `--metadata` is called where an endpoint's metadata has that name. Not listed anywhere.
SESSION_METADATA = "--session-metadata"


def find(argv: list[str]) -> tuple[str, list[str], list[str]]:
    """The longest command that `argv` begins with, the flags found on the way to it, and the words behind.

    Flags that every command has are looked past: `portway --config FILE config check` is `config check`. Whatever else
    is found first, a flag or a word that is no command, ends the search. Metadata named before the command is that of
    the session, whatever the command calls by this name.
    """
    command, ahead, at = "", [], 0
    while at < len(argv):
        word = argv[at]
        flag, has_value, _ = word.partition("=")
        longer = f"{command} {word}".lstrip()
        if longer in COMMANDS:
            command = longer
            at += 1
        elif flag in GLOBAL_FLAGS or flag in HELP_FLAGS or flag in API_FLAGS:
            width = 1 if has_value or flag in HELP_FLAGS else 2
            words = argv[at : at + width]
            if flag == "--metadata" and not command:
                words[0] = words[0].replace(flag, SESSION_METADATA, 1)
            ahead += words
            at += width
        else:
            break
    return command, ahead, argv[at:]


def below(group: str) -> dict[str, str]:
    """The listed commands of a group (`""` is the whole program), by name, with the line about them."""
    if group == API:
        from portway.api import catalogue

        return catalogue.below("")
    prefix = f"{group} ".lstrip()
    found = {}
    for command, (_, summary) in COMMANDS.items():
        name = command.removeprefix(prefix)
        if summary and command.startswith(prefix) and " " not in name:
            found[name] = summary
    return found


def is_group(command: str) -> bool:
    """Whether there is nothing to run, only commands below; so it is with the whole program."""
    return not COMMANDS.get(command, ("", ""))[0]
