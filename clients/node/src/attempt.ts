// The attempt to acquire a key: one Idempotency-Key and one owner, sent as often as it takes to know the outcome.

import { randomUUID } from "node:crypto";

import type { Sidecar } from "./address.js";
import { credentialOf, explained, objectIn } from "./asking.js";
import { claimOf, type Claim, type Legs } from "./claim.js";
import { now, sleep } from "./clock.js";
import {
  LockHeld,
  OutcomeUnknown,
  Refused,
  Unavailable,
  ofProblem,
  type Holder,
  type LocksideError,
  type Problem,
} from "./errors.js";
import { Exchange } from "./exchange.js";
import type { Mode, Sharing } from "./sharing.js";
import type { Terms } from "./terms.js";

// How long one request waits; a longer wait is made of several.
const LONGEST_WAIT = 600_000;
const PAUSE = 100;

/** What is asked for; `key` is all keys of a bundle, for messages. `waitMs` is Infinity where it is bounded by nothing. */
export interface Order {
  readonly key: string;
  readonly ttlMs: number;
  readonly waitMs: number;
  readonly owner: string;
  readonly meta?: unknown;
  readonly terms: Terms;
  readonly sharing: Sharing;
  readonly onWait?: ((position: number | undefined, holder: Holder | undefined) => void) | undefined;
  readonly bundle?: Legs;
}

/** What was granted of one key. `validUntil` is by the clock of this process; `mode` and `limit` are as the sidecar says them. */
export interface Lease {
  readonly key: string;
  readonly token: number;
  readonly owner: string;
  readonly mode: Mode;
  readonly limit?: number | undefined;
  readonly validUntil: number;
}

/** The leases, and the connection that holds them. They end together. */
export interface Grant {
  readonly leases: readonly Lease[];
  readonly validUntil: number;
  readonly exchange: Exchange;
}

/** What a release came to; `lost` are the keys whose leases had ended before. */
export interface Released {
  readonly isConfirmed: boolean;
  readonly lost: readonly string[];
}

/** The caller no longer wants the lock. */
export class GivenUp extends Error {}

export class Attempt {
  readonly #name = randomUUID();
  readonly claim: Claim;
  readonly #giveUp = new AbortController();
  #isSending = false;
  /** Whether a sending was broken off: the sidecar rolls back what it told of. */
  #isBrokenOff = false;

  constructor(
    private readonly sidecar: Sidecar,
    private readonly order: Order,
  ) {
    this.claim = claimOf(order);
  }

  /** Breaks off what is being sent. */
  giveUp(): void {
    this.#isBrokenOff ||= this.#isSending;
    this.#giveUp.abort(new GivenUp());
  }

