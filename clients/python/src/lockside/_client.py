"""The client: which sidecar, which owner; and the one that `lockside.lock` uses."""

from typing import Any, Callable, Optional, TypeVar

from . import _election
from ._address import Sidecar, default_owner
from ._aio import AsyncLock
from ._attempt import Order
from ._awatch import AsyncSidecarFeed, AsyncWatch
from ._bundle import AsyncBundle, Bundle, Keys, OnBundleWait, orders_of
from ._course import Course
from ._election import Leader
from ._lock import Lock, SessionLike
from ._locked import Key, decorator
from ._session import Listener, Session
from ._sharing import Sharing
from ._terms import Seconds, Terms, lease_and_patience
from ._thread import in_thread
from ._tls import Tls
from ._watch import SidecarFeed, Watch
from .errors import Holder

F = TypeVar("F", bound=Callable[..., Any])
OnWait = Callable[[Optional[int], Optional[Holder]], None]
OnLost = Callable[[str], Any]

TTL = 30.0


class Lockside:
    """Makes locks, watches them, and tells who leads an election. `url` is http://host:port, https://host:port or unix:/path, by
    default LOCKSIDE_URL; `token_file` holds an API token or a JWT, by default LOCKSIDE_TOKEN_FILE; `ca_file` verifies a sidecar
    with https, and `cert_file` and `key_file` are the client certificate that it may ask for, by default LOCKSIDE_CA_FILE,
    LOCKSIDE_CERT_FILE and LOCKSIDE_KEY_FILE; `owner` is HOST/PID by default; `timeout`: how long the sidecar may be silent, in
    seconds."""

    def __init__(
        self,
        url: Optional[str] = None,
        *,
        owner: Optional[str] = None,
        token_file: Optional[str] = None,
        ca_file: Optional[str] = None,
        cert_file: Optional[str] = None,
        key_file: Optional[str] = None,
        timeout: float = 5.0,
    ) -> None:
        self._owner = owner
        self._sidecar = Sidecar.of(url, token_file, timeout, Tls.of(ca_file, cert_file, key_file))
        if self._sidecar.address.tls is None and (ca_file or cert_file or key_file):
            raise ValueError("ca_file, cert_file and key_file: expected a URL https://host:port with them")

    def _open(self, order: Order, listener: Listener) -> SessionLike:
        return Session(self._sidecar, order, listener)

    def lock(
        self,
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
        """A lock for threads. `ttl`: how long it outlives a lost sidecar, in seconds; it is renewed all the time.
        `wait`: how long to wait for it, None: as long as it takes. `on_wait` is told the position in the queue and the
        holder, `on_lost` the reason, each in a thread of its own.

        The key stays taken for `delay` when the lock ends without a release, until `min_hold` from its grant on, and for
        `rest` from its release on; the lock is lost `max_hold` after its grant.

        A `shared` lock shares its key with others that are shared; `limit` is how many may share it when this one is granted,
        this one included, and makes it shared. Who asks for neither has the key alone. All wait in one queue."""
        terms = Terms.of(delay, min_hold, max_hold, rest)
        orders = self._orders(key, ttl, wait, owner, meta, on_wait, terms, Sharing.of(shared, limit))
        return Lock(key, orders, self._open, lambda: self.watch(key), on_lost)

    def alock(
        self,
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
        """The same for coroutines. `on_wait` and `on_lost` are called in the loop; `async with` cancels its body when the lock is lost,
        and raises LockLost, unless `cancel_on_loss` is false."""
        terms = Terms.of(delay, min_hold, max_hold, rest)
        orders = self._orders(key, ttl, wait, owner, meta, on_wait, terms, Sharing.of(shared, limit))
        return AsyncLock(key, orders, self._open, lambda: self.awatch(key), on_lost, cancel_on_loss)

    def bundle(
        self,
        keys: Keys,
        ttl: Seconds = TTL,
        wait: Optional[Seconds] = 0,
        *,
        owner: Optional[str] = None,
        meta: Any = None,
        on_wait: Optional[OnBundleWait] = None,
        on_lost: Optional[OnLost] = None,
    ) -> Bundle:
        """Several locks that are acquired together or not at all, for threads. `keys`: 1 to 16 of them, each a text, or a BundleKey
        that is shared. They are kept, lost and released as one, and `wait` is for all of them. Whatever the order of `keys`,
        two bundles never wait for each other. `on_wait` is told the key that it waits for, the position and the holder."""
        name, orders = orders_of(keys, ttl, wait, owner or self._owner, meta, on_wait)
        return Bundle(name, orders, self._open, on_lost)

    def abundle(
        self,
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
        """The same for coroutines; see `alock` for `cancel_on_loss`."""
        name, orders = orders_of(keys, ttl, wait, owner or self._owner, meta, on_wait)
        return AsyncBundle(name, orders, self._open, on_lost, cancel_on_loss)

    def locked(self, key: Key, *, lock_as: Optional[str] = None, **options: Any) -> Callable[[F], F]:
        """Decorates a function or coroutine function that runs under a lock. `key` may name arguments ("volume/{id}")
        or be a function of them; `lock_as` names the parameter that gets the lock; `options` are those of `lock`."""
        return decorator(lambda: self, key, lock_as, options)

    def watch(self, key: Optional[str] = None, *, prefix: Optional[str] = None) -> Watch:
        """What happens to a lock, or to all whose keys begin with `prefix`: first the state, `synced`, then each change. When
        changes may have been missed, `gap` comes, and the state again; also after the sidecar or Redis was unavailable.
        Iterating raises Refused if it cannot be watched: the sidecar does not allow it, or the key is not valid."""
        return Watch(SidecarFeed(self._sidecar, Course.of(key, prefix)))

    def awatch(self, key: Optional[str] = None, *, prefix: Optional[str] = None) -> AsyncWatch:
        """The same for coroutines."""
        return AsyncWatch(AsyncSidecarFeed(self._sidecar, Course.of(key, prefix)))

    def leader(self, name: str) -> Leader:
        """The leader of the election `name`, as the sidecar sees it now: `--elect` of the sidecar names its elections. Raises
        Unavailable, or Refused with the code `no-such-election`."""
        return _election.leader(self._sidecar, name)

    async def aleader(self, name: str) -> Leader:
        """The same for coroutines."""
        return await in_thread(lambda: self.leader(name))

    def resign(self, name: str, for_: Seconds = 0) -> None:
        """The sidecar's own candidate leads no longer: another one can lead when this returns. It stands again at once, behind
        the others, or after `for_`, for which a standby leaves the queue, too. Stop the work before you resign. Raises
        Unavailable, OutcomeUnknown, or Refused with the code `no-such-election`."""
        _election.resign(self._sidecar, name, for_)

    async def aresign(self, name: str, for_: Seconds = 0) -> None:
        """The same for coroutines."""
        await in_thread(lambda: self.resign(name, for_))

    def _orders(
        self,
        key: str,
        ttl: Seconds,
        wait: Optional[Seconds],
        owner: Optional[str],
        meta: Any,
        on_wait: Optional[OnWait],
        terms: Terms,
        sharing: Sharing,
    ) -> Callable[[], Order]:
        if not isinstance(key, str) or not key:
            raise ValueError("key: expected text that is not empty")
        lease, patience = lease_and_patience(ttl, wait)
        named = owner or self._owner
        return lambda: Order(key, lease, patience, named or default_owner(), meta, on_wait, terms, sharing)


_default: Any = None


def default() -> Any:
    """The client of `lockside.lock`: made from the environment at its first use."""
    global _default
    if _default is None:
        _default = Lockside()
    return _default


def use(client: Any) -> Any:
    """Makes `client` the one that `lockside.lock` uses; None: the one from the environment. The one before."""
    global _default
    before, _default = _default, client
    return before
