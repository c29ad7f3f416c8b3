"""Runs a program with listening sockets as descriptors from 3 on, as systemd does (sd_listen_fds(3)).

Arguments: a JSON object of names and ports, then the program.
"""

import json
import os
import socket
import sys

FIRST = 3

if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    sockets = [socket.create_server(("127.0.0.1", port)) for port in asked.values()]
    # Out of the way first: none of them is to be overwritten by another.
    kept = [os.dup(one.fileno()) for one in sockets]
    high = [os.dup2(fd, FIRST + 100 + number) for number, fd in enumerate(kept)]
    for number, fd in enumerate(high):
        os.dup2(fd, FIRST + number)
        os.close(fd)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(asked)), LISTEN_FDNAMES=":".join(asked))
    os.execv(sys.argv[2], sys.argv[2:])
