package chipdrift;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;

/** The files of a bundle's folder: none is a link, and what is handed out is what was signed. */
final class Files {
    private static final char[] HEX = "0123456789abcdef".toCharArray();
    private final File folder;

    Files(File folder) {
        this.folder = folder;
    }

    /** A whole file of at most this many bytes. */
    byte[] small(String name, int most) throws BundleException {
        File file = plain(name);
        long length = file.length();
        if (length > most) {
            throw new BundleException(name + " is too long: it was changed");
        }
        try (InputStream stream = new FileInputStream(file)) {
            byte[] data = new byte[(int) length];
            int at = 0;
            for (int got; at < data.length; at += got) {
                got = stream.read(data, at, data.length - at);
                if (got < 0) {
                    return Arrays.copyOf(data, at);
                }
            }
            return data;
        } catch (IOException error) {
            throw unreadable(name);
        }
    }

    /** The file, once its size and hash are those that were signed. */
    File checked(String name, long size, String sha256) throws BundleException {
        File file = sized(name, size);
        try (InputStream stream = new FileInputStream(file)) {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            byte[] block = new byte[1 << 16];
            for (int got; (got = stream.read(block)) > 0; ) {
                digest.update(block, 0, got);
            }
            if (!hex(digest.digest()).equals(sha256)) {
                throw new BundleException(
                        name + " is not what was signed: it was changed or not fully copied");
            }
            return file;
        } catch (IOException error) {
            throw unreadable(name);
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }

    /** The file, once its size is what was signed. */
    File sized(String name, long size) throws BundleException {
        File file = plain(name);
        if (file.length() != size) {
            throw new BundleException(
                    name + " has another size than was signed: it was changed or not fully copied");
        }
        return file;
    }

    /** Refuse links and all that is no file: they may lead out of the bundle. */
    private File plain(String name) throws BundleException {
        File file = new File(folder, name);
        if (!file.exists()) {
            throw new BundleException(name + " of the bundle is not there: it is not whole");
        }
        try {
            // Whatever is a link on the way makes the real path another one.
            String wanted = new File(folder.getCanonicalFile(), name).getPath();
            if (!file.isFile() || !file.getCanonicalPath().equals(wanted)) {
                throw new BundleException(name + " of the bundle is no plain file");
            }
        } catch (IOException error) {
            throw unreadable(name);
        }
        return file;
    }

    private static BundleException unreadable(String name) {
        return new BundleException(name + " of the bundle cannot be read");
    }

    private static String hex(byte[] data) {
        StringBuilder found = new StringBuilder();
        for (byte one : data) {
            found.append(HEX[one >> 4 & 15]).append(HEX[one & 15]);
        }
        return found.toString();
    }
}
