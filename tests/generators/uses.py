"""What every client that a generator makes for Python must be able to do, at a real sidecar."""

import datetime
import itertools

import callers


class Refused(Exception):
    """The answer was an error; `body` is what the made client read of it."""

    def __init__(self, status: int, body):
        super().__init__(f"{int(status)}: {body}")
        self.status, self.body = int(status), body


class Uses:
    """`client` is made by one of the generators."""

    client: object
    numbers = itertools.count(1)

    def key(self, name: str) -> str:
        """Of this test alone, and with what must be escaped in a path."""
        return f"{type(self).__name__}/{name} {next(self.numbers)}"

    def refused(self, status: int, call, *args, **kwargs):
        with self.assertRaises(Refused) as raised:
            call(*args, **kwargs)
        self.assertEqual(raised.exception.status, status, raised.exception)
        return raised.exception.body

    def test_a_lock_is_acquired_renewed_and_released(self):
        key = self.key("order")
        lease = self.client.acquire(key, ttl_ms=20_000, owner="web-3", meta={"host": "web-3"})
        self.assertEqual((lease.key, lease.owner, lease.ttl_ms), (key, "web-3", 20_000))
        self.assertTrue(0 < lease.valid_for_ms <= 20_000)
        self.assertIsInstance(lease.valid_until, datetime.datetime)

        renewed = self.client.renew(key, lease.token, 40_000)
        self.assertEqual(renewed.token, lease.token)
        self.assertGreater(renewed.valid_for_ms, 20_000)
        self.assertEqual(self.client.fence(key, lease.token).token, lease.token)

        self.client.release(key, lease.token)
        self.assertEqual(self.client.show(key).state, "free")
        for call in (lambda: self.client.release(key, lease.token), lambda: self.client.renew(key, lease.token, 1000)):
            self.assertEqual(self.refused(410, call).code, "lost")
        self.assertEqual(self.refused(409, self.client.fence, key, lease.token).code, "lost")

    def test_what_is_left_out_is_left_to_the_sidecar(self):
        for acquire in (self.client.acquire, self.client.acquire_without_body):
            lease = acquire(self.key("defaults"))
            self.assertEqual(lease.ttl_ms, 30_000)
            self.client.release(lease.key, lease.token)

    def test_a_lock_that_is_held_is_refused_with_its_holder(self):
        key = self.key("held")
        lease = self.client.acquire(key, owner="web-3", meta={"host": ["web", 3]})
        problem = self.refused(409, self.client.acquire, key, owner="web-4")
        self.assertEqual((problem.code, problem.outcome, problem.status), ("held", "not-applied", 409))
        self.assertEqual(self.client.type_of(problem), "/errors#held")
        holder = problem.holder
        self.assertEqual((holder.owner, holder.kind, holder.token), ("web-3", "system", lease.token))
        self.assertEqual(holder.meta, {"host": ["web", 3]})

        timeout = self.refused(409, self.client.acquire, key, owner="web-4", wait_ms=50)
        self.assertEqual((timeout.code, timeout.holder.owner), ("wait-timeout", "web-3"))

        state = self.client.show(key)
        self.assertEqual((state.state, state.holder.token, state.waiters), ("held", lease.token, 0))
        self.client.force_release(key)
        self.assertEqual(self.client.show(key).state, "free")

    def test_a_lock_is_shared_by_as_many_as_its_limit(self):
        key = self.key("shared")
        first = self.client.acquire(key, mode="shared", owner="web-3")
        second = self.client.acquire(key, limit=2, owner="web-4")
        self.assertEqual([first.mode, second.mode, second.limit], ["shared", "shared", 2])
        problem = self.refused(409, self.client.acquire, key, limit=2, owner="web-5")
        self.assertEqual((problem.code, problem.mode, problem.shared_by), ("held", "shared", 2))
        state = self.client.show(key)
        self.assertEqual((state.state, state.mode, state.shared_by), ("held", "shared", 2))
        self.assertEqual([holder.token for holder in state.holders], [first.token, second.token])
        self.client.release(key, first.token)
        self.assertEqual(self.client.show(key).shared_by, 1)
        self.client.force_release(key)
        self.assertEqual(self.client.show(key).state, "free")

    def test_several_keys_are_acquired_renewed_and_released_as_one(self):
        one, two = self.key("one"), self.key("two")
        bundle = self.client.bundle([{"key": one}, {"key": two, "mode": "shared", "limit": 2}], ttl_ms=20_000, owner="a")
        self.assertEqual([(lease.key, lease.mode) for lease in bundle.leases], [(one, "exclusive"), (two, "shared")])
        self.assertTrue(0 < bundle.valid_for_ms <= 20_000)
        leases = [(lease.key, lease.token) for lease in bundle.leases]
        self.assertGreater(self.client.renew_bundle(leases, 40_000).valid_for_ms, 20_000)

        keys = [{"key": self.key("free")}, {"key": one}]
        problem = self.refused(409, self.client.bundle, keys, owner="b")
        self.assertEqual((problem.code, problem.key, problem.holder.token), ("held", one, leases[0][1]))
        self.assertEqual(self.client.show(keys[0]["key"]).state, "free")

        self.client.release(*leases[0])
        problem = self.refused(410, self.client.renew_bundle, leases, 1000)
        self.assertEqual((problem.code, problem.lost), ("lost", [one]))
        self.client.release_bundle(leases[1:])
        self.assertEqual(self.client.show(two).state, "free")

    def test_an_invalid_request_says_what_is_wrong(self):
        lease = self.client.acquire(self.key("reentrant"))
        problem = self.refused(400, self.client.acquire, lease.key, reentrant=True)
        self.assertEqual((problem.code, self.client.type_of(problem)), ("bad-request", "/errors#bad-request"))
        self.assertIn("reentrant", problem.detail)

    def test_locks_are_listed_page_by_page(self):
        prefix = self.key("list")
        leases = [self.client.acquire(f"{prefix}/{name}", owner="web-3") for name in "abc"]
        seen, cursor = [], None
        # A page may end before its limit.
        for _ in range(100):
            locks, cursor = self.client.page(prefix, 2, cursor)
            self.assertLessEqual(len(locks), 2)
            seen += locks
            if cursor is None:
                break
        self.assertEqual([lock.token for lock in seen], [lease.token for lease in leases])
        self.assertEqual([(lock.owner, lock.kind, lock.meta) for lock in seen], [("web-3", "system", None)] * 3)

    def test_the_admin_api_locks_for_a_user(self):
        alice, bob, target = callers.jwt("alice"), callers.jwt("bob"), ("volume", self.key("admin"))
        answer, headers = self.client.admin_lock(alice, *target)
        self.assertEqual((answer.data, answer.code, headers["lockside-lock"]), ("Success", 200, "created"))
        token = int(headers["lockside-token"])
        _, headers = self.client.admin_lock(alice, *target, token=token)
        self.assertEqual((headers["lockside-lock"], int(headers["lockside-token"])), ("renewed", token))

        self.assertEqual(self.refused(409, self.client.admin_lock, bob, *target).data, "Conflict")
        self.assertEqual(self.refused(401, self.client.admin_lock, "no JWT", *target).data, "Unauthorized")
        self.assertEqual(self.client.admin_remove(alice, *target).data, "Success")
        self.assertEqual(self.client.admin_lock(bob, *target)[1]["lockside-lock"], "created")

    def test_the_admin_and_leases_apis_are_below_api_too(self):
        below = type(self.client)(f"{self.client.url}/api", callers.API_TOKEN)
        self.addCleanup(below.close)
        lease = below.create_lease(self.key("below"), 60)
        self.assertEqual([it.token for it in self.client.leases(lease.key)], [lease.token])
        answer, _ = below.admin_lock(callers.jwt("alice"), "volume", self.key("below"))
        self.assertEqual(answer.data, "Success")

    def test_the_leases_api_creates_renews_lists_and_releases(self):
        key = self.key("lease")
        lease = self.client.create_lease(key, 60)
        self.assertEqual((lease.key, lease.locked_by_system), (key, True))
        renewed = self.client.renew_lease(lease.token, 600)
        self.assertEqual(renewed.token, lease.token)
        self.assertGreater(renewed.valid_until, lease.valid_until)
        self.assertEqual([it.token for it in self.client.leases(key)], [lease.token])

        self.assertEqual(self.refused(409, self.client.create_lease, key, 60).context, "held")
        self.assertEqual(self.client.release_lease(lease.token).context, "released")
        self.assertEqual(self.refused(404, self.client.renew_lease, lease.token, 60).context, "not-found")
        again = self.client.create_lease(key, 60)
        self.assertEqual(self.client.force_release_lease(again.token).context, "removed")
        self.assertEqual(self.client.leases(key), [])

    def test_the_dapr_api_locks_and_unlocks(self):
        resource = self.key("dapr")
        self.assertEqual(self.client.stores(), ["lockstore"])
        self.assertIs(self.client.try_lock(resource, "web-3", 60), True)
        self.assertIs(self.client.try_lock(resource, "web-4", 60), False)
        self.assertEqual(self.client.unlock(resource, "web-4"), 2)
        self.assertEqual(self.client.unlock(resource, "web-3"), 0)
        self.assertEqual(self.client.unlock(resource, "web-3"), 1)
        # Characters enough for the schema, and too many bytes.
        error = self.refused(400, self.client.try_lock, resource, "é" * 200, 60)
        self.assertEqual(error.error_code, "ERR_MALFORMED_REQUEST")
