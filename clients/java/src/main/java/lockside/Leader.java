package lockside;

import java.time.Instant;
import java.util.Map;
import java.util.function.BooleanSupplier;

/** The leader of an election, as the sidecar saw it when it was asked. Only {@link #isLeader} changes by itself. */
public final class Leader {
    private final String name;
    private final Long token;
    private final Instant since;
    private final Instant lastUpdate;
    private final Integer candidates;
    private final boolean isStale;
    private final BooleanSupplier leads;

    /** A leader in an answer. */
    Leader(Map<?, ?> view, BooleanSupplier leads) {
        name = view.get("name") instanceof String text ? text : null;
        token = view.get("token") instanceof Number number ? (Long) number.longValue() : null;
        since = Holder.instant(view.get("since"));
        lastUpdate = Holder.instant(view.get("last_update"));
        candidates = view.get("candidates") instanceof Number number ? (Integer) number.intValue() : null;
        isStale = Boolean.TRUE.equals(view.get("stale"));
        this.leads = leads;
    }

    /**
     * Whether the sidecar's own candidate leads now. It compares the clock and sends nothing: once true, it turns false by itself
     * when the validity has passed. Ask for the leader again before that.
     *
     * @return whether it leads
     */
    public boolean isLeader() {
        return leads.getAsBoolean();
    }

    /**
     * The name of the leader.
     *
     * @return the name; null: there is none, or it is not known
     */
    public String name() {
        return name;
    }

    /**
     * The fencing token of the leader: pass it to the storage, which must reject any token lower than the highest it has seen.
     *
     * @return the token, or null where there is no leader
     */
    public Long token() {
        return token;
    }

    /**
     * Since when it leads.
     *
     * @return the moment, or null where there is no leader
     */
    public Instant since() {
        return since;
    }

    /**
     * When the lead was last renewed; at a standby, when its sidecar last looked.
     *
     * @return the moment, or null before the first look
     */
    public Instant lastUpdate() {
        return lastUpdate;
    }

    /**
     * How many stand for election, with the leader.
     *
     * @return the number, or null where it is not known
     */
    public Integer candidates() {
        return candidates;
    }

    /**
     * Whether the sidecar has not seen Redis for longer than the ttl of the election, and so names no leader.
     *
     * @return whether it is so
     */
    public boolean isStale() {
        return isStale;
    }
}
