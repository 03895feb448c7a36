// The driver of the conformance suite: lines of JSON on stdin and stdout, see clients/conformance/README.md.

import { spawn } from "node:child_process";
import * as http from "node:http";
import * as readline from "node:readline";

import { Lockside } from "lockside";

const locks = new Map();
const cancels = new Map();
const leaders = new Map();
const watches = new Map();
let client;

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

process.on("warning", (warning) => {
  if (warning.code === "LOCKSIDE_FORGOTTEN") say({ event: "leaked", key: warning.detail });
});

function errorOf(error) {
  if (error?.name === "AbortError") return { type: "cancelled" };
  if (!error?.outcome) return { type: "other", detail: String(error?.stack ?? error) };
  const { type, code, outcome, key, reason, holder, state, waiters, mode, sharedBy, message } = error;
  const known = holder && viewOf(holder);
  return { type, code, outcome, key, reason, holder: known, state, waiters, mode, sharedBy, detail: message };
}

const viewOf = ({ owner, token = null, mode = null, limit = null, state = null }) => ({ owner, token, mode, limit, state });

/** Reads the events of a watch. */
async function tell(name, reader) {
  let error = null;
  try {
    for await (const { type, key = null, token = null, holder, holders = [], ...event } of reader.events) {
      const { waiters = null, state = null, mode = null, sharedBy = null } = event;
      const known = { holder: holder ? viewOf(holder) : null, holders: holders.map(viewOf) };
      say({ event: "watched", watch: name, type, key, token, waiters, state, mode, sharedBy, ...known });
      await reader.goesOn;
    }
  } catch (failure) {
    error = errorOf(failure);
  }
  say({ event: "ended", watch: name, error });
}

const start = (command, stdio) => {
  const child = spawn(command[0], command.slice(1), { stdio });
  child.unref();
  return { pid: child.pid };
};

const operations = {
  configure({ url, idleTimeoutMs }) {
    if (idleTimeoutMs) {
      http.globalAgent.options.timeout = idleTimeoutMs;
      http.Agent.defaultMaxSockets = 1;
      http.globalAgent.keepAliveMsecs = idleTimeoutMs;
    }
    client = new Lockside({ url });
    return {};
  },

  async acquire({ lock: name, key, id, op, ...options }) {
    const cancel = new AbortController();
    cancels.set(name, cancel);
    const onLost = (reason) => say({ event: "lost", lock: name, reason });
    const lock = await client.lock(key, { ...options, signal: cancel.signal, onLost });
    locks.set(name, lock);
    return { token: lock.token, owner: lock.owner, mode: lock.mode, limit: lock.limit ?? null };
  },

  async bundle({ lock: name, keys, id, op, ...options }) {
    const cancel = new AbortController();
    cancels.set(name, cancel);
    const onLost = (reason) => say({ event: "lost", lock: name, reason });
    const bundle = await client.bundle(keys, { ...options, signal: cancel.signal, onLost });
    locks.set(name, bundle);
    const { owner, tokens, modes } = bundle;
    return { owner, tokens: Object.fromEntries(tokens), modes: Object.fromEntries(modes) };
  },

  cancel({ lock }) {
    cancels.get(lock).abort();
    return {};
  },

  check({ lock }) {
    locks.get(lock).check();
    return {};
  },

  async release({ lock }) {
    return { confirmed: await locks.get(lock).release() };
  },

  async leader({ election }) {
    const known = await client.leader(election);
    leaders.set(election, known);
    const fields = ["isLeader", "name", "token", "since", "lastUpdate", "candidates", "isStale"];
    return Object.fromEntries(fields.map((field) => [field, known[field] ?? null]));
  },

  isLeader({ election }) {
    return { isLeader: leaders.get(election).isLeader };
  },

  async resign({ election, forMs }) {
    await client.resign(election, { forMs });
    return {};
  },

  watch({ watch: name, key, prefix }) {
    const events = client.watch(key ?? { prefix });
    const reader = { events, goesOn: Promise.resolve(), resume() {} };
    reader.ended = tell(name, reader);
    watches.set(name, reader);
    return {};
  },

  async unwatch({ watch }) {
    watches.get(watch).events.close();
    await watches.get(watch).ended;
    watches.delete(watch);
    return {};
  },

  stall({ watch }) {
    const reader = watches.get(watch);
    reader.goesOn = new Promise((resolve) => (reader.resume = resolve));
    return {};
  },

  resume({ watch }) {
    watches.get(watch).resume();
    return {};
  },

  async cycle({ key, ttlMs, count }) {
    let refusals = 0;
    for (let number = 0; number < count; number++) {
      await client.withLock(key, { ttlMs }, () => undefined).catch(() => refusals++);
    }
    return { refusals };
  },

  async drop({ lock }) {
    locks.delete(lock);
    // What awaited it may still refer to it in this turn of the loop.
    await new Promise((resolve) => setTimeout(resolve, 50));
    globalThis.gc();
    return {};
  },

  // Node does not fork: a child has what a spawned program has.
  fork({ ms }) {
    return { ...start(["sleep", String(ms / 1000)], "inherit"), childHolds: null };
  },

  exec({ command }) {
    return start(command, ["ignore", "ignore", "ignore"]);
  },

  block({ ms, thenCheck }) {
    const end = performance.now() + ms;
    while (performance.now() < end);
    if (thenCheck) locks.get(thenCheck).check();
    return {};
  },
};

const input = readline.createInterface({ input: process.stdin });

// What is awaited keeps a program going: one that comes to its end while it watches exits.
input.on("close", () => watches.size > 0 && process.exit());

input.on("line", async (line) => {
  const request = JSON.parse(line);
  try {
    say({ id: request.id, ok: true, ...(await operations[request.op](request)) });
  } catch (error) {
    say({ id: request.id, ok: false, error: errorOf(error) });
  }
});
