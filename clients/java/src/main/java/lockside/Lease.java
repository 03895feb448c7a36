package lockside;

/**
 * What was granted.
 *
 * @param validUntil by the clock of this process
 */
record Lease(String key, long token, String owner, long validUntil) {}
