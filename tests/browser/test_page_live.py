"""The page at /ui/ while locks change: its rows follow without reloading, and leave what a user is at alone."""

import re
import unittest

from page import Page
from scene import PageTest, Waiter

from world import Rival, eventually

# The page asks every 5 s for what no event tells.
ASKED_WITHIN = 6.5


def seconds(duration: str) -> int:
    """Of `41 s`, `4 min 10 s`, `2 h 5 min`."""
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+) (\w+)", duration))


class Rows(PageTest):
    def test_the_row_of_a_lock_comes_and_goes_with_it(self):
        page = self.page().live()
        page.waits_for("#message", "No locks are held.")
        token = self.scene.acquire("orders/7")["token"]
        page.waits_for_row("orders/7", owner="importer-7", kind="service", waiters="0")
        page.waits_for("#number-held", "1")
        self.assertEqual(page.text("#message"), "")
        self.scene.sidecar.release("orders/7", token)
        page.waits_for_no_row("orders/7")
        page.waits_for("#message", "No locks are held.")
        self.assert_not_reloaded(page)

    def assert_not_reloaded(self, page: Page):
        self.assertEqual(page.script("return performance.getEntriesByType('navigation')[0].type"), "navigate")
        self.assertEqual(page.script("return performance.getEntriesByName(new URL('ui.js', location)).length"), 1)

    def test_a_lease_that_expires_leaves_and_one_that_is_renewed_stays(self):
        page = self.page().live()
        self.scene.acquire("brief", ttl_ms=1500)
        kept = self.scene.acquire("kept", ttl_ms=60_000)["token"]
        page.waits_for_row("brief")
        self.assertLessEqual(seconds(page.waits_for_row("kept")["ends-in"]), 60)
        page.waits_for_no_row("brief")
        self.scene.renew("kept", kept, 1800_000)
        page.until("its end follows", lambda: seconds(page.rows()["kept"]["ends-in"]) > 1700, ASKED_WITHIN)

    def test_the_end_of_a_lease_is_counted_down_and_how_long_it_is_held_is_counted_up(self):
        self.scene.acquire("orders", ttl_ms=60_000)
        page = self.page().live()
        before = page.waits_for_row("orders")
        eventually(5, "it counts", lambda: page.rows()["orders"]["held-for"] == "3 s")
        after = page.rows()["orders"]
        passed = seconds(after["held-for"]) - seconds(before["held-for"])
        self.assertAlmostEqual(seconds(before["ends-in"]) - seconds(after["ends-in"]), passed, delta=1)

    def test_a_lock_is_handed_over_from_waiter_to_waiter(self):
        token = self.scene.acquire("import", owner="batch-1")["token"]
        page = self.page().live()
        page.waits_for_row("import", owner="batch-1", waiters="0")
        second = Waiter(self.scene.sidecar, "import", "batch-2")
        page.waits_for_row("import", owner="batch-1", waiters="1")
        third = Waiter(self.scene.sidecar, "import", "batch-3")
        page.waits_for_row("import", owner="batch-1", waiters="2")
        page.waits_for("#number-waiting", "2")
        self.scene.sidecar.release("import", token)
        page.waits_for_row("import", owner="batch-2", waiters="1")
        self.scene.sidecar.release("import", second.granted())
        page.waits_for_row("import", owner="batch-3", waiters="0")
        third.granted()

    def test_a_lock_of_another_sidecar_is_shown_too(self):
        page = self.page().live()
        self.scene.world.other().take("elsewhere", owner="batch-9")
        page.waits_for_row("elsewhere", owner="batch-9")
        rival = Rival(self.scene.world.other(), "elsewhere")
        page.waits_for_row("elsewhere", waiters="1")
        self.scene.sidecar.force("elsewhere")
        rival.granted(10)
        page.waits_for_row("elsewhere", owner="rival", waiters="0")

    def test_an_open_row_shows_the_queue_and_what_happened(self):
        lease = self.scene.acquire("import", owner="batch-1", meta={"host": "web-3", "pid": 4711})
        page = self.page().live().open_row("import")
        page.waits_for(".details", "No caller is waiting for it.")
        facts = dict(zip(page.texts(".details dt"), page.texts(".details dd")))
        expected = {"Owner": "batch-1", "Fencing token": str(lease["token"]), "TTL": "10 min"}
        expected |= {"Meta: host": "web-3", "Meta: pid": "4711"}
        self.assertEqual({name: facts[name] for name in expected}, expected)
        waiters = [Waiter(self.scene.sidecar, "import", owner) for owner in ("batch-2", "batch-3")]
        in_order = ["1", "batch-2", "2", "batch-3"]
        page.until("both are in the queue", lambda: page.texts(".details tbody :is(.number, th)") == in_order)
        self.scene.sidecar.release("import", lease["token"])
        page.waits_for("#outcome", "import, which batch-1 had: released")
        self.scene.sidecar.release("import", waiters[0].granted())
        page.open_row("import")
        page.waits_for(".details", "granted to batch-3")
        told = page.text(".details ul")
        self.assertRegex(told, r"(?s)granted to batch-3.*released.*granted to batch-2.*released")


