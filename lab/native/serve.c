/* The lab's TLS server: accepts, makes the handshake, says good-bye, and writes one row per connection.
 *
 * A server belongs to one process and is made after the fork. Python opens it, tells it its listeners and calls
 * server_run() in each thread with the GIL released. Here is the blocking mode, a connection at a time in each thread, as
 * httpd's prefork and worker have it; the event mode is in serve_event.c.
 */
#define _GNU_SOURCE
#include "serve.h"
#include "thread.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum {
    WAKE_SIGNAL_OFFSET = 5,  /* from SIGRTMIN, whose first ones libraries take */
    WAKE_AGAIN_NS = NS_PER_MS, /* a thread may be just before accept() when the signal comes: it is sent again */
    PAUSE_WITHOUT_FILES_NS = NS_PER_MS,
    MOST_DRAINS = 16,
    DRAIN_BYTES = 4096
};

PUBLIC u64 tls_settings_bytes(void) { return sizeof(struct tls_settings); }
PUBLIC u64 tls_outcome_bytes(void) { return sizeof(struct outcome); }
PUBLIC u64 tls_token_settings_bytes(void) { return sizeof(struct token_settings); }

static void wake(int signal) { (void)signal; }

/* accept() returns from this signal, whose handler is without SA_RESTART. */
static int catch_wake_signal(void)
{
    struct sigaction action = {.sa_handler = wake};
    sigemptyset(&action.sa_mask);
    return sigaction(SIGRTMIN + WAKE_SIGNAL_OFFSET, &action, NULL) ? errno : 0;
}

/* Makes the rows of one process; `timeout_ns` bounds a whole handshake. Returns NULL and sets *error. From now on the
 * process ignores SIGPIPE, which libssl's write() to a client that has gone would raise. */
PUBLIC struct server *server_open(const char *rows_path, u64 capacity, u32 process, struct tls *tls, i64 timeout_ns,
                                  int *error)
{
    struct server *server = calloc(1, sizeof *server);
    if (!server) {
        *error = ENOMEM;
        return NULL;
    }
    server->tls = tls;
    server->timeout_ns = timeout_ns;
    pthread_mutex_init(&server->lock, NULL);
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    *error = server->wake < 0 ? errno : catch_wake_signal();
    if (!*error)
        *error = rows_open(&server->rows, rows_path, ROWS_OF_CONNECTIONS, CONNECTION_ROW_BYTES, capacity, process);
    if (*error) {
        if (server->wake >= 0)
            close(server->wake);
        free(server);
        return NULL;
    }
    signal(SIGPIPE, SIG_IGN);
    return server;
}

/* Takes listening sockets, each with the host that it stands for. They stay the caller's, who may share them with other
 * processes; whether they block is a property of the socket, and so the same in all of them. Returns 0 or an error. */
PUBLIC int server_listen(struct server *server, u32 mode, const int *sockets, const u32 *hosts, u32 count)
{
    struct listener *listeners = calloc(count ? count : 1, sizeof *listeners);
    if (!listeners)
        return ENOMEM;
    int blocks = mode == SERVING_BLOCKING && count == 1;
    for (u32 i = 0; i < count; i++) {
        int flags = fcntl(sockets[i], F_GETFL);
        listeners[i] = (struct listener){sockets[i], hosts[i]};
        int error = hosts[i] >= server->tls->settings.hosts ? EINVAL : 0;
        if (!error && (flags < 0 || fcntl(sockets[i], F_SETFL, blocks ? flags & ~O_NONBLOCK : flags | O_NONBLOCK)))
            error = errno;
        if (error) {
            free(listeners);
            return error;
        }
    }
    free(server->listeners);
    server->mode = mode;
    server->listeners = listeners;
    server->listener_count = count;
    return 0;
}

void serve_rest(struct server *server, int error)
{
    if (error != EMFILE && error != ENFILE)
        return;
    atomic_fetch_add(&server->starved, 1);
    rest(PAUSE_WITHOUT_FILES_NS);
}

/* How often there was no file left for a connection that stood at the door: no fault of the server that is measured. */
PUBLIC u64 server_starved(struct server *server) { return atomic_load(&server->starved); }

int serve_may_accept(struct server *server, u64 most)
{
    if (atomic_load(&server->stopping))
        return 0;
    return !most || atomic_fetch_add(&server->promised, 1) < most;
}

