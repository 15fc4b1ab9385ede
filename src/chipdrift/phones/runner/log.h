/* onnxruntime's log, on standard error in its own form (on Android it would go to logcat). */
#ifndef CHIPDRIFT_LOG_H
#define CHIPDRIFT_LOG_H

#include "base.h" /* before the system's: it says what they show */

#include <pthread.h>

typedef struct {
    int level;        /* of OrtLoggingLevel: what is below it is not printed */
    char *last_error; /* the last message of an error, whatever the level; NULL without one */
    pthread_mutex_t lock;
} Log;

/* An OrtLogger whose param is a Log. */
void log_message(void *param, int severity, const char *category, const char *logid,
                 const char *location, const char *message);

/* What onnxruntime's environment has to be asked for, so that errors are always heard of. */
int log_asked(const Log *log);

#endif
