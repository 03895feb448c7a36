// What a lock may fail with. Each error says whether it was done: `outcome`.

import type { Mode } from "./sharing.js";

export type Outcome = "not-applied" | "applied" | "unknown";

/** Who holds a key. Of another program than lockside only the expiry is known. */
export interface Holder {
  readonly owner: string | null;
  /** Of one that shares the key: `resting` where it has released it, and its terms keep it taken. */
  readonly state?: State;
  readonly kind?: string;
  readonly token?: number;
  readonly mode?: Mode;
  /** How many may share the key, as this holder asked for it. */
  readonly limit?: number;
  readonly since?: string;
  readonly validForMs?: number;
  readonly validUntil?: string;
  readonly meta?: unknown;
}

export interface Details {
  readonly key: string;
  /** The sidecar's code; undefined where it said none. */
  readonly code?: string | undefined;
  readonly outcome?: Outcome;
  readonly status?: number | undefined;
  readonly requestId?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

export abstract class LocksideError extends Error {
  /** Which of the errors this is. */
  abstract readonly type: "held" | "unavailable" | "unknown" | "lost" | "refused";
  readonly key: string;
  readonly code: string | undefined;
  readonly outcome: Outcome;
  readonly status: number | undefined;
  readonly requestId: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, details: Details) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.key = details.key;
    this.code = details.code;
    this.outcome = details.outcome ?? "not-applied";
    this.status = details.status;
    this.requestId = details.requestId;
    this.retryAfterMs = details.retryAfterMs;
  }
}

export type State = "held" | "resting";

export interface HeldDetails extends Details {
  readonly holder?: Holder | undefined;
  readonly waiters?: number | undefined;
  readonly state?: State | undefined;
  readonly mode?: "shared" | undefined;
  readonly sharedBy?: number | undefined;
}

/** Another owner holds the lock, and it was not free in time: skip the work, or retry. */
export class LockHeld extends LocksideError {
  readonly type = "held";
  readonly holder: Holder | undefined;
  readonly waiters: number | undefined;
  /** `resting`: `holder` has released it, and its terms keep it taken. Undefined where the sidecar did not say. */
  readonly state: State | undefined;
  /** `shared` where others share the key: `sharedBy` is how many they are, and `holder` one of them. */
  readonly mode: "shared" | undefined;
  readonly sharedBy: number | undefined;

  constructor(message: string, details: HeldDetails) {
    super(message, details);
    this.state = details.state;
    this.holder = details.holder;
    this.waiters = details.waiters;
    this.mode = details.mode;
    this.sharedBy = details.sharedBy;
  }
}

/** The sidecar or its Redis cannot do it now, and it was not done: try again later. */
export class Unavailable extends LocksideError {
  readonly type = "unavailable";
}

/** No answer, also to repetitions. A lock that was granted so is rolled back by the sidecar. */
export class OutcomeUnknown extends LocksideError {
  readonly type = "unknown";

  constructor(message: string, details: Details) {
    super(message, { ...details, outcome: "unknown" });
  }
}

/** The request is not valid, or not allowed: repeating it does not help. */
export class Refused extends LocksideError {
  readonly type = "refused";
}

/** The lock is not held any more: stop the work. `reason` says why; see the documentation for the words. */
export class LockLost extends LocksideError {
  readonly type = "lost";
  readonly reason: string;

  constructor(key: string, reason: string) {
    super(`the lock \`${key}\` was lost: ${reason}`, { key, code: "lost", outcome: "applied" });
    this.reason = reason;
  }
}

/** An error as the sidecar writes it, in an answer or in a line. */
export interface Problem {
  readonly code?: string;
  readonly detail?: string;
  readonly outcome?: Outcome;
  readonly holder?: Holder;
  readonly waiters?: number;
  readonly state?: State;
  readonly mode?: "shared";
  readonly sharedBy?: number;
  /** Of several keys the one that is in the way. */
  readonly key?: string;
  readonly requestId?: string;
  readonly status?: number;
}

const UNAVAILABLE = new Set([
  ..."too-many-waiters too-many-requests quota-exceeded overloaded draining keys-unavailable".split(" "),
  ..."redis-unavailable redis-refused too-late".split(" "),
]);

/** The message of a LockHeld. */
export function heldBy(key: string, { holder, state, sharedBy = 0 }: Omit<HeldDetails, "key">): string | undefined {
  if (!holder?.owner) return undefined;
  if (sharedBy > 0) return `\`${key}\` is shared by ${holder.owner}${sharedBy > 1 ? ` and ${sharedBy - 1} more` : ""}`;
  return state === "resting" ? `\`${key}\` was released by ${holder.owner} and rests` : `\`${key}\` is held by ${holder.owner}`;
}

/** The error for an answer that is no success. */
export function ofProblem(name: string, status: number, problem: Problem, retryAfter?: string): LocksideError {
  const { key = name, code, holder, waiters, state, mode, sharedBy, requestId } = problem;
  const outcome = problem.outcome ?? (status >= 500 ? "unknown" : "not-applied");
  const retryAfterMs = retryAfter && /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : undefined;
  const details = { key, code, outcome, status, requestId, retryAfterMs };
  const message = `\`${key}\`: ${problem.detail ?? `status ${status}; does the URL name lockside's API?`}`;
  if (code === "held" || code === "wait-timeout") {
    const held = { ...details, holder, waiters, state, mode, sharedBy };
    return new LockHeld(heldBy(key, held) ?? message, held);
  }
  if (outcome === "unknown") return new OutcomeUnknown(message, details);
  if (code && UNAVAILABLE.has(code)) return new Unavailable(message, details);
  return new Refused(message, details);
}
