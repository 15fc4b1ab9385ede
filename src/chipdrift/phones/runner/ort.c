#include "ort.h"

#include <dlfcn.h>
#include <string.h>

#include "machine.h"

/* SessionOptionsAppendExecutionProvider came with it; newer functions may lack. */
enum { OLDEST = 12, NEWEST = 24 };

typedef void (*Slot)(void);

typedef struct {
    const Slot *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} ApiBase;

typedef const ApiBase *(*GetApiBase)(void);

static bool find_base(const char *path, const ApiBase **base, Failure *failure) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return fail(failure, "The library cannot be opened: %s (expected a libonnxruntime.so for %s).",
                    dlerror(), machine_name());
    }
    void *symbol = dlsym(library, "OrtGetApiBase");
    if (symbol == NULL) {
        return fail(failure, "%s has no OrtGetApiBase; expected a libonnxruntime.so.", path);
    }
    GetApiBase get; /* ISO C has no cast from an object's pointer to a function's */
    memcpy(&get, &symbol, sizeof get);
    *base = get(); /* the address of a constant */
    return true;
}

bool ort_load(Ort *ort, const char *path, Failure *failure) {
    const ApiBase *base = NULL;
    if (!find_base(path, &base, failure)) {
        return false;
    }
    snprintf(ort->version, sizeof ort->version, "%s", base->GetVersionString());
    if (sscanf(ort->version, "1.%u.", &ort->release) != 1 || ort->release < OLDEST) {
        return fail(failure, "%s is onnxruntime %s; expected 1.%d or newer of release 1.", path,
                    ort->version, OLDEST);
    }
    unsigned asked = ort->release < NEWEST ? ort->release : NEWEST;
    const Slot *table = base->GetApi(asked);
    if (table == NULL) {
        return fail(failure, "%s, onnxruntime %s, does not give its API of version %u.", path,
                    ort->version, asked);
    }
#define ORT_TAKE(since, index, result, name, arguments)                                            \
    ort->name = ort->release >= since ? (result(*) arguments)table[index] : NULL;
    ORT_FUNCTIONS(ORT_TAKE)
#undef ORT_TAKE
    return true;
}

bool ort_good(const Ort *ort, OrtStatus *status, const char *what, Failure *failure) {
    if (status == NULL) {
        return true;
    }
    failure->code = ort->GetErrorCode(status);
    const char *words = ort->GetErrorMessage(status);
    fail(failure, "%s%s%s", what == NULL ? "" : what, what == NULL ? "" : ": ", words);
    ort->ReleaseStatus(status);
    return false;
}

/* Of OrtErrorCode. No file, no model, an invalid protobuf: those are files, not models. */
enum {
    FAIL = 1,
    INVALID_ARGUMENT = 2,
    RUNTIME_EXCEPTION = 6,
    NOT_IMPLEMENTED = 9,
    INVALID_GRAPH = 10,
    EP_FAIL = 11
};

bool ort_is_refusal(const Failure *failure) {
    switch (failure->code) {
    case FAIL:
    case INVALID_ARGUMENT:
    case RUNTIME_EXCEPTION:
    case NOT_IMPLEMENTED:
    case INVALID_GRAPH:
    case EP_FAIL:
        return true;
    default:
        return false;
    }
}
