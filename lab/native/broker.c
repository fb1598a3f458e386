/* The owner of a token under the context policy `broker`: one process that has the module, and serves any number of
 * others, which have p11-kit's client module in its place.
 *
 *   broker SOCKET MODULE
 *
 * It listens at SOCKET (made here, mode 0600) once the module is initialised, has a thread for each connection, and ends
 * with status 0 at SIGTERM, when it has closed the connections and finalised the module. SIGKILL leaves the socket.
 *
 * `p11-kit server` starts a process for each connection, which loads the module for itself. Here the module is loaded
 * and initialised once. Each connection has a view of it that p11-kit makes (a "managed" module): its C_Initialize and
 * C_Finalize are counted and reach the module no more, and the sessions that it opened are closed when it goes, however
 * it goes. All else is the one application that the module knows: one login, and one C_Logout for all.
 */
#define _GNU_SOURCE
#define P11_KIT_FUTURE_UNSTABLE_API
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <p11-kit/p11-kit.h>
#include <p11-kit/remote.h>

#define BACKLOG 128
#define NEW ".new" /* of a socket that does not listen yet */

struct connection {
    int fd;
    CK_FUNCTION_LIST *module; /* its view of it */
    struct connection *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t one_ended = PTHREAD_COND_INITIALIZER;
static struct connection *connections; /* under the lock */

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "broker: %s: %s\n", what, why);
    return EXIT_FAILURE;
}

/* Under the lock. p11-kit's registry of modules has a lock of its own, but loading one is not all done below it. */
static CK_FUNCTION_LIST *view(const char *path)
{
    return p11_kit_module_load(path, 0);
}

static void forget(struct connection *done)
{
    pthread_mutex_lock(&lock);
    p11_kit_module_release(done->module);
    for (struct connection **at = &connections; *at; at = &(*at)->next)
        if (*at == done) {
            *at = done->next;
            break;
        }
    close(done->fd);
    pthread_cond_signal(&one_ended);
    pthread_mutex_unlock(&lock);
    free(done);
}

static void *serve(void *argument)
{
    struct connection *mine = argument;
    p11_kit_remote_serve_module(mine->module, mine->fd, mine->fd); /* until its client goes */
    /* One that was killed, or forgot it, has not finalised. Its sessions are closed by this. */
    mine->module->C_Finalize(NULL);
    forget(mine);
    return NULL;
}

/* A connection that cannot be served is closed, and its client learns so from its C_Initialize. */
static void receive(int fd, const char *path)
{
    struct connection *new = calloc(1, sizeof *new);
    pthread_attr_t detached;
    pthread_t thread;
    if (!new) {
        close(fd);
        return;
    }
    new->fd = fd;
    pthread_mutex_lock(&lock);
    new->module = view(path);
    if (new->module) {
        new->next = connections;
        connections = new;
    }
    pthread_mutex_unlock(&lock);
    if (!new->module) {
        close(fd);
        free(new);
        return;
    }
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &detached, serve, new))
        forget(new);
    pthread_attr_destroy(&detached);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if ((size_t)snprintf(address.sun_path, sizeof address.sun_path, "%s" NEW, path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    mode_t before = umask(0177); /* the module's files are its own affair */
    bool bound = fd >= 0 && !bind(fd, (struct sockaddr *)&address, sizeof address);
    umask(before);
    if (!bound || listen(fd, BACKLOG) || rename(address.sun_path, path)) /* who sees it can connect */
        return -1;
    return fd;
}

/* Until SIGTERM. */
static void accept_all(int listener, int signals, const char *path)
{
    struct pollfd waits[] = {{.fd = listener, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    for (;;) {
        int ready = poll(waits, 2, -1);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready < 0 || waits[1].revents)
            return;
        int fd = waits[0].revents ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd >= 0)
            receive(fd, path);
        else if (waits[0].revents && (errno == EMFILE || errno == ENFILE))
            usleep(10000); /* somebody may leave */
    }
}

int main(int count, char **arguments)
{
    sigset_t ends;
    if (count != 3)
        return fail("usage", "broker SOCKET MODULE");
    const char *socket_path = arguments[1], *module_path = arguments[2];
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* threads inherit it */
    int signals = signalfd(-1, &ends, SFD_CLOEXEC);
    if (signals < 0)
        return fail("signals", strerror(errno));

    CK_FUNCTION_LIST *module = view(module_path);
    if (!module)
        return fail(module_path, p11_kit_message() ? p11_kit_message() : "cannot be loaded");
    CK_RV rv = module->C_Initialize(NULL);
    if (rv != CKR_OK)
        return fail("C_Initialize", p11_kit_strerror(rv));
    int listener = listen_at(socket_path);
    if (listener < 0)
        return fail(socket_path, strerror(errno));
    accept_all(listener, signals, module_path);

    unlink(socket_path);
    close(listener);
    pthread_mutex_lock(&lock);
    for (struct connection *each = connections; each; each = each->next)
        shutdown(each->fd, SHUT_RDWR);
    while (connections)
        pthread_cond_wait(&one_ended, &lock);
    module->C_Finalize(NULL);
    p11_kit_module_release(module);
    pthread_mutex_unlock(&lock);
    return EXIT_SUCCESS;
}
