"""Other people's locks in the Redis at a unix socket, as an application uses them. Arguments: library, socket.

Reads lines, answers each with one: `try KEY TTL_MS` and `wait KEY TTL_MS` with yes or no, `release KEY` with released or
the name of the error.
"""

import logging
import sys

import redis
from pottery import Redlock

logging.disable(logging.CRITICAL)
library, socket = sys.argv[1:]
client = redis.Redis(unix_socket_path=socket)
locks = {}


def lock(key, ttl_ms):
    if library == "redis-py":
        return client.lock(key, timeout=ttl_ms / 1000)
    # Its Redis key is `redlock:` and the name.
    return Redlock(key=key.removeprefix("redlock:"), masters={client}, auto_release_time=ttl_ms / 1000)


def acquire(lock, wait):
    if not wait:
        return lock.acquire(blocking=False)
    return lock.acquire(blocking_timeout=20) if library == "redis-py" else lock.acquire(timeout=20)


for line in sys.stdin:
    action, key, *rest = line.rstrip("\n").split(" ")
    if action == "release":
        try:
            locks[key].release()
            print("released", flush=True)
        except Exception as error:
            print(type(error).__name__, flush=True)
    else:
        candidate = lock(key, int(rest[0]))
        has = acquire(candidate, action == "wait")
        if has:
            locks[key] = candidate
        print("yes" if has else "no", flush=True)
