/// <reference lib="esnext.disposable" preserve="true" />
// A lock as the application has it, and what it has in common with a bundle.

import type { Lease } from "./attempt.js";
import { LockLost } from "./errors.js";
import type { SessionLike } from "./session-like.js";
import type { Mode } from "./sharing.js";
import type { Watch, WatchOptions } from "./watch.js";

type OpenWatch = (options?: WatchOptions) => Watch;

// A collector decides when this runs, so it releases nothing; the process's end does.
const forgotten = new FinalizationRegistry<SessionLike>((session) => {
  if (!session.isHeld || session.leases.length === 0) return;
  const key = session.leases.map((lease) => lease.key).join(", ");
  const [what, use] = session.leases.length > 1 ? ["bundle", "withBundle"] : ["lock", "withLock"];
  const text = `the ${what} \`${key}\` was forgotten while it is held; it stays held until the process ends: use ${use}`;
  process.emitWarning(text, { type: "LocksideWarning", code: "LOCKSIDE_FORGOTTEN", detail: key });
});

/** What is held until it is released: a lock, or a bundle of them. */
export abstract class Held implements AsyncDisposable {
  readonly #session: SessionLike;

  /** @internal */
  constructor(session: SessionLike) {
    this.#session = session;
    forgotten.register(this, session);
  }

  /** Aborted when it is lost, before its lease ends: stop the work. Its reason is a LockLost. */
  get signal(): AbortSignal {
    return this.#session.signal;
  }

  /** Whether it is held now. */
  get held(): boolean {
    try {
      this.#session.check();
      return true;
    } catch {
      return false;
    }
  }

  /** Why it is not held any more. */
  get reason(): string | undefined {
    return this.#session.reason;
  }

  /** Throws LockLost unless it is held. It sends nothing: call it as often as you like. */
  check(): void {
    this.#session.check();
  }

  /**
   * Releases it; another acquire right after this gets it. False: lockside could not be asked, and it ends with its
   * connection, or with the lease at the latest. Rejects with LockLost if it was lost before.
   */
  release(): Promise<boolean> {
    return this.#session.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/** A session that has acquired what was ordered. */
export async function acquired(
  session: SessionLike,
  signal: AbortSignal | undefined,
  onLost: ((reason: string) => void) | undefined,
): Promise<SessionLike> {
  if (onLost) session.signal.addEventListener("abort", () => onLost(session.reason ?? ""), { once: true });
  await session.acquire(signal);
  return session;
}

/** A lock that lockside keeps renewed until it is released. */
export class Lock extends Held {
  readonly #lease: Lease;
  readonly #watch: OpenWatch;

  /** @internal Made by `lock`. */
  constructor(session: SessionLike, watch: OpenWatch) {
    super(session);
    this.#lease = session.leases[0] as Lease;
    this.#watch = watch;
  }

  get key(): string {
    return this.#lease.key;
  }

  get owner(): string {
    return this.#lease.owner;
  }

  /** `shared`: others may have the key as well. The storage does not keep the token of a shared lock. */
  get mode(): Mode {
    return this.#lease.mode;
  }

  /** How many may share the key, as this lock was asked for; undefined: no limit was named. */
  get limit(): number | undefined {
    return this.#lease.limit;
  }

  /**
   * The fencing token: pass it to the protected resource, which must reject any token lower than the highest of an exclusive lock
   * that it has seen.
   */
  get token(): number {
    return this.#lease.token;
  }

  /** What happens to the key, also while others hold it; see Lockside.watch. */
  watch(options?: WatchOptions): Watch {
    return this.#watch(options);
  }
}

/** Runs `work` under a lock, or a bundle. An error of the work says more than the loss that it may come of. */
export async function under<T, H extends Held>(lock: H, work: (lock: H) => T | Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work(lock);
  } catch (error) {
    await lock.release().catch((failure: unknown) => {
      if (!(failure instanceof LockLost)) throw failure;
    });
    throw error;
  }
  await lock.release();
  return result;
}
