"""Force-release on the page at /ui/: what is asked, that only the lease that was shown ends, and what is said then."""

import unittest

from credentials import jwt
from page import Page
from scene import PageTest, Waiter


class Force(PageTest):
    def test_it_names_who_loses_what_and_who_is_next_and_the_reason_is_in_the_audit_log(self):
        token = self.scene.acquire("import", owner="importer-9")["token"]
        first, second = (Waiter(self.scene.sidecar, "import", owner) for owner in ("batch-2", "batch-3"))
        page = self.page().live().begin_to_force("import")
        asked = page.text("#force")
        self.assertIn("Force-release import?", asked)
        self.assertRegex(asked, r"importer-9 will lose import, which it has held for \d+ s\.")
        self.assertIn("batch-2 is next in the queue and gets it at once.", asked)
        self.assertIn(f"importer-9 may still be at work. Its token {token} stays lower than the next one", asked)
        page.confirm("stuck since 3 a.m.")
        page.waits_for("#outcome", "import was force-released. importer-9 had it.")
        self.assertGreater(first.granted(), token)
        page.waits_for_row("import", owner="batch-2", waiters="1")
        self.assertIsNone(second.answer)
        self.assertFalse(page.is_asking())
        (line,) = self.scene.audited("importer-9")
        self.assertIn('reason="stuck since 3 a.m."', line)
        self.assertIn(f"token={token}", line)

    def test_a_lock_for_which_no_caller_waits_becomes_free(self):
        self.scene.acquire("orders")
        page = self.page().live().begin_to_force("orders")
        self.assertIn("No caller is waiting for it.", page.text("#force"))
        page.confirm()
        page.waits_for("#outcome", "orders was force-released. importer-7 had it.")
        page.waits_for_no_row("orders")
        self.assertTrue(self.scene.sidecar.is_free("orders"))

    def test_a_lease_that_changed_hands_meanwhile_is_not_released(self):
        token = self.scene.acquire("import", owner="importer-7")["token"]
        waiter = Waiter(self.scene.sidecar, "import", "batch-2")
        page = self.page().live().begin_to_force("import")
        self.scene.sidecar.release("import", token)
        newer = waiter.granted()
        page.waits_for_row("import", owner="batch-2")
        self.assertTrue(page.is_asking())
        page.confirm("too late")
        page.waits_for("#outcome", "importer-7 no longer held import: nothing was released.")
        self.assertEqual(self.scene.sidecar.token("import"), newer)
        page.waits_for_row("import", owner="batch-2")

    def test_escape_and_cancel_release_nothing_and_give_the_focus_back(self):
        token = self.scene.acquire("orders")["token"]
        page = self.page().live()
        for name, cancel in {
            "Escape": lambda: self.browser.press("\ue00c"),
            "Cancel": lambda: self.browser.click("#force button[type=button]"),
        }.items():
            with self.subTest(name):
                page.begin_to_force("orders")
                self.assertEqual(page.script("return document.activeElement.id"), "force-reason")
                self.browser.press("stuck")
                cancel()
                page.until("the dialog is closed", lambda: not page.is_asking())
                is_back = "return document.activeElement.matches('.details .danger')"
                page.until("the focus is back", lambda: page.script(is_back))
                self.assertEqual(page.text("#outcome"), "")
                self.assertEqual(self.scene.sidecar.token("orders"), token)

    def test_a_reason_of_more_than_200_bytes_cannot_be_sent(self):
        token = self.scene.acquire("orders")["token"]
        page = self.page().live().begin_to_force("orders")
        validity = "return document.querySelector('#force-reason').validationMessage"
        # 201 bytes in 101 characters, which the field takes.
        page.type("#force-reason", "ä" * 100 + "x")
        self.assertEqual(page.script(validity), "At most 200 bytes")
        self.browser.click("#force .danger")
        self.assertTrue(page.is_asking())
        self.assertEqual(self.scene.sidecar.token("orders"), token)
        page.type("#force-reason", "ö" * 100)
        self.assertEqual(page.script(validity), "")
        page.confirm()
        page.waits_for("#outcome", "orders was force-released.")
        self.assertIn("ö" * 100, self.scene.log())

    def test_it_is_said_when_the_outcome_is_unknown(self):
        self.scene.acquire("orders")
        page = self.page().live().begin_to_force("orders")
        self.scene.world.redis.freeze()
        try:
            page.confirm()
            page.waits_for("#outcome", "It is not known whether orders was released")
        finally:
            self.scene.world.redis.thaw()
        page.live()


class Permission(PageTest):
    options = {"users": True}

    def leave(self):
        self.browser.devtools("Network.clearBrowserCookies")
        super().leave()

    def as_user(self, user: str, permissions, **claims) -> Page:
        self.browser.set_cookie(jwt(user, permissions, **claims), self.scene.sidecar.url)
        return self.page().live()

    def test_a_user_without_the_permission_is_not_offered_it(self):
        self.scene.acquire("orders")
        page = self.as_user("ann", []).open_row("orders")
        page.waits_for(".details", "No caller is waiting for it.")
        self.assertFalse(page.offers_force())

    def test_a_user_with_the_permission_is_named_in_the_audit_log(self):
        self.scene.acquire("orders", owner="importer-8")
        page = self.as_user("ann", ["manage-locks"]).begin_to_force("orders")
        page.confirm("as agreed")
        page.waits_for("#outcome", "orders was force-released. importer-8 had it.")
        (line,) = self.scene.audited("importer-8")
        self.assertIn('by="ann"', line)
        self.assertIn('reason="as agreed"', line)

    def test_a_permission_that_is_lost_meanwhile_is_told_and_nothing_is_released(self):
        token = self.scene.acquire("orders")["token"]
        page = self.as_user("ann", ["manage-locks"]).begin_to_force("orders")
        self.browser.set_cookie(jwt("ann", []), self.scene.sidecar.url)
        page.confirm()
        page.waits_for("#outcome", "orders was not released: you lack the permission to force-release locks.")
        self.assertEqual(self.scene.sidecar.token("orders"), token)
        page.until("it is no longer offered", lambda: not page.offers_force())

    def test_the_label_of_a_user_is_a_text(self):
        label = "<b onclick=ran=1>Ann</b>\n\u202e Example"
        headers = {"Authorization": f"Bearer {jwt('ann', name=label)}"}
        self.scene.acquire("volume", headers=headers)
        page = self.as_user("ben", ["manage-locks"])
        self.assertEqual(page.waits_for_row("volume")["owner"], label)
        page.begin_to_force("volume")
        self.assertIn(label, page.texts("#force b"))
        self.assertIn(f"{label} (ann)", page.texts(".details dd"))
        page.confirm()
        page.waits_for("#outcome", "was force-released.")
        self.assertIn(label, page.texts("#outcome b"))
        self.assertIsNone(page.script("return window.ran ?? null"))


if __name__ == "__main__":
    unittest.main()
