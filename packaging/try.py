"""Tries the `portway` of this Python, or the one that is named: a tunnel with nothing configured, and a visitor.

usage: packaging/try.py [COMMAND …]

For machines that packages were built for elsewhere; the standard library and behind.py are all it takes. It ends with 0
when the visitor got what is behind the tunnel, and nothing of the agent is left.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import behind

PATIENCE = 180  # an emulated machine takes its time


def main() -> int:
    command = sys.argv[1:] or [str(Path(sysconfig.get_path("scripts")) / "portway")]
    port = behind.serve()
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_STATE_HOME": home}
        agent = subprocess.Popen(
            [*command, "http", str(port), "--url", "http://try.localhost"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        patience = threading.Timer(PATIENCE, agent.kill)
        patience.start()
        assert agent.stdout
        line = agent.stdout.readline()  # Forwarding URL -> UPSTREAM
        try:
            if not line.startswith("Forwarding "):
                print(f"try: no tunnel: {line!r}", file=sys.stderr)
                return 1
            return tried(urlsplit(line.split()[1]), agent)
        finally:
            agent.terminate()
            agent.wait(PATIENCE)
            patience.cancel()


def tried(url: SplitResult, agent: subprocess.Popen[str]) -> int:
    address = ("127.0.0.1", url.port or 80)
    visitor = http.client.HTTPConnection(*address, timeout=PATIENCE)
    visitor.request("GET", "/", headers={"Host": url.netloc})
    answer = visitor.getresponse()
    same = (answer.read(), answer.status) == (behind.BODY, 200)
    print(f"try: {url.geturl()} answers {answer.status}{'' if same else ', with something else'}")
    agent.terminate()
    # Where the agent is a child of what was ended, it has to end too, and the visitor's connection with it.
    left = leftover(visitor.sock, address)
    if left:
        print("try: it still runs, though it was ended", file=sys.stderr)
    return 0 if same and not left else 1


def leftover(connection: socket.socket, address: tuple[str, int]) -> bool:
    """Whether somebody still serves there once a connection with it is over."""
    try:
        connection.recv(1)
    except ConnectionError:
        pass
    except TimeoutError:
        return True
    with socket.socket() as another:
        return another.connect_ex(address) == 0


if __name__ == "__main__":
    sys.exit(main())
