// What every client that a generator makes for TypeScript must be able to do, at a real sidecar.

import assert from "node:assert/strict";
import { test } from "node:test";

/** The answer was an error; `body` is what the made client read of it. */
export class Refused extends Error {
  constructor(readonly status: number, readonly body: ErrorBody) {
    super(`${status}: ${JSON.stringify(body)}`);
  }
}

/** The errors of the four APIs. */
export interface ErrorBody {
  code?: string | number;
  outcome?: string;
  type?: string;
  detail?: string;
  holder?: Holder;
  mode?: string;
  sharedBy?: number;
  key?: string;
  lost?: string[];
  data?: string;
  context?: string;
  errorCode?: string;
}

export interface Holder {
  owner: string | null;
  kind?: string;
  token?: number;
  meta?: unknown;
}

export interface Lease {
  key: string;
  token: number;
  owner: string;
  ttlMs: number;
  validForMs: number;
  validUntil: string | Date;
  mode: Mode;
  limit?: number;
}

export type Mode = "exclusive" | "shared";

export interface Bundle {
  leases: Lease[];
  validForMs: number;
}

export interface BundleBody {
  keys: { key: string; mode?: Mode; limit?: number }[];
  ttlMs?: number;
  owner?: string;
}

export interface NamedLease {
  key: string;
  token: number;
}

export interface Dto {
  key: string;
  token: number;
  lockedBySystem: boolean;
  validUntil: string | Date;
}

/** Every field may be left out. */
export interface AcquireBody {
  ttlMs?: number;
  waitMs?: number;
  owner?: string;
  reentrant?: boolean;
  meta?: unknown;
  mode?: Mode;
  limit?: number;
}

export interface State {
  state: string;
  waiters: number;
  holder?: Holder;
  mode?: string;
  sharedBy?: number;
  holders?: Holder[];
}

export interface Page {
  locks: { key: string; token: number; owner: string }[];
  next: string | null;
}

export interface AdminAnswer {
  data: string;
  code: number;
}

/** A client of each generator has these; the types of what it makes must fit. */
export interface Client {
  acquire(key: string, body?: AcquireBody): Promise<Lease>;
  renew(key: string, token: number, ttlMs: number): Promise<Lease>;
  release(key: string, token: number): Promise<void>;
  forceRelease(key: string): Promise<void>;
  bundle(body: BundleBody): Promise<Bundle>;
  renewBundle(leases: NamedLease[], ttlMs: number): Promise<Bundle>;
  releaseBundle(leases: NamedLease[]): Promise<void>;
  show(key: string): Promise<State>;
  fence(key: string, token: number): Promise<{ token: number }>;
  page(prefix: string, limit: number, cursor?: string): Promise<Page>;
  /** The lines of a hold. */
  hold(key: string, ttlMs: number): AsyncIterable<HoldEvent>;
  adminLock(jwt: string, route: string, id: string, token?: number): Promise<AdminAnswer & { headers: Headers }>;
  adminRemove(jwt: string, route: string, id: string): Promise<AdminAnswer>;
  createLease(key: string, leasePeriod: number): Promise<Dto>;
  renewLease(token: number, leasePeriod: number): Promise<Dto>;
  releaseLease(token: number): Promise<{ context: string }>;
  forceReleaseLease(token: number): Promise<{ context: string }>;
  leases(prefix: string): Promise<Dto[]>;
  tryLock(resourceId: string, lockOwner: string, expiryInSeconds: number): Promise<boolean>;
  unlock(resourceId: string, lockOwner: string): Promise<number>;
  stores(): Promise<string[]>;
}

/** `event` tells which one it is, and so which other fields it has. */
export type HoldEvent =
  | { event: "acquired"; owner: string; token: number; validForMs: number }
  | { event: "renewed" | "ping"; validForMs: number }
  | { event: "lost"; reason: string }
  | { event: "waiting" | "refused" | "released" | "draining" };

export function setting(name: string): string {
  const value = process.env[name];
  assert(value, `${name} is set`);
  return value;
}

/** The lines of a response, each a JSON document. */
export async function* lines(body: ReadableStream<Uint8Array> | null): AsyncGenerator<unknown> {
  assert(body, "a stream");
  const decoder = new TextDecoder();
  let text = "";
  for await (const part of body) {
    text += decoder.decode(part, { stream: true });
    const whole = text.split("\n");
    text = whole.pop() ?? "";
    for (const line of whole) {
      yield JSON.parse(line);
    }
  }
}

