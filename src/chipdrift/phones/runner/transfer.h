/* Files to and from the host on the line on which requests and answers go. */
#ifndef CHIPDRIFT_TRANSFER_H
#define CHIPDRIFT_TRANSFER_H

#include "base.h"

/* The next `bytes` bytes of `from` become `file`, whole or not at all. They are taken from the line
 * whatever happens, so that the next request is found behind them. */
bool transfer_put(FILE *from, const char *file, size_t bytes, Failure *failure);

/* A file that is open to be sent: its size is known before its first byte goes. */
typedef struct {
    FILE *file;
    size_t bytes;
} Sending;

bool transfer_open(const char *path, Sending *sending, Failure *failure);

/* Exactly the promised bytes, zeros where the file became shorter; closes it. False where nobody
 * reads. */
bool transfer_send(Sending *sending, FILE *to);

#endif
