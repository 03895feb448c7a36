// A lockside in memory, for the tests of an application: the same locks, without a sidecar.
//
//     import { fake } from "lockside/testing";
//
//     const locks = fake(); // lock and withLock use it until locks.restore()
//     locks.hold("volume/7", "importer-7");

import type { Lease, Order } from "./attempt.js";
import { Lockside, use, type ClientOptions } from "./client.js";
import type { Course } from "./course.js";
import { Leader, type LeaderView } from "./election.js";
import { LockHeld, LockLost, LocksideError, Refused, Unavailable, heldBy, type Holder } from "./errors.js";
import type { EndedEvent, StateEvent } from "./event.js";
import type { SessionLike } from "./session.js";
import { leaveARest, termsOf } from "./terms.js";
import type { Feed } from "./watch.js";
import { Watchers } from "./watchers.js";

/**
 * Takes orders as `Lockside` does. Keys are granted first come, first served; tokens rise; nothing expires. A lock with a
 * minimum or a rest leaves its key resting when it is released, until `free`.
 */
export class FakeLockside extends Lockside {
  /** The keys that were acquired, in the order of their grants. */
  readonly acquired: string[] = [];
  /** @internal */
  readonly holders = new Map<string, FakeSession>();
  /** @internal */
  readonly queues = new Map<string, FakeSession[]>();
  /** @internal */
  readonly watchers = new Watchers(() => [...this.holders.keys()].sort().map((key) => this.#session(key).state));
  readonly #failures: LocksideError[] = [];
  readonly #leaders = new Map<string, Leader>();
  #token = 0;

  constructor(options: Pick<ClientOptions, "owner"> = {}) {
    super({ ...options, url: "http://127.0.0.1:7420" });
  }

  /** Another owner holds the key, until `free`. */
  hold(key: string, owner = "another owner"): void {
    const holder = this.holders.get(key);
    if (holder) throw refusal(key, "held", holder);
    this.grant(this.open({ key, ttlMs: 30_000, waitMs: 0, owner, terms: termsOf({}) }));
  }

  /** The other owner releases it, or its rest ends; the first in the queue gets it. */
  free(key: string): void {
    const session = this.#session(key);
    if (session.isResting) this.next(key);
    else void session.release();
  }

  /** The holder of the key loses it. */
  lose(key: string, reason = "forced"): void {
    this.#session(key).lose(reason);
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

  holder(key: string): Holder | undefined {
    return this.holders.get(key)?.view;
  }

  waiters(key: string): number {
    return this.queues.get(key)?.length ?? 0;
  }

  /** After `fake()`: `lock` and `withLock` use the client again that they used before. */
  restore: () => void = () => undefined;

  protected override open(order: Order): FakeSession {
    return new FakeSession(this, order);
  }

  protected override feed(course: Course): Feed {
    return this.watchers.open(course);
  }

  /** @internal */
  nextFailure(): LocksideError | undefined {
    return this.#failures.shift();
  }

  /** @internal */
  grant(session: FakeSession): void {
    const { key, owner } = session.order;
    this.holders.set(key, session);
    session.lease = { key, owner, token: ++this.#token, validUntil: Infinity };
    this.acquired.push(key);
    const { token } = session.lease;
    this.watchers.tell({ type: "granted", key, token, holder: session.view, waiters: this.waiters(key) });
    session.settle?.();
  }

  /** @internal */
  next(key: string): void {
    this.watchers.tell(this.#session(key).end);
    this.holders.delete(key);
    const heir = this.queues.get(key)?.shift();
    if (heir) this.grant(heir);
  }

  #setLeader(election: string, view: LeaderView): void {
    const known: Leader = new Leader(view, () => view.leader === true && this.#leaders.get(election) === known);
    this.#leaders.set(election, known);
  }

  #session(key: string): FakeSession {
    const session = this.holders.get(key);
    if (!session) throw new Error(`the fake: \`${key}\` is not held`);
    return session;
  }
}

/** A lock from acquire to release, as the sidecar's session is one. */
class FakeSession implements SessionLike {
  lease: Lease | undefined;
  reason: string | undefined;
  settle: ((error?: unknown) => void) | undefined;
  readonly #lost = new AbortController();
  #isReleased = false;

  constructor(
    private readonly fake: FakeLockside,
    readonly order: Order,
  ) {}

  get isHeld(): boolean {
    return this.lease !== undefined && this.reason === undefined;
  }

  get isResting(): boolean {
    return this.#isReleased && leaveARest(this.order.terms);
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  get view(): Holder {
    const { owner, meta } = this.order;
    return { owner, kind: "system", meta, ...(this.lease ? { token: this.lease.token } : {}) };
  }

  get token(): number {
    return this.lease?.token ?? 0;
  }

  /** What a watcher is told of it first. */
  get state(): StateEvent {
    const { key } = this.order;
    const state = this.isResting ? "resting" : "held";
    return { type: "state", key, state, token: this.token, holder: this.view, waiters: this.fake.waiters(key) };
  }

  /** What a watcher is told when it ends, or its rest does. */
  get end(): EndedEvent {
    const isRelease = this.reason === "released" && !this.isResting;
    const type = this.reason === "forced" ? "forced" : isRelease ? "released" : "expired";
    return { type, key: this.order.key, token: this.token };
  }

  #tellWaiters(): void {
    const { key } = this.order;
    const token = this.fake.holders.get(key)?.token ?? 0;
    this.fake.watchers.tell({ type: "waiting", key, token, waiters: this.fake.waiters(key) });
  }

  async acquire(signal: AbortSignal | undefined): Promise<void> {
    const { key, waitMs, onWait } = this.order;
    signal?.throwIfAborted();
    const failure = this.fake.nextFailure();
    if (failure) throw failure;
    const holder = this.fake.holders.get(key);
    if (!holder) return this.fake.grant(this);
    if (waitMs === 0) throw refusal(key, "held", holder);
    const queue = this.fake.queues.get(key) ?? [];
    this.fake.queues.set(key, queue);
    queue.push(this);
    this.#tellWaiters();
    onWait?.(queue.length, holder.view);
    await new Promise<void>((resolve, reject) => {
      const giveUp = (error: unknown) => {
        queue.splice(queue.indexOf(this), 1);
        this.#tellWaiters();
        this.settle?.(error);
      };
      const aborted = () => giveUp(signal?.reason);
      const late = () => giveUp(refusal(key, "wait-timeout", this.fake.holders.get(key)));
      const timer = waitMs < Infinity ? setTimeout(late, waitMs) : undefined;
      signal?.addEventListener("abort", aborted);
      this.settle = (error?: unknown) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", aborted);
        this.settle = undefined;
        if (error === undefined) resolve();
        else reject(error as Error);
      };
    });
  }

  check(): void {
    if (!this.isHeld) throw new LockLost(this.order.key, this.reason ?? "released");
  }

  async release(): Promise<boolean> {
    if (this.#isReleased) return true;
    if (!this.isHeld) throw new LockLost(this.order.key, this.reason ?? "released");
    this.reason = "released";
    this.#isReleased = true;
    if (this.isResting) this.fake.watchers.tell({ ...this.end, type: "released", state: "resting", holder: this.view });
    else this.fake.next(this.order.key);
    return true;
  }

  lose(reason: string): void {
    if (!this.isHeld) return;
    this.reason = reason;
    // The loss is told before another one has the key.
    this.#lost.abort(new LockLost(this.order.key, reason));
    this.fake.next(this.order.key);
  }
}

function refusal(key: string, code: string, session: FakeSession | undefined): LockHeld {
  const holder = session?.view;
  const state = session?.isResting ? "resting" : "held";
  const text = heldBy(key, holder, state) ?? `\`${key}\` is held by another owner`;
  return new LockHeld(text, { key, code, status: 409, holder, state });
}

/** A fake that `lock` and `withLock` use until its `restore` is called. */
export function fake(options?: Pick<ClientOptions, "owner">): FakeLockside {
  const made = new FakeLockside(options);
  const before = use(made);
  made.restore = () => void use(before);
  return made;
}
