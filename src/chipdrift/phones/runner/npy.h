/* NumPy's npy files, versions 1 and 2, C order, little-endian (numpy.lib.format). */
#ifndef CHIPDRIFT_NPY_H
#define CHIPDRIFT_NPY_H

#include "base.h"

enum { NPY_MAX_RANK = 64 }; /* NumPy's own limit */

typedef struct {
    int type; /* as in element.h */
    size_t rank;
    int64_t shape[NPY_MAX_RANK];
    size_t bytes;
    void *data; /* of an array that was read never NULL */
} Array;

/* Reads a whole file; the caller frees data. */
bool npy_read(const char *path, Array *array, Failure *failure);

/* Writes `path` under another name and renames it, so that it is whole or not there. */
bool npy_write(const char *path, const Array *array, Failure *failure);

/* How many elements; false where a size_t cannot count them. */
bool npy_count(const int64_t *shape, size_t rank, size_t *count);

/* "(1, 28, 28)" */
void npy_shape(FILE *out, const int64_t *shape, size_t rank);

#endif
