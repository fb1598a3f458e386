/* How a thread gets its session: what a session policy comes to while operations run. */
#ifndef LAB_SESSIONS_H
#define LAB_SESSIONS_H

#include <pthread.h>
#include <stdlib.h>

#include <p11-kit/pkcs11.h>

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

/* A session for one operation of this thread (index in its process). Not CKR_OK: C_OpenSession's answer. */
static inline CK_RV session_take(struct sessions *sessions, u32 thread, CK_SESSION_HANDLE *session)
{
    if (sessions->use == SESSION_PER_OPERATION)
        return sessions->functions->C_OpenSession(sessions->slot, CKF_SERIAL_SESSION, NULL, NULL, session);
    *session = sessions->use == SESSION_POOL ? pool_take(sessions) : sessions->handles[thread % sessions->count];
    return CKR_OK;
}

/* Not CKR_OK: C_CloseSession's answer. */
static inline CK_RV session_give(struct sessions *sessions, CK_SESSION_HANDLE session)
{
    if (sessions->use == SESSION_PER_OPERATION)
        return sessions->functions->C_CloseSession(session);
    if (sessions->use == SESSION_POOL)
        pool_give(sessions, session);
    return CKR_OK;
}

#endif
