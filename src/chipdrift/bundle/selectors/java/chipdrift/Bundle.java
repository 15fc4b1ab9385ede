package chipdrift;

import java.io.File;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.Charset;
import java.nio.charset.CodingErrorAction;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * A folder that {@code chipdrift bundle} wrote, and what each chip gets of it.
 *
 * <pre>{@code
 * Bundle bundle = Bundle.open(folder, PUBLIC_KEY_HEX, 0);
 * Choice choice = bundle.select(Build.SOC_MODEL, Build.SOC_MANUFACTURER, "2.51.0");
 * // Run choice.golden with choice.model and choice.options; with the NPU only if choice.npu.
 * if (!choice.check(answers).ok) choice = bundle.safe("the self-check failed");
 * }</pre>
 *
 * The public key belongs into the app: a key that is read from the bundle proves nothing.
 */
public final class Bundle {
    private static final int SCHEMA_VERSION = 1;
    private static final int MOST_MANIFEST = 16 << 20;
    private static final Pattern NAME =
            Pattern.compile("[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*");

    private final Files files;
    private final Map<String, Object> told;
    private final Map<String, Map<String, Object>> signed;
    private final Map<String, Map<String, Object>> variants;

    private Bundle(File folder, Map<String, Object> told) {
        this.files = new Files(folder);
        this.told = told;
        this.signed = byName(list(get(told, "files")));
        this.variants = byName(list(get(told, "variants")));
    }

    /**
     * Open a bundle.
     *
     * @param publicKey the 64 hexadecimal digits that {@code chipdrift bundle} printed
     * @param leastSerial the highest {@link #serial} seen so far: an older bundle is refused
     * @throws BundleException where the manifest is not to be trusted, or the safe model lacks
     */
    public static Bundle open(File folder, String publicKey, long leastSerial)
            throws BundleException {
        if (!publicKey.matches("[0-9a-fA-F]{64}")) {
            throw new BundleException(
                    "the public key is no 64 hexadecimal digits: copy the line that chipdrift printed");
        }
        Files files = new Files(folder);
        byte[] manifest = files.small("manifest.json", MOST_MANIFEST);
        byte[] signature = files.small("manifest.json.sig", 64);
        if (!Ed25519.verify(unhex(publicKey), manifest, signature)) {
            throw new BundleException(
                    "manifest.json is not signed by the app's key: it was changed or is somebody"
                            + " else's");
        }
        try {
            Map<String, Object> told = map(Json.parse(utf8(manifest)));
            long version = number(get(told, "schema_version"));
            if (!"chipdrift-bundle".equals(get(told, "format")) || version != SCHEMA_VERSION) {
                throw new BundleException(
                        "manifest.json has schema version "
                                + version
                                + ", and this selector reads "
                                + SCHEMA_VERSION
                                + ": carry the selector of the chipdrift that wrote it");
            }
            long serial = number(get(told, "serial"));
            if (serial < leastSerial) {
                throw new BundleException(
                        "the bundle's serial "
                                + serial
                                + " is older than "
                                + leastSerial
                                + ", which was here before: an older bundle was put in its place");
            }
            Bundle bundle = new Bundle(folder, told);
            bundle.consistent();
            bundle.there((String) get(told, "safe"));
            return bundle;
        } catch (ClassCastException | NullPointerException | IllegalArgumentException error) {
            throw new BundleException(
                    "manifest.json is signed and cannot be read: carry the selector of the chipdrift"
                            + " that wrote it");
        }
    }

    /** The bundle's name: the model's, unless it was given another. */
    public String name() {
        return (String) get(told, "name");
    }

    /** Rises from bundle to bundle: keep the highest seen, and give it to the next open. */
    public long serial() {
        return number(get(told, "serial"));
    }

    /**
     * What a chip gets.
     *
     * @param socModel Android's ro.soc.model, Build.SOC_MODEL from API 31 on
     * @param socManufacturer ro.soc.manufacturer, "" or null where it is not known
     * @param qnnSdk the release of the QNN libraries that the app carries, as in "2.51.0"; without
     *     it, or with another, no precompiled file is handed out
     * @throws BundleException where a file that it would hand out is not what was signed
     */
    public Choice select(String socModel, String socManufacturer, String qnnSdk)
            throws BundleException {
        String model = socModel == null ? "" : socModel.trim();
        String maker = socManufacturer == null ? "" : socManufacturer.trim();
        if (list(get(told, "off")).contains(model)) {
            return safe(model + " is on the list of chips whose NPU stays off");
        }
        for (Object one : list(get(told, "chips"))) {
            Map<String, Object> chip = map(one);
            List<Object> makers = list(get(chip, "manufacturers"));
            boolean ours = maker.isEmpty() || makers.isEmpty() || makers.contains(maker);
            if (ours && list(get(chip, "names")).contains(model)) {
                return chosen(chip, qnnSdk == null ? "" : qnnSdk.trim());
            }
        }
        return safe("nobody has measured " + (model.isEmpty() ? "a chip without a name" : model));
    }

