#include "base.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool fail(Failure *failure, const char *format, ...) {
    char *text = NULL;
    va_list values;
    va_start(values, format);
    if (vasprintf(&text, format, values) < 0) {
        text = NULL;
    }
    va_end(values);
    free(failure->text); /* only now: it may be among the values */
    failure->text = need(text);
    return false;
}

void failure_clear(Failure *failure) {
    free(failure->text);
    *failure = (Failure){0};
}

void *need(void *pointer) {
    if (pointer == NULL) {
        fputs("chipdrift-runner: out of memory\n", stderr);
        _Exit(EXIT_ERROR);
    }
    return pointer;
}

void text_begin(Text *text) {
    *text = (Text){NULL, NULL, 0};
    text->out = need(open_memstream(&text->text, &text->size));
}

char *text_end(Text *text) {
    if (fclose(text->out) != 0) {
        need(NULL);
    }
    text->out = NULL;
    return need(text->text);
}

/* How many bytes the UTF-8 character at `s` has; 0 where it is none (RFC 3629). */
static size_t utf8_length(const unsigned char *s) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (length == 1) {
        return 1;
    }
    if (s[0] < 0xC0 || s[0] > 0xF4) {
        return 0;
    }
    uint32_t point = s[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 0; /* the string's end, too */
        }
        point = point << 6 | (s[i] & 0x3Fu);
    }
    bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    return point < smallest[length] || point > 0x10FFFF || surrogate ? 0 : length;
}

static size_t json_character(FILE *out, const unsigned char *s) {
    size_t length = utf8_length(s);
    if (length == 0) {
        fputs("\\ufffd", out);
        return 1;
    }
    if (*s == '"' || *s == '\\') {
        fprintf(out, "\\%c", *s);
    } else if (*s == '\n' || *s == '\t') {
        fputs(*s == '\n' ? "\\n" : "\\t", out);
    } else if (*s < 0x20) {
        fprintf(out, "\\u%04x", *s);
    } else {
        fwrite(s, 1, length, out);
    }
    return length;
}

void json_string(FILE *out, const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    fputc('"', out);
    while (*s != 0) {
        s += json_character(out, s);
    }
    fputc('"', out);
}

void json_comma(FILE *out, size_t index) {
    if (index > 0) {
        fputs(", ", out);
    }
}

double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}
