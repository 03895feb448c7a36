"""Distributed locks from a lockside sidecar.

    from lockside import lock

    with lock("night-report", ttl=10, wait=60) as held:
        for page in pages:
            held.check()          # raises LockLost before another one can have the lock
            write(page, held.token)
"""

from typing import Any, Callable, Optional, TypeVar

from ._aio import AsyncLock
from ._awatch import AsyncWatch
from ._bundle import AsyncBundle, Bundle, BundleKey, Keys, OnBundleWait
from ._client import TTL, Lockside, OnLost, OnWait, default, use
from ._election import Leader
from ._event import LockEvent
from ._lock import Lock
from ._locked import Key, decorator
from ._terms import Seconds
from ._watch import Watch
from .errors import Holder, LockHeld, LockLost, LocksideError, OutcomeUnknown, Refused, Unavailable

__version__ = "0.2.0"
__all__ = [
    "AsyncBundle",
    "AsyncLock",
    "AsyncWatch",
    "Bundle",
    "BundleKey",
    "Holder",
    "Leader",
    "Lock",
    "LockEvent",
    "LockHeld",
    "LockLost",
    "Lockside",
    "LocksideError",
    "OutcomeUnknown",
    "Refused",
    "Unavailable",
    "Watch",
    "abundle",
    "aleader",
    "alock",
    "aresign",
    "awatch",
    "bundle",
    "leader",
    "lock",
    "locked",
    "resign",
    "use",
    "watch",
]

F = TypeVar("F", bound=Callable[..., Any])


def lock(
    key: str,
    ttl: Seconds = TTL,
    wait: Optional[Seconds] = 0,
    *,
    owner: Optional[str] = None,
    meta: Any = None,
    delay: Seconds = 0,
    min_hold: Seconds = 0,
    max_hold: Optional[Seconds] = None,
    rest: Seconds = 0,
    shared: bool = False,
    limit: Optional[int] = None,
    on_wait: Optional[OnWait] = None,
    on_lost: Optional[OnLost] = None,
) -> Lock:
    """A lock at the sidecar of LOCKSIDE_URL; see Lockside.lock."""
    terms = {"delay": delay, "min_hold": min_hold, "max_hold": max_hold, "rest": rest}
    more = {"owner": owner, "meta": meta, "shared": shared, "limit": limit, "on_wait": on_wait, "on_lost": on_lost}
    made: Lock = default().lock(key, ttl, wait, **more, **terms)
    return made


def alock(
    key: str,
    ttl: Seconds = TTL,
    wait: Optional[Seconds] = 0,
    *,
    owner: Optional[str] = None,
    meta: Any = None,
    delay: Seconds = 0,
    min_hold: Seconds = 0,
    max_hold: Optional[Seconds] = None,
    rest: Seconds = 0,
    shared: bool = False,
    limit: Optional[int] = None,
    on_wait: Optional[OnWait] = None,
    on_lost: Optional[OnLost] = None,
    cancel_on_loss: bool = True,
) -> AsyncLock:
    """The same for coroutines; see Lockside.alock."""
    more = {"owner": owner, "meta": meta, "shared": shared, "limit": limit, "on_wait": on_wait, "on_lost": on_lost}
    terms = {"delay": delay, "min_hold": min_hold, "max_hold": max_hold, "rest": rest}
    made: AsyncLock = default().alock(key, ttl, wait, **more, **terms, cancel_on_loss=cancel_on_loss)
    return made


def bundle(
    keys: Keys,
    ttl: Seconds = TTL,
    wait: Optional[Seconds] = 0,
    *,
    owner: Optional[str] = None,
    meta: Any = None,
    on_wait: Optional[OnBundleWait] = None,
    on_lost: Optional[OnLost] = None,
) -> Bundle:
    """Several locks, all or none, at the sidecar of LOCKSIDE_URL; see Lockside.bundle."""
    made: Bundle = default().bundle(keys, ttl, wait, owner=owner, meta=meta, on_wait=on_wait, on_lost=on_lost)
    return made


def abundle(
    keys: Keys,
    ttl: Seconds = TTL,
    wait: Optional[Seconds] = 0,
    *,
    owner: Optional[str] = None,
    meta: Any = None,
    on_wait: Optional[OnBundleWait] = None,
    on_lost: Optional[OnLost] = None,
    cancel_on_loss: bool = True,
) -> AsyncBundle:
    """The same for coroutines; see Lockside.abundle."""
    more = {"owner": owner, "meta": meta, "on_wait": on_wait, "on_lost": on_lost, "cancel_on_loss": cancel_on_loss}
    made: AsyncBundle = default().abundle(keys, ttl, wait, **more)
    return made


def locked(key: Key, *, lock_as: Optional[str] = None, **options: Any) -> Callable[[F], F]:
    """Decorates a function or coroutine function that runs under a lock; see Lockside.locked."""
    return decorator(default, key, lock_as, options)


def leader(name: str) -> Leader:
    """The leader of an election at the sidecar of LOCKSIDE_URL; see Lockside.leader."""
    known: Leader = default().leader(name)
    return known


async def aleader(name: str) -> Leader:
    """The same for coroutines; see Lockside.aleader."""
    known: Leader = await default().aleader(name)
    return known


def resign(name: str, for_: Seconds = 0) -> None:
    """The candidate of the sidecar of LOCKSIDE_URL resigns; see Lockside.resign."""
    default().resign(name, for_)


async def aresign(name: str, for_: Seconds = 0) -> None:
    """The same for coroutines; see Lockside.aresign."""
    await default().aresign(name, for_)


def watch(key: Optional[str] = None, *, prefix: Optional[str] = None) -> Watch:
    """What happens to a lock, or to all with a prefix, at the sidecar of LOCKSIDE_URL; see Lockside.watch."""
    made: Watch = default().watch(key, prefix=prefix)
    return made


def awatch(key: Optional[str] = None, *, prefix: Optional[str] = None) -> AsyncWatch:
    """The same for coroutines; see Lockside.awatch."""
    made: AsyncWatch = default().awatch(key, prefix=prefix)
    return made
