package chipdrift;

import java.io.File;

/** One input of a golden sample: little-endian values in a file whose hash was checked. */
public final class GoldenInput {
    /** The model's input. */
    public final String name;

    /** NumPy's name of the type: float32, uint8 and so on. */
    public final String dtype;

    /** All dimensions. */
    public final long[] shape;

    /** The values alone, without a header. */
    public final File file;

    GoldenInput(String name, String dtype, long[] shape, File file) {
        this.name = name;
        this.dtype = dtype;
        this.shape = shape;
        this.file = file;
    }
}
