"""A set-up of docs/browser.md, as it is printed, on this machine: lockside, the app's backend, the page, nginx or Vite."""

import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

from chromium import CERTAINLY, Browser
from credentials import SECRET, jwt
from snippets import DOCS, SetUp, put
from world import Process, World, eventually, free_port

VITE = Path(os.environ["NODE_MODULES"]) / "vite/bin/vite.js"
NGINX = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.error.log;
events {{}}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/site.conf;
}}
"""


class Machine:
    """What all set-ups share: one Redis, a certificate, two users with a browser each."""

    def __init__(self):
        self.world = World([])
        self.directory = self.world.directory
        self.https = free_port()
        self.browsers: list[Browser] = []
        self.closing = contextlib.ExitStack()
        self.closing.callback(self.world.close)
        try:
            (self.directory / "secret").write_text(SECRET)
            (self.directory / "secret").chmod(0o600)
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", self.directory / "key.pem", "-out", self.directory / "certificate.pem", "-days", "2",
                 "-subj", "/CN=example.com", "-addext", "subjectAltName=DNS:*.example.com"],
                check=True, capture_output=True,
            )
            for user in ("ann", "ben"):
                names = {f"{name}.example.com:443": f"127.0.0.1:{self.https}" for name in ("admin", "locks")}
                browser = Browser(self.directory, names)
                self.closing.callback(browser.close)
                self.browsers.append(browser)
                self.sign_in(browser, jwt(user))
        except BaseException:
            self.closing.close()
            raise
        self.ann, self.ben = self.browsers
        self.close = self.closing.close

    def sign_in(self, browser: Browser, token: str):
        browser.set_cookie(token, "https://example.com", ".example.com")
        browser.set_cookie(token, "http://localhost")


class Stand:
    """One set-up. `lease` is --admin-ttl in seconds; the flags in `without` are left out."""

    count = 0

    def __init__(self, machine: Machine, set_up: SetUp, lease: int = 300, without=()):
        Stand.count += 1
        self.machine, self.set_up, self.lease = machine, set_up, lease
        self.directory = machine.directory / f"stand-{Stand.count}"
        self.root = self.directory / "root"
        self.root.mkdir(parents=True)
        self.processes: list[Process] = []
        self.sidecar = None
        self.is_tls = set_up.language == "nginx"
        self.port = machine.https if self.is_tls else free_port()
        self.origin = "https://admin.example.com" if self.is_tls else f"http://localhost:{self.port}"
        try:
            self.sidecar = machine.world.sidecar(*self.flags(without), name=f"lockside-{Stand.count}")
            self.backend_port = free_port()
            self.start(sys.executable, "-B", DOCS / "browser/backend.py", self.backend_port)
            self.place_page()
            self.start_nginx() if self.is_tls else self.start_vite()
            eventually(CERTAINLY, "the page and its backend answer", self.answers)
        except BaseException:
            self.close()
            raise

    def flags(self, without) -> list[str]:
        printed = dict(zip(self.set_up.flags[::2], self.set_up.flags[1::2]))
        assert printed.keys() >= {"--jwt-secret-file", *without}, printed
        printed["--jwt-secret-file"] = str(self.machine.directory / "secret")
        printed["--admin-ttl"] = f"{self.lease}s"
        kept = [pair for pair in printed.items() if pair[0] not in without]
        return [word.replace(":5173", f":{self.port}") for pair in kept for word in pair]

    def start(self, *command, directory=None):
        log = self.directory / f"{len(self.processes)}.log"
        self.processes.append(Process(command, log, cwd=directory or self.directory))

    @property
    def lockside(self) -> str:
        """The origin at which the page finds lockside."""
        return self.set_up.data_lockside.replace(":7420", f":{self.sidecar.port}")

    def place_page(self):
        shutil.copy(DOCS / "browser/edit.js", self.root)
        page = (DOCS / "browser/edit.html").read_text()
        values = {'data-lease-seconds="300"': f'data-lease-seconds="{self.lease}"'}
        if self.lockside:
            values['data-lockside=""'] = f'data-lockside="{self.lockside}"'
        (self.root / "edit.html").write_text(put(page, values))

    def addresses(self) -> dict:
        addresses = {"127.0.0.1:8000": f"127.0.0.1:{self.backend_port}"}
        if not self.lockside.startswith("http://"):  # else no proxy is in the way
            addresses["127.0.0.1:7420"] = f"127.0.0.1:{self.sidecar.port}"
        return addresses

    def start_nginx(self):
        values = {
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "/etc/ssl/admin.pem": self.machine.directory / "certificate.pem",
            "/etc/ssl/admin.key": self.machine.directory / "key.pem",
            "/srv/admin": self.root,
        }
        (self.directory / "site.conf").write_text(put(self.set_up.text, {**values, **self.addresses()}))
        (self.directory / "nginx.conf").write_text(NGINX.format(directory=self.directory))
        self.start("/usr/sbin/nginx", "-c", self.directory / "nginx.conf")

    def start_vite(self):
        (self.root / "vite.config.js").write_text(put(self.set_up.text, self.addresses()))
        self.start("node", VITE, "--port", self.port, "--strictPort", directory=self.root)

    def answers(self) -> bool:
        ended = [process.log.read_text() for process in self.processes if process.popen.poll() is not None]
        assert not ended, ended
        try:
            return all(self.ask("GET", path)[0] == 200 for path in ("/edit.html", "/volumes/0"))
        except OSError:
            return False

    def ask(self, method: str, path: str, body=None, port=None, **headers):
        """A request that no browser sent: its status, headers and text."""
        port = port or self.port
        if port == self.machine.https:
            trusting = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection("localhost", port, context=trusting, timeout=CERTAINLY)
        else:
            connection = http.client.HTTPConnection("localhost", port, timeout=CERTAINLY)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Host": self.origin.split("://")[1], **headers})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def text(self, volume: str) -> str:
        """What the backend has."""
        status, _, text = self.ask("GET", f"/volumes/{volume}", port=self.backend_port)
        assert status == 200, (status, text)
        return text

    def close(self):
        for process in self.processes:
            process.kill()
        if self.sidecar:
            self.sidecar.kill()