/* Notes whose handshake it is as soon as the ClientHello has been read: the key is used in that very step, and where that
 * is the end of the process, the client finds this row all the same. */
static void note_client(const SSL *ssl, int where, int value)
{
    struct connection *connection = (struct connection *)SSL_get_app_data(ssl);
    tls_note_alert(ssl, where, value);
    if (connection && where & SSL_CB_LOOP && !connection->row->random)
        connection->row->random = tls_random(ssl);
}

int connection_begin(struct server *server, struct connection *connection, struct tally *tally, int accepted,
                     const struct listener *listener, const struct sockaddr_in *peer)
{
    u64 index;
    i64 opened_ns = now_ns();
    struct connection_row *row = rows_claim_of(&server->rows, &index, CONNECTION_ROW_BYTES);
    *connection = (struct connection){.socket = accepted, .deadline_ns = opened_ns + server->timeout_ns};
    connection->row = row ? row : &connection->scratch; /* it is served all the same, and counted as lost */
    row = connection->row;
    row->opened_ns = opened_ns;
    row->tid = tally->tid;
    row->sequence = (u32)tally->count++;
    row->thread = (u16)tally->thread;
    row->vhost = (u16)listener->host;
    row->port = ntohs(peer->sin_port);
    row->side = SIDE_server;
    __atomic_store_n(&row->state, ROW_BEGUN, __ATOMIC_RELEASE);
    int error = tls_ready_socket(accepted);
    struct failure failure = network_failure(error);
    SSL_CTX *context = server->tls->hosts[listener->host].context;
    if (!error && !context) /* a process whose set-up failed accepts, and has nothing to say */
        failure = (struct failure){ERR_LIB_SSL << ERROR_LIBRARY_SHIFT | SSL_R_NO_CERTIFICATE_SET, LAYER_openssl, 0};
    else if (!error && (connection->ssl = SSL_new(context)) && SSL_set_fd(connection->ssl, accepted)) {
        SSL_set_accept_state(connection->ssl);
        tls_watch(connection->ssl, &connection->watch);
        SSL_set_info_callback(connection->ssl, note_client);
        return 0;
    } else if (!error)
        failure = tls_classify(NO_ALERT, NO_ALERT, 0, 0);
    connection_end(connection, &failure);
    return -1;
}

/* Takes what the client has still sent: closing a socket with unread data resets it, and the client might lose the alert
 * that explains why. */
static void drain(int socket)
{
    char unread[DRAIN_BYTES];
    shutdown(socket, SHUT_WR);
    for (int i = 0; i < MOST_DRAINS && recv(socket, unread, sizeof unread, MSG_DONTWAIT) > 0; i++) {
    }
}

void connection_end(struct connection *connection, const struct failure *failure)
{
    SSL *ssl = connection->ssl;
    struct connection_row *row = connection->row;
    if (ssl) {
        tls_know(row, ssl);
        row->vhost = (u16)((const struct host *)SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)))->index;
    }
    tls_end(row, failure);
    if (!failure->code && ssl)
        SSL_shutdown(ssl);
    else
        drain(connection->socket);
    SSL_free(ssl);
    close(connection->socket);
}

/* The whole handshake of one client, for which this thread waits. */
static void serve_one(struct server *server, struct tally *tally, int accepted, const struct listener *listener,
                      const struct sockaddr_in *peer)
{
    struct connection connection;
    if (connection_begin(server, &connection, tally, accepted, listener, peer))
        return;
    struct failure failure = {0};
    for (;;) {
        enum tls_state state = serve_step(connection.ssl, &connection.watch, connection.row);
        if (state == TLS_DONE)
            break;
        if (state == TLS_FAILED) {
            failure = connection.watch.failure;
            break;
        }
        int error = tls_wait(accepted, state, connection.deadline_ns);
        if (error) {
            failure = network_failure(error);
            break;
        }
    }
    connection_end(&connection, &failure);
}

/* One listener: the kernel wakes one of all that block in accept(). Returns a socket, STOPPED, or a negative error. */
static int accept_blocking(struct server *server, struct service *service, struct sockaddr_in *peer)
{
    for (;;) {
        socklen_t bytes = sizeof *peer;
        atomic_store(&service->accepting, 1);
        if (atomic_load(&server->stopping)) {
            atomic_store(&service->accepting, 0);
            return STOPPED;
        }
        int accepted = accept4(server->listeners[0].socket, (struct sockaddr *)peer, &bytes, SOCK_CLOEXEC);
        int error = errno;
        atomic_store(&service->accepting, 0);
        if (accepted >= 0)
            return accepted;
        if (error == EINVAL || error == EBADF || error == ENOTSOCK)
            return -error; /* the listener is none, or no more */
        serve_rest(server, error);
    }
}

