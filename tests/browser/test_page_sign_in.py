"""Signing in on the page at /ui/, and that no other page can use what it is signed in with."""

import contextlib
import http.client
import http.server
import threading
import unittest

from credentials import jwt
from scene import API_TOKEN, PageTest

from world import free_port, path_of

KEPT = "return [sessionStorage.length, localStorage.length, document.cookie]"


class SignIn(PageTest):
    options = {"users": True}

    def setUp(self):
        super().setUp()
        self.scene.acquire("orders")
        self.url = self.scene.sidecar.url

    def leave(self):
        self.browser.devtools("Network.clearBrowserCookies")
        # What a tab keeps is gone with it, and an open one is needed.
        before = self.browser.new_window()
        self.browser.turn_to(before)
        self.browser.script("try { sessionStorage.clear() } catch {}")
        super().leave()

    def test_an_api_token_is_kept_in_the_tab_until_it_signs_out(self):
        page = self.page().sign_in(API_TOKEN).live()
        page.waits_for_row("orders")
        self.assertEqual(page.script("return document.querySelector('#credential').value"), "")
        self.assertNotIn(API_TOKEN, page.script("return document.documentElement.outerHTML"))
        self.assertEqual(page.script(KEPT), [1, 0, ""])
        page.open().live()
        page.waits_for_row("orders")

        tab = self.browser.new_window()
        other = self.page()
        other.waits_for("#message", "Sign in to see the locks.")
        self.assertEqual(other.script(KEPT), [0, 0, ""])
        self.browser.close_window()
        self.browser.turn_to(tab)

        self.browser.click("#sign-out")
        page.waits_for("#message", "Sign in to see the locks.")
        self.assertEqual(page.script(KEPT), [0, 0, ""])
        self.assertFalse(page.script("return document.querySelector('#place').checkVisibility()"))
        page.sign_in(API_TOKEN).live().waits_for("#facts", "lockside")
        self.browser.click("#sign-out")
        page.open().waits_for("#message", "Sign in to see the locks.")

    def test_with_an_api_token_locks_are_force_released(self):
        page = self.page().sign_in(API_TOKEN).live().begin_to_force("orders")
        page.confirm("by a service")
        page.waits_for("#outcome", "orders was force-released.")

    def test_a_jwt_in_the_field_signs_its_user_in(self):
        page = self.page().sign_in(f" {jwt('ann', [])}\t").live().open_row("orders")
        self.assertFalse(page.offers_force())

    def test_after_a_refused_token_a_good_one_signs_in(self):
        page = self.page().sign_in("wrong")
        page.waits_for("#message", "Your sign-in is not valid, or has expired.")
        page.sign_in(API_TOKEN).live()
        page.waits_for_row("orders")

    def test_a_token_that_cannot_be_sent_is_not_taken(self):
        # A header has no such characters; they come with what is copied.
        for token in ("“the-token”", "the-\u200btoken", "the token"):
            page = self.page().sign_in(token)
            self.assertTrue(page.script("return document.querySelector('#credential').validity.patternMismatch"))
            self.assertEqual(page.script(KEPT), [0, 0, ""])
            page.waits_for("#message", "Sign in to see the locks.")

    def test_the_cookie_of_a_user_signs_in_until_it_ends(self):
        self.browser.set_cookie(jwt("ann"), self.url)
        page = self.page().live()
        page.waits_for_row("orders")
        self.assertFalse(page.script("return document.querySelector('#sign-out').checkVisibility()"))
        self.browser.devtools("Network.clearBrowserCookies")
        page.waits_for("#message", "Sign in to see the locks.")
        self.assertFalse(page.script("return document.querySelector('#place').checkVisibility()"))


class OtherPages(PageTest):
    """A page of another origin, in the browser of a user who may force-release locks."""

    options = {"users": True}
    ASK = """
        const [url, method] = arguments;
        // As it can be sent without asking the browser first, and as a page would send it.
        const send = (method, mode) =>
            fetch(url, { method, mode, credentials: "include" }).then(({ status }) => status, ({ name }) => name);
        return [await send("POST", "no-cors"), await send(method, "cors")];
    """

    def test_a_page_of_another_origin_changes_nothing_with_the_users_cookie(self):
        token = self.scene.acquire("orders")["token"]
        sidecar = self.scene.sidecar
        # On the same site, so that the cookie is sent along, but at another port.
        self.browser.set_cookie(jwt("ann"), sidecar.url)
        self.addCleanup(self.browser.devtools, "Network.clearBrowserCookies")
        self.page().live().waits_for_row("orders")
        self.origin = self.served()
        self.browser.open(self.origin)
        for method, path in (
            ("POST", path_of("another")),
            ("DELETE", f"{path_of('orders')}?force=true"),
            ("DELETE", f"{path_of('orders')}?token={token}"),
            ("DELETE", f"/cmn/leasable-locks/custom/{token}"),
        ):
            with self.subTest(path, method=method):
                simple, asked = self.browser.script(self.ASK, sidecar.url + path, method)
                self.assertEqual(simple, 0, "what came back cannot be read")
                self.assertEqual(asked, "TypeError", "it is refused before it is sent, or unreadable")
                self.assertEqual(self.answered(method, path), (403, "origin-not-allowed"))
        self.assertEqual(sidecar.token("orders"), token)
        self.assertTrue(sidecar.is_free("another"))
        # Its answers to the browser's question, and the refusals, are told in the console of that page.
        self.browser.console()

    def answered(self, method: str, path: str):
        """What the browser's developer tools show, and curl."""
        connection = http.client.HTTPConnection("127.0.0.1", self.scene.sidecar.port, timeout=20)
        with contextlib.closing(connection):
            headers = {"Cookie": f"refreshToken={jwt('ann')}", "Origin": self.origin, "Sec-Fetch-Site": "same-site"}
            connection.request(method, path, "{}" if method == "POST" else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers["Lockside-Reason"]

    def test_no_page_can_have_it_in_a_frame(self):
        self.browser.open(self.served(f'<iframe src="{self.scene.sidecar.url}/ui/"></iframe>'))
        refusals = self.browser.console()
        self.assertTrue(any("frame-ancestors" in refusal for refusal in refusals), refusals)

    def served(self, html: str = "") -> str:
        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                content = f"<!doctype html><link rel=icon href=data:,>{html}".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Page)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}"


if __name__ == "__main__":
    unittest.main()
