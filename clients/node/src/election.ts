// Leader election: what the sidecar says of an election, and how its own candidate resigns.

import type { Sidecar } from "./address.js";
import { credentialOf, explained, objectIn, segmentOf } from "./asking.js";
import { now } from "./clock.js";
import { OutcomeUnknown, Unavailable, ofProblem } from "./errors.js";
import { Broken, Exchange } from "./exchange.js";

export interface ResignOptions {
  /** How long the candidate does not stand for election again, milliseconds. By default 0: it stands again at once. */
  readonly forMs?: number | undefined;
}

/** A leader as the sidecar writes it. */
export interface LeaderView {
  readonly name?: string;
  readonly token?: number;
  readonly since?: string;
  readonly last_update?: string;
  readonly candidates?: number;
  readonly stale?: boolean;
  readonly leader?: boolean;
  readonly validForMs?: number;
}

/** The leader of an election, as the sidecar saw it when it was asked. Only `isLeader` changes by itself. */
export class Leader {
  /** The name of the leader; undefined if there is none, or it is not known. */
  readonly name: string | undefined;
  /** The fencing token of the leader: pass it to the storage, which must reject any token lower than the highest it has seen. */
  readonly token: number | undefined;
  /** Since when it leads. */
  readonly since: string | undefined;
  /** When the lead was last renewed; at a standby, when its sidecar last looked. Undefined before the first look. */
  readonly lastUpdate: string | undefined;
  /** How many stand for election, with the leader; undefined if it is not known. */
  readonly candidates: number | undefined;
  /** The sidecar has not seen Redis for longer than the ttl of the election, and so names no leader. */
  readonly isStale: boolean;
  readonly #leads: () => boolean;

  /** @internal Made by `leader`. */
  constructor(view: LeaderView, leads: () => boolean) {
    this.name = view.name;
    this.token = view.token;
    this.since = view.since;
    this.lastUpdate = view.last_update;
    this.candidates = view.candidates;
    this.isStale = view.stale === true;
    this.#leads = leads;
  }

  /**
   * Whether the sidecar's own candidate leads now. It compares the clock and sends nothing: once true, it turns false by itself
   * when the validity has passed. Ask for the leader again before that.
   */
  get isLeader(): boolean {
    return this.#leads();
  }
}

export async function leader(sidecar: Sidecar, name: string): Promise<Leader> {
  const { view, sent } = await ask(sidecar, "GET", name).catch((error: unknown) => {
    if (!(error instanceof OutcomeUnknown)) throw error;
    // Nothing is done by looking.
    throw new Unavailable(error.message, { ...error, outcome: "not-applied", cause: error.cause });
  });
  const validUntil = view.leader === true ? sent + (view.validForMs ?? 0) : -Infinity;
  return new Leader(view, () => now() < validUntil);
}

export async function resign(sidecar: Sidecar, name: string, { forMs = 0 }: ResignOptions): Promise<void> {
  if (!(forMs >= 0 && forMs < Infinity)) throw new RangeError("forMs: expected milliseconds from 0");
  await ask(sidecar, "DELETE", name, forMs > 0 ? `?for=${Math.ceil(forMs)}ms` : "");
}

/** What the sidecar answers, and a moment before which nothing was sent. */
async function ask(sidecar: Sidecar, method: "GET" | "DELETE", name: string, query = ""): Promise<{ view: LeaderView; sent: number }> {
  if (typeof name !== "string" || name === "") throw new TypeError("name: expected text that is not empty");
  const headers = await credentialOf(sidecar, name);
  const sent = now();
  const exchange = new Exchange(sidecar.address, method, `/v1/elections/${segmentOf(name)}${query}`, headers);
  try {
    const { statusCode = 0, headers } = await exchange.head(sidecar.timeoutMs);
    const text = await exchange.text(sidecar.timeoutMs);
    if (statusCode !== 200 && statusCode !== 204) throw ofProblem(name, statusCode, objectIn(text), headers["retry-after"]);
    const view: LeaderView = objectIn(text);
    if (statusCode === 200 && !("leader" in view)) {
      throw new Broken("what came is not an election; does the URL name lockside's API?");
    }
    return { view, sent };
  } catch (error) {
    throw explained(error, exchange, sidecar, name);
  } finally {
    exchange.destroy();
  }
}
