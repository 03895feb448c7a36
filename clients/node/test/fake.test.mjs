// The fake does what the sidecar does, as far as an application can tell.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Lock, LockHeld, LockLost, OutcomeUnknown, Unavailable, lock, use, withLock } from "lockside";
import { FakeLockside, fake } from "lockside/testing";

test("locks are exclusive and tokens rise", async () => {
  const locks = new FakeLockside();
  const first = await locks.lock("x");
  assert(first instanceof Lock);
  await assert.rejects(locks.lock("x"), (error) => error instanceof LockHeld && error.holder.token === first.token);
  await first.release();
  assert.equal(locks.holder("x"), undefined);
  const second = await locks.lock("x");
  assert(second.token > first.token);
  assert.deepEqual(locks.acquired, ["x", "x"]);
});

test("waiters are served in order, each in its time", async () => {
  const [locks, turns] = [new FakeLockside(), []];
  locks.hold("x", "importer-7");
  await assert.rejects(locks.lock("x", { waitMs: 20 }), { code: "wait-timeout" });
  const waiting = [1, 2, 3].map((number) => locks.withLock("x", { waitMs: Infinity }, () => turns.push(number)));
  await new Promise(setImmediate);
  assert.equal(locks.waiters("x"), 3);
  locks.free("x");
  await Promise.all(waiting);
  assert.deepEqual(turns, [1, 2, 3]);
});

test("a lock with a minimum or a rest rests until it is free", async () => {
  for (const terms of [{ minHoldMs: 540_000 }, { restMs: 60_000 }]) {
    const locks = new FakeLockside();
    await locks.withLock("x", terms, () => assert.rejects(locks.lock("x"), { state: "held" }));
    await assert.rejects(locks.lock("x", { waitMs: 20 }), { code: "wait-timeout", state: "resting" });
    const waiting = locks.withLock("x", { waitMs: Infinity, delayMs: 5000 }, () => 42);
    locks.free("x");
    assert.equal(await waiting, 42);
    assert.equal(locks.holder("x"), undefined);
  }
});

test("an aborted wait leaves the queue", async () => {
  const locks = new FakeLockside();
  locks.hold("x");
  await assert.rejects(locks.lock("x", { waitMs: Infinity, signal: AbortSignal.timeout(20) }), { name: "TimeoutError" });
  assert.equal(locks.waiters("x"), 0);
});

test("a loss is told as the sidecar tells it", async () => {
  const [locks, reasons] = [new FakeLockside(), []];
  const work = locks.withLock("x", { onLost: (reason) => reasons.push(reason) }, (held) => {
    locks.lose("x", "forced");
    assert(held.signal.reason instanceof LockLost);
    assert.throws(() => held.check(), LockLost);
  });
  await assert.rejects(work, LockLost);
  assert.deepEqual(reasons, ["forced"]);
  await locks.withLock("x", () => undefined);
});

test("failures are told once", async () => {
  const locks = new FakeLockside();
  locks.fail();
  locks.fail(new OutcomeUnknown("no answer", { key: "x" }));
  await assert.rejects(locks.lock("x"), Unavailable);
  await assert.rejects(locks.lock("x"), OutcomeUnknown);
  await locks.lock("x");
});

test("lock and withLock use it until it is restored", async () => {
  const locks = fake();
  await withLock("x", async () => assert.rejects(lock("x"), LockHeld));
  assert.deepEqual(locks.acquired, ["x"]);
  locks.restore();
  assert.equal(use(undefined), undefined);
});
