"""What docs/fencing.md promises of each storage, with the tokens of a real lockside and on the real servers."""

import itertools
import random
import sys
import threading
import unittest
from pathlib import Path

import storages

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients/conformance"))

from world import World  # noqa: E402

world = World([])


def tearDownModule():
    world.close()


class Holders:
    """Two holders of one volume: the first slept through its lease, the second got the lock after it."""

    numbers = itertools.count(1)

    def __init__(self, storage):
        self.volume = next(self.numbers)
        storage.add(self.volume)
        self.key = f"volume/{self.volume}"
        self.first = world.sidecar().take(self.key, ttl_ms=1000, owner="first")

    def second(self) -> int:
        """Waits until the first lease has ended."""
        status, lease = world.sidecar().acquire(self.key, wait_ms=20_000, owner="second")
        assert status == 201, lease
        return lease["token"]


class Fenced:
    """One storage; its servers are started once."""

    storage: type

    @classmethod
    def setUpClass(cls):
        cls.kept = cls.storage()
        cls.addClassCleanup(cls.kept.close)

    def test_a_holder_that_slept_through_its_lease_is_refused_and_the_newer_one_is_not(self):
        kept, holders = self.kept, Holders(self.kept)
        self.assertTrue(kept.write(holders.volume, "first edition", holders.first))
        second = holders.second()
        self.assertGreater(second, holders.first)
        self.assertTrue(kept.write(holders.volume, "second edition", second))
        self.assertFalse(kept.write(holders.volume, "first edition, corrected", holders.first), "written late")
        self.assertEqual(kept.text(holders.volume), "second edition")
        self.assertTrue(kept.write(holders.volume, "second edition, corrected", second))
        self.assertEqual(kept.text(holders.volume), "second edition, corrected")

    def test_one_holder_writes_again_also_the_same_text(self):
        kept, holders = self.kept, Holders(self.kept)
        for text in ("draft", "draft", "edition", "edition"):
            self.assertTrue(kept.write(holders.volume, text, holders.first), text)
            self.assertEqual(kept.text(holders.volume), text)

    def test_whatever_the_order_in_which_writes_arrive_the_newest_holders_stays(self):
        kept, holders = self.kept, Holders(self.kept)
        tokens = [holders.first, holders.second()]
        tokens += [tokens[1] + more for more in range(1, 7)]
        accepted, failed = {token: [] for token in tokens}, []
        start = threading.Barrier(len(tokens))

        def write(token: int):
            try:
                start.wait()
                for number in range(10):
                    accepted[token].append(kept.write(holders.volume, f"{token}: {number}", token))
            except BaseException as error:
                failed.append(error)

        random.shuffle(tokens)
        threads = [threading.Thread(target=write, args=[token]) for token in tokens]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        newest = max(tokens)
        self.assertEqual(accepted[newest], [True] * 10)
        self.assertEqual(kept.text(holders.volume), f"{newest}: 9")
        for answers in accepted.values():
            self.assertEqual(answers, sorted(answers, reverse=True), "once refused, always refused")


class Edited:
    """A storage that has a check for what is read, changed and written back, too."""

    def test_no_late_write_lands_between_the_read_and_the_write_of_the_newer_holder(self):
        kept, holders = self.kept, Holders(self.kept)
        self.assertTrue(kept.edit(holders.volume, lambda _: "1", holders.first))
        second, late, threads = holders.second(), [], []

        def add_one(text: str) -> str:
            # The late write is begun while the newer holder is between its read and its write.
            if not threads:
                threads.append(threading.Thread(target=write_late))
                threads[0].start()
                threads[0].join(1)
            return text + " 2"

        def write_late():
            late.append(kept.edit(holders.volume, lambda text: text + " late", holders.first))

        self.assertTrue(kept.edit(holders.volume, add_one, second))
        threads[0].join()
        self.assertEqual(late, [not self.raises_first])
        # What was accepted is not overwritten.
        expected = "1 2" if self.raises_first else "1 late 2"
        self.assertEqual(kept.text(holders.volume), expected)
        self.assertFalse(kept.edit(holders.volume, lambda text: text + " late", holders.first))
        self.assertTrue(kept.edit(holders.volume, lambda text: text + " 3", second))
        self.assertEqual(kept.text(holders.volume), expected + " 3")

    # Whether a late write is refused from the read of the newer holder on, or only from its write on.
    raises_first = True


