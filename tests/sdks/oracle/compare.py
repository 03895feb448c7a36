"""Plays the calls on both, and holds what differs against the list."""

import concurrent.futures

from oracle import calls
from oracle.differences import DIFFERENCES
from stand import Daprd, Stand


def compare(stand: Stand, table: dict, token: str | None = None, has_store: bool = True, prepare=None):
    """Plays the table on a daprd and on a lockside, each with a Redis of its own."""
    beside = Stand("daprd")
    try:
        daprd = Daprd(beside, beside.http_port, beside.grpc_port, token, has_store).start()
        stand.closers.append(daprd.kill)
        flags = ("--redis-timeout", "1s") if has_store else ("--dapr-stores", "none")
        stand.serve(*flags, token=token)
        for each in (stand, beside) if prepare else ():
            prepare(each)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            theirs, ours = pool.map(lambda each: answers(each, table), (beside, stand))
    finally:
        beside.close()
    wrong = []
    for name in table:
        said = (theirs[name], ours[name])
        listed = DIFFERENCES.get(name)
        if said[0] == said[1]:
            if listed:
                wrong.append(f"{name}: listed as a difference, and both answer {said[0]}")
        elif not listed:
            wrong.append(f"{name}: daprd answers {said[0]}, lockside {said[1]}, and it is not listed")
        elif said != (listed.daprd, listed.lockside):
            wrong.append(f"{name}: listed otherwise than daprd's {said[0]} and lockside's {said[1]}")
    assert not wrong, "\n    " + "\n    ".join(wrong)


def answers(stand: Stand, table: dict) -> dict:
    return {name: call.play(stand.http_port, stand.grpc_port) for name, call in table.items()}


def plain(stand: Stand):
    """Each call is answered as daprd does, or in the way that is listed with its reason."""
    compare(stand, calls.PLAIN)


def with_token(stand: Stand):
    """The same, where an API token is configured."""
    compare(stand, calls.WITH_TOKEN, token=calls.TOKEN)


def storeless(stand: Stand):
    """The same, where no store is configured."""
    compare(stand, calls.STORELESS, has_store=False)


def frozen(stand: Stand):
    """The same, while Redis hangs."""
    compare(stand, calls.FROZEN, prepare=lambda each: each.redis.freeze())


def all_names() -> set:
    return {*calls.PLAIN, *calls.WITH_TOKEN, *calls.STORELESS, *calls.FROZEN}


assert DIFFERENCES.keys() <= all_names(), f"no such call: {DIFFERENCES.keys() - all_names()}"
