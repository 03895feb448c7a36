// Several locks that are acquired together or not at all, as the application has them.

import type { Leg } from "./claim.js";
import type { LockOptions } from "./client.js";
import type { Holder } from "./errors.js";
import { Held } from "./lock.js";
import type { SessionLike } from "./session-like.js";
import { sharingOf, type Mode, type SharingOptions } from "./sharing.js";

/** A key of a bundle that is shared, beside others that may not be. */
export interface BundleKey extends SharingOptions {
  readonly key: string;
}

/** As for one lock, without terms. `waitMs` is the time for all keys. */
export interface BundleOptions extends Pick<LockOptions, "ttlMs" | "waitMs" | "owner" | "meta" | "signal" | "onLost"> {
  /** Is told the key that it waits for, the position in its queue, and its holder. */
  readonly onWait?: ((key: string, position: number | undefined, holder: Holder | undefined) => void) | undefined;
}

/** Several locks that lockside keeps renewed until they are released. The first one that is lost loses the bundle. */
export class Bundle extends Held {
  readonly owner: string;
  /** The fencing token of each key, in the order asked for: pass each to the resource that its key protects. */
  readonly tokens: ReadonlyMap<string, number>;
  /** `shared`: others may have the key as well. The storage does not keep the token of a shared lock. */
  readonly modes: ReadonlyMap<string, Mode>;
  readonly #session: SessionLike;

  /** @internal Made by `bundle`. */
  constructor(session: SessionLike) {
    super(session);
    this.#session = session;
    this.owner = session.leases[0]?.owner ?? "";
    this.tokens = new Map(session.leases.map(({ key, token }) => [key, token]));
    this.modes = new Map(session.leases.map(({ key, mode }) => [key, mode]));
  }

  /** The keys in the order in which they were asked for. */
  get keys(): string[] {
    return [...this.tokens.keys()];
  }

  /** The key that was lost, and the others with it; undefined where all were lost together, or none was. */
  get lostKey(): string | undefined {
    return this.#session.lostKey;
  }
}

export function legsOf(keys: Iterable<string | BundleKey>): Leg[] {
  if (typeof keys === "string") throw new TypeError("keys: expected several, such as an array of texts");
  return [...keys].map((each) => {
    const { key, ...sharing } = typeof each === "string" ? { key: each } : each;
    if (typeof key !== "string" || key === "") throw new TypeError("keys: expected texts that are not empty");
    return { key, sharing: sharingOf(sharing) };
  });
}

/** The name of a bundle, for messages. */
export const nameOf = (legs: readonly Leg[]) => legs.map(({ key }) => key).join(", ");