class Shared:
    """A storage that has a check for those who share the lock, too."""

    def test_those_who_share_do_not_shut_one_another_out_and_are_refused_once_a_later_writer_has_begun(self):
        kept, sidecar, volume = self.kept, world.sidecar(), next(Holders.numbers)
        kept.add(volume)
        key = f"volume/{volume}"
        writer = sidecar.take(key, owner="writer")
        self.assertTrue(kept.edit(volume, lambda _: "first edition", writer))
        sidecar.release(key, writer)

        one, two = (sidecar.take(key, owner=owner, mode="shared") for owner in ("one", "two"))
        self.assertTrue(writer < one < two)
        for reader in (one, two, one):
            self.assertEqual(kept.read_shared(volume, reader), "first edition")
        for text, reader in (("by two", two), ("by one", one), ("by one", one)):
            self.assertTrue(kept.write_shared(volume, text, reader), text)
        self.assertIsNone(kept.read_shared(volume, writer - 1))
        sidecar.force(key)

        newer = sidecar.take(key, owner="writer")
        # Until the writer has begun there, the storage cannot know of it.
        self.assertEqual(kept.read_shared(volume, one), "by one")
        self.assertTrue(kept.edit(volume, lambda text: f"{text}, edited", newer))
        for late in (one, two):
            self.assertIsNone(kept.read_shared(volume, late))
            self.assertFalse(kept.write_shared(volume, "late", late))
        self.assertFalse(kept.edit(volume, lambda _: "late", writer))
        self.assertEqual(kept.text(volume), "by one, edited")
        sidecar.release(key, newer)
        three = sidecar.take(key, owner="three", mode="shared")
        self.assertEqual(kept.read_shared(volume, three), "by one, edited")
        self.assertTrue(kept.write_shared(volume, "by three", three))
        self.assertTrue(kept.edit(volume, lambda text: text, newer), "the token of one who shares is not kept")


    def test_what_one_who_shares_reads_is_older_than_a_writer_that_begins_meanwhile(self):
        kept, sidecar, volume = self.kept, world.sidecar(), next(Holders.numbers)
        kept.add(volume)
        key = f"volume/{volume}"
        reader = sidecar.take(key, owner="reader", mode="shared")
        sidecar.force(key)
        writer = sidecar.take(key, owner="writer")
        writing = threading.Thread(target=kept.edit, args=[volume, lambda _: "edition", writer])

        def write():
            writing.start()
            # Where it has to wait for the reader, no longer.
            writing.join(1)

        self.assertEqual(kept.read_shared(volume, reader, write), "")
        writing.join()
        self.assertEqual(kept.text(volume), "edition")
        self.assertIsNone(kept.read_shared(volume, reader))


class PostgreSQL(Fenced, Edited, Shared, unittest.TestCase):
    storage = storages.PostgreSQL


class MariaDB(Fenced, Edited, Shared, unittest.TestCase):
    storage = storages.MariaDB


class SQLite(Fenced, Edited, Shared, unittest.TestCase):
    storage = storages.Sqlite


class Redis(Fenced, Edited, unittest.TestCase):
    storage = storages.Redis


class Redis8(Fenced, Edited, unittest.TestCase):
    storage = storages.Redis8


class Valkey(Fenced, Edited, unittest.TestCase):
    storage = storages.Valkey

    def test_ifeq_refuses_a_newer_token_as_it_refuses_an_older_one(self):
        client = self.kept.client
        client.set("fence", 7)
        for token in (6, 8):
            self.assertIsNone(client.execute_command("SET", "fence", token, "IFEQ", token))
        self.assertTrue(client.execute_command("SET", "fence", 7, "IFEQ", 7))


class File(Fenced, Edited, unittest.TestCase):
    storage = storages.File


class HttpService(Fenced, unittest.TestCase):
    storage = storages.HttpService

    def test_a_write_without_a_token_is_refused(self):
        holders = Holders(self.kept)
        self.assertTrue(self.kept.write(holders.volume, "edition", holders.first))
        for headers in ({}, {"Fencing-Token": "none"}, {"Fencing-Token": "-1"}):
            self.assertEqual(self.kept.put(holders.volume, "overwritten", headers), 428, headers)
        self.assertEqual(self.kept.text(holders.volume), "edition")


class ObjectStore(Fenced, Edited, unittest.TestCase):
    storage = storages.ObjectStore
    raises_first = False

    def test_a_late_write_of_what_is_there_already_is_refused_too(self):
        kept, holders = self.kept, Holders(self.kept)
        kept.write(holders.volume, "edition", holders.first)
        second, is_first = holders.second(), [True]

        def paused(old: str) -> str:
            # While the first holder is paused here, the second one writes the very same text.
            if is_first.pop() if is_first else False:
                self.assertTrue(kept.write(holders.volume, "edition", second))
            return old + " of the first"

        self.assertFalse(kept.edit(holders.volume, paused, holders.first))
        self.assertEqual(kept.text(holders.volume), "edition")


if __name__ == "__main__":
    unittest.main()
