// What an order is about: one key, or the keys of a bundle.

import { segmentOf } from "./asking.js";
import type { Lease, Order } from "./attempt.js";
import type { Holder } from "./errors.js";
import type { Mode, Sharing } from "./sharing.js";
import { fieldsOf } from "./terms.js";

/** One key of several, and whether it is shared. */
export interface Leg {
  readonly key: string;
  readonly sharing: Sharing;
}

/** The keys of a bundle in the order in which they were asked for. */
export interface Legs {
  readonly keys: readonly Leg[];
  readonly onWait?: ((key: string, position: number | undefined, holder: Holder | undefined) => void) | undefined;
}

export interface ReleaseRequest {
  readonly method: string;
  readonly path: string;
  readonly content?: unknown;
}

type Said = Record<string, unknown>;

export interface Claim {
  readonly path: string;
  /** What an acquire says beside the owner and the times. */
  readonly fields: object;
  /** The keys that are asked for. */
  readonly keys: readonly string[];
  /** What a line grants that was written after `since`. */
  granted(event: Said, since: number): Lease[];
  /** The request that releases them; `rests`: and leaves the rest that the terms say. */
  release(leases: readonly Lease[], rests: boolean): ReleaseRequest;
  shares(key: string): boolean;
  /** A line told what it waits for. */
  waits(event: Said): void;
}

export function claimOf(order: Order): Claim {
  return order.bundle ? new SeveralKeys(order.bundle) : new OneKey(order);
}

const fieldsOfSharing = (sharing: Sharing) => (sharing.mode === "shared" ? sharing : {});

/** The part of a lease in a line. */
interface Granted {
  readonly key: string;
  readonly token: number;
  readonly owner: string;
  readonly mode?: Mode;
  readonly limit?: number;
}

const leaseOf = ({ key, token, owner, mode = "exclusive", limit }: Granted, validUntil: number): Lease =>
  ({ key, token, owner, mode, limit, validUntil });

class OneKey implements Claim {
  readonly path: string;

  constructor(private readonly order: Order) {
    this.path = `/v1/locks/${segmentOf(order.key)}`;
  }

  get keys(): readonly string[] {
    return [this.order.key];
  }

  get fields(): object {
    return { ...fieldsOfSharing(this.order.sharing), ...fieldsOf(this.order.terms) };
  }

  granted(event: Said, since: number): Lease[] {
    return [leaseOf({ ...(event as unknown as Granted), key: this.order.key }, since + Number(event["validForMs"]))];
  }

  release([lease]: readonly Lease[], rests: boolean): ReleaseRequest {
    const { restMs } = this.order.terms;
    const path = `${this.path}?token=${lease?.token ?? 0}${rests && restMs > 0 ? `&restMs=${restMs}` : ""}`;
    return { method: "DELETE", path };
  }

  shares(): boolean {
    return this.order.sharing.mode === "shared";
  }

  waits({ position, holder }: Said): void {
    this.order.onWait?.(position as number | undefined, holder as Holder | undefined);
  }
}

class SeveralKeys implements Claim {
  readonly path = "/v1/bundles";

  constructor(private readonly legs: Legs) {}

  get keys(): readonly string[] {
    return this.legs.keys.map(({ key }) => key);
  }

  get fields(): object {
    return { keys: this.legs.keys.map(({ key, sharing }) => ({ key, ...fieldsOfSharing(sharing) })) };
  }

  granted(event: Said, since: number): Lease[] {
    // The least validity is that of all: they end together.
    const validUntil = since + Number(event["validForMs"]);
    return (event["leases"] as Granted[]).map((granted) => leaseOf(granted, validUntil));
  }

  release(leases: readonly Lease[]): ReleaseRequest {
    const content = { leases: leases.map(({ key, token }) => ({ key, token })) };
    return { method: "POST", path: `${this.path}/release`, content };
  }

  shares(key: string): boolean {
    return this.legs.keys.some((leg) => leg.key === key && leg.sharing.mode === "shared");
  }

  waits({ key, position, holder }: Said): void {
    this.legs.onWait?.(key as string, position as number | undefined, holder as Holder | undefined);
  }
}
