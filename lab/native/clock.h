/* Time as the rows have it: nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share. */
#ifndef LAB_CLOCK_H
#define LAB_CLOCK_H

#include <stdint.h>
#include <time.h>

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

enum {
    PAUSE_AFTER_FAILURE_NS = NS_PER_MS, /* a failed call costs next to nothing: do not count how fast a loop can fail */
    SPIN_NS = 80000                     /* a sleeping thread is woken tens of microseconds late: spin this last while */
};

static inline int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static inline struct timespec timespec_of(int64_t ns) { return (struct timespec){ns / NS_PER_S, ns % NS_PER_S}; }

/* A signal ends it early. */
static inline void rest(int64_t ns)
{
    struct timespec time = timespec_of(ns);
    nanosleep(&time, NULL);
}

#endif
