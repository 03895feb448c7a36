package lockside;

/** Whether what was asked for was done. */
public enum Outcome {
    /** It was definitely not done. */
    NOT_APPLIED("not-applied"),
    /** It was done. */
    APPLIED("applied"),
    /** It may have been done. A lock that was granted so is rolled back by the sidecar. */
    UNKNOWN("unknown");

    private final String word;

    Outcome(String word) {
        this.word = word;
    }

    static Outcome of(Object word, Outcome otherwise) {
        for (Outcome outcome : values()) {
            if (outcome.word.equals(word)) {
                return outcome;
            }
        }
        return otherwise;
    }

    /** The sidecar's word for it, such as {@code not-applied}. */
    @Override
    public String toString() {
        return word;
    }
}
