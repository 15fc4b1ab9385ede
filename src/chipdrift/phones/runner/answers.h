/* What the runner prints: only JSON, and only through here. */
#ifndef CHIPDRIFT_ANSWERS_H
#define CHIPDRIFT_ANSWERS_H

#include "base.h"
#include "transfer.h"

#include <pthread.h>

typedef struct {
    FILE *out;
    bool one_document; /* else one object a line, as soon as it is known */
    bool opened;
    size_t samples; /* requests answered, well or not */
    Text document;
    pthread_mutex_t lock;
} Answers;

/* Takes standard output for the answers alone: whoever else prints there, vendor libraries do,
 * prints on standard error from now on. */
bool answers_begin(Answers *answers, bool one_document, Failure *failure);

/* Each `value` is a JSON object. False where nobody reads any more. */
bool answers_opened(Answers *answers, const char *value);
bool answers_ran(Answers *answers, const char *value);
bool answers_put(Answers *answers, const char *value);
/* The object, then the file's bytes: never in a document. */
bool answers_got(Answers *answers, Sending *sending);
bool answers_failed(Answers *answers, const char *sentence); /* one request */
bool answers_ended(Answers *answers, const char *value);

/* {"refused"} or {"error"}: nothing comes after it. Where there is a document, it holds what was
 * answered before. */
void answers_last(Answers *answers, const char *kind, const char *sentence);

/* The same from another thread, as far as it can be done within a second. */
void answers_last_at_once(Answers *answers, const char *kind, const char *sentence);

#endif
