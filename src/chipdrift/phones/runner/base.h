/* What every file of the runner needs: failures as one sentence, text built in memory, time. */
#ifndef CHIPDRIFT_BASE_H
#define CHIPDRIFT_BASE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Why something did not work; empty (text NULL) where it did. */
typedef struct {
    char *text;
    int code;     /* of OrtErrorCode, where onnxruntime said it */
    bool refused; /* onnxruntime will not have this model */
} Failure;

/* Sets the sentence and returns false, so that a function can end with `return fail(...)`. */
bool fail(Failure *failure, const char *format, ...) __attribute__((format(printf, 2, 3)));
void failure_clear(Failure *failure);

/* Text that grows: write to `out`, then text_end gives it as a string that the caller frees. */
typedef struct {
    FILE *out;
    char *text;
    size_t size;
} Text;

void text_begin(Text *text);
char *text_end(Text *text);

/* `text` as a JSON string; what is not UTF-8 becomes U+FFFD. */
void json_string(FILE *out, const char *text);

/* A list: call before each element with its index. */
void json_comma(FILE *out, size_t index);

/* The pointer, or the end of the process with exit code 4 where there is no memory. */
void *need(void *pointer);

/* Seconds on a clock that nobody sets. */
double now(void);

enum { EXIT_REFUSED = 3, EXIT_ERROR = 4, EXIT_TIMEOUT = 5 };

#endif