/* Several listeners: waits for any, and loses the race for it now and then. */
static int accept_any(struct server *server, int poll, const struct listener **listener, struct sockaddr_in *peer)
{
    while (!atomic_load(&server->stopping)) {
        struct epoll_event event;
        socklen_t bytes = sizeof *peer;
        if (epoll_wait(poll, &event, 1, -1) != 1 || !event.data.ptr)
            continue;
        *listener = event.data.ptr;
        int accepted = accept4((*listener)->socket, (struct sockaddr *)peer, &bytes, SOCK_CLOEXEC);
        if (accepted >= 0)
            return accepted;
        serve_rest(server, errno);
    }
    return STOPPED;
}

int serve_poll(struct server *server)
{
    int poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event stop = {.events = EPOLLIN};
    int failed = poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, server->wake, &stop);
    for (u32 i = 0; !failed && i < server->listener_count; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = &server->listeners[i]};
        failed = epoll_ctl(poll, EPOLL_CTL_ADD, server->listeners[i].socket, &event);
    }
    int error = errno;
    if (failed && poll >= 0)
        close(poll);
    return failed ? -error : poll;
}

/* Returns 0, or a negative error. */
static int serve_blocking(struct server *server, struct service *service, struct tally *tally, u64 most)
{
    const struct listener *listener = server->listeners;
    struct sockaddr_in peer = {0};
    int several = server->listener_count > 1, accepted = 0;
    int poll = several ? serve_poll(server) : 0;
    if (!server->listener_count || poll < 0)
        return server->listener_count ? poll : -EINVAL;
    while (serve_may_accept(server, most)) {
        accepted = several ? accept_any(server, poll, &listener, &peer) : accept_blocking(server, service, &peer);
        if (accepted < 0)
            break;
        serve_one(server, tally, accepted, listener, &peer);
    }
    if (several)
        close(poll);
    return accepted < 0 && accepted != STOPPED ? accepted : 0;
}

/* Serves in this thread until server_stop, or until all threads together have had `most` connections (0: no limit).
 * Mode event is for one thread. Returns the connections of this thread, or a negative error. */
PUBLIC i64 server_run(struct server *server, u32 thread, u64 most)
{
    struct tally tally = {.thread = thread, .tid = this_thread()};
    struct service service = {.thread = pthread_self()};
    key_thread = thread;
    pthread_mutex_lock(&server->lock);
    service.next = server->services;
    server->services = &service;
    pthread_mutex_unlock(&server->lock);
    int error = server->mode != SERVING_EVENT ? serve_blocking(server, &service, &tally, most)
                : thread                      ? -EINVAL
                                              : serve_events(server, &tally, most);
    pthread_mutex_lock(&server->lock);
    struct service **at = &server->services;
    while (*at != &service)
        at = &(*at)->next;
    *at = service.next;
    pthread_mutex_unlock(&server->lock);
    return error ? error : (i64)tally.count;
}

/* From another thread: no connection is accepted any more. Handshakes under way go on to their end, which the time-out
 * bounds; server_run returns then. Returns when no thread is blocked in accept(). */
PUBLIC void server_stop(struct server *server)
{
    u64 one = 1;
    atomic_store(&server->stopping, 1);
    if (write(server->wake, &one, sizeof one) < 0) {
        /* full: it has been woken already */
    }
    for (int blocked = 1; blocked;) {
        blocked = 0;
        pthread_mutex_lock(&server->lock); /* who is in the list has not left its thread */
        for (struct service *service = server->services; service; service = service->next)
            if (atomic_load(&service->accepting)) {
                blocked = 1;
                pthread_kill(service->thread, SIGRTMIN + WAKE_SIGNAL_OFFSET);
            }
        pthread_mutex_unlock(&server->lock);
        if (blocked)
            rest(WAKE_AGAIN_NS);
    }
}

/* After all threads have returned from server_run. The listeners and the TLS object stay the caller's. */
PUBLIC void server_close(struct server *server)
{
    rows_close(&server->rows);
    close(server->wake);
    free(server->listeners);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
