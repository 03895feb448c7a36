package lockside;

import java.time.Duration;
import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.util.Map;

/**
 * The holder of a key. Whatever is not known is null: of another program than lockside only the expiry is.
 *
 * @param owner the owner's name
 * @param kind {@code system} or {@code user}
 * @param token the fencing token
 * @param since when it was acquired
 * @param validFor how long the lease lasts unless it is renewed
 * @param validUntil when the lease ends unless it is renewed
 * @param meta what the holder gave with it: JSON as maps, lists, strings, numbers and booleans
 * @param mode {@code exclusive} or {@code shared}
 * @param limit how many may share the key, as this holder asked for it
 * @param state of one that shares the key: {@code held}, or {@code resting} where it has released it, and its terms keep it taken
 */
public record Holder(
        String owner,
        String kind,
        Long token,
        Instant since,
        Duration validFor,
        Instant validUntil,
        Object meta,
        String mode,
        Integer limit,
        String state) {

    /** The holder in an answer; null where there is none. */
    static Holder of(Object view) {
        if (!(view instanceof Map<?, ?> members)) {
            return null;
        }
        Object left = members.get("validForMs");
        return new Holder(
                text(members.get("owner")),
                text(members.get("kind")),
                members.get("token") instanceof Number token ? (Long) token.longValue() : null,
                instant(members.get("since")),
                left instanceof Number millis ? Duration.ofMillis(millis.longValue()) : null,
                instant(members.get("validUntil")),
                members.get("meta"),
                text(members.get("mode")),
                members.get("limit") instanceof Number limit ? (Integer) limit.intValue() : null,
                text(members.get("state")));
    }

    private static String text(Object value) {
        return value instanceof String text ? text : null;
    }

    static Instant instant(Object value) {
        try {
            return value instanceof String text ? Instant.parse(text) : null;
        } catch (DateTimeParseException notOne) {
            return null;
        }
    }
}
