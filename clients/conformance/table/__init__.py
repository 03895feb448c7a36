"""The table: every behaviour that a client must show. A behaviour's name is its promise."""

import importlib

TOPICS = (
    "streams", "watching", "exclusion", "plain", "waiting", "sharing", "bundles", "bundle_loss", "bundle_answers", "loss", "terms",
    "elections", "restart", "outcome", "process", "transport",
)

BEHAVIOURS: list = []


def behaviour(play):
    """Adds a function to the table; its docstring says what must hold."""
    assert play.__doc__, f"{play.__name__} says nothing"
    BEHAVIOURS.append((f"{play.__module__.split('.')[-1]}.{play.__name__}", play))
    return play


def load() -> list:
    for topic in TOPICS:
        importlib.import_module(f"table.{topic}")
    return BEHAVIOURS
