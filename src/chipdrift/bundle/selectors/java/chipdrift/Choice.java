package chipdrift;

import java.io.File;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What to load for a chip. The hashes of all its files were checked. */
public final class Choice {
    /** The variant's name. */
    public final String variant;

    /** The model; what it reads beside it was checked, too. */
    public final File model;

    /** Whether the NPU may be used at all. */
    public final boolean npu;

    /** One sentence. */
    public final String why;

    /** Options for the runtime on this chip. */
    public final Map<String, String> options;

    /** A model that was compiled for this chip and SDK, to be tried before {@link #model}; or null. */
    public final File context;

    /** Samples for the self-check; empty where there is nothing to check. */
    public final List<List<GoldenInput>> golden;

    private final List<byte[][]> expected;
    private final List<Limit> limits;
    private final int top;

    /** How far an output may be off; step is 0 where it has no quantizer. */
    static final class Limit {
        final String name;
        final String dtype;
        final double step;
        final double most;

        Limit(String name, String dtype, double step, double most) {
            this.name = name;
            this.dtype = dtype;
            this.step = step;
            this.most = most;
        }
    }

    Choice(String variant, File model, String why) {
        this(
                variant,
                model,
                false,
                why,
                Collections.<String, String>emptyMap(),
                null,
                Collections.<List<GoldenInput>>emptyList(),
                new ArrayList<byte[][]>(),
                new ArrayList<Limit>(),
                -1);
    }

    Choice(
            String variant,
            File model,
            boolean npu,
            String why,
            Map<String, String> options,
            File context,
            List<List<GoldenInput>> golden,
            List<byte[][]> expected,
            List<Limit> limits,
            int top) {
        this.variant = variant;
        this.model = model;
        this.npu = npu;
        this.why = why;
        this.options = Collections.unmodifiableMap(options);
        this.context = context;
        this.golden = Collections.unmodifiableList(golden);
        this.expected = expected;
        this.limits = limits;
        this.top = top;
    }

    /**
     * Hold the outputs of all golden samples, in order, against what was measured.
     *
     * @param answers for each sample, for each output in the model's order, its values as
     *     little-endian bytes
     */
    public Verdict check(List<byte[][]> answers) {
        if (expected.isEmpty()) {
            return new Verdict(true, "nothing to check: no answers were measured for this choice", 0);
        }
        if (answers.size() != expected.size()) {
            String words = answers.size() + " samples answered, of " + expected.size();
            return new Verdict(false, words, 0);
        }
        double worst = 0;
        for (int sample = 0; sample < expected.size(); sample++) {
            byte[][] given = answers.get(sample);
            byte[][] wanted = expected.get(sample);
            if (given.length != wanted.length) {
                String words = given.length + " outputs, of " + wanted.length;
                return new Verdict(false, "sample " + sample + ": " + words, 0);
            }
            for (int output = 0; output < limits.size(); output++) {
                Verdict found = compare(sample, output, given[output], wanted[output]);
                if (!found.ok) {
                    return found;
                }
                worst = Math.max(worst, found.worst);
            }
        }
        return new Verdict(true, "the answers are those that were measured", worst);
    }

    private Verdict compare(int sample, int output, byte[] given, byte[] wanted) {
        Limit limit = limits.get(output);
        String where = "sample " + sample + ": ";
        if (given.length != wanted.length) {
            String words = limit.name + " has " + given.length + " bytes, and " + wanted.length;
            return new Verdict(false, where + words + " were measured", 0);
        }
        double[] found = Values.read(limit.dtype, given);
        double[] expects = Values.read(limit.dtype, wanted);
        double worst = 0;
        for (int at = 0; at < found.length; at++) {
            if (found[at] != expects[at]) {
                double apart = Math.abs(found[at] - expects[at]);
                worst = Math.max(worst, Double.isNaN(apart) ? Double.POSITIVE_INFINITY : apart);
            }
        }
        double step = limit.step > 0 ? limit.step : 1;
        if (worst > limit.most) {
            String words =
                    String.format(
                            Locale.ROOT,
                            "%s is %.3g%s off what was measured, and %.3g are allowed",
                            limit.name,
                            worst / step,
                            limit.step > 0 ? " steps" : "",
                            limit.most / step);
            return new Verdict(false, where + words, worst / step);
        }
        if (output == top && highest(found) != highest(expects)) {
            return new Verdict(false, where + "another answer than was measured", worst / step);
        }
        return new Verdict(true, "", worst / step);
    }

    private static int highest(double[] values) {
        int best = 0;
        for (int at = 1; at < values.length; at++) {
            if (values[at] > values[best]) {
                best = at;
            }
        }
        return best;
    }
}
