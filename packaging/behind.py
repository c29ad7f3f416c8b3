"""What stands behind a tunnel that is tried: a service that answers everything with the same bytes."""

from __future__ import annotations

import http.server
import os
import threading

BODY = os.urandom(1 << 20)


class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


def serve() -> int:
    """Starts it beside this program; its port."""
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    return service.server_port
