"""The edit page of docs/browser.md with two users: what each sees, and that no update of either is lost."""

import contextlib
import itertools
import time
import unittest

import snippets
from edit_page import EditPage
from stand import Machine, Stand, jwt

from world import eventually, path_of

volumes = (str(number) for number in itertools.count(1))


def setUpModule():
    global machine
    machine = Machine()
    unittest.addModuleCleanup(machine.close)


class Users(unittest.TestCase):
    """Ann and Ben, who edit one volume of a stand."""

    lease: int
    stand: Stand

    @classmethod
    def setUpClass(cls):
        cls.stand = Stand(machine, snippets.set_up("The host is passed on", "nginx"), lease=cls.lease)
        cls.addClassCleanup(cls.stand.close)

    def setUp(self):
        self.volume = next(volumes)
        self.key = f"volume:{self.volume}"

    def tearDown(self):
        # A page that is left open would go on renewing.
        for browser in machine.browsers:
            browser.close_other_windows()
            browser.open("about:blank")

    def page(self, browser) -> EditPage:
        return EditPage(browser, self.stand, self.volume)

    @property
    def token(self):
        return self.stand.sidecar.token(self.key)

    def force(self):
        headers = {"Authorization": f"Bearer {jwt('ben')}"}
        status, _ = self.stand.sidecar.ask("DELETE", f"{path_of(self.key)}?force=true", headers=headers)
        self.assertEqual(status, 204)

    def ben_takes_over(self, ben: EditPage) -> EditPage:
        ben.waits_for("ann has stopped editing. You can take over.")
        self.assertEqual(ben.offers, ["Take over"])
        return ben.begin()

    def assert_stopped(self, page: EditPage, text: str):
        """It has the text that its user sees, and takes no more of it."""
        page.type("x")
        self.assertEqual(page.text, text)
        self.assertFalse(page.may_type)
        self.assertNotIn("Save", page.offers)

    def assert_kept_for(self, seconds: float, token: int, also=lambda: None):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.assertEqual(self.token, token)
            also()
            time.sleep(0.1)


class LongLease(Users):
    """What happens here happens long before the lease ends, or is renewed."""

    lease = 60

    def test_one_edits_and_the_other_sees_who(self):
        ann, ben = self.page(machine.ann).begin(), self.page(machine.ben)
        ann.type("of ann")
        ann.save()
        ben.waits_for("ann has been editing since")
        ben.browser.click("#edit")
        ben.waits_for("ann is editing.")
        self.assert_stopped(ben, "")
        ann.browser.click("#done")
        ann.waits_for("You have stopped editing.")
        self.assertEqual(self.ben_takes_over(ben).text, "of ann")

    def test_a_closed_page_frees_the_lock_at_once(self):
        machine.ann.new_window()
        self.page(machine.ann).begin()
        self.assertIsNotNone(self.token)
        machine.ann.close_window()
        eventually(5, "the lock is free", lambda: self.stand.sidecar.is_free(self.key))

    def test_a_page_that_was_left_frees_the_lock_and_edits_no_more_when_one_comes_back(self):
        ann = self.page(machine.ann).begin()
        ann.browser.open("about:blank")
        eventually(5, "the lock is free", lambda: self.stand.sidecar.is_free(self.key))
        ann.browser.command("POST", "/back")
        ann.waits_for("Not being edited.")
        self.assert_stopped(ann, "")

    def test_the_release_of_a_reloaded_page_leaves_the_next_lease_alone(self):
        ann = self.page(machine.ann).begin()
        first = self.token
        ann.browser.command("POST", "/refresh")
        ann.begin()
        self.assertGreater(self.token, first)
        self.assert_kept_for(1, self.token)

    def test_a_second_page_of_one_user_takes_the_lock_from_the_first(self):
        first = self.page(machine.ann).begin()
        first.type("of the first")
        before = machine.ann.new_window()
        second = self.page(machine.ann)
        second.waits_for("ann has been editing since")
        second.begin().type("of the second")
        second.save()
        machine.ann.turn_to(before)
        first.browser.click("#save")
        first.waits_for("You have lost the lock: a newer one has been used.")
        self.assert_stopped(first, "of the first")
        self.assertEqual(self.stand.text(self.volume), "of the second")

    def test_a_closed_page_leaves_the_lease_of_another_page_of_its_user_alone(self):
        self.page(machine.ann).begin()
        before = machine.ann.new_window()
        self.page(machine.ann).begin()
        token = self.token
        machine.ann.turn_to(before)
        machine.ann.close_window()
        self.assert_kept_for(1, token)

    def test_a_save_after_a_force_release_is_refused_before_and_after_the_next_user_saves(self):
        ann, ben = self.page(machine.ann).begin(), self.page(machine.ben)
        ann.type("of ann")
        ann.save()
        ann.type(", continued")
        token = self.token
        self.force()
        self.ben_takes_over(ben)
        self.assertEqual(ann.put("late", token), 412, "before the next user saves")
        self.assertEqual(ben.text, "of ann")
        ben.type(" and of ben")
        ben.save()
        ann.browser.click("#save")
        ann.waits_for("You have lost the lock: a newer one has been used.")
        self.assert_stopped(ann, "of ann, continued")
        self.assertEqual(self.stand.text(self.volume), "of ann and of ben")
        ben.type(".")
        ben.save()
        self.assertEqual(self.stand.text(self.volume), "of ann and of ben.")

    def test_a_save_without_a_token_is_refused(self):
        ann = self.page(machine.ann)
        for token in (None, "none", "-1"):
            self.assertEqual(ann.put("overwritten", token), 428, token)
        self.assertEqual(self.stand.text(self.volume), "")


