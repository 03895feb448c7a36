"""The page at /ui/: what it consists of, in both languages, and that a text of a caller stays a text."""

import contextlib
import http.client
import urllib.parse
import unittest

from page import Page
from scene import PageTest, Waiter

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
SCRIPTS = ("ui", "api", "details", "dialog", "dom", "locks", "stream", "table", "text")
FILES = (*(f"{script}.js" for script in SCRIPTS), "ui.css", "icon.svg")
# Whichever of them is taken for markup or code sets `ran`, or breaks the table.
HOSTILE = [
    "<script>ran = 1</script>",
    "</script><script>ran = 1</script>",
    '<img src=x onerror="ran = 1">',
    "\"'><svg onload=ran=1>",
    "</td></tr></table><h1>Locks</h1>",
    "&lt;b&gt;&amp;&#x3c;",
    "{owner} {key} ${ran = 1}",
    "__proto__",
    "constructor",
    "\u202eelif\u2066/7\u2069",
    "\u05de\u05e0\u05e2\u05d5\u05dc/\u0642\u0641\u0644",
    "a\u2028b\u2029c",
    "%3Cb%3E/../?prefix=#x",
    "x" * 256,
]
LONGEST = 500 * "k"
# What came over the wire, with headers, by the name of the file; the page has none.
SIZES = """
const loaded = performance.getEntries().filter(({ name }) => name.includes("/ui/"));
return Object.fromEntries(loaded.map(({ name, transferSize }) => [name.split("/ui/")[1], transferSize]));
"""


