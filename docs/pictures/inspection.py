"""Makes docs/pictures/inspection.png: the inspection page with some requests of a shop, as a browser shows it.

usage: .venv/bin/python docs/pictures/inspection.py      needs chromium and its driver
"""

from __future__ import annotations

import json
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlencode, urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from selenium.webdriver.common.by import By  # noqa: E402 - found where this checkout is

from harness.agents import Agents  # noqa: E402
from harness.browser import browser  # noqa: E402
from harness.local import local  # noqa: E402
from harness.process import until  # noqa: E402
from harness.visitor import Visitor  # noqa: E402

WIDTH, HEIGHT = 1240, 720
ORDER = {
    "id": "ord_7421",
    "event": "order.paid",
    "customer": {"name": "Ann Other", "country": "SE", "returning": True},
    "items": [{"sku": "tea-green-250", "count": 2, "price": "7.90"}, {"sku": "mug-blue", "count": 1, "price": "12.00"}],
    "total": "27.80",
}
JSON = {"Content-Type": "application/json"}
WEBHOOK = {**JSON, "User-Agent": "payments/2.4", "X-Signature": "sha256=5f2b"}
ASKED: list[tuple[str, str, bytes | None, dict[str, str]]] = [
    ("GET", "/", None, {}),
    ("GET", "/assets/shop.css", None, {}),
    ("GET", "/api/products?page=2&sort=price", None, {}),
    ("GET", "/favicon.ico", None, {}),
    ("POST", "/login", urlencode({"user": "ann", "next": "/cart"}).encode(), {}),
    ("GET", "/cart", None, {}),
    ("PUT", "/api/cart/items/3", b'{"count": 2}', JSON),
    ("GET", "/api/search?q=green+tea", None, {}),
    ("POST", "/api/checkout", b'{"cart": 3, "pay": "card"}', JSON),
    ("GET", "/admin", None, {}),
    ("POST", "/webhooks/payment?attempt=1", json.dumps(ORDER, indent=1).encode(), WEBHOOK),
]


class Shop(BaseHTTPRequestHandler):
    """An upstream that has nothing to sell."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path = urlsplit(self.path).path
        status = {"/favicon.ico": 404, "/login": 303, "/admin": 403, "/api/checkout": 500}.get(path, 200)
        said = {"order": ORDER["id"], "status": "accepted", "warehouse": {"queue": 3, "pick_up": "14:30"}}
        body = json.dumps(said if path.startswith("/webhooks") else {"path": path, "words": "tea " * 90}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    # The library looks for these names.
    do_GET = do_POST = do_PUT = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    shop = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    Thread(target=shop.serve_forever, daemon=True).start()
    picture = Path(__file__).with_suffix(".png")
    with tempfile.TemporaryDirectory() as folder:
        agents = Agents(Path(folder))
        try:
            agent = agents.http(f"127.0.0.1:{shop.server_address[1]}", url="http://shop.localhost")
            with Visitor(None, agent.url) as visitor:
                for method, path, body, headers in ASKED:
                    visitor.ask(method, path, body=body, headers=headers)
            taken(f"http://{local(agent).addr}/inspect/http", picture)
        finally:
            agents.stop()
            shop.shutdown()
    print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size} bytes")


def taken(url: str, picture: Path) -> None:
    with browser(width=WIDTH, height=HEIGHT) as driver:
        driver.get(url)
        until("all requests", lambda: len(driver.find_elements(By.CSS_SELECTOR, ".rows .request")) == len(ASKED))
        driver.find_element(By.CSS_SELECTOR, ".rows .request:first-child").click()
        until("the request", lambda: driver.find_elements(By.CSS_SELECTOR, "#response-panel .tree"))
        driver.save_screenshot(str(picture))


if __name__ == "__main__":
    main()