class ShortLease(Users):
    """A lease that ends while one waits for it."""

    lease = 4

    def sleeps(self, ann: EditPage, fall_asleep, wake_up, text: str):
        """Ann sleeps through her lease, Ben takes over and saves; then she wakes, and lockside does not respond yet."""
        ben = self.page(machine.ben)
        ben.waits_for("ann has been editing since")
        token = self.token
        fall_asleep()
        try:
            self.ben_takes_over(ben).type(" and of ben")
            ben.save()
            self.stand.sidecar.freeze()
        finally:
            wake_up()
        try:
            ann.waits_for("Editing has stopped until lockside has been asked.")
            self.assert_stopped(ann, text)
        finally:
            self.stand.sidecar.thaw()
        ann.waits_for("You have lost the lock: ben has the lock now.")
        self.assert_stopped(ann, text)
        self.assertEqual(ann.put("late", token), 412)
        self.assertEqual(self.stand.text(self.volume), "of ann and of ben")
        return ben

    def edited_by_ann(self) -> EditPage:
        ann = self.page(machine.ann).begin()
        ann.type("of ann")
        ann.save()
        ann.type(", continued")
        return ann

    def test_a_frozen_tab_stops_before_it_asks_and_its_late_save_is_refused(self):
        ann = self.edited_by_ann()
        ben = self.sleeps(ann, ann.browser.freeze, ann.browser.resume, "of ann, continued")
        # Ann's text is still there when she takes over.
        ann.waits_for("ben has been editing since")
        ben.browser.click("#done")
        ann.waits_for("ben has stopped editing. You can take over.")
        self.assertEqual(ann.begin().text, "of ann and of ben")
        self.assertEqual(ann.kept, "of ann, continued")

    def test_a_suspended_machine_stops_before_it_asks_and_its_late_save_is_refused(self):
        ann = self.edited_by_ann()
        self.sleeps(ann, ann.browser.suspend, ann.browser.wake, "of ann, continued")

    def test_neither_clock_that_stands_still_nor_one_that_is_set_back_hides_a_sleep(self):
        clocks = {
            "performance.now() stands still": "performance.now = () => 0;",
            "Date.now() is set back": """
                const now = Date.now.bind(Date);
                let back = 0;
                Date.now = () => now() - back;
                document.addEventListener("resume", () => { back = 3600_000; }, { capture: true });
            """,
        }
        for name, script in clocks.items():
            with self.subTest(name), self.changed_by(script):
                self.setUp()
                ann = self.edited_by_ann()
                self.sleeps(ann, ann.browser.freeze, ann.browser.resume, "of ann, continued")

    def test_the_first_key_after_the_lease_is_not_taken_although_no_timer_has_run(self):
        with self.changed_by("setInterval = () => {};"):
            ann = self.edited_by_ann()
            eventually(2 * self.lease, "the lease ends", lambda: self.stand.sidecar.is_free(self.key))
            self.assertTrue(ann.may_type)
            self.assert_stopped(ann, "of ann, continued")
            ann.waits_for("You have lost the lock: the lease has ended.")

    @contextlib.contextmanager
    def changed_by(self, script: str):
        """Runs in each page of Ann before its own scripts."""
        added = machine.ann.devtools("Page.addScriptToEvaluateOnNewDocument", source=script)
        try:
            yield
        finally:
            machine.ann.devtools("Page.removeScriptToEvaluateOnNewDocument", **added)

    def test_an_open_page_keeps_its_lock_for_many_leases(self):
        ann = self.edited_by_ann()

        def is_editing():
            self.assertEqual(ann.says().strip(), "You are editing.")

        self.assert_kept_for(2 * self.lease, self.token, is_editing)
        ann.save()

    def test_a_lock_that_is_forced_is_told_at_the_next_renewal(self):
        ann, ben = self.edited_by_ann(), self.page(machine.ben)
        ben.waits_for("ann has been editing since")
        self.force()
        self.ben_takes_over(ben)
        # Whether the next renewal was before or after Ben's.
        ann.waits_for("You have lost the lock: ben has", "You have lost the lock: the lease has", within=self.lease)
        self.assert_stopped(ann, "of ann, continued")

    def test_it_warns_while_lockside_does_not_respond_and_goes_on_when_it_does(self):
        ann, token = self.edited_by_ann(), self.token
        self.stand.sidecar.freeze()
        try:
            ann.waits_for("Your lock cannot be renewed: ", within=self.lease)
            self.assertTrue(ann.may_type)
            ann.waits_for("Save now.")
            ann.browser.click("#save")
            ann.waits_for("Your text is saved.", within=self.lease)
        finally:
            self.stand.sidecar.thaw()
        ann.waits_for("You are editing.")
        self.assertEqual(self.token, token)

    def test_it_warns_and_stops_at_the_end_of_a_lease_that_cannot_be_renewed(self):
        ann = self.edited_by_ann()
        self.stand.sidecar.freeze()
        try:
            ann.waits_for("Your lock cannot be renewed: ", within=self.lease)
            ann.waits_for("Editing has stopped until lockside has been asked.", within=self.lease)
            self.assert_stopped(ann, "of ann, continued")
            other = machine.world.other()
            eventually(self.lease, "the lease ends", lambda: other.is_free(self.key))
        finally:
            self.stand.sidecar.thaw()
        ann.waits_for("You have lost the lock: the lease has ended.")
        self.assertEqual(self.stand.text(self.volume), "of ann")


if __name__ == "__main__":
    unittest.main()
