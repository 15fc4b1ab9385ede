package chipdrift;

import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Asks the selector what a line says, and answers with a line. See selector_process.py. */
public final class Driver {
    private static Bundle bundle;
    private static Choice choice;

    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(System.out, true, "UTF-8");
        BufferedReader in =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split("\t", -1);
            try {
                out.println(answer(words));
            } catch (BundleException error) {
                out.println("refused\t" + error.getMessage());
            }
        }
    }

    private static String answer(String[] words) throws Exception {
        switch (words[0]) {
            case "verify":
                return "" + Ed25519.verify(unhex(words[1]), unhex(words[2]), unhex(words[3]));
            case "open":
                bundle = Bundle.open(new File(words[1]), words[2], Long.parseLong(words[3]));
                return bundle.name() + "\t" + bundle.serial();
            case "select":
                choice = bundle.select(words[1], words[2], words[3]);
                return told();
            case "safe":
                choice = bundle.safe(words[1]);
                return told();
            case "golden":
                StringBuilder found = new StringBuilder("" + choice.golden.size());
                for (List<GoldenInput> sample : choice.golden) {
                    for (GoldenInput input : sample) {
                        found.append("\t" + input.name + ":" + input.dtype + ":");
                        found.append(java.util.Arrays.toString(input.shape).replace(" ", ""));
                        found.append(":" + input.file.getName());
                    }
                }
                return found.toString();
            case "check":
                Verdict verdict = choice.check(answers(words));
                return verdict.ok + "\t" + verdict.why;
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private static String told() {
        Map<String, String> options = new TreeMap<String, String>(choice.options);
        String context = choice.context == null ? "-" : choice.context.getPath();
        return String.join(
                "\t",
                choice.variant,
                choice.model.getPath(),
                "" + choice.npu,
                options.toString(),
                context,
                choice.why);
    }

    /** "check", then for each sample a word: its outputs in hexadecimal, with commas between. */
    private static List<byte[][]> answers(String[] words) {
        List<byte[][]> found = new ArrayList<byte[][]>();
        for (int sample = 1; sample < words.length; sample++) {
            String[] outputs = words[sample].split(",", -1);
            byte[][] bytes = new byte[outputs.length][];
            for (int at = 0; at < outputs.length; at++) {
                bytes[at] = unhex(outputs[at]);
            }
            found.add(bytes);
        }
        return found;
    }

    private static byte[] unhex(String digits) {
        byte[] found = new byte[digits.length() / 2];
        for (int at = 0; at < found.length; at++) {
            found[at] = (byte) Integer.parseInt(digits.substring(2 * at, 2 * at + 2), 16);
        }
        return found;
    }
}
