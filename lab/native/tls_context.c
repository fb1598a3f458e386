/* One SSL_CTX for each host, and a whole handshake without a network. */
#define _GNU_SOURCE
#include "serve.h"

#include <stdio.h>
#include <strings.h>

#include <openssl/pem.h>
#include <openssl/rand.h>

#define RSA_CIPHERS "AES256-GCM-SHA384:AES128-GCM-SHA256" /* those of TLS 1.2 with a static RSA key and AEAD */

static const unsigned char session_id_context[] = "lab";

/* An object without keys and contexts. NULL where the settings are not its own, or there is no memory. */
PUBLIC struct tls *tls_new(const struct tls_settings *settings)
{
    if (settings->bytes != sizeof *settings || !settings->hosts)
        return NULL;
    const char *ciphers = pointer(settings->ciphers);
    struct tls *tls = calloc(1, sizeof *tls);
    struct host *hosts = calloc(settings->hosts, sizeof *hosts);
    struct host **by_name = calloc(settings->hosts, sizeof *by_name);
    char *copy = ciphers ? strdup(ciphers) : NULL;
    if (!tls || !hosts || !by_name || (ciphers && !copy)) {
        free(tls);
        free(hosts);
        free(by_name);
        free(copy);
        return NULL;
    }
    *tls = (struct tls){.settings = *settings, .ciphers = copy, .hosts = hosts, .by_name = by_name};
    if (settings->ticket_key)
        memcpy(tls->ticket_key, pointer(settings->ticket_key), TICKET_KEY_BYTES);
    for (u32 i = 0; i < settings->hosts; i++)
        hosts[i].index = i;
    return tls;
}

static int compare_names(const void *name, const void *host)
{
    return strcasecmp(name, (*(struct host *const *)host)->name);
}

