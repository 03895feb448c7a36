package lockside;

/**
 * Why a lock or a bundle is not held any more.
 *
 * @param key which of several keys was lost first; null: that is not known, or all were
 */
record Loss(String reason, String key) {
    LockLostException exception(Order order) {
        return new LockLostException(key == null ? order.key() : key, reason);
    }

    /** In a thread of its own, because what the application does there may take its time, or release the lock. */
    void tell(Session.Listener listener, Order order) {
        Thread teller = new Thread(null, () -> listener.lost(reason), "lockside lost " + order.key(), 0, false);
        teller.setDaemon(true);
        try {
            teller.start();
        } catch (OutOfMemoryError noThread) {
            listener.lost(reason);
        }
    }
}
