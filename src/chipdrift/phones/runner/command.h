/* The command line. */
#ifndef CHIPDRIFT_COMMAND_H
#define CHIPDRIFT_COMMAND_H

#include "session.h"

typedef struct {
    bool version;
    Settings settings;
    const char *requests; /* a file, or "-" */
    int log_level;
    double timeout; /* seconds; 0: none */
} Command;

bool command_parse(int count, char **arguments, Command *command, Failure *failure);
void command_free(Command *command);

#endif
