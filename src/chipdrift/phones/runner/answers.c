#include "answers.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool answers_begin(Answers *answers, bool one_document, Failure *failure) {
    *answers = (Answers){.one_document = one_document, .lock = PTHREAD_MUTEX_INITIALIZER};
    text_begin(&answers->document);
    int copy = dup(STDOUT_FILENO);
    answers->out = copy < 0 ? NULL : fdopen(copy, "w");
    if (answers->out == NULL || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
        return fail(failure, "Standard output and standard error must be open.");
    }
    return true;
}

static bool print(Answers *answers, const char *text) {
    fputs(text, answers->out);
    fputc('\n', answers->out);
    return fflush(answers->out) == 0;
}

/* A line of its own: {"kind": value}. */
static bool print_object(Answers *answers, const char *kind, const char *value) {
    fprintf(answers->out, "{\"%s\": %s}\n", kind, value);
    return fflush(answers->out) == 0;
}

static char *quoted(const char *sentence) {
    Text text;
    text_begin(&text);
    json_string(text.out, sentence);
    return text_end(&text);
}

static bool opened(Answers *answers, const char *value) {
    answers->opened = true;
    if (!answers->one_document) {
        return print_object(answers, "opened", value);
    }
    fprintf(answers->document.out, "{\"opened\": %s, \"ran\": [", value);
    return true;
}

static bool answer(Answers *answers, const char *kind, const char *value) {
    size_t index = answers->samples++;
    if (!answers->one_document) {
        return print_object(answers, kind, value);
    }
    json_comma(answers->document.out, index);
    bool error = strcmp(kind, "error") == 0;
    fprintf(answers->document.out, error ? "{\"error\": %s}" : "%s", value);
    return true;
}

static bool finish(Answers *answers, const char *kind, const char *value) {
    if (!answers->one_document || !answers->opened) {
        return print_object(answers, kind, value);
    }
    fprintf(answers->document.out, "], \"%s\": %s}", kind, value);
    char *document = text_end(&answers->document);
    bool good = print(answers, document);
    free(document);
    return good;
}

typedef bool (*Step)(Answers *, const char *kind, const char *value);

static bool locked(Answers *answers, Step step, const char *kind, const char *value) {
    pthread_mutex_lock(&answers->lock);
    bool good = step(answers, kind, value);
    pthread_mutex_unlock(&answers->lock);
    return good;
}

static bool open_step(Answers *answers, const char *kind, const char *value) {
    (void)kind;
    return opened(answers, value);
}

bool answers_opened(Answers *answers, const char *value) {
    return locked(answers, open_step, "opened", value);
}

bool answers_ran(Answers *answers, const char *value) {
    return locked(answers, answer, "ran", value);
}

bool answers_put(Answers *answers, const char *value) {
    return locked(answers, answer, "put", value);
}

bool answers_got(Answers *answers, Sending *sending) {
    pthread_mutex_lock(&answers->lock);
    fprintf(answers->out, "{\"got\": {\"bytes\": %zu}}\n", sending->bytes);
    bool good = transfer_send(sending, answers->out);
    pthread_mutex_unlock(&answers->lock);
    return good;
}

bool answers_failed(Answers *answers, const char *sentence) {
    char *value = quoted(sentence);
    bool good = locked(answers, answer, "error", value);
    free(value);
    return good;
}

bool answers_ended(Answers *answers, const char *value) {
    return locked(answers, finish, "ended", value);
}

void answers_last(Answers *answers, const char *kind, const char *sentence) {
    char *value = quoted(sentence);
    locked(answers, finish, kind, value);
    free(value);
}

void answers_last_at_once(Answers *answers, const char *kind, const char *sentence) {
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 1;
    struct pollfd writable = {fileno(answers->out), POLLOUT, 0};
    if (poll(&writable, 1, 1000) != 1 || pthread_mutex_timedlock(&answers->lock, &limit) != 0) {
        return;
    }
    char *value = quoted(sentence);
    finish(answers, kind, value);
    free(value);
    pthread_mutex_unlock(&answers->lock);
}