/* A client that asks for no host, or for one that is not here, gets that of its listener, as with httpd. */
static int choose_host(SSL *ssl, int *alert, void *given)
{
    struct tls *tls = given;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct host **found =
        name && tls->named ? bsearch(name, tls->by_name, tls->named, sizeof *tls->by_name, compare_names) : NULL;
    (void)alert;
    if (!found)
        return SSL_TLSEXT_ERR_NOACK;
    return SSL_set_SSL_CTX(ssl, (*found)->context) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int add_name(struct tls *tls, struct host *host, const char *name)
{
    if (host->name || !name)
        return 0;
    if (!(host->name = strdup(name)))
        return -1;
    u32 at = tls->named++;
    for (; at && strcasecmp(tls->by_name[at - 1]->name, name) > 0; at--)
        tls->by_name[at] = tls->by_name[at - 1];
    tls->by_name[at] = host;
    return 0;
}

static int limit(const struct tls *tls, SSL_CTX *context)
{
    return tls_only(context, (int)tls->settings.version) &&
           (!tls->settings.rsa || SSL_CTX_set_cipher_list(context, RSA_CIPHERS));
}

static int set_resumption(const struct tls *tls, SSL_CTX *context)
{
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets only: a cache is one process's */
    if (tls->settings.resumption == RESUMPTION_OFF) {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        return SSL_CTX_set_num_tickets(context, 0);
    }
    return SSL_CTX_set_session_id_context(context, session_id_context, sizeof session_id_context - 1) &&
           (tls->settings.resumption != RESUMPTION_SHARED ||
            SSL_CTX_set_tlsext_ticket_keys(context, (void *)tls->ticket_key, TICKET_KEY_BYTES));
}

/* The first certificate is the host's own, others are its chain. */
static int use_certificates(const struct tls *tls, SSL_CTX *context, const char *pem)
{
    BIO *text = BIO_new_mem_buf(pem, -1);
    int used = 0, right = text != NULL;
    while (right) {
        X509 *certificate = X509_new_ex(tls->library, tls->properties);
        if (!certificate || !PEM_read_bio_X509(text, &certificate, NULL, NULL)) {
            X509_free(certificate);
            break;
        }
        right = used++ ? SSL_CTX_add1_chain_cert(context, certificate) : SSL_CTX_use_certificate(context, certificate);
        X509_free(certificate);
    }
    BIO_free(text);
    if (right && used)
        ERR_clear_error(); /* the end of the text is an error, too */
    return right && used;
}

/* Makes the SSL_CTX of a host from its key (tls_key). `name` is what SNI asks for, or NULL. */
PUBLIC int tls_context(struct tls *tls, u32 index, const char *certificate, const char *name)
{
    if (index >= tls->settings.hosts || !tls->hosts[index].key)
        return tls_refuse(tls, "this host has no key");
    struct host *host = &tls->hosts[index];
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new_ex(tls->library, tls->properties, TLS_server_method());
    if (!context || !limit(tls, context) ||
        (tls->ciphers && !SSL_CTX_set_cipher_list(context, tls->ciphers)) ||
        !set_resumption(tls, context) || !use_certificates(tls, context, certificate) ||
        SSL_CTX_use_PrivateKey(context, host->key) <= 0 || !SSL_CTX_check_private_key(context) ||
        add_name(tls, host, name)) {
        SSL_CTX_free(context);
        return tls_fail(tls, "the TLS context cannot be made");
    }
    SSL_CTX_set_app_data(context, (char *)host);
    SSL_CTX_set_tlsext_servername_callback(context, choose_host);
    SSL_CTX_set_tlsext_servername_arg(context, tls);
    SSL_CTX_free(host->context);
    host->context = context;
    return 0;
}

/* Resumption per process: this process's tickets are its own from now on. OpenSSL draws the keys when a context is made,
 * which may have been before a fork. */
PUBLIC int tls_renew_tickets(struct tls *tls)
{
    unsigned char keys[TICKET_KEY_BYTES];
    if (tls->settings.resumption != RESUMPTION_PER_PROCESS)
        return 0;
    ERR_clear_error();
    int well = RAND_priv_bytes(keys, sizeof keys) > 0;
    for (u32 i = 0; well && i < tls->settings.hosts; i++)
        well = !tls->hosts[i].context || SSL_CTX_set_tlsext_ticket_keys(tls->hosts[i].context, keys, sizeof keys);
    OPENSSL_cleanse(keys, sizeof keys);
    return well ? 0 : tls_fail(tls, "this process has no keys of its own for tickets");
}

/* Gives back contexts, keys, and what the engine or the provider has of its module. */
PUBLIC void tls_unload(struct tls *tls)
{
    for (u32 i = 0; i < tls->settings.hosts; i++) {
        SSL_CTX_free(tls->hosts[i].context);
        bridge_forget_key(tls, &tls->hosts[i]);
        free(tls->hosts[i].name);
        tls->hosts[i] = (struct host){.index = i};
    }
    tls->named = 0;
    bridge_unload(tls);
}

PUBLIC void tls_free(struct tls *tls)
{
    tls_unload(tls);
    bridge_free(tls);
    OPENSSL_cleanse(tls->ticket_key, sizeof tls->ticket_key);
    free(tls->hosts);
    free(tls->by_name);
    free(tls->ciphers);
    free(tls);
}

/* Why the last call failed. Returns the text, which the object owns. */
PUBLIC const char *tls_error(const struct tls *tls, u32 *code, u32 *layer, u32 *function)
{
    *code = tls->failure.code;
    *layer = tls->failure.layer;
    *function = tls->failure.function;
    return tls->text;
}

/* What OpenSSL says of a code of its layer; empty where it has no words for it. */
PUBLIC void tls_code_text(u32 code, char *text, u64 bytes)
{
    const char *library = ERR_lib_error_string(code), *reason = ERR_reason_error_string(code);
    snprintf(text, bytes, "%s%s%s", reason && library ? library : "", reason && library ? ": " : "", reason ? reason : "");
}

enum tls_state serve_step(SSL *ssl, struct tls_watch *watch, struct connection_row *row)
{
    key_use = (struct use){0};
    enum tls_state state = tls_step(ssl, watch, row);
    if (row && key_use.session)
        row->key_use = key_use.session;
    if (state == TLS_FAILED && key_use.function)
        watch->failure = (struct failure){(u32)key_use.code, LAYER_pkcs11, key_use.function};
    return state;
}

/* A client of the process's own that takes any certificate; whether the signature is right, TLS checks itself. */
static SSL *own_client(const struct tls *tls, const struct host *host)
{
    SSL_CTX *context = SSL_CTX_new_ex(tls->library, tls->properties, TLS_client_method());
    SSL *client = context && limit(tls, context) ? SSL_new(context) : NULL;
    SSL_CTX_free(context); /* the client has its own reference */
    if (client && host->name && !SSL_set_tlsext_host_name(client, host->name)) {
        SSL_free(client);
        return NULL;
    }
    return client;
}

static int meet(struct tls *tls, SSL *client, SSL *server, struct outcome *outcome)
{
    struct tls_watch of_client, of_server;
    enum tls_state asks = TLS_WANTS_READ, answers = TLS_WANTS_READ;
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    tls_watch(client, &of_client);
    tls_watch(server, &of_server);
    while (asks != TLS_FAILED && answers != TLS_FAILED && (asks != TLS_DONE || answers != TLS_DONE)) {
        asks = tls_step(client, &of_client, NULL);
        if (asks != TLS_FAILED)
            answers = serve_step(server, &of_server, NULL);
        if (key_use.session)
            outcome->session = key_use.session;
    }
    if (asks != TLS_FAILED && answers != TLS_FAILED) {
        outcome->version = (u32)SSL_version(server);
        return 0;
    }
    tls->failure = answers == TLS_FAILED ? of_server.failure : of_client.failure;
    if (tls->failure.layer == LAYER_openssl)
        tls_code_text(tls->failure.code, tls->text, sizeof tls->text);
    else
        snprintf(tls->text, sizeof tls->text, "the %s ended the handshake", answers == TLS_FAILED ? "server" : "client");
    return -1;
}

static int handshake(struct tls *tls, u32 host, struct outcome *outcome)
{
    BIO *near = NULL, *far = NULL;
    if (host >= tls->settings.hosts || !tls->hosts[host].context)
        return tls_refuse(tls, "this host has no TLS context");
    ERR_clear_error();
    SSL *client = own_client(tls, &tls->hosts[host]), *server = SSL_new(tls->hosts[host].context);
    int failed = -1;
    if (client && server && BIO_new_bio_pair(&near, 0, &far, 0)) {
        SSL_set_bio(client, near, near);
        SSL_set_bio(server, far, far);
        failed = meet(tls, client, server, outcome);
    } else {
        tls_fail(tls, "no memory for a handshake");
    }
    SSL_free(client);
    SSL_free(server);
    return failed;
}

/* A whole handshake with itself, without a network: what a parent does to see that its context works. `thread` chooses
 * the session. Returns 0, or -1 where it failed; `outcome` tells both. */
PUBLIC int tls_handshake_once(struct tls *tls, u32 host, u32 thread, struct outcome *outcome)
{
    *outcome = (struct outcome){0};
    key_thread = thread;
    int failed = handshake(tls, host, outcome);
    if (failed) {
        outcome->code = tls->failure.code;
        outcome->layer = tls->failure.layer;
        outcome->function = tls->failure.function;
    }
    return failed;
}