class Focus(PageTest):
    def test_rows_that_do_not_change_stay_and_keep_the_focus_while_others_come_and_go(self):
        for key in ("b", "d", "f"):
            self.scene.acquire(key, owner=f"of {key}")
        page = self.page("?sort=key").live().open_row("d")
        page.script("""
            window.kept = document.querySelector("[data-tested]").closest("tr");
            window.details = document.querySelector(".details");
            document.querySelector("[data-tested]").focus();
        """)
        tokens = {key: self.scene.acquire(key)["token"] for key in ("a", "c", "e", "g")}
        page.until("the new rows are there", lambda: list(page.rows()) == list("abcdefg"))
        self.assert_kept(page)
        Waiter(self.scene.sidecar, "d", "later")
        page.waits_for_row("d", waiters="1")
        self.assert_kept(page)
        for key in ("a", "e"):
            self.scene.sidecar.release(key, tokens[key])
        self.scene.sidecar.force("b")
        page.until("the old rows are gone", lambda: list(page.rows()) == list("cdfg"))
        self.assert_kept(page)
        self.browser.click("th[data-column=key] button")
        page.until("it is sorted the other way round", lambda: list(page.rows()) == list("gfdc"))
        self.assertTrue(page.script("return kept.isConnected && details.isConnected && kept.nextSibling === details"))

    def assert_kept(self, page: Page):
        self.assertTrue(page.script("return kept.isConnected && details.isConnected && kept.nextSibling === details"))
        self.assertTrue(page.script("return document.activeElement === kept.querySelector('button')"))

    def test_the_focus_of_a_row_that_goes_moves_to_the_next_one(self):
        tokens = {key: self.scene.acquire(key)["token"] for key in ("a", "b", "c")}
        page = self.page("?sort=key").live()
        page.waits_for_row("c")
        page.script("document.querySelector(arguments[0]).focus()", page.toggle("b"))
        self.scene.sidecar.release("b", tokens["b"])
        page.waits_for_no_row("b")
        self.assertEqual(page.script("return document.activeElement.textContent"), "c")

    def test_a_change_is_told_to_a_screen_reader_but_seldom(self):
        page = self.page().live()
        page.script("""
            window.said = [];
            const place = document.querySelector("#changes");
            new MutationObserver(() => said.push(place.textContent)).observe(place, { childList: true });
        """)
        for number in range(20):
            self.scene.acquire(f"volume-{number}")
        page.until("it is said", lambda: page.script("return said.length") > 0)
        self.assertEqual(page.script("return document.querySelector('#changes').role"), "status")
        self.assertEqual(page.script("return said"), ["20 locks changed"])


if __name__ == "__main__":
    unittest.main()
