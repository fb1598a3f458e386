/* Whom the generator trusts and what it resumes: one SSL_CTX for all its handshakes, and an SSL for each. */
#define _GNU_SOURCE
#include "generate.h"

#include <openssl/x509_vfy.h>

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

/* Copies the messages up to the server's signature, and notes the signature's tag. It comes after the certificate of its
 * signer. */
static void note_message(int sent, int version, int content, const void *message, size_t bytes, SSL *ssl, void *argument)
{
    (void)version;
    const struct generator *generator = argument;
    struct slot *slot = generator->current;
    (void)sent;
    if (content != SSL3_RT_HANDSHAKE || slot->stage != STAGE_SHAKING || slot->heard.whole)
        return;
    heard_message(&slot->heard, message, bytes);
    if (!slot->heard.whole || !generator->settings.tag_key)
        return;
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    const EVP_PKEY *signer = certificate ? X509_get0_pubkey(certificate) : NULL;
    if (signer)
        slot->connection->key_use = wire_tag(&generator->tag_key, signer, slot->heard.signature);
}

SSL_CTX *generate_context(struct generator *generator)
{
    const struct settings *settings = &generator->settings;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context)
        return NULL;
    SSL_CTX_set_app_data(context, (char *)generator);
    SSL_CTX_set_read_ahead(context, 1); /* a flight in one read instead of two for each of its records */
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    int right = tls_only(context, (int)settings->version);
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

void generate_ssl(struct generator *generator, struct slot *slot)
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
    SSL_set_msg_callback(slot->ssl, note_message);
    SSL_set_msg_callback_arg(slot->ssl, generator);
    tls_watch(slot->ssl, &slot->watch);
}

bool generate_address(struct generator *generator, struct slot *slot)
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
