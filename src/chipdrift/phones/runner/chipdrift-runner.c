/* chipdrift-runner: runs an ONNX model on a phone, sample by sample, as the host asks.
 *
 * README.md says how it is built, called and answered. */
#include "base.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "answers.h"
#include "command.h"
#include "machine.h"
#include "request.h"
#include "run.h"
#include "watchdog.h"

typedef struct {
    Command command;
    Session session;
    Answers answers;
    Watchdog watchdog;
    FILE *requests;
    size_t samples; /* that ran */
    Failure failure;
} Runner;

static bool open_requests(Runner *runner) {
    const char *path = runner->command.requests;
    runner->requests = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    return runner->requests != NULL || fail(&runner->failure, "The requests %s cannot be read: %s.",
                                            path, strerror(errno));
}

static bool open_session(Runner *runner) {
    Text opened;
    text_begin(&opened);
    watchdog_arm(&runner->watchdog, "Opening the model");
    bool good = session_open(&runner->session, &runner->command.settings, opened.out,
                             &runner->failure);
    watchdog_disarm(&runner->watchdog);
    char *value = text_end(&opened);
    good = good && (answers_opened(&runner->answers, value) ||
                    fail(&runner->failure, "Nobody reads the answers."));
    free(value);
    return good;
}

static bool run_one(Runner *runner, const Request *request) {
    Failure failure = {0};
    Text ran;
    text_begin(&ran);
    watchdog_arm(&runner->watchdog, "A request");
    bool good = run_request(&runner->session, request, ran.out, &failure);
    watchdog_disarm(&runner->watchdog);
    char *value = text_end(&ran);
    runner->samples += good;
    bool read = good ? answers_ran(&runner->answers, value)
                     : answers_failed(&runner->answers, failure.text);
    free(value);
    failure_clear(&failure);
    return read;
}

static bool put_one(Runner *runner, const Request *request) {
    Failure failure = {0};
    watchdog_arm(&runner->watchdog, "Taking a file");
    bool good = transfer_put(runner->requests, request->path, request->bytes, &failure);
    watchdog_disarm(&runner->watchdog);
    char value[64];
    snprintf(value, sizeof value, "{\"bytes\": %zu}", request->bytes);
    bool read = good ? answers_put(&runner->answers, value)
                     : answers_failed(&runner->answers, failure.text);
    failure_clear(&failure);
    return read;
}

static bool get_one(Runner *runner, const Request *request) {
    Failure failure = {0};
    Sending sending;
    bool good = runner->answers.one_document
                    ? fail(&failure, "The request 'get' needs --requests -.")
                    : transfer_open(request->path, &sending, &failure);
    bool read = good ? answers_got(&runner->answers, &sending)
                     : answers_failed(&runner->answers, failure.text);
    failure_clear(&failure);
    return read;
}

static bool do_one(Runner *runner, const Request *request) {
    switch (request->verb) {
    case PUT:
        return put_one(runner, request);
    case GET:
        return get_one(runner, request);
    default:
        return run_one(runner, request);
    }
}

/* One line of the host's. Sets `end` where it is the last; false where nobody reads any more. */
static bool serve(Runner *runner, char *line, size_t length, bool *end) {
    Failure failure = {0};
    Request request;
    bool read = true;
    if (!request_parse(line, length, &request, &failure)) {
        read = answers_failed(&runner->answers, failure.text);
        *end = request.verb == END;
    } else if (request.verb == END) {
        *end = true;
    } else {
        read = do_one(runner, &request);
    }
    failure_clear(&failure);
    request_free(&request);
    return read;
}

static bool serve_all(Runner *runner) {
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    bool end = false, read = true;
    while (read && !end && (length = getline(&line, &room, runner->requests)) > 0) {
        read = serve(runner, line, (size_t)length, &end);
    }
    free(line);
    return read || fail(&runner->failure, "Nobody reads the answers.");
}


static bool end_session(Runner *runner, double seconds) {
    Text ended;
    text_begin(&ended);
    watchdog_arm(&runner->watchdog, "Closing the model");
    char *profile = session_end_profile(&runner->session, &runner->command.settings);
    fprintf(ended.out, "{\"samples\": %zu, \"seconds\": %.6f, \"profile\": ", runner->samples,
            seconds);
    if (profile != NULL) {
        json_string(ended.out, profile);
    } else {
        fputs("null", ended.out);
    }
    fprintf(ended.out, ", \"max_rss_kb\": %ld}", machine_peak_kb());
    free(profile);
    session_close(&runner->session);
    watchdog_disarm(&runner->watchdog);
    char *value = text_end(&ended);
    bool read = answers_ended(&runner->answers, value);
    free(value);
    return read || fail(&runner->failure, "Nobody reads the answers.");
}

static bool work(Runner *runner) {
    if (!open_requests(runner) ||
        !watchdog_start(&runner->watchdog, runner->command.timeout, &runner->answers,
                        &runner->failure) ||
        !open_session(runner)) {
        return false;
    }
    double start = now();
    return serve_all(runner) && end_session(runner, now() - start);
}

static int print_failure(Runner *runner) {
    bool refused = runner->failure.refused;
    answers_last(&runner->answers, refused ? "refused" : "error", runner->failure.text);
    fprintf(stderr, "chipdrift-runner: %s\n", runner->failure.text);
    return refused ? EXIT_REFUSED : EXIT_ERROR;
}

static int run_command(Runner *runner) {
    if (runner->command.version) {
        fprintf(runner->answers.out, "{\"runner\": \"%s\", \"machine\": \"%s\"}\n", RUNNER_VERSION,
                machine_name());
        return fflush(runner->answers.out) == 0 ? EXIT_SUCCESS : EXIT_ERROR;
    }
    runner->session.log = (Log){runner->command.log_level, NULL, PTHREAD_MUTEX_INITIALIZER};
    return work(runner) ? EXIT_SUCCESS : print_failure(runner);
}

int main(int count, char **arguments) {
    Runner *runner = need(calloc(1, sizeof *runner));
    Failure misuse = {0};
    signal(SIGPIPE, SIG_IGN);
    bool understood = command_parse(count, arguments, &runner->command, &misuse);
    const char *requests = runner->command.requests;
    bool one_document = requests != NULL && strcmp(requests, "-") != 0;
    if (!answers_begin(&runner->answers, one_document, &runner->failure)) {
        fprintf(stderr, "chipdrift-runner: %s\n", runner->failure.text);
        return EXIT_ERROR;
    }
    runner->failure = misuse.text != NULL ? misuse : runner->failure;
    int code = understood ? run_command(runner) : print_failure(runner);
    fflush(NULL);
    /* Not exit: the vendor's libraries have destructors, and everything is answered. */
    _exit(code);
}
