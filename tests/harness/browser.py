"""A real browser without a window: Debian's chromium, steered by its driver."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from harness import need


@contextmanager
def browser(
    *, width: int = 1200, height: int = 900, dark: bool = False, program: Path | None = None
) -> Iterator[webdriver.Chrome]:
    """One with a fresh profile, that keeps what pages complain about (`complaints`). `program`: what starts it."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(program or "") or shutil.which("chromium") or need.lacking("chromium")
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
        options.add_argument(word)
    options.add_argument(f"--window-size={width},{height}")
    if dark:
        options.add_argument("--blink-settings=preferredColorScheme=0")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Named, for without a path it would try to download one.
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver") or need.lacking("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def complaints(driver: webdriver.Chrome) -> list[str]:
    """What the console has said since the last call: errors, and what the page's own policy has kept from it."""
    entries: list[dict[str, Any]] = driver.get_log("browser")  # type: ignore[no-untyped-call]
    return [str(entry["message"]) for entry in entries if entry["level"] in ("WARNING", "SEVERE")]


def shot(driver: webdriver.Chrome, path: Path) -> None:
    """A picture of the whole page, for people to look at."""
    height: int = driver.execute_script("return document.documentElement.scrollHeight")
    size = driver.get_window_size()
    driver.set_window_size(size["width"], max(size["height"], height + 150))
    driver.save_screenshot(str(path))
