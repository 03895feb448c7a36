"""redis-py's own blocking lock, as its documentation shows it: many threads want one key and let go of it at once.

Arguments: port, contenders, seconds, and `handoffs` (each wants it again at once) or `turns` (all wait, then it goes
through all hands once, again and again; only that is timed). Prints one line of JSON: grants; handoffs, which are
grants to another than had it before; seconds.
"""

import json
import random
import sys
import threading
import time

import redis

port, contenders, seconds, shape = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
everybody = threading.Barrier(contenders + 1)
grants = handoffs = 0
holder = None
end = 0.0
over = False


def turn(lock, number):
    global grants, handoffs, holder
    lock.acquire()  # blocking, asks again every 0.1 s
    grants += 1
    handoffs += holder != number
    holder = number
    lock.release()


def connected():
    client = redis.Redis(port=port)
    client.ping()
    return client.lock("bench-handoff", timeout=30)


def handoffs_of(number):
    lock = connected()
    everybody.wait()
    everybody.wait()
    while time.monotonic() < end:
        turn(lock, number)


def turns_of(number):
    lock = connected()
    everybody.wait()
    while True:
        everybody.wait()
        if over:
            return
        time.sleep(random.random() * 0.1)  # as callers come: not all in the same moment
        turn(lock, number)
        everybody.wait()


threads = [
    threading.Thread(target=handoffs_of if shape == "handoffs" else turns_of, args=(number,), daemon=True)
    for number in range(contenders)
]
for thread in threads:
    thread.start()
everybody.wait()  # all are connected
timed = 0.0
end = time.monotonic() + seconds
if shape == "handoffs":
    everybody.wait()
    begin = time.monotonic()
    for thread in threads:
        thread.join()
    timed = time.monotonic() - begin
else:
    first = connected()
    while True:
        first.acquire()
        over = timed > 0 and time.monotonic() >= end
        everybody.wait()
        if over:
            break
        time.sleep(0.3)  # everybody has found it held by now
        holder = None
        begin = time.monotonic()
        first.release()
        everybody.wait()
        timed += time.monotonic() - begin
print(json.dumps({"grants": grants, "handoffs": handoffs, "seconds": timed}))
