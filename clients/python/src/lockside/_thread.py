"""A coroutine that waits for a thread."""

import asyncio
import threading
from typing import Any, Callable, Optional, TypeVar

T = TypeVar("T")


def in_thread(call: Callable[[], T]) -> "asyncio.Future[T]":
    """Runs what blocks for a moment in a thread of its own: the loop's own threads may all be taken by what waits for a lock."""
    loop = asyncio.get_running_loop()
    done: "asyncio.Future[T]" = loop.create_future()

    def settle(result: Any, error: Optional[BaseException]) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        try:
            outcome: Any = (call(), None)
        except BaseException as error:
            outcome = (None, error)
        try:
            loop.call_soon_threadsafe(settle, *outcome)
        except RuntimeError:
            # The loop is closed.
            pass

    threading.Thread(target=run, name="lockside request", daemon=True).start()
    return done
