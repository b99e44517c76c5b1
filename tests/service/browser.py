"""Debian's Chromium, driven by Playwright."""

import base64
import contextlib
import re
import shutil

from waiting import PATIENT_S

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PATIENT_MS = PATIENT_S * 1000


def program():
    """The path of an installed browser, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextlib.contextmanager
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=FLAGS, handle_sigint=False)
        try:
            yield browser
        finally:
            browser.close()


def _change_times(route):
    """However slow this machine is, a change can be undone, and a server that answers is not lost. What the page asks
    every 5 s it asks more often."""
    reply = route.fetch()
    script, limits = re.subn(r"(?<=const )(UNDO_MS|HEALTH_TIMEOUT_MS) = \d+", rf"\1 = {PATIENT_MS:.0f}", reply.text())
    script, pauses = re.subn(r"(?<=const )(CHECK_EVERY_MS|REFRESH_MS) = 5000", r"\1 = 1000", script)
    assert (limits, pauses) == ((2, 1) if "api.js" in route.request.url else (0, 1))
    route.fulfill(response=reply, body=script)


class Tab:
    """A page of the server, and what its console has complained about."""

    def __init__(self, browser, port, **context):
        self.context = browser.new_context(**context)
        self.context.set_default_timeout(PATIENT_MS)
        self.context.route(re.compile(r"/static/\w+/(api|views/status)\.js$"), _change_times)
        self.address = f"http://127.0.0.1:{port}/"
        self.complaints = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))

    def _note(self, kind, text):
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def open(self, view=""):
        self.page.goto(f"{self.address}#/{view}", wait_until="domcontentloaded")
        self.page.wait_for_selector("main h1, main h2")
        return self.page

    def upload(self, *files):
        """Files are (name, bytes)."""
        self.page.set_input_files(
            ".drop input", [{"name": name, "mimeType": "image/jpeg", "buffer": data} for name, data in files]
        )

    def hand_over(self, event, name, data):
        """Drops a file on the page, or pastes it."""
        self.page.evaluate(
            """([kind, name, data]) => {
              const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
              const transfer = new DataTransfer();
              transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
              const event = kind === "drop"
                ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true });
              document.querySelector(".drop").dispatchEvent(event);
            }""",
            [event, name, base64.b64encode(data).decode()],
        )
