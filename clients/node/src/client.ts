// The client: which sidecar, which owner; and the one that `lock`, `bundle`, `watch`, `leader` and the others use.

import { Sidecar, defaultOwner } from "./address.js";
import type { Order } from "./attempt.js";
import { Bundle, legsOf, nameOf, type BundleKey, type BundleOptions } from "./bundle.js";
import { Course, type Watched } from "./course.js";
import { leader, resign, type Leader, type ResignOptions } from "./election.js";
import type { Holder } from "./errors.js";
import { Lock, acquired, under } from "./lock.js";
import type { SessionLike } from "./session-like.js";
import { Session } from "./session.js";
import { sharingOf } from "./sharing.js";
import { termsOf } from "./terms.js";
import { SidecarFeed, Watch, type Feed, type WatchOptions } from "./watch.js";

export interface ClientOptions {
  /** http://host:port, https://host:port or unix:/path; by default LOCKSIDE_URL, else http://127.0.0.1:7420. */
  readonly url?: string | undefined;
  /** The name of the holder; by default HOST/PID. */
  readonly owner?: string | undefined;
  /** A file with an API token or a JWT; by default LOCKSIDE_TOKEN_FILE. */
  readonly tokenFile?: string | undefined;
  /** A PEM file with the CA certificates that verify a sidecar with https; by default LOCKSIDE_CA_FILE, else those of Node.js. */
  readonly caFile?: string | undefined;
  /** A PEM file with the client certificate that such a sidecar may ask for; by default LOCKSIDE_CERT_FILE. */
  readonly certFile?: string | undefined;
  /** A PEM file with the key of that certificate; by default LOCKSIDE_KEY_FILE. */
  readonly keyFile?: string | undefined;
  /** How long the sidecar may be silent, milliseconds; by default 5000. */
  readonly timeoutMs?: number | undefined;
}

export interface LockOptions {
  /** How long the lock outlives a lost sidecar, milliseconds; it is renewed all the time. By default 30,000. */
  readonly ttlMs?: number | undefined;
  /** How long to wait for it, milliseconds; Infinity: as long as it takes. By default 0: LockHeld if it is held. */
  readonly waitMs?: number | undefined;
  readonly owner?: string | undefined;
  /** Any JSON, shown to others. */
  readonly meta?: unknown;
  /** How long the key stays taken when the lock ends without a release, milliseconds. By default 0. */
  readonly delayMs?: number | undefined;
  /** How long the key stays taken from the grant on at least, milliseconds, also after a release. By default 0. */
  readonly minHoldMs?: number | undefined;
  /** How long the lock can be held at most, milliseconds: then it is lost. By default as the sidecar says. */
  readonly maxHoldMs?: number | undefined;
  /** How long the key stays taken from the release on, milliseconds. By default 0. */
  readonly restMs?: number | undefined;
  /** Whether others that are shared may have the key, too; who is not has it alone. By default false. */
  readonly shared?: boolean | undefined;
  /** How many may share the key when this lock is granted, this one included. It makes the lock shared. By default any number. */
  readonly limit?: number | undefined;
  /** Ends the acquire: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Is told the position in the queue and the holder while it waits. */
  readonly onWait?: ((position: number | undefined, holder: Holder | undefined) => void) | undefined;
  /** Is told the reason if the lock is lost. */
  readonly onLost?: ((reason: string) => void) | undefined;
}

const TTL = 30_000;

/** Makes locks, watches them, and tells who leads an election. */
export class Lockside {
  readonly #owner: string | undefined;
  readonly #sidecar: Sidecar;

