// The course of a watch over all its connections, without any input or output: what is told, and when to connect again.

import { segmentOf } from "./asking.js";
import { now } from "./clock.js";
import { LocksideError } from "./errors.js";
import { eventOf, type LockEvent } from "./event.js";
import { Parser } from "./sse.js";

const FIRST_PAUSE = 1000;
const SHORTEST_PAUSE = 100;
const LONGEST_PAUSE = 5000;

/** What is watched. */
export type Watched = string | { readonly prefix: string };

export class Course {
  /** The key or the prefix, for messages. */
  readonly name: string;
  readonly path: string;
  readonly isKey: boolean;
  /** When to connect again. */
  resumeAt = -Infinity;
  readonly #events: LockEvent[] = [];
  #parser = new Parser();
  #pauseMs = FIRST_PAUSE;
  #failures = 0;
  // Whether anything was told since the beginning or the last gap.
  #hasTold = false;

  constructor(watched: Watched) {
    const isKey = typeof watched === "string";
    const name = isKey ? watched : watched?.prefix;
    if (typeof name !== "string" || watched === "") throw new TypeError("watch: expected a key that is not empty, or { prefix }");
    this.name = name;
    this.isKey = isKey;
    this.path = isKey ? `/v1/locks/${segmentOf(name)}/events` : `/v1/events?prefix=${encodeURIComponent(name)}`;
  }

  next(): LockEvent | undefined {
    return this.#events.shift();
  }

  /** A stream begins. */
  begin(): void {
    this.#parser = new Parser();
  }

  /** What of the stream has come. */
  take(text: string): void {
    for (const { name, data } of this.#parser.feed(text)) {
      const event = eventOf(name, data);
      if (!event) continue;
      this.#failures = 0;
      this.#tell(event);
    }
    this.#pauseMs = this.#parser.retryMs ?? this.#pauseMs;
  }

  /** The stream ended, or did not begin. Throws the error if connecting again does not help. */
  broken(error: LocksideError): void {
    if (!mayPass(error)) throw error;
    if (this.#failures === 0) {
      const text = `${this.path}: ${error.message}; connecting again`;
      process.emitWarning(text, { type: "LocksideWarning", code: "LOCKSIDE_WATCH", detail: this.name });
    }
    this.#tell({ type: "gap" });
    const grown = Math.min(this.#pauseMs * 2 ** this.#failures, Math.max(LONGEST_PAUSE, this.#pauseMs));
    const pause = Math.max(grown, error.retryAfterMs ?? 0, SHORTEST_PAUSE);
    this.#failures = Math.min(this.#failures + 1, 10);
    this.resumeAt = now() + pause * (1 + Math.random() / 4);
  }

  #tell(event: LockEvent): void {
    const isGap = event.type === "gap";
    // One gap before each run of states, also if both the sidecar and this client noticed it.
    if (this.#hasTold || !isGap) this.#events.push(event);
    this.#hasTold = !isGap;
  }
}

function mayPass({ status, type }: LocksideError): boolean {
  return status === undefined ? type === "unavailable" || type === "unknown" : status === 429 || status >= 500;
}
