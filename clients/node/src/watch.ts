/// <reference lib="esnext.disposable" preserve="true" />
// `for await (… of watch(…))`: what happens to a lock, or to all whose keys begin alike.

import type { Sidecar } from "./address.js";
import { credentialOf, explained, objectIn } from "./asking.js";
import { now, sleep } from "./clock.js";
import type { Course } from "./course.js";
import { LocksideError, Refused, Unavailable, ofProblem } from "./errors.js";
import type { LockEvent } from "./event.js";
import { Broken, Exchange } from "./exchange.js";

/** Longest silence of a stream: the sidecar writes a comment every 15 s. */
const SILENCE_MS = 45_000;

export interface WatchOptions {
  /** Ends the watch: what waits for an event rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Where events come from: a sidecar, or a fake. */
export interface Feed {
  /** Waits for an event; undefined once it is closed. */
  next(): Promise<LockEvent | undefined>;
  close(): void;
}

/** Iterates over events, waiting for each, and connects again by itself. It ends when it is closed, or with an error. */
export class Watch implements AsyncIterableIterator<LockEvent>, AsyncDisposable {
  readonly #feed: Feed;
  readonly #signal: AbortSignal | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /** @internal Made by `watch`. */
  constructor(feed: Feed, signal: AbortSignal | undefined) {
    this.#feed = feed;
    this.#signal = signal;
    if (signal?.aborted) this.close();
    signal?.addEventListener("abort", this.close);
  }

  /** Ends it at once; what waits for an event comes to the end of its loop. */
  readonly close = (): void => {
    this.#signal?.removeEventListener("abort", this.close);
    this.#feed.close();
  };

  /** The next event. More than one may be asked for: they come in order. */
  next(): Promise<IteratorResult<LockEvent, undefined>> {
    const turn = this.#turn.then(() => this.#next());
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async return(): Promise<IteratorResult<LockEvent, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  async #next(): Promise<IteratorResult<LockEvent, undefined>> {
    try {
      const value = await this.#feed.next();
      this.#signal?.throwIfAborted();
      return value ? { done: false, value } : { done: true, value: undefined };
    } catch (error) {
      this.close();
      throw error;
    }
  }
}

/**
 * It reads from the socket only what is asked for, so that a slow reader costs no memory here: the sidecar drops what it
 * cannot send, and tells of a gap.
 */
export class SidecarFeed implements Feed {
  readonly #sidecar: Sidecar;
  readonly #course: Course;
  readonly #closing = new AbortController();
  #exchange: Exchange | undefined;

  constructor(sidecar: Sidecar, course: Course) {
    this.#sidecar = sidecar;
    this.#course = course;
  }

  close(): void {
    this.#closing.abort();
    this.#drop();
  }

  async next(): Promise<LockEvent | undefined> {
    while (!this.#closing.signal.aborted) {
      const event = this.#course.next();
      if (event) return event;
      await this.#advance();
    }
    return undefined;
  }

  /** Until something was told, or something has changed. */
  async #advance(): Promise<void> {
    try {
      if (this.#exchange) return this.#course.take(await this.#exchange.part(SILENCE_MS));
      await sleep(this.#course.resumeAt - now(), this.#closing.signal);
      if (!this.#closing.signal.aborted) await this.#open();
    } catch (error) {
      this.#drop();
      if (!this.#closing.signal.aborted) this.#course.broken(this.#trouble(error));
    }
  }

  async #open(): Promise<void> {
    const { address, timeoutMs } = this.#sidecar;
    const { name, path } = this.#course;
    const credential = await credentialOf(this.#sidecar, name);
    if (this.#closing.signal.aborted) return;
    const exchange = (this.#exchange = new Exchange(address, "GET", path, credential));
    exchange.isPulled = true;
    try {
      // The sidecar first reads the state of every shard.
      const { statusCode = 0, headers } = await exchange.head(2 * timeoutMs);
      if (statusCode !== 200) throw ofProblem(name, statusCode, objectIn(await exchange.text(timeoutMs)), headers["retry-after"]);
      if (!headers["content-type"]?.startsWith("text/event-stream")) {
        const text = `\`${name}\`: what came is no stream of events; does the URL name lockside's API?`;
        throw new Refused(text, { key: name, status: statusCode });
      }
    } catch (error) {
      throw explained(error, exchange, this.#sidecar, name);
    }
    this.#course.begin();
  }

  /** The error of the client for one of the connection. */
  #trouble(error: unknown): LocksideError {
    if (error instanceof LocksideError) return error;
    if (!(error instanceof Broken || error instanceof SyntaxError || (error instanceof Error && "code" in error))) throw error;
    const text = `no events from lockside at ${this.#sidecar.address}: ${error.message}`;
    return new Unavailable(text, { key: this.#course.name, cause: error });
  }

  #drop(): void {
    this.#exchange?.destroy();
    this.#exchange = undefined;
  }
}
