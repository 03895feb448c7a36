package lockside;

import java.time.Duration;

/** The locks and elections of a sidecar. */
record SidecarLockside(Sidecar sidecar, String owner) implements Lockside {
    @Override
    public LockRequest lock(String key) {
        return new LockRequest((order, listener) -> new SidecarSession(sidecar, order, listener), key, owner);
    }

    @Override
    public Leader leader(String election) throws InterruptedException {
        return new Election(sidecar, election).leader();
    }

    @Override
    public void resign(String election, Duration pause) throws InterruptedException {
        new Election(sidecar, election).resign(pause);
    }
}
