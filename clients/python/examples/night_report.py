"""One of many replicas writes the nightly report. Start it twice at once: one writes, the other one skips."""

import sys

from lockside import LockHeld, LockLost, Unavailable, lock


def main() -> int:
    try:
        with lock("examples/night-report", ttl=10, meta={"job": "night-report"}) as held:
            for page in range(5):
                held.check()
                print(f"page {page}, fencing token {held.token}")
    except LockHeld as error:
        print(f"skipped: {error}")
    except LockLost as error:
        print(f"stopped: {error}")
        return 1
    except Unavailable as error:
        print(f"no lock today: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
