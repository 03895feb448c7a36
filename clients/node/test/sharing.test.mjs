// Locks that share their key; what every client must do is in clients/conformance/table/sharing.py.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LockHeld, LockLost, lock, withLock } from "lockside";
import { FakeLockside } from "lockside/testing";

import { state, unique } from "./sidecar.mjs";

const shared = true;

test("readers have a key together, and a writer has it alone", async () => {
  const key = unique();
  await withLock(key, { shared }, async (first) => {
    assert.deepEqual([first.mode, first.limit], ["shared", undefined]);
    await withLock(key, { shared }, async () => {
      const refused = { name: "LockHeld", mode: "shared", sharedBy: 2, state: "held", waiters: 0 };
      await assert.rejects(lock(key), refused);
      await assert.rejects(lock(key), (error) => /is shared by .* and 1 more$/.test(error.message));
      assert.equal((await state(key)).sharedBy, 2);
    });
  });
  await withLock(key, async (writer) => {
    assert.deepEqual([writer.mode, writer.limit], ["exclusive", undefined]);
    await assert.rejects(lock(key, { shared }), { name: "LockHeld", mode: undefined, sharedBy: undefined });
  });
  assert.equal((await state(key)).state, "free");
});

test("a limit makes a lock shared: so many at once", async () => {
  const key = unique();
  let [running, most] = [0, 0];
  const work = async (held) => {
    assert.deepEqual([held.mode, held.limit], ["shared", 3]);
    most = Math.max(most, ++running);
    if (running === 3) await assert.rejects(lock(key, { limit: 3 }), (error) => error.holder.limit === 3);
    await new Promise((resolve) => setTimeout(resolve, 50));
    running--;
  };
  await Promise.all(Array.from({ length: 7 }, () => withLock(key, { limit: 3, waitMs: 30_000 }, work)));
  assert.equal(most, 3);
  assert.equal((await state(key)).state, "free");
});

test("what is no limit is refused before anything is sent", async () => {
  for (const limit of [0, -1, 1.5, 10_001, NaN, "3", null]) await assert.rejects(lock("x", { limit }), RangeError);
});

test("the fake: readers, a writer and a limit", async () => {
  const locks = new FakeLockside();
  locks.hold("x", "encoder-1", { shared });
  const second = await locks.lock("x", { limit: 2 });
  await assert.rejects(locks.lock("x", { limit: 2 }), { mode: "shared", sharedBy: 2, message: /encoder-1 and 1 more/ });
  await assert.rejects(locks.lock("x"), LockHeld);
  await locks.withLock("x", { limit: 3 }, (third) => assert.equal(third.limit, 3));
  assert.deepEqual(locks.holders("x").map(({ limit }) => limit), [undefined, 2]);
  locks.free("x");
  assert.equal(locks.holder("x").token, second.token);
  await second.release();
  await locks.withLock("x", async () => assert.rejects(locks.lock("x", { shared }), { mode: undefined }));
});

test("the fake: first come, first served over both modes", async () => {
  const [locks, order] = [new FakeLockside(), []];
  const first = await locks.lock("x", { shared });
  const work = ["writer", "reader", "reader", "last"].map((name) =>
    locks.withLock("x", { waitMs: Infinity, shared: name === "reader" }, () => order.push([name, locks.holders("x").length])),
  );
  await new Promise(setImmediate);
  assert.equal(locks.waiters("x"), 4);
  await assert.rejects(locks.lock("x", { shared }), { waiters: 4 });
  await first.release();
  await Promise.all(work);
  assert.deepEqual(order, [["writer", 1], ["reader", 2], ["reader", 2], ["last", 1]]);
});

test("the fake: readers get in when a writer gives up", async () => {
  const locks = new FakeLockside();
  locks.hold("x", "reader", { shared });
  const writer = assert.rejects(locks.lock("x", { waitMs: 50 }), { code: "wait-timeout" });
  await new Promise(setImmediate);
  await locks.withLock("x", { shared, waitMs: 20_000 }, () => assert.equal(locks.holders("x").length, 2));
  await writer;
});

test("the fake: all who share a key lose it", async () => {
  const locks = new FakeLockside();
  const both = [await locks.lock("x", { shared }), await locks.lock("x", { shared })];
  locks.lose("x");
  for (const held of both) await assert.rejects(held.release(), LockLost);
  assert.equal(locks.holder("x"), undefined);
});

test("the fake: a watch tells who share a key", async () => {
  const locks = new FakeLockside();
  locks.hold("x", "reader-1", { shared });
  locks.hold("x", "reader-2", { limit: 5 });
  for await (const event of locks.watch("x")) {
    assert.deepEqual([event.state, event.mode, event.sharedBy], ["held", "shared", 2]);
    assert.deepEqual(event.holders.map(({ owner, limit }) => [owner, limit]), [["reader-1", undefined], ["reader-2", 5]]);
    assert.deepEqual(event.holder, event.holders[0]);
    break;
  }
});

test("the fake: one of those who share a key rests, and then all of them", async () => {
  const locks = new FakeLockside();
  locks.hold("x", "reader-1", { shared });
  const second = await locks.lock("x", { shared, restMs: 60_000 });
  const told = locks.watch("x")[Symbol.asyncIterator]();
  for (let events = 0; events < 2; events += 1) await told.next();
  await second.release();
  const { value: released } = await told.next();
  assert.deepEqual([released.type, released.state, released.holder.state], ["released", "resting", "resting"]);
  assert.deepEqual(locks.holders("x").map(({ state }) => state), ["held", "resting"]);
  await assert.rejects(locks.lock("x"), { state: "held", sharedBy: 2 });
  locks.free("x");
  await assert.rejects(locks.lock("x"), { state: "resting", sharedBy: 1 });
  for await (const event of locks.watch("x")) {
    assert.deepEqual([event.state, event.holders.map(({ state }) => state)], ["resting", ["resting"]]);
    break;
  }
  locks.free("x");
  await locks.withLock("x", () => assert.equal(locks.holder("x").state, undefined));
});
