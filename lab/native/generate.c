/* The generator of handshakes: one thread, one epoll loop, many connections, and a row for every handshake.
 *
 * Python decides everything (which servers, which certificates, when) and calls generator_run() with the GIL released.
 *
 *     free -> connecting -> shaking -> draining -> free       a slot's way through one handshake
 *                 |            |
 *                 +------------+--> paused ------> free       after a failure, in a closed loop
 *
 * Each stage is a queue in the order in which its slots came, and everybody's patience in a stage is the same: so the
 * first of a queue is the first whose time is up, and no timer is searched. A slot's OpenSSL object is made before its
 * turn. Of what comes after the handshake (tickets, close_notify) nothing is read where no session is to be resumed:
 * that the server has closed is told by epoll.
 */
#define _GNU_SOURCE
#include "thread.h"
#include "tls.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include <openssl/x509_vfy.h>

#define PUBLIC __attribute__((visibility("default")))

enum {
    PAUSE_AFTER_FAILURE_NS = 1000000, /* as in drive.c: do not count how fast a loop can fail */
    SPIN_NS = 80000,                  /* as in drive.c: a sleeping thread is woken tens of microseconds late */
    EVENTS_AT_ONCE = 16,
    DISCARD_BYTES = 4096,
    NS_PER_S = 1000000000
};

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
    struct tls_watch watch;
};

struct queue {
    struct slot *first, *last;
};

struct generator {
    struct rows operations, connections;
    u32 process, tid;
    struct settings settings;
    struct host *hosts;
    unsigned char *leaf;            /* the certificate that is being compared */
    u64 leaf_room;
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

PUBLIC u64 generator_host_bytes(void) { return sizeof(struct host); }
PUBLIC u64 generator_settings_bytes(void) { return sizeof(struct settings); }
PUBLIC u64 generator_load_bytes(void) { return sizeof(struct load); }

static const void *pointer(u64 address) { return (const void *)(uintptr_t)address; }

static void enter(struct generator *generator, struct slot *slot, enum stage stage, i64 due_ns)
{
    struct queue *queue = &generator->queues[stage];
    slot->stage = stage;
    slot->due_ns = due_ns;
    slot->after = NULL;
    slot->before = queue->last;
    *(queue->last ? &queue->last->after : &queue->first) = slot;
    queue->last = slot;
}

static void leave(struct generator *generator, struct slot *slot)
{
    struct queue *queue = &generator->queues[slot->stage];
    *(slot->before ? &slot->before->after : &queue->first) = slot->after;
    *(slot->after ? &slot->after->before : &queue->last) = slot->before;
}

static i64 first_due(const struct generator *generator, enum stage stage)
{
    const struct slot *first = generator->queues[stage].first;
    return first ? first->due_ns : NEVER;
}

/* The leaf is the very one that the lab's own authority signed a moment ago: a chain has nothing to add to that. */
static int is_pinned(X509_STORE_CTX *store, void *argument)
{
    struct generator *generator = argument;
    const struct host *host = &generator->hosts[generator->current->host];
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    unsigned char *at = generator->leaf;
    if (i2d_X509(leaf, NULL) == (int)host->leaf_bytes && i2d_X509(leaf, &at) == (int)host->leaf_bytes &&
        !memcmp(generator->leaf, pointer(host->leaf), host->leaf_bytes))
        return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
}

/* In an open loop slots are no clients: arrivals offer the newest session that any of them got. A slot's own would be
 * offered after all the others have had their turn, which is never in a run that ends before. */
static SSL_SESSION **session_of(struct generator *generator, const struct slot *slot)
{
    u64 client = generator->open_loop ? 0 : slot->number;
    return &generator->sessions[client * generator->settings.host_count + slot->host];
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct generator *generator = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    SSL_SESSION **kept = session_of(generator, generator->current);
    SSL_SESSION_free(*kept);
    *kept = session;
    return 1; /* ours now */
}

static SSL_CTX *context_of(struct generator *generator)
{
    const struct settings *settings = &generator->settings;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context)
        return NULL;
    SSL_CTX_set_app_data(context, (char *)generator);
    SSL_CTX_set_read_ahead(context, 1); /* a flight in one read instead of two for each of its records */
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    int right = SSL_CTX_set_min_proto_version(context, (int)settings->version) &&
                SSL_CTX_set_max_proto_version(context, (int)settings->version);
    if (settings->ciphers)
        right = right && SSL_CTX_set_cipher_list(context, pointer(settings->ciphers));
    if (generator->hosts[0].leaf)
        SSL_CTX_set_cert_verify_callback(context, is_pinned, generator);
    else if (settings->trust)
        right = right && SSL_CTX_load_verify_file(context, pointer(settings->trust));
    else
        right = right && SSL_CTX_set_default_verify_paths(context);
    if (settings->resume) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, keep_session);
    } else {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    }
    if (right)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

