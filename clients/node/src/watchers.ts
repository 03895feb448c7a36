// Those who watch a fake: what happens to its locks is put into a queue of each.

import type { Course } from "./course.js";
import type { LockEvent, StateEvent } from "./event.js";
import type { Feed } from "./watch.js";

export class Watchers {
  readonly #feeds = new Set<FakeFeed>();

  /** `states` are those of the locks that are not free. */
  constructor(private readonly states: () => StateEvent[]) {}

  tell(event: Exclude<LockEvent, { type: "synced" | "gap" }>): void {
    for (const feed of this.#feeds) if (feed.covers(event.key)) feed.put(event);
  }

  gap(): void {
    for (const feed of this.#feeds) {
      feed.put({ type: "gap" });
      this.#begin(feed);
    }
  }

  open({ name, isKey }: Course): FakeFeed {
    const covers = (key: string) => (isKey ? key === name : key.startsWith(name));
    const feed: FakeFeed = new FakeFeed(isKey ? name : undefined, covers, () => this.#feeds.delete(feed));
    this.#feeds.add(feed);
    this.#begin(feed);
    return feed;
  }

  #begin(feed: FakeFeed): void {
    const states = this.states().filter(({ key }) => feed.covers(key));
    if (feed.key !== undefined && states.length === 0) {
      states.push({ type: "state", key: feed.key, state: "free", token: 0, waiters: 0 });
    }
    for (const event of [...states, { type: "synced" } as const]) feed.put(event);
  }
}

class FakeFeed implements Feed {
  readonly #events: LockEvent[] = [];
  #isClosed = false;
  #wake: (() => void) | undefined;

  constructor(
    readonly key: string | undefined,
    readonly covers: (key: string) => boolean,
    private readonly ended: () => void,
  ) {}

  put(event: LockEvent): void {
    this.#events.push(event);
    this.#wake?.();
  }

  async next(): Promise<LockEvent | undefined> {
    while (!this.#isClosed && this.#events.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#isClosed ? undefined : this.#events.shift();
  }

  close(): void {
    this.#isClosed = true;
    this.ended();
    this.#wake?.();
  }
}
