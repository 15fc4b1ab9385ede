package chipdrift;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON as in RFC 8259, strictly: objects become Map, arrays List, numbers Double. A name that comes
 * twice in an object is refused. Whatever is wrong throws IllegalArgumentException.
 */
final class Json {
    private static final int DEEPEST = 64;
    private final String text;
    private int at;
    private int depth;

    private Json(String text) {
        this.text = text;
    }

    static Object parse(String text) {
        Json reader = new Json(text);
        Object found = reader.value();
        reader.blank();
        if (reader.at != text.length()) {
            throw reader.wrong();
        }
        return found;
    }

    private IllegalArgumentException wrong() {
        return new IllegalArgumentException("no JSON at character " + at);
    }

    private void blank() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private boolean take(char wanted) {
        blank();
        if (at < text.length() && text.charAt(at) == wanted) {
            at++;
            return true;
        }
        return false;
    }

    private void need(char wanted) {
        if (!take(wanted)) {
            throw wrong();
        }
    }

    private Object value() {
        blank();
        if (at >= text.length() || depth > DEEPEST) {
            throw wrong();
        }
        char first = text.charAt(at);
        if (first == '{' || first == '[') {
            at++;
            depth++;
            Object found = first == '{' ? object() : array();
            depth--;
            return found;
        }
        if (first == '"') {
            return string();
        }
        if (text.startsWith("true", at)) {
            at += 4;
            return Boolean.TRUE;
        }
        if (text.startsWith("false", at)) {
            at += 5;
            return Boolean.FALSE;
        }
        if (text.startsWith("null", at)) {
            at += 4;
            return null;
        }
        return number();
    }

    private Map<String, Object> object() {
        Map<String, Object> found = new LinkedHashMap<String, Object>();
        if (take('}')) {
            return found;
        }
        do {
            blank();
            String name = string();
            need(':');
            Object value = value();
            if (found.containsKey(name)) {
                throw wrong();
            }
            found.put(name, value);
        } while (take(','));
        need('}');
        return found;
    }

    private List<Object> array() {
        List<Object> found = new ArrayList<Object>();
        if (take(']')) {
            return found;
        }
        do {
            found.add(value());
        } while (take(','));
        need(']');
        return found;
    }

    private String string() {
        if (at >= text.length() || text.charAt(at) != '"') {
            throw wrong();
        }
        at++;
        StringBuilder found = new StringBuilder();
        while (at < text.length()) {
            char next = text.charAt(at++);
            if (next == '"') {
                return found.toString();
            }
            if (next < ' ') {
                throw wrong();
            }
            found.append(next == '\\' ? escaped() : next);
        }
        throw wrong();
    }

    private char escaped() {
        if (at >= text.length()) {
            throw wrong();
        }
        char kind = text.charAt(at++);
        if (kind == 'u') {
            int code = 0;
            for (int digit = 0; digit < 4; digit++) {
                int value = at < text.length() ? Character.digit(text.charAt(at++), 16) : -1;
                if (value < 0) {
                    throw wrong();
                }
                code = code * 16 + value;
            }
            return (char) code;
        }
        int place = "\"\\/bfnrt".indexOf(kind);
        if (place < 0) {
            throw wrong();
        }
        return "\"\\/\b\f\n\r\t".charAt(place);
    }

    private Double number() {
        int start = at;
        while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        String digits = text.substring(start, at);
        if (!digits.matches("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")) {
            throw wrong();
        }
        return Double.valueOf(digits);
    }
}
