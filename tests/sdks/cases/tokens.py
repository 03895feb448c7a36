"""DAPR_API_TOKEN, of the app and of the sidecar."""

from cases import case
from stand import Refusal, refused

TOKEN = "the API token of the tests, 32+ bytes"


@case(alone=True)
def right(stand, sdk):
    """With the sidecar's token in its environment an app locks and unlocks."""
    app = stand.serve(token=TOKEN).connect(sdk, DAPR_API_TOKEN=TOKEN).ready()
    assert app.lock("r", "web-1") is True
    assert app.lock("r", "web-2") is False
    assert app.unlock("r", "web-1") == 0


def turned_away(stand, sdk, env: dict):
    app = stand.serve(token=TOKEN).connect(sdk, **env)
    if sdk.name.startswith("node"):
        # It takes every error of its first call for a sidecar that has not started yet, and asks for half a minute.
        asked = app.driver.send("connect")
        assert not asked.done.wait(3), asked.content
    else:
        app.ready()
        for call in (lambda: app.lock("r"), lambda: app.unlock("r")):
            refused(app, call, "UNAUTHENTICATED")
    assert stand.is_free("r")


@case(alone=True)
def wrong(stand, sdk):
    """With another token nothing is done, and the code is UNAUTHENTICATED."""
    turned_away(stand, sdk, {"DAPR_API_TOKEN": TOKEN[:-1] + "!"})


@case(alone=True)
def missing(stand, sdk):
    """Without a token nothing is done at a sidecar that has one, and the code is UNAUTHENTICATED."""
    turned_away(stand, sdk, {})


@case()
def ignored(stand, app):
    """A token in the app's environment is ignored by a sidecar that has none."""
    shown = stand.connect(app.sdk, DAPR_API_TOKEN="of another sidecar").ready()
    try:
        assert shown.lock("token", "web-1") is True
        assert shown.unlock("token", "web-1") == 0
    except Refusal as refusal:
        raise AssertionError(f"a token that is not asked for: {refusal}") from refusal
