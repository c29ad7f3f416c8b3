"""Which hosts are this machine."""

from __future__ import annotations

import ipaddress


def is_here(host: str) -> bool:
    """Whether what is sent there stays on this machine; a name is not looked up for that."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
