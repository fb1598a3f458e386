/* The kernel's number of the calling thread, which rows carry. */
#ifndef LAB_THREAD_H
#define LAB_THREAD_H

#include <sys/syscall.h>
#include <unistd.h>

#include "rows.h"

static inline u32 this_thread(void)
{
    static __thread u32 id;
    static __thread u32 owner; /* thread-local storage is copied by fork, so the id needs its process */
    u32 pid = (u32)getpid();
    if (owner != pid) {
        id = (u32)syscall(SYS_gettid);
        owner = pid;
    }
    return id;
}

#endif
