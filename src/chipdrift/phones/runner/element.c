#include "element.h"

#include <string.h>

typedef struct {
    const char *name;
    const char *descr;
    size_t size;
} Element;

/* By ONNXTensorElementDataType of onnxruntime_c_api.h. */
static const Element elements[] = {
    {"undefined", NULL, 0},      {"float32", "<f4", 4},       {"uint8", "|u1", 1},
    {"int8", "|i1", 1},          {"uint16", "<u2", 2},        {"int16", "<i2", 2},
    {"int32", "<i4", 4},         {"int64", "<i8", 8},         {"string", NULL, 0},
    {"bool", "|b1", 1},          {"float16", "<f2", 2},       {"float64", "<f8", 8},
    {"uint32", "<u4", 4},        {"uint64", "<u8", 8},        {"complex64", NULL, 0},
    {"complex128", NULL, 0},     {"bfloat16", NULL, 0},       {"float8e4m3fn", NULL, 0},
    {"float8e4m3fnuz", NULL, 0}, {"float8e5m2", NULL, 0},     {"float8e5m2fnuz", NULL, 0},
    {"uint4", NULL, 0},          {"int4", NULL, 0},           {"float4e2m1", NULL, 0},
    {"uint2", NULL, 0},          {"int2", NULL, 0},
};

enum { KNOWN = sizeof elements / sizeof elements[0] };

static const Element *element_of(int type) {
    return &elements[type > 0 && type < KNOWN ? type : 0];
}

const char *element_name(int type) {
    return element_of(type)->name;
}

const char *element_descr(int type) {
    return element_of(type)->descr;
}

size_t element_size(int type) {
    return element_of(type)->size;
}

int element_from_descr(const char *descr) {
    for (int type = 1; type < KNOWN; type++) {
        if (elements[type].descr != NULL && strcmp(elements[type].descr, descr) == 0) {
            return type;
        }
    }
    return 0;
}
