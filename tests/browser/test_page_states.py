"""The page at /ui/ without rows, and with rows that are out of date: each state says what it is."""

import http.client
import shlex
import subprocess
import unittest

from chromium import CERTAINLY
from credentials import jwt
from page import Page
from scene import PageTest

from world import eventually

# Within which it is live after Redis, or the sidecar, is back.
BACK_WITHIN = 15


class Empty(PageTest):
    def test_without_locks_it_names_a_command_that_makes_one(self):
        page = self.page().live()
        page.waits_for("#message", "No locks are held.")
        command = shlex.split(page.text("#message code"))
        self.assertEqual(command[0], "curl")
        subprocess.run([*command, "--silent", "--show-error", "--fail"], check=True, capture_output=True)
        page.waits_for_row("example")
        self.assertEqual(page.text("#message"), "")

    def test_a_search_that_finds_nothing_has_a_way_back(self):
        self.scene.acquire("orders")
        page = self.page().live()
        page.type("#prefix", "none")
        page.waits_for("#message", "No key that is held begins with “none”.")
        self.assertEqual(page.rows(), {})
        self.assertNotIn("No locks are held", page.text("body"))
        self.browser.click("#message a")
        page.waits_for_row("orders")
        self.assertEqual(page.script("return location.search"), "")


class SignedOut(PageTest):
    options = {"users": True}

    def test_a_caller_without_credentials_sees_the_field_and_no_rows(self):
        self.scene.acquire("orders")
        page = self.page()
        page.waits_for("#message", "Sign in to see the locks.")
        page.waits_for("#sign-in", "JWT or API token")
        self.assert_nothing_shown(page)

    def test_a_token_that_is_refused_is_told(self):
        self.scene.acquire("orders")
        page = self.page().sign_in("not-the-token")
        page.waits_for("#message", "Your sign-in is not valid, or has expired.")
        page.waits_for("#sign-in", "JWT or API token")
        self.assert_nothing_shown(page)

    def assert_nothing_shown(self, page: Page):
        (everything,) = page.texts("main")
        for text in ("orders", "importer-7", "No locks are held"):
            self.assertNotIn(text, everything)
        self.assertEqual(page.text("#numbers") + page.text("#facts"), "")


class NotAllowed(PageTest):
    options = {"users": True, "flags": ("--user-directory",)}

    def test_a_user_whom_the_directory_does_not_have_is_told_why_there_are_no_rows(self):
        self.scene.acquire("orders")
        self.browser.set_cookie(jwt("ann"), self.scene.sidecar.url)
        self.addCleanup(self.browser.devtools, "Network.clearBrowserCookies")
        page = self.page()
        page.waits_for("#sign-in", "JWT or API token")
        page.waits_for("#message", "Your account is unknown or inactive.")
        self.assertEqual(page.rows(), {})
        self.assertNotIn("No locks", page.text("body"))


class Busy(PageTest):
    options = {"flags": ("--caller-waiters", "1")}

    def test_without_a_seat_for_its_stream_it_asks_for_the_list_until_there_is_one(self):
        stream = http.client.HTTPConnection("127.0.0.1", self.scene.sidecar.port)
        self.addCleanup(stream.close)
        stream.request("GET", "/v1/events")
        answer = stream.getresponse()
        self.addCleanup(answer.close)
        self.assertEqual(answer.status, 200)
        token = self.scene.acquire("orders", owner="importer-7")["token"]
        page = self.page().waits_for("#freshness", "Not live, since too many others watch: as of")
        page.waits_for_row("orders", owner="importer-7")
        self.assertEqual(page.style("#locks tbody", "filter"), "none")
        self.scene.acquire("import", owner="batch-1")
        page.waits_for_row("import", owner="batch-1")
        self.scene.sidecar.release("orders", token)
        page.waits_for_no_row("orders")
        page.waits_for("#freshness", "Not live, since too many others watch: as of")
        answer.close()
        stream.close()
        page.waits_for("#freshness", "Live", within=BACK_WITHIN)
        page.waits_for_row("import", owner="batch-1")
        self.scene.acquire("after")
        page.waits_for_row("after")


