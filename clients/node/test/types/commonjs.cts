// What an application in TypeScript writes, as CommonJS.

import lockside = require("lockside");
import testing = require("lockside/testing");

export const client: lockside.Lockside = new testing.FakeLockside();

export function work(): Promise<number> {
  return lockside.withLock("x", (held: lockside.Lock) => held.token);
}
