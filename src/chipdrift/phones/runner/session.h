/* A model, opened by onnxruntime with the providers that were asked for. */
#ifndef CHIPDRIFT_SESSION_H
#define CHIPDRIFT_SESSION_H

#include "log.h"
#include "ort.h"

/* Pairs of an option's name and its value. */
typedef struct {
    const char **keys;
    const char **values;
    size_t count;
} Options;

typedef struct {
    const char *library;
    const char *model;
    bool qnn;
    const char *provider_library; /* NULL: the provider is built into the library */
    const char *profile;          /* NULL: no profile */
    Options provider_options;
    Options session_options;
    int threads;
} Settings;

/* An input or an output of the model. */
typedef struct {
    char *name;
    int kind; /* of ONNXType: 1 is a tensor */
    int type; /* of its elements, as in element.h; 0 for what is no tensor */
    bool has_shape;
    size_t rank;
    int64_t *shape; /* -1 where it is not fixed */
    char **symbols; /* the name of a dimension; empty without one */
} Port;

enum { KIND_TENSOR = 1 };

typedef struct {
    Port *ports;
    const char **names;
    size_t count;
} Ports;

typedef struct {
    Ort ort;
    Log log;
    OrtEnv *env;
    OrtSession *session;
    OrtAllocator *allocator; /* onnxruntime's own, never released */
    OrtMemoryInfo *memory;
    Ports inputs;
    Ports outputs;
} Session;

/* Writes what was opened to `opened`, a JSON object. On failure session_close is still due. */
bool session_open(Session *session, const Settings *settings, FILE *opened, Failure *failure);

/* The name of the profile file, which the caller frees; NULL without one. */
char *session_end_profile(Session *session, const Settings *settings);

void session_close(Session *session);

/* What a port takes or gives, in words: "float32 (1, N, 28)". */
void port_describe(FILE *out, const Port *port);

#endif
