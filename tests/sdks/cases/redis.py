"""A Redis that does not answer: what the app is told, and that nothing is left behind."""

from cases import case
from stand import Refusal, eventually, refused


@case(alone=True, unlike_dapr=True)
def frozen(stand, sdk):
    """While Redis hangs, a lock ends with an error that no SDK repeats by itself, and is undone when Redis goes on."""
    app = stand.serve().connect(sdk).ready()
    assert app.lock("before") is True
    stand.redis.freeze()
    says = refused(app, lambda: app.lock("hung"), "INTERNAL")
    assert "failed to try acquiring lock" in says or sdk.is_http, says
    says = refused(app, lambda: app.unlock("before"), "INTERNAL", http=(500, "ERR_UNLOCK"))
    assert "failed to release lock" in says or sdk.is_http, says
    stand.redis.thaw()
    stand.stays_free("hung")
    eventually(20, "the same client locks again", lambda: locks(app, "hung"))


def locks(app, resource: str, **more) -> bool:
    try:
        return app.lock(resource, **more)
    except Refusal:
        return False


@case(alone=True, unlike_dapr=True)
def away(stand, sdk):
    """Without a Redis a lock ends with an error; when it is back the same client locks."""
    app = stand.serve().connect(sdk).ready()
    stand.redis.kill()
    for _ in range(2):
        refused(app, lambda: app.lock("away"), "INTERNAL")
    stand.redis = stand.start_redis()
    eventually(30, "the same client locks again", lambda: locks(app, "away"))
    assert app.unlock("away") == 0


@case(alone=True, when=lambda sdk: sdk.deadline, unlike_dapr=True)
def deadline(stand, sdk):
    """A call whose deadline passes, or that is cancelled, while Redis hangs leaves nothing."""
    name, value = sdk.deadline
    app = stand.serve("--redis-timeout", "20s").connect(sdk, **({name: value} if name else {})).ready()
    # The first calls of a process may take longer than their deadline: one that gives up when its answer is on the way has
    # the lock, and does not know it.
    eventually(20, "the first lock", lambda: locks(app, "before", seconds=1))
    stand.redis.freeze()
    asked = app.start_lock("late", withinMs=500)
    given_up = asked.refusal(15)
    assert given_up.code in (1, 4, "local"), given_up
    # Cancelling travels too: had Redis answered before it came, the lock would be granted. What this client asks after it,
    # and Redis is not needed for, is answered after it came.
    refused(app, lambda: app.lock("late", store="other"), "INVALID_ARGUMENT", http=(400, "ERR_LOCK_STORE_NOT_FOUND"))
    stand.redis.thaw()
    stand.stays_free("late")
    assert app.lock("late") is True, "the same channel goes on"


@case(alone=True, unlike_dapr=True)
def killed_caller(stand, sdk):
    """An app that is killed while its call is under way leaves nothing, whenever that is."""
    stand.serve("--redis-timeout", "20s")
    for number, moment in enumerate((0.05, 0.3, 1)):
        app, resource = stand.connect(sdk).ready(), f"late {number}"
        assert app.lock("before", f"web-{number}", seconds=1) in (True, False)
        stand.redis.freeze()
        app.start_lock(resource).done.wait(moment)
        app.driver.kill()
        stand.redis.thaw()
        stand.stays_free(resource)
