"""The terms of a lock: when its key gets free, which may be later than its end, and for how long it can be renewed."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Dict, Optional, Tuple, Union

Seconds = Union[float, timedelta]


@dataclass(frozen=True)
class Terms:
    """In seconds. `max_hold` is infinite where the caller sets no cap."""

    delay: float = 0.0
    min_hold: float = 0.0
    max_hold: float = math.inf
    rest: float = 0.0

    @staticmethod
    def of(delay: Seconds, min_hold: Seconds, max_hold: Optional[Seconds], rest: Seconds) -> "Terms":
        spans = {"delay": seconds("delay", delay), "min_hold": seconds("min_hold", min_hold), "rest": seconds("rest", rest)}
        for name, span in spans.items():
            if not 0 <= span < math.inf:
                raise ValueError(f"{name}: expected seconds from 0")
        cap = math.inf if max_hold is None else seconds("max_hold", max_hold)
        if not cap > 0:
            raise ValueError("max_hold: expected seconds above 0, or None for no cap of its own")
        return Terms(max_hold=cap, **spans)

    def fields(self) -> Dict[str, int]:
        """What an acquire says of them."""
        cap = 0 if self.max_hold == math.inf else self.max_hold
        spans = {"delayMs": self.delay, "minHoldMs": self.min_hold, "maxHoldMs": cap}
        return {name: round(span * 1000) for name, span in spans.items() if span > 0}

    def query(self) -> str:
        """What a release says of them, behind its token."""
        return f"&restMs={round(self.rest * 1000)}" if self.rest > 0 else ""

    @property
    def outlast(self) -> bool:
        """Whether the key may stay taken when the lease has ended."""
        return self.delay > 0 or self.min_hold > 0

    @property
    def leave_a_rest(self) -> bool:
        """Whether the key may stay taken when the lock was released."""
        return self.min_hold > 0 or self.rest > 0

    def cap(self, first: float, ttl: float) -> float:
        """A validity that ends later than this is the last one; `first` is the end of the first. A validity is somewhat shorter
        than what the sidecar promised, and not by the same time each."""
        return first - ttl + self.max_hold - ttl / 4 - 0.1


def lease_and_patience(ttl: Seconds, wait: Optional[Seconds]) -> Tuple[float, float]:
    """The seconds of a lease, and for how long it is waited for."""
    lease = seconds("ttl", ttl)
    if not 0 < lease < math.inf:
        raise ValueError("ttl: expected seconds above 0")
    patience = math.inf if wait is None else seconds("wait", wait)
    if not patience >= 0:
        raise ValueError("wait: expected seconds from 0, or None to wait as long as it takes")
    return lease, patience


def seconds(name: str, span: Seconds) -> float:
    if isinstance(span, timedelta):
        return span.total_seconds()
    if isinstance(span, bool) or not isinstance(span, (int, float)):
        raise TypeError(f"{name}: expected seconds or a timedelta")
    return float(span)
