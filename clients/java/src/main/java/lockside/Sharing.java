package lockside;

import java.util.Map;

/**
 * Whether a lock has its key alone, or shares it: with how many others is a condition of each request.
 *
 * @param limit how many may share the key when the lock is granted, this one included; null: none was named
 */
record Sharing(boolean isShared, Integer limit) {
    static final Sharing ALONE = new Sharing(false, null);
    static final Sharing SHARED = new Sharing(true, null);

    /** How many may share a key where no limit is named. */
    static final int MOST = 10_000;

    Sharing shared() {
        return new Sharing(true, limit);
    }

    static Sharing upTo(int limit) {
        if (limit < 1 || limit > MOST) {
            throw new IllegalArgumentException("limit: expected a number from 1 to " + MOST);
        }
        return new Sharing(true, limit);
    }

    String mode() {
        return isShared ? "shared" : "exclusive";
    }

    /** What an acquire says of it. */
    void addTo(Map<String, Object> body) {
        if (isShared) {
            body.put("mode", mode());
        }
        if (limit != null) {
            body.put("limit", limit);
        }
    }

    /** Whether one who asks for this may have a key that is held so by so many. */
    boolean fits(Sharing others, int count) {
        return count == 0 || isShared && others.isShared && count < (limit == null ? MOST : limit);
    }
}
