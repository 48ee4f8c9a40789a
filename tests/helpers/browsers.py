"""A real browser: Debian's Chromium. A machine without it skips; in CI that is a failure."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest

if os.environ.get("CI"):
    import playwright.sync_api as playwright
else:
    playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WAIT_MS = 60_000  # patience on a busy machine; nothing is measured


@contextlib.contextmanager
def launched() -> Iterator[playwright.Browser]:
    """A headless browser, closed afterwards."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed, and in CI it has to be")
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()
