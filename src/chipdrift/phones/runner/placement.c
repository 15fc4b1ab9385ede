#include "placement.h"

#include <string.h>

static const char what[] = "Reading which provider runs which node";

static bool json_node(FILE *out, const Ort *ort, const char *provider,
                      const OrtEpAssignedNode *node, Failure *failure) {
    const char *name = NULL, *op = NULL;
    if (!ort_good(ort, ort->EpAssignedNode_GetName(node, &name), what, failure) ||
        !ort_good(ort, ort->EpAssignedNode_GetOperatorType(node, &op), what, failure)) {
        return false;
    }
    fputc('[', out);
    json_string(out, provider);
    fputs(", ", out);
    json_string(out, name);
    fputs(", ", out);
    json_string(out, op);
    fputc(']', out);
    return true;
}

typedef struct {
    const char *provider;
    size_t placed; /* nodes of that provider */
    size_t all;
} Count;

static bool json_part(FILE *out, const Ort *ort, const OrtEpAssignedSubgraph *part, Count *count,
                      Failure *failure) {
    const char *provider = NULL;
    const OrtEpAssignedNode *const *nodes = NULL;
    size_t size = 0;
    if (!ort_good(ort, ort->EpAssignedSubgraph_GetEpName(part, &provider), what, failure) ||
        !ort_good(ort, ort->EpAssignedSubgraph_GetNodes(part, &nodes, &size), what, failure)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        json_comma(out, count->all++);
        if (!json_node(out, ort, provider, nodes[i], failure)) {
            return false;
        }
    }
    count->placed += strcmp(provider, count->provider) == 0 ? size : 0;
    return true;
}

bool placement_json(FILE *out, const Session *session, const char *provider, size_t *placed,
                    Failure *failure) {
    const Ort *ort = &session->ort;
    const OrtEpAssignedSubgraph *const *parts = NULL;
    size_t size = 0;
    Count count = {provider, 0, 0};
    *placed = 0;
    if (ort->Session_GetEpGraphAssignmentInfo == NULL) {
        fputs("null", out);
        return true;
    }
    OrtStatus *status = ort->Session_GetEpGraphAssignmentInfo(session->session, &parts, &size);
    if (!ort_good(ort, status, what, failure)) {
        return false;
    }
    fputc('[', out);
    for (size_t i = 0; i < size; i++) {
        if (!json_part(out, ort, parts[i], &count, failure)) {
            return false;
        }
    }
    fputc(']', out);
    *placed = count.placed;
    return true;
}
