"""Leader election: what a client says of the leader, and for how long it says that its own sidecar leads."""

import time
from datetime import datetime, timezone

from wire import Wire
from world import eventually

from . import behaviour

TTL = 1.0
ELECT = ("--elect", "jobs", "--elect-ttl", "1s")
KEY = "election:jobs"


def candidate(world, *flags, name="sidecar", **options):
    """A sidecar that stands for election, under the name pod of NAME."""
    return world.sidecar(*ELECT, "--elect-as", f"pod of {name}", *flags, name=name, **options)


def leads(sidecar) -> bool:
    """By the runner's own view."""
    status, view = sidecar.ask("GET", "/v1/elections/jobs")
    assert status == 200, (status, view)
    return view["leader"]


def leader(driver) -> dict:
    return driver.call("leader", election="jobs")


def says_leader(driver) -> bool:
    """Whether the client says so now, of what was answered before."""
    return driver.call("isLeader", election="jobs")["isLeader"]


def resign(driver, for_ms=None):
    driver.call("resign", election="jobs", forMs=for_ms)


def stand_in_turn(world):
    """Two candidates: the first one leads, and the second one stands behind it."""
    first = candidate(world)
    eventually(3 * TTL, "the first candidate leads", lambda: leads(first))
    second = candidate(world, name="other")
    for sidecar in (first, second):
        both = lambda: sidecar.ask("GET", "/v1/elections/jobs")[1].get("candidates") == 2
        eventually(3 * TTL, "both stand, and each knows of it", both)
    return first, second


@behaviour
def one_leads(world):
    """A candidate that stands alone leads after at most two ttls, with its name, its fencing token and a moment for `since`."""
    sidecar = candidate(world)
    driver = world.driver()
    eventually(2 * TTL + 1, "it leads", lambda: leader(driver)["isLeader"])
    known = leader(driver)
    assert (known["name"], known["token"]) == ("pod of sidecar", sidecar.token(KEY)), known
    assert (known["candidates"], known["isStale"]) == (1, False), known
    for moment in ("since", "lastUpdate"):
        passed = datetime.now(timezone.utc) - datetime.fromisoformat(known[moment].replace("Z", "+00:00"))
        assert -1 < passed.total_seconds() < 60, known


@behaviour
def leads_for_as_long_as_it_is_asked(world):
    """While the sidecar goes on to lead, each answer says so: there is no gap between two of them."""
    candidate(world)
    driver = world.driver()
    eventually(3 * TTL, "it leads", lambda: leader(driver)["isLeader"])
    token = leader(driver)["token"]
    end = time.monotonic() + 4 * TTL
    while time.monotonic() < end:
        known = leader(driver)
        assert known["isLeader"] and known["token"] == token, known
        time.sleep(0.02)


@behaviour
def a_standby_names_the_leader(world):
    """Beside a standby the client names the leader, with the leader's token, and does not lead."""
    first, second = stand_in_turn(world)
    known = leader(world.driver(url=second.url))
    assert (known["isLeader"], known["isStale"]) == (False, False), known
    assert (known["name"], known["token"], known["candidates"]) == ("pod of sidecar", first.token(KEY), 2), known


@behaviour
def ends_by_itself(world):
    """The sidecar stands still: the client says no when the validity has passed, before another candidate leads."""
    first, second = stand_in_turn(world)
    driver = world.driver()
    assert leader(driver)["isLeader"]
    first.freeze()
    frozen = time.monotonic()
    while not leads(second):
        # Asked for first: what was said before another one leads is no fault.
        assert time.monotonic() - frozen < 10 * TTL, "the standby does not lead"
        if not says_leader(driver):
            break
        time.sleep(0.005)
    assert not says_leader(driver)
    assert time.monotonic() - frozen < TTL + 0.5
    eventually(10 * TTL, "the standby leads", lambda: leads(second))
    assert not says_leader(driver)
    refusal = driver.send("leader", election="jobs").refusal()
    assert (refusal.type, refusal.outcome) == ("unavailable", "not-applied"), refusal
    first.thaw()
    eventually(5, "it names the new leader", lambda: leader(driver)["name"] == "pod of other")
    assert not says_leader(driver)


@behaviour
def the_client_stood_still(world):
    """A process that stood still for longer than the validity does not lead by what it was told before."""
    candidate(world)
    driver = world.driver()
    eventually(3 * TTL, "it leads", lambda: leader(driver)["isLeader"])
    assert leader(driver)["isLeader"]
    driver.freeze()
    time.sleep(TTL)
    asked = driver.send("isLeader", election="jobs")
    driver.thaw()
    assert asked.result()["isLeader"] is False


