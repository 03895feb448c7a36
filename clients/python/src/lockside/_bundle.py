"""`with bundle([...])`: several locks that are acquired together or not at all, and kept, lost and released as one."""

from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Optional, Tuple, Union

from ._address import default_owner
from ._aio import ForCoroutines
from ._attempt import Leases, Order, Request, lease_of
from ._lock import Base, ForThreads
from ._sharing import Sharing
from ._terms import Seconds, lease_and_patience
from .errors import Holder

OnBundleWait = Callable[[str, Optional[int], Optional[Holder]], None]


@dataclass(frozen=True)
class BundleKey:
    """A key of a bundle. `shared` and `limit` are those of a lock, for this key alone."""

    key: str
    shared: bool = False
    limit: Optional[int] = None

    @property
    def sharing(self) -> Sharing:
        return Sharing.of(self.shared, self.limit)


Keys = Iterable[Union[str, BundleKey]]


@dataclass(frozen=True)
class BundleOrder(Order):
    """Asks for all keys. Its `key` is all of them, for messages."""

    keys: Tuple[BundleKey, ...] = ()

    @property
    def path(self) -> str:
        return "/v1/bundles"

    def fields(self) -> Dict[str, Any]:
        return {"keys": [{"key": each.key, **each.sharing.fields()} for each in self.keys]}

    def leases(self, event: Dict[str, Any], since: float) -> Leases:
        # The least validity is that of all: they end together.
        return tuple(lease_of(view["key"], view, event["validForMs"], since) for view in event["leases"])

    def release(self, leases: Leases, rests: bool) -> Request:
        content = {"leases": [{"key": lease.key, "token": lease.token} for lease in leases]}
        return "POST", f"{self.path}/release", content

    def names(self) -> Tuple[str, ...]:
        return tuple(each.key for each in self.keys)

    def shares(self, key: str) -> bool:
        return any(each.sharing.is_shared for each in self.keys if each.key == key)

    def waits(self, event: Dict[str, Any]) -> None:
        if self.on_wait:
            holder = event.get("holder")
            self.on_wait(event.get("key"), event.get("position"), Holder.of(holder) if holder else None)


def orders_of(
    keys: Keys, ttl: Seconds, wait: Optional[Seconds], owner: Optional[str], meta: Any, on_wait: Optional[OnBundleWait]
) -> Tuple[str, Callable[[], BundleOrder]]:
    """The name of a bundle, for messages, and what makes its orders."""
    if isinstance(keys, str):
        raise TypeError("keys: expected several, such as a list of texts")
    named = tuple(BundleKey(each) if isinstance(each, str) else each for each in keys)
    for each in named:
        if not isinstance(each, BundleKey) or not isinstance(each.key, str) or not each.key:
            raise ValueError("keys: expected texts that are not empty, or BundleKeys")
        # Raises where it is no limit.
        each.sharing
    lease, patience = lease_and_patience(ttl, wait)
    name = ", ".join(each.key for each in named)
    return name, lambda: BundleOrder(name, lease, patience, owner or default_owner(), meta, on_wait, keys=named)


class SeveralKeys(Base):
    """What a bundle has of its keys, in the order in which they were asked for."""

    _kind = "bundle"

    @property
    def keys(self) -> Tuple[str, ...]:
        return tuple(self.tokens)

    @property
    def tokens(self) -> Dict[str, int]:
        """The fencing token of each key: pass each to the resource that its key protects."""
        return {lease.key: lease.token for lease in self._held().leases}

    @property
    def modes(self) -> Dict[str, str]:
        """"exclusive" or "shared", of each key: storage does not keep the token of a shared one."""
        return {lease.key: lease.mode for lease in self._held().leases}

    @property
    def lost_key(self) -> Optional[str]:
        """The key that was lost, and the others with it. None where all were lost together, or none was."""
        return None if self._session is None else self._session.lost_key


class Bundle(ForThreads, SeveralKeys):
    """Several locks that lockside keeps renewed from acquire to release. The first one that is lost loses the bundle."""


class AsyncBundle(ForCoroutines, SeveralKeys):
    """Several locks that lockside keeps renewed from acquire to release. `async with` cancels its body when the first of them
    is lost: that loses the bundle."""
