// What a lock or a bundle is built on: the session at a sidecar, or the one of the fake.

import type { Lease } from "./attempt.js";

/** What a lock needs of its session, the real one or the fake's. */
export interface SessionLike {
  /** In the order in which they were asked for; none before the grant. */
  readonly leases: readonly Lease[];
  readonly reason: string | undefined;
  /** Which key of several was lost first, where that is known. */
  readonly lostKey: string | undefined;
  readonly isHeld: boolean;
  /** Aborted when the lock is lost, with a LockLost. */
  readonly signal: AbortSignal;
  acquire(signal: AbortSignal | undefined): Promise<void>;
  check(): void;
  release(): Promise<boolean>;
}
