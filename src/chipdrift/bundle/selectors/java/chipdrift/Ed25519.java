package chipdrift;

import java.math.BigInteger;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;

/**
 * Ed25519 as in RFC 8032, to verify only. Android brings it from API 33 on; this runs everywhere.
 * Nothing here is secret, so nothing has to be constant in time.
 */
final class Ed25519 {
    private static final BigInteger TWO = BigInteger.valueOf(2);
    private static final BigInteger P = TWO.pow(255).subtract(BigInteger.valueOf(19));
    private static final BigInteger L =
            TWO.pow(252).add(new BigInteger("27742317777372353535851937790883648493"));
    private static final BigInteger D =
            BigInteger.valueOf(-121665).multiply(BigInteger.valueOf(121666).modInverse(P)).mod(P);
    private static final BigInteger TWO_D = D.shiftLeft(1).mod(P);
    private static final BigInteger ROOT = TWO.modPow(P.subtract(BigInteger.ONE).shiftRight(2), P);
    private static final BigInteger FIVE_EIGHTHS = P.subtract(BigInteger.valueOf(5)).shiftRight(3);
    private static final Point BASE = base();

    private Ed25519() {}

    /** A point (X, Y, Z, T) with x = X/Z, y = Y/Z and x*y = T/Z. */
    private static final class Point {
        final BigInteger x;
        final BigInteger y;
        final BigInteger z;
        final BigInteger t;

        Point(BigInteger x, BigInteger y, BigInteger z, BigInteger t) {
            this.x = x;
            this.y = y;
            this.z = z;
            this.t = t;
        }
    }

    /**
     * Whether a signature (64 bytes) over a message is of a public key (32 bytes). Refused as well:
     * S that is not below the group's order, for which a signature has twins; keys of small order,
     * for which anybody can sign; a key or R that is not written in its shortest form.
     */
    static boolean verify(byte[] publicKey, byte[] message, byte[] signature) {
        if (publicKey.length != 32 || signature.length != 64) {
            return false;
        }
        Point key = point(publicKey);
        BigInteger s = number(Arrays.copyOfRange(signature, 32, 64));
        if (key == null || s.compareTo(L) >= 0) {
            return false;
        }
        Point eight = key;
        for (int doubled = 0; doubled < 3; doubled++) {
            eight = add(eight, eight);
        }
        if (eight.x.signum() == 0) {
            return false;
        }
        byte[] first = Arrays.copyOf(signature, 32);
        MessageDigest digest = sha512();
        digest.update(first);
        digest.update(publicKey);
        digest.update(message);
        BigInteger h = number(digest.digest()).mod(L);
        Point minus = new Point(P.subtract(key.x).mod(P), key.y, key.z, P.subtract(key.t).mod(P));
        return Arrays.equals(bytes(twice(s, BASE, h, minus)), first);
    }

    private static MessageDigest sha512() {
        try {
            return MessageDigest.getInstance("SHA-512");
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }

    private static Point base() {
        BigInteger y = BigInteger.valueOf(4).multiply(BigInteger.valueOf(5).modInverse(P)).mod(P);
        return point(littleEndian(y));
    }

    /** The point that 32 bytes are, null where they are none or not the shortest form of one. */
    private static Point point(byte[] data) {
        BigInteger all = number(data);
        boolean sign = all.testBit(255);
        BigInteger y = all.clearBit(255);
        if (y.compareTo(P) >= 0) {
            return null;
        }
        BigInteger square = y.multiply(y).mod(P);
        BigInteger u = square.subtract(BigInteger.ONE).mod(P);
        BigInteger v = D.multiply(square).add(BigInteger.ONE).mod(P);
        BigInteger v3 = v.multiply(v).multiply(v).mod(P);
        BigInteger v7 = v3.multiply(v3).multiply(v).mod(P);
        BigInteger x = u.multiply(v3).multiply(u.multiply(v7).modPow(FIVE_EIGHTHS, P)).mod(P);
        BigInteger back = v.multiply(x).multiply(x).mod(P);
        if (back.equals(P.subtract(u).mod(P))) {
            x = x.multiply(ROOT).mod(P);
            back = v.multiply(x).multiply(x).mod(P);
        }
        if (!back.equals(u) || (x.signum() == 0 && sign)) {
            return null;
        }
        if (x.testBit(0) != sign) {
            x = P.subtract(x);
        }
        return new Point(x, y, BigInteger.ONE, x.multiply(y).mod(P));
    }

    /** RFC 8032, 5.1.4; complete, so it doubles as well. */
    private static Point add(Point a, Point b) {
        BigInteger p = a.y.subtract(a.x).multiply(b.y.subtract(b.x)).mod(P);
        BigInteger q = a.y.add(a.x).multiply(b.y.add(b.x)).mod(P);
        BigInteger r = a.t.multiply(b.t).mod(P).multiply(TWO_D).mod(P);
        BigInteger s = a.z.multiply(b.z).shiftLeft(1).mod(P);
        BigInteger e = q.subtract(p);
        BigInteger f = s.subtract(r);
        BigInteger g = s.add(r);
        BigInteger h = q.add(p);
        return new Point(
                e.multiply(f).mod(P), g.multiply(h).mod(P), f.multiply(g).mod(P), e.multiply(h).mod(P));
    }

    /** s*a + h*b, both scalars bit by bit at once. */
    private static Point twice(BigInteger s, Point a, BigInteger h, Point b) {
        Point both = add(a, b);
        Point total = new Point(BigInteger.ZERO, BigInteger.ONE, BigInteger.ONE, BigInteger.ZERO);
        for (int bit = 252; bit >= 0; bit--) {
            total = add(total, total);
            boolean first = s.testBit(bit);
            boolean second = h.testBit(bit);
            if (first || second) {
                total = add(total, first && second ? both : first ? a : b);
            }
        }
        return total;
    }

    private static byte[] bytes(Point point) {
        BigInteger back = point.z.modInverse(P);
        BigInteger x = point.x.multiply(back).mod(P);
        BigInteger y = point.y.multiply(back).mod(P);
        return littleEndian(x.testBit(0) ? y.setBit(255) : y);
    }

    private static BigInteger number(byte[] littleEndian) {
        byte[] turned = new byte[littleEndian.length];
        for (int at = 0; at < turned.length; at++) {
            turned[at] = littleEndian[turned.length - 1 - at];
        }
        return new BigInteger(1, turned);
    }

    private static byte[] littleEndian(BigInteger number) {
        byte[] big = number.toByteArray();
        byte[] found = new byte[32];
        for (int at = 0; at < 32 && at < big.length; at++) {
            found[at] = big[big.length - 1 - at];
        }
        return found;
    }
}
