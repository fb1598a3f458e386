/* One handshake of the generator, from the socket to the server's closing, and its two rows.
 *
 * A slot's OpenSSL object is made before its turn. Of what comes after the handshake (tickets, close_notify) nothing is
 * read where no session is to be resumed: that the server has closed is told by epoll.
 */
#define _GNU_SOURCE
#include "generate.h"

#include <sys/epoll.h>

enum { DISCARD_BYTES = 4096 };

void generate_hang_up(struct slot *slot)
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
    generate_hang_up(slot);
    leave(generator, slot);
    generate_ssl(generator, slot);
    if (generator->open_loop)
        enter(generator, slot, STAGE_FREE, NEVER);
    else
        enter(generator, slot, STAGE_PAUSED, slot->operation->ended_ns + PAUSE_AFTER_FAILURE_NS);
}

static void drained(struct generator *generator, struct slot *slot)
{
    SSL_set_shutdown(slot->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or its session counts as bad */
    generate_hang_up(slot);
    leave(generator, slot);
    generate_ssl(generator, slot);
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

/* What anybody could prove the server's key from, kept for the sealing. */
static void keep_heard(struct generator *generator, struct slot *slot)
{
    struct heard_row heard;
    if (!heard_row(&slot->heard, slot->ssl, &heard))
        return;
    void *place = rows_at(&generator->outputs, slot->place, sizeof heard);
    if (!place)
        return; /* counted as lost */
    memcpy(place, &heard, sizeof heard);
    slot->operation->length = sizeof heard;
}

static void complete(struct generator *generator, struct slot *slot)
{
    record(slot, (struct failure){0});
    keep_heard(generator, slot); /* after the last time stamp */
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
    slot->operation = rows_claim(&generator->operations, &slot->place);
    slot->connection = rows_at(&generator->connections, slot->place, CONNECTION_ROW_BYTES);
    atomic_store_explicit(&generator->connections.header->claimed, slot->place + 1, memory_order_relaxed);
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

void generate_start(struct generator *generator, struct slot *slot, i64 intended_ns)
{
    slot->host = (u16)(generator->begun % generator->settings.host_count);
    slot->connected = slot->peer_closed = false;
    heard_begin(&slot->heard);
    generator->current = slot;
    bool ready = generate_address(generator, slot);
    if (!begin_rows(generator, slot, intended_ns)) {
        generator->full = true;
        return;
    }
    generator->begun++;
    leave(generator, slot);
    enter(generator, slot, STAGE_SHAKING, slot->operation->started_ns + generator->settings.timeout_ns);
    if (!ready) {
        fail(generator, slot, tls_classify(NO_ALERT, NO_ALERT, 0, 0));
        return;
    }
    int error = reach(generator, slot);
    if (!error)
        opened(generator, slot);
    else if (error != EINPROGRESS)
        fail(generator, slot, network_failure(error));
}

void generate_go_on(struct generator *generator, struct slot *slot, u32 events)
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

void generate_expire(struct generator *generator, i64 now)
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
