/* Which provider runs which node, as onnxruntime recorded it when it built the session. */
#ifndef CHIPDRIFT_PLACEMENT_H
#define CHIPDRIFT_PLACEMENT_H

#include "session.h"

/* The option of a session without which nothing is recorded. */
#define PLACEMENT_OPTION "session.record_ep_graph_assignment_info"

/* Writes a JSON list of [provider, node, op], null where the library is older than 1.24, and
 * counts the nodes of `provider`. */
bool placement_json(FILE *out, const Session *session, const char *provider, size_t *placed,
                    Failure *failure);

#endif
