package chipdrift;

/** What a self-check found. */
public final class Verdict {
    /** Whether the answers are those that were measured, within what is allowed. */
    public final boolean ok;

    /** One sentence. */
    public final String why;

    /** The largest distance, in steps of the output's quantizer, or in the output's own unit. */
    public final double worst;

    Verdict(boolean ok, String why, double worst) {
        this.ok = ok;
        this.why = why;
        this.worst = worst;
    }
}
