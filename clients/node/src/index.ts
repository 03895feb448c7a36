// Distributed locks from a lockside sidecar.
//
//     import { withLock } from "lockside";
//
//     await withLock("night-report", { ttlMs: 10_000, waitMs: 60_000 }, async (lock) => {
//       for (const page of pages) {
//         lock.check(); // throws LockLost before another one can have the lock
//         await write(page, lock.token, { signal: lock.signal });
//       }
//     });

import type { Bundle, BundleKey, BundleOptions } from "./bundle.js";
import { client, type LockOptions, type WithBundle, type WithLock } from "./client.js";
import type { Watched } from "./course.js";
import type { Leader, ResignOptions } from "./election.js";
import type { Lock } from "./lock.js";
import type { Watch, WatchOptions } from "./watch.js";

export { Bundle, type BundleKey, type BundleOptions } from "./bundle.js";
export { Lockside, use, type ClientOptions, type LockOptions } from "./client.js";
export type { Watched } from "./course.js";
export { Leader, type ResignOptions } from "./election.js";
export {
  LockHeld,
  LockLost,
  LocksideError,
  OutcomeUnknown,
  Refused,
  Unavailable,
  type Holder,
  type Outcome,
  type State,
} from "./errors.js";
export type { EndedEvent, GrantedEvent, LockEvent, MarkEvent, StateEvent, WaitingEvent } from "./event.js";
export type { Mode } from "./sharing.js";
export { Lock } from "./lock.js";
export { Watch, type WatchOptions } from "./watch.js";

/** Acquires a lock at the sidecar of LOCKSIDE_URL; see Lockside.lock. */
export function lock(key: string, options?: LockOptions): Promise<Lock> {
  return client().lock(key, options);
}

/** Runs `work` under a lock at the sidecar of LOCKSIDE_URL; see Lockside.withLock. */
export function withLock<T>(key: string, work: (lock: Lock) => T | Promise<T>): Promise<T>;
export function withLock<T>(key: string, options: LockOptions, work: (lock: Lock) => T | Promise<T>): Promise<T>;
export async function withLock<T>(key: string, ...rest: WithLock<T>): Promise<T> {
  return rest.length === 1 ? client().withLock(key, rest[0]) : client().withLock(key, rest[0], rest[1]);
}

/** Acquires several locks, all or none, at the sidecar of LOCKSIDE_URL; see Lockside.bundle. */
export function bundle(keys: Iterable<string | BundleKey>, options?: BundleOptions): Promise<Bundle> {
  return client().bundle(keys, options);
}

/** Runs `work` under several locks at the sidecar of LOCKSIDE_URL; see Lockside.withBundle. */
export function withBundle<T>(keys: Iterable<string | BundleKey>, work: (bundle: Bundle) => T | Promise<T>): Promise<T>;
export function withBundle<T>(
  keys: Iterable<string | BundleKey>, options: BundleOptions, work: (bundle: Bundle) => T | Promise<T>,
): Promise<T>;
export async function withBundle<T>(keys: Iterable<string | BundleKey>, ...rest: WithBundle<T>): Promise<T> {
  return rest.length === 1 ? client().withBundle(keys, rest[0]) : client().withBundle(keys, rest[0], rest[1]);
}

/** What happens to a lock, or to all with a prefix, at the sidecar of LOCKSIDE_URL; see Lockside.watch. */
export function watch(watched: Watched, options?: WatchOptions): Watch {
  return client().watch(watched, options);
}

/** The leader of an election at the sidecar of LOCKSIDE_URL; see Lockside.leader. */
export function leader(name: string): Promise<Leader> {
  return client().leader(name);
}

/** The candidate of the sidecar of LOCKSIDE_URL resigns; see Lockside.resign. */
export function resign(name: string, options?: ResignOptions): Promise<void> {
  return client().resign(name, options);
}
