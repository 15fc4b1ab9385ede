/* One line of what the host asks: `run<TAB>folder<TAB>name=file.npy...`, `put<TAB>file<TAB>bytes`,
 * `get<TAB>file` or `end`. */
#ifndef CHIPDRIFT_REQUEST_H
#define CHIPDRIFT_REQUEST_H

#include "base.h"

typedef struct {
    char *name;
    char *file;
} Feed;

typedef enum { RUN, PUT, GET, END } Verb;

typedef struct {
    Verb verb;
    char *path; /* of run: the folder for its outputs */
    size_t bytes;
    Feed *feeds;
    size_t count;
} Request;

/* Takes `line` (`length` bytes, with its newline) apart in place: the request points into it.
 * \t, \n, \\ and \= stand for a tab, a newline, a backslash and an equals sign. A put that is not
 * understood is an END: nobody knows where the next request begins. */
bool request_parse(char *line, size_t length, Request *request, Failure *failure);
void request_free(Request *request);

#endif
