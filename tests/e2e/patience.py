"""Waiting for what must come true, with a deadline."""

import time


def eventually(what, seconds, condition):
    """Returns the first true value of `condition()`; fails when none comes within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s; last seen: {value!r}")
        time.sleep(0.05)
