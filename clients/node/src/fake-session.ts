// A lock of a fake.

import type { Lease, Order } from "./attempt.js";
import { LockHeld, LockLost, heldBy, type Holder, type State } from "./errors.js";
import type { EndedEvent } from "./event.js";
import type { SessionLike } from "./session-like.js";
import { leaveARest } from "./terms.js";
import type { FakeLockside } from "./testing.js";

/** A lock from acquire to release, as the sidecar's session is one. */
export class FakeSession implements SessionLike {
  lease: Lease | undefined;
  reason: string | undefined;
  readonly lostKey = undefined;
  settle: ((error?: unknown) => void) | undefined;
  readonly #lost = new AbortController();
  #isReleased = false;

  constructor(
    private readonly fake: FakeLockside,
    readonly order: Order,
  ) {}

  get leases(): Lease[] {
    return this.lease ? [this.lease] : [];
  }

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
    const { owner, meta, sharing } = this.order;
    const { mode, limit } = sharing;
    const state = mode === "shared" ? { state: this.isResting ? ("resting" as const) : ("held" as const) } : {};
    const shared = { mode, ...state, ...(limit === undefined ? {} : { limit }) };
    return { owner, kind: "system", meta, ...shared, ...(this.lease ? { token: this.lease.token } : {}) };
  }

  get token(): number {
    return this.lease?.token ?? 0;
  }

  /** What a watcher is told when it ends, or its rest does. */
  get end(): EndedEvent {
    const isRelease = this.reason === "released" && !this.isResting;
    const type = this.reason === "forced" ? "forced" : isRelease ? "released" : "expired";
    return { type, key: this.order.key, token: this.token };
  }

  #tellWaiters(): void {
    const { key } = this.order;
    const token = this.fake.sessions.get(key)?.at(-1)?.token ?? 0;
    this.fake.watchers.tell({ type: "waiting", key, token, waiters: this.fake.waiters(key) });
  }

  async acquire(signal: AbortSignal | undefined): Promise<void> {
    const { key, waitMs, onWait } = this.order;
    signal?.throwIfAborted();
    const failure = this.fake.nextFailure();
    if (failure) throw failure;
    if (this.fake.mayHave(this.order)) return this.fake.grant(this);
    if (waitMs === 0) throw refusal(this.fake, key, "held");
    const queue = this.fake.queues.get(key) ?? [];
    this.fake.queues.set(key, queue);
    queue.push(this);
    this.#tellWaiters();
    onWait?.(queue.length, this.fake.holder(key));
    await new Promise<void>((resolve, reject) => {
      const giveUp = (error: unknown) => {
        queue.splice(queue.indexOf(this), 1);
        this.#tellWaiters();
        this.settle?.(error);
        this.fake.serve(key);
      };
      const aborted = () => giveUp(signal?.reason);
      const late = () => giveUp(refusal(this.fake, key, "wait-timeout"));
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
    if (!this.isResting) this.fake.end(this);
    else this.fake.watchers.tell({ ...this.end, type: "released", state: "resting", holder: this.view });
    return true;
  }

  lose(reason: string): void {
    if (!this.isHeld) return;
    this.reason = reason;
    // The loss is told before another one has the key.
    this.#lost.abort(new LockLost(this.order.key, reason));
    this.fake.end(this);
  }
}

/** The refusal of a key that is taken. */
export function refusal(fake: FakeLockside, key: string, code: string): LockHeld {
  const sessions = fake.sessions.get(key) ?? [];
  const [first] = sessions;
  const isShared = first?.order.sharing.mode === "shared";
  const shared = isShared ? ({ mode: "shared", sharedBy: sessions.length } as const) : {};
  const state = stateOf(sessions);
  const held = { key, code, status: 409, holder: first?.view, state, waiters: fake.waiters(key), ...shared } as const;
  return new LockHeld(heldBy(key, held) ?? `\`${key}\` is held by another owner`, held);
}

/** How a key is taken: where it is shared it rests if all of them do. */
export function stateOf(sessions: readonly FakeSession[]): State {
  return sessions.length > 0 && sessions.every((session) => session.isResting) ? "resting" : "held";
}
