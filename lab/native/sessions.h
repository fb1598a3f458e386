/* How a thread gets its session: what a session policy comes to while operations run. */
#ifndef LAB_SESSIONS_H
#define LAB_SESSIONS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "lists.h"
#include "rows.h"

enum { SESSION_NONE, SESSION_OWN, SESSION_POOL, SESSION_PER_OPERATION };

struct sessions {
    CK_FUNCTION_LIST_PTR functions;
    CK_SLOT_ID slot; /* for SESSION_PER_OPERATION */
    u32 use;         /* SESSION_* */
    u64 count;
    CK_SESSION_HANDLE *handles; /* OWN: of each thread; POOL: the free ones, a stack */
    u64 free;
    pthread_mutex_t lock;
    pthread_cond_t freed;
};

/* Also for one that a fork has copied: its lock is made anew. `handles` are copied. Returns 0 or an error number. */
static inline int sessions_set(struct sessions *sessions, CK_FUNCTION_LIST_PTR functions, CK_SLOT_ID slot, u32 use,
                               const CK_SESSION_HANDLE *handles, u64 count)
{
    if (!count && (use == SESSION_OWN || use == SESSION_POOL))
        return EINVAL; /* nobody would ever get one */
    CK_SESSION_HANDLE *copy = malloc((count + 1) * sizeof *copy);
    if (!copy)
        return ENOMEM;
    if (count)
        memcpy(copy, handles, count * sizeof *copy);
    free(sessions->handles);
    *sessions = (struct sessions){functions, slot, use, count, copy, count, PTHREAD_MUTEX_INITIALIZER,
                                  PTHREAD_COND_INITIALIZER};
    return 0;
}

static inline void sessions_free(struct sessions *sessions)
{
    free(sessions->handles);
    sessions->handles = NULL;
    sessions->count = sessions->free = 0;
}

static inline CK_SESSION_HANDLE pool_take(struct sessions *sessions)
{
    pthread_mutex_lock(&sessions->lock);
    while (!sessions->free)
        pthread_cond_wait(&sessions->freed, &sessions->lock);
    CK_SESSION_HANDLE session = sessions->handles[--sessions->free];
    pthread_mutex_unlock(&sessions->lock);
    return session;
}

static inline void pool_give(struct sessions *sessions, CK_SESSION_HANDLE session)
{
    pthread_mutex_lock(&sessions->lock);
    sessions->handles[sessions->free++] = session;
    pthread_cond_signal(&sessions->freed);
    pthread_mutex_unlock(&sessions->lock);
}

/* What one use of the token came to. */
struct use {
    CK_SESSION_HANDLE session; /* 0: there was none */
    CK_RV code;
    u8 function; /* number of the function that failed, or 0 */
};

/* Calls a function of the module. False where it fails, which `result` (struct use *) then says. */
#define TRY(result, functions, name, ...)                                                                               \
    (((result)->code = (functions)->name(__VA_ARGS__)) == CKR_OK || ((result)->function = (u8)NUMBER_##name, 0))

/* A session for one operation of this thread (index in its process). False where there is none. */
static inline bool session_take(struct sessions *sessions, u32 thread, struct use *use)
{
    *use = (struct use){0};
    if (sessions->use == SESSION_PER_OPERATION)
        return TRY(use, sessions->functions, C_OpenSession, sessions->slot, CKF_SERIAL_SESSION, NULL, NULL,
                   &use->session);
    use->session = sessions->use == SESSION_POOL ? pool_take(sessions) : sessions->handles[thread % sessions->count];
    return true;
}

/* After the operation, whose failure counts more than that of closing the session. */
static inline void session_give(struct sessions *sessions, struct use *use)
{
    if (sessions->use == SESSION_POOL)
        pool_give(sessions, use->session);
    if (sessions->use != SESSION_PER_OPERATION)
        return;
    struct use closing = {0};
    if (!TRY(&closing, sessions->functions, C_CloseSession, use->session) && use->code == CKR_OK) {
        use->code = closing.code;
        use->function = closing.function;
    }
}

#endif
