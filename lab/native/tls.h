/* What both ends of a handshake share: its steps with their time stamps, and what a failure is called.
 *
 *     struct tls_watch watch;
 *     tls_watch(ssl, &watch);                      once per SSL; it takes the SSL's app data and its info callback
 *     switch (tls_step(ssl, &watch, row)) {        row may be NULL: nothing is stamped then
 *     case TLS_DONE:                               tls_end(row, &(struct failure){0})
 *     case TLS_WANTS_READ, TLS_WANTS_WRITE:        wait (tls_wait), then step again
 *     case TLS_FAILED:                             tls_end(row, &watch.failure)
 *     }
 *
 * tls_know(row, ssl) copies what is known of the connection (random, version, resumed); call it before tls_end.
 */
#ifndef LAB_TLS_H
#define LAB_TLS_H

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "rows.h"

/* Code and layer as in a row; all zeros is success. */
struct failure {
    u32 code;
    u8 layer;
    u8 function; /* number of the PKCS#11 function that failed, 0 for none */
};

enum tls_state { TLS_DONE, TLS_WANTS_READ, TLS_WANTS_WRITE, TLS_FAILED };

enum {
    NO_ALERT = -1,
    ALERT_FATAL_BIT = SSL3_AL_FATAL << 8, /* of the value that an info callback gets: level << 8 | description */
    ERROR_LIBRARY_SHIFT = 23,             /* code of LAYER_openssl: library << 23 | reason, as ERR_PACK has it */
    ERROR_WITHOUT_REASON = ERR_LIB_SSL << ERROR_LIBRARY_SHIFT | ERR_R_OPERATION_FAIL, /* 0 would be success */
    STEPS_STAMPED = 4,
    MOST_STEPS = UINT8_MAX
};

/* This version and no other. 0 where OpenSSL does not have it. */
static inline int tls_only(SSL_CTX *context, int version)
{
    return SSL_CTX_set_min_proto_version(context, version) && SSL_CTX_set_max_proto_version(context, version);
}

/* One handshake under way. */
struct tls_watch {
    int alert_received, alert_sent; /* description of a fatal alert, or NO_ALERT */
    struct failure failure;         /* after TLS_FAILED */
};

static inline void tls_note_alert(const SSL *ssl, int where, int value)
{
    struct tls_watch *watch = SSL_get_app_data(ssl);
    if (!watch || !(where & SSL_CB_ALERT) || !(value & ALERT_FATAL_BIT))
        return;
    *(where & SSL_CB_READ ? &watch->alert_received : &watch->alert_sent) = value & UINT8_MAX;
}

static inline void tls_watch(SSL *ssl, struct tls_watch *watch)
{
    *watch = (struct tls_watch){NO_ALERT, NO_ALERT, {0}};
    SSL_set_app_data(ssl, (char *)watch);
    SSL_set_info_callback(ssl, tls_note_alert);
}

/* The name that the lab has for a reason of libssl, or 0. */
static inline u32 tls_named(int reason)
{
    switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return TLS_wrong_certificate;
    case SSL_R_BAD_SIGNATURE:
        return TLS_bad_signature;
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return TLS_not_tls;
    case SSL_R_NO_SHARED_CIPHER:
        return TLS_no_shared_cipher;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_VERSION_TOO_LOW:
        return TLS_no_shared_version;
    default:
        return 0;
    }
}

/* The code that LAYER_openssl has for an error of OpenSSL's. */
static inline u32 tls_code(unsigned long error)
{
    return (u32)ERR_GET_LIB(error) << ERROR_LIBRARY_SHIFT | (u32)ERR_GET_REASON(error);
}

/* What this thread's OpenSSL errors say, which are taken off the queue. The first is the nearest to the cause. `alert_*`
 * are descriptions or NO_ALERT; `error` is errno as the failed call left it, `of_system` whether it counts. */