class Interrupted(PageTest):
    def shown(self) -> Page:
        self.scene.acquire("orders", owner="importer-7")
        page = self.page().live()
        page.waits_for_row("orders")
        return page

    def assert_stale(self, page: Page):
        """Its row is still there, greyed, and there is no talk of no locks."""
        self.assertEqual(page.rows()["orders"]["owner"], "importer-7")
        self.assertEqual(page.style("#locks tbody", "filter"), "grayscale(1)")
        self.assertNotIn("No locks", page.text("body"))

    def assert_fresh(self, page: Page):
        page.waits_for("#freshness", "Live", within=BACK_WITHIN)
        self.assertEqual(page.style("#locks tbody", "filter"), "none")

    def test_while_redis_hangs_its_rows_stay_greyed_and_then_it_is_live_again(self):
        page, redis = self.shown(), self.scene.world.redis
        redis.freeze()
        try:
            page.waits_for("#freshness", "Redis has been unavailable since")
            self.assert_stale(page)
            page.waits_for("#state", "Locks cannot be granted")
            self.assert_stale(page)
            self.assert_says_nothing_of_no_locks(page)
        finally:
            redis.thaw()
        self.assert_fresh(page)
        page.waits_for("#state", "Ready")
        self.scene.acquire("after")
        page.waits_for_row("after")
        page.waits_for_row("orders", owner="importer-7")

    def assert_says_nothing_of_no_locks(self, page: Page):
        """A page that is opened only now."""
        before = self.browser.new_window()
        other = self.page()
        other.waits_for("#message", "Locks may be held that cannot be seen now.")
        self.assertNotIn("No locks", other.text("body"))
        self.assertEqual(other.rows(), {})
        self.browser.close_window()
        self.browser.turn_to(before)

    def test_when_redis_was_restarted_it_shows_what_is_held_now(self):
        page, world = self.shown(), self.scene.world
        world.redis.kill()
        page.waits_for("#freshness", "Redis has been unavailable since")
        self.assert_stale(page)
        world.redis = world.start_redis()
        self.assert_fresh(page)
        # It keeps nothing over a restart.
        page.waits_for("#message", "No locks are held.")
        eventually(10, "locks are granted", lambda: self.scene.sidecar.acquire("after")[0] == 201)
        page.waits_for_row("after", owner="rival")

    def test_while_the_sidecar_is_away_its_rows_stay_greyed_and_then_it_is_live_again(self):
        page, sidecar = self.shown(), self.scene.sidecar
        sidecar.kill()
        page.waits_for("#freshness", "Not live: what is shown is as of")
        self.assert_stale(page)
        other = self.scene.world.other()
        other.take("meanwhile", owner="batch-9")
        self.assert_stale(page)
        sidecar.start()
        self.assert_fresh(page)
        page.waits_for_row("meanwhile", owner="batch-9")
        page.waits_for_row("orders", owner="importer-7")

    def test_a_sidecar_that_hangs_is_told_and_then_it_is_live_again(self):
        # It sends something every 15 s. The page waits for three times as long, which is cut short here.
        sooner = "const wait = setTimeout; window.setTimeout = (then, ms) => wait(then, ms === 45_000 ? 16_000 : ms);"
        added = self.browser.devtools("Page.addScriptToEvaluateOnNewDocument", source=sooner)
        self.addCleanup(self.browser.devtools, "Page.removeScriptToEvaluateOnNewDocument", **added)
        page, sidecar = self.shown(), self.scene.sidecar
        sidecar.freeze()
        try:
            page.waits_for("#freshness", "Not live: what is shown is as of", within=2 * CERTAINLY)
            self.assert_stale(page)
        finally:
            sidecar.thaw()
        self.assert_fresh(page)


if __name__ == "__main__":
    unittest.main()
