"""Debian's Chromium, driven over WebDriver."""

import http.client
import json
import os
import signal
import sys
from pathlib import Path

# Where `world` is: imported after this module.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients/conformance"))

from world import Process, eventually, free_port  # noqa: E402

CERTAINLY = 20  # seconds, within which what must happen does, also on a busy machine
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """A Chromium of its own, so that its cookies are those of one user. `addresses` says where the names are."""

    def __init__(self, directory: Path, addresses: dict[str, str]):
        self.port = free_port()
        # What Chromium leaves behind goes with the directory.
        env = {**os.environ, "HOME": str(directory), "TMPDIR": str(directory)}
        log = directory / f"chromedriver-{self.port}.log"
        self.driver = Process(["chromedriver", f"--port={self.port}"], log, env)
        rules = [f"MAP {name} {address}" for name, address in addresses.items()]
        # The names of the machine alone; everything else is not found.
        rules += ["MAP * ~NOTFOUND", "EXCLUDE localhost", "EXCLUDE 127.0.0.1"]
        options = {
            "args": [
                "--headless",
                "--no-proxy-server",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                f"--host-resolver-rules={', '.join(rules)}",
                # Chromium's sandbox does not start as root.
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
            ],
        }
        try:
            eventually(CERTAINLY, "chromedriver answers", self.is_ready)
            logged = {"goog:loggingPrefs": {"browser": "ALL"}}
            capabilities = {"acceptInsecureCerts": True, "goog:chromeOptions": options, **logged}
            session = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        except BaseException:
            self.driver.kill()
            raise
        self.session = f"/session/{session['sessionId']}"
        self.pid = session["capabilities"]["goog:processID"]

    def is_ready(self) -> bool:
        try:
            return self.ask("GET", "/status")["ready"]
        except OSError:
            return False

    def ask(self, method: str, path: str, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{method} {path}: {value['error']}: {value['message']}")
        return value

    def command(self, method: str, path: str, **body):
        return self.ask(method, self.session + path, body if method == "POST" else None)

    def devtools(self, command: str, **parameters):
        return self.command("POST", "/goog/cdp/execute", cmd=command, params=parameters)

    def console(self) -> list[str]:
        """What was logged since it was last asked, but for answers that are no success: a page may expect them."""
        entries = self.command("POST", "/se/log", type="browser")
        return [entry["message"] for entry in entries if entry["source"] != "network"]

    def set_cookie(self, token: str, url: str, domain: str | None = None):
        """The cookie as an app sets it: no script can read it."""
        cookie = {"name": "refreshToken", "value": token, "url": url, "httpOnly": True, "sameSite": "Strict"}
        if domain:
            cookie["domain"] = domain
        self.devtools("Network.setCookie", secure=url.startswith("https:"), **cookie)

    def open(self, url: str):
        self.command("POST", "/url", url=url)

    def script(self, code: str, *arguments):
        """What the body of an async function returns in the page."""
        code = f"const done = arguments[arguments.length - 1]; (async () => {{ {code} }})().then(done, (e) => done(`${{e}}`))"
        return self.command("POST", "/execute/async", script=code, args=list(arguments))

    def element(self, selector: str) -> str:
        found = self.command("POST", "/element", **{"using": "css selector", "value": selector})
        return f"/element/{found[ELEMENT]}"

    def click(self, selector: str):
        self.command("POST", f"{self.element(selector)}/click")

    def press(self, keys: str):
        """Keys, to whatever has the focus."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.command("POST", "/actions", actions=[{"type": "key", "id": "keys", "actions": actions}])

    def appear(self, width: int = 1100, scheme: str = "light"):
        """Each page, from now on."""
        size = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def new_window(self) -> str:
        """Opens another window of the same user, and turns to it; which one it came from."""
        before = self.command("GET", "/window")
        self.turn_to(self.command("POST", "/window/new", type="window")["handle"])
        return before

    def turn_to(self, window: str):
        self.command("POST", "/window", handle=window)

    def close_window(self):
        """Closes the window as its user does, and turns to another one."""
        self.turn_to(self.command("DELETE", "/window")[0])

    def close_other_windows(self):
        kept, *others = self.command("GET", "/window/handles")
        for window in others:
            self.turn_to(window)
            self.close_window()
        self.turn_to(kept)

    def freeze(self):
        """As a browser freezes a tab that has been hidden for long."""
        self.command("POST", "/window/minimize")
        self.devtools("Page.setWebLifecycleState", state="frozen")

    def resume(self):
        self.devtools("Page.setWebLifecycleState", state="active")
        self.command("POST", "/window/rect", x=0, y=0)

    def processes(self) -> list[int]:
        """Of this Chromium: the browser and its children, down to the renderers."""
        found = [self.pid]
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue  # it has ended
            children.setdefault(parent, []).append(int(stat.parent.name))
        for pid in found:
            found += children.get(pid, [])
        return found

    def send(self, number: signal.Signals):
        for pid in self.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def suspend(self):
        """As a machine is: not a line of any page runs."""
        self.send(signal.SIGSTOP)

    def wake(self):
        self.send(signal.SIGCONT)

    def close(self):
        self.wake()
        try:
            self.command("DELETE", "")
        finally:
            self.driver.send(signal.SIGTERM)
            self.driver.popen.wait(CERTAINLY)
