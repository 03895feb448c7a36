// The clock that leases are counted by: milliseconds that never step, and that go on while the machine sleeps.

import { uptime } from "node:os";

// On Linux the time since boot counts sleep, which the clock of `performance` does not; it is coarse, so it only corrects.
const countsSleep = process.platform === "linux";
const COARSE = 50;
const start = uptime() * 1000 - performance.now();
let slept = 0;

export function now(): number {
  const awake = performance.now();
  if (countsSleep) {
    const more = uptime() * 1000 - start - awake;
    if (more > slept + COARSE) slept = more;
  }
  return awake + slept;
}

/** Waits; an abort ends it early, and is no error. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, Math.min(Math.max(milliseconds, 0), 2 ** 31 - 1));
    signal?.addEventListener("abort", end);
  });
}
