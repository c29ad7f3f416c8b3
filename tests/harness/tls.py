"""Certificates of somebody else: upstreams, visitors, endpoints with a certificate of their own."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import trustme


@dataclass
class Pair:
    """A certificate with its chain, and its key, as PEM files."""

    cert: Path
    key: Path

    def serving(self, clients: Path | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        if clients:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority:
    def __init__(self, home: Path, name: str = "authority") -> None:
        self.home = home / name
        self.home.mkdir(parents=True)
        self._ca = trustme.CA(organization_name=name)
        self.pem = self.home / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.pem))

    def pair(self, *names: str) -> Pair:
        return self._written(self._ca.issue_cert(*names), *names)

    def expired(self, *names: str) -> Pair:
        """One that was good until yesterday."""
        now = datetime.now(timezone.utc)
        leaf = self._ca.issue_cert(*names, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
        return self._written(leaf, "expired", *names)

    def _written(self, leaf: trustme.LeafCert, *names: str) -> Pair:
        stem = "-".join(names).replace("*", "any").replace(":", "_")
        pair = Pair(self.home / f"{stem}.pem", self.home / f"{stem}.key")
        pair.cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(pair.key))
        return pair
