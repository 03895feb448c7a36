// What is Node's own about watching; what every client must do is in clients/conformance.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";

import { Lockside, Refused, Watch, lock, watch } from "lockside";
import { fake } from "lockside/testing";

import { force, take, unique } from "./sidecar.mjs";

/** The next events of a watch. */
async function next(events, count) {
  const told = [];
  while (told.length < count) told.push((await events.next()).value);
  return told;
}

const typesOf = (events) => events.map(({ type }) => type);

test("a loop that is left closes its watch", async () => {
  const key = unique();
  const events = watch(key);
  assert(events instanceof Watch);
  const seen = [];
  for await (const event of events) {
    seen.push(event);
    if (event.type === "synced") await force(key).then(() => take(key, { owner: "web-3" }));
    if (event.type === "granted") break;
  }
  assert.deepEqual(seen.slice(0, 2), [{ type: "state", key, state: "free", waiters: 0, token: 0 }, { type: "synced" }]);
  assert.equal(seen[2].holder.owner, "web-3");
  assert.equal(seen[2].holder.token, seen[2].token);
  assert.deepEqual(await events.next(), { done: true, value: undefined });
  await force(key);
});

test("a lock is watched by its object", async () => {
  const held = await lock(unique());
  const events = held.watch();
  const [state] = await next(events, 2);
  assert.equal(state.holder.token, held.token);
  await held.release();
  assert.deepEqual(await next(events, 1), [{ type: "released", key: held.key, token: held.token }]);
  await events.return();
});

test("a signal ends a watch with its reason", async () => {
  const cancel = new AbortController();
  const events = watch({ prefix: unique() }, { signal: cancel.signal });
  assert.deepEqual(await next(events, 1), [{ type: "synced" }]);
  const waits = events.next();
  cancel.abort(new Error("enough"));
  await assert.rejects(waits, /enough/);
  await assert.rejects(watch("x", { signal: AbortSignal.abort(new Error("too late")) }).next(), /too late/);
});

test("a watch that is closed ends what waits for it", async () => {
  const events = watch({ prefix: unique() });
  await next(events, 1);
  const waits = [events.next(), events.next()];
  events.close();
  assert.deepEqual(await Promise.all(waits), Array(2).fill({ done: true, value: undefined }));
  const early = watch(unique());
  const never = early.next();
  early.close();
  assert.deepEqual(await never, { done: true, value: undefined });
});

test("events that are asked for at once come in order", async () => {
  const events = watch(unique());
  const told = await Promise.all([events.next(), events.next()]);
  assert.deepEqual(typesOf(told.map(({ value }) => value)), ["state", "synced"]);
  events.close();
});

test("a key that cannot be watched ends it", async () => {
  const events = watch("x".repeat(2000));
  await assert.rejects(events.next(), (error) => error instanceof Refused && error.code === "bad-request" && error.status === 400);
  assert.deepEqual(await events.next(), { done: true, value: undefined });
});

test("what is no key is refused before anything is sent", () => {
  for (const watched of ["", undefined, 7, {}, { prefix: 7 }]) assert.throws(() => watch(watched), TypeError);
});

/** A server that answers one connection after another, and leaves each open; the client for it. */
async function answering(...answers) {
  const sockets = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.once("data", () => socket.write(answers.shift()));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { client: new Lockside({ url: `http://127.0.0.1:${server.address().port}` }), close, sockets };
}

const STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 100\n\n";
const SYNCED = 'event: synced\ndata: {"later": "fields"}\n\n';

test("a gap is told once until something else is, and what a later version tells is skipped", async () => {
  const gap = "event: gap\ndata: {}\n\n";
  const told = `${SYNCED}event: later\ndata: 7\n\n: comment\r\n\r\n${gap}`;
  const { client, close, sockets } = await answering(STREAM + told, STREAM + gap + SYNCED);
  const events = client.watch({ prefix: "" });
  assert.deepEqual(typesOf(await next(events, 2)), ["synced", "gap"]);
  sockets[0].destroy();
  assert.deepEqual(typesOf(await next(events, 1)), ["synced"]);
  events.close();
  await once(sockets[1], "close");
  close();
});

test("Retry-After is waited for", async () => {
  const refusal = "HTTP/1.1 503 Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
  const { client, close } = await answering(refusal, STREAM + SYNCED);
  const [start, events] = [performance.now(), client.watch("x")];
  assert.deepEqual(typesOf(await next(events, 1)), ["synced"]);
  assert(performance.now() - start > 1000);
  events.close();
  close();
});

test("what is no stream of events is refused", async () => {
  const { client, close } = await answering("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi");
  await assert.rejects(client.watch("x").next(), Refused);
  close();
});

test("an event without end, and what is no JSON, break the stream", async () => {
  const endless = `data: ${"x".repeat(1_100_000)}`;
  const { client, close } = await answering(STREAM + SYNCED + endless, `${STREAM}${SYNCED}event: state\ndata: {"\n\n`, STREAM + SYNCED);
  const events = client.watch("x");
  assert.deepEqual(typesOf(await next(events, 5)), ["synced", "gap", "synced", "gap", "synced"]);
  events.close();
  close();
});

test("fake: what happens is told to those who watch", async () => {
  const locks = fake();
  locks.hold("x", "importer-7");
  const [key, every, other] = [watch("x"), watch({ prefix: "" }), watch("y")];
  await assert.rejects(lock("x", { waitMs: 10 }));
  locks.free("x");
  await (await lock("x", { restMs: 1000 })).release();
  locks.free("x");
  await lock("x");
  locks.lose("x");
  locks.gap();
  const changes = ["waiting", "waiting", "released", "granted", "released", "expired", "granted", "forced", "gap"];
  const told = await next(key, 13);
  assert.deepEqual(typesOf(told), ["state", "synced", ...changes, "state", "synced"]);
  assert.deepEqual([told[0].state, told[0].holder.owner, told[0].token], ["held", "importer-7", told[4].token]);
  assert.deepEqual([told[2].waiters, told[3].waiters, told[6].state], [1, 0, "resting"]);
  assert.deepEqual(told[11], { type: "state", key: "x", state: "free", token: 0, waiters: 0 });
  assert.deepEqual(typesOf(await next(every, 12)), ["state", "synced", ...changes, "synced"]);
  assert.deepEqual(typesOf(await next(other, 5)), ["state", "synced", "gap", "state", "synced"]);
  const waits = key.next();
  for (const events of [key, every, other]) events.close();
  assert.deepEqual(await waits, { done: true, value: undefined });
  locks.restore();
});
