// What an application in TypeScript writes, as an ECMAScript module.

import { LockHeld, LockLost, LocksideError, bundle, leader, lock, resign, watch, withBundle, withLock } from "lockside";
import type { Bundle, BundleKey, Holder, Leader, LockEvent, Mode, Watch } from "lockside";
import { FakeLockside } from "lockside/testing";

export async function work(): Promise<number> {
  const token: number = await withLock("x", { ttlMs: 10_000, waitMs: 60_000 }, (held) => held.token);
  const text: string = await withLock("x", async (held) => held.key);
  await using held = await lock("x", { meta: { host: "web-3" }, minHoldMs: 540_000, signal: AbortSignal.timeout(1000) });
  held.signal.throwIfAborted();
  const fake = new FakeLockside({ owner: "tests" });
  fake.hold("x", text);
  return token;
}

export async function share(): Promise<number> {
  await withLock("x", { shared: true, waitMs: 60_000 }, (reader) => reader.mode satisfies Mode);
  // @ts-expect-error: a limit is a number.
  void lock("x", { limit: "3" });
  return withLock("x", { limit: 3 }, ({ limit }) => limit ?? 0);
}

export async function transfer(accounts: string[]): Promise<number | undefined> {
  const rates: BundleKey = { key: "rates", shared: true };
  const sum: number = await withBundle([...accounts, rates], { ttlMs: 10_000, waitMs: 5000 }, ({ tokens }) => tokens.size);
  await using both: Bundle = await bundle(new Set(accounts), { onWait: (key, position) => void [key, position] });
  // @ts-expect-error: a bundle has no terms.
  void bundle(accounts, { minHoldMs: 1000 });
  both.signal.throwIfAborted();
  return both.tokens.get("account-1") ?? sum;
}

export async function lead(fake: FakeLockside): Promise<number | undefined> {
  fake.lead("jobs");
  fake.follow("jobs", null);
  const known: Leader = await leader("jobs");
  const name: string | undefined = known.name;
  if (name === "pod-7" || known.isStale) await resign("jobs", { forMs: 30_000 });
  return known.isLeader ? known.token : known.candidates;
}

export async function follow(signal: AbortSignal): Promise<Map<string, string | null>> {
  const owners = new Map<string, string | null>();
  await using events: Watch = watch({ prefix: "jobs/" }, { signal });
  for await (const event of events) take(owners, event);
  for await (const event of watch("x")) take(owners, event);
  return owners;
}

function take(owners: Map<string, string | null>, event: LockEvent): void {
  if (event.type === "gap") owners.clear();
  if (event.type === "state") for (const { owner } of event.holders ?? []) owners.set(event.key, owner);
  if (event.type === "granted") owners.set(event.key, event.holder.owner);
  if (event.type === "state" && event.state === "held") owners.set(event.key, event.holder?.owner ?? null);
  if (event.type === "released" || event.type === "expired" || event.type === "forced") owners.delete(event.key);
  // @ts-expect-error: a gap is about no key.
  if (event.type === "gap") owners.delete(event.key);
}

export function explain(error: unknown): string {
  if (error instanceof LockHeld) {
    const holder: Holder | undefined = error.holder;
    const state: "held" | "resting" | undefined = error.state;
    return `${holder?.owner ?? "?"} ${state} ${error.sharedBy ?? 1}`;
  }
  if (error instanceof LockLost) return error.reason;
  if (error instanceof LocksideError) return `${error.type} ${error.outcome}`;
  // @ts-expect-error: milliseconds are numbers.
  void lock("x", { ttlMs: "10" });
  return "?";
}
