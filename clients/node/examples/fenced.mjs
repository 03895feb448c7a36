// A write that carries the fencing token: the storage refuses a holder that was paused past its lease.

import assert from "node:assert/strict";

import { withLock } from "lockside";

/** Stands for a table; a database compares in one statement: UPDATE … WHERE token <= :token. */
class Volumes {
  #rows = new Map();

  save(id, text, token) {
    const highest = this.#rows.get(id)?.token ?? 0;
    if (token < highest) throw new Error(`volume ${id} was written with a token above ${token}`);
    this.#rows.set(id, { text, token });
  }
}

const volumes = new Volumes();
const options = { ttlMs: 10_000, waitMs: 60_000 };

const first = await withLock("examples/volume/7", options, (lock) => {
  volumes.save(7, "first edition", lock.token);
  return lock.token;
});
await withLock("examples/volume/7", options, (lock) => {
  volumes.save(7, "second edition", lock.token);
  volumes.save(7, "second edition, corrected", lock.token);
});

// The first holder wakes up, and does not know yet that its time has passed.
assert.throws(() => volumes.save(7, "first edition, corrected", first));
console.log("the late write was refused");
