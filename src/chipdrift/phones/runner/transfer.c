#include "transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 1 << 16 };

static size_t at_most_block(size_t bytes) {
    return bytes < BLOCK ? bytes : BLOCK;
}

/* `to` may be NULL: then the bytes go nowhere. False where one of the two ends early. */
static bool copy(FILE *from, FILE *to, size_t bytes, size_t *taken) {
    char *block = need(malloc(BLOCK));
    bool good = to != NULL;
    *taken = 0;
    while (*taken < bytes) {
        size_t read = fread(block, 1, at_most_block(bytes - *taken), from);
        if (read == 0) {
            break;
        }
        *taken += read;
        good = good && fwrite(block, 1, read, to) == read;
    }
    free(block);
    return good && *taken == bytes;
}

bool transfer_put(FILE *from, const char *file, size_t bytes, Failure *failure) {
    char *partial = NULL;
    if (asprintf(&partial, "%s.%ld.part", file, (long)getpid()) < 0) {
        need(NULL);
    }
    FILE *to = fopen(partial, "wbe");
    int error = to == NULL ? errno : 0;
    size_t taken;
    bool good = copy(from, to, bytes, &taken);
    error = error == 0 && !good ? errno : error;
    if (to != NULL && fclose(to) != 0) {
        error = good ? errno : error;
        good = false;
    }
    good = good && rename(partial, file) == 0;
    if (!good) {
        unlink(partial);
    }
    free(partial);
    if (taken < bytes) {
        return fail(failure, "The line ended after %zu of %zu bytes of %s.", taken, bytes, file);
    }
    return good || fail(failure, "%s cannot be written: %s.", file, strerror(error ? error : errno));
}

bool transfer_open(const char *path, Sending *sending, Failure *failure) {
    struct stat told;
    sending->file = fopen(path, "rbe");
    if (sending->file == NULL || fstat(fileno(sending->file), &told) != 0 ||
        !S_ISREG(told.st_mode)) {
        int error = sending->file == NULL ? errno : EINVAL;
        if (sending->file != NULL) {
            fclose(sending->file);
        }
        return fail(failure, "%s cannot be read: %s.", path, strerror(error));
    }
    sending->bytes = (size_t)told.st_size;
    return true;
}

bool transfer_send(Sending *sending, FILE *to) {
    size_t taken;
    bool good = copy(sending->file, to, sending->bytes, &taken);
    for (; taken < sending->bytes; taken++) {
        good = fputc(0, to) != EOF;
    }
    fclose(sending->file);
    return good && fflush(to) == 0;
}
