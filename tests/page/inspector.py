"""The inspection page in a real browser, as a person finds their way on it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from harness.browser import browser, complaints
from harness.local import LocalApi
from harness.process import until

# Requests are kept track of from before the first script on.
WATCH = """
window.failures = [];
const failed = (what) => window.failures.push(what);
addEventListener("securitypolicyviolation", (one) => failed(`policy: ${one.violatedDirective} ${one.blockedURI}`));
addEventListener("error", (event) => failed(`error: ${event.message}`));
addEventListener("unhandledrejection", (event) => failed(`rejected: ${event.reason}`));
"""
# The element of a list's row, the newest first.
ROWS = """
const text = (row, name) => row.querySelector(name).innerText.trim();
const rows = [...document.querySelectorAll(".rows .request")].sort((one, other) => one.offsetTop - other.offsetTop);
"""
# What a page that shows nothing has come to.
STATE = """
const loads = performance.getEntriesByType("resource").map((one) => [one.name, one.responseStatus, one.duration]);
const shown = document.body.innerHTML.slice(0, 500);
return JSON.stringify([document.readyState, location.href, shown, window.failures, loads]);
"""
# Of what is shown, each control and each piece of text by its place.
OVERLAPS = """
const shown = (one) => one.checkVisibility() && !one.closest(".rows, dialog");
const boxes = [];
for (const one of document.querySelectorAll("button, input, textarea, select, .button, a")) {
  if (shown(one)) for (const box of one.getClientRects()) boxes.push([one, box]);
}
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const { currentNode: text } = texts;
  if (!text.nodeValue.trim() || !shown(text.parentElement)) continue;
  if (text.parentElement.closest("button, .button, a, pre, .tree, svg, .wide, .chart, textarea")) continue;
  const range = document.createRange();
  range.selectNodeContents(text);
  for (const box of range.getClientRects()) boxes.push([text.parentElement, box]);
}
const named = (one) => `${one.tagName} ${one.className} ${(one.innerText || one.name || one.id || "").slice(0, 20)}`;
const wide = document.documentElement.clientWidth;
const found = boxes.filter(([, box]) => box.right > wide + 1).map(([one]) => `sticks out: ${named(one)}`);
for (const [index, [one, a]] of boxes.entries()) {
  for (const [other, b] of boxes.slice(index + 1)) {
    if (one === other || one.contains(other) || other.contains(one)) continue;
    const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (x > 1 && y > 3) found.push(`${named(one)} / ${named(other)}`);
  }
}
return found;
"""
AXE = """
const done = arguments[0];
axe.run(document, {resultTypes: ["violations"]}).then((found) => done(JSON.stringify(found.violations)));
"""


class Inspector:
    """One browser window on one agent's page."""

    def __init__(self, api: LocalApi, pictures: Path, **how: Any) -> None:
        self.api = api
        self.pictures = pictures
        self.unforgiven: list[str] = []
        self._open = ExitStack()
        self.driver = self._open.enter_context(browser(**how))
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})

    @property
    def base(self) -> str:
        return f"http://{self.api.addr}"

    def go(self, path: str) -> Inspector:
        self.driver.get(self.base + path)
        try:
            self.wait("main")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.script(STATE)}; {complaints(self.driver)}") from None
        return self

    def forgive(self, *about: str) -> None:
        """What was complained of so far was to be expected, as far as it is about one of these."""
        said = complaints(self.driver) + list(self.script("return window.failures.splice(0)"))
        self.unforgiven += [one for one in said if about and not any(part in one for part in about)]

    def close(self) -> list[str]:
        """Ends the browser. What went wrong in it, and whatever it asked others for."""
        try:
            said = self.unforgiven + complaints(self.driver) + list(self.script("return window.failures || []"))
            asked: list[str] = self.script("return performance.getEntriesByType('resource').map(one => one.name)")
            said += [f"asked elsewhere: {one}" for one in asked if not one.startswith((self.base, f"blob:{self.base}"))]
            return said
        finally:
            self._open.close()

    # === looking

    def script(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, selector: str, text: str = "") -> WebElement:
        """The first that is shown and says so."""

        def shown() -> list[WebElement]:
            one: WebElement | None = self.script(
                "return [...document.querySelectorAll(arguments[0])].find((one) => one.checkVisibility() &&"
                " (one.innerText || one.value || '').includes(arguments[1])) || null",
                selector,
                text,
            )
            return [one] if one else []

        return until(f"{selector} with {text!r}", shown)[0]

    def text(self, selector: str) -> str:
        """All that is shown of it."""
        found: list[str] = self.script(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)", selector
        )
        return "\n".join(found)

    def wait_text(self, selector: str, *wanted: str) -> str:
        def shown() -> str | None:
            text = self.text(selector)
            return text if all(one in text for one in wanted) else None

        try:
            return until(f"{selector} says {wanted}", shown)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.text(selector)!r}") from None

    def rows(self) -> list[str]:
        """The lines of the list in sight, the first first: `METHOD PATH STATUS`."""
        found: list[str] = self.script(
            ROWS + "return rows.map((row) => ['.method', '.path', '.status'].map((name) => text(row, name)).join(' '))"
        )
        return found

    def wait_rows(self, *wanted: str) -> None:
        """Until the list shows exactly these."""
        try:
            until(f"rows {wanted}", lambda: self.rows() == list(wanted))
        except AssertionError as error:
            raise AssertionError(f"{error}; they are {self.rows()}") from None

    def count(self) -> int:
        found = re.match(r"\d+", self.text("#count"))
        return int(found[0]) if found else -1

    def wait_count(self, count: int) -> None:
        try:
            until(f"{count} requests", lambda: self.count() == count)
        except AssertionError as error:
            raise AssertionError(f"{error}; they are {self.text('#count')!r}") from None

    def complaints(self) -> list[str]:
        return complaints(self.driver)

    # === doing

    def click(self, text: str, within: str = "body") -> None:
        """A button, link or tab of that text."""
        selector = ", ".join(f"{within} {kind}" for kind in ("button", "a", "[role=tab]", "summary", "label.button"))
        self.wait(selector, text)
        exact = [one for one in self.all(selector) if one.is_displayed() and one.text.strip() == text]
        element = exact[0] if exact else self.wait(selector, text)
        self.script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def open(self, path: str) -> Inspector:
        """Chooses the newest request of that path."""
        row = until(f"a row of {path}", lambda: self._row(path))
        row.click()
        self.wait_text(".detail .whole", path)
        return self

    def _row(self, path: str) -> WebElement | None:
        found: WebElement | None = self.script(
            ROWS + "return rows.find((row) => row.querySelector('.path').title === arguments[0]) || null", path
        )
        return found

    def tab(self, name: str, within: str = ".detail") -> None:
        self.click(name, within)
        self.wait(f"{within} [role=tab][aria-selected=true]", name)

    def compare(self, path: str) -> None:
        """Replays the newest request of that path, and looks at what differs in the answer."""
        self.open(path)
        self.click("Replay")
        self.wait_text(".detail .facts", "replay of")
        self.tab("Compare")

    def type(self, selector: str, text: str) -> None:
        """In the place of what stands in a field."""
        element = self.wait(selector)
        element.send_keys(Keys.CONTROL, "a")
        element.send_keys(Keys.DELETE)
        element.send_keys(text)

    def set(self, selector: str, text: str) -> None:
        """The same at once, for texts of several lines."""
        self.script(
            "const field = document.querySelector(arguments[0]); field.value = arguments[1];"
            " field.dispatchEvent(new Event('input', {bubbles: true}))",
            selector,
            text,
        )

    def press(self, *keys: str) -> None:
        """On the keyboard, wherever the focus is."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def choose(self, selector: str, value: str) -> None:
        """An entry of a list that unfolds."""
        Select(self.wait(selector)).select_by_value(value)

    def pick(self, menu: str, name: str) -> None:
        """A choice behind a button."""
        self.wait(f"#{menu}").click()
        self.wait(f"[role=menuitem][data-name={name}]").click()

    def phone(self, width: int = 360, height: int = 740) -> None:
        """As narrow as a browser's own window cannot be."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def overlapping(self) -> list[str]:
        """Texts and controls that stand on each other, and what sticks out to the side."""
        found: list[str] = self.script(OVERLAPS)
        return found

    def clipboard(self) -> str:
        """What somebody would paste now."""
        field = self.script("return document.body.appendChild(document.createElement('textarea'))")
        field.send_keys(Keys.CONTROL, "v")
        pasted: str = self.script("const said = arguments[0].value; arguments[0].remove(); return said", field)
        return pasted

    def download(self, folder: Path) -> None:
        """Files that are saved go there."""
        self.driver.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})

    def wait_file(self, path: Path) -> None:
        """Until a download is whole: its name has an ending more before that."""
        until(f"{path.name} is saved", path.exists)

    # === judging

    def shot(self, name: str) -> None:
        self.driver.save_screenshot(str(self.pictures / f"{name}.png"))

    def judged(self, axe: str) -> list[str]:
        """What axe finds wrong."""
        # Its way in is past the page's own policy, as an extension's is.
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
        found = json.loads(self.driver.execute_async_script(AXE))
        return [
            f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
            f" {one['nodes'][0]['failureSummary']}"
            for one in found
        ]


OpenPage = Callable[..., Inspector]
