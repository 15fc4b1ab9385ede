package chipdrift;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Little-endian bytes of one of NumPy's types, as doubles. */
final class Values {
    private Values() {}

    static double[] read(String dtype, byte[] data) {
        ByteBuffer from = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        double[] found = new double[data.length / size(dtype)];
        for (int at = 0; at < found.length; at++) {
            found[at] = next(dtype, from);
        }
        return found;
    }

    /** Bytes of one value; IllegalArgumentException for a type that is none of NumPy's here. */
    static int size(String dtype) {
        switch (dtype) {
            case "int8":
            case "uint8":
            case "bool":
                return 1;
            case "int16":
            case "uint16":
            case "float16":
                return 2;
            case "int32":
            case "uint32":
            case "float32":
                return 4;
            case "int64":
            case "uint64":
            case "float64":
                return 8;
            default:
                throw new IllegalArgumentException("unknown type " + dtype);
        }
    }

    private static double next(String dtype, ByteBuffer from) {
        switch (dtype) {
            case "int8":
                return from.get();
            case "uint8":
            case "bool":
                return from.get() & 0xff;
            case "int16":
                return from.getShort();
            case "uint16":
                return from.getShort() & 0xffff;
            case "float16":
                return half(from.getShort() & 0xffff);
            case "int32":
                return from.getInt();
            case "uint32":
                return from.getInt() & 0xffffffffL;
            case "float32":
                return from.getFloat();
            case "int64":
                return from.getLong();
            case "uint64":
                long bits = from.getLong();
                return bits >= 0 ? bits : (bits >>> 1 | bits & 1) * 2.0;
            default:
                return from.getDouble();
        }
    }

    private static double half(int bits) {
        int exponent = bits >> 10 & 0x1f;
        int fraction = bits & 0x3ff;
        double size;
        if (exponent == 0x1f) {
            size = fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN;
        } else if (exponent == 0) {
            size = fraction * Math.pow(2, -24);
        } else {
            size = (1024 + fraction) * Math.pow(2, exponent - 25);
        }
        return (bits & 0x8000) == 0 ? size : -size;
    }
}
