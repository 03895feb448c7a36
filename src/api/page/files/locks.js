// What is known of the locks: the states that a stream or a list told, and the changes since.

/** Changes of a key that are remembered. */
const HISTORY = 10;
/** Keys of which changes are remembered. */
const KEYS = 2000;

export class Locks {
  constructor() {
    /** Of each key its leases, by their tokens: those that share it, or one. */
    this.byKey = new Map();
    this.history = new Map();
    /** States that come in before a `synced`; what is shown meanwhile is older. */
    this.coming = null;
    this.isComplete = false;
  }

  /** Takes an event of the stream; whether a lock changed. */
  hear(name, data) {
    const at = performance.now();
    if (name === "gap") {
      this.isComplete = false;
      this.coming = null;
    } else if (name === "state") {
      this.coming ??= new Map();
      for (const holder of data.holders ?? [data.holder]) if (holder) put(this.coming, data, holder, at);
    } else if (name === "synced") {
      this.replace(this.coming ?? new Map());
    } else {
      this.remember(name, data);
      return this.change(name, data, at);
    }
    return false;
  }

  /** Takes all that there is. */
  replace(locks) {
    [this.byKey, this.coming, this.isComplete] = [locks, null, true];
  }

  change(name, data, at) {
    const known = this.byKey.get(data.key) ?? new Map();
    if (name === "waiting") {
      for (const lock of known.values()) lock.waiters = data.waiters;
      return known.size > 0;
    }
    if (data.holder) {
      // What had the key in another way has ended, though that may not have been told.
      const lasts = (lock) => lock.mode === "shared" && data.holder.mode === "shared";
      for (const [id, lock] of known) if (!lasts(lock)) known.delete(id);
      put(this.byKey, data, data.holder, at);
      return true;
    }
    // An end may be told late: another lease has the key by then.
    if (!known.delete(data.token || data.key)) return false;
    if (known.size === 0) this.byKey.delete(data.key);
    return true;
  }

  /** Takes a row of a list: what is left of a lease changes with each renewal, of which no event tells. */
  refresh(row) {
    const known = this.byKey.get(row.key)?.get(row.token || row.key);
    if (known) Object.assign(known, lockOf(row.key, row.state, row, row.waiters, performance.now()));
  }

  remember(name, data) {
    const history = this.history.get(data.key) ?? [];
    this.history.delete(data.key);
    this.history.set(data.key, [{ name, at: Date.now(), ...data }, ...history].slice(0, HISTORY));
    if (this.history.size > KEYS) this.history.delete(this.history.keys().next().value);
  }

  all() {
    return [...this.byKey.values()].flatMap((locks) => [...locks.values()]);
  }

  /** Oldest grant first: those behind the token `after`, at most `most`; and how many there are in all. */
  page(after, most) {
    const all = this.all().sort((one, other) => one.token - other.token);
    const behind = all.filter((lock) => lock.token > after);
    return { rows: behind.slice(0, most), all: all.length, more: behind.length > most };
  }
}

/** The locks of a list, as `byKey` has them. */
export function listed(rows) {
  const [locks, at] = [new Map(), performance.now()];
  for (const row of rows) put(locks, row, row, at);
  return locks;
}

function put(locks, { key, state, waiters }, holder, at) {
  const leases = locks.get(key) ?? new Map();
  const [known] = leases.values();
  const lock = lockOf(key, holder.state ?? state, holder, waiters ?? known?.waiters ?? 0, at);
  locks.set(key, leases.set(lock.token || key, lock));
}

/** `at` is when it was heard, by performance.now(): what is told of times is of that moment. */
function lockOf(key, state, holder, waiters, at) {
  const { owner, label, kind, mode, limit, token = 0, ttlMs, validForMs, meta } = holder;
  const [since, validUntil] = [Date.parse(holder.since), Date.parse(holder.validUntil)];
  return {
    key, owner, label, kind, mode, limit, token, ttlMs, meta, since, validUntil, waiters,
    isResting: state === "resting",
    name: label ?? owner ?? "–",
    heldFor: () => performance.now() - at + (validUntil - validForMs - since),
    endsIn: () => validForMs - (performance.now() - at),
  };
}
