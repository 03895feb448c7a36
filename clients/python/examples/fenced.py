"""A write that carries the fencing token: the table refuses a holder that was paused past its lease."""

import sqlite3
import sys

from lockside import lock


class Stale(Exception):
    """A newer holder has written already."""


def save(database: sqlite3.Connection, volume: int, text: str, token: int) -> None:
    """One statement: a token that is lower than the highest the row has seen changes nothing."""
    changed = database.execute(
        "INSERT INTO volumes (id, text, token) VALUES (:id, :text, :token)"
        " ON CONFLICT (id) DO UPDATE SET text = :text, token = :token WHERE token <= :token",
        {"id": volume, "text": text, "token": token},
    )
    database.commit()
    if changed.rowcount == 0:
        raise Stale(f"volume {volume} was written with a token above {token}")


def main() -> int:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE volumes (id INTEGER PRIMARY KEY, text TEXT NOT NULL, token INTEGER NOT NULL)")

    with lock("examples/volume/7", ttl=10, wait=60) as first:
        save(database, 7, "first edition", first.token)
    with lock("examples/volume/7", ttl=10, wait=60) as second:
        save(database, 7, "second edition", second.token)
        save(database, 7, "second edition, corrected", second.token)

    # The first holder wakes up, and does not know yet that its time has passed.
    try:
        save(database, 7, "first edition, corrected", first.token)
    except Stale as error:
        print(f"refused: {error}")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
