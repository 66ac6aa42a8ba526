"""Headless Chromium, in which tests open the pages; without it they are skipped."""

import contextlib
import shutil
from pathlib import Path

import pytest

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
NUMBERS = """() => {
    const { data, grads } = explorer.state();
    return data.map((x, k) => [x === null ? null : exact(x), exact(grads[k])]);
}"""
READY = "document.documentElement.dataset.ready === 'yes'"


@contextlib.contextmanager
def chromium():
    """A browser of playwright, with the installed Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS.split())
        yield browser
        browser.close()


class Opened:
    """An open page: what is on it, and the errors that it reported."""

    def __init__(self, browser, document, directory, *, address="", width=900, height=700, dark=False):
        path = Path(directory) / "page.html"
        path.write_text(document, encoding="utf-8")
        self.complaints = []
        self.page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self.note_request)
        self.page.goto(path.as_uri() + address)
        self.page.wait_for_function(READY)

    def note_request(self, request):
        """Nothing is fetched but the page itself."""
        if not request.url.startswith(("file:", "data:", "about:")):
            self.complaints.append(f"a request for {request.url}")

    def __getattr__(self, name):
        return getattr(self.page, name)

    @property
    def sentence(self):
        return self.page.text_content("#sentence")

    def numbers(self):
        """(data, grad) of every box, None for what is not computed yet."""
        return [tuple(None if x is None else float(x) for x in pair) for pair in self.page.evaluate(NUMBERS)]
