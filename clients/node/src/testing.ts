// A lockside in memory, for the tests of an application: the same locks, without a sidecar.
//
//     import { fake } from "lockside/testing";
//
//     const locks = fake(); // lock and withLock use it until locks.restore()
//     locks.hold("volume/7", "importer-7");

import type { Order } from "./attempt.js";
import { Lockside, use, type ClientOptions } from "./client.js";
import type { Course } from "./course.js";
import { Leader, type LeaderView } from "./election.js";
import { LocksideError, Refused, Unavailable, type Holder } from "./errors.js";
import type { StateEvent } from "./event.js";
import { FakeBundleSession } from "./fake-bundle.js";
import { FakeSession, refusal, stateOf } from "./fake-session.js";
import type { SessionLike } from "./session-like.js";
import { MOST, sharingOf, type Sharing, type SharingOptions } from "./sharing.js";
import { termsOf } from "./terms.js";
import type { Feed } from "./watch.js";
import { Watchers } from "./watchers.js";

/**
 * Takes orders as `Lockside` does. Keys are granted first come, first served, shared or not; tokens rise; nothing expires. A lock
 * with a minimum or a rest leaves its key resting when it is released, until `free`.
 */
export class FakeLockside extends Lockside {
  /** The keys that were acquired, in the order of their grants. */
  readonly acquired: string[] = [];
  /** @internal Who has a key, oldest grant first. */
  readonly sessions = new Map<string, FakeSession[]>();
  /** @internal */
  readonly queues = new Map<string, FakeSession[]>();
  /** @internal */
  readonly watchers = new Watchers(() => [...this.sessions.keys()].sort().map((key) => this.#state(key)));
  readonly #failures: LocksideError[] = [];
  readonly #leaders = new Map<string, Leader>();
  #token = 0;

  constructor(options: Pick<ClientOptions, "owner"> = {}) {
    super({ ...options, url: "http://127.0.0.1:7420" });
  }

  /** Another owner holds the key, until `free`. */
  hold(key: string, owner = "another owner", options: SharingOptions = {}): void {
    const order = { key, ttlMs: 30_000, waitMs: 0, owner, terms: termsOf({}), sharing: sharingOf(options) };
    if (!this.mayHave(order)) throw refusal(this, key, "held");
    this.grant(new FakeSession(this, order));
  }

  /** The other owner releases it, or its rest ends; the first in the queue gets it. Of those who share it: the oldest. */
  free(key: string): void {
    const session = this.#oldest(key);
    if (session.isResting) this.end(session);
    else void session.release();
  }

  /** The holder of the key loses it, or all who share it. A bundle loses its other keys, too. */
  lose(key: string, reason = "forced"): void {
    this.#oldest(key);
    for (const session of [...(this.sessions.get(key) ?? [])]) session.lose(reason);
  }

  /** The next acquire fails with this error, by default with Unavailable. */
  fail(error?: LocksideError): void {
    this.#failures.push(error ?? new Unavailable("the fake is told to fail", { key: "", code: "redis-unavailable" }));
  }

  /** Those who watch are told that changes may have been missed, and then the state. */
  gap(): void {
    this.watchers.gap();
  }

  /** This pod leads the election, until `follow` or `resign`. */
  lead(election: string): void {
    this.#setLeader(election, { name: "this pod", token: ++this.#token, candidates: 1, leader: true });
  }

  /** Another pod leads the election; null: there is no leader. A `Leader` that said that this pod leads says so no longer. */
  follow(election: string, leader: string | null = "another pod"): void {
    this.#setLeader(election, leader === null ? { candidates: 1 } : { name: leader, token: ++this.#token, candidates: 2 });
  }

  override async leader(name: string): Promise<Leader> {
    const known = this.#leaders.get(name);
    if (!known) throw new Refused(`\`${name}\`: no such election`, { key: name, code: "no-such-election", status: 404 });
    return known;
  }

  override async resign(name: string): Promise<void> {
    if ((await this.leader(name)).isLeader) this.#setLeader(name, { candidates: 1 });
  }

  /** Who holds the key; of those who share it the oldest. */
  holder(key: string): Holder | undefined {
    return this.holders(key)[0];
  }

  /** Who share the key, oldest grant first. */
  holders(key: string): Holder[] {
    return (this.sessions.get(key) ?? []).map(({ view }) => view);
  }

  waiters(key: string): number {
    return this.queues.get(key)?.length ?? 0;
  }

  /** After `fake()`: `lock` and `withLock` use the client again that they used before. */
  restore: () => void = () => undefined;

  protected override open(order: Order): SessionLike {
    return order.bundle ? new FakeBundleSession(this, order, order.bundle) : new FakeSession(this, order);
  }

  protected override feed(course: Course): Feed {
    return this.watchers.open(course);
  }

  /** @internal */
  nextFailure(): LocksideError | undefined {
    return this.#failures.shift();
  }

  /** @internal Whether those who have the key, and those who wait for it, let it be granted. */
  mayHave({ key, sharing }: Order): boolean {
    return this.waiters(key) === 0 && this.#fits(key, sharing);
  }

  /** @internal */
  grant(session: FakeSession): void {
    const { key, owner, sharing } = session.order;
    this.sessions.set(key, [...(this.sessions.get(key) ?? []), session]);
    session.lease = { key, owner, ...sharing, token: ++this.#token, validUntil: Infinity };
    this.acquired.push(key);
    const { token } = session.lease;
    this.watchers.tell({ type: "granted", key, token, holder: session.view, waiters: this.waiters(key) });
    session.settle?.();
  }

  /** @internal Ends a hold, or its rest. */
  end(session: FakeSession): void {
    const { key } = session.order;
    this.watchers.tell(session.end);
    const others = (this.sessions.get(key) ?? []).filter((other) => other !== session);
    if (others.length > 0) this.sessions.set(key, others);
    else this.sessions.delete(key);
    this.serve(key);
  }

  /** @internal Grants the key to those in the queue that may have it, none before one that came earlier. */
  serve(key: string): void {
    const queue = this.queues.get(key) ?? [];
    for (let head = queue[0]; head && this.#fits(key, head.order.sharing); head = queue[0]) {
      queue.shift();
      this.grant(head);
    }
  }

  #fits(key: string, { mode, limit = MOST }: Sharing): boolean {
    const sessions = this.sessions.get(key) ?? [];
    const areShared = mode === "shared" && sessions.every(({ order }) => order.sharing.mode === "shared");
    return sessions.length === 0 || (areShared && sessions.length < limit);
  }

  /** What a watcher is told of a key that is taken first. */
  #state(key: string): StateEvent {
    const [session, holders, waiters] = [this.#oldest(key), this.holders(key), this.waiters(key)];
    const { view: holder, token } = session;
    const state = stateOf(this.sessions.get(key) ?? []);
    if (session.order.sharing.mode === "exclusive") {
      return { type: "state", key, state, token, holder, waiters };
    }
    const newest = holders.at(-1)?.token ?? 0;
    const shared = { mode: "shared", sharedBy: holders.length, holders } as const;
    return { type: "state", key, state, token: newest, holder, waiters, ...shared };
  }

  #setLeader(election: string, view: LeaderView): void {
    const known: Leader = new Leader(view, () => view.leader === true && this.#leaders.get(election) === known);
    this.#leaders.set(election, known);
  }

  #oldest(key: string): FakeSession {
    const session = this.sessions.get(key)?.[0];
    if (!session) throw new Error(`the fake: \`${key}\` is not held`);
    return session;
  }
}

/** A fake that `lock` and `withLock` use until its `restore` is called. */
export function fake(options?: Pick<ClientOptions, "owner">): FakeLockside {
  const made = new FakeLockside(options);
  const before = use(made);
  made.restore = () => void use(before);
  return made;
}
