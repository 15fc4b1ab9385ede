#include "run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "element.h"
#include "npy.h"

/* What one run holds; freed by `release` whatever happened. */
typedef struct {
    Array *arrays; /* by the model's inputs */
    OrtValue **inputs;
    OrtValue **outputs;
} Held;

static Held hold(const Session *session) {
    return (Held){need(calloc(session->inputs.count + 1, sizeof(Array))),
                  need(calloc(session->inputs.count + 1, sizeof(OrtValue *))),
                  need(calloc(session->outputs.count + 1, sizeof(OrtValue *)))};
}

static void release(const Session *session, Held *held) {
    for (size_t i = 0; i < session->inputs.count; i++) {
        session->ort.ReleaseValue(held->inputs[i]);
        free(held->arrays[i].data);
    }
    for (size_t i = 0; i < session->outputs.count; i++) {
        session->ort.ReleaseValue(held->outputs[i]);
    }
    free(held->arrays);
    free(held->inputs);
    free(held->outputs);
}

static bool fits(const Array *array, const Port *port) {
    if (port->kind != KIND_TENSOR || array->type != port->type) {
        return false;
    }
    if (!port->has_shape) {
        return true;
    }
    bool same = array->rank == port->rank;
    for (size_t axis = 0; same && axis < port->rank; axis++) {
        same = port->shape[axis] < 0 || port->shape[axis] == array->shape[axis];
    }
    return same;
}

static bool check_fit(const Array *array, const Port *port, const char *path, Failure *failure) {
    if (fits(array, port)) {
        return true;
    }
    Text text;
    text_begin(&text);
    fprintf(text.out, "Input '%s': %s holds %s ", port->name, path, element_name(array->type));
    npy_shape(text.out, array->shape, array->rank);
    fputs("; expected ", text.out);
    port_describe(text.out, port);
    fputc('.', text.out);
    char *sentence = text_end(&text);
    fail(failure, "%s", sentence);
    free(sentence);
    return false;
}

/* The index of the input of that name; false where the model has none. */
static bool find_input(const Ports *inputs, const char *name, size_t *index, Failure *failure) {
    for (*index = 0; *index < inputs->count; (*index)++) {
        if (strcmp(inputs->names[*index], name) == 0) {
            return true;
        }
    }
    Text text;
    text_begin(&text);
    for (size_t i = 0; i < inputs->count; i++) {
        json_comma(text.out, i);
        fprintf(text.out, "'%s'", inputs->names[i]);
    }
    char *known = text_end(&text);
    fail(failure, "The model has no input '%s'; it has: %s.", name, known);
    free(known);
    return false;
}

static bool load_feed(const Session *session, const Feed *feed, Held *held, Failure *failure) {
    size_t i;
    if (!find_input(&session->inputs, feed->name, &i, failure)) {
        return false;
    }
    if (held->inputs[i] != NULL) {
        return fail(failure, "Input '%s' is given twice.", feed->name);
    }
    Array *array = &held->arrays[i];
    if (!npy_read(feed->file, array, failure) ||
        !check_fit(array, &session->inputs.ports[i], feed->file, failure)) {
        return false;
    }
    OrtStatus *status = session->ort.CreateTensorWithDataAsOrtValue(
        session->memory, array->data, array->bytes, array->shape, array->rank, array->type,
        &held->inputs[i]);
    return ort_good(&session->ort, status, feed->name, failure);
}

static bool load_feeds(const Session *session, const Request *request, Held *held,
                       Failure *failure) {
    for (size_t i = 0; i < request->count; i++) {
        if (!load_feed(session, &request->feeds[i], held, failure)) {
            return false;
        }
    }
    for (size_t i = 0; i < session->inputs.count; i++) {
        if (held->inputs[i] == NULL) {
            return fail(failure, "The request lacks the input '%s'.", session->inputs.names[i]);
        }
    }
    return true;
}

