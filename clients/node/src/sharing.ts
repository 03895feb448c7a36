// Whether a lock has its key alone, or shares it: with how many others is a condition of each request.

/** `shared`: others may have the key, too. */
export type Mode = "exclusive" | "shared";

/** How many may share a key where no limit is named. */
export const MOST = 10_000;

/** `limit`: how many may share the key when the lock is granted, this one included. */
export interface Sharing {
  readonly mode: Mode;
  readonly limit?: number | undefined;
}

export const ALONE: Sharing = { mode: "exclusive" };

export interface SharingOptions {
  readonly shared?: boolean | undefined;
  readonly limit?: number | undefined;
}

export function sharingOf({ shared = false, limit }: SharingOptions): Sharing {
  if (limit === undefined) return shared ? { mode: "shared" } : ALONE;
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST) throw new RangeError(`limit: expected an integer from 1 to ${MOST}`);
  return { mode: "shared", limit };
}