    /** The variant for a chip that nobody knows, with the NPU off. */
    public Choice safe(String why) throws BundleException {
        String variant = (String) get(told, "safe");
        return new Choice(variant, model(variant), why);
    }

    private Choice chosen(Map<String, Object> chip, String sdk) throws BundleException {
        String variant = (String) get(chip, "variant");
        Map<String, String> options = new LinkedHashMap<String, String>();
        for (Map.Entry<String, Object> entry : map(get(chip, "options")).entrySet()) {
            options.put(entry.getKey(), (String) entry.getValue());
        }
        File context = null;
        if (get(chip, "context") != null && sdk.equals(get(map(get(chip, "context")), "sdk"))) {
            checked((String) get(map(get(chip, "context")), "binary"));
            context = checked((String) get(map(get(chip, "context")), "file"));
        }
        List<List<GoldenInput>> samples = new ArrayList<List<GoldenInput>>();
        List<byte[][]> expected = new ArrayList<byte[][]>();
        List<Choice.Limit> limits = new ArrayList<Choice.Limit>();
        int top = -1;
        if (get(chip, "golden") != null) {
            Map<String, Object> golden = map(get(chip, "golden"));
            for (Object one : list(get(map(get(told, "golden")), "samples"))) {
                samples.add(inputs(list(one)));
            }
            for (Object one : list(get(golden, "expected"))) {
                expected.add(contents(list(one)));
            }
            for (Object one : list(get(golden, "limits"))) {
                limits.add(limit(map(one)));
            }
            top = get(golden, "top") == null ? -1 : (int) number(get(golden, "top"));
        }
        return new Choice(
                variant,
                model(variant),
                (Boolean) get(chip, "npu"),
                (String) get(chip, "why"),
                options,
                context,
                samples,
                expected,
                limits,
                top);
    }

    private List<GoldenInput> inputs(List<Object> names) throws BundleException {
        List<GoldenInput> found = new ArrayList<GoldenInput>();
        List<Object> specs = list(get(map(get(told, "golden")), "inputs"));
        for (int at = 0; at < specs.size(); at++) {
            Map<String, Object> spec = map(specs.get(at));
            List<Object> dims = list(get(spec, "shape"));
            long[] shape = new long[dims.size()];
            for (int dim = 0; dim < shape.length; dim++) {
                shape[dim] = number(dims.get(dim));
            }
            String dtype = (String) get(spec, "dtype");
            File file = checked((String) names.get(at));
            found.add(new GoldenInput((String) get(spec, "name"), dtype, shape, file));
        }
        return found;
    }

    private byte[][] contents(List<Object> names) throws BundleException {
        byte[][] found = new byte[names.size()][];
        for (int at = 0; at < found.length; at++) {
            checked((String) names.get(at));
            found[at] = files.small((String) names.get(at), Integer.MAX_VALUE - 8);
        }
        return found;
    }

    private static Choice.Limit limit(Map<String, Object> told) {
        double step = get(told, "step") == null ? 0 : (Double) get(told, "step");
        String dtype = (String) get(told, "dtype");
        return new Choice.Limit((String) get(told, "name"), dtype, step, (Double) get(told, "most"));
    }

    private File model(String variant) throws BundleException {
        Map<String, Object> entry = variants.get(variant);
        for (Object name : list(get(entry, "beside"))) {
            checked((String) name);
        }
        return checked((String) get(entry, "file"));
    }

    /** Throws where a variant's files lack, or are not as long as was signed; none is hashed. */
    private void there(String variant) throws BundleException {
        Map<String, Object> entry = variants.get(variant);
        List<Object> names = new ArrayList<Object>(list(get(entry, "beside")));
        names.add(get(entry, "file"));
        for (Object name : names) {
            files.sized((String) name, number(get(signed.get(name), "size")));
        }
    }