/* Makes the files of one process. Returns NULL and sets *error. */
PUBLIC struct generator *generator_open(const char *operations, const char *connections, u64 capacity, u32 process,
                                        int *error)
{
    struct generator *generator = calloc(1, sizeof *generator);
    if (!generator) {
        *error = ENOMEM;
        return NULL;
    }
    generator->process = process;
    generator->poll = generator->wake = -1;
    *error = rows_open(&generator->operations, operations, ROWS_OF_OPERATIONS, ROW_BYTES, capacity, process);
    if (!*error)
        *error = rows_open(&generator->connections, connections, ROWS_OF_CONNECTIONS, CONNECTION_ROW_BYTES, capacity,
                           process);
    if (!*error) {
        generator->poll = epoll_create1(EPOLL_CLOEXEC);
        generator->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct epoll_event woken = {.events = EPOLLIN};
        if (generator->poll < 0 || generator->wake < 0 ||
            epoll_ctl(generator->poll, EPOLL_CTL_ADD, generator->wake, &woken))
            *error = errno;
    }
    if (!*error)
        return generator;
    if (generator->operations.header)
        rows_close(&generator->operations);
    if (generator->connections.header)
        rows_close(&generator->connections);
    if (generator->poll >= 0)
        close(generator->poll);
    if (generator->wake >= 0)
        close(generator->wake);
    free(generator);
    return NULL;
}

/* Says whom to greet, and how, once and before the first run. What `settings` points to must outlive the generator.
 * Returns 0 or an error number: EINVAL where OpenSSL takes no such ciphers, version or trusted certificates. */
PUBLIC int generator_set(struct generator *generator, const struct settings *settings)
{
    if (settings->bytes != sizeof *settings || generator->context || !settings->host_count)
        return EINVAL;
    generator->settings = *settings;
    generator->hosts = calloc(settings->host_count, sizeof *generator->hosts);
    if (!generator->hosts)
        return ENOMEM;
    memcpy(generator->hosts, pointer(settings->hosts), settings->host_count * sizeof *generator->hosts);
    for (u64 i = 0; i < settings->host_count; i++) {
        if (!generator->hosts[i].leaf != !generator->hosts[0].leaf)
            return EINVAL; /* one context verifies in one way */
        if (generator->leaf_room < generator->hosts[i].leaf_bytes)
            generator->leaf_room = generator->hosts[i].leaf_bytes;
    }
    generator->leaf = malloc(generator->leaf_room + 1);
    if (!generator->leaf)
        return ENOMEM;
    ERR_clear_error();
    generator->context = context_of(generator);
    return generator->context ? 0 : EINVAL;
}

/* Begins no further handshake; those under way come to their end. Any thread may call it. */
PUBLIC void generator_stop(struct generator *generator)
{
    u64 once = 1;
    atomic_store(&generator->stop, 1);
    if (write(generator->wake, &once, sizeof once) < 0)
        return; /* it is full, so the loop is woken already */
}

