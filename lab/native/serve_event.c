/* The event mode: one thread, one epoll, many handshakes at once, as nginx has it.
 *
 * Nothing here waits but epoll. A slow key operation does, though, and holds up all the other connections of the loop:
 * that is what such servers do, and what is to be seen.
 */
#define _GNU_SOURCE
#include "serve.h"

#include <sys/epoll.h>

enum { EVENTS_AT_ONCE = 64 };

struct loop {
    struct server *server;
    struct tally *tally;
    u64 most;
    int poll;
    int accepting;
    u64 open;
    struct connection *first, *last; /* by deadline, which is the order of accept(): all have one time-out */
};

static void forget(struct loop *loop, struct connection *connection)
{
    *(connection->previous ? &connection->previous->next : &loop->first) = connection->next;
    *(connection->next ? &connection->next->previous : &loop->last) = connection->previous;
    loop->open--;
}

static void finish(struct loop *loop, struct connection *connection, const struct failure *failure)
{
    forget(loop, connection);
    connection_end(connection, failure); /* closing the socket takes it out of the epoll */
    free(connection);
}

static void advance(struct loop *loop, struct connection *connection)
{
    enum tls_state state = serve_step(connection->ssl, &connection->watch, connection->row);
    if (state == TLS_DONE) {
        finish(loop, connection, &(struct failure){0});
        return;
    }
    if (state == TLS_FAILED) {
        finish(loop, connection, &connection->watch.failure);
        return;
    }
    struct epoll_event event = {.events = state == TLS_WANTS_WRITE ? EPOLLOUT : EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(loop->poll, EPOLL_CTL_MOD, connection->socket, &event)) {
        struct failure failure = network_failure(errno);
        finish(loop, connection, &failure);
    }
}

static void stop_accepting(struct loop *loop)
{
    if (!loop->accepting)
        return;
    loop->accepting = 0;
    epoll_ctl(loop->poll, EPOLL_CTL_DEL, loop->server->wake, NULL);
    for (u32 i = 0; i < loop->server->listener_count; i++)
        epoll_ctl(loop->poll, EPOLL_CTL_DEL, loop->server->listeners[i].socket, NULL);
}

/* One connection per event, so that processes with the same listener share what comes. */
static void admit(struct loop *loop, const struct listener *listener)
{
    struct sockaddr_in peer = {0};
    socklen_t bytes = sizeof peer;
    int accepted = accept4(listener->socket, (struct sockaddr *)&peer, &bytes, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted < 0) { /* another process was faster, or the client has gone; or there are too many files */
        serve_rest(loop->server, errno);
        return;
    }
    struct connection *connection = malloc(sizeof *connection);
    if (!connection) {
        close(accepted);
        return;
    }
    int ended = connection_begin(loop->server, connection, loop->tally, accepted, listener, &peer);
    if (loop->most && loop->tally->count >= loop->most)
        stop_accepting(loop);
    if (ended) {
        free(connection);
        return;
    }
    connection->previous = loop->last;
    *(loop->last ? &loop->last->next : &loop->first) = connection;
    loop->last = connection;
    loop->open++;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(loop->poll, EPOLL_CTL_ADD, accepted, &event)) {
        struct failure failure = network_failure(errno);
        finish(loop, connection, &failure);
    }
}

/* Ends those that are overdue. Returns how long epoll may wait, in ms: -1 for ever. */
static int expire(struct loop *loop)
{
    struct failure failure = network_failure(ETIMEDOUT);
    i64 now = now_ns();
    while (loop->first && loop->first->deadline_ns <= now)
        finish(loop, loop->first, &failure);
    return loop->first ? (int)((loop->first->deadline_ns - now) / NS_PER_MS) + 1 : -1;
}

static int is_listener(const struct server *server, const void *event)
{
    return event >= (const void *)server->listeners &&
           event < (const void *)(server->listeners + server->listener_count);
}

int serve_events(struct server *server, struct tally *tally, u64 most)
{
    struct loop loop = {.server = server, .tally = tally, .most = most, .poll = serve_poll(server), .accepting = 1};
    struct epoll_event events[EVENTS_AT_ONCE];
    if (loop.poll < 0)
        return loop.poll;
    while (loop.accepting || loop.open) {
        int wait = expire(&loop);
        if (!loop.accepting && !loop.open)
            break;
        int ready = epoll_wait(loop.poll, events, EVENTS_AT_ONCE, wait);
        for (int i = 0; i < ready; i++) {
            void *of = events[i].data.ptr;
            if (!of)
                stop_accepting(&loop);
            else if (!is_listener(server, of))
                advance(&loop, of); /* only its own step ends it, so no event in this array is of a connection gone */
            else if (loop.accepting)
                admit(&loop, of);
        }
    }
    close(loop.poll);
    return 0;
}
