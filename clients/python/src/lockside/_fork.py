"""Forks. A child inherits every descriptor, and while a copy of a hold's socket is open the sidecar keeps the lock. So
a child closes its copies at once, and what it inherited counts as lost there."""

import os
import threading
import weakref
from typing import Any

# Held while a socket is created and entered below, so that no fork falls between the two.
guard = threading.RLock()
_entered: "weakref.WeakSet[Any]" = weakref.WeakSet()


def enter(thing: Any) -> None:
    """Has `thing.in_child()` called in each forked child."""
    with guard:
        _entered.add(thing)


def _before() -> None:
    guard.acquire()


def _in_parent() -> None:
    guard.release()


def _in_child() -> None:
    for thing in list(_entered):
        thing.in_child()
    guard.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