/* An SSL for the slot's next handshake, made while nobody waits for it. A failure shows when the handshake begins. */
static void prepare(struct generator *generator, struct slot *slot)
{
    SSL_free(slot->ssl);
    slot->ssl = SSL_new(generator->context);
    slot->bio = slot->ssl ? BIO_new(BIO_s_socket()) : NULL;
    if (!slot->bio) {
        SSL_free(slot->ssl);
        slot->ssl = NULL;
        return;
    }
    BIO_up_ref(slot->bio); /* one reference for each direction */
    SSL_set0_rbio(slot->ssl, slot->bio);
    SSL_set0_wbio(slot->ssl, slot->bio);
    SSL_set_connect_state(slot->ssl);
    tls_watch(slot->ssl, &slot->watch);
}

/* The name that the SSL asks for, and, where no certificate is pinned, looks for in the server's. */
static bool address_host(struct generator *generator, struct slot *slot)
{
    const struct host *host = &generator->hosts[slot->host];
    ERR_clear_error();
    if (!slot->ssl)
        return false;
    if (generator->sessions && *session_of(generator, slot) && !SSL_set_session(slot->ssl, *session_of(generator, slot)))
        return false;
    const char *name = pointer(host->name);
    if (!name)
        return true;
    if (host->numeric)
        return host->leaf || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(slot->ssl), name);
    return SSL_set_tlsext_host_name(slot->ssl, name) && (host->leaf || SSL_set1_host(slot->ssl, name));
}

static void close_socket(struct slot *slot)
{
    if (slot->socket >= 0)
        close(slot->socket); /* which takes it out of epoll, and, by SO_LINGER, resets the connection: no TIME_WAIT */
    slot->socket = -1;
}

/* The second half of both rows. */
static void record(struct slot *slot, struct failure failure)
{
    if (slot->ssl && slot->connection->steps)
        tls_know(slot->connection, slot->ssl);
    tls_end(slot->connection, &failure);
    slot->operation->ended_ns = slot->connection->ended_ns;
    slot->operation->code = failure.code;
    slot->operation->layer = failure.layer;
    __atomic_store_n(&slot->operation->state, ROW_ENDED, __ATOMIC_RELEASE);
}

static void fail(struct generator *generator, struct slot *slot, struct failure failure)
{
    record(slot, failure);
    close_socket(slot);
    leave(generator, slot);
    prepare(generator, slot);
    if (generator->open_loop)
        enter(generator, slot, STAGE_FREE, NEVER);
    else
        enter(generator, slot, STAGE_PAUSED, slot->operation->ended_ns + PAUSE_AFTER_FAILURE_NS);
}

static void drained(struct generator *generator, struct slot *slot)
{
    SSL_set_shutdown(slot->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or its session counts as bad */
    close_socket(slot);
    leave(generator, slot);
    prepare(generator, slot);
    enter(generator, slot, STAGE_FREE, NEVER);
}

/* After the handshake: takes in what the server still says, until it closes. */
static void drain(struct generator *generator, struct slot *slot)
{
    if (generator->sessions || generator->settings.closes_first) {
        char discarded[DISCARD_BYTES];
        int read;
        ERR_clear_error();
        while ((read = SSL_read(slot->ssl, discarded, sizeof discarded)) > 0) {
        }
        int why = SSL_get_error(slot->ssl, read);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
            drained(generator, slot);
        return;
    }
    if (slot->peer_closed)
        drained(generator, slot);
}

static void complete(struct generator *generator, struct slot *slot)
{
    record(slot, (struct failure){0});
    leave(generator, slot);
    enter(generator, slot, STAGE_DRAINING, slot->operation->ended_ns + generator->settings.timeout_ns);
    SSL_set_options(slot->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF); /* or its sessions count as bad */
    if (generator->settings.closes_first) {
        ERR_clear_error();
        SSL_shutdown(slot->ssl);
    }
    drain(generator, slot);
}

static int watch(struct generator *generator, struct slot *slot, int how)
{
    struct epoll_event events = {slot->wants | EPOLLIN | EPOLLRDHUP | EPOLLET, {.ptr = slot}};
    return epoll_ctl(generator->poll, how, slot->socket, &events) ? errno : 0;
}

/* What the ClientHello, sent in the first step, tells of the connection. */
static void know_hello(const struct slot *slot)
{
    struct connection_row *row = slot->connection;
    struct sockaddr_storage own;
    socklen_t bytes = sizeof own;
    row->random = tls_random(slot->ssl);
    if (!getsockname(slot->socket, (struct sockaddr *)&own, &bytes))
        row->port = ntohs(own.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&own)->sin6_port
                                                    : ((struct sockaddr_in *)&own)->sin_port);
}

