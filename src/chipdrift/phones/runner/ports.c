#include "ports.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "element.h"

static const char what[] = "Reading the model's inputs and outputs";

static const char *kind_name(int kind) {
    static const char *const names[] = {"unknown", "tensor",        "sequence", "map",
                                        "opaque",  "sparse tensor", "optional"};
    return names[kind >= 0 && kind < 7 ? kind : 0];
}

static const char *port_dtype(const Port *port) {
    return port->kind == KIND_TENSOR ? element_name(port->type) : kind_name(port->kind);
}

static bool read_shape(const Ort *ort, const OrtTensorInfo *info, Port *port, Failure *failure) {
    port->has_shape =
        ort->TensorTypeAndShape_HasShape == NULL || ort->TensorTypeAndShape_HasShape(info);
    if (!port->has_shape) {
        return true;
    }
    if (!ort_good(ort, ort->GetDimensionsCount(info, &port->rank), what, failure)) {
        port->rank = 0;
        return false;
    }
    port->shape = need(calloc(port->rank + 1, sizeof *port->shape));
    port->symbols = need(calloc(port->rank + 1, sizeof *port->symbols));
    const char **symbols = need(calloc(port->rank + 1, sizeof *symbols));
    bool good =
        ort_good(ort, ort->GetDimensions(info, port->shape, port->rank), what, failure) &&
        ort_good(ort, ort->GetSymbolicDimensions(info, symbols, port->rank), what, failure);
    for (size_t i = 0; good && i < port->rank; i++) {
        port->symbols[i] = need(strdup(symbols[i] == NULL ? "" : symbols[i]));
    }
    free(symbols);
    return good;
}

static bool read_type(const Ort *ort, const OrtTypeInfo *type, Port *port, Failure *failure) {
    const OrtTensorInfo *info = NULL;
    if (!ort_good(ort, ort->GetOnnxTypeFromTypeInfo(type, &port->kind), what, failure)) {
        return false;
    }
    if (port->kind != KIND_TENSOR) {
        return true;
    }
    return ort_good(ort, ort->CastTypeInfoToTensorInfo(type, &info), what, failure) &&
           ort_good(ort, ort->GetTensorElementType(info, &port->type), what, failure) &&
           read_shape(ort, info, port, failure);
}

/* The functions of the API that read one side of the model. */
typedef struct {
    OrtStatus *(*count)(const OrtSession *, size_t *);
    OrtStatus *(*name)(const OrtSession *, size_t, OrtAllocator *, char **);
    OrtStatus *(*type)(const OrtSession *, size_t, OrtTypeInfo **);
} Side;

static bool read_port(Session *session, const Side *side, size_t i, Port *port, Failure *failure) {
    const Ort *ort = &session->ort;
    char *name = NULL;
    OrtTypeInfo *type = NULL;
    OrtStatus *status = side->name(session->session, i, session->allocator, &name);
    if (!ort_good(ort, status, what, failure)) {
        return false;
    }
    port->name = need(strdup(name));
    if (!ort_good(ort, ort->AllocatorFree(session->allocator, name), what, failure) ||
        !ort_good(ort, side->type(session->session, i, &type), what, failure)) {
        return false;
    }
    bool good = read_type(ort, type, port, failure);
    ort->ReleaseTypeInfo(type);
    return good;
}

static bool read_side(Session *session, const Side *side, Ports *ports, Failure *failure) {
    size_t count = 0;
    if (!ort_good(&session->ort, side->count(session->session, &count), what, failure)) {
        return false;
    }
    ports->ports = need(calloc(count + 1, sizeof *ports->ports));
    ports->names = need(calloc(count + 1, sizeof *ports->names));
    for (ports->count = 0; ports->count < count;) {
        Port *port = &ports->ports[ports->count++];
        if (!read_port(session, side, ports->count - 1, port, failure)) {
            return false;
        }
        ports->names[ports->count - 1] = port->name;
    }
    return true;
}

bool ports_read(Session *session, Failure *failure) {
    const Ort *ort = &session->ort;
    const Side in = {ort->SessionGetInputCount, ort->SessionGetInputName,
                     ort->SessionGetInputTypeInfo};
    const Side out = {ort->SessionGetOutputCount, ort->SessionGetOutputName,
                      ort->SessionGetOutputTypeInfo};
    return read_side(session, &in, &session->inputs, failure) &&
           read_side(session, &out, &session->outputs, failure);
}

void ports_free(Ports *ports) {
    for (size_t i = 0; i < ports->count; i++) {
        Port *port = &ports->ports[i];
        for (size_t axis = 0; port->symbols != NULL && axis < port->rank; axis++) {
            free(port->symbols[axis]);
        }
        free(port->symbols);
        free(port->shape);
        free(port->name);
    }
    free(ports->ports);
    free(ports->names);
    *ports = (Ports){NULL, NULL, 0};
}

static void json_dimension(FILE *out, const Port *port, size_t axis) {
    if (port->shape[axis] >= 0) {
        fprintf(out, "%" PRId64, port->shape[axis]);
    } else if (port->symbols[axis][0] != 0) {
        json_string(out, port->symbols[axis]);
    } else {
        fputs("null", out);
    }
}

static void json_shape(FILE *out, const Port *port) {
    fputc('[', out);
    for (size_t axis = 0; axis < port->rank; axis++) {
        json_comma(out, axis);
        json_dimension(out, port, axis);
    }
    fputc(']', out);
}

void ports_json(FILE *out, const Ports *ports) {
    fputc('[', out);
    for (size_t i = 0; i < ports->count; i++) {
        const Port *port = &ports->ports[i];
        json_comma(out, i);
        fputs("{\"name\": ", out);
        json_string(out, port->name);
        fprintf(out, ", \"dtype\": \"%s\", \"shape\": ", port_dtype(port));
        if (port->has_shape) {
            json_shape(out, port);
        } else {
            fputs("null", out);
        }
        fputc('}', out);
    }
    fputc(']', out);
}

void port_describe(FILE *out, const Port *port) {
    fputs(port_dtype(port), out);
    if (!port->has_shape) {
        return;
    }
    fputs(" (", out);
    for (size_t axis = 0; axis < port->rank; axis++) {
        json_comma(out, axis);
        if (port->shape[axis] >= 0) {
            fprintf(out, "%" PRId64, port->shape[axis]);
        } else {
            fputs(port->symbols[axis][0] != 0 ? port->symbols[axis] : "?", out);
        }
    }
    fputs(port->rank == 1 ? ",)" : ")", out);
}
