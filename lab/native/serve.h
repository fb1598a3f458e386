/* The server's two objects: what TLS needs (struct tls), which a fork may copy, and what serves (struct server), which
 * belongs to one process.
 *
 * Filled in by Python, field for field (lab/native/serving.py): the settings; `bytes` tells whether both mean the same.
 */
#ifndef LAB_SERVE_H
#define LAB_SERVE_H

#include <openssl/provider.h>

#include "bindings.h"
#include "tls.h"
#include "tls_key.h"

#ifndef OPENSSL_NO_ENGINE
#include <openssl/engine.h>
#endif

enum bridge { BRIDGE_DIRECT, BRIDGE_ENGINE, BRIDGE_PROVIDER, BRIDGE_SOFTWARE };
enum resumption { RESUMPTION_OFF, RESUMPTION_SHARED, RESUMPTION_PER_PROCESS };
enum serving { SERVING_BLOCKING, SERVING_EVENT };
enum { TICKET_KEY_BYTES = 80, TEXT_BYTES = 512 };

struct tls_settings {
    u64 bytes;
    u64 ciphers;    /* const char *: OpenSSL's list for TLS 1.2, or 0 */
    u64 ticket_key; /* const u8 *: TICKET_KEY_BYTES, for RESUMPTION_SHARED */
    u32 bridge;     /* BRIDGE_* */
    u32 version;    /* 0x0303, 0x0304: exactly this one */
    u32 rsa;        /* 1: the key exchange is RSA's, not (EC)DHE; with TLS 1.2 only */
    u32 resumption; /* RESUMPTION_* */
    u32 hosts;
    u32 spare;
};

/* Direct bridge: what the keys call from now on. */
struct token_settings {
    u64 bytes;
    u64 functions; /* CK_FUNCTION_LIST * */
    u64 slot;      /* for SESSION_PER_OPERATION */
    u64 sessions;  /* CK_SESSION_HANDLE *: one per thread (OWN), or the pool */
    u64 session_count;
    u64 keys; /* CK_OBJECT_HANDLE *: one per host */
    u64 key_count;
    u32 session_use; /* SESSION_* */
    u32 spare;
};

/* What a handshake of tls_handshake_once came to; `code` and `layer` as in a row. */
struct outcome {
    u64 session; /* direct bridge: that the key was used in, or 0 */
    u32 code;
    u32 layer;
    u32 function;
    u32 version; /* that was negotiated */
};

struct host {
    u32 index;
    char *name; /* that SNI asks for, or NULL */
    EVP_PKEY *key;
    SSL_CTX *context;
};

struct tls {
    struct tls_settings settings; /* its pointers are not used after tls_new */
    char *ciphers;
    unsigned char ticket_key[TICKET_KEY_BYTES];
    OSSL_LIB_CTX *library; /* NULL: OpenSSL's default one */
    const char *properties;
    OSSL_PROVIDER *providers[2]; /* of the direct bridge */
#ifndef OPENSSL_NO_ENGINE
    ENGINE *engine;
    int engine_initialized;
#endif
    char *pin; /* of the provider, which asks for it when it likes */
    struct token token;
    struct host *hosts;
    struct host **by_name; /* sorted */
    u32 named;
    struct failure failure; /* why the last call failed */
    char text[TEXT_BYTES];
};

struct listener {
    int socket;
    u32 host;
};

/* One thread of server_run, as server_stop sees it. */
struct service {
    struct service *next;
    pthread_t thread;
    _Atomic int accepting; /* it may be blocked in accept() */
};

struct server {
    struct rows rows;
    struct tls *tls;
    i64 timeout_ns;
    u32 mode; /* SERVING_* */
    u32 listener_count;
    struct listener *listeners;
    int wake; /* eventfd: readable from server_stop on */
    _Atomic int stopping;
    _Atomic u64 starved;  /* accepts that failed because no file was left */
    _Atomic u64 promised; /* connections that threads have accepted or are to accept, where their number is limited */
    pthread_mutex_t lock; /* of `services` */
    struct service *services;
};

/* One connection. `watch` is first: it is what the SSL's app data points to. */
struct connection {
    struct tls_watch watch;
    SSL *ssl;
    int socket;
    i64 deadline_ns;
    struct connection_row *row;
    struct connection_row scratch; /* in the place of a row where there was no room for one */
    struct connection *next, *previous;
};

/* Which connections one thread has had. */
struct tally {
    u32 thread;
    u32 tid;
    u64 count;
};

/* Puts OpenSSL's errors, which are taken off its queue, into the object. Returns -1. */
int tls_fail(struct tls *tls, const char *what);
/* The same for what is not OpenSSL's. */
int tls_refuse(struct tls *tls, const char *why);
void bridge_forget_key(struct tls *tls, struct host *host);
void bridge_unload(struct tls *tls);
void bridge_free(struct tls *tls);

/* What one SSL_do_handshake came to; notes the key's session and failure in the row (which may be NULL). */
enum tls_state serve_step(SSL *ssl, struct tls_watch *watch, struct connection_row *row);

/* After an accept() that failed with this error: where all file descriptors are in use, the next one will, too. */
void serve_rest(struct server *server, int error);
enum { STOPPED = INT_MIN }; /* in the place of an accepted socket or a negative error */
/* Says whether this thread may accept one connection more. */
int serve_may_accept(struct server *server, u64 most);
/* `accepted` is a socket from accept(). Returns 0, or -1 where it ended at once; it has its row then. */
int connection_begin(struct server *server, struct connection *connection, struct tally *tally, int accepted,
                     const struct listener *listener, const struct sockaddr_in *peer);
/* Writes the end of the row and lets the client go. */
void connection_end(struct connection *connection, const struct failure *failure);
/* An epoll of all listeners and of the wake-up, whose data are NULL. Returns a negative error where there is none. */
int serve_poll(struct server *server);
/* Returns 0, or a negative error. */
int serve_events(struct server *server, struct tally *tally, u64 most);

#endif
