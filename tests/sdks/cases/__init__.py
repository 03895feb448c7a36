"""The table: one function a case; its docstring is the promise. A case is played through every SDK that can do it."""

import importlib
from dataclasses import dataclass
from typing import Callable

CASES: list = []


@dataclass(frozen=True)
class Case:
    name: str
    play: Callable
    # On a Redis and a sidecar of its own, which it starts itself; else on those that an SDK's cases share.
    alone: bool
    # Whether the SDK can do it.
    when: Callable
    # What Dapr's own sidecar does otherwise: not played there.
    unlike_dapr: bool

    @property
    def promise(self) -> str:
        return " ".join(self.play.__doc__.split())


def case(alone: bool = False, when: Callable = lambda sdk: True, unlike_dapr: bool = False):
    def add(play):
        module = play.__module__.rsplit(".", 1)[-1]
        CASES.append(Case(f"{module}.{play.__name__}", play, alone, when, unlike_dapr))
        return play

    return add


def load() -> list:
    for module in ("locks", "errors", "tokens", "sockets", "restarts", "redis"):
        importlib.import_module(f"cases.{module}")
    return CASES
