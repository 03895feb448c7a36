// One lock, or one bundle, from acquire to release: hears what the sidecar says, takes the hold up again where its connection
// breaks, and tells when it is lost: by the clock of this process, so also if the sidecar is silent.

import type { Sidecar } from "./address.js";
import { Attempt, GivenUp, type Grant, type Lease, type Order } from "./attempt.js";
import { now } from "./clock.js";
import { LockHeld, LockLost, LocksideError, Refused } from "./errors.js";
import type { Exchange, Line } from "./exchange.js";
import type { SessionLike } from "./session-like.js";
import { capOf, outlast } from "./terms.js";

// A sidecar writes at least every two seconds.
const SILENT = 2500;
// Between two tries to take a hold up again.
const PAUSE = 100;
// The longest that a release is asked for.
const RELEASE = 3000;

export class Session implements SessionLike {
  leases: readonly Lease[] = [];
  reason: string | undefined;
  lostKey: string | undefined;
  #state: "acquiring" | "held" | "releasing" | "over" = "acquiring";
  readonly #attempt: Attempt;
  readonly #lost = new AbortController();
  readonly #over = new AbortController();
  readonly #marginMs: number;
  #exchange: Exchange | undefined;
  #timer: NodeJS.Timeout | undefined;
  #validUntil = 0;
  /** When a sidecar that is being stopped releases it. */
  #leaveBy = Infinity;
  /** A validity that ends later is the last one. */
  #cap = Infinity;
  #heardAt = 0;
  #renewedAt = 0;
  #isTakingUp = false;
  /** Whether the hold of this connection was repeated, which may have superseded it. */
  #isRepeated = false;
  #released: Promise<boolean> | undefined;

  constructor(
    private readonly sidecar: Sidecar,
    private readonly order: Order,
  ) {
    this.#attempt = new Attempt(sidecar, order);
    this.#marginMs = Math.min(Math.max(order.ttlMs / 20, 5), 1000);
  }

