"""The work of the example's apps, as their logs tell it."""

import typing

from cluster.logs import Logs
from patience import eventually

SAID = "working with token "


class Tick(typing.NamedTuple):
    """One sign of work: when (in seconds), by which pod, with which token."""

    when: float
    pod: str
    token: int


class Work:
    """The work of all pods of a Deployment, whose app's container has the same name."""

    def __init__(self, node, namespace, app):
        self.app, self.logs = app, Logs(node, namespace, f"{app}-")

    def ticks(self):
        """All work until now, in the order of time."""
        said = [line for line in self.logs.lines(self.app) if line.text.startswith(SAID)]
        return [Tick(line.when, line.pod, int(line.text.removeprefix(SAID))) for line in said]

    def last(self):
        return eventually("an app works", 30, self.ticks)[-1]

    def above(self, token, seconds):
        """Waits for work with a token above that one, and returns its first sign."""
        what = f"work with a token above {token}"
        return eventually(what, seconds, lambda: [tick for tick in self.ticks() if tick.token > token])[0]

    def since(self, when):
        return [tick for tick in self.ticks() if tick.when >= when]


def longest_gap(ticks):
    """The longest time, in seconds, in which no app worked."""
    return max(after.when - before.when for before, after in zip(ticks, ticks[1:]))
