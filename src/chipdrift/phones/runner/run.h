/* One sample through an open session: arrays in from npy files, arrays out into npy files. */
#ifndef CHIPDRIFT_RUN_H
#define CHIPDRIFT_RUN_H

#include "request.h"
#include "session.h"

/* Writes {"seconds", "outputs"} to `answer`; nothing of it is left in memory afterwards. */
bool run_request(const Session *session, const Request *request, FILE *answer, Failure *failure);

#endif
