/* The inputs and outputs of a session. */
#ifndef CHIPDRIFT_PORTS_H
#define CHIPDRIFT_PORTS_H

#include "session.h"

bool ports_read(Session *session, Failure *failure);
void ports_free(Ports *ports);

/* A JSON list of {"name", "dtype", "shape"}. */
void ports_json(FILE *out, const Ports *ports);

#endif