static inline struct failure tls_classify(int alert_received, int alert_sent, int of_system, int error)
{
    u32 first = 0, named = 0, closed = 0;
    for (unsigned long next; (next = ERR_get_error());) {
        int reason = ERR_GET_REASON(next);
        if (!first)
            first = tls_code(next);
        if (ERR_GET_LIB(next) == ERR_LIB_SSL) {
            named = named ? named : tls_named(reason);
            closed |= reason == SSL_R_UNEXPECTED_EOF_WHILE_READING;
        }
    }
    if (alert_received != NO_ALERT)
        return (struct failure){TLS_alert_received + (u32)alert_received, LAYER_tls, 0};
    if (named)
        return (struct failure){named, LAYER_tls, 0};
    if (closed || (of_system && !error && !first))
        return (struct failure){NETWORK_closed, LAYER_network, 0};
    if (of_system && error)
        return (struct failure){(u32)error, LAYER_network, 0};
    /* "internal error" only says that something went wrong on this side: OpenSSL knows better what */
    if (alert_sent != NO_ALERT && (alert_sent != SSL_AD_INTERNAL_ERROR || !first))
        return (struct failure){TLS_alert_sent + (u32)alert_sent, LAYER_tls, 0};
    return (struct failure){first ? first : ERROR_WITHOUT_REASON, LAYER_openssl, 0};
}

/* One call of SSL_do_handshake, stamped in `row`. */
static inline enum tls_state tls_step(SSL *ssl, struct tls_watch *watch, struct connection_row *row)
{
    i64 *stamps = NULL;
    if (row) {
        u32 step = row->steps < STEPS_STAMPED ? row->steps : STEPS_STAMPED - 1;
        stamps = (i64 *)((char *)row + offsetof(struct connection_row, step1_started_ns)) + 2 * step;
        row->steps = row->steps < MOST_STEPS ? row->steps + 1 : MOST_STEPS;
    }
    ERR_clear_error();
    errno = 0;
    if (stamps && !stamps[0])
        stamps[0] = now_ns();
    int returned = SSL_do_handshake(ssl);
    int error = errno;
    if (stamps)
        stamps[1] = now_ns();
    if (returned == 1)
        return TLS_DONE;
    int why = SSL_get_error(ssl, returned);
    if (why == SSL_ERROR_WANT_READ)
        return TLS_WANTS_READ;
    if (why == SSL_ERROR_WANT_WRITE)
        return TLS_WANTS_WRITE;
    int of_system = why == SSL_ERROR_SYSCALL || why == SSL_ERROR_ZERO_RETURN;
    watch->failure = tls_classify(watch->alert_received, watch->alert_sent, of_system,
                                  why == SSL_ERROR_SYSCALL ? error : 0);
    return TLS_FAILED;
}

/* First 8 bytes of ClientHello.random, by which the rows of both ends find each other; 0 before it. */
static inline u64 tls_random(const SSL *ssl)
{
    u64 random = 0;
    SSL_get_client_random(ssl, (unsigned char *)&random, sizeof random);
    return random;
}

static inline void tls_know(struct connection_row *row, SSL *ssl)
{
    row->random = tls_random(ssl);
    if (SSL_get_current_cipher(ssl)) /* chosen together with the version, which has a default until then */
        row->version = (u16)SSL_version(ssl);
    row->resumed = (u8)SSL_session_reused(ssl);
}

/* The second half of a connection's row: ended now, with this failure or with success. */
static inline void tls_end(struct connection_row *row, const struct failure *failure)
{
    row->ended_ns = now_ns();
    row->code = failure->code;
    row->layer = failure->layer;
    row->function = failure->function;
    __atomic_store_n(&row->state, ROW_ENDED, __ATOMIC_RELEASE);
}

static inline struct failure network_failure(int error)
{
    return (struct failure){(u32)error, LAYER_network, 0};
}

/* Waits until the socket is ready for what the handshake wants. 0, or an error number: ETIMEDOUT at the deadline
 * (CLOCK_MONOTONIC). Interrupted waits go on. */
static inline int tls_wait(int socket, enum tls_state wants, i64 deadline_ns)
{
    struct pollfd poll_one = {socket, wants == TLS_WANTS_WRITE ? POLLOUT : POLLIN, 0};
    for (;;) {
        i64 left = deadline_ns - now_ns();
        if (left <= 0)
            return ETIMEDOUT;
        struct timespec time = timespec_of(left);
        int ready = ppoll(&poll_one, 1, &time, NULL);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return errno;
    }
}

/* No waiting for full packets (Nagle), and calls that do not block. Returns 0 or an error number. */
static inline int tls_ready_socket(int socket)
{
    int on = 1, flags = fcntl(socket, F_GETFL);
    if (flags < 0 || fcntl(socket, F_SETFL, flags | O_NONBLOCK))
        return errno;
    return setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) ? errno : 0;
}

#endif
