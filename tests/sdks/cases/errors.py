"""What is refused, and how the SDK has it."""

from cases import case
from stand import refused, refused_by_itself


@case()
def empty_resource(stand, app):
    """A resource without a name is refused: by the SDK itself, or with Dapr's code and words."""
    calls = [lambda: app.lock(""), lambda: app.unlock("")]
    for call in calls:
        if app.sdk.validates:
            refused_by_itself(call)
        else:
            refused(app, call, "INVALID_ARGUMENT", "ResourceId is empty in lock store lockstore")


@case()
def empty_owner(stand, app):
    """An owner without a name is refused: by the SDK itself, or with Dapr's code and words; nothing is left."""
    for call in (lambda: app.lock("no owner", ""), lambda: app.unlock("no owner", "")):
        if app.sdk.validates:
            refused_by_itself(call)
        else:
            refused(app, call, "INVALID_ARGUMENT", "LockOwner is empty in lock store lockstore")
    assert stand.is_free("no owner")


@case()
def no_expiry(stand, app):
    """An expiry of 0 or below is refused: by the SDK itself, or with Dapr's code and words; nothing is left."""
    for seconds in (0, -1, -(2**31)):
        if seconds < app.sdk.least_expiry:
            refused_by_itself(lambda: app.lock("no expiry", seconds=seconds))
        else:
            says = "ExpiryInSeconds is not positive in lock store lockstore"
            refused(app, lambda: app.lock("no expiry", seconds=seconds), "INVALID_ARGUMENT", says)
    assert stand.is_free("no expiry")


@case()
def unknown_store(stand, app):
    """A store that is not configured is Dapr's error."""
    for call in (lambda: app.lock("r", store="other"), lambda: app.unlock("r", store="other")):
        refused(app, call, "INVALID_ARGUMENT", "lock store other not found", http=(400, "ERR_LOCK_STORE_NOT_FOUND"))


@case(unlike_dapr=True)
def longest_expiry(stand, app):
    """An expiry above --max-ttl, as an int32 has it, is refused and not cut."""
    refused(app, lambda: app.lock("long", seconds=2**31 - 1), "INVALID_ARGUMENT")
    assert stand.is_free("long")


@case(alone=True, unlike_dapr=True)
def no_store(stand, sdk):
    """Without any store each call is Dapr's error for that."""
    app = stand.serve("--dapr-stores", "none").connect(sdk).ready()
    for call in (lambda: app.lock("r"), lambda: app.unlock("r")):
        refused(app, call, "FAILED_PRECONDITION", "lock store is not configured")
