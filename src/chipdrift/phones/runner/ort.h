/* onnxruntime's C API without its header: the library is found at run time.
 *
 * The API is one table of function pointers. Its order never changes, new functions only come at
 * its end, so a function is known by its index (struct OrtApi of onnxruntime_c_api.h). */
#ifndef CHIPDRIFT_ORT_H
#define CHIPDRIFT_ORT_H

#include "base.h"

typedef struct OrtAllocator OrtAllocator;
typedef struct OrtEnv OrtEnv;
typedef struct OrtEpAssignedNode OrtEpAssignedNode;
typedef struct OrtEpAssignedSubgraph OrtEpAssignedSubgraph;
typedef struct OrtEpDevice OrtEpDevice;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtStatus OrtStatus;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorInfo;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtValue OrtValue;

typedef const char *const *Strings;
typedef void (*OrtLogger)(void *param, int severity, const char *category, const char *logid,
                          const char *location, const char *message);

/* F(release 1.x that brought it, index, result, name, arguments) */
#define ORT_FUNCTIONS(F)                                                                           \
    F(1, 1, int, GetErrorCode, (const OrtStatus *))                                                \
    F(1, 2, const char *, GetErrorMessage, (const OrtStatus *))                                    \
    F(1, 4, OrtStatus *, CreateEnvWithCustomLogger,                                                \
      (OrtLogger, void *param, int level, const char *logid, OrtEnv **))                           \
    F(1, 7, OrtStatus *, CreateSession,                                                            \
      (const OrtEnv *, const char *model, const OrtSessionOptions *, OrtSession **))               \
    F(1, 9, OrtStatus *, Run,                                                                      \
      (OrtSession *, const OrtRunOptions *, Strings input_names, const OrtValue *const *inputs,    \
       size_t input_count, Strings output_names, size_t output_count, OrtValue **outputs))         \
    F(1, 10, OrtStatus *, CreateSessionOptions, (OrtSessionOptions **))                            \
    F(1, 14, OrtStatus *, EnableProfiling, (OrtSessionOptions *, const char *prefix))              \
    F(1, 24, OrtStatus *, SetIntraOpNumThreads, (OrtSessionOptions *, int))                        \
    F(1, 25, OrtStatus *, SetInterOpNumThreads, (OrtSessionOptions *, int))                        \
    F(1, 30, OrtStatus *, SessionGetInputCount, (const OrtSession *, size_t *))                    \
    F(1, 31, OrtStatus *, SessionGetOutputCount, (const OrtSession *, size_t *))                   \
    F(1, 33, OrtStatus *, SessionGetInputTypeInfo, (const OrtSession *, size_t, OrtTypeInfo **))   \
    F(1, 34, OrtStatus *, SessionGetOutputTypeInfo, (const OrtSession *, size_t, OrtTypeInfo **))  \
    F(1, 36, OrtStatus *, SessionGetInputName,                                                     \
      (const OrtSession *, size_t, OrtAllocator *, char **))                                       \
    F(1, 37, OrtStatus *, SessionGetOutputName,                                                    \
      (const OrtSession *, size_t, OrtAllocator *, char **))                                       \
    F(1, 49, OrtStatus *, CreateTensorWithDataAsOrtValue,                                          \
      (const OrtMemoryInfo *, void *data, size_t bytes, const int64_t *shape, size_t rank,         \
       int type, OrtValue **))                                                                     \
    F(1, 50, OrtStatus *, IsTensor, (const OrtValue *, int *))                                     \
    F(1, 51, OrtStatus *, GetTensorMutableData, (OrtValue *, void **))                             \
    F(1, 55, OrtStatus *, CastTypeInfoToTensorInfo, (const OrtTypeInfo *, const OrtTensorInfo **)) \
    F(1, 56, OrtStatus *, GetOnnxTypeFromTypeInfo, (const OrtTypeInfo *, int *))                   \
    F(1, 60, OrtStatus *, GetTensorElementType, (const OrtTensorInfo *, int *))                    \
    F(1, 61, OrtStatus *, GetDimensionsCount, (const OrtTensorInfo *, size_t *))                   \
    F(1, 62, OrtStatus *, GetDimensions, (const OrtTensorInfo *, int64_t *, size_t rank))          \
    F(1, 63, OrtStatus *, GetSymbolicDimensions, (const OrtTensorInfo *, const char **, size_t))   \
    F(1, 65, OrtStatus *, GetTensorTypeAndShape, (const OrtValue *, OrtTensorInfo **))             \
    F(1, 69, OrtStatus *, CreateCpuMemoryInfo, (int allocator, int memory, OrtMemoryInfo **))      \
    F(1, 76, OrtStatus *, AllocatorFree, (OrtAllocator *, void *))                                 \
    F(1, 78, OrtStatus *, GetAllocatorWithDefaultOptions, (OrtAllocator **))                       \
    F(1, 92, void, ReleaseEnv, (OrtEnv *))                                                         \
    F(1, 93, void, ReleaseStatus, (OrtStatus *))                                                   \
    F(1, 94, void, ReleaseMemoryInfo, (OrtMemoryInfo *))                                           \
    F(1, 95, void, ReleaseSession, (OrtSession *))                                                 \
    F(1, 96, void, ReleaseValue, (OrtValue *))                                                     \
    F(1, 98, void, ReleaseTypeInfo, (OrtTypeInfo *))                                               \
    F(1, 99, void, ReleaseTensorTypeAndShapeInfo, (OrtTensorInfo *))                               \
    F(1, 100, void, ReleaseSessionOptions, (OrtSessionOptions *))                                  \
    F(2, 110, OrtStatus *, SessionEndProfiling, (OrtSession *, OrtAllocator *, char **))           \
    F(5, 130, OrtStatus *, AddSessionConfigEntry,                                                  \
      (OrtSessionOptions *, const char *key, const char *value))                                   \
    F(12, 216, OrtStatus *, SessionOptionsAppendExecutionProvider,                                 \
      (OrtSessionOptions *, const char *provider, Strings keys, Strings values, size_t count))     \
    F(22, 301, OrtStatus *, RegisterExecutionProviderLibrary,                                      \
      (OrtEnv *, const char *name, const char *path))                                              \
    F(22, 303, OrtStatus *, GetEpDevices,                                                          \
      (const OrtEnv *, const OrtEpDevice *const **devices, size_t *count))                         \
    F(22, 304, OrtStatus *, SessionOptionsAppendExecutionProvider_V2,                              \
      (OrtSessionOptions *, OrtEnv *, const OrtEpDevice *const *devices, size_t device_count,      \
       Strings keys, Strings values, size_t count))                                                \
    F(22, 312, const char *, EpDevice_EpName, (const OrtEpDevice *))                               \
    F(24, 390, bool, TensorTypeAndShape_HasShape, (const OrtTensorInfo *))                         \
    F(24, 407, OrtStatus *, Session_GetEpGraphAssignmentInfo,                                      \
      (const OrtSession *, const OrtEpAssignedSubgraph *const **, size_t *count))                  \
    F(24, 408, OrtStatus *, EpAssignedSubgraph_GetEpName,                                          \
      (const OrtEpAssignedSubgraph *, const char **))                                              \
    F(24, 409, OrtStatus *, EpAssignedSubgraph_GetNodes,                                           \
      (const OrtEpAssignedSubgraph *, const OrtEpAssignedNode *const **, size_t *count))           \
    F(24, 410, OrtStatus *, EpAssignedNode_GetName, (const OrtEpAssignedNode *, const char **))    \
    F(24, 412, OrtStatus *, EpAssignedNode_GetOperatorType,                                        \
      (const OrtEpAssignedNode *, const char **))

/* The functions; NULL where the library is older than the function. */
typedef struct {
    char version[32]; /* "1.31.1" */
    unsigned release; /* 31 */
#define ORT_DECLARE(since, index, result, name, arguments) result(*name) arguments;
    ORT_FUNCTIONS(ORT_DECLARE)
#undef ORT_DECLARE
} Ort;

/* Opens libonnxruntime.so; it stays open until the process ends. */
bool ort_load(Ort *ort, const char *path, Failure *failure);

/* True where onnxruntime is content (NULL); otherwise its code and "<what>: <its words>", the words
 * alone where what is NULL. Releases the status. */
bool ort_good(const Ort *ort, OrtStatus *status, const char *what, Failure *failure);

/* Whether a failure to build a session is a refusal of this model, not a broken installation. */
bool ort_is_refusal(const Failure *failure);

#endif
