#include "npy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "element.h"

static const char magic[] = "\x93NUMPY";
enum { MAGIC = 6, MAX_HEADER = 65536, ALIGN = 64, MAX_DESCR = 8 };

bool npy_count(const int64_t *shape, size_t rank, size_t *count) {
    size_t product = 1;
    bool empty = false;
    for (size_t i = 0; i < rank; i++) {
        if (shape[i] < 0) {
            return false;
        }
        empty |= shape[i] == 0;
        /* Zeros last: onnxruntime, too, refuses (2**62, 2**62, 0). */
        if (shape[i] > 0 && __builtin_mul_overflow(product, (size_t)shape[i], &product)) {
            return false;
        }
    }
    *count = empty ? 0 : product;
    return true;
}

void npy_shape(FILE *out, const int64_t *shape, size_t rank) {
    fputc('(', out);
    for (size_t i = 0; i < rank; i++) {
        json_comma(out, i);
        fprintf(out, "%" PRId64, shape[i]);
    }
    fputs(rank == 1 ? ",)" : ")", out);
}

/* The header is a Python dict of three keys, in any order: a cursor walks over it. */

static void skip_spaces(const char **at) {
    *at += strspn(*at, " \n\t");
}

static bool take(const char **at, char expected) {
    skip_spaces(at);
    if (**at != expected) {
        return false;
    }
    (*at)++;
    return true;
}

static bool take_word(const char **at, const char *word) {
    size_t length = strlen(word);
    skip_spaces(at);
    if (strncmp(*at, word, length) != 0) {
        return false;
    }
    *at += length;
    return true;
}

static bool take_string(const char **at, char *text, size_t size) {
    skip_spaces(at);
    char quote = **at;
    if (quote != '\'' && quote != '"') {
        return false;
    }
    const char *end = strchr(*at + 1, quote);
    if (end == NULL || (size_t)(end - *at) > size) {
        return false;
    }
    size_t length = (size_t)(end - *at) - 1;
    memcpy(text, *at + 1, length);
    text[length] = 0;
    *at = end + 1;
    return true;
}

static bool take_dimension(const char **at, int64_t *dimension) {
    skip_spaces(at);
    bool zeros_first = (*at)[0] == '0' && (*at)[1] >= '0' && (*at)[1] <= '9';
    if (**at < '0' || **at > '9' || zeros_first) {
        return false;
    }
    char *end;
    errno = 0;
    *dimension = strtoll(*at, &end, 10);
    *at = end;
    return errno == 0;
}

static bool take_shape(const char **at, Array *array) {
    if (!take(at, '(')) {
        return false;
    }
    for (array->rank = 0; !take(at, ')'); array->rank++) {
        if (array->rank == NPY_MAX_RANK || !take_dimension(at, &array->shape[array->rank])) {
            return false;
        }
        bool comma = take(at, ',');
        /* "(3)" is a number in Python, "(3,)" a tuple. */
        if (!comma && (array->rank == 0 || **at != ')')) {
            return false;
        }
    }
    return true;
}

typedef struct {
    char descr[MAX_DESCR];
    bool fortran;
    unsigned seen; /* one bit a key */
} Header;

static bool take_value(const char **at, const char *key, Header *header, Array *array) {
    if (strcmp(key, "descr") == 0) {
        header->seen |= 1;
        return take_string(at, header->descr, sizeof header->descr);
    }
    if (strcmp(key, "fortran_order") == 0) {
        header->seen |= 2;
        header->fortran = take_word(at, "True");
        return header->fortran || take_word(at, "False");
    }
    header->seen |= 4;
    return strcmp(key, "shape") == 0 && take_shape(at, array);
}

static bool parse_dict(const char *text, Header *header, Array *array) {
    const char *at = text;
    char key[16];
    if (!take(&at, '{')) {
        return false;
    }
    while (!take(&at, '}')) {
        if (!take_string(&at, key, sizeof key) || !take(&at, ':')) {
            return false;
        }
        if (!take_value(&at, key, header, array)) {
            return false;
        }
        skip_spaces(&at);
        if (*at != '}' && !take(&at, ',')) {
            return false;
        }
    }
    skip_spaces(&at);
    return *at == 0 && header->seen == 7;
}

static bool understand(const char *path, const char *text, Array *array, Failure *failure) {
    Header header = {{0}, false, 0};
    if (!parse_dict(text, &header, array)) {
        return fail(failure,
                    "%s: its npy header is %s; expected a dict of descr (a plain type), "
                    "fortran_order and shape.",
                    path, text);
    }
    array->type = element_from_descr(header.descr);
    if (array->type == 0) {
        return fail(failure,
                    "%s holds elements of '%s'; expected a little-endian float, integer or bool "
                    "('<f4', '|u1', '|b1' and the like).",
                    path, header.descr);
    }
    if (header.fortran) {
        return fail(failure, "%s is in Fortran order; expected C order.", path);
    }
    size_t count;
    if (!npy_count(array->shape, array->rank, &count) ||
        __builtin_mul_overflow(count, element_size(array->type), &array->bytes)) {
        return fail(failure, "%s: its shape is too large for this machine.", path);
    }
    return true;
}