@behaviour
def a_late_answer_counts_from_its_request(world):
    """An answer that took longer than the validity that it has is no leadership, though it has just come."""
    sidecar = candidate(world)
    eventually(3 * TTL, "it leads", lambda: leads(sidecar))
    wire = Wire(sidecar.port, lambda number, head: "late" if number == 1 else None)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    late = leader(driver)
    assert (late["isLeader"], late["name"]) == (False, "pod of sidecar"), late
    assert leader(driver)["isLeader"]


@behaviour
def resigning_hands_over(world):
    """Who resigns does not lead when resign returns; the next candidate does at once, and keeps it."""
    first, second = stand_in_turn(world)
    driver = world.driver()
    token = leader(driver)["token"]
    resign(driver)
    known = leader(driver)
    assert not known["isLeader"], known
    eventually(TTL, "the other candidate leads", lambda: leads(second))
    assert second.token(KEY) > token
    eventually(3 * TTL, "it stands again", lambda: leader(driver)["candidates"] == 2)
    known = leader(driver)
    assert (known["isLeader"], known["name"]) == (False, "pod of other"), known
    assert leads(second)


@behaviour
def resigned_for_a_while(world):
    """Who resigns for a while does not stand meanwhile, though nothing else does; a standby may resign, too."""
    candidate(world)
    driver = world.driver()
    eventually(3 * TTL, "it leads", lambda: leader(driver)["isLeader"])
    resign(driver, for_ms=int(3000 * TTL))
    resigned = time.monotonic()
    resign(driver)
    while time.monotonic() - resigned < 2.5 * TTL:
        known = leader(driver)
        assert (known["isLeader"], known["name"], known["token"]) == (False, None, None), known
        time.sleep(0.1)
    eventually(4 * TTL, "it leads again", lambda: leader(driver)["isLeader"])


@behaviour
def stale(world):
    """Where the sidecar has not seen Redis for longer than the ttl, the client says so, and names no leader."""
    candidate(world)
    driver = world.driver()
    eventually(3 * TTL, "it leads", lambda: leader(driver)["isLeader"])
    world.redis.freeze()
    eventually(5 * TTL, "it is stale", lambda: leader(driver)["isStale"])
    known = leader(driver)
    assert (known["isLeader"], known["name"]) == (False, None), known
    world.redis.thaw()
    eventually(20, "it leads again", lambda: leader(driver)["isLeader"])
    assert leader(driver)["isStale"] is False


@behaviour
def no_such_election(world):
    """An election that the sidecar does not know is an error of its own, at once."""
    candidate(world)
    driver = world.driver()
    for op in ("leader", "resign"):
        refusal = driver.send(op, election="other").refusal(5)
        assert (refusal.type, refusal.code, refusal.outcome) == ("refused", "no-such-election", "not-applied"), (op, refusal)


@behaviour
def no_answer(world):
    """Without an answer who leads is unavailable, and whether it resigned is unknown; without a sidecar both are unavailable."""
    sidecar = candidate(world)
    wire = Wire(sidecar.port, lambda number, head: "swallow")
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    refusal = driver.send("leader", election="jobs").refusal()
    assert (refusal.type, refusal.outcome) == ("unavailable", "not-applied"), refusal
    refusal = driver.send("resign", election="jobs").refusal()
    assert (refusal.type, refusal.outcome) == ("unknown", "unknown"), refusal
    driver = world.driver()
    sidecar.kill()
    for op in ("leader", "resign"):
        refusal = driver.send(op, election="jobs").refusal()
        assert (refusal.type, refusal.outcome) == ("unavailable", "not-applied"), (op, refusal)


@behaviour
def credential_to_resign(world):
    """Where the sidecar wants a credential, resigning needs the one in LOCKSIDE_TOKEN_FILE, and asking for the leader does not."""
    secret = world.directory / "api-token"
    secret.write_text("a-token-of-this-test-that-is-long-enough\n")
    secret.chmod(0o600)
    world.credentials = {"Authorization": f"Bearer {secret.read_text().strip()}"}
    candidate(world, "--api-token-file", secret)
    driver = world.driver()
    eventually(3 * TTL, "it leads", lambda: leader(driver)["isLeader"])
    refusal = driver.send("resign", election="jobs").refusal()
    assert (refusal.type, refusal.code) == ("refused", "unauthorized"), refusal
    driver = world.driver(env={"LOCKSIDE_TOKEN_FILE": str(secret)})
    resign(driver, for_ms=30_000)
    assert not leader(driver)["isLeader"]
