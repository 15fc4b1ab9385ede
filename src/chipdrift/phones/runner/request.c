#include "request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char written[] = "tn\\=", meant[] = "\t\n\\=";

/* In place; false where a backslash stands before anything else. */
static bool unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from != 0; from++) {
        if (*from != '\\') {
            *to++ = *from;
            continue;
        }
        const char *known = from[1] == 0 ? NULL : strchr(written, from[1]);
        if (known == NULL) {
            return false;
        }
        *to++ = meant[known - written];
        from++;
    }
    *to = 0;
    return true;
}

/* The first `=` that no backslash escapes; NULL without one. */
static char *find_equals(char *text) {
    for (char *at = text; *at != 0; at++) {
        if (*at == '=') {
            return at;
        }
        if (*at == '\\' && at[1] != 0) {
            at++;
        }
    }
    return NULL;
}

static bool parse_feed(char *field, Feed *feed, Failure *failure) {
    char *equals = find_equals(field);
    if (equals == NULL) {
        return fail(failure, "A field of the request is '%s'; expected <input>=<file.npy>.", field);
    }
    *equals = 0;
    *feed = (Feed){field, equals + 1};
    if (!unescape(feed->name) || !unescape(feed->file)) {
        return fail(failure,
                    "A backslash in the request stands before another character; expected \\t, "
                    "\\n, \\\\ or \\=.");
    }
    return true;
}

static size_t count_tabs(const char *text) {
    size_t count = 0;
    for (; *text != 0; text++) {
        count += *text == '\t';
    }
    return count;
}

/* The next field, unescaped: a folder or a file. */
static bool parse_path(char **rest, const char *verb, Request *request, Failure *failure) {
    request->path = strsep(rest, "\t");
    if (request->path == NULL || request->path[0] == 0) {
        return fail(failure, "The request '%s' names no %s.", verb,
                    request->verb == RUN ? "folder for its outputs" : "file");
    }
    return unescape(request->path) ||
           fail(failure, "A backslash in the path of '%s' stands before another character.", verb);
}

static bool parse_put(char *rest, Request *request, Failure *failure) {
    char *end = NULL;
    bool good = parse_path(&rest, "put", request, failure);
    errno = 0;
    request->bytes = good && rest != NULL ? strtoull(rest, &end, 10) : 0;
    if (good && (end == NULL || end == rest || *end != 0 || errno != 0 || *rest == '-')) {
        good = fail(failure, "The request 'put' has the size '%s'; expected a number of bytes.",
                    rest == NULL ? "" : rest);
    }
    request->verb = good ? PUT : END;
    return good;
}

static bool parse_get(char *rest, Request *request, Failure *failure) {
    request->verb = GET;
    return parse_path(&rest, "get", request, failure) &&
           (rest == NULL || fail(failure, "The request 'get' names more than one file."));
}

static bool parse_run(char *rest, Request *request, Failure *failure) {
    if (!parse_path(&rest, "run", request, failure)) {
        return false;
    }
    if (rest == NULL) {
        return true;
    }
    request->feeds = need(calloc(count_tabs(rest) + 1, sizeof *request->feeds));
    for (char *field; (field = strsep(&rest, "\t")) != NULL; request->count++) {
        if (!parse_feed(field, &request->feeds[request->count], failure)) {
            return false;
        }
    }
    return true;
}

static bool parse_line(char *line, Request *request, Failure *failure) {
    char *rest = line;
    const char *verb = strsep(&rest, "\t");
    if (strcmp(verb, "run") == 0) {
        return parse_run(rest, request, failure);
    }
    if (strcmp(verb, "put") == 0) {
        return parse_put(rest, request, failure);
    }
    if (strcmp(verb, "get") == 0) {
        return parse_get(rest, request, failure);
    }
    if (strcmp(verb, "end") != 0 || rest != NULL) {
        return fail(failure, "The request is '%s'; expected run, put, get or end.", verb);
    }
    request->verb = END;
    return true;
}

bool request_parse(char *line, size_t length, Request *request, Failure *failure) {
    *request = (Request){RUN, NULL, 0, NULL, 0};
    /* A host that dies leaves half a line, which could name another file. */
    if (length == 0 || line[length - 1] != '\n') {
        return fail(failure, "The last request does not end with a newline; it was not run.");
    }
    line[length - 1] = 0;
    if (strlen(line) != length - 1) {
        return fail(failure, "The request holds a NUL character.");
    }
    return parse_line(line, request, failure);
}

void request_free(Request *request) {
    free(request->feeds);
    *request = (Request){RUN, NULL, 0, NULL, 0};
}
