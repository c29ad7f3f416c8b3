"""Tunnels of version 2 as endpoints of version 3 (config.md §8): where that says exactly the same, and the text of the
file, comments with it, moves along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from yaml.nodes import MappingNode

from portway.config.edit import scalar
from portway.config.model import Entry
from portway.config.outline import Piece, ShapeError, comment_in, flow_pieces, is_block, pieces, shifted, shifted_whole
from portway.config.plan import meaning, url_request

# Option -> where it stands in an endpoint; a dot leads into a map.
SAME = ("metadata", "description", "inspect", "pooling_enabled", "bindings", "traffic_policy")
PLACES = {
    **{name: name for name in (*SAME, "traffic_policy_file", "traffic_policy_url")},
    "policy": "traffic_policy",
    "policy_file": "traffic_policy_file",
    "addr": "upstream.url",
    "upstream_protocol": "upstream.protocol",
    "app_protocol": "upstream.protocol",
    "proxy_proto": "upstream.proxy_protocol",
    "upstream_proxy_protocol": "upstream.proxy_protocol",
    "upstream_tls_verify": "upstream.tls_verify",
    "upstream_tls_verify_cas": "upstream.tls_verify_cas",
    "file_listing": "upstream.file_listing",
    "crt": "agent_tls_termination.server_certificate",
    "key": "agent_tls_termination.server_private_key",
    "mutual_tls_cas": "agent_tls_termination.mutual_tls_certificate_authorities",
}
# What the URL of an endpoint says all of; the first that is there keeps its comment.
IN_URL = ("url", "domain", "hostname", "remote_addr", "proto", "schemes", "terminate_at")
ORDER = ("", "agent_tls_termination", "upstream")


Shared = Callable[[Piece], bool]


class KeptError(ValueError):
    """A tunnel has no equal among endpoints; the text says why."""


@dataclass
class Tunnels:
    """What became of the tunnels of a file."""

    endpoints: str = ""
    kept: str = ""
    report: list[str] = field(default_factory=list)


def convert(text: str, found: list[Piece], entries: dict[str, Entry], indent: str, end: str, shared: Shared) -> Tunnels:
    """`found` are the tunnels in `text`, `entries` what they say. `shared`: whether a piece has anchors or aliases."""
    made = Tunnels()
    for piece in found:
        name = piece.key.value
        try:
            if shared(piece):
                raise KeptError("it shares a part with another")
            made.endpoints += _Endpoint(text, piece, entries[name], indent, end).text()
            made.report.append(f"tunnels.{name} is the endpoint {name} now")
        except (KeptError, ShapeError) as error:
            pad = " " * (piece.column or len(indent))
            note = f"{pad}# kept as a tunnel: {error}{end}"
            made.kept += f"{piece.lead}{note}{pad}{piece.name}{piece.rest}"
            labelled = "labels" in entries[name].options and "proto" not in entries[name].options
            warning = "; version 3 cannot start it before it has a url" if labelled else ""
            made.report.append(f"tunnels.{name} stays a tunnel: {error}{warning}")
    return made


class _Endpoint:
    """One tunnel on its way."""

    def __init__(self, text: str, piece: Piece, entry: Entry, indent: str, end: str) -> None:
        self.piece = piece
        self.given = entry.options
        self.end = end
        self.pad = " " * (len(indent) + 2)
        self.step = indent
        self.indent = indent
        check(entry, str(piece.key.value))
        node = piece.value
        assert isinstance(node, MappingNode)
        if node.flow_style:
            self.options, self.foot = flow_pieces(text, node, end), ""
        else:
            first = node.value[0][0].start_mark
            begin = first.index - first.column
            start = piece.key.end_mark.index + len(piece.rest.partition("\n")[0]) + 1
            stop = piece.key.end_mark.index + len(piece.rest)
            self.options, self.foot = pieces(text, node, min(start, begin), stop)

    def text(self) -> str:
        piece, by = self.piece, len(self.indent) - self.piece.column if self.piece.column else 0
        groups: dict[str, str] = dict.fromkeys(ORDER, "")
        loose = ""
        for option in self.options:
            name = option.key.value
            if name in IN_URL:
                continue
            if name not in self.given or name == "name":
                loose += self.comments(option, self.indent)  # `key:` with nothing says nothing
                continue
            outer, _, inner = PLACES[name].rpartition(".")
            groups[outer] += self.moved(option, inner, self.pad + (self.step if outer else ""))
        head = f"{shifted_whole(piece.lead, by)}{loose}{self.indent}- name: {piece.name}{self.head_comment()}{self.end}"
        body = self.url() + groups.pop("")
        for name, lines in groups.items():
            body += f"{self.pad}{name}:{self.end}{lines}" if lines else ""
        return head + body + shifted_whole(self.foot, len(self.pad) - (self.options[0].column if self.foot else 0))

    def head_comment(self) -> str:
        if is_block(self.piece.value):
            return comment_in(self.piece.rest.partition("\n")[0], None)
        after = self.piece.rest.rpartition("}")[2]
        return comment_in(after, None)

    def url(self) -> str:
        """The line that says where it is reached, with the comments of all that it takes the place of."""
        parts = [option for name in IN_URL for option in self.options if option.key.value == name]
        proto = self.given["proto"]
        if proto == "http":
            proto = (self.given.get("schemes") or ["https"])[0]
        _, url, _ = url_request(self.given, proto)
        behind = above = ""
        for number, option in enumerate(parts):
            above += shifted_whole(option.lead, len(self.pad) - option.column) if option.column else ""
            comment = option.comment
            if not comment:
                continue
            if number == 0:
                behind = comment
            else:
                above += f"{self.pad}{comment.strip()}{self.end}"
        return f"{above}{self.pad}url: {scalar(url)}{behind}{self.end}"

    def comments(self, option: Piece, pad: str) -> str:
        """Those of an option that goes."""
        by = len(pad) - option.column
        behind = f"{pad}{option.comment.strip()}{self.end}" if option.comment else ""
        return shifted_whole(option.lead, by) + behind

    def moved(self, option: Piece, name: str, pad: str) -> str:
        by = len(pad) - option.column
        rest = shifted(option.rest, by)
        if name.startswith("mutual_tls"):
            comment = option.comment
            rest = f": [{scalar(self.given['mutual_tls_cas'], chr(34))}]{comment}{self.end}"
        lead = shifted_whole(option.lead, by) if option.column else ""
        return f"{lead}{pad}{name}{rest}" + ("" if rest.endswith("\n") else self.end)


def check(entry: Entry, name: str) -> None:
    """Raises `KeptError` where an endpoint could not say the same."""
    given = entry.options
    if unknown := [key for key in given if key not in PLACES and key not in IN_URL]:
        verb = "has" if len(unknown) == 1 else "have"
        raise KeptError(f"{' and '.join(unknown)} {verb} no endpoint option")
    if entry.name != name:
        raise KeptError("name gives it a second name")
    _check_tls(given)
    if len(given.get("schemes", [])) > 1:
        raise KeptError("schemes makes two endpoints of it")
    for place in PLACES.values():
        if len(same := [key for key in given if PLACES.get(key) == place]) > 1:
            raise KeptError(f"{' and '.join(same)} are one option now")
    try:
        meaning(entry)
    except ValueError as error:
        raise KeptError(f"it cannot be started: {error}") from None


def _check_tls(given: dict[str, Any]) -> None:
    proto, where = given["proto"], given.get("terminate_at")
    if "mutual_tls_cas" in given and proto != "tls":
        raise KeptError("mutual_tls_cas has no endpoint option")
    if where == "edge":
        raise KeptError("terminate_at: edge has no endpoint option")
    if where == "upstream" and {"crt", "key", "mutual_tls_cas"} & set(given):
        raise KeptError("terminate_at: upstream leaves the certificate unused")
