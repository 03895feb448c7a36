// What all requests share: their credential, and the error for one that failed.

import type { Sidecar } from "./address.js";
import { OutcomeUnknown, Refused, Unavailable } from "./errors.js";
import { Broken, type Exchange } from "./exchange.js";

export async function credentialOf(sidecar: Sidecar, key: string): Promise<Record<string, string>> {
  try {
    return await sidecar.headers();
  } catch (error) {
    throw new Refused(`\`${key}\`: the token file: ${(error as Error).message}`, { key, cause: error });
  }
}

/** The error for an exchange that failed. */
export function explained(error: unknown, exchange: Exchange, sidecar: Sidecar, key: string): unknown {
  if (!(error instanceof Broken) && !isOfSocket(error)) return error;
  const { address } = sidecar;
  if (exchange.isConnected) {
    return new OutcomeUnknown(`\`${key}\`: no answer from lockside at ${address}: ${error.message}`, { key, cause: error });
  }
  const text = `cannot connect to lockside at ${address}: ${error.message}; is it running?`;
  return new Unavailable(text, { key, cause: error });
}

/** An error of the system, or of the parser: both have a code. */
function isOfSocket(error: unknown): error is Error {
  return error instanceof Error && !("outcome" in error) && "code" in error;
}

/** The object in an answer; an empty one where there is none. */
export function objectIn(text: string): object {
  try {
    const content: unknown = JSON.parse(text);
    return typeof content === "object" && content !== null ? content : {};
  } catch {
    return {};
  }
}

/** A name as one segment of a path. */
export function segmentOf(name: string): string {
  return encodeURIComponent(name).replace(/^\.+$/, (dots) => "%2E".repeat(dots.length));
}
