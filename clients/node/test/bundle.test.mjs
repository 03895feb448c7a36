// Bundles; what every client must do is in clients/conformance/table/bundles.py and bundle_loss.py.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LockHeld, LockLost, bundle, withBundle } from "lockside";
import { FakeLockside } from "lockside/testing";

import { aborted, eventually, force, free, state, take, unique } from "./sidecar.mjs";

const pair = () => [unique(), unique()];
const isFree = async (key) => (await state(key)).state === "free";

test("the work has all keys, and its end frees them", async () => {
  const [[y, x], other] = [pair(), unique()];
  const result = await withBundle([y, { key: x, limit: 2 }], { ttlMs: 5000 }, async (held) => {
    assert.deepEqual([held.keys, held.held, held.lostKey], [[y, x], true, undefined]);
    assert.deepEqual([...held.modes], [[y, "exclusive"], [x, "shared"]]);
    for (const [key, token] of held.tokens) assert.equal((await state(key)).holder.token, token);
    const refused = { name: "LockHeld", key: x, sharedBy: 1, message: `\`${x}\` is shared by ${held.owner}` };
    await assert.rejects(bundle([x, other]), refused);
    return 7;
  });
  assert.equal(result, 7);
  assert.deepEqual([await isFree(x), await isFree(y), await isFree(other)], [true, true, true]);
});

test("it is told which key it waits for, and a signal ends the wait", async () => {
  const [x, y] = pair();
  const token = await take(y);
  const told = [];
  const stop = new AbortController();
  const onWait = (key, _, holder) => holder && told.push([key, holder.owner]);
  const waiting = bundle([y, x], { waitMs: 20_000, onWait, signal: stop.signal });
  await eventually(() => told.length > 0);
  assert.deepEqual(told[0], [y, "rival"]);
  stop.abort();
  await assert.rejects(waiting, { name: "AbortError" });
  await eventually(() => isFree(x));
  await free(y, token);
});

test("a loss of one key aborts the signal, rejects, and frees the others", async () => {
  const [x, y] = pair();
  const reasons = [];
  let held;
  const work = withBundle([x, y], { ttlMs: 20_000, onLost: (reason) => reasons.push(reason) }, async (made) => {
    held = made;
    await force(y);
    await aborted(made.signal);
    assert.equal(made.signal.reason.key, y);
  });
  await assert.rejects(work, { name: "LockLost", key: y, reason: "forced" });
  assert.deepEqual([reasons, held.reason, held.lostKey, held.held], [["forced"], "forced", y, false]);
  await eventually(() => isFree(x));
});

test("what names no keys is refused before anything is sent", async () => {
  for (const keys of ["x", [""], [7], [{ shared: true }]]) await assert.rejects(bundle(keys), TypeError);
  for (const options of [{ ttlMs: 0 }, { waitMs: -1 }]) await assert.rejects(bundle(["x"], options), RangeError);
  await assert.rejects(bundle([{ key: "x", limit: 0 }]), RangeError);
});

test("the fake: all or none", async () => {
  const locks = new FakeLockside();
  locks.hold("y", "importer-7");
  await assert.rejects(locks.bundle(["z", "y", "x"]), { name: "LockHeld", key: "y", message: /importer-7/ });
  assert.deepEqual(locks.acquired, ["y"]);
  locks.free("y");
  await locks.withBundle(["z", { key: "y", shared: true }, "x"], async (held) => {
    assert.deepEqual([...held.tokens], held.keys.map((key) => [key, locks.holder(key).token]));
    assert.deepEqual([held.keys, held.modes.get("y")], [["z", "y", "x"], "shared"]);
    await assert.rejects(locks.lock("x"), LockHeld);
    await locks.withLock("y", { shared: true }, () => undefined);
  });
  assert.deepEqual(locks.acquired.slice(1, 4), ["x", "y", "z"]);
  assert.deepEqual(["x", "y", "z"].map((key) => locks.holder(key)), [undefined, undefined, undefined]);
});

test("the fake: it waits for one key after another", async () => {
  const locks = new FakeLockside();
  locks.hold("x");
  locks.hold("y");
  await assert.rejects(locks.bundle(["w", "x"], { waitMs: 30 }), { code: "wait-timeout", key: "x" });
  assert.equal(locks.holder("w"), undefined);
  const waiting = locks.bundle(["y", "x"], { waitMs: Infinity });
  locks.free("x");
  await eventually(() => locks.waiters("y") === 1);
  locks.free("y");
  assert.deepEqual((await waiting).keys, ["y", "x"]);
});

test("the fake: one that is lost loses all, also while another is waited for", async () => {
  const locks = new FakeLockside();
  const held = await locks.bundle(["x", "y"]);
  locks.lose("y");
  assert.deepEqual([held.held, held.reason, held.lostKey, locks.holder("x")], [false, "forced", "y", undefined]);
  await assert.rejects(held.release(), LockLost);
  locks.hold("y");
  const waiting = locks.bundle(["x", "y"], { waitMs: 20_000 });
  await eventually(() => locks.waiters("y") === 1);
  locks.lose("x");
  await assert.rejects(waiting, { name: "LockHeld", key: "x" });
  assert.deepEqual([locks.waiters("y"), locks.holder("x")], [0, undefined]);
});

test("the fake: a key twice, no key, and a failure", async () => {
  const locks = new FakeLockside();
  await assert.rejects(locks.bundle(["x", "y", "x"], { waitMs: 50 }), { name: "Refused", message: /`x` is there twice/ });
  await assert.rejects(locks.bundle([]), { name: "Refused", message: /expected 1 to 16/ });
  for (const waitMs of [0, 50]) {
    locks.fail();
    await assert.rejects(locks.bundle(["x"], { waitMs }), { name: "Unavailable" });
  }
  await locks.withBundle(["x"], async () => assert.rejects(locks.lock("x"), LockHeld));
});
