"""Takes the pictures docs/pictures/page-*.png of the page at /ui/: of a real sidecar with locks as an app has them."""

import base64
import hashlib
import struct
import subprocess
import sys
import zlib
from pathlib import Path

from credentials import jwt
from page import Page
from scene import Scene, Waiter
from world import ROOT

PICTURES = ROOT / "docs/pictures"
NAMES = ("list", "open", "dialog", "dark")
PAGE = ROOT / "src/api/page"
MOST_BYTES = 120_000
MINUTES = 60_000
# Of each lock of a user: the key, the user, and for how many minutes it has been held.
EDITED = [
    ("volume:12", "Ann Keller", 31),
    ("volume:47", "Ben Osei", 12),
    ("volume:48", "Clara Nowak", 9),
    ("volume:103", "Ann Keller", 2),
]
# As if each lock had been granted earlier: changes what the record says, and not when it ends.
EARLIER = """
for _, key in ipairs(redis.call('KEYS', '*:lock:' .. ARGV[1])) do
  local record = string.gsub(redis.call('GET', key), '"since":(%d+)', function(since)
    return '"since":' .. string.format('%.0f', since - ARGV[2])
  end)
  redis.call('SET', key, record, 'KEEPTTL')
  return 1
end
"""


def checksum() -> str:
    """Of what the pictures are made of."""
    sources = [Path(__file__), *sorted((PAGE / "files").iterdir()), PAGE / "frame.rs", PAGE / "texts.rs"]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def signed(png: bytes) -> bytes:
    """With the checksum in front of its end, by which it is seen whether it is up to date."""
    text = chunk(b"tEXt", b"Comment\0sources: " + checksum().encode())
    return png[:-12] + text + png[-12:]


def is_up_to_date(picture: Path) -> bool:
    return picture.exists() and checksum().encode() in picture.read_bytes()


class Pictures:
    def __init__(self, scene: Scene):
        self.scene, self.browser = scene, scene.browser
        self.browser.appear()
        self.browser.devtools("Emulation.setTimezoneOverride", timezoneId="UTC")
        self.browser.set_cookie(jwt("dora"), scene.sidecar.url)

    def hold(self, key: str, owner: str, minutes: float, ttl_ms: int, **options):
        self.scene.acquire(key, owner, ttl_ms, **options)
        redis = ["redis-cli", "-s", self.scene.world.redis_socket]
        command = [*redis, "EVAL", EARLIER, "0", key, str(round(minutes * MINUTES))]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert answer.strip() == "1", answer

    def set_the_scene(self):
        self.hold("leader/scheduler", "scheduler-b", 3 * 24 * 60 + 250, 60_000, meta={"host": "web-2"})
        for key, user, minutes in EDITED:
            headers = {"Authorization": f"Bearer {jwt(user.split()[0].lower(), [], name=user)}"}
            self.hold(key, user, minutes, 5 * MINUTES, headers=headers)
        self.hold("report/2026-11", "reports-1", 6, 15 * MINUTES, meta={"job": "monthly"})
        self.hold("import", "importer-7", 4.2, 10 * MINUTES, meta={"host": "web-3", "pid": 4711, "file": "orders.csv"})
        for owner in ("batch-2", "batch-3", "importer-8"):
            Waiter(self.scene.sidecar, "import", owner)
        self.hold("thumbnails/47", "worker-12", 0.3, 2 * MINUTES)

    def take_all(self):
        page = Page(self.browser, self.scene.sidecar).live()
        page.waits_for_row("import", waiters="3")
        # The sidecar's Redis is behind a socket whose name is another one each time.
        page.script("document.querySelector('#facts code:last-of-type').textContent = 'redis.internal:6379'")
        self.take("list")
        page.open_row("import").waits_for(".details", "importer-8")
        page.script("document.querySelector('.details').scrollIntoView({ block: 'end' })")
        self.take("open")
        page.begin_to_force("import").type("#force-reason", "hangs since the deployment of 14:00")
        self.take("dialog")
        page.confirm()
        page.waits_for("#outcome", "import was force-released.")
        page.waits_for_row("import", owner="batch-2")
        page.script("scrollTo(0, 0)")
        self.browser.appear(scheme="dark")
        self.take("dark")

    def take(self, name: str):
        png = base64.b64decode(self.browser.devtools("Page.captureScreenshot", format="png")["data"])
        assert len(png) < MOST_BYTES, f"{name}: {len(png)} bytes"
        (PICTURES / f"page-{name}.png").write_bytes(signed(png))


def main() -> int:
    if all(is_up_to_date(PICTURES / f"page-{name}.png") for name in NAMES):
        return 0
    scene = Scene(users=True, durable=True)
    try:
        pictures = Pictures(scene)
        pictures.set_the_scene()
        pictures.take_all()
    finally:
        scene.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
