#include "log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SEVERITY_ERROR = 3 };

int log_asked(const Log *log) {
    return log->level < SEVERITY_ERROR ? log->level : SEVERITY_ERROR;
}

static void keep_error(Log *log, const char *message) {
    pthread_mutex_lock(&log->lock);
    free(log->last_error);
    log->last_error = strdup(message);
    pthread_mutex_unlock(&log->lock);
}

void log_message(void *param, int severity, const char *category, const char *logid,
                 const char *location, const char *message) {
    Log *log = param;
    if (severity >= SEVERITY_ERROR) {
        keep_error(log, message);
    }
    if (severity < log->level) {
        return;
    }
    struct timespec time;
    struct tm local;
    char stamp[32];
    clock_gettime(CLOCK_REALTIME, &time);
    strftime(stamp, sizeof stamp, "%F %T", localtime_r(&time.tv_sec, &local));
    fprintf(stderr, "%s.%09ld [%c:%s:%s, %s] %s\n", stamp, time.tv_nsec,
            severity >= 0 && severity < 5 ? "VIWEF"[severity] : '?', category, logid, location,
            message);
}
