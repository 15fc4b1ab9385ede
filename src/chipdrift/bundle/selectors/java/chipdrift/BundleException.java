package chipdrift;

/** The bundle cannot be trusted or is not whole; the message is one sentence that says why. */
public final class BundleException extends Exception {
    private static final long serialVersionUID = 1L;

    BundleException(String words) {
        super(words);
    }
}
