"""The page at /ui/ with keys that leases share: a row for each lease, and each ends by itself."""

import unittest

from page import Page
from scene import PageTest, Waiter
from test_page import StaticPage

KEY = "encoder"


class Shared(PageTest):
    def permits(self, *owners: str) -> dict[str, int]:
        """Of at most three; their tokens."""
        return {owner: self.scene.acquire(KEY, owner=owner, limit=3)["token"] for owner in owners}

    def assert_rows(self, page: Page, mode: str, **cells: str):
        for row in page.rows_of(KEY).values():
            self.assertEqual(row["mode"], mode)
            self.assertLessEqual(cells.items(), row.items())

    def test_each_lease_has_a_row_that_comes_and_goes_with_it(self):
        tokens = self.permits("one", "two")
        page = self.page().live()
        page.waits_for_owners(KEY, "one", "two")
        self.assert_rows(page, "shared (3)", kind="service", waiters="0")
        tokens |= self.permits("three")
        page.waits_for_owners(KEY, "one", "two", "three")
        page.waits_for("#number-held", "3")
        self.scene.sidecar.release(KEY, tokens["two"])
        page.waits_for_owners(KEY, "one", "three")
        self.assert_rows(page, "shared (3)")
        self.scene.acquire(KEY, owner="brief", ttl_ms=1500, mode="shared")
        page.waits_for_owners(KEY, "one", "three", "brief")
        self.assertEqual(page.rows_of(KEY)["brief"]["mode"], "shared")
        page.waits_for_owners(KEY, "one", "three")

    def test_one_of_several_is_force_released_and_the_others_stay(self):
        tokens = self.permits("left", "middle", "right")
        writer = Waiter(self.scene.sidecar, KEY, "writer")
        page = self.page().live().begin_to_force(KEY, "middle")
        self.assertIn(str(tokens["middle"]), page.texts(".details dd"))
        asked = page.text("#force")
        self.assertIn(f"Force-release one lease of {KEY}?", asked)
        self.assertRegex(asked, rf"middle will lose its shared lease of {KEY}, which it has held for \d+ s\. Leases beside it stay\.")
        self.assertIn(f"writer is next in the queue and gets {KEY} as soon as there is room for it", asked)
        self.assertIn(f"refuses its token {tokens['middle']} only once a later exclusive holder has written.", asked)
        self.assertNotIn("at once", asked)
        page.confirm("hangs")
        page.waits_for("#outcome", f"One lease of {KEY} was force-released. middle had it.")
        page.waits_for_owners(KEY, "left", "right")
        self.assertIsNone(writer.answer)
        (line,) = self.scene.audited("middle")
        self.assertIn(f"token={tokens['middle']}", line)
        self.assertEqual(self.scene.audited("left") + self.scene.audited("right"), [])

    def test_when_all_are_force_released_the_waiter_is_alone_in_its_row(self):
        self.permits("one", "two", "three")
        writer = Waiter(self.scene.sidecar, KEY, "writer")
        page = self.page().live()
        page.waits_for_owners(KEY, "one", "two", "three")
        self.assert_rows(page, "shared (3)", waiters="1")
        self.scene.sidecar.force(KEY)
        writer.granted()
        page.waits_for_owners(KEY, "writer")
        self.assert_rows(page, "exclusive", waiters="0")
        page.begin_to_force(KEY)
        self.assertIn("Its token", page.text("#force"))
        page.confirm()
        page.waits_for("#outcome", f"{KEY} was force-released. writer had it.")
        page.waits_for_no_row(KEY)

    def test_one_that_is_released_and_rests_says_so_at_once_and_after_a_reload(self):
        rests = self.scene.acquire(KEY, owner="one", limit=3, minHoldMs=600_000)["token"]
        self.permits("two")
        page = self.page("?lang=de").live()
        page.waits_for_owners(KEY, "one", "two")
        self.scene.sidecar.release(KEY, rests)
        page.waits_for_owners(KEY, "one (freigegeben, noch belegt)", "two")
        self.page("?lang=de").live().waits_for_owners(KEY, "one (freigegeben, noch belegt)", "two")

    def test_it_is_asked_in_german_too_and_of_a_lease_that_rests(self):
        rests = self.scene.acquire(KEY, owner="one", limit=3, minHoldMs=600_000)["token"]
        self.permits("two")
        self.scene.sidecar.release(KEY, rests)
        page = self.page("?lang=de").live()
        page.waits_for_owners(KEY, "one (freigegeben, noch belegt)", "two")
        self.assertEqual(page.rows_of(KEY)["two"]["mode"], "geteilt (3)")
        page.begin_to_force(KEY, "one (freigegeben, noch belegt)")
        asked = page.text("#force")
        self.assertIn(f"one hat die Lease von {KEY} freigegeben, sie zählt aber noch: sie endet.", asked)
        self.assertNotIn("arbeitet", asked)
        page.confirm()
        page.waits_for("#outcome", f"Eine Lease von {KEY} wurde zwangsweise freigegeben. Inhaber war one.")
        page.waits_for_owners(KEY, "two")
        page.begin_to_force(KEY, "two")
        asked = page.text("#force")
        self.assertIn(f"two verliert die geteilte Lease von {KEY}", asked)
        self.assertIn("erst ab, wenn ein späterer exklusiver Inhaber geschrieben hat.", asked)

    def test_without_javascript_each_lease_has_a_row(self):
        self.permits("one", "two", "three")
        self.browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
        self.addCleanup(self.browser.devtools, "Emulation.setScriptExecutionDisabled", value=False)
        page = StaticPage(self.browser, self.scene.sidecar)
        self.assertEqual(page.owners(), ["one", "two", "three"])
        self.assertEqual(page.text("#locks > tbody > tr:nth-child(2)").count("shared (3)"), 1)


if __name__ == "__main__":
    unittest.main()
