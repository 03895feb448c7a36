"""What a user sees and does on the page at /ui/."""

import time

from chromium import CERTAINLY, Browser
from world import Sidecar

# Collects what the page's policy refused, before a script of the page runs.
COLLECT = """
window.refusals = [];
addEventListener("securitypolicyviolation", (report) => refusals.push(`${report.violatedDirective}: ${report.sample}`));
"""
ROWS = """
return [...document.querySelectorAll("#locks > tbody > tr:not(.details)")]
    .map((row) => [...row.cells].map((cell) => cell.textContent));
"""
# What is seen, as a user reads it: nothing that is hidden. The innerText of what is hidden itself is all of its text.
SEEN = "const one = document.querySelector(arguments[0]); return one?.checkVisibility() ? one.innerText : ''"


class Page:
    """The page of a sidecar in a browser. Its columns are those that a row has."""

    columns = ("key", "owner", "kind", "mode", "since", "held-for", "ends-in", "waiters")

    def __init__(self, browser: Browser, sidecar: Sidecar, query: str = ""):
        self.browser, self.sidecar = browser, sidecar
        self.open(query)

    def open(self, query: str = ""):
        self.browser.open(f"{self.sidecar.url}/ui/{query}")
        return self

    def live(self):
        """When each change is shown as it happens."""
        return self.waits_for("#freshness", "Live")

    def script(self, code: str, *arguments):
        return self.browser.script(code, *arguments)

    def text(self, selector: str) -> str:
        """As it is seen."""
        return self.script(SEEN, selector)

    def texts(self, selector: str) -> list[str]:
        """Of all such elements, to the letter."""
        code = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
        return self.script(code, selector)

    def style(self, selector: str, name: str) -> str:
        code = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        return self.script(code, selector, name)

    def waits_for(self, selector: str, *texts: str, within: float = CERTAINLY):
        """Until it says one of these."""
        self.until(f"{selector} says {texts}", lambda: any(text in self.text(selector) for text in texts), within)
        return self

    def until(self, what: str, look, within: float = CERTAINLY):
        deadline = time.monotonic() + within
        while not look():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within} s: {what}; the page says: {self.text('body')[:1000]}")
            # Not sooner: each look takes time of the page, too.
            time.sleep(0.1)

    def rows(self) -> dict[str, dict[str, str]]:
        """By key, in the order in which they are shown; of a key that leases share, the last one."""
        return {row["key"]: row for row in self.all_rows()}

    def all_rows(self) -> list[dict[str, str]]:
        """In the order in which they are shown."""
        return [dict(zip(self.columns, cells)) for cells in self.script(ROWS)]

    def rows_of(self, key: str) -> dict[str, dict[str, str]]:
        """Of those who share a key, by their owners."""
        return {row["owner"]: row for row in self.all_rows() if row["key"] == key}

    def waits_for_owners(self, key: str, *owners: str):
        """Until these, and no others, share the key, in this order."""
        self.until(f"{owners} share {key}", lambda: tuple(self.rows_of(key)) == owners)

    def waits_for_row(self, key: str, within: float = CERTAINLY, **cells: str) -> dict[str, str]:
        """Until the key has a row with these cells; `held_for` is the cell `held-for`."""
        expected = {"key": key, **{name.replace("_", "-"): text for name, text in cells.items()}}
        self.until(f"there is a row {expected}", lambda: expected.items() <= self.rows().get(key, {}).items(), within)
        return self.rows()[key]

    def waits_for_no_row(self, key: str, within: float = CERTAINLY):
        self.until(f"{key} has no row", lambda: key not in self.rows(), within)

    def toggle(self, key: str, owner: str = "") -> str:
        """A selector of the button that opens the row, of this owner where leases share the key."""
        code = """
            const [key, owner] = arguments;
            const toggles = [...document.querySelectorAll("#locks > tbody > tr > th > button")];
            const isOf = (toggle) => !owner || toggle.closest("tr").cells[1].textContent === owner;
            toggles.forEach((toggle) => toggle.toggleAttribute("data-tested", toggle.textContent === key && isOf(toggle)));
        """
        self.script(code, key, owner)
        return "[data-tested]"

    def open_row(self, key: str, owner: str = ""):
        self.waits_for_row(key)
        self.browser.click(self.toggle(key, owner))
        self.waits_for(".details", "Valid until", "Gültig bis")
        return self

    def offers_force(self) -> bool:
        return self.script("return document.querySelector('.details .danger')?.checkVisibility() ?? false")

    def begin_to_force(self, key: str, owner: str = ""):
        """Opens the row and the dialog."""
        if not self.text(".details"):
            self.open_row(key, owner)
        self.until("the row offers to force-release", self.offers_force)
        self.browser.click(".details .danger")
        self.until("the dialog is open", self.is_asking)
        return self

    def is_asking(self) -> bool:
        return self.script("return document.querySelector('#force').open")

    def confirm(self, reason: str = ""):
        if reason:
            self.browser.press(reason)
        self.browser.click("#force .danger")

    def type(self, selector: str, text: str):
        """Sets a field, as if the text were pasted."""
        code = """
            const [selector, text] = arguments;
            const field = document.querySelector(selector);
            field.focus();
            field.select();
            document.execCommand("insertText", false, text);
        """
        self.script(code, selector, text)

    def sign_in(self, credential: str):
        self.waits_for("#sign-in", "JWT or API token")
        self.type("#credential", credential)
        self.browser.click("#sign-in button")
        return self

    @staticmethod
    def problems_of(browser: Browser) -> list[str]:
        """What the policy refused, and what was logged."""
        return browser.script("return window.refusals ?? []") + browser.console()
