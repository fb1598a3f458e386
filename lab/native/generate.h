/* What the files of the generator of handshakes share: the load, the slots, and the queues in which they wait.
 *
 *     free -> connecting -> shaking -> draining -> free       a slot's way through one handshake
 *                 |            |
 *                 +------------+--> paused ------> free       after a failure, in a closed loop
 *
 * Each stage is a queue in the order in which its slots came, and everybody's patience in a stage is the same: so the
 * first of a queue is the first whose time is up, and no timer is searched.
 */
#ifndef LAB_GENERATE_H
#define LAB_GENERATE_H

#include <stdbool.h>

#include "bindings.h"
#include "heard.h"
#include "tags.h"
#include "tls.h"

#define NEVER INT64_MAX

/* Filled in by Python, field for field (lab/native/generating.py); `bytes` tells whether both mean the same structure. */
struct host {
    u64 address;       /* struct sockaddr * */
    u64 address_bytes;
    u64 name;          /* const char *: for SNI, and to be found in a certificate that is not pinned; 0 for none */
    u64 leaf;          /* DER of the only certificate that is accepted; 0: the chain is verified up to a trusted one */
    u64 leaf_bytes;
    u64 numeric;       /* 1: the name is an address in numbers, which stands in no ServerName (RFC 6066, section 3) */
};

struct settings {
    u64 bytes;
    u64 hosts;         /* const struct host * */
    u64 host_count;
    u64 trust;         /* const char *: file of trusted certificates (PEM); 0: the system's */
    u64 ciphers;       /* const char *: cipher list of TLS 1.2; 0: OpenSSL's own */
    u64 tag_key;       /* const char *: the tap's LAB_TAP_KEY, with which signatures are tagged; 0: they are not */
    i64 timeout_ns;    /* of a handshake, and again of the server's closing after it */
    u32 version;       /* TLS1_2_VERSION or TLS1_3_VERSION, and no other is offered */
    u32 resume;        /* 1: the newest session of a client with a host is offered; open loop: of any */
    u32 closes_first;  /* 1: close_notify is sent before the server's is awaited (a server that the lab did not start) */
    u32 spare;
};

struct load {
    u64 bytes;
    u64 arrivals;      /* const i64 *: ns after the release, ascending; 0 for a closed loop */
    u64 arrival_count;
    i64 release_ns;    /* CLOCK_MONOTONIC */
    i64 warmup_ns;
    i64 duration_ns;   /* after the warm-up; a closed loop ends here */
    i64 give_up_ns;    /* CLOCK_MONOTONIC; arrivals not begun by then are shed */
    u32 slots;         /* closed loop: clients; open loop: most connections at a time */
    u32 spare;
};

enum stage { STAGE_FREE, STAGE_PAUSED, STAGE_SHAKING, STAGE_DRAINING, STAGES }; /* connecting is a part of shaking */

struct slot {
    struct slot *before, *after;    /* in the queue of its stage */
    enum stage stage;
    i64 due_ns;                     /* when its time in the stage is up */
    int socket;
    u32 wants;                      /* EPOLLIN or EPOLLOUT, before the handshake can go on */
    bool connected, peer_closed;
    u16 number, host;
    SSL *ssl;                       /* NULL where the next handshake is to make one */
    BIO *bio;                       /* the SSL's */
    struct operation_row *operation;
    struct connection_row *connection;
    u64 place;                      /* of both rows in their files, and of what was heard in that of outputs */
    struct heard heard;
    struct tls_watch watch;
};

struct queue {
    struct slot *first, *last;
};

struct generator {
    struct rows operations, connections, outputs;
    u32 process, tid;
    struct settings settings;
    struct host *hosts;
    unsigned char *leaf;            /* the certificate that is being compared */
    u64 leaf_room;
    struct siphash_key tag_key;
    SSL_CTX *context;
    SSL_SESSION **sessions;         /* newest, by client and host; NULL where none is to be resumed */
    struct slot *slots;
    u32 slot_count;
    struct slot *current;           /* whose SSL is at work */
    struct queue queues[STAGES];
    int poll, wake;
    _Atomic int stop;
    bool open_loop, full;           /* full: there is no room for another row */
    u32 begun;
    i64 measured_ns;
};

/* Puts the slot, which is in no queue, last in that of a stage, where its time is up at `due_ns`. */
static inline void enter(struct generator *generator, struct slot *slot, enum stage stage, i64 due_ns)
{
    struct queue *queue = &generator->queues[stage];
    slot->stage = stage;
    slot->due_ns = due_ns;
    slot->after = NULL;
    slot->before = queue->last;
    *(queue->last ? &queue->last->after : &queue->first) = slot;
    queue->last = slot;
}

static inline void leave(struct generator *generator, struct slot *slot)
{
    struct queue *queue = &generator->queues[slot->stage];
    *(slot->before ? &slot->before->after : &queue->first) = slot->after;
    *(slot->after ? &slot->after->before : &queue->last) = slot->before;
}

static inline i64 first_due(const struct generator *generator, enum stage stage)
{
    const struct slot *first = generator->queues[stage].first;
    return first ? first->due_ns : NEVER;
}

/* generate_tls.c */

/* What all handshakes of this generator have in common. NULL where OpenSSL refuses a setting. */
SSL_CTX *generate_context(struct generator *generator);
/* An SSL for the slot's next handshake, made while nobody waits for it. A failure shows when the handshake begins. */
void generate_ssl(struct generator *generator, struct slot *slot);
/* Tells the SSL which name it asks for, and, where no certificate is pinned, looks for in the server's; and which session
 * it offers. False where OpenSSL refuses: see its errors. */
bool generate_address(struct generator *generator, struct slot *slot);

/* generate_handshake.c */

/* Begins a handshake in a free slot, and its rows; sets `full` where there is no room for them. */
void generate_start(struct generator *generator, struct slot *slot, i64 intended_ns);
/* Goes on with what epoll has told of the slot's socket. */
void generate_go_on(struct generator *generator, struct slot *slot, u32 events);
/* Ends what is overdue, in every stage. */
void generate_expire(struct generator *generator, i64 now);
/* Closes the slot's socket, if it has one. */
void generate_hang_up(struct slot *slot);

#endif
