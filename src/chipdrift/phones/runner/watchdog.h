/* A time limit that nothing outlives: vendor libraries hang. */
#ifndef CHIPDRIFT_WATCHDOG_H
#define CHIPDRIFT_WATCHDOG_H

#include "answers.h"

#include <time.h>

typedef struct {
    double seconds; /* 0: no limit, no thread */
    Answers *answers;
    const char *what; /* what is being done; NULL while nothing is */
    struct timespec deadline;
    bool idle; /* the thread waits for no deadline, so it must be woken */
    pthread_mutex_t lock;
    pthread_cond_t changed;
} Watchdog;

bool watchdog_start(Watchdog *watchdog, double seconds, Answers *answers, Failure *failure);

/* Where it is still armed after the limit, the process prints an error and ends with code 5. */
void watchdog_arm(Watchdog *watchdog, const char *what);
void watchdog_disarm(Watchdog *watchdog);

#endif
