"""Files to model: each is checked by its own version, brought to one form and merged (config.md §2, §4–§7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from portway.config import endpoint_url, upstream
from portway.config.document import is_null, kind, pairs, parse, position, read_text
from portway.config.errors import ConfigError, Problem
from portway.config.model import Config, Entry
from portway.config.reader import Reader, join, underscored
from portway.config.schema import (
    AGENT,
    DEPRECATED,
    ENDPOINT,
    POLICY,
    RENAMED,
    TUNNEL,
    UNTIL_POLICIES,
    V2_AGENT,
    V3_PLACES,
)

V3_TOP = ("version", "agent", "endpoints", "tunnels")
HTTP_ONLY = (
    *("schemes", "basic_auth", "circuit_breaker", "compression", "host_header", "oauth", "oidc", "request_header"),
    *("response_header", "user_agent_filter", "verify_webhook", "websocket_tcp_converter"),
    *("app_protocol", "upstream_protocol", "file_listing"),
)
POLICIES = ("traffic_policy", "traffic_policy_file", "traffic_policy_url", "policy", "policy_file")
ON_PROTOCOLS = {
    **dict.fromkeys(HTTP_ONLY, ("http",)),
    **dict.fromkeys(("domain", "hostname", "subdomain"), ("http", "tls")),
    "remote_addr": ("tcp",),
    **dict.fromkeys(("terminate_at", "crt", "key"), ("tls",)),
    "mutual_tls_cas": ("http", "tls"),
    **dict.fromkeys(("upstream_tls_verify", "upstream_tls_verify_cas"), ("http", "tls")),
}


def load(paths: Iterable[Path]) -> Config:
    """Reads and merges files. Raises `ConfigError` with every problem of all of them."""
    return load_texts((path, read_text(path)) for path in paths)


def load_texts(files: Iterable[tuple[Path, str]]) -> Config:
    """Merges files whose text is known. Raises `ConfigError` with every problem of all of them."""
    config = Config()
    problems: list[Problem] = []
    for path, text in files:
        root = parse(text, path)
        reader = Reader(path)
        _File(reader, config).read(root)
        problems += reader.problems
        config.read.append(path)
    problems += _doubles(config)
    if problems:
        raise ConfigError(problems)
    return config


def _doubles(config: Config) -> Iterator[Problem]:
    """A name is given once, whatever it is the name of."""
    first: dict[str, Entry] = {}
    for entry in config.entries:
        other = first.setdefault(entry.name, entry)
        if other is entry:
            continue
        kinds = {other in config.endpoints, entry in config.endpoints}
        what = "an endpoint and of a tunnel" if len(kinds) == 2 else "two tunnels"
        where = f"line {other.line}" + (f" of {other.file}" if other.file != entry.file else "")
        message = f"{entry.name!r} is the name of {what} (first on {where})"
        yield Problem(message, entry.file, entry.line, entry.column, entry.name)


class _File:
    """One file on its way into the model."""

    def __init__(self, reader: Reader, config: Config) -> None:
        self.reader = reader
        self.config = config

    def read(self, root: Node | None) -> None:
        reader = self.reader
        if root is None or is_null(root):
            reader.problems.append(Problem(MISSING_VERSION, reader.file, 1, 1))
            return
        if not isinstance(root, MappingNode):
            reader.problem(root, f"expected keys and values, found {kind(root)}")
            return
        members = reader.members(root, "")
        version = self.version(root, members)
        self.config.versions.append(version)
        if version == 3:
            self.read_v3(members)
        elif version == 2:
            self.read_v2(members)

    def version(self, root: Node, members: dict[str, tuple[Node, Node]]) -> int:
        if "version" not in members or is_null(members["version"][1]):
            self.reader.problem(root, MISSING_VERSION)
            return 0
        node = members["version"][1]
        text = node.value if isinstance(node, ScalarNode) else ""
        if text in ("2", "3"):
            return int(text)
        hint = "run `portway config upgrade`" if text == "1" else ""
        self.reader.problem(node, f"unknown version {text!r}. valid versions are: [2 3]", "version", hint)
        return 0

    def place_cas(self) -> None:
        """A file that is not in the working directory is looked for beside the configuration."""
        cas = self.config.agent.get("connect_cas", "")
        if cas in ("", "trusted", "host") or cas.startswith(("pin:", "~")) or Path(cas).exists():
            return
        beside = self.reader.file.absolute().parent / cas
        if beside.is_file():
            self.config.agent["connect_cas"] = str(beside)

    # --- version 3

    def read_v3(self, members: dict[str, tuple[Node, Node]]) -> None:
        reader = self.reader
        for name, (key, value) in members.items():
            if name == "version":
                continue
            if name == "agent":
                hints = {old: f"is called {new} in version 3" for old, new in RENAMED.items()}
                hints["region"] = "was removed in version 3"
                self.config.agent |= reader.map(value, AGENT, "agent", hints)
                self.place_cas()
            elif name == "endpoints":
                self.endpoints(value)
            elif name == "tunnels":
                self.tunnels(value, 3)
            elif (old := underscored(name)) in V2_AGENT:
                new = RENAMED.get(old, old)
                what = "was removed in version 3" if old == "region" else f"belongs under agent:, as agent.{new}"
                reader.problem(key, f"{name} {what}", name)
            else:
                reader.unknown(key, name, dict.fromkeys(V3_TOP, TUNNEL["addr"]), "", {})

    def endpoints(self, node: Node) -> None:
        if is_null(node):
            return
        if not isinstance(node, SequenceNode):
            self.reader.problem(node, f"endpoints: expected a list of `- name: …`, found {kind(node)}")
            return
        seen: dict[str, int] = {}
        for index, item in enumerate(node.value):
            entry = self.endpoint(item, f"endpoints[{index}]")
            if entry is None:
                continue
            if entry.name in seen:
                message = (
                    f"endpoints[{index}].name: the name {entry.name!r} is taken (first on line {seen[entry.name]})"
                )
                self.reader.problem(item, message)
                continue
            seen[entry.name] = entry.line
            places = [place for place, other in enumerate(self.config.endpoints) if other.name == entry.name]
            if places:
                self.note_replaced("endpoint", self.config.endpoints[places[0]], entry)
                self.config.endpoints[places[0]] = entry
            else:
                self.config.endpoints.append(entry)

    def note_replaced(self, what: str, earlier: Entry, later: Entry) -> None:
        self.config.replaced.append(f"the {what} {later.name} of {later.file} replaces that of {earlier.file}")

    def endpoint(self, node: Node, path: str) -> Entry | None:
        reader = self.reader
        if not isinstance(node, MappingNode):
            reader.problem(node, f"{path}: expected a map, found {kind(node)}")
            return None
        hints = {
            old: f"belongs under tunnels: {UNTIL_POLICIES}" if new == POLICY else f"is written as {new} in an endpoint"
            for old, new in V3_PLACES.items()
        }
        hints["binding"] = "is a list: bindings: [X]"
        read = reader.map(node, ENDPOINT, path, hints)
        named = {key.value: key for key, _ in pairs(node) if isinstance(key, ScalarNode)}
        if "name" not in read and "name" not in named:
            reader.problem(node, f"missing {path}.name")
        shown = f'{path} "{read["name"]}"' if "name" in read else path
        if "upstream" not in named:
            reader.problem(node, f"missing {path}.upstream")
        elif not read.get("upstream", {}).get("url"):
            reader.problem(named["upstream"], f"missing {path}.upstream.url")
        urls = read.get("url", [])
        if len(urls) > 1:
            reader.problem(at(node, "url"), f"{shown}: url: one URL, not {len(urls)}")
        if read.get("upstream", {}).get("protocol") == "https":
            self.config.notices.append(f"{shown}: upstream.protocol: https is no protocol here, http1 is taken")
        options = _options_of_endpoint(read, urls[0] if urls else "")
        self.check(node, options, shown, V3_KEYS)
        own_tls = read.get("agent_tls_termination", {})
        pair = ("server_certificate", "server_private_key")
        for one, other in (pair, pair[::-1]):
            if one in own_tls and other not in own_tls:
                reader.problem(
                    at(node, "agent_tls_termination", one), f"{shown}: agent_tls_termination.{one} needs {other}"
                )
        if "agent_tls" in options and options["proto"] != "tls":
            place = at(node, "agent_tls_termination")
            reader.problem(place, f"{shown}: agent_tls_termination is for tls:// URLs only")
        # One that has problems too is there, for a later entry of its name is told to be a double.
        return Entry(read["name"], options, reader.file, *position(node), 3) if "name" in read else None

    # --- version 2

    def read_v2(self, members: dict[str, tuple[Node, Node]]) -> None:
        reader = self.reader
        renamed = {new: old for old, new in RENAMED.items()}
        for name, (key, value) in members.items():
            if name == "version":
                continue
            if name == "tunnels":
                self.tunnels(value, 2)
            elif name in ("agent", "endpoints"):
                reader.problem(key, f"{name} needs `version: 3`", name)
            elif name not in V2_AGENT:
                hints = {new: f"is called {old} in version 2" for new, old in renamed.items()}
                reader.unknown(key, name, {**V2_AGENT, "tunnels": TUNNEL["addr"]}, "", hints)
            elif not is_null(value):
                read = reader.value(value, V2_AGENT[name], name)
                if read is not None and name != "region":
                    self.config.agent[RENAMED.get(name, name)] = read
        self.place_cas()

    def tunnels(self, node: Node, version: int) -> None:
        if is_null(node):
            return
        if not isinstance(node, MappingNode):
            self.reader.problem(node, f"tunnels: expected a map of names, found {kind(node)}")
            return
        for name, (key, value) in self.reader.members(node, "tunnels").items():
            path = f"tunnels.{name}"
            hints = {
                "verify_upstream_tls": "is called upstream_tls_verify",
                "upstream_ca_path": "is called upstream_tls_verify_cas",
                "bind_tls": "is of version 1: use schemes",
                "auth": "is of version 1: use basic_auth",
                "binding": "is a list: bindings: [X]",
            }
            options = self.reader.map(value, TUNNEL, path, hints)
            if "labels" in options and version == 3:
                self.config.notices.append(f"{path}: labels are not supported in version 3: give it a url instead")
            for new in dict.fromkeys(DEPRECATED[key] for key in options if key in DEPRECATED):
                old = [key for key in options if DEPRECATED.get(key) == new]
                verb, them = ("is", "it") if len(old) == 1 else ("are", "them")
                advice = f"keep {them} {UNTIL_POLICIES}" if new == POLICY else f"use {new} instead"
                self.config.notices.append(f"{path}: {', '.join(old)} {verb} deprecated, {advice}")
            self.tunnel(key, value, options, path, version)

    def tunnel(self, key: Node, value: Node, options: dict[str, Any], path: str, version: int) -> None:
        reader, name = self.reader, key.value
        if not options.get("addr"):
            reader.problem(key, f"missing {path}.addr")
        if "proto" not in options:
            if "labels" not in options:
                reader.problem(key, f"missing {path}.proto: the protocol name, http, tcp or tls")
        elif options["proto"] not in ("http", "tcp", "tls"):
            unknown = f"unknown protocol name {options['proto']!r}, use http, tcp or tls"
            reader.problem(at(value, "proto"), f"{path}.proto: {unknown}")
        else:
            self.check(value, options, path, {})
        for first, second in (("crt", "key"), ("key", "crt")):
            if first in options and second not in options:
                reader.problem(at(value, first), f"{path}: {first} needs {second}")
        for pair in (("domain", "subdomain"), ("domain", "hostname"), ("hostname", "subdomain"), ("url", "domain")):
            if pair[0] in options and pair[1] in options:
                reader.problem(at(value, pair[1]), f"{path}: {pair[0]} and {pair[1]} exclude each other")
        entry = Entry(options.pop("name", name), options, reader.file, *position(key), version)
        if name in self.config.tunnels:
            self.note_replaced("tunnel", self.config.tunnels[name], entry)
        self.config.tunnels[name] = entry

    def check(self, node: Node, options: dict[str, Any], path: str, keys: dict[str, tuple[str, ...]]) -> None:
        """Addresses and combinations that can be told wrong without the edge. `keys`: where an option stands."""
        proto = options.get("proto", "http")

        def problem(option: str, message: str, hint: str = "") -> None:
            place = keys.get(option, (option,))
            full = f"{path}: {'.'.join(place)}" if '"' in path else join(path, ".".join(place))
            self.reader.problem(at(node, *place), f"{full}{message}", full, hint)

        for option, protocols in ON_PROTOCOLS.items():
            if option in options and (("http" if proto == "https" else proto) not in protocols):
                problem(option, f" makes no sense on an endpoint of protocol {proto}")
        policies = [name for name in POLICIES if name in options]
        if len(policies) > 1:
            problem(policies[1], f": {' and '.join(policies)} exclude each other")
        if len(options.get("bindings", [])) > 1:
            problem("bindings", ": one binding, not several")
        try:
            if options.get("addr"):  # that there is none is told already
                upstream.normalise(options["addr"], proto)
        except ValueError as error:
            scheme = str(options["addr"]).partition("://")[0]
            hint = f"set url to {scheme}://" if scheme in ("tcp", "tls") and proto in ("http", "https") else ""
            problem("addr", f": {error}", hint)
        try:
            if options.get("url"):
                family = endpoint_url.parse(options["url"], proto).proto
                if {"https": "http"}.get(family, family) != {"https": "http"}.get(proto, proto):
                    problem("url", f": an endpoint of protocol {proto} cannot have {options['url']!r}")
        except ValueError as error:
            problem("url", f": {error}")


# Options of a tunnel that have another place in an endpoint.
V3_KEYS: dict[str, tuple[str, ...]] = {
    "addr": ("upstream", "url"),
    "upstream_protocol": ("upstream", "protocol"),
    "upstream_tls_verify": ("upstream", "tls_verify"),
    "upstream_tls_verify_cas": ("upstream", "tls_verify_cas"),
    "file_listing": ("upstream", "file_listing"),
}


def at(node: Node, *keys: str) -> Node:
    """The value below these keys, or the nearest node on the way to it."""
    for wanted in keys:
        if not isinstance(node, MappingNode):
            break
        found = [value for key, value in pairs(node) if isinstance(key, ScalarNode) and key.value == wanted]
        if not found:
            break
        node = found[0]
    return node


MISSING_VERSION = "`version` property is required: add `version: 3`, or run `portway config upgrade`"


def _options_of_endpoint(read: dict[str, Any], url: str) -> dict[str, Any]:
    """An endpoint in the words of a tunnel definition."""
    same = ("bindings", "description", "metadata", "pooling_enabled", "inspect")
    options = {
        key: read[key] for key in (*same, "traffic_policy", "traffic_policy_file", "traffic_policy_url") if key in read
    }
    try:
        proto = endpoint_url.parse(url).proto if url else "https"
    except ValueError:
        proto = "https"
    options |= {"proto": proto, "url": url or "https://"}
    up = read.get("upstream", {})
    if "url" in up:
        options["addr"] = up["url"]
    places = {
        "protocol": "upstream_protocol",
        "proxy_protocol": "upstream_proxy_protocol",
        "tls_verify": "upstream_tls_verify",
        "tls_verify_cas": "upstream_tls_verify_cas",
        "file_listing": "file_listing",
    }
    options |= {new: up[old] for old, new in places.items() if old in up}
    if options.get("upstream_protocol") == "https":
        options["upstream_protocol"] = "http1"  # what some examples of the API have there
    if "agent_tls_termination" in read:
        options["agent_tls"] = read["agent_tls_termination"]
    return options
