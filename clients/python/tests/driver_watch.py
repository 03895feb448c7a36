"""What reads the events of a watch in the driver."""

import asyncio
import threading

import lockside
from driver_protocol import error_of, holder_of, say


def told(name, event):
    say({
        "event": "watched", "watch": name, "type": event.type, "key": event.key, "token": event.token,
        "holder": event.holder and holder_of(event.holder), "waiters": event.waiters, "state": event.state,
        "mode": event.mode, "sharedBy": event.shared_by, "holders": [holder_of(holder) for holder in event.holders],
    })


def ended(name, error=None):
    say({"event": "ended", "watch": name, "error": error and error_of(error)})


class ThreadReader:
    def __init__(self, name, events):
        self.name, self.events = name, events
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            for event in self.events:
                told(self.name, event)
                self.goes_on.wait()
        except lockside.LocksideError as error:
            ended(self.name, error)
        else:
            ended(self.name)


class LoopReader:
    def __init__(self, name, events):
        self.name, self.events = name, events
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.task = None

    async def run(self):
        try:
            async for event in self.events:
                told(self.name, event)
                await self.goes_on.wait()
        except lockside.LocksideError as error:
            ended(self.name, error)
        else:
            ended(self.name)