  /** Sends the attempt until it is granted, refused, or its time has passed. */
  async acquire(): Promise<Grant> {
    const start = now();
    const patience = start + this.order.waitMs;
    // An unknown outcome is asked for again for a while, also where nothing was to be waited for.
    const asking = Math.max(patience, start + this.sidecar.timeoutMs);
    let longest = LONGEST_WAIT;
    let unknown: OutcomeUnknown | undefined;
    for (;;) {
      const wait = Math.min(Math.max(patience - now(), 0), longest);
      let [pause, until] = [PAUSE, patience];
      let failure: LocksideError;
      try {
        return await this.send(wait, this.sidecar.timeoutMs);
      } catch (error) {
        if (error instanceof LockHeld) {
          unknown = undefined;
          failure = error;
          pause = error.code === "wait-timeout" ? 0 : (error.retryAfterMs ?? 1000);
        } else if (error instanceof OutcomeUnknown) {
          failure = unknown ??= error;
          until = asking;
        } else if (error instanceof Unavailable) {
          failure = unknown ?? error;
          until = unknown ? asking : patience;
          pause = error.retryAfterMs ?? PAUSE;
        } else if (error instanceof Refused && wait > 1000 && error.message.startsWith(`\`${this.order.key}\`: waitMs`)) {
          // The sidecar's --max-wait is shorter.
          [failure, longest, pause] = [error, wait / 2, 0];
        } else {
          throw error;
        }
      }
      this.#giveUp.signal.throwIfAborted();
      if (until - now() < 20) throw failure;
      await sleep(Math.min(pause, until - now()), this.#giveUp.signal);
      this.#giveUp.signal.throwIfAborted();
    }
  }

  /** Sends it once; the sidecar may be silent for so many milliseconds. */
  async send(waitMs: number, silenceMs: number): Promise<Grant> {
    const { key, ttlMs, owner, meta } = this.order;
    const credential = await credentialOf(this.sidecar, key);
    const headers = { ...credential, "Content-Type": "application/json", "Idempotency-Key": this.#name };
    const waiting = waitMs > 0 ? { waitMs: Math.ceil(waitMs), progress: true } : {};
    this.#giveUp.signal.throwIfAborted();
    const content = { ttlMs, owner, ...waiting, ...this.claim.fields, ...(meta === undefined ? {} : { meta }) };
    const exchange = new Exchange(this.sidecar.address, "POST", `${this.claim.path}/hold`, headers, content);
    const giveUp = () => exchange.destroy();
    this.#giveUp.signal.addEventListener("abort", giveUp);
    this.#isSending = true;
    try {
      return await this.#listen(exchange, silenceMs);
    } catch (error) {
      exchange.destroy();
      this.#giveUp.signal.throwIfAborted();
      throw explained(error, exchange, this.sidecar, key);
    } finally {
      this.#isSending = false;
      this.#giveUp.signal.removeEventListener("abort", giveUp);
    }
  }

  /** Releases them by their tokens. */
  async release(leases: readonly Lease[], withinMs: number, rests = false): Promise<Released> {
    const { method, path, content } = this.claim.release(leases, rests);
    const type = content === undefined ? {} : { "Content-Type": "application/json" };
    const until = now() + withinMs;
    const keys = leases.map(({ key }) => key);
    const lost: string[] = [];
    let [wasSent, wasAnswered] = [this.#isBrokenOff, this.#isBrokenOff];
    for (;;) {
      let exchange: Exchange | undefined;
      let status = 0;
      let ended: string[] = [];
      const wasAsked = wasSent;
      try {
        const headers = { ...(await credentialOf(this.sidecar, this.order.key)), ...type };
        exchange = new Exchange(this.sidecar.address, method, path, headers, content);
        const answered = (await exchange.head(until - now())).statusCode ?? 0;
        if (answered === 410 || answered === 504) ended = endedOf(keys, answered, await exchange.text(until - now()));
        status = answered;
      } catch {
        if (!exchange?.isConnected) return { isConfirmed: false, lost };
      } finally {
        exchange?.destroy();
      }
      wasSent = true;
      if (status === 204) return { isConfirmed: true, lost };
      // What an earlier request of ours did is not a loss. A release without an answer did all that, or nothing.
      if (!wasAsked || (status === 410 && !wasAnswered && ended.length < keys.length)) lost.push(...ended);
      if (status === 410) return { isConfirmed: true, lost };
      wasAnswered ||= status !== 0;
      if ((status >= 400 && status < 500) || until - now() < 2 * PAUSE) return { isConfirmed: false, lost };
      await sleep(PAUSE);
    }
  }

  /** The leases, which are of the keys that were asked for. Closing the connection releases what else it may hold. */
  async #granted(event: Record<string, unknown>, since: number, silenceMs: number): Promise<Lease[]> {
    const { key } = this.order;
    let leases: Lease[] = [];
    try {
      leases = this.claim.granted(event, since);
    } catch {
      // It has no leases.
    }
    const granted = leases.map((lease) => lease.key).sort();
    const asked = [...this.claim.keys].sort();
    if (granted.length === asked.length && granted.every((each, at) => each === asked[at])) return leases;
    if (leases.length > 0) await this.release(leases, silenceMs);
    const message = `\`${key}\`: the answer grants other keys than were asked for; does the URL name lockside's API?`;
    throw new Refused(message, { key });
  }

  async #listen(exchange: Exchange, silenceMs: number): Promise<Grant> {
    const { key, ttlMs } = this.order;
    const answer = await exchange.head(silenceMs);
    if (answer.statusCode !== 200) {
      const retryAfter = answer.headers["retry-after"];
      throw ofProblem(key, answer.statusCode ?? 0, objectIn(await exchange.text(silenceMs)), retryAfter);
    }
    exchange.stream(Math.max(ttlMs / 10, 20));
    for (;;) {
      const { event, since } = await exchange.line(silenceMs);
      if (event["event"] === "acquired") {
        const leases = await this.#granted(event, since, silenceMs);
        const validUntil = Math.min(...leases.map((lease) => lease.validUntil));
        if (now() < validUntil) return { leases, validUntil, exchange };
        await this.release(leases, silenceMs);
        throw new Unavailable(`\`${key}\` was granted too late to be of use`, { key, code: "too-late" });
      }
      if (event["event"] === "refused") throw ofProblem(key, Number(event["status"] ?? 503), event as Problem);
      if (event["event"] === "waiting") this.claim.waits(event);
    }
  }
}

/** The keys that an answer to a release says had ended: of one key without saying its name. */
function endedOf(keys: readonly string[], status: number, text: string): string[] {
  const said = (objectIn(text) as { lost?: unknown }).lost;
  if (Array.isArray(said)) return keys.filter((key) => said.includes(key));
  return status === 410 ? [...keys] : [];
}
