package lockside;

/**
 * What was granted of one key.
 *
 * @param mode {@code exclusive} or {@code shared}, as the sidecar says it
 * @param limit what was asked for; null: none
 * @param validUntil by the clock of this process
 */
record Lease(String key, long token, String owner, String mode, Integer limit, long validUntil) {}
