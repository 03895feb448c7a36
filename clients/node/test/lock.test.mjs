// What is Node's own about locks; what every client must do is in clients/conformance.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

import { LockHeld, LockLost, Lockside, lock, withLock } from "lockside";

import { aborted, eventually, force, free, state, take, unique } from "./sidecar.mjs";

test("withLock: the work has the token, and its end releases", async () => {
  const key = unique();
  const result = await withLock(key, { ttlMs: 10_000, waitMs: 60_000 }, async (held) => {
    assert.equal((await state(key)).holder.token, held.token);
    assert.equal(held.held, true);
    return 42;
  });
  assert.equal(result, 42);
  assert.equal((await state(key)).state, "free");
});

test("withLock: work that ends after the loss rejects with it", async () => {
  const key = unique();
  const work = withLock(key, async (held) => {
    await force(key);
    await aborted(held.signal);
    assert(held.signal.reason instanceof LockLost);
  });
  await assert.rejects(work, (error) => error instanceof LockLost && error.reason === "forced");
});

test("withLock: an error of the work is not replaced by the loss", async () => {
  const key = unique();
  const work = withLock(key, async (held) => {
    await force(key);
    await aborted(held.signal);
    throw new RangeError("of the work");
  });
  await assert.rejects(work, RangeError);
});

test("await using releases at the end of the block", async () => {
  const key = unique();
  {
    await using held = await lock(key);
    assert.equal((await state(key)).holder.token, held.token);
  }
  assert.equal((await state(key)).state, "free");
});

test("await using: a lock that was lost is an error at the end of the block", async () => {
  const key = unique();
  const block = async () => {
    await using held = await lock(key);
    await force(key);
    await aborted(held.signal);
  };
  await assert.rejects(block, LockLost);
});

test("the signal ends work that takes signals", async () => {
  const key = unique();
  const work = withLock(key, async (held) => {
    await force(key);
    await new Promise((_, reject) => held.signal.addEventListener("abort", () => reject(held.signal.reason)));
  });
  await assert.rejects(work, LockLost);
});

test("an aborted wait rejects with the reason of its signal, and leaves the queue", async () => {
  const key = unique();
  await take(key);
  const cancel = new AbortController();
  const waiting = lock(key, { waitMs: Infinity, signal: cancel.signal });
  await eventually(async () => (await state(key)).waiters === 1);
  cancel.abort(new RangeError("enough"));
  await assert.rejects(waiting, RangeError);
  await eventually(async () => (await state(key)).waiters === 0);
});

test("a signal that was aborted before sends nothing", async () => {
  await assert.rejects(lock(unique(), { signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("AbortSignal.timeout bounds a wait without an end", async () => {
  const key = unique();
  await take(key);
  await assert.rejects(lock(key, { waitMs: Infinity, signal: AbortSignal.timeout(300) }), { name: "TimeoutError" });
});

test("onWait is told the position and the holder", async () => {
  const key = unique();
  const token = await take(key, { owner: "importer-7" });
  const seen = [];
  const waiting = withLock(key, { waitMs: 20_000, onWait: (position, holder) => seen.push([position, holder?.owner]) }, () => 1);
  await eventually(() => seen.some(([position, owner]) => position === 1 && owner === "importer-7"));
  await free(key, token);
  assert.equal(await waiting, 1);
});

test("onLost is told the reason once", async () => {
  const [key, reasons] = [unique(), []];
  const held = await lock(key, { onLost: (reason) => reasons.push(reason) });
  await force(key);
  await aborted(held.signal);
  await assert.rejects(held.release(), LockLost);
  assert.deepEqual(reasons, ["forced"]);
});

test("release may be repeated", async () => {
  const held = await lock(unique());
  assert.equal(await held.release(), true);
  assert.equal(await held.release(), true);
  assert.throws(() => held.check(), LockLost);
  assert.equal(held.signal.aborted, false);
});

test("a hundred waiters in one process all get their turn", async () => {
  const [key, turns] = [unique(), []];
  const work = (number) => withLock(key, { waitMs: 60_000 }, () => turns.push(number));
  await Promise.all(Array.from({ length: 100 }, (_, number) => work(number)));
  assert.deepEqual(turns.sort((a, b) => a - b), Array.from({ length: 100 }, (_, number) => number));
});

test("terms: a second run within the minimum is refused as resting", async () => {
  const key = unique();
  const isIn = (state) => (error) => error instanceof LockHeld && error.state === state && error.holder.token > 0;
  await withLock(key, { minHoldMs: 30_000 }, () => assert.rejects(lock(key), isIn("held")));
  await assert.rejects(lock(key), isIn("resting"));
  await assert.rejects(lock(key), /rests/);
});

test("terms: a release ends the delay and begins the rest", async () => {
  const key = unique();
  await withLock(key, { delayMs: 30_000 }, () => undefined);
  assert.equal((await state(key)).state, "free");
  await withLock(key, { delayMs: 30_000, restMs: 20_000 }, () => undefined);
  assert.equal((await state(key)).state, "resting");
});

test("terms: a lock is lost at its maximum", async () => {
  const work = withLock(unique(), { ttlMs: 1000, maxHoldMs: 2500 }, (held) => aborted(held.signal));
  await assert.rejects(work, (error) => error instanceof LockLost && error.reason === "max-hold");
});

test("what is no time is refused before anything is sent", async () => {
  const noTerms = [{ delayMs: -1 }, { minHoldMs: Infinity }, { maxHoldMs: 0 }, { restMs: NaN }];
  for (const options of [{ ttlMs: 0 }, { ttlMs: Infinity }, { ttlMs: NaN }, { waitMs: -1 }, ...noTerms]) {
    await assert.rejects(lock("x", options), RangeError);
  }
  await assert.rejects(lock(""), TypeError);
});

test("files of TLS beside a URL without it are a mistake", () => {
  for (const url of [undefined, "http://127.0.0.1:7420", "unix:/x"]) {
    for (const option of ["caFile", "certFile", "keyFile"]) {
      assert.throws(() => new Lockside({ url, [option]: "/x" }), /https:/, option);
    }
  }
});

test("what is no address is refused, and not repeated", () => {
  for (const url of ["ftp://x", "http://user:secret@x", "unix:relative", "http://x/path", "http://x?a=b", "127.0.0.1:7420"]) {
    assert.throws(() => new Lockside({ url }), (error) => error instanceof TypeError && !error.message.includes("secret"), url);
  }
  for (const url of ["", "http://127.0.0.1:7420", "http://[::1]:7420/", "http://localhost", "unix:/x", "unix:///x"]) {
    new Lockside({ url });
  }
});

test("CommonJS modules have the same classes and the same client", async () => {
  const commonjs = createRequire(import.meta.url)("lockside");
  const key = unique();
  await commonjs.withLock(key, () => assert.rejects(lock(key), commonjs.LockHeld));
  assert.equal(commonjs.LockHeld, LockHeld);
});