static void step(struct generator *generator, struct slot *slot)
{
    generator->current = slot;
    enum tls_state state = tls_step(slot->ssl, &slot->watch, slot->connection);
    if (slot->connection->steps == 1)
        know_hello(slot);
    switch (state) {
    case TLS_DONE:
        complete(generator, slot);
        return;
    case TLS_FAILED:
        fail(generator, slot, slot->watch.failure);
        return;
    case TLS_WANTS_READ:
        slot->wants = EPOLLIN;
        break;
    case TLS_WANTS_WRITE:
        slot->wants = EPOLLOUT;
        watch(generator, slot, EPOLL_CTL_MOD);
    }
}

static void opened(struct generator *generator, struct slot *slot)
{
    slot->connected = true;
    slot->connection->opened_ns = now_ns();
    step(generator, slot);
}

/* A socket on its way to the slot's host, watched by epoll. Returns 0, EINPROGRESS or another error number. */
static int reach(struct generator *generator, struct slot *slot)
{
    const struct host *host = &generator->hosts[slot->host];
    const struct sockaddr *address = pointer(host->address);
    slot->socket = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (slot->socket < 0)
        return errno;
    BIO_set_fd(slot->bio, slot->socket, BIO_NOCLOSE);
    struct linger reset = {1, 0};
    setsockopt(slot->socket, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    int on = 1;
    if (generator->settings.closes_first) /* or Nagle keeps close_notify until the server acknowledges our Finished */
        setsockopt(slot->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* On one machine the answer is here already: asking once more costs less than to be told by epoll. */
    int error = EINPROGRESS;
    for (int tries = 0; tries < 2 && (error == EINPROGRESS || error == EALREADY); tries++)
        error = connect(slot->socket, address, (socklen_t)host->address_bytes) ? errno : 0;
    bool waits = error == EINPROGRESS || error == EALREADY;
    if (error && !waits)
        return error;
    slot->wants = waits ? EPOLLOUT : EPOLLIN;
    int unwatched = watch(generator, slot, EPOLL_CTL_ADD);
    return unwatched ? unwatched : waits ? EINPROGRESS : 0;
}

/* The first half of both rows, at one place in both files. False where there is no room for them. */
static bool begin_rows(struct generator *generator, struct slot *slot, i64 intended_ns)
{
    u64 place;
    slot->operation = rows_claim(&generator->operations, &place);
    slot->connection = rows_at(&generator->connections, place, CONNECTION_ROW_BYTES);
    atomic_store_explicit(&generator->connections.header->claimed, place + 1, memory_order_relaxed);
    if (!slot->operation || !slot->connection)
        return false; /* counted as lost, which makes the trial invalid */
    struct operation_row *operation = slot->operation;
    struct connection_row *connection = slot->connection;
    operation->sequence = connection->sequence = generator->begun;
    operation->tid = connection->tid = generator->tid;
    operation->thread = connection->thread = slot->number;
    operation->vhost = connection->vhost = slot->host;
    operation->kind = KIND_handshake;
    connection->side = SIDE_client;
    operation->started_ns = now_ns();
    operation->intended_ns = generator->open_loop ? intended_ns : operation->started_ns;
    operation->phase = operation->intended_ns < generator->measured_ns ? PHASE_warmup : PHASE_measured;
    __atomic_store_n(&connection->state, ROW_BEGUN, __ATOMIC_RELEASE);
    __atomic_store_n(&operation->state, ROW_BEGUN, __ATOMIC_RELEASE);
    return true;
}

static void start(struct generator *generator, struct slot *slot, i64 intended_ns)
{
    slot->host = (u16)(generator->begun % generator->settings.host_count);
    slot->connected = slot->peer_closed = false;
    generator->current = slot;
    bool ready = address_host(generator, slot);
    if (!begin_rows(generator, slot, intended_ns)) {
        generator->full = true;
        return;
    }
    generator->begun++;
    leave(generator, slot);
    enter(generator, slot, STAGE_SHAKING, slot->operation->started_ns + generator->settings.timeout_ns);
    if (!ready) {
        struct failure failure = tls_classify(NO_ALERT, NO_ALERT, 0, 0);
        fail(generator, slot, failure.code ? failure : network_failure(ENOMEM)); /* 0 would be a success */
        return;
    }
    int error = reach(generator, slot);
    if (!error)
        opened(generator, slot);
    else if (error != EINPROGRESS)
        fail(generator, slot, network_failure(error));
}

static void handle(struct generator *generator, struct slot *slot, u32 events)
{
    slot->peer_closed |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    generator->current = slot;
    if (slot->stage == STAGE_DRAINING) {
        drain(generator, slot);
    } else if (slot->connected) {
        if (slot->peer_closed || events & slot->wants)
            step(generator, slot);
    } else {
        int error = 0;
        socklen_t bytes = sizeof error;
        getsockopt(slot->socket, SOL_SOCKET, SO_ERROR, &error, &bytes);
        if (error)
            fail(generator, slot, network_failure(error));
        else if (events & EPOLLOUT)
            opened(generator, slot);
    }
}

static void expire(struct generator *generator, i64 now)
{
    struct queue *queues = generator->queues;
    while (first_due(generator, STAGE_SHAKING) <= now)
        fail(generator, queues[STAGE_SHAKING].first, network_failure(ETIMEDOUT));
    while (first_due(generator, STAGE_DRAINING) <= now)
        drained(generator, queues[STAGE_DRAINING].first);
    while (first_due(generator, STAGE_PAUSED) <= now) {
        struct slot *slot = queues[STAGE_PAUSED].first;
        leave(generator, slot);
        enter(generator, slot, STAGE_FREE, NEVER);
    }
}

/* When the next handshake is to begin: now or before, later, or NEVER. A slot may be yet to be found for it. */
static i64 next_ns(const struct generator *generator, const struct load *load, i64 now)
{
    if (generator->full || atomic_load_explicit(&generator->stop, memory_order_relaxed))
        return NEVER;
    if (generator->open_loop) {
        if (now >= load->give_up_ns || generator->begun >= load->arrival_count)
            return NEVER;
        i64 next = load->release_ns + ((const i64 *)pointer(load->arrivals))[generator->begun];
        return next < load->give_up_ns ? next : load->give_up_ns; /* when it is shed, and no longer the next */
    }
    return now >= generator->measured_ns + load->duration_ns ? NEVER : load->release_ns;
}

/* Begins the handshake that is due, if one is and has a slot. At most one: others are waiting to be answered. */
static i64 start_due(struct generator *generator, const struct load *load, i64 now)
{
    i64 next = next_ns(generator, load, now);
    struct slot *slot = generator->queues[STAGE_FREE].first;
    if (next <= now && slot)
        start(generator, slot, next);
    return next;
}

/* Waits for events, until `until` at most; sleeps until shortly before and then asks without sleeping. */
static int wait_events(const struct generator *generator, struct epoll_event *events, i64 until, bool exactly, i64 now)
{
    i64 left = until == NEVER ? NEVER : until - now - (exactly ? SPIN_NS : 0);
    struct timespec time = {left > 0 ? left / NS_PER_S : 0, left > 0 ? left % NS_PER_S : 0};
    return epoll_pwait2(generator->poll, events, EVENTS_AT_ONCE, left == NEVER ? NULL : &time, NULL);
}

static bool under_way(const struct generator *generator)
{
    return generator->queues[STAGE_SHAKING].first || generator->queues[STAGE_DRAINING].first;
}

static void loop(struct generator *generator, const struct load *load)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    for (;;) {
        i64 now = now_ns();
        expire(generator, now);
        start_due(generator, load, now);
        now = now_ns();
        i64 next = next_ns(generator, load, now);
        if (next == NEVER && !under_way(generator))
            return;
        bool waits_for_slot = next <= now && !generator->queues[STAGE_FREE].first;
        i64 until = next;
        if (waits_for_slot) /* then a slot's end is what is waited for, and what ends the waiting for one */
            until = generator->open_loop ? load->give_up_ns : generator->measured_ns + load->duration_ns;
        bool exactly = !waits_for_slot && until != NEVER;
        for (enum stage stage = STAGE_PAUSED; stage < STAGES; stage++) {
            i64 due = first_due(generator, stage);
            if (due < until && (stage != STAGE_PAUSED || next != NEVER)) {
                until = due;
                exactly = false;
            }
        }
        int count = wait_events(generator, events, until, exactly, now);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                handle(generator, events[i].data.ptr, events[i].events);
            else /* generator_stop: the flag says it, and the news need not be told again */
                epoll_ctl(generator->poll, EPOLL_CTL_DEL, generator->wake, NULL);
            if (i + 1 < count)
                start_due(generator, load, now_ns());
        }
    }
}