/* The number of bytes of the header that follows, by the file's first 8 to 12 bytes. */
static bool header_length(FILE *file, const char *path, size_t *length, Failure *failure) {
    unsigned char start[8], size[4] = {0};
    if (fread(start, 1, sizeof start, file) != sizeof start || memcmp(start, magic, MAGIC) != 0) {
        return fail(failure, "%s is not an npy file: its first bytes are others.", path);
    }
    if (start[6] < 1 || start[6] > 2 || start[7] != 0) {
        return fail(failure, "%s is an npy file of version %d.%d; expected 1.0 or 2.0.", path,
                    start[6], start[7]);
    }
    size_t digits = start[6] == 1 ? 2 : 4;
    if (fread(size, 1, digits, file) != digits) {
        return fail(failure, "%s ends within its header.", path);
    }
    *length = size[0] | size[1] << 8 | size[2] << 16 | (size_t)size[3] << 24;
    if (*length > MAX_HEADER) {
        return fail(failure, "%s has a header of %zu bytes; expected at most %d.", path, *length,
                    MAX_HEADER);
    }
    return true;
}

/* Spaces and a newline fill the header up. */
static void trim(char *text) {
    size_t length = strlen(text);
    while (length > 0 && strchr(" \n", text[length - 1]) != NULL) {
        text[--length] = 0;
    }
}

static bool read_header(FILE *file, const char *path, Array *array, Failure *failure) {
    size_t length = 0;
    if (!header_length(file, path, &length, failure)) {
        return false;
    }
    char *text = need(calloc(length + 1, 1));
    bool good = true;
    if (fread(text, 1, length, file) != length) {
        good = fail(failure, "%s ends within its header.", path);
    } else if (strlen(text) != length) {
        good = fail(failure, "%s: its npy header holds a NUL character.", path);
    }
    trim(text);
    good = good && understand(path, text, array, failure);
    free(text);
    return good;
}

static bool only_bools(const Array *array) {
    const unsigned char *bytes = array->data;
    for (size_t i = 0; array->type == ELEMENT_BOOL && i < array->bytes; i++) {
        if (bytes[i] > 1) {
            return false;
        }
    }
    return true;
}

static bool read_data(FILE *file, const char *path, size_t left, Array *array, Failure *failure) {
    /* Before the memory is asked for: a broken header may name any size. */
    if (left != array->bytes) {
        return fail(failure, "%s holds %zu bytes of data; expected %zu by its header.", path, left,
                    array->bytes);
    }
    array->data = malloc(array->bytes + 1);
    if (array->data == NULL) {
        return fail(failure, "%s: no memory for its %zu bytes.", path, array->bytes);
    }
    if (fread(array->data, 1, array->bytes, file) != array->bytes) {
        fail(failure, "%s cannot be read: %s.", path, ferror(file) ? strerror(errno) : "it shrank");
    } else if (!only_bools(array)) {
        fail(failure, "%s: a bool in it is neither 0 nor 1.", path);
    } else {
        return true;
    }
    free(array->data);
    array->data = NULL;
    return false;
}

static bool read_file(FILE *file, const char *path, Array *array, Failure *failure) {
    struct stat about;
    if (fstat(fileno(file), &about) != 0 || !S_ISREG(about.st_mode)) {
        return fail(failure, "%s is not a plain file.", path);
    }
    if (!read_header(file, path, array, failure)) {
        return false;
    }
    return read_data(file, path, (size_t)about.st_size - (size_t)ftello(file), array, failure);
}

bool npy_read(const char *path, Array *array, Failure *failure) {
    array->data = NULL;
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        return fail(failure, "%s cannot be opened: %s.", path, strerror(errno));
    }
    bool good = read_file(file, path, array, failure);
    fclose(file);
    return good;
}

/* Spaces and a newline end the header so that the data begin at a multiple of 64. */
static bool write_file(FILE *file, const Array *array) {
    Text text;
    text_begin(&text);
    fprintf(text.out, "{'descr': '%s', 'fortran_order': False, 'shape': ",
            element_descr(array->type));
    npy_shape(text.out, array->shape, array->rank);
    fputs(", }", text.out);
    char *dict = text_end(&text);
    size_t used = MAGIC + 4 + text.size + 1;
    size_t length = text.size + 1 + (ALIGN - used % ALIGN) % ALIGN;
    fwrite(magic, 1, MAGIC, file);
    fprintf(file, "%c%c%c%c", 1, 0, (int)(length & 0xFF), (int)(length >> 8));
    fprintf(file, "%-*s\n", (int)(length - 1), dict);
    free(dict);
    if (array->bytes > 0) { /* onnxruntime gives no data for an empty array */
        fwrite(array->data, 1, array->bytes, file);
    }
    return !ferror(file);
}

bool npy_write(const char *path, const Array *array, Failure *failure) {
    char *partial = NULL;
    if (asprintf(&partial, "%s.partial", path) < 0) {
        need(NULL);
    }
    FILE *file = fopen(partial, "wbe");
    bool good = file != NULL && write_file(file, array);
    good = file != NULL && fclose(file) == 0 && good;
    good = good && rename(partial, path) == 0;
    if (!good) {
        fail(failure, "%s cannot be written: %s.", path, strerror(errno));
        unlink(partial);
    }
    free(partial);
    return good;
}
