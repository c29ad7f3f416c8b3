"""An edge that cannot start says why, and what to do about it (cli.md §13)."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from harness.edge import isolated
from harness.process import portway

OFF = {"--agent-addr": "127.0.0.1:0", "--http-addr": "off", "--https-addr": "off", "--api-addr": "off"}


@pytest.mark.parametrize("flag", OFF)
def test_an_address_that_cannot_be_had_is_named_with_what_to_do(flag: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for address, why in (
            (
                f"127.0.0.1:{taken.getsockname()[1]}",
                ("address already in use", "Another program listens there"),
            ),
            ("192.0.2.1:0", ("cannot assign requested address", "No interface of this machine has this address")),
        ):
            flags = [word for pair in {**OFF, flag: address}.items() for word in pair]
            done = subprocess.run(
                [*portway(), "edge", "--domain", "localhost", "--data-dir", str(tmp_path), *flags],
                env=isolated(tmp_path),
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 1
            first, second = (line for line in done.stderr.splitlines() if line.startswith("ERROR:"))
            assert first.startswith(f"ERROR:  cannot listen on {address} for "), first
            assert first.lower().endswith(why[0]), first
            assert second.startswith(f"ERROR:  {why[1]}"), second
            assert flag in second