static void forget(struct generator *generator)
{
    for (u32 i = 0; i < generator->slot_count; i++) {
        close_socket(&generator->slots[i]);
        SSL_free(generator->slots[i].ssl);
    }
    for (u64 i = 0; generator->sessions && i < generator->slot_count * generator->settings.host_count; i++)
        SSL_SESSION_free(generator->sessions[i]);
    free(generator->slots);
    free(generator->sessions);
    generator->slots = NULL;
    generator->sessions = NULL;
    generator->slot_count = 0;
}

/* All that the first handshakes need is made here, before the release. Returns 0 or an error number. */
PUBLIC int generator_prepare(struct generator *generator, u32 slots)
{
    if (!generator->context || !slots || slots > UINT16_MAX)
        return EINVAL;
    forget(generator);
    memset(generator->queues, 0, sizeof generator->queues);
    generator->slots = calloc(slots, sizeof *generator->slots);
    if (generator->slots && generator->settings.resume)
        generator->sessions = calloc(slots * generator->settings.host_count, sizeof *generator->sessions);
    if (!generator->slots || (generator->settings.resume && !generator->sessions))
        return ENOMEM;
    generator->slot_count = slots;
    for (u32 i = 0; i < slots; i++) {
        struct slot *slot = &generator->slots[i];
        slot->number = (u16)i;
        slot->socket = -1;
        prepare(generator, slot);
        enter(generator, slot, STAGE_FREE, NEVER);
    }
    return 0;
}

/* The whole load: open where `load` has arrivals, closed otherwise. Returns the handshakes begun, -1 on misuse. */
PUBLIC i64 generator_run(struct generator *generator, const struct load *load)
{
    if (load->bytes != sizeof *load)
        return -1;
    if (!load->slots || (load->slots != generator->slot_count && generator_prepare(generator, load->slots)))
        return -1;
    prctl(PR_SET_TIMERSLACK, 1UL);
    generator->tid = this_thread();
    generator->open_loop = load->arrivals != 0;
    generator->begun = 0;
    generator->measured_ns = load->release_ns + load->warmup_ns;
    loop(generator, load);
    return generator->begun;
}

PUBLIC void generator_close(struct generator *generator)
{
    forget(generator);
    SSL_CTX_free(generator->context);
    free(generator->hosts);
    free(generator->leaf);
    close(generator->poll);
    close(generator->wake);
    rows_close(&generator->operations);
    rows_close(&generator->connections);
    free(generator);
}