  constructor(options: ClientOptions = {}) {
    const { LOCKSIDE_URL, LOCKSIDE_TOKEN_FILE, LOCKSIDE_CA_FILE, LOCKSIDE_CERT_FILE, LOCKSIDE_KEY_FILE } = process.env;
    this.#owner = options.owner;
    this.#sidecar = new Sidecar(
      options.url ?? LOCKSIDE_URL,
      options.tokenFile ?? LOCKSIDE_TOKEN_FILE,
      options.timeoutMs ?? 5000,
      {
        ca: (options.caFile ?? LOCKSIDE_CA_FILE) || undefined,
        certificate: (options.certFile ?? LOCKSIDE_CERT_FILE) || undefined,
        key: (options.keyFile ?? LOCKSIDE_KEY_FILE) || undefined,
      },
    );
    if (!this.#sidecar.address.tls && (options.caFile || options.certFile || options.keyFile)) {
      throw new TypeError("caFile, certFile and keyFile: expected a URL https://host:port with them");
    }
  }

  /** Acquires a lock. Rejects with LockHeld, Unavailable, OutcomeUnknown or Refused. */
  async lock(key: string, options: LockOptions = {}): Promise<Lock> {
    const { signal, onWait, onLost } = options;
    if (typeof key !== "string" || key === "") throw new TypeError("key: expected text that is not empty");
    const [terms, sharing] = [termsOf(options), sharingOf(options)];
    const order = { key, ...this.#asked(options), onWait, terms, sharing };
    const watch = (options?: WatchOptions) => this.watch(key, options);
    return new Lock(await acquired(this.open(order), signal, onLost), watch);
  }

  /** Runs `work` under a lock, which is released at its end. Rejects with LockLost if it was lost meanwhile. */
  async withLock<T>(key: string, work: (lock: Lock) => T | Promise<T>): Promise<T>;
  async withLock<T>(key: string, options: LockOptions, work: (lock: Lock) => T | Promise<T>): Promise<T>;
  async withLock<T>(key: string, ...rest: WithLock<T>): Promise<T> {
    const [options, work] = rest.length === 1 ? [{}, rest[0]] : rest;
    return under(await this.lock(key, options), work);
  }

  /**
   * Acquires 1 to 16 locks, or none of them: they are kept, lost and released as one. Whatever the order of the keys, two bundles
   * never wait for each other. Rejects with LockHeld, which names the key in the way, Unavailable, OutcomeUnknown or Refused.
   */
  async bundle(keys: Iterable<string | BundleKey>, options: BundleOptions = {}): Promise<Bundle> {
    const legs = legsOf(keys);
    const bundle = { keys: legs, onWait: options.onWait };
    const order = { key: nameOf(legs), ...this.#asked(options), terms: termsOf({}), sharing: sharingOf({}), bundle };
    return new Bundle(await acquired(this.open(order), options.signal, options.onLost));
  }

  /** Runs `work` under a bundle, which is released at its end. Rejects with LockLost if it was lost meanwhile. */
  async withBundle<T>(keys: Iterable<string | BundleKey>, work: (bundle: Bundle) => T | Promise<T>): Promise<T>;
  async withBundle<T>(
    keys: Iterable<string | BundleKey>, options: BundleOptions, work: (bundle: Bundle) => T | Promise<T>,
  ): Promise<T>;
  async withBundle<T>(keys: Iterable<string | BundleKey>, ...rest: WithBundle<T>): Promise<T> {
    const [options, work] = rest.length === 1 ? [{}, rest[0]] : rest;
    return under(await this.bundle(keys, options), work);
  }

  /**
   * What happens to a lock, or to all whose keys begin with a prefix: first the state, `synced`, then each change. When changes
   * may have been missed, `gap` comes, and the state again; so also when the sidecar or Redis was unavailable for a while.
   * Iterating rejects with Refused if it cannot be watched: the sidecar does not allow it, or the key is not valid.
   */
  watch(watched: Watched, options: WatchOptions = {}): Watch {
    return new Watch(this.feed(new Course(watched)), options.signal);
  }

  /**
   * The leader of an election, as the sidecar sees it now: its `--elect` names its elections. Rejects with Unavailable, or Refused
   * with the code `no-such-election`.
   */
  async leader(name: string): Promise<Leader> {
    return leader(this.#sidecar, name);
  }

  /**
   * The sidecar's own candidate leads no longer: another one can lead when this resolves. It stands again at once, behind the
   * others, or after `forMs`, for which a standby leaves the queue, too. Stop the work before you resign. Rejects with
   * Unavailable, OutcomeUnknown, or Refused with the code `no-such-election`.
   */
  async resign(name: string, options: ResignOptions = {}): Promise<void> {
    return resign(this.#sidecar, name, options);
  }

  #asked({ ttlMs = TTL, waitMs = 0, owner, meta }: Pick<LockOptions, "ttlMs" | "waitMs" | "owner" | "meta">) {
    if (!(ttlMs > 0 && ttlMs < Infinity)) throw new RangeError("ttlMs: expected milliseconds above 0");
    if (!(waitMs >= 0)) throw new RangeError("waitMs: expected milliseconds from 0, or Infinity");
    return { ttlMs: Math.round(ttlMs), waitMs, owner: owner ?? this.#owner ?? defaultOwner(), meta };
  }

  /** @internal */
  protected open(order: Order): SessionLike {
    return new Session(this.#sidecar, order);
  }

  /** @internal */
  protected feed(course: Course): Feed {
    return new SidecarFeed(this.#sidecar, course);
  }
}

/** What may follow the key. */
export type WithLock<T> = [work: (lock: Lock) => T | Promise<T>] | [options: LockOptions, work: (lock: Lock) => T | Promise<T>];

/** What may follow the keys. */
export type WithBundle<T> =
  | [work: (bundle: Bundle) => T | Promise<T>]
  | [options: BundleOptions, work: (bundle: Bundle) => T | Promise<T>];

let shared: Lockside | undefined;

/** The client of `lock`, `bundle`, `watch`, `leader` and the others: made from the environment at its first use. */
export function client(): Lockside {
  return (shared ??= new Lockside());
}

/** Makes this client the one of `lock` and its like; undefined: the one from the environment. Returns the one before. */
export function use(client: Lockside | undefined): Lockside | undefined {
  const before = shared;
  shared = client;
  return before;
}