class Texts(PageTest):
    def hostile(self):
        for number, text in enumerate(HOSTILE):
            meta = {text: text, "lines": "a\nb\r\n\tc", "number": number, "nested": [{text: None}]}
            self.scene.acquire(text, owner=text, meta=meta)
        self.scene.acquire(LONGEST, owner="of the longest key")

    def assert_shown(self, page: Page):
        rows = page.rows()
        self.assertEqual({key: rows[key]["owner"] for key in HOSTILE}, {key: key for key in HOSTILE})
        self.assertEqual(rows[LONGEST]["owner"], "of the longest key")
        self.assertEqual(len(rows), len(HOSTILE) + 1)
        self.assert_inert(page)

    def assert_inert(self, page: Page):
        self.assertIsNone(page.script("return window.ran ?? null"))
        self.assertEqual(page.texts("h1"), ["Locks"])
        self.assertEqual(page.texts("img, svg, iframe, script:not([src], #texts)"), [])

    def test_hostile_texts_are_texts_in_the_rows_that_the_page_comes_with(self):
        self.hostile()
        # Scripts may run, but for the page's own, which would replace the rows.
        self.browser.devtools("Network.enable")
        self.browser.devtools("Network.setBlockedURLs", urls=["*.js"])
        self.addCleanup(self.browser.devtools, "Network.setBlockedURLs", urls=[])
        self.assert_shown(self.page())

    def test_hostile_texts_are_texts_in_the_rows_of_the_script(self):
        page = self.page().live()
        self.hostile()
        page.waits_for_row(LONGEST)
        self.assert_shown(page)
        self.assert_shown(page.open().live())

    def test_hostile_texts_are_texts_in_an_open_row_and_in_the_dialog_and_afterwards(self):
        for text in HOSTILE:
            with self.subTest(text[:40]):
                token = self.scene.acquire(text, owner=text, meta={text: text, "lines": "a\nb"})["token"]
                waiter = Waiter(self.scene.sidecar, text, text)
                page = self.page().live().begin_to_force(text)
                facts = page.texts(".details dt, .details dd")
                self.assertIn(f"Meta: {text}", facts)
                self.assertIn("a\nb", facts)
                self.assertIn(str(token), facts)
                page.until("the queue is shown", lambda: page.texts(".details tbody th") == [text])
                key, *loses, held_for, following, loser, its_token = page.texts("#force b")
                self.assertEqual([key, *loses, following, loser, its_token], [text] * 5 + [str(token)])
                self.assertRegex(held_for, r"^\d s$")
                self.assertEqual(page.style("#force b", "unicodeBidi"), "isolate")
                page.confirm()
                said = [f"{text} was force-released. {text} had it."]
                page.until("the outcome is told", lambda: page.texts("#outcome") == said)
                self.assertGreater(waiter.granted(), token)
                self.assert_inert(page)

    def test_a_hostile_search_is_a_text(self):
        self.scene.acquire("orders")
        for text in HOSTILE[:-1]:
            with self.subTest(text):
                page = self.page("?" + urllib.parse.urlencode({"prefix": text})).live()
                page.until("the search finds nothing", lambda: f"“{text}”" in page.texts("#message")[0])
                self.assertEqual(page.script("return document.querySelector('#prefix').value"), text.replace("\n", ""))
                self.assert_inert(page)

    def test_it_speaks_the_language_of_the_browser_or_of_its_address(self):
        self.scene.acquire("orders")
        self.browser.devtools("Network.enable")
        agent = self.browser.script("return navigator.userAgent")
        self.addCleanup(self.browser.devtools, "Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage="en")
        german, english = ("de", "Sperren", "Inhaber", "English"), ("en", "Locks", "Owner", "Deutsch")
        for accepted, query, expected in (
            ("de-AT,de;q=0.9,en;q=0.5", "", german),
            ("fr,en;q=0.5", "", english),
            ("fr", "", english),
            ("de", "?lang=en", english),
            ("en", "?lang=de", german),
        ):
            with self.subTest(accepted=accepted, query=query):
                self.browser.devtools("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=accepted)
                page = self.page(query).live()
                shown = [page.script("return document.documentElement.lang"), page.text("h1")]
                self.assertEqual((*shown, page.text("#locks th:nth-child(2)"), page.text("#language")), expected)
                page.open_row("orders")
                page.waits_for(".details", "Kein Aufrufer wartet" if expected is german else "No caller is waiting")
        self.browser.click("#language")
        page.waits_for("h1", "Locks")
        self.assertIn("lang=en", page.script("return location.search"))

    def test_without_javascript_it_has_rows_a_way_to_the_next_ones_and_to_the_other_language(self):
        for number in range(60):
            self.scene.acquire(f"volume-{number:02}", owner=f"editor-{number:02}")
        self.browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
        self.addCleanup(self.browser.devtools, "Emulation.setScriptExecutionDisabled", value=False)
        page = StaticPage(self.browser, self.scene.sidecar)
        self.assertEqual(page.owners(), [f"editor-{number:02}" for number in range(50)])
        self.assertIn("Without JavaScript this page shows one moment.", page.text("body"))
        page.browser.click("#pages a")
        self.assertEqual(page.owners(), [f"editor-{number:02}" for number in range(50, 60)])
        page.open("?prefix=volume-1&lang=de")
        self.assertEqual(page.owners(), [f"editor-{number}" for number in range(10, 20)])
        self.assertEqual(page.text("h1"), "Sperren")
        page.browser.click("#language")
        self.assertEqual(page.text("h1"), "Locks")


class StaticPage(Page):
    """A page that runs no script, also none of ours."""

    def text(self, selector: str) -> str:
        return self.browser.command("GET", f"{self.browser.element(selector)}/text")

    def owners(self) -> list[str]:
        """Of the rows that are displayed."""
        expression = """
            [...document.querySelectorAll("#locks > tbody td:nth-child(2)")]
                .filter((cell) => cell.checkVisibility())
                .map((cell) => cell.textContent)
        """
        return self.browser.devtools("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]


class Answers(PageTest):
    """What it is sent with, by HTTP."""

    def get(self, path: str, **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", self.scene.sidecar.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def test_the_page_and_its_files_come_with_headers_that_keep_other_pages_out(self):
        for name in ("", *FILES):
            with self.subTest(name):
                status, headers, _ = self.get(f"/ui/{name}")
                self.assertEqual(status, 200)
                expected = {
                    "content-security-policy": POLICY,
                    "x-content-type-options": "nosniff",
                    "referrer-policy": "no-referrer",
                    "cross-origin-opener-policy": "same-origin",
                    "cross-origin-resource-policy": "same-origin",
                }
                self.assertEqual({header: headers[header] for header in expected}, expected)
        self.assertIn("no-store", self.get("/ui/")[1]["cache-control"])

    def test_a_file_that_the_browser_has_is_not_sent_again(self):
        for name in FILES:
            with self.subTest(name):
                tag = self.get(f"/ui/{name}")[1]["etag"]
                status, headers, content = self.get(f"/ui/{name}", **{"If-None-Match": tag})
                self.assertEqual((status, headers["etag"], content), (304, tag, b""))
                self.assertEqual(self.get(f"/ui/{name}", **{"If-None-Match": '"another"'})[0], 200)
        self.assertEqual(self.get("/ui/none.js")[0], 404)

    def test_its_address_without_a_slash_leads_to_it(self):
        status, headers, _ = self.get("/ui")
        self.assertEqual((status, headers["location"]), (308, "ui/"))
        self.browser.open(f"{self.scene.sidecar.url}/ui")
        self.assertEqual(self.browser.script("return location.pathname"), "/ui/")

    def test_the_first_load_is_below_60_kb(self):
        self.browser.devtools("Network.enable")
        self.browser.devtools("Network.clearBrowserCache")
        page = self.page().live()
        page.until("its icon is there", lambda: "icon.svg" in page.script(SIZES))
        sizes = page.script(SIZES)
        self.assertEqual(sizes.keys(), {"", *FILES})
        self.assertTrue(all(sizes.values()), sizes)
        self.assertLess(sum(sizes.values()), 60_000, sizes)


if __name__ == "__main__":
    unittest.main()
