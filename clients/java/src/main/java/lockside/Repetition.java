package lockside;

import java.util.List;

import lockside.Attempt.Grant;

/**
 * A hold that was repeated under its Idempotency-Key, at the same or at the next sidecar.
 *
 * @param grant what was granted now: the same leases, or another one; or null
 * @param loss why it is lost; null where it is not
 */
record Repetition(Grant grant, Loss loss) {
    /**
     * Repeats it once. An answer is waited for until the deadline: a repetition that was told of the lease and is then broken off
     * would release it.
     *
     * @param isConnected whether the connection before this one still holds the lock
     */
    static Repetition of(Attempt attempt, Order order, List<Lease> leases, long deadline, boolean isConnected) {
        try {
            Grant grant = attempt.send(0, Math.max(deadline - Clock.now(), 0), deadline);
            Lease other = grant.leases().stream().filter(lease -> !isSame(leases, lease)).findFirst().orElse(null);
            return new Repetition(grant, other == null ? null : new Loss("expired", other.key()));
        } catch (LockHeldException held) {
            Long token = held.holder() == null ? null : held.holder().token();
            // Of those who share a key its holder is any, which says nothing of our lease. That would have been told again.
            boolean isAmongOthers = attempt.claim().shares(held.key()) && "shared".equals(held.mode());
            Lease lease = Claim.leaseOf(leases, held.key());
            if (!isAmongOthers && (token == null || lease == null || token != lease.token())) {
                return new Repetition(null, new Loss("superseded", held.key()));
            }
            // The sidecar met the end of the connection first, and the key stays taken for no longer than the terms say.
            boolean isOver = !isConnected && (isAmongOthers || order.terms().outlast());
            return new Repetition(null, isOver ? new Loss("expired", held.key()) : null);
        } catch (RefusedException refused) {
            boolean isUnauthorized = refused.status() == 401 || refused.status() == 403;
            return new Repetition(null, isUnauthorized && !isConnected ? new Loss("unauthorized", null) : null);
        } catch (LocksideException | Attempt.GivenUp again) {
            return new Repetition(null, null);
        }
    }

    private static boolean isSame(List<Lease> leases, Lease repeated) {
        Lease before = Claim.leaseOf(leases, repeated.key());
        return before != null && before.token() == repeated.token();
    }
}
