"""The page at /ui/ by keyboard alone, for a screen reader, in the dark, and on 320 pixels."""

import os
import unittest
from pathlib import Path

from page import Page
from scene import API_TOKEN, PageTest, Waiter

TAB, ENTER, SPACE, SHIFT = "\ue004", "\ue007", " ", "\ue008"
AXE = Path(os.environ["NODE_MODULES"]) / "axe-core/axe.min.js"
FOCUS = """
const one = document.activeElement, style = getComputedStyle(one);
const outline = `${style.outlineStyle} ${style.outlineWidth}`;
return { text: one.textContent || one.id, outline, visible: one.matches(":focus-visible") };
"""
AUDIT = """
const { violations, passes } = await axe.run(document, { resultTypes: ["violations"] });
if (passes.length < 10) return "it looked at nothing";
const why = ({ html, any }) => `${html.slice(0, 120)} ${any[0]?.message ?? ""}`;
return violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => [id, nodes.map(why)]);
"""


class Views(PageTest):
    """Each of what the page can look like."""

    options = {"users": True}

    def tearDown(self):
        self.browser.appear()

    def leave(self):
        if self.browser.script("return location.protocol") == "http:":
            self.browser.script("sessionStorage.clear()")
        super().leave()

    def views(self):
        """The page in each of them, one after the other, with its name."""
        page = self.page()
        page.waits_for("#message", "Sign in to see the locks.")
        yield "signed out", page
        page.sign_in(API_TOKEN).live()
        page.waits_for("#message", "No locks are held.")
        yield "empty", page
        meta = {"host": "web-3.example.com", "reason": "a long text that goes on " * 5}
        self.scene.acquire("orders/" + "7" * 60, owner="importer-7@" + "a" * 40, ttl_ms=3_600_000, meta=meta)
        self.scene.acquire("import", owner="batch-1")
        Waiter(self.scene.sidecar, "import", "batch-2")
        page.waits_for_row("import", waiters="1")
        yield "list", page
        page.open_row("orders/" + "7" * 60)
        self.browser.click(page.toggle("import"))
        page.waits_for(".details table", "batch-2")
        yield "open rows", page
        self.browser.script("document.querySelector('tr:has([data-tested]) + .details .danger').click()")
        page.until("the dialog is open", page.is_asking)
        yield "dialog", page
        page.confirm("stuck")
        page.waits_for("#outcome", "import was force-released.")
        yield "outcome", page

    def test_axe_finds_nothing_serious_in_any_view_light_or_dark_wide_or_narrow(self):
        # The policy of the page lets no script in, also not this one.
        self.browser.devtools("Page.setBypassCSP", enabled=True)
        self.addCleanup(self.browser.devtools, "Page.setBypassCSP", enabled=False)
        added = self.browser.devtools("Page.addScriptToEvaluateOnNewDocument", source=AXE.read_text())
        self.addCleanup(self.browser.devtools, "Page.removeScriptToEvaluateOnNewDocument", **added)
        for view, page in self.views():
            for width, scheme in ((1100, "light"), (1100, "dark"), (320, "light")):
                with self.subTest(view, width=width, scheme=scheme):
                    self.browser.appear(width, scheme)
                    self.assertEqual(page.script(AUDIT), [])

    def test_on_320_pixels_nothing_is_wider_than_the_page(self):
        self.browser.appear(320)
        for view, page in self.views():
            with self.subTest(view):
                self.assertEqual(page.script("return innerWidth"), 320)
                self.assertLessEqual(page.script("return document.documentElement.scrollWidth"), 320)

    def test_its_colours_follow_the_browser(self):
        page = self.page()
        page.waits_for("#sign-in", "Sign in")
        for selector in ("body", "header", "#sign-in button"):
            for name in ("color", "backgroundColor"):
                with self.subTest(selector, name=name):
                    self.browser.appear(scheme="light")
                    light = page.style(selector, name)
                    self.browser.appear(scheme="dark")
                    self.assertNotEqual(page.style(selector, name), light)


class Keyboard(PageTest):
    def setUp(self):
        super().setUp()
        for key in ("import", "orders"):
            self.scene.acquire(key)

    def move_to(self, page: Page, text: str, most: int = 30) -> dict:
        """Presses Tab until it is reached; on the way each focus is visible."""
        for _ in range(most):
            self.browser.press(TAB)
            focus = page.script(FOCUS)
            self.assertTrue(focus["visible"], focus)
            self.assertNotEqual(focus["outline"].split()[0], "none", focus)
            if focus["text"] == text:
                return focus
        raise AssertionError(f"{text} is not reached by Tab")

    def test_a_lock_is_found_opened_and_force_released_without_a_mouse(self):
        waiter = Waiter(self.scene.sidecar, "import", "batch-2")
        page = self.page().live()
        page.waits_for_row("import", waiters="1")
        focus = self.move_to(page, "import")
        self.assertEqual(focus["outline"], "solid 2px")
        expanded = "return document.activeElement.ariaExpanded"
        self.assertEqual(page.script(expanded), "false")
        self.browser.press(ENTER)
        self.assertEqual(page.script(expanded), "true")
        page.waits_for(".details", "batch-2")
        self.move_to(page, "Force-release …")
        self.browser.press(SPACE)
        page.until("the dialog is open", page.is_asking)
        self.browser.press("stuck")
        # The focus stays in the dialog.
        self.move_to(page, "Cancel")
        self.move_to(page, "Force-release", most=1)
        self.browser.press(ENTER)
        page.waits_for("#outcome", "import was force-released. importer-7 had it.")
        waiter.granted()
        page.waits_for_row("import", owner="batch-2")
        on_a_row = "return document.activeElement.matches('#locks > tbody > tr > th > button')"
        page.until("the focus is on a row", lambda: page.script(on_a_row))

    def test_enter_in_the_reason_confirms(self):
        page = self.page().live().begin_to_force("orders")
        self.browser.press("stuck" + ENTER)
        page.waits_for("#outcome", "orders was force-released.")

    def test_a_row_closes_again_and_a_column_is_sorted(self):
        page = self.page().live()
        page.waits_for_row("orders")
        self.move_to(page, "Key")
        self.browser.press(ENTER)
        page.until("it is sorted", lambda: list(page.rows()) == ["import", "orders"])
        self.browser.press(ENTER)
        page.until("it is sorted the other way round", lambda: list(page.rows()) == ["orders", "import"])
        self.move_to(page, "orders")
        self.browser.press(ENTER)
        page.waits_for(".details", "Valid until")
        self.browser.press(ENTER)
        page.until("the row is closed", lambda: page.text(".details") == "")


if __name__ == "__main__":
    unittest.main()
