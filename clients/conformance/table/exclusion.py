"""What locks are for, while everything around them fails."""

import random
import threading
import time

from driver import DriverError, Refusal

from . import behaviour

# For how long everything fails.
SECONDS = 20
TTL_MS = 1500


class Contest:
    """Clients that contend for one key, and what they said of it."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.end = time.monotonic() + SECONDS
        self.change = threading.Lock()
        # When the runner knew of each grant, and its token.
        self.grants: list = []
        self.holder = 0
        self.violations: list = []
        self.failures: list = []

    def granted(self, number: int, token: int):
        with self.change:
            self.grants.append((time.monotonic(), token))
            self.holder = number

    def said_yes(self, name: str, token: int, asked_at: float):
        """A check that was asked for at this time was answered with yes."""
        with self.change:
            newer = [(at, other) for at, other in self.grants if other > token and at < asked_at]
        if newer:
            self.violations.append(f"{name} counts on {token} {asked_at - newer[0][0]:.3f} s after {newer[0][1]} was granted")

    def contend(self, number: int, driver):
        name, dice, turn = f"client-{number}", random.Random(self.random.random()), 0
        while time.monotonic() < self.end:
            turn += 1
            try:
                lease = driver.acquire("a", ttl_ms=TTL_MS, wait_ms=15_000, lock=f"{name}-{turn}", within=60)
            except Refusal:
                continue
            except DriverError as error:
                self.failures.append(f"{name}: {error}")
                return
            self.granted(number, lease["token"])
            self.work(name, driver, f"{name}-{turn}", lease["token"], time.monotonic() + dice.uniform(0.1, 6))

    def work(self, name: str, driver, lock: str, token: int, until: float):
        try:
            while time.monotonic() < until:
                asked_at = time.monotonic()
                driver.check(lock)
                self.said_yes(name, token, asked_at)
                time.sleep(0.02)
            driver.release(lock)
        except Refusal as refusal:
            if refusal.type != "lost":
                self.failures.append(f"{name}: {refusal}")
            else:
                self.give_back(driver, lock)
        except DriverError as error:
            self.failures.append(f"{name}: {error}")

    def give_back(self, driver, lock: str):
        """The work has stopped: what is left of a lock that was lost is released."""
        try:
            driver.release(lock)
        except (Refusal, DriverError):
            pass

    def disturb(self, world, sidecars, drivers):
        """One trouble after the other, most of them for the one who holds the key."""
        while time.monotonic() < self.end:
            number = self.holder if self.random.random() < 0.8 else self.random.randrange(len(drivers))
            sidecar, driver = sidecars[number % 2], drivers[number]
            span = self.random.uniform(0.2, 3)
            trouble = self.random.choice(("kill", "drain", "sidecar", "sidecar", "redis", "client", "both", "both"))
            if trouble == "kill":
                sidecar.kill()
                time.sleep(min(span, 2))
                sidecar.start()
            elif trouble == "drain":
                sidecar.drain()
                sidecar.process.popen.wait(20)
                sidecar.start()
            elif trouble == "both":
                # A renewal lies unread in the client's socket when nothing renews any more.
                driver.freeze()
                time.sleep(0.7)
                sidecar.freeze()
                time.sleep(span)
                driver.thaw()
                time.sleep(0.7)
                sidecar.thaw()
            else:
                frozen = {"sidecar": sidecar, "redis": world.redis, "client": driver}[trouble]
                frozen.freeze()
                time.sleep(span if trouble != "redis" else min(span, 2))
                frozen.thaw()
            time.sleep(self.random.uniform(0, 0.7))


@behaviour
def one_holder_whatever_fails(world):
    """Sidecars, Redis and clients freeze, die and restart: no client counts on a lock once a newer one was granted."""
    seed = random.randrange(10**6)
    sidecars = [world.sidecar("--shutdown-grace", "1s"), world.sidecar("--shutdown-grace", "1s", name="other")]
    drivers = [world.driver(url=sidecars[number % 2].url) for number in range(4)]
    contest = Contest(seed)
    threads = [
        threading.Thread(target=contest.contend, args=(number, driver), daemon=True)
        for number, driver in enumerate(drivers)
    ]
    for thread in threads:
        thread.start()
    contest.disturb(world, sidecars, drivers)
    for thread in threads:
        thread.join(60)
    assert not contest.violations, f"seed {seed}: {contest.violations}"
    assert not contest.failures, f"seed {seed}: {contest.failures}"
    assert len(contest.grants) > 5, f"seed {seed}: only {len(contest.grants)} grants"
