package lockside;

import java.io.Serializable;
import java.time.Duration;
import java.util.Map;
import java.util.Set;

/** What an error carries; and the table from the sidecar's answers to errors. */
record Problem(String key, String code, Outcome outcome, int status, String requestId, Duration retryAfter)
        implements Serializable {

    private static final Set<String> UNAVAILABLE = Set.of(
            "too-many-waiters", "too-many-requests", "quota-exceeded", "overloaded", "draining",
            "keys-unavailable", "redis-unavailable", "redis-refused", "too-late");

    static Problem of(String key, String code, Outcome outcome) {
        return new Problem(key, code, outcome, 0, null, null);
    }

    /** The same of what does nothing. */
    Problem notApplied() {
        return new Problem(key, code, Outcome.NOT_APPLIED, status, requestId, retryAfter);
    }

    /** The members of an answer; none where it is no object. */
    static Map<?, ?> view(String text) {
        try {
            return Json.read(text) instanceof Map<?, ?> view ? view : Map.of();
        } catch (IllegalArgumentException notJson) {
            return Map.of();
        }
    }

    /** The error for an answer that is no success. */
    static LocksideException error(String name, int status, Object answer, String retryAfter) {
        Map<?, ?> members = answer instanceof Map<?, ?> map ? map : Map.of();
        // Of several keys the one that is in the way.
        String key = members.get("key") instanceof String text ? text : name;
        Object detail = members.get("detail");
        String message = "`" + key + "`: " + (detail instanceof String text ? text
                : "status " + status + "; does the URL name lockside's API?");
        String code = members.get("code") instanceof String text ? text : null;
        Outcome outcome = Outcome.of(members.get("outcome"), status >= 500 ? Outcome.UNKNOWN : Outcome.NOT_APPLIED);
        String requestId = members.get("requestId") instanceof String text ? text : null;
        boolean isPause = retryAfter != null && retryAfter.matches("[0-9]{1,9}");
        Duration pause = isPause ? Duration.ofSeconds(Long.parseLong(retryAfter)) : null;
        Problem problem = new Problem(key, code, outcome, status, requestId, pause);
        if ("held".equals(code) || "wait-timeout".equals(code)) {
            Integer waiters = members.get("waiters") instanceof Number number ? (Integer) number.intValue() : null;
            String state = members.get("state") instanceof String text ? text : null;
            Integer sharedBy = members.get("sharedBy") instanceof Number number ? (Integer) number.intValue() : null;
            return new LockHeldException(message, problem, Holder.of(members.get("holder")), waiters, state, sharedBy);
        }
        if (outcome == Outcome.UNKNOWN) {
            return new OutcomeUnknownException(message, null, problem);
        }
        if (code != null && UNAVAILABLE.contains(code)) {
            return new UnavailableException(message, null, problem);
        }
        return new RefusedException(message, null, problem);
    }
}
