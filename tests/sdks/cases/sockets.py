"""A unix socket in place of a port."""

from cases import case


@case(when=lambda sdk: sdk.unix, unlike_dapr=True)
def unix(stand, app):
    """Over a unix socket an app locks beside one that uses the port."""
    local = stand.connect(app.sdk, unix=True).ready()
    assert local.lock("unix", "web-1") is True
    assert app.lock("unix", "web-2") is False
    assert local.unlock("unix", "web-1") == 0
    assert app.unlock("unix", "web-1") == 1
