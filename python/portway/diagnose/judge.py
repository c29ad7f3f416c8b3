"""What facts mean: lines with a grade, and issues that say what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal

from portway.diagnose.probe import Fact, Facts

Grade = Literal["OK", "WARN", "ERROR"]
ORDER: tuple[Grade, ...] = ("OK", "WARN", "ERROR")

# A certificate is refused for minutes; nothing here needs a better clock.
CLOCK_SECONDS = 60

PROXY = "Proxy"
RESOLVERS = {
    "system": "System resolver",
    "configured": "Servers of dns_resolver_ips",
    "public": "Public resolvers",
    "https": "DNS over HTTPS",
}
TITLES = {
    "resolve": "Name Resolution",
    "crl": "Revoked Certificates",
    "tcp": "TCP",
    "tls": "TLS",
    "protocol": "Tunnel Protocol",
    "auth": "Authentication",
    "clock": "Clock",
}
# What may help where a step fails and its error does not say so.
ADVICE = {
    "resolve": "Is the name spelt right, and has it a record? dns_resolver_ips asks other servers.",
    "tcp": "Is the address right, and does a firewall on the way let connections through to this port?",
    "protocol": "Is this the edge's address for agents? Visitors have another one.",
}
REFUSED = "The machine is there, but nobody listens on this port: does the edge run, and is this its port for agents?"
OF_PROXY = "Is there still such a proxy? It is named by proxy_url, or by a variable such as https_proxy or all_proxy."
# Where nothing of a step succeeded towards the edge.
NONE_OF = {"tcp": 8007, "tls": 8008, "protocol": 8009}


@dataclass(frozen=True)
class Issue:
    """One thing that is not as it should be. `where`: resolver or address."""

    where: str
    host: str
    text: str
    code: int = 0


@dataclass
class Line:
    title: str
    grade: Grade = "OK"
    issues: list[Issue] = field(default_factory=list)

    def softened(self) -> Line:
        """Of something that is not needed, as all else works."""
        return Line(self.title, "WARN" if self.grade == "ERROR" else self.grade, self.issues)


@dataclass
class Section:
    heading: str
    lines: list[Line]

    @property
    def fine(self) -> bool:
        return all(line.grade != "ERROR" for line in self.lines)

    def softened(self) -> Section:
        return Section(self.heading, [line.softened() for line in self.lines])


@dataclass
class Verdict:
    sections: list[Section]
    fine: bool
    cause: str = ""
    """Why there is no connection."""
    advice: str = ""
    """What may help."""
    region: str = ""
    latency_ms: float = 0.0


def verdict(facts: Facts, edges: Sequence[str], trusted: str, program: str = "portway") -> Verdict:
    """Judges what was found out on the way to `edges`. `trusted`: whose certificates are expected there."""
    proxy = _section(PROXY, facts, "proxy")
    judged = [_edge(facts, edge, trusted, program) for edge in edges]
    working = [section for section in judged if section.fine and len(section.lines) > 1]
    fine = bool(working) and proxy.fine
    internet = _section("Internet Connectivity", facts, "internet")
    local = _section("Localhost Connectivity", facts, "localhost").softened()
    sections = [proxy, internet.softened() if fine else internet, local]
    for edge, section in zip(edges, judged, strict=True):
        # The agent goes on to the next address where one does not work.
        sections.append(section.softened() if fine else section)
        over_six = _section(f"IPv6 - {edge}", facts, f"ipv6 {edge}")
        only = {fact.addr.startswith("[") for fact in facts.of(f"edge {edge}", "tcp")} == {True}
        sections.append(over_six if only else over_six.softened())
    best = min(
        (fact for edge in edges for fact in facts.of(f"edge {edge}", "protocol") if fact.ok),
        key=lambda fact: fact.ms,
        default=None,
    )
    cause, advice = ("", "") if fine else _cause([proxy, *judged], facts)
    return Verdict(
        [section for section in sections if section.lines],
        fine,
        cause,
        advice,
        (best.region if best else "") or "",
        best.ms if best else 0.0,
    )


def _section(heading: str, facts: Facts, name: str, trusted: str = "", none: dict[str, int] | None = None) -> Section:
    lines = []
    for step, title in TITLES.items():
        found = facts.of(name, step)
        if not found:
            continue
        if step == "resolve":
            lines.append(_names(title, found))
        elif step == "clock":
            lines.append(_clock(title, found))
        else:
            lines.append(_step(title, found, trusted, (none or {}).get(step, 0)))
    return Section(heading, lines)


def _edge(facts: Facts, edge: str, trusted: str, program: str) -> Section:
    section = _section(f"{program} Connectivity - {edge}", facts, f"edge {edge}", trusted, NONE_OF)
    last = section.lines[-1].title if section.lines else ""
    if section.fine and last in ("", TITLES["resolve"], TITLES["crl"]):
        # A name without a usable address leads nowhere.
        section.lines.append(Line(TITLES["tcp"], "ERROR", [Issue("", edge, "there is no address to try", 8007)]))
    return section


def _names(title: str, found: list[Fact]) -> Line:
    failed = [fact for fact in found if not fact.ok]
    issues = [Issue(_where(fact), fact.host, fact.err, fact.code or 8000) for fact in failed]
    answered = [fact for fact in found if fact.ok]
    if not answered:
        return Line(title, "ERROR", issues)
    if failed and len(answered) == 1:
        text = f"only this one knows the name ({', '.join(answered[0].addrs)}): where it fails, there is no connection"
        issues.append(Issue(_where(answered[0]), answered[0].host, text, 8010))
    return Line(title, "WARN" if issues else "OK", issues)


def _step(title: str, found: list[Fact], trusted: str, none: int) -> Line:
    failed = [fact for fact in found if not fact.ok]
    issues = [Issue(fact.addr, fact.host, _told(fact, trusted), fact.code) for fact in failed]
    if not failed:
        return Line(title)
    if len(failed) < len(found):
        return Line(title, "WARN", issues)
    if none:
        issues.append(Issue("", found[0].host, "none of the addresses works", none))
    return Line(title, "ERROR", issues)


def _clock(title: str, found: list[Fact]) -> Line:
    known = [fact for fact in found if fact.ahead_s is not None]
    if not known:
        return Line(title, "WARN", [Issue(fact.addr, fact.host, f"cannot be compared: {fact.err}") for fact in found])
    fact = min(known, key=lambda one: abs(one.ahead_s or 0))
    ahead = fact.ahead_s or 0
    if abs(ahead) <= CLOCK_SECONDS:
        return Line(title)
    text = f"the clock of this machine is {_duration(ahead)} {'ahead' if ahead > 0 else 'behind'}: set it"
    return Line(title, "WARN", [Issue(fact.addr, fact.host, text)])


def _duration(seconds: int) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if abs(seconds) >= 2 * size:
            return f"{abs(seconds) // size} {unit}"
    return f"{abs(seconds)} s"


def _told(fact: Fact, trusted: str) -> str:
    """The error of a step, and what the certificate that was shown says about it."""
    if not fact.cert:
        return fact.err
    leaf = fact.cert[0]
    now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    since, until = leaf["not_before"], leaf["not_after"]
    if since and not since <= now <= until:
        return f"{fact.err}. Its certificate holds from {since} to {until}; the clock of this machine says {now}"
    expected = trusted or "a public CA"
    return (
        f"{fact.err}. The certificate that was shown is issued by {leaf['issuer'] or 'an unknown CA'}, and expected is "
        f"{expected}. If a proxy of your network inspects TLS, have this address left out, or trust its CA: "
        "connect_cas: host"
    )


def _where(fact: Fact) -> str:
    return RESOLVERS.get(fact.resolver, fact.resolver)


def _cause(sections: Sequence[Section], facts: Facts) -> tuple[str, str]:
    """The first step that failed, as that is what to mend, and what may help."""
    for section in sections:
        for line in section.lines:
            if line.grade == "ERROR":
                issue = line.issues[-1] if line.issues[-1].code in NONE_OF.values() else line.issues[0]
                detail = line.issues[0].text
                code = f" (ERR_NGROK_{issue.code})" if issue.code else ""
                return f"{line.title}: {detail}{code}", _advice(section, line.title, detail)
    return facts.said or "nothing was found out", ""


def _advice(section: Section, title: str, detail: str) -> str:
    if section.heading == PROXY:
        return OF_PROXY
    if detail.startswith("proxy ") or "is it the address for agents?" in detail:  # it says enough by itself
        return ""
    if title == TITLES["tcp"] and "refused" in detail:
        return REFUSED
    return next((text for step, text in ADVICE.items() if TITLES[step] == title), "")
