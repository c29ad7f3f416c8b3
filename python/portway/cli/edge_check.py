"""`portway edge check`: what goes wrong when somebody sets up an edge for the first time.

Everything is tried from this machine. What only fails from elsewhere (a firewall that lets us through) it cannot see,
and says so.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from portway.cli.edge import FLAGS, settings
from portway.cli.options import Given, command

Grade = Literal["OK", "WARN", "ERROR"]

PATIENCE_SECONDS = 5
# A certificate is refused for minutes, a token for less; nothing here needs a better clock.
CLOCK_TOLERANCE_SECONDS = 30
# Seconds from the epoch of NTP (1900) to that of Unix.
NTP_EPOCH = 2_208_988_800
NTP_PORT = 123


class Finding(NamedTuple):
    name: str
    grade: Grade
    detail: str = ""


def check(
    given: Given,
    time_server: Annotated[
        str | None,
        typer.Option(
            metavar="HOST[:PORT]", help="NTP server to compare the clock with; empty for none", show_default=True
        ),
    ] = "pool.ntp.org",
) -> int:
    """Test what an edge needs: DNS, ports, certificate, clock.

    Takes the flags and the file of the edge. Exit code 1 when something is wrong.
    """
    config, _, _ = settings(given)
    print("Testing the edge from this machine...")
    worst = 0
    for title, findings in sections(config, time_server or ""):
        print(f"\n{title}")
        for finding in findings:
            print(f"  {finding.name:<42}{'[ ' + finding.grade + ' ]':>10}", flush=True)
            for line in finding.detail.splitlines():
                print(f"      {line}")
            worst = max(worst, 1 if finding.grade == "ERROR" else 0)
    print("\nSomething is in the way." if worst else "\nNothing is in the way, as far as this machine can see.")
    return worst


EXAMPLES = """\
  portway edge check --domain example.com --https-addr :443    with the flags of the edge
  portway edge check --config /etc/portway/edge.yml
