#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"
#include "placement.h"
#include "ports.h"
#include "provider.h"

static bool prepare(Session *session, Failure *failure) {
    const Ort *ort = &session->ort;
    int level = log_asked(&session->log);
    const int device_allocator = 0, default_memory = 0;
    return ort_good(ort,
                    ort->CreateEnvWithCustomLogger(log_message, &session->log, level,
                                                   "chipdrift-runner", &session->env),
                    "Starting onnxruntime", failure) &&
           ort_good(ort, ort->GetAllocatorWithDefaultOptions(&session->allocator),
                    "Asking for onnxruntime's allocator", failure) &&
           ort_good(ort, ort->CreateCpuMemoryInfo(device_allocator, default_memory,
                                                  &session->memory),
                    "Asking for the processor's memory", failure);
}

static bool add_entry(const Ort *ort, OrtSessionOptions *options, const char *key,
                      const char *value, Failure *failure) {
    OrtStatus *status = ort->AddSessionConfigEntry(options, key, value);
    return ort_good(ort, status, "Setting an option of the session", failure);
}

static bool set_options(Session *session, const Settings *settings, OrtSessionOptions *options,
                        Failure *failure) {
    const Ort *ort = &session->ort;
    const char *what = "Setting the session's options";
    if (!ort_good(ort, ort->SetIntraOpNumThreads(options, settings->threads), what, failure) ||
        !ort_good(ort, ort->SetInterOpNumThreads(options, 1), what, failure) ||
        !add_entry(ort, options, PLACEMENT_OPTION, "1", failure)) {
        return false;
    }
    const Options *given = &settings->session_options;
    for (size_t i = 0; i < given->count; i++) {
        if (!add_entry(ort, options, given->keys[i], given->values[i], failure)) {
            return false;
        }
    }
    if (settings->profile != NULL &&
        !ort_good(ort, ort->EnableProfiling(options, settings->profile), what, failure)) {
        return false;
    }
    return !settings->qnn || provider_add_qnn(session, settings, options, failure);
}

/* The provider's fault, with a code that says the model's. */
static bool provider_failed(const char *words) {
    return strstr(words, "Error creating execution provider") != NULL;
}

static bool build(Session *session, const Settings *settings, Failure *failure) {
    const Ort *ort = &session->ort;
    OrtSessionOptions *options = NULL;
    if (!ort_good(ort, ort->CreateSessionOptions(&options), "Making options", failure)) {
        return false;
    }
    bool good = set_options(session, settings, options, failure);
    if (good) {
        OrtStatus *status =
            ort->CreateSession(session->env, settings->model, options, &session->session);
        good = ort_good(ort, status, NULL, failure);
        failure->refused = !good && ort_is_refusal(failure) && !provider_failed(failure->text);
    }
    ort->ReleaseSessionOptions(options);
    return good;
}

/* A provider that cannot start leaves its nodes to the CPU without a failure: only the log tells.
 * One that refuses every node logs no error. */
static bool check_provider(const Session *session, size_t placed, Failure *failure) {
    if (placed > 0 || session->log.last_error == NULL) {
        return true;
    }
    return fail(failure,
                "%s did not start and onnxruntime went on with the CPU. The last error it logged: "
                "%s",
                QNN_PROVIDER, session->log.last_error);
}

static bool write_opened(Session *session, const Settings *settings, double seconds, FILE *out,
                         Failure *failure) {
    size_t placed = 0;
    fprintf(out, "{\"runner\": \"%s\", \"onnxruntime\": ", RUNNER_VERSION);
    json_string(out, session->ort.version);
    fprintf(out, ", \"machine\": \"%s\", \"features\": ", machine_name());
    machine_features(out);
    fprintf(out, ", \"seconds\": %.6f, \"providers\": [%s\"%s\"], \"inputs\": ", seconds,
            settings->qnn ? "\"" QNN_PROVIDER "\", " : "", CPU_PROVIDER);
    ports_json(out, &session->inputs);
    fputs(", \"outputs\": ", out);
    ports_json(out, &session->outputs);
    fputs(", \"nodes\": ", out);
    bool good = placement_json(out, session, QNN_PROVIDER, &placed, failure);
    fputc('}', out);
    return good && (!settings->qnn || check_provider(session, placed, failure));
}

bool session_open(Session *session, const Settings *settings, FILE *opened, Failure *failure) {
    double start = now();
    if (access(settings->model, R_OK) != 0) {
        return fail(failure, "The model %s cannot be read: %s.", settings->model, strerror(errno));
    }
    if (!ort_load(&session->ort, settings->library, failure) || !prepare(session, failure) ||
        !build(session, settings, failure)) {
        return false;
    }
    double seconds = now() - start;
    return ports_read(session, failure) &&
           write_opened(session, settings, seconds, opened, failure);
}

char *session_end_profile(Session *session, const Settings *settings) {
    Failure ignored = {0};
    char *name = NULL, *copy = NULL;
    if (settings->profile == NULL) {
        return NULL;
    }
    OrtStatus *status =
        session->ort.SessionEndProfiling(session->session, session->allocator, &name);
    if (ort_good(&session->ort, status, "Ending the profile", &ignored)) {
        copy = need(strdup(name));
        ort_good(&session->ort, session->ort.AllocatorFree(session->allocator, name), NULL,
                 &ignored);
    }
    failure_clear(&ignored);
    return copy;
}

void session_close(Session *session) {
    ports_free(&session->inputs);
    ports_free(&session->outputs);
    if (session->env == NULL) {
        return;
    }
    session->ort.ReleaseMemoryInfo(session->memory);
    session->ort.ReleaseSession(session->session);
    session->ort.ReleaseEnv(session->env);
    free(session->log.last_error);
}
