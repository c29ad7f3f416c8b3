"""A name of somebody else that leads to this machine (DNS rebinding): its pages learn nothing and change nothing."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.support.wait import WebDriverWait

from harness import need
from harness.agents import Agents
from harness.browser import browser
from harness.local import LocalApi, local
from harness.namespace import seeing
from harness.process import PATIENCE
from harness.upstreams import HttpUpstream, Upstreams

EVIL = "rebound.test"
THEIRS, THEIRS_6 = "127.0.0.9", "::1"

# What the page of the other site does once its name leads here. No answer of ours may be read, or be a success.
PAGE = """<!doctype html><title>harmless</title><script>
const ways = {
  read: ["/api/tunnels", {}],
  status: ["/api/status", {}],
  page: ["/", {}],
  form: ["/api/tunnels", {method: "POST", body: "addr=80&proto=http"}],
  json: ["/api/tunnels", {method: "POST", headers: {"Content-Type": "application/json"},
         body: JSON.stringify({name: "theirs", proto: "http", addr: "80"})}],
  replace: ["/api/endpoints/precious", {method: "PUT", headers: {"Content-Type": "application/json"},
            body: JSON.stringify({upstream: {url: "http://evil.test"}})}],
  remove: ["/api/tunnels/precious", {method: "DELETE"}],
  clear: ["/api/requests/http", {method: "DELETE"}],
};
async function attack() {
  const told = {};
  for (const [name, [path, how]] of Object.entries(ways)) {
    try {
      const answer = await fetch(path, how);
      told[name] = [answer.status, (await answer.text()).slice(0, 300)];
    } catch (error) { told[name] = [0, String(error)]; }
  }
  document.title = JSON.stringify(told);
}
</script>"""


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


@pytest.fixture
def api(alone: Agents, upstream: HttpUpstream) -> LocalApi:
    agent = alone.http(upstream.url, "--name", "precious")
    agent.up()
    return local(agent)


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    file = tmp_path / "hosts"
    file.write_text(f"127.0.0.1 localhost\n127.0.0.1 {EVIL}\n")
    return file


def untouched(api: LocalApi, upstream: HttpUpstream) -> None:
    (only,) = api.get("/api/endpoints")["endpoints"]
    assert (only["name"], only["upstream"]["url"]) == ("precious", upstream.url)


@pytest.mark.parametrize("path", ["/", "/inspect/http", "/status", "/api", "/api/tunnels", "/api/requests/http"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_curl_by_a_name_that_leads_here_is_refused(
    method: str, path: str, api: LocalApi, upstream: HttpUpstream, hosts: Path
) -> None:
    argv = [need.program("curl", "curl"), "-sS", "-X", method, "-w", "\n%{http_code} %{remote_ip}"]
    if method in ("POST", "PUT"):
        argv += ["-H", "Content-Type: application/json", "-d", '{"name": "theirs", "proto": "http", "addr": "80"}']
    done = subprocess.run(
        [*seeing({"/etc/hosts": hosts}), *argv, f"http://{EVIL}:{api.port}{path}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    body, _, told = done.stdout.rpartition("\n")
    assert told == "403 127.0.0.1", done
    assert "web_allow_hosts" in json.loads(body)["details"]["err"]
    assert "precious" not in body
    untouched(api, upstream)


class Site(ThreadingHTTPServer):
    """Of somebody else, on the port of the interface, at an address of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.over = False
        super().__init__((host, port), Theirs)
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def stop(self) -> None:
        """Nobody answers there any more, not even on connections that a browser has made beforehand."""
        if not self.over:
            self.over = True
            self.shutdown()
            self.socket.close()
            self.thread.join()


class Theirs(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.close_connection = True
        if self.server.over:
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(api: LocalApi) -> Iterator[Callable[[str], Site]]:
    made: list[Site] = []

    def start(host: str) -> Site:
        made.append(Site(host, api.port))
        return made[-1]

    yield start
    for site in made:
        site.stop()


def chromium_that_sees(hosts: Path, tmp_path: Path) -> Path:
    """A program that starts chromium where these are the hosts."""
    chromium = shutil.which("chromium") or need.lacking("chromium")
    words = " ".join(f"'{word}'" for word in seeing({"/etc/hosts": hosts}))
    wrapper = tmp_path / "chromium-with-hosts"
    wrapper.write_text(f'#!/bin/sh\nexec {words} {chromium} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def test_a_browser_whose_page_s_name_is_led_here_gets_nothing(
    api: LocalApi, upstream: HttpUpstream, hosts: Path, site: Callable[[str], Site], tmp_path: Path
) -> None:
    """The name has an address of each family: when theirs refuses, the browser goes on to ours, in the same origin."""
    theirs = site(THEIRS_6)
    hosts.write_text(f"127.0.0.1 localhost\n{THEIRS_6} {EVIL}\n127.0.0.1 {EVIL}\n")
    with browser(program=chromium_that_sees(hosts, tmp_path)) as driver:
        driver.get(f"http://{EVIL}:{api.port}/")
        assert driver.title == "harmless"
        theirs.stop()
        since = api.process.position
        driver.execute_script("attack()")
        WebDriverWait(driver, PATIENCE).until(lambda driver: driver.title != "harmless")
        told: dict[str, Any] = json.loads(driver.title)
    assert {name: status for name, (status, _) in told.items()} == dict.fromkeys(told, 403), told
    assert not [body for _, body in told.values() if "precious" in body]
    api.process.wait_for("end", since, status="403")
    untouched(api, upstream)


def test_a_page_of_another_origin_reads_nothing_and_changes_nothing(
    api: LocalApi, upstream: HttpUpstream, site: Callable[[str], Site]
) -> None:
    """By the right name, from a page of another site."""
    site(THEIRS)
    script = """
        const done = arguments[arguments.length - 1], told = {};
        const at = "http://127.0.0.1:" + arguments[0];
        (async () => {
            const json = {"Content-Type": "application/json"};
            for (const [name, path, how] of [
                ["read", "/api/tunnels", {}],
                ["blind", "/api/tunnels", {mode: "no-cors", method: "POST", body: "{}"}],
                ["json", "/api/tunnels", {method: "POST", headers: json, body: "{}"}],
                ["remove", "/api/tunnels/precious", {method: "DELETE"}],
            ]) {
                try {
                    const answer = await fetch(at + path, how);
                    told[name] = [answer.type, answer.status];
                } catch (error) { told[name] = "refused"; }
            }
            done(told);
        })();
    """
    with browser() as driver:
        driver.get(f"http://{THEIRS}:{api.port}/")
        told = driver.execute_async_script(script, api.port)
    assert told == {"read": "refused", "blind": ["opaque", 0], "json": "refused", "remove": "refused"}
    untouched(api, upstream)


def test_the_names_of_this_machine_still_work(api: LocalApi) -> None:
    with browser() as driver:
        driver.get(f"http://localhost:{api.port}/api/status")
        assert "/api/status" in driver.page_source
    assert socket.gethostbyname("localhost").startswith("127.")
