package lockside;

import java.time.Duration;

/** The locks, events and elections of a sidecar. */
record SidecarLockside(Sidecar sidecar, String owner) implements Lockside {
    @Override
    public LockRequest lock(String key) {
        return new LockRequest((order, listener) -> new SidecarSession(sidecar, order, listener), () -> watch(key), key, owner);
    }

    @Override
    public BundleRequest bundle(String... keys) {
        return new BundleRequest((order, listener) -> new SidecarSession(sidecar, order, listener), keys, owner);
    }

    @Override
    public Watch watch(String key) {
        return EventStream.watch(sidecar, Course.ofKey(key));
    }

    @Override
    public Watch watchPrefix(String prefix) {
        return EventStream.watch(sidecar, Course.ofPrefix(prefix));
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
