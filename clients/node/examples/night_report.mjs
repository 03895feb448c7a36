// One of many replicas writes the nightly report. Start it twice at once: one writes, the other one skips.

import { LockHeld, LockLost, Unavailable, withLock } from "lockside";

try {
  await withLock("examples/night-report", { ttlMs: 10_000, meta: { job: "night-report" } }, async (lock) => {
    for (let page = 0; page < 5; page++) {
      lock.check();
      console.log(`page ${page}, fencing token ${lock.token}`);
    }
  });
} catch (error) {
  if (error instanceof LockHeld) console.log(`skipped: ${error.message}`);
  else if (error instanceof LockLost || error instanceof Unavailable) console.log(`not done: ${error.message}`);
  else throw error;
}
