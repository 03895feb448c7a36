"""What a lock is."""

from cases import case
from stand import eventually

DONE, UNKNOWN, ANOTHERS = 0, 1, 2


@case()
def contention(stand, app):
    """One of two owners has the lock; the other one gets it when the first has unlocked."""
    assert app.lock("contention", "web-1") is True
    assert app.lock("contention", "web-2") is False
    assert app.unlock("contention", "web-1") == DONE
    assert app.lock("contention", "web-2") is True
    assert app.unlock("contention", "web-2") == DONE


@case()
def two_apps(stand, app):
    """Two processes with the SDK exclude each other."""
    other = stand.connect(app.sdk).ready()
    assert app.lock("apps", "web-1") is True
    assert other.lock("apps", "web-2") is False
    assert other.unlock("apps", "web-2") == ANOTHERS
    # As with Dapr, the owner is a name: whoever knows it may unlock.
    assert other.unlock("apps", "web-1") == DONE
    assert other.lock("apps", "web-2") is True


@case()
def same_owner(stand, app):
    """An owner that has the lock does not get it again, and its lock is not extended."""
    assert app.lock("same", seconds=2) is True
    assert app.lock("same", seconds=60) is False
    eventually(10, "it expires as it was first granted", lambda: stand.is_free("same"))


@case()
def wrong_owner(stand, app):
    """Another owner's unlock is status 2, and the lock stays."""
    assert app.lock("wrong", "web-1") is True
    assert app.unlock("wrong", "web-2") == ANOTHERS
    assert not stand.is_free("wrong")
    assert app.unlock("wrong", "web-1") == DONE


@case()
def unknown(stand, app):
    """An unlock of what is not locked is status 1."""
    assert app.unlock("unknown") == UNKNOWN
    assert app.lock("unknown") is True
    assert app.unlock("unknown") == DONE
    assert app.unlock("unknown") == UNKNOWN


@case()
def expiry(stand, app):
    """A lock ends by itself, not before its time; then another owner gets it, and the first unlocks nothing."""
    assert app.lock("expiry", "web-1", seconds=1) is True
    assert app.lock("expiry", "web-2") is False
    eventually(10, "it expires", lambda: app.lock("expiry", "web-2"))
    assert app.unlock("expiry", "web-1") == ANOTHERS
    assert app.unlock("expiry", "web-2") == DONE


@case()
def any_text(stand, app):
    """Names of any language and signs, and long ones, are locks of their own."""
    for resource in ("Bestände/Köln", "在庫", "a b%2F?#&", "x" * 400, "🔒"):
        assert app.lock(resource, "wéb-1") is True, resource
        assert app.lock(resource, "web-1") is False, resource
        assert app.unlock(resource, "web-1") == ANOTHERS, resource
        assert app.unlock(resource, "wéb-1") == DONE, resource


@case(when=lambda sdk: sdk.guards)
def guard(stand, app):
    """The SDK's block has the lock within it and none after it; a lock that was refused is falsy, and not unlocked."""
    guarded = lambda owner: app.start_lock("guard", owner, op="guard").result()["success"]  # noqa: E731
    assert guarded("web-1") is True
    assert stand.is_free("guard")
    assert app.lock("guard", "web-1") is True
    assert guarded("web-1") is False
    assert not stand.is_free("guard")
    assert app.unlock("guard", "web-1") == DONE
