#include "provider.h"

#include <stdlib.h>
#include <string.h>

/* The first device of the plugin's, as onnxruntime lists them; NULL without one. */
static const OrtEpDevice *pick_device(const Ort *ort, const OrtEpDevice *const *devices,
                                      size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(ort->EpDevice_EpName(devices[i]), QNN_PROVIDER) == 0) {
            return devices[i];
        }
    }
    return NULL;
}

static bool fail_without_device(const Ort *ort, const char *library,
                                const OrtEpDevice *const *devices, size_t count,
                                Failure *failure) {
    Text names;
    text_begin(&names);
    for (size_t i = 0; i < count; i++) {
        json_comma(names.out, i);
        fputs(ort->EpDevice_EpName(devices[i]), names.out);
    }
    char *found = text_end(&names);
    fail(failure, "%s offers no device of %s here; onnxruntime lists: %s.", library, QNN_PROVIDER,
         found);
    free(found);
    return false;
}

static bool add_plugin(Session *session, const Settings *settings, OrtSessionOptions *options,
                       Failure *failure) {
    const Ort *ort = &session->ort;
    const char *library = settings->provider_library;
    const OrtEpDevice *const *devices = NULL;
    size_t count = 0;
    if (ort->RegisterExecutionProviderLibrary == NULL) {
        return fail(failure, "onnxruntime %s takes no provider library; expected 1.22 or newer.",
                    ort->version);
    }
    if (!ort_good(ort, ort->RegisterExecutionProviderLibrary(session->env, QNN_PROVIDER, library),
                  "Registering the provider's library", failure) ||
        !ort_good(ort, ort->GetEpDevices(session->env, &devices, &count),
                  "Listing the provider's devices", failure)) {
        return false;
    }
    const OrtEpDevice *device = pick_device(ort, devices, count);
    if (device == NULL) {
        return fail_without_device(ort, library, devices, count, failure);
    }
    const Options *given = &settings->provider_options;
    OrtStatus *status = ort->SessionOptionsAppendExecutionProvider_V2(
        options, session->env, &device, 1, given->keys, given->values, given->count);
    return ort_good(ort, status, "Adding the provider " QNN_PROVIDER, failure);
}

bool provider_add_qnn(Session *session, const Settings *settings, OrtSessionOptions *options,
                      Failure *failure) {
    if (settings->provider_library != NULL) {
        return add_plugin(session, settings, options, failure);
    }
    const Options *given = &settings->provider_options;
    OrtStatus *status = session->ort.SessionOptionsAppendExecutionProvider(
        options, "QNN", given->keys, given->values, given->count);
    return ort_good(&session->ort, status,
                    "This onnxruntime has no provider QNN built in, and no --provider-library is "
                    "given",
                    failure);
}
