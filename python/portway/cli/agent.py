"""What `http`, `tcp`, `tls` and `start` have in common: settings from files, variables and flags, and the plan."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portway.cli.edge import log_of
from portway.cli.options import Given
from portway.cli.report import CommandError, notice
from portway.config import environment, files, plan, proxy, values
from portway.config.load import load
from portway.config.model import Config, Entry

# Where the local interface is looked for.
WEB_ADDR = "127.0.0.1:4040"

MILLISECOND = 1_000_000  # durations of files are in nanoseconds


@dataclass
class Settings:
    """Everything an agent is told but its endpoints."""

    config: Config
    given: Given
    found: files.Found
    records: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, given: Given) -> Settings:
        """Reads the files. Raises `ConfigError`."""
        from portway.__main__ import program

        explicit = given.many("config")
        found = files.search(explicit, os.environ, program())
        config = load(found.read)
        flags = {
            "authtoken": given.text("authtoken"),
            "connect_url": given.text("connect_url"),
            "connect_cas": given.text("connect_cas"),
            "metadata": given.text("session_metadata"),
            "log": given.text("log"),
            "log_level": given.text("log_level"),
            "log_format": given.text("log_format"),
        }
        settings = cls(config, given, found)
        warnings = environment.apply(config, os.environ, flags, fallback=found.fallback)
        settings._note_files(warnings)
        return settings

    def _note_files(self, warnings: list[str]) -> None:
        if not self.found.read:
            self._record("info", "no configuration paths supplied")
            default = str(self.found.write)
            self._record("info", "ignoring default config path, could not stat it", path=default, err="no such file")
        elif self.found.fallback:
            self._record("info", "using ngrok configuration file", path=str(self.found.read[0]))
        elif not self.given.many("config"):
            self._record("info", "no configuration paths supplied")
            self._record("info", "using configuration at default config path", path=str(self.found.read[0]))
        for path in self.found.read:
            self._record("info", "open config file", path=str(path), err=None)
        for text in self.config.replaced:
            self._record("debug", text)
        for text in self.config.notices:
            self._record("warn", text)
        for text in warnings:
            self._record("warn", text)
            notice(f"Warning: {text}")
        for text in self.given.notices():
            if self.log()["target"] == "stdout":
                self._record("info", "command usage", err=text)
            else:
                notice(text)

    def _record(self, level: str, message: str, **fields: Any) -> None:
        self.records.append({"lvl": level, "msg": message, "fields": fields})

    # --- plans

    def plan_of_one(self, name: str, definition: dict[str, Any]) -> dict[str, Any]:
        """The plan of one endpoint from flags."""
        proto = definition.get("proto", "tunnel")
        if proto == "http" and not definition.get("url") and not self.has_edge and "schemes" not in definition:
            # The edge inside this process has no certificate that a browser knows.
            definition = {**definition, "schemes": ["http"]}
        elif proto == "http" and not self.has_edge and "://" not in definition.get("url", "://"):
            definition = {**definition, "url": f"http://{definition['url']}"}
        metadata = self.given.text("metadata")
        if metadata:
            definition = {**definition, "metadata": metadata}
        return self._plan(proto, [plan.tunnel_entry(name, definition)])

    def plan_of_names(self, names: Sequence[str], *, everything: bool, nothing: bool) -> dict[str, Any]:
        """The plan of endpoints of the files."""
        if sum((nothing, everything, bool(names))) > 1:
            raise CommandError("Names, --all and --none exclude each other.")
        if nothing:
            return self._plan("start", [])
        entries = self.config.entries if everything else plan.select(self.config, names)
        if everything and not entries:
            raise CommandError(
                "There is nothing to start: no endpoint or tunnel is defined in the configuration files.\n"
                "At least one must be; `start --none` starts an agent without any."
            )
        if not entries:
            raise CommandError("Name the endpoints to start, or use --all for all of them or --none for none.")
        if metadata := self.given.text("metadata"):
            self.config.agent["metadata"] = metadata
        return self._plan("start", entries)

    def source_of_token(self) -> str:
        if self.given.text("authtoken"):
            return "--authtoken"
        names = environment.VARIABLES["authtoken"]
        return next((name for name in names if os.environ.get(name)), "in the configuration file")

    @property
    def has_edge(self) -> bool:
        return "connect_url" in self.config.agent

    def _plan(self, command: str, entries: list[Entry]) -> dict[str, Any]:
        from portway.__main__ import program

        agent = self.config.agent
        if not self.has_edge and agent.get("authtoken"):
            raise CommandError(
                f"There is an authtoken ({self.source_of_token()}), but no edge to use it with.\n"
                "Give the join string of your edge to `portway config join`, or set agent.connect_url.\n"
                "Without an authtoken, a URL on this machine works at once."
            )
        log = self.log()
        shows = self.shows_console(log)
        made: dict[str, Any] = {
            "version": 1,
            "command": command,
            "cmdline_name": program(),
            "edge": self.edge(),
            "embedded": None if self.has_edge else {"embedded": True, "domains": ["localhost"]},
            "authtoken": agent.get("authtoken", ""),
            "metadata": agent.get("metadata", ""),
            "log": log,
            "console": {
                "show": shows,
                "color": not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
                "background": agent.get("console_ui_color", "black"),
            },
            "web": web(agent),
            "inspect_db_size": agent.get("inspect_db_size", 0) if agent.get("local_storage", True) else -1,
            "announce": not shows and log["target"] == "false" and "log" not in agent,
            "multi_leg": agent.get("multi_leg", False),
            "remote_management": agent.get("remote_management", True),
            **(again_plans(agent) if self.has_edge else {}),
            "records": self.records,
            "endpoints": plan.endpoints(entries),
        }
        for key in ("connect_timeout", "heartbeat_interval", "heartbeat_tolerance"):
            if agent.get(key):
                made[f"{key}_ms"] = max(agent[key] // MILLISECOND, 1)
        return made

    def edge(self) -> dict[str, Any] | None:
        """Where the edge is and how it is trusted; nothing for the one inside."""
        agent = self.config.agent
        if not self.has_edge:
            return None
        if (interface := agent.get("connect_interface")) and not sys.platform.startswith("linux"):
            raise CommandError(f"connect_interface: {interface} can be chosen on Linux only; leave it out here.")
        return {
            "addrs": agent["connect_url"],
            "cas": cas(agent.get("connect_cas", "trusted")),
            "proxy": proxy.chosen(agent, os.environ),
            "interface": interface,
            "crl": None if agent.get("crl_noverify") else agent.get("crl_url") or None,
            "dns": {
                "servers": [values.dns_server(server) for server in agent.get("dns_resolver_ips", [])],
                "fallback": agent.get("dns_fallback", True),
                "published": agent.get("dns_fallback_url") or None,
                "kept": str(files.state_dir(os.environ) / "addresses.json"),
            },
        }

    def log(self) -> dict[str, str]:
        agent = self.config.agent
        target = agent.get("log") or ("stdout" if self.logs_for_want_of_a_screen() else "false")
        level, form = agent.get("log_level", "info"), agent.get("log_format", "term")
        log = log_of({"target": str(target), "level": level, "format": form})
        if log["target"] not in ("stdout", "stderr", "false"):
            log["target"] = str(Path(log["target"]).expanduser().absolute())
        return log

    def logs_for_want_of_a_screen(self) -> bool:
        wanted = self.config.agent.get("console_ui", "iftty")
        return wanted == "false" or (wanted == "iftty" and sys.stdout.isatty() and os.environ.get("TERM") == "dumb")

    def shows_console(self, log: dict[str, str]) -> bool:
        wanted = self.config.agent.get("console_ui", "iftty")
        if wanted == "false" or log["target"] == "stdout":
            return False
        return wanted == "true" or (sys.stdout.isatty() and os.environ.get("TERM") != "dumb")


def again_plans(agent: dict[str, Any]) -> dict[str, Any]:
    """How the agent of an edge is started again and updated, which nobody asks of one that has its own."""
    from portway.cli import again

    return {"again": again.plan(), "update": again.update_plan(agent)}


def cas(text: str) -> dict[str, str]:
    """`connect_cas` as the plan has it."""
    if text in ("trusted", "host"):
        return {"kind": text}
    if text.startswith("pin:"):
        kind, _, value = text.removeprefix("pin:").partition(":")
        if kind != "sha256" or len(value) != 64:
            raise CommandError(f"connect_cas: {text!r} is no pin such as pin:sha256:HEX with 64 hex digits.")
        return {"kind": "pin", "value": value.lower()}
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise CommandError(f"connect_cas: there is no file {path}.")
    return {"kind": "file", "value": str(path)}


def web(agent: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where the local interface listens, as the plan has it; nothing for none."""
    asked = agent.get("web_addr")
    if asked == "false":
        return None
    return {"addr": asked or WEB_ADDR, "search": asked is None, "allow_hosts": agent.get("web_allow_hosts", [])}
