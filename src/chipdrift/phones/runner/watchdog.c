#include "watchdog.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Never returns: the other threads are not asked. */
static void bite(const Watchdog *watchdog) {
    Failure failure = {0};
    fail(&failure, "%s took longer than the %g s that --timeout allows.", watchdog->what,
         watchdog->seconds);
    answers_last_at_once(watchdog->answers, "error", failure.text);
    _exit(EXIT_TIMEOUT);
}

static void *watch(void *given) {
    Watchdog *watchdog = given;
    pthread_mutex_lock(&watchdog->lock);
    for (;;) {
        if (watchdog->what == NULL) {
            watchdog->idle = true;
            pthread_cond_wait(&watchdog->changed, &watchdog->lock);
            watchdog->idle = false;
            continue;
        }
        struct timespec deadline = watchdog->deadline;
        int code = pthread_cond_timedwait(&watchdog->changed, &watchdog->lock, &deadline);
        /* It may have been armed anew between the deadline and here. */
        bool same = deadline.tv_sec == watchdog->deadline.tv_sec &&
                    deadline.tv_nsec == watchdog->deadline.tv_nsec;
        if (code == ETIMEDOUT && same && watchdog->what != NULL) {
            bite(watchdog);
        }
    }
    return NULL;
}

bool watchdog_start(Watchdog *watchdog, double seconds, Answers *answers, Failure *failure) {
    *watchdog = (Watchdog){.seconds = seconds, .answers = answers};
    if (seconds == 0) {
        return true;
    }
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&watchdog->changed, &clock);
    pthread_condattr_destroy(&clock);
    pthread_mutex_init(&watchdog->lock, NULL);
    pthread_t thread;
    int code = pthread_create(&thread, NULL, watch, watchdog);
    if (code != 0) {
        return fail(failure, "The thread of --timeout cannot start: %s.", strerror(code));
    }
    pthread_detach(thread);
    return true;
}

static void set(Watchdog *watchdog, const char *what) {
    if (watchdog->seconds == 0) {
        return;
    }
    pthread_mutex_lock(&watchdog->lock);
    watchdog->what = what;
    clock_gettime(CLOCK_MONOTONIC, &watchdog->deadline);
    long whole = (long)watchdog->seconds;
    long rest = (long)((watchdog->seconds - (double)whole) * 1e9) + watchdog->deadline.tv_nsec;
    watchdog->deadline.tv_sec += whole + rest / 1000000000;
    watchdog->deadline.tv_nsec = rest % 1000000000;
    /* A thread that waits for an earlier deadline finds this one then: a wake-up costs a request
     * more than all else that is done for it. */
    if (what != NULL && watchdog->idle) {
        pthread_cond_signal(&watchdog->changed);
    }
    pthread_mutex_unlock(&watchdog->lock);
}

void watchdog_arm(Watchdog *watchdog, const char *what) {
    set(watchdog, what);
}

void watchdog_disarm(Watchdog *watchdog) {
    set(watchdog, NULL);
}
