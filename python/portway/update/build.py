"""What `tools/release` writes into a release. A build without it never asks anybody for updates."""

from __future__ import annotations

ADDRESS = ""
"""Below it are CHANNEL.json and CHANNEL.json.minisig."""

KEYS: tuple[str, ...] = ()
"""Public keys of minisign: the present one, and the next one or the last."""

STANDALONE = False
"""Whether the program is one file that may replace itself."""