    private File checked(String name) throws BundleException {
        Map<String, Object> entry = signed.get(name);
        return files.checked(name, number(get(entry, "size")), (String) get(entry, "sha256"));
    }

    /** Throws where the manifest names what it does not have, or a file outside of the bundle. */
    private void consistent() throws BundleException {
        for (String name : signed.keySet()) {
            if (!NAME.matcher(name).matches()) {
                throw new BundleException("the bundle names a file outside of it: " + name);
            }
        }
        List<Object> names = new ArrayList<Object>();
        for (Map<String, Object> variant : variants.values()) {
            names.add(variant.get("file"));
            names.addAll(list(variant.get("beside")));
        }
        Map<String, Object> golden = map(get(told, "golden"));
        List<Object> samples = list(get(golden, "samples"));
        for (Object files : samples) {
            need(list(files).size() == list(get(golden, "inputs")).size());
            names.addAll(list(files));
        }
        List<Object> wanted = new ArrayList<Object>();
        wanted.add(get(told, "safe"));
        for (Object one : list(get(told, "chips"))) {
            Map<String, Object> chip = map(one);
            wanted.add(get(chip, "variant"));
            strings(list(get(chip, "names")));
            strings(list(get(chip, "manufacturers")));
            strings(map(get(chip, "options")).values());
            need(get(chip, "npu") instanceof Boolean && get(chip, "why") instanceof String);
            if (get(chip, "context") != null) {
                need(get(map(get(chip, "context")), "sdk") instanceof String);
                names.add(get(map(get(chip, "context")), "file"));
                names.add(get(map(get(chip, "context")), "binary"));
            }
            if (get(chip, "golden") != null) {
                Map<String, Object> own = map(get(chip, "golden"));
                need(list(get(own, "expected")).size() == samples.size());
                if (get(own, "top") != null) {
                    number(get(own, "top"));
                }
                for (Object told : list(get(own, "limits"))) {
                    Values.size(limit(map(told)).dtype);
                }
                for (Object files : list(get(own, "expected"))) {
                    need(list(files).size() == list(get(own, "limits")).size());
                    names.addAll(list(files));
                }
            }
        }
        need(signed.keySet().containsAll(names));
        need(variants.keySet().containsAll(wanted));
        strings(list(get(told, "off")));
        need(get(told, "name") instanceof String);
        for (Object told : list(get(golden, "inputs"))) {
            strings(Arrays.asList(get(map(told), "name"), get(map(told), "dtype")));
            for (Object dim : list(get(map(told), "shape"))) {
                number(dim);
            }
        }
        for (Map<String, Object> entry : signed.values()) {
            number(get(entry, "size"));
            need(get(entry, "sha256") instanceof String);
        }
    }

    private static void strings(Collection<Object> values) {
        for (Object value : values) {
            need(value instanceof String);
        }
    }

    private static void need(boolean held) {
        if (!held) {
            throw new IllegalArgumentException();
        }
    }

    private static Map<String, Map<String, Object>> byName(List<Object> entries) {
        Map<String, Map<String, Object>> found = new LinkedHashMap<String, Map<String, Object>>();
        for (Object one : entries) {
            found.put((String) get(map(one), "name"), map(one));
        }
        return found;
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> map(Object value) {
        if (value == null) {
            throw new IllegalArgumentException();
        }
        return (Map<String, Object>) value;
    }

    @SuppressWarnings("unchecked")
    private static List<Object> list(Object value) {
        if (value == null) {
            throw new IllegalArgumentException();
        }
        return (List<Object>) value;
    }

    private static Object get(Map<String, Object> from, String name) {
        need(from.containsKey(name));
        return from.get(name);
    }

    /** A whole number; beyond 2^53 a double has no odd ones. */
    private static long number(Object value) {
        double found = (Double) value;
        need(found == Math.rint(found) && Math.abs(found) <= 9007199254740992.0);
        return (long) found;
    }

    private static String utf8(byte[] data) {
        try {
            return Charset.forName("UTF-8")
                    .newDecoder()
                    .onMalformedInput(CodingErrorAction.REPORT)
                    .decode(ByteBuffer.wrap(data))
                    .toString();
        } catch (CharacterCodingException error) {
            throw new IllegalArgumentException(error);
        }
    }

    private static byte[] unhex(String digits) {
        byte[] found = new byte[digits.length() / 2];
        for (int at = 0; at < found.length; at++) {
            found[at] = (byte) Integer.parseInt(digits.substring(2 * at, 2 * at + 2), 16);
        }
        return found;
    }
}