  get isHeld(): boolean {
    return this.#state === "held";
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  /** When the work must have stopped. */
  get #deadline(): number {
    return Math.min(this.#validUntil, this.#leaveBy) - this.#marginMs;
  }

  async acquire(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const giveUp = () => this.#attempt.giveUp();
    signal?.addEventListener("abort", giveUp);
    try {
      const grant = await this.#attempt.acquire();
      if (signal?.aborted) {
        await this.#giveBack(grant);
        signal.throwIfAborted();
      }
      this.#state = "held";
      this.leases = grant.leases;
      this.#cap = capOf(this.order.terms, grant.validUntil, this.order.ttlMs);
      this.#take(grant);
    } catch (error) {
      this.#state = "over";
      throw error instanceof GivenUp && signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }

  check(): void {
    if (this.#state === "held" && now() >= this.#deadline) this.#lose(this.#why());
    if (this.#state !== "held") throw this.#loss();
  }

  release(): Promise<boolean> {
    return (this.#released ??= this.#release());
  }

  async #release(): Promise<boolean> {
    const wasLost = this.#state === "over";
    if (!wasLost) this.#state = "releasing";
    clearTimeout(this.#timer);
    // A hold that is just being taken up again would be a new lease after the release.
    this.#attempt.giveUp();
    const within = Math.min(RELEASE, this.sidecar.timeoutMs);
    const released = await this.#attempt.release(this.leases, within, true);
    this.#state = "over";
    this.#leave();
    if (this.reason === undefined) {
      const [first] = released.lost;
      this.reason = first === undefined ? "released" : "expired";
      if (released.lost.length < this.leases.length) this.lostKey = first;
    }
    if (wasLost || this.reason !== "released") throw this.#loss();
    return released.isConfirmed;
  }

  /** Hears this connection for as long as it is the one that holds the lock. */
  async #listen(exchange: Exchange): Promise<void> {
    try {
      while (this.#exchange === exchange) this.#hear(await exchange.line());
    } catch {
      if (this.#exchange !== exchange || this.#state !== "held") return;
      this.#exchange = undefined;
      await this.#takeUpAgain();
    }
  }

  #hear({ event, since }: Line): void {
    if (this.#state === "over") return;
    const said = event as { event: string; validForMs: number; graceMs: number; reason: string; key?: string };
    this.#heardAt = now();
    switch (said.event) {
      case "renewed":
        this.#renewedAt = this.#heardAt;
        this.#validUntil = since + said.validForMs;
        this.#plan();
        break;
      case "ping":
        // Its owner shortened it by its token.
        if (this.#heardAt + said.validForMs < this.#validUntil) this.#validUntil = since + said.validForMs;
        this.#plan();
        break;
      case "draining":
        this.#leaveBy = since + said.graceMs - Math.min(said.graceMs / 10, 1000);
        this.#plan();
        void this.#takeUpAgain();
        break;
      case "lost":
        if (said.reason === "superseded" && this.#isTakingUp) {
          // By our own repetition, perhaps, whose answer is to come: that decides.
          this.#exchange?.destroy();
          this.#exchange = undefined;
        } else {
          this.#hearLoss(said.reason, said.key);
        }
        break;
      case "released":
        this.#lose("released", said.key);
        break;
    }
  }

  #take({ validUntil, exchange }: Grant): void {
    const old = this.#exchange;
    this.#exchange = exchange;
    this.#validUntil = validUntil;
    this.#leaveBy = Infinity;
    this.#heardAt = this.#renewedAt = now();
    this.#isRepeated = false;
    exchange.unref();
    old?.destroy();
    this.#plan();
    void this.#listen(exchange);
  }

  /** Repeats the hold under its Idempotency-Key, at the same or at the next sidecar, until one has it or its time is up. */
  async #takeUpAgain(): Promise<void> {
    if (this.#isTakingUp) return;
    this.#isTakingUp = true;
    while (this.#state === "held" && (!this.#exchange || this.#leaveBy < Infinity)) {
      this.#isRepeated = true;
      try {
        // An answer is waited for as long as there is time: a repetition that was told of the lease and is then broken off
        // would release it.
        const grant = await this.#attempt.send(0, Math.max(this.#deadline - now(), 1));
        const other = grant.leases.find(({ key, token }) => token !== this.#tokenOf(key));
        if (other) {
          this.#lose("expired", other.key);
          await this.#giveBack(grant);
        } else if (this.#state === "held") {
          this.#take(grant);
        } else {
          // It is being released.
          grant.exchange.destroy();
        }
      } catch (error) {
        if (error instanceof LockHeld) {
          // Of those who share a key its holder is any, which says nothing of our lease. That would have been told again.
          const isAmongOthers = this.#attempt.claim.shares(error.key) && error.mode === "shared";
          if (!isAmongOthers && error.holder?.token !== this.#tokenOf(error.key)) await this.#loseWith("superseded", error.key);
          // The sidecar met the end of the connection first, and the key stays taken for no longer than the terms say.
          else if (!this.#exchange && (isAmongOthers || outlast(this.order.terms))) await this.#loseWith("expired", error.key);
        }
        const isUnauthorized = error instanceof Refused && (error.status === 401 || error.status === 403);
        if (isUnauthorized && !this.#exchange) this.#lose("unauthorized");
        if (!(error instanceof LocksideError) && !(error instanceof GivenUp)) this.#lose("sidecar");
      }
      if (this.#state === "held") await this.#pause();
    }
    this.#isTakingUp = false;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      // Does not keep the process alive: the work does.
      setTimeout(resolve, PAUSE).unref();
      this.#over.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  async #giveBack(grant: Grant): Promise<void> {
    await this.#attempt.release(grant.leases, Math.min(RELEASE, this.sidecar.timeoutMs));
    grant.exchange.destroy();
  }

  /** Sets the alarm to the deadline. */
  #plan(): void {
    if (this.#state !== "held") return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#alarm(), Math.min(Math.max(this.#deadline - now(), 0), 2 ** 31 - 1));
    this.#timer.unref();
  }

  #alarm(): void {
    // An alarm that comes late may come before lines that are in the socket already: they are read first.
    setImmediate(() => {
      if (this.#state !== "held") return;
      if (now() >= this.#deadline) this.#lose(this.#why());
      else this.#plan();
    });
  }

  /** What kept the lease from being renewed. */
  #why(): string {
    if (this.#leaveBy < this.#validUntil) return "draining";
    if (this.#validUntil >= this.#cap) return "max-hold";
    if (!this.#exchange || now() - this.#heardAt > SILENT) return "sidecar";
    return this.#heardAt > this.#renewedAt ? "redis" : "expired";
  }

  #tokenOf(key: string): number | undefined {
    return this.leases.find((lease) => lease.key === key)?.token;
  }

  #loss(): LockLost {
    return new LockLost(this.lostKey ?? this.order.key, this.reason ?? "released");
  }

  /** The sidecar tells of a loss. Where it comes during a release that says why, unless it may be our own doing: the lease has
   * ended by the release, which another sidecar got, or a repetition superseded it. Then the answer to the release decides. */
  #hearLoss(reason: string, key?: string): void {
    const isByUs = reason === "expired" || (reason === "superseded" && this.#isRepeated);
    if (this.#state === "releasing" && this.reason === undefined && !isByUs) [this.reason, this.lostKey] = [reason, key];
    this.#lose(reason, key);
  }

  /** A repetition found that this key is lost: no sidecar releases the others at once. */
  async #loseWith(reason: string, key: string): Promise<void> {
    const others = this.leases.filter((lease) => lease.key !== key);
    if (this.#lose(reason, key) && others.length > 0) {
      await this.#attempt.release(others, Math.min(RELEASE, this.sidecar.timeoutMs));
    }
  }

  /** Whether it was held. */
  #lose(reason: string, key?: string): boolean {
    if (this.#state !== "held") return false;
    this.#state = "over";
    [this.reason, this.lostKey] = [reason, key];
    clearTimeout(this.#timer);
    // The connection is kept while the lease may last, since the work is yet to stop, and no longer: a sidecar that can
    // renew again would keep the key for a holder that has gone.
    const left = Math.min(this.#validUntil, this.#leaveBy) - now();
    this.#timer = setTimeout(() => this.#leave(), Math.max(left, 0));
    this.#timer.unref();
    this.#lost.abort(this.#loss());
    return true;
  }

  #leave(): void {
    clearTimeout(this.#timer);
    this.#over.abort();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.destroy();
  }
}
