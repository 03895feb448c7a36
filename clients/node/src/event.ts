// What a watcher is told.

import type { Holder, State } from "./errors.js";

/**
 * A lock as it is: at first, and again after each gap. `token` is 0 where it is free. Where it is `shared`, `sharedBy` is by how many,
 * and `holders` are the first hundred of them, oldest grant first.
 */
export interface StateEvent {
  readonly type: "state";
  readonly key: string;
  readonly state: State | "free";
  readonly token: number;
  readonly holder?: Holder;
  readonly waiters: number;
  readonly mode?: "shared";
  readonly sharedBy?: number;
  readonly holders?: readonly Holder[];
}

/** Another lease has begun. */
export interface GrantedEvent {
  readonly type: "granted";
  readonly key: string;
  readonly token: number;
  readonly holder: Holder;
  readonly waiters: number;
}

/** A lease has ended. Of one that rests, `released` has its state and its holder. */
export interface EndedEvent {
  readonly type: "released" | "expired" | "forced";
  readonly key: string;
  readonly token: number;
  readonly state?: State;
  readonly holder?: Holder;
}

/** Another number waits for a lock; `token` is the holder's. */
export interface WaitingEvent {
  readonly type: "waiting";
  readonly key: string;
  readonly token: number;
  readonly waiters: number;
}

/** `synced`: all states were told. `gap`: changes may have been missed; the states follow, once they are known. */
export interface MarkEvent {
  readonly type: "synced" | "gap";
}

export type LockEvent = StateEvent | GrantedEvent | EndedEvent | WaitingEvent | MarkEvent;

const TYPES = new Set("state synced granted released expired forced waiting gap".split(" "));

/** An event as the sidecar writes it; undefined for what a later version may tell. */
export function eventOf(name: string, data: string): LockEvent | undefined {
  if (!TYPES.has(name)) return undefined;
  return { type: name, ...(JSON.parse(data) as object) } as LockEvent;
}
