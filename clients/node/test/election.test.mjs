// What is Node's own about leader election; what every client must do is in clients/conformance. The sidecar stands for the
// elections `jobs` and `reports`; the tests that resign do so in `reports`.

import assert from "node:assert/strict";
import { hostname } from "node:os";
import { test } from "node:test";

import { Leader, Lockside, OutcomeUnknown, Refused, Unavailable, leader, resign } from "lockside";
import { FakeLockside, fake } from "lockside/testing";

import { eventually, state } from "./sidecar.mjs";

/** The answer that says that the sidecar leads. */
async function leading(election) {
  let known;
  await eventually(async () => (known = await leader(election)).isLeader);
  return known;
}

test("the leader is named with its token", async () => {
  const known = await leading("jobs");
  assert(known instanceof Leader);
  assert.equal(known.name, hostname());
  assert.equal(known.token, (await state("election:jobs")).holder.token);
  assert.equal(known.candidates, 1);
  assert.equal(known.isStale, false);
  for (const moment of [known.since, known.lastUpdate]) assert(Date.now() - Date.parse(moment) < 600_000, moment);
});

test("what was answered ends by the clock", async () => {
  const known = await leading("jobs");
  await eventually(() => !known.isLeader, 1500);
  assert.equal((await leader("jobs")).isLeader, true);
});

test("it does not lead for as long as it resigned", async () => {
  await leading("reports");
  await resign("reports", { forMs: 30_000 });
  const known = await leader("reports");
  assert.deepEqual([known.isLeader, known.name, known.token, known.since], [false, undefined, undefined, undefined]);
  assert.equal((await state("election:reports")).state, "free");
  await resign("reports", { forMs: 0.5 });
  await leading("reports");
});

test("an unknown election is refused", async () => {
  for (const call of [leader, resign]) {
    await assert.rejects(call("other"), (error) => {
      return error instanceof Refused && error.code === "no-such-election" && error.status === 404 && error.key === "other";
    });
  }
});

test("a sidecar that is not there is unavailable", async () => {
  const client = new Lockside({ url: "unix:/nothing/listens/here" });
  await assert.rejects(client.leader("jobs"), Unavailable);
  await assert.rejects(client.resign("jobs"), (error) => error instanceof Unavailable && !(error instanceof OutcomeUnknown));
});

test("what is no name or no time is refused before anything is sent", async () => {
  const client = new Lockside({ url: "unix:/nothing/listens/here" });
  await assert.rejects(client.leader(""), TypeError);
  for (const forMs of [-1, NaN, Infinity]) await assert.rejects(client.resign("jobs", { forMs }), RangeError);
});

test("fake: a pod leads until another one does", async () => {
  const locks = fake();
  locks.lead("jobs");
  const first = await leader("jobs");
  assert.equal(first.isLeader, true);
  locks.follow("jobs", "pod-8");
  assert.equal(first.isLeader, false);
  const second = await leader("jobs");
  assert.deepEqual([second.name, second.isLeader, second.candidates], ["pod-8", false, 2]);
  assert(second.token > first.token);
  locks.restore();
});

test("fake: a pod that resigns does not lead", async () => {
  const locks = new FakeLockside();
  locks.lead("jobs");
  const first = await locks.leader("jobs");
  await locks.resign("jobs", { forMs: 30_000 });
  assert.equal(first.isLeader, false);
  assert.equal((await locks.leader("jobs")).name, undefined);
  locks.follow("jobs");
  await locks.resign("jobs");
  assert.equal((await locks.leader("jobs")).name, "another pod");
  locks.follow("jobs", null);
  assert.equal((await locks.leader("jobs")).name, undefined);
});

test("fake: an unknown election is refused", async () => {
  await assert.rejects(new FakeLockside().leader("jobs"), { code: "no-such-election" });
  await assert.rejects(new FakeLockside().resign("jobs"), { code: "no-such-election" });
});
