"""A sidecar that ends, and is started again at the same address."""

from cases import case
from stand import Refusal, eventually


def goes_on(stand, sdk, by):
    app = stand.serve().connect(sdk).ready()
    assert app.lock("kept", "web-1") is True
    stand.restart(by)

    def unlocked() -> bool:
        try:
            return app.unlock("kept", "web-1") == 0
        except Refusal:
            return False

    eventually(30, "the same client unlocks what it locked before", unlocked)
    for _ in range(3):
        assert app.lock("after", "web-1") is True
        assert app.lock("after", "web-2") is False
        assert app.unlock("after", "web-1") == 0


@case(alone=True)
def killed(stand, sdk):
    """After the sidecar was killed and started again the same client works, and its locks are what they were."""
    goes_on(stand, sdk, lambda server: server.kill())


@case(alone=True)
def drained(stand, sdk):
    """After the sidecar drained and was started again the same client works, and its locks are what they were."""
    goes_on(stand, sdk, lambda server: server.drain())


@case(alone=True)
def not_there(stand, sdk):
    """While no sidecar is there a call ends with an error, and the client works once it is there again."""
    app = stand.serve().connect(sdk).ready()
    assert app.lock("r", "web-1") is True
    stand.server.kill()
    try:
        answer = app.unlock("r", "web-1")
    except Refusal:
        pass
    else:
        raise AssertionError(f"nothing is there, and it said {answer}")
    stand.server.start()

    def held() -> bool:
        try:
            return app.lock("r", "web-2") is False
        except Refusal:
            return False

    eventually(30, "the same client asks again", held)
    assert app.unlock("r", "web-1") == 0