/* Like mkdir -p; what is there already stays. */
static bool make_folder(const char *folder, Failure *failure) {
    char *path = need(strdup(folder));
    bool good = true;
    for (char *at = path + 1; good && path[0] != 0; at++) {
        char end = *at;
        if (end == '/' || end == 0) {
            *at = 0;
            good = mkdir(path, 0777) == 0 || errno == EEXIST;
            *at = end;
        }
        if (end == 0) {
            break;
        }
    }
    free(path);
    return good || fail(failure, "The folder %s cannot be made: %s.", folder, strerror(errno));
}

/* An output's type and shape; its data stay onnxruntime's. */
static bool describe_output(const Ort *ort, OrtValue *value, const OrtTensorInfo *info,
                            Array *array, Failure *failure) {
    const char *what = "Reading an output";
    if (!ort_good(ort, ort->GetTensorElementType(info, &array->type), what, failure) ||
        !ort_good(ort, ort->GetDimensionsCount(info, &array->rank), what, failure)) {
        return false;
    }
    if (element_size(array->type) == 0 || array->rank > NPY_MAX_RANK) {
        return fail(failure, "it is %s of %zu dimensions, which npy files cannot hold",
                    element_name(array->type), array->rank);
    }
    size_t count;
    if (!ort_good(ort, ort->GetDimensions(info, array->shape, array->rank), what, failure) ||
        !ort_good(ort, ort->GetTensorMutableData(value, &array->data), what, failure)) {
        return false;
    }
    if (!npy_count(array->shape, array->rank, &count)) {
        return fail(failure, "its shape is not one of a tensor");
    }
    array->bytes = count * element_size(array->type);
    return true;
}

static bool read_output(const Ort *ort, OrtValue *value, Array *array, Failure *failure) {
    int tensor = 0;
    OrtTensorInfo *info = NULL;
    if (!ort_good(ort, ort->IsTensor(value, &tensor), NULL, failure)) {
        return false;
    }
    if (!tensor) {
        return fail(failure, "it is no tensor");
    }
    if (!ort_good(ort, ort->GetTensorTypeAndShape(value, &info), NULL, failure)) {
        return false;
    }
    bool good = describe_output(ort, value, info, array, failure);
    ort->ReleaseTensorTypeAndShapeInfo(info);
    return good;
}

static bool write_output(const Session *session, OrtValue *value, size_t i, const char *folder,
                         Failure *failure) {
    Array array = {0};
    char *path = NULL;
    if (!read_output(&session->ort, value, &array, failure)) {
        return fail(failure, "Output '%s': %s.", session->outputs.names[i], failure->text);
    }
    if (asprintf(&path, "%s/%zu.npy", folder, i) < 0) {
        need(NULL);
    }
    bool good = npy_write(path, &array, failure);
    free(path);
    return good;
}

static bool write_outputs(const Session *session, const Held *held, const char *folder,
                          Failure *failure) {
    if (!make_folder(folder, failure)) {
        return false;
    }
    for (size_t i = 0; i < session->outputs.count; i++) {
        if (!write_output(session, held->outputs[i], i, folder, failure)) {
            return false;
        }
    }
    return true;
}

static void write_answer(FILE *answer, double seconds, size_t outputs) {
    fprintf(answer, "{\"seconds\": %.9f, \"outputs\": [", seconds);
    for (size_t i = 0; i < outputs; i++) {
        json_comma(answer, i);
        fprintf(answer, "\"%zu.npy\"", i);
    }
    fputs("]}", answer);
}

static bool run(const Session *session, const Request *request, Held *held, FILE *answer,
                Failure *failure) {
    if (!load_feeds(session, request, held, failure)) {
        return false;
    }
    const Ports *in = &session->inputs, *out = &session->outputs;
    double start = now();
    OrtStatus *status =
        session->ort.Run(session->session, NULL, in->names, (const OrtValue *const *)held->inputs,
                         in->count, out->names, out->count, held->outputs);
    double seconds = now() - start;
    if (!ort_good(&session->ort, status, "Running the model", failure) ||
        !write_outputs(session, held, request->path, failure)) {
        return false;
    }
    write_answer(answer, seconds, out->count);
    return true;
}

bool run_request(const Session *session, const Request *request, FILE *answer, Failure *failure) {
    Held held = hold(session);
    bool good = run(session, request, &held, answer, failure);
    release(session, &held);
    return good;
}
