package lockside;

import lockside.Attempt.Grant;

/**
 * A hold that was repeated under its Idempotency-Key, at the same or at the next sidecar.
 *
 * @param grant what was granted now: the same lease, or another one; or null
 * @param loss why the lock is lost; null where it is not
 */
record Repetition(Grant grant, String loss) {
    /**
     * Repeats it once. An answer is waited for until the deadline: a repetition that was told of the lease and is then broken off
     * would release it.
     *
     * @param isConnected whether the connection before this one still holds the lock
     */
    static Repetition of(Attempt attempt, Order order, Lease lease, long deadline, boolean isConnected) {
        try {
            Grant grant = attempt.send(0, Math.max(deadline - Clock.now(), 0), deadline);
            return new Repetition(grant, grant.lease().token() == lease.token() ? null : "expired");
        } catch (LockHeldException held) {
            Long token = held.holder() == null ? null : held.holder().token();
            // Of those who share a key its holder is any, which says nothing of our lease. That would have been told again.
            boolean isAmongOthers = order.sharing().isShared() && "shared".equals(held.mode());
            if (!isAmongOthers && (token == null || token != lease.token())) {
                return new Repetition(null, "superseded");
            }
            // The sidecar met the end of the connection first, and the key stays taken for no longer than the terms say.
            return new Repetition(null, !isConnected && (isAmongOthers || order.terms().outlast()) ? "expired" : null);
        } catch (RefusedException refused) {
            boolean isUnauthorized = refused.status() == 401 || refused.status() == 403;
            return new Repetition(null, isUnauthorized && !isConnected ? "unauthorized" : null);
        } catch (LocksideException | Attempt.GivenUp again) {
            return new Repetition(null, null);
        }
    }
}
