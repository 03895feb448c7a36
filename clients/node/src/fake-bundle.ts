// A bundle of a fake: one session for each key, in the order of their bytes, as the sidecar acquires them.

import type { Lease, Order } from "./attempt.js";
import type { Leg, Legs } from "./claim.js";
import { now } from "./clock.js";
import { LockLost, Refused } from "./errors.js";
import { FakeSession, refusal } from "./fake-session.js";
import type { SessionLike } from "./session-like.js";
import type { FakeLockside } from "./testing.js";

const MOST_KEYS = 16;

/** A bundle from acquire to release, as the sidecar's session is one. */
export class FakeBundleSession implements SessionLike {
  reason: string | undefined;
  lostKey: string | undefined;
  readonly #patience: number;
  readonly #lost = new AbortController();
  /** Ends an acquire that waits, when it loses a key that it has. */
  readonly #end = new AbortController();
  #sessions: FakeSession[] = [];
  #isGranted = false;

  constructor(
    private readonly fake: FakeLockside,
    private readonly order: Order,
    private readonly legs: Legs,
  ) {
    this.#patience = now() + order.waitMs;
  }

  get leases(): Lease[] {
    const leases = this.#sessions.flatMap((session) => session.leases);
    return this.legs.keys.flatMap(({ key }) => leases.filter((lease) => lease.key === key));
  }

  get isHeld(): boolean {
    return this.#isGranted && this.reason === undefined && this.#sessions.every((session) => session.isHeld);
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  async acquire(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    this.#refuse();
    const legs = [...this.legs.keys].sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
    try {
      if (this.order.waitMs === 0) this.#acquireAtOnce(legs);
      else for (const leg of legs) await this.#await(leg, signal);
    } catch (error) {
      this.#releaseAll();
      throw error;
    }
    this.#isGranted = true;
  }

  check(): void {
    for (const session of this.#sessions) session.check();
    if (!this.isHeld) throw this.#loss();
  }

  async release(): Promise<boolean> {
    if (this.reason !== undefined && this.reason !== "released") throw this.#loss();
    this.reason = "released";
    this.#releaseAll();
    return true;
  }

  #refuse(): void {
    const keys = this.legs.keys.map(({ key }) => key);
    const twice = keys.find((key, place) => keys.indexOf(key) < place);
    const isCount = keys.length >= 1 && keys.length <= MOST_KEYS;
    if (twice === undefined && isCount) return;
    const text = twice === undefined ? `expected 1 to ${MOST_KEYS} entries` : `\`${twice}\` is there twice`;
    const { key } = this.order;
    throw new Refused(`\`${key}\`: keys: ${text}`, { key, code: "bad-request", status: 400 });
  }

  #acquireAtOnce(legs: readonly Leg[]): void {
    const failure = this.fake.nextFailure();
    if (failure) throw failure;
    const sessions = legs.map((leg) => this.#open(leg));
    for (const { order } of sessions) if (!this.fake.mayHave(order)) throw refusal(this.fake, order.key, "held");
    this.#sessions = sessions;
    for (const session of sessions) this.fake.grant(session);
  }

  async #await(leg: Leg, signal: AbortSignal | undefined): Promise<void> {
    const session = this.#open(leg);
    this.#sessions.push(session);
    await session.acquire(AbortSignal.any([this.#end.signal, ...(signal ? [signal] : [])]));
  }

  #open({ key, sharing }: Leg): FakeSession {
    const { ttlMs, owner, meta, terms, waitMs } = this.order;
    const onWait = this.legs.onWait?.bind(undefined, key);
    // Above 0, so that what is over by then is a wait that timed out.
    const left = waitMs === 0 ? 0 : Math.max(this.#patience - now(), 1);
    const session = new FakeSession(this.fake, { key, ttlMs, owner, meta, terms, sharing, onWait, waitMs: left });
    session.signal.addEventListener("abort", () => this.#lose(session), { once: true });
    return session;
  }

  #lose(session: FakeSession): void {
    if (!this.#isGranted) return this.#end.abort(refusal(this.fake, session.order.key, "held"));
    if (this.reason !== undefined) return;
    [this.reason, this.lostKey] = [session.reason, session.order.key];
    // The loss is told before another one has a key.
    this.#lost.abort(this.#loss());
    this.#releaseAll();
  }

  #loss(): LockLost {
    return new LockLost(this.lostKey ?? this.order.key, this.reason ?? "released");
  }

  #releaseAll(): void {
    for (const session of this.#sessions) if (session.isHeld) void session.release();
  }
}
