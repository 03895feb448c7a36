// The terms of a lock: when its key gets free, which may be later than its end, and for how long it can be renewed.

/** In milliseconds. `maxHoldMs` is Infinity where the caller sets no cap. */
export interface Terms {
  readonly delayMs: number;
  readonly minHoldMs: number;
  readonly maxHoldMs: number;
  readonly restMs: number;
}

export function termsOf(options: { readonly [name in keyof Terms]?: number | undefined }): Terms {
  const { delayMs = 0, minHoldMs = 0, maxHoldMs = Infinity, restMs = 0 } = options;
  for (const [name, span] of Object.entries({ delayMs, minHoldMs, restMs })) {
    if (!(span >= 0 && span < Infinity)) throw new RangeError(`${name}: expected milliseconds from 0`);
  }
  if (!(maxHoldMs > 0)) throw new RangeError("maxHoldMs: expected milliseconds above 0");
  const round = Math.round;
  return { delayMs: round(delayMs), minHoldMs: round(minHoldMs), maxHoldMs: round(maxHoldMs), restMs: round(restMs) };
}

/** What an acquire says of them. */
export function fieldsOf({ delayMs, minHoldMs, maxHoldMs }: Terms): Partial<Terms> {
  return {
    ...(delayMs > 0 && { delayMs }),
    ...(minHoldMs > 0 && { minHoldMs }),
    ...(maxHoldMs < Infinity && { maxHoldMs }),
  };
}

/** Whether the key may stay taken when the lease has ended. */
export function outlast({ delayMs, minHoldMs }: Terms): boolean {
  return delayMs > 0 || minHoldMs > 0;
}

/** Whether the key may stay taken when the lock was released. */
export function leaveARest({ minHoldMs, restMs }: Terms): boolean {
  return minHoldMs > 0 || restMs > 0;
}

/**
 * A validity that ends later than this is the last one; `first` is the end of the first. A validity is somewhat shorter than
 * what the sidecar promised, and not by the same time each.
 */
export function capOf({ maxHoldMs }: Terms, first: number, ttlMs: number): number {
  return first - ttlMs + maxHoldMs - ttlMs / 4 - 100;
}