export function playUses(name: string, client: Client): void {
  let number = 0;
  /** Of this test alone, and with what must be escaped in a path. */
  const unique = (what: string) => `${name}/${what} ${(number += 1)}`;

  async function refused(status: number, call: Promise<unknown>): Promise<ErrorBody> {
    const error = await call.then(() => undefined, (error: unknown) => error);
    assert(error instanceof Refused, `an error of lockside, not ${error}`);
    assert.equal(error.status, status, error.message);
    return error.body;
  }

  test("a lock is acquired, renewed and released", async () => {
    const key = unique("order");
    const lease = await client.acquire(key, { ttlMs: 20_000, owner: "web-3", meta: { host: "web-3" } });
    assert.deepEqual([lease.key, lease.owner, lease.ttlMs], [key, "web-3", 20_000]);
    assert(lease.validForMs > 0 && lease.validForMs <= 20_000);
    assert(new Date(lease.validUntil).getTime() > 0);

    const renewed = await client.renew(key, lease.token, 40_000);
    assert.equal(renewed.token, lease.token);
    assert(renewed.validForMs > 20_000);
    assert.equal((await client.fence(key, lease.token)).token, lease.token);

    await client.release(key, lease.token);
    assert.equal((await client.show(key)).state, "free");
    assert.equal((await refused(410, client.release(key, lease.token))).code, "lost");
    assert.equal((await refused(410, client.renew(key, lease.token, 1000))).code, "lost");
    assert.equal((await refused(409, client.fence(key, lease.token))).code, "lost");
  });

  test("what is left out is left to the sidecar", async () => {
    for (const body of [{}, undefined]) {
      const lease = await client.acquire(unique("defaults"), body);
      assert.equal(lease.ttlMs, 30_000);
      await client.release(lease.key, lease.token);
    }
  });

  test("a lock that is held is refused with its holder", async () => {
    const key = unique("held");
    const lease = await client.acquire(key, { owner: "web-3", meta: { host: ["web", 3] } });
    const problem = await refused(409, client.acquire(key, { owner: "web-4" }));
    assert.deepEqual([problem.code, problem.outcome, problem.type], ["held", "not-applied", "/errors#held"]);
    const { owner, kind, token, meta } = problem.holder ?? { owner: null };
    assert.deepEqual([owner, kind, token, meta], ["web-3", "system", lease.token, { host: ["web", 3] }]);

    const timeout = await refused(409, client.acquire(key, { owner: "web-4", waitMs: 50 }));
    assert.deepEqual([timeout.code, timeout.holder?.owner], ["wait-timeout", "web-3"]);

    const state = await client.show(key);
    assert.deepEqual([state.state, state.holder?.token, state.waiters], ["held", lease.token, 0]);
    await client.forceRelease(key);
    assert.equal((await client.show(key)).state, "free");
  });

  test("a lock is shared by as many as its limit", async () => {
    const key = unique("shared");
    const first = await client.acquire(key, { mode: "shared", owner: "web-3" });
    const second = await client.acquire(key, { limit: 2, owner: "web-4" });
    assert.deepEqual([first.mode, second.mode, second.limit], ["shared", "shared", 2]);
    const problem = await refused(409, client.acquire(key, { limit: 2, owner: "web-5" }));
    assert.deepEqual([problem.code, problem.mode, problem.sharedBy], ["held", "shared", 2]);
    const state = await client.show(key);
    assert.deepEqual([state.state, state.mode, state.sharedBy], ["held", "shared", 2]);
    assert.deepEqual(state.holders?.map((holder) => holder.token), [first.token, second.token]);
    await client.release(key, first.token);
    assert.equal((await client.show(key)).sharedBy, 1);
    await client.forceRelease(key);
    assert.equal((await client.show(key)).state, "free");
  });

  test("several keys are acquired, renewed and released as one", async () => {
    const [one, two, free] = [unique("one"), unique("two"), unique("free")];
    const keys: BundleBody["keys"] = [{ key: one }, { key: two, mode: "shared", limit: 2 }];
    const bundle = await client.bundle({ keys, ttlMs: 20_000, owner: "a" });
    assert.deepEqual(bundle.leases.map((lease) => [lease.key, lease.mode]), [[one, "exclusive"], [two, "shared"]]);
    assert(bundle.validForMs > 0 && bundle.validForMs <= 20_000);
    const leases = bundle.leases.map(({ key, token }) => ({ key, token }));
    assert((await client.renewBundle(leases, 40_000)).validForMs > 20_000);

    const problem = await refused(409, client.bundle({ keys: [{ key: free }, { key: one }], owner: "b" }));
    assert.deepEqual([problem.code, problem.key, problem.holder?.token], ["held", one, leases[0]?.token]);
    assert.equal((await client.show(free)).state, "free");

    await client.release(one, leases[0]!.token);
    const lost = await refused(410, client.renewBundle(leases, 1000));
    assert.deepEqual([lost.code, lost.lost], ["lost", [one]]);
    await client.releaseBundle(leases.slice(1));
    assert.equal((await client.show(two)).state, "free");
  });

  test("an invalid request says what is wrong", async () => {
    const lease = await client.acquire(unique("reentrant"));
    const problem = await refused(400, client.acquire(lease.key, { reentrant: true }));
    assert.deepEqual([problem.code, problem.type], ["bad-request", "/errors#bad-request"]);
    assert.match(problem.detail ?? "", /reentrant/);
  });

  test("locks are listed page by page", async () => {
    const prefix = unique("list");
    const tokens = [];
    for (const part of ["a", "b", "c"]) {
      tokens.push((await client.acquire(`${prefix}/${part}`, { owner: "web-3" })).token);
    }
    const seen = [];
    let cursor: string | undefined;
    // A page may end before its limit.
    for (let pages = 0; pages < 100; pages += 1) {
      const page = await client.page(prefix, 2, cursor);
      assert(page.locks.length <= 2);
      seen.push(...page.locks.map((lock) => lock.token));
      cursor = page.next ?? undefined;
      if (cursor === undefined) break;
    }
    assert.deepEqual(seen, tokens);
  });

  test("a hold is renewed, and tells its loss", async () => {
    const key = unique("hold");
    const seen: string[] = [];
    for await (const line of client.hold(key, 600)) {
      seen.push(line.event === "lost" ? `lost: ${line.reason}` : line.event);
      if (line.event === "acquired") {
        assert.equal(line.owner, "web-3");
      } else if (line.event === "renewed" || line.event === "ping") {
        assert(line.validForMs > 0);
        await client.forceRelease(key);
      }
    }
    assert.deepEqual([seen[0], seen.at(-1)], ["acquired", "lost: forced"], `${seen}`);
  });

  test("the admin API locks for a user", async () => {
    const [alice, bob, route, id] = [setting("ALICE"), setting("BOB"), "volume", unique("admin")];
    const created = await client.adminLock(alice, route, id);
    assert.deepEqual([created.data, created.code, created.headers.get("lockside-lock")], ["Success", 200, "created"]);
    const token = created.headers.get("lockside-token");
    const renewed = await client.adminLock(alice, route, id, Number(token));
    assert.deepEqual([renewed.headers.get("lockside-lock"), renewed.headers.get("lockside-token")], ["renewed", token]);

    assert.equal((await refused(409, client.adminLock(bob, route, id))).data, "Conflict");
    assert.equal((await refused(401, client.adminLock("no JWT", route, id))).data, "Unauthorized");
    assert.equal((await client.adminRemove(alice, route, id)).data, "Success");
    assert.equal((await client.adminLock(bob, route, id)).headers.get("lockside-lock"), "created");
  });

  test("the leases API creates, renews, lists and releases", async () => {
    const key = unique("lease");
    const lease = await client.createLease(key, 60);
    assert.deepEqual([lease.key, lease.lockedBySystem], [key, true]);
    const renewed = await client.renewLease(lease.token, 600);
    assert.equal(renewed.token, lease.token);
    assert(new Date(renewed.validUntil) > new Date(lease.validUntil));
    assert.deepEqual((await client.leases(key)).map((it) => it.token), [lease.token]);

    assert.equal((await refused(409, client.createLease(key, 60))).context, "held");
    assert.equal((await client.releaseLease(lease.token)).context, "released");
    assert.equal((await refused(404, client.renewLease(lease.token, 60))).context, "not-found");
    const again = await client.createLease(key, 60);
    assert.equal((await client.forceReleaseLease(again.token)).context, "removed");
    assert.deepEqual(await client.leases(key), []);
  });

  test("the Dapr API locks and unlocks", async () => {
    const resource = unique("dapr");
    assert.deepEqual(await client.stores(), ["lockstore"]);
    assert.equal(await client.tryLock(resource, "web-3", 60), true);
    assert.equal(await client.tryLock(resource, "web-4", 60), false);
    assert.deepEqual([await client.unlock(resource, "web-4"), await client.unlock(resource, "web-3")], [2, 0]);
    assert.equal(await client.unlock(resource, "web-3"), 1);
    // Characters enough for the schema, and too many bytes.
    const error = await refused(400, client.tryLock(resource, "é".repeat(200), 60));
    assert.equal(error.errorCode, "ERR_MALFORMED_REQUEST");
  });
}
