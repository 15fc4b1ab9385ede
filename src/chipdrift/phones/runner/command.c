#include "command.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 1024, MAX_TIMEOUT = 1000000, WARNINGS = 2 };

enum {
    LIBRARY = 1,
    MODEL,
    REQUESTS,
    PROVIDER,
    PROVIDER_LIBRARY,
    PROVIDER_OPTION,
    SESSION_OPTION,
    THREADS,
    PROFILE,
    LOG_LEVEL,
    TIMEOUT,
    VERSION
};

static const struct option known[] = {
    {"library", required_argument, NULL, LIBRARY},
    {"model", required_argument, NULL, MODEL},
    {"requests", required_argument, NULL, REQUESTS},
    {"provider", required_argument, NULL, PROVIDER},
    {"provider-library", required_argument, NULL, PROVIDER_LIBRARY},
    {"provider-option", required_argument, NULL, PROVIDER_OPTION},
    {"session-option", required_argument, NULL, SESSION_OPTION},
    {"threads", required_argument, NULL, THREADS},
    {"profile", required_argument, NULL, PROFILE},
    {"log-level", required_argument, NULL, LOG_LEVEL},
    {"timeout", required_argument, NULL, TIMEOUT},
    {"version", no_argument, NULL, VERSION},
    {NULL, 0, NULL, 0},
};

/* key=value, split in place in the process's own arguments */
static bool add_option(Options *options, const char *name, char *text, Failure *failure) {
    char *equals = strchr(text, '=');
    if (equals == NULL || equals == text) {
        return fail(failure, "--%s is '%s'; expected <name>=<value>.", name, text);
    }
    *equals = 0;
    size_t size = (options->count + 1) * sizeof *options->keys;
    options->keys = need(realloc(options->keys, size));
    options->values = need(realloc(options->values, size));
    options->keys[options->count] = text;
    options->values[options->count++] = equals + 1;
    return true;
}

static bool take_number(const char *name, const char *text, int from, int to, int *number,
                        Failure *failure) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || value < from || value > to) {
        return fail(failure, "--%s is '%s'; expected a whole number from %d to %d.", name, text,
                    from, to);
    }
    *number = (int)value;
    return true;
}

static bool take_seconds(const char *text, double *seconds, Failure *failure) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != 0 || !(value > 0 && value <= MAX_TIMEOUT)) {
        return fail(failure, "--timeout is '%s'; expected seconds above 0 and up to %d.", text,
                    MAX_TIMEOUT);
    }
    *seconds = value;
    return true;
}

static bool take_provider(const char *text, bool *qnn, Failure *failure) {
    *qnn = strcmp(text, "qnn") == 0;
    return *qnn || strcmp(text, "cpu") == 0 ||
           fail(failure, "--provider is '%s'; expected cpu or qnn.", text);
}

static bool take(int option, char *value, Command *command, Failure *failure) {
    Settings *settings = &command->settings;
    switch (option) {
    case LIBRARY:
        settings->library = value;
        return true;
    case MODEL:
        settings->model = value;
        return true;
    case REQUESTS:
        command->requests = value;
        return true;
    case PROVIDER:
        return take_provider(value, &settings->qnn, failure);
    case PROVIDER_LIBRARY:
        settings->provider_library = value;
        return true;
    case PROVIDER_OPTION:
        return add_option(&settings->provider_options, "provider-option", value, failure);
    case SESSION_OPTION:
        return add_option(&settings->session_options, "session-option", value, failure);
    case THREADS:
        return take_number("threads", value, 1, MAX_THREADS, &settings->threads, failure);
    case PROFILE:
        settings->profile = value;
        return true;
    case LOG_LEVEL:
        return take_number("log-level", value, 0, 4, &command->log_level, failure);
    case TIMEOUT:
        return take_seconds(value, &command->timeout, failure);
    default:
        command->version = true;
        return true;
    }
}

static bool check(const Command *command, Failure *failure) {
    const Settings *settings = &command->settings;
    if (command->version) {
        return true;
    }
    if (settings->library == NULL || settings->model == NULL || command->requests == NULL) {
        return fail(failure, "--%s is missing; expected --library, --model and --requests.",
                    settings->library == NULL ? "library"
                    : settings->model == NULL ? "model"
                                              : "requests");
    }
    if (!settings->qnn && (settings->provider_library != NULL || settings->provider_options.count)) {
        return fail(failure, "--provider-library and --provider-option need --provider qnn.");
    }
    return true;
}

bool command_parse(int count, char **arguments, Command *command, Failure *failure) {
    *command = (Command){.settings.threads = 1, .log_level = WARNINGS};
    opterr = 0;
    for (int option; (option = getopt_long(count, arguments, ":", known, NULL)) != -1;) {
        if (option == '?' || option == ':') {
            return fail(failure, option == '?' ? "%s is not an option." : "%s needs a value.",
                        arguments[optind - 1]);
        }
        if (!take(option, optarg, command, failure)) {
            return false;
        }
    }
    if (optind < count) {
        return fail(failure, "'%s' stands alone; expected options.", arguments[optind]);
    }
    return check(command, failure);
}

void command_free(Command *command) {
    Settings *settings = &command->settings;
    free(settings->provider_options.keys);
    free(settings->provider_options.values);
    free(settings->session_options.keys);
    free(settings->session_options.values);
}