"""

check_command = partial(command, check, FLAGS, EXAMPLES)


def sections(config: dict[str, Any], time_server: str) -> Iterator[tuple[str, Iterator[Finding]]]:
    for domain in config["domains"]:
        yield f"DNS of {domain}", dns(domain)
        yield f"Ports of {domain}", ports(config, domain)
        yield f"Certificates for {domain}", certificates(config, domain)
    yield "Clock", clock(time_server)


# === DNS


def dns(domain: str) -> Iterator[Finding]:
    base = resolve(domain)
    yield _resolved(domain, base, f"Create an A or AAAA record for {domain} that points to this edge.")
    name = f"check-{secrets.token_hex(4)}.{domain}"
    names = resolve(name)
    if domain == "localhost" and not isinstance(names, set):
        browsers = "Browsers and curl find *.localhost by themselves; other programs here do not."
        yield Finding(f"*.{domain}", "WARN", browsers)
        return
    yield _resolved(f"*.{domain}", names, f"Create a wildcard record *.{domain}: every endpoint gets a name below it.")
    if isinstance(base, set) and isinstance(names, set) and not base & names:
        detail = f"{domain} is {_listed(base)} and *.{domain} is {_listed(names)}: they lead to different machines."
        yield Finding("same machine", "WARN", detail)


def resolve(name: str) -> set[str] | str:
    """Addresses of a name, or why there are none."""
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)


def _resolved(name: str, found: set[str] | str, advice: str) -> Finding:
    if isinstance(found, str):
        return Finding(name, "ERROR", f"{found}\n{advice}")
    return Finding(f"{name}", "OK", _listed(found))


def _listed(addresses: set[str]) -> str:
    return ", ".join(sorted(addresses))


# === ports


def ports(config: dict[str, Any], domain: str) -> Iterator[Finding]:
    """Each listener: here, and under its public name."""
    for listener, port_key in (("http", "public_http_port"), ("https", "public_https_port"), ("agent", "")):
        listening = config.get(f"{listener}_addr")
        if not listening:
            continue
        port = int(listening.rpartition(":")[2])
        local = reach(_local(listening), port)
        if local:
            yield Finding(f"{listener} on {listening}", "ERROR", f"{local}\n{_why_not(listening, port)}")
            continue
        yield Finding(f"{listener} on {listening}", "OK")
        host, public = _public(config, listener, domain, config.get(port_key) or port)
        if problem := reach(host, public):
            advice = "Open the port in the firewall, or forward it to this machine. A router that does not lead\n"
            advice += "back to its public address from inside looks the same: try from elsewhere."
            yield Finding(f"{listener} at {host}:{public}", "ERROR", f"{problem}\n{advice}")
        else:
            yield Finding(f"{listener} at {host}:{public}", "OK")


def _public(config: dict[str, Any], listener: str, domain: str, port: int) -> tuple[str, int]:
    named = config.get("public_agent_addr") if listener == "agent" else None
    if not named:
        return domain, port
    host, _, text = named.rpartition(":")
    return host.strip("[]"), int(text)


def _local(listening: str) -> str:
    """The address by which this machine reaches its own listener."""
    host = listening.rpartition(":")[0].strip("[]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def _silent(listening: str) -> bool:
    return bool(reach(_local(listening), int(listening.rpartition(":")[2])))


def reach(host: str, port: int) -> str:
    """Why a TCP connection cannot be made; nothing when it can."""
    try:
        socket.create_connection((host, port), PATIENCE_SECONDS).close()
    except TimeoutError:
        return f"no answer within {PATIENCE_SECONDS} s"
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def _why_not(listening: str, port: int) -> str:
    """Nobody listens: could an edge?"""
    host = listening.rpartition(":")[0].strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except PermissionError:
            return (
                f"Ports below 1024 need a privilege: run under systemd with socket activation or\n"
                f"AmbientCapabilities=CAP_NET_BIND_SERVICE, or forward port {port} to a higher one."
            )
        except OSError as error:
            return f"An edge could not listen there: {error.strerror}."
    return "No edge runs here now. Start it, then check again."


# === certificates


def certificates(config: dict[str, Any], domain: str) -> Iterator[Finding]:
    own_ca = Path(config["data_dir"]) / "ca.pem"
    if agent := config.get("agent_addr"):
        host, _ = _public(config, "agent", domain, 0)
        yield _agent_certificate(agent, host, own_ca)
    if https := config.get("https_addr"):
        for name in (domain, f"check.{domain}"):
            yield _visitor_certificate(https, name, own_ca)


def _agent_certificate(listening: str, host: str, own_ca: Path) -> Finding:
    name = f"agent leg, {host}"
    if _silent(listening):
        return Finding(name, "WARN", "Nobody listens, so there is none to look at.")
    if not own_ca.exists():
        return Finding(name, "ERROR", f"{own_ca} is not there yet: the edge makes it when it first starts.")
    problem = handshake(listening, host, own_ca)
    if not problem:
        return Finding(name, "OK")
    advice = f"Agents check it against {own_ca}. Restart the edge with --domain {host}."
    return Finding(name, "ERROR", f"{problem}\n{advice}")


def _visitor_certificate(listening: str, name: str, own_ca: Path) -> Finding:
    title = f"visitors, {name}"
    if _silent(listening):
        return Finding(title, "WARN", "Nobody listens, so there is none to look at.")
    public = handshake(listening, name, None)
    if not public:
        return Finding(title, "OK", "Trusted by the roots of this machine.")
    if own_ca.exists() and not handshake(listening, name, own_ca):
        detail = f"Signed by the edge itself: visitors are warned unless they trust {own_ca}.\n"
        return Finding(title, "WARN", detail + "Put a public certificate into --certs-dir.")
    return Finding(title, "ERROR", public)


def handshake(listening: str, name: str, ca: Path | None) -> str:
    """Why a TLS handshake fails with the roots of `ca`, or of this machine; nothing when it succeeds."""
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        address = (_local(listening), int(listening.rpartition(":")[2]))
        with socket.create_connection(address, PATIENCE_SECONDS) as plain:
            context.wrap_socket(plain, server_hostname=name).close()
        return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, UnicodeError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)


# === clock


def clock(server: str) -> Iterator[Finding]:
    if not server:
        return
    host, _, port = server.partition(":")
    try:
        offset = offset_from(host, int(port or NTP_PORT))
    except (OSError, struct.error, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield Finding(f"compared with {server}", "WARN", f"Could not be asked: {reason}")
        return
    detail = f"{abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}"
    if abs(offset) > CLOCK_TOLERANCE_SECONDS:
        advice = "Certificates look expired or not yet valid to a wrong clock: turn on time synchronisation."
        yield Finding(f"compared with {server}", "ERROR", f"{detail}\n{advice}")
    else:
        yield Finding(f"compared with {server}", "OK", detail)


def offset_from(server: str, port: int = NTP_PORT) -> float:
    """Seconds this clock is ahead of a time server (SNTP, RFC 4330). Raises `OSError` or `ValueError`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(PATIENCE_SECONDS)
        udp.connect((server, port))
        sent = time.time()
        udp.send(b"\x23" + bytes(47))  # version 4, we are a client
        answer = udp.recv(512)
        came = time.time()
    stamps: tuple[int, ...] = struct.unpack("!4I", answer[32:48])
    received_s, received_f, answered_s, answered_f = stamps
    if not answered_s:
        raise ValueError("the server does not know the time")
    theirs = (received_s + answered_s) / 2 + (received_f + answered_f) / 2**33 - NTP_EPOCH
    return (sent + came) / 2 - theirs
