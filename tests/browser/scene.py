"""Where the page at /ui/ is tried: a Redis, sidecars that serve the page, those who hold locks and those who wait."""

import contextlib
import threading
import unittest

from chromium import Browser
from credentials import SECRET
from page import COLLECT, Page
from world import Sidecar, World, eventually, path_of

API_TOKEN = "the-api-token-of-the-service-callers"


class Scene:
    """
    All sidecars have the same flags. Where `users` sign in, callers without a credential may do nothing. There is a warning
    of a Redis that is not `durable`.
    """

    def __init__(self, flags: tuple[str, ...] = (), users: bool = False, durable: bool = False):
        self.world = World([])
        self.closing = contextlib.ExitStack()
        self.closing.callback(self.world.close)
        self.close = self.closing.close
        self.flags = ["--max-ttl", "1h", *flags]
        try:
            if durable:
                assert self.world.command_redis("CONFIG SET appendonly yes") == b"+OK"
            if users:
                self.flags += ["--jwt-secret-file", self.secret("jwt", SECRET), "--anonymous", "none"]
                self.flags += ["--api-token-file", self.secret("api-token", API_TOKEN)]
                self.world.credentials = {"Authorization": f"Bearer {API_TOKEN}"}
            self.sidecar = self.another_sidecar("page")
            self.browser = self.another_browser()
        except BaseException:
            self.close()
            raise

    def secret(self, name: str, text: str) -> str:
        file = self.world.directory / name
        file.write_text(text)
        file.chmod(0o600)
        return str(file)

    def another_sidecar(self, name: str) -> Sidecar:
        return self.world.sidecar(*self.flags, name=name)

    def another_browser(self) -> Browser:
        browser = Browser(self.world.directory, {})
        self.closing.callback(browser.close)
        browser.devtools("Page.addScriptToEvaluateOnNewDocument", source=COLLECT)
        return browser

    def log(self) -> str:
        """What the sidecar that serves the page has logged."""
        return (self.world.directory / f"{self.sidecar.name}.log").read_text()

    def audited(self, holder: str) -> list[str]:
        """The lines of the audit log of what was force-released from this holder."""
        lines = (line for line in self.log().splitlines() if "lock force-released" in line)
        return [line for line in lines if f'holder="{holder}"' in line]

    def acquire(self, key: str, owner: str = "importer-7", ttl_ms: int = 600_000, headers=None, **body) -> dict:
        body = {"ttlMs": ttl_ms, "owner": owner, **body}
        status, lease = self.sidecar.ask("POST", path_of(key), body, headers=headers)
        assert status in (200, 201), f"{owner} was refused {key}: {status} {lease}"
        return lease

    def renew(self, key: str, token: int, ttl_ms: int):
        status, answer = self.sidecar.ask("PUT", f"{path_of(key)}?token={token}", {"ttlMs": ttl_ms})
        assert status == 200, f"not renewed: {status} {answer}"

    def clear(self):
        """Force-releases all locks."""
        _, listed = self.sidecar.ask("GET", "/v1/locks?limit=10000")
        for lock in listed["locks"]:
            self.sidecar.force(lock["key"])


class Waiter(threading.Thread):
    """Waits for a key, behind all who wait for it already."""

    def __init__(self, sidecar: Sidecar, key: str, owner: str):
        super().__init__(daemon=True)
        self.sidecar, self.key, self.owner = sidecar, key, owner
        self.answer = None
        before = sidecar.state(key)["waiters"]
        self.start()
        eventually(10, f"{owner} waits", lambda: sidecar.state(key)["waiters"] > before)

    def run(self):
        try:
            self.answer = self.sidecar.acquire(self.key, ttl_ms=600_000, wait_ms=60_000, owner=self.owner)
        except OSError as error:
            self.answer = (0, str(error))

    def granted(self, within: float = 10) -> int:
        """The token of its lease."""
        self.join(within)
        assert self.answer and self.answer[0] == 201, f"{self.owner} was not granted {self.key}: {self.answer}"
        return self.answer[1]["token"]


class PageTest(unittest.TestCase):
    """Tests of one scene. Each begins without locks, and no page may log an error or be refused by its policy."""

    scene: Scene
    options: dict = {}

    @classmethod
    def setUpClass(cls):
        cls.scene = Scene(**cls.options)
        cls.addClassCleanup(cls.scene.close)

    def setUp(self):
        self.browser = self.scene.browser
        self.addCleanup(self.leave)

    def leave(self):
        problems = Page.problems_of(self.browser)
        self.browser.close_other_windows()
        self.browser.open("about:blank")
        self.scene.clear()
        self.assertEqual(problems, [])

    def page(self, query: str = "") -> Page:
        return Page(self.browser, self.scene.sidecar, query)
