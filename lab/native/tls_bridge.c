/* Where the private keys come from: the lab's own provider (direct), libp11's engine, pkcs11-provider, or memory. */
#define _GNU_SOURCE
#define OPENSSL_SUPPRESS_DEPRECATED /* engines, which servers in the field still use */
#include "serve.h"

#include <stdio.h>

#include <openssl/pem.h>
#include <openssl/store.h>
#include <openssl/ui.h>

int tls_fail(struct tls *tls, const char *what)
{
    const char *data;
    int flags;
    size_t used = (size_t)snprintf(tls->text, sizeof tls->text, "%s", what);
    tls->failure = (struct failure){0, LAYER_openssl, 0};
    for (unsigned long next; (next = ERR_get_error_all(NULL, NULL, NULL, &data, &flags));) {
        const char *reason = ERR_reason_error_string(next);
        if (!tls->failure.code)
            tls->failure.code = tls_code(next);
        if (used < sizeof tls->text)
            used += (size_t)snprintf(tls->text + used, sizeof tls->text - used, "; %s%s%s", reason ? reason : "error",
                                     flags & ERR_TXT_STRING && *data ? ": " : "",
                                     flags & ERR_TXT_STRING ? data : "");
    }
    if (!tls->failure.code) {
        tls->failure.code = ERROR_WITHOUT_REASON;
        snprintf(tls->text + used, sizeof tls->text - used, "; OpenSSL gives no reason");
    }
    return -1;
}

int tls_refuse(struct tls *tls, const char *why)
{
    snprintf(tls->text, sizeof tls->text, "%s", why);
    tls->failure = (struct failure){ERROR_WITHOUT_REASON, LAYER_openssl, 0};
    return -1;
}

static int load_direct(struct tls *tls)
{
    bridge_unload(tls);
    tls->properties = PUBLIC_FIRST;
    tls->library = OSSL_LIB_CTX_new();
    if (!tls->library || !OSSL_PROVIDER_add_builtin(tls->library, KEY_PROVIDER, key_provider_init) ||
        !(tls->providers[0] = OSSL_PROVIDER_load(tls->library, "default")) ||
        !(tls->providers[1] = OSSL_PROVIDER_load(tls->library, KEY_PROVIDER)) ||
        !EVP_set_default_properties(tls->library, PUBLIC_FIRST))
        return tls_fail(tls, "the lab's provider cannot be loaded");
    return 0;
}

static int load_provider(struct tls *tls, const char *configuration, const char *pin)
{
    bridge_unload(tls);
    tls->library = OSSL_LIB_CTX_new();
    tls->pin = pin ? strdup(pin) : NULL;
    if (!tls->library || !OSSL_LIB_CTX_load_config(tls->library, configuration))
        return tls_fail(tls, "the provider cannot be loaded");
    return 0;
}

#ifdef OPENSSL_NO_ENGINE
static int load_engine(struct tls *tls, const char *library, const char *module, const char *pin)
{
    (void)library, (void)module, (void)pin;
    return tls_refuse(tls, "this OpenSSL was built without engines");
}

static EVP_PKEY *engine_key(struct tls *tls, const char *uri)
{
    (void)tls, (void)uri;
    return NULL;
}
#else
/* The ENGINE itself stays across tls_unload; what it has of the module goes with ENGINE_finish. */
static int load_engine(struct tls *tls, const char *library, const char *module, const char *pin)
{
    if (!tls->engine) {
        ENGINE_load_dynamic();
        tls->engine = ENGINE_by_id("dynamic"); /* becomes the engine that it loads, and stays out of OpenSSL's list */
        if (!tls->engine || !ENGINE_ctrl_cmd_string(tls->engine, "SO_PATH", library, 0) ||
            !ENGINE_ctrl_cmd_string(tls->engine, "LOAD", NULL, 0)) {
            tls_fail(tls, "the engine cannot be loaded");
            ENGINE_free(tls->engine);
            tls->engine = NULL;
            return -1;
        }
    }
    if (!ENGINE_ctrl_cmd_string(tls->engine, "MODULE_PATH", module, 0) ||
        (pin && !ENGINE_ctrl_cmd_string(tls->engine, "PIN", pin, 0)) ||
        !(tls->engine_initialized = ENGINE_init(tls->engine)))
        return tls_fail(tls, "the engine cannot be initialised");
    return 0;
}

static EVP_PKEY *engine_key(struct tls *tls, const char *uri)
{
    return tls->engine ? ENGINE_load_private_key(tls->engine, uri, NULL, NULL) : NULL;
}
#endif

/* Loads what the bridge needs. `library`: the engine's shared object, or the provider's configuration file; `module`: the
 * PKCS#11 module of an engine. The PIN is kept in memory, of the engine or of this object, until tls_unload. */
PUBLIC int tls_load(struct tls *tls, const char *library, const char *module, const char *pin)
{
    ERR_clear_error();
    switch (tls->settings.bridge) {
    case BRIDGE_DIRECT:
        return load_direct(tls);
    case BRIDGE_ENGINE:
        return load_engine(tls, library, module, pin);
    case BRIDGE_PROVIDER:
        return load_provider(tls, library, pin);
    default:
        return 0;
    }
}

/* What the keys of the direct bridge call from now on: before the first handshake, and again in a child that has made a
 * context or sessions of its own. Not while a handshake is under way. */
PUBLIC int tls_token(struct tls *tls, const struct token_settings *settings)
{
    if (settings->bytes != sizeof *settings || settings->key_count != tls->settings.hosts)
        return tls_refuse(tls, "these are not the settings of a token, with a key for each host");
    u64 bytes = settings->key_count * sizeof(CK_OBJECT_HANDLE);
    CK_OBJECT_HANDLE *handles = malloc(bytes);
    if (!handles || sessions_set(&tls->token.sessions, pointer(settings->functions), settings->slot,
                                 settings->session_use, pointer(settings->sessions), settings->session_count)) {
        free(handles);
        return tls_refuse(tls, "no memory for sessions and keys");
    }
    memcpy(handles, pointer(settings->keys), bytes);
    free(tls->token.handles);
    tls->token.handles = handles;
    tls->token.hosts = settings->key_count;
    return 0;
}

static int give_pin(char *buffer, int room, int writing, void *pin)
{
    (void)writing;
    int bytes = pin ? (int)strlen(pin) : -1;
    if (bytes < 0 || bytes > room)
        return -1;
    memcpy(buffer, pin, (size_t)bytes);
    return bytes;
}

static EVP_PKEY *stored_key(struct tls *tls, const char *uri)
{
    EVP_PKEY *key = NULL;
    UI_METHOD *asker = UI_UTIL_wrap_read_pem_callback(give_pin, 0);
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, tls->library, NULL, asker, tls->pin, NULL, NULL, NULL);
    if (store) {
        OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY);
        while (!key && !OSSL_STORE_eof(store)) {
            OSSL_STORE_INFO *found = OSSL_STORE_load(store);
            if (!found)
                break;
            if (OSSL_STORE_INFO_get_type(found) == OSSL_STORE_INFO_PKEY)
                key = OSSL_STORE_INFO_get1_PKEY(found);
            OSSL_STORE_INFO_free(found);
        }
        OSSL_STORE_close(store);
    }
    UI_destroy_method(asker);
    return key;
}

static EVP_PKEY *key_of_pem(struct tls *tls, const char *pem)
{
    BIO *text = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey_ex(text, NULL, NULL, NULL, tls->library, tls->properties);
    BIO_free(text);
    return key;
}

/* A public key in PEM, which becomes the face of the token's private one. */
static EVP_PKEY *key_on_token(struct tls *tls, u32 host, const char *pem)
{
    BIO *text = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *public = PEM_read_bio_PUBKEY_ex(text, NULL, NULL, NULL, tls->library, tls->properties);
    BIO_free(text);
    EVP_PKEY *key = public ? token_key_new(tls->library, &tls->token, host, public) : NULL;
    EVP_PKEY_free(public);
    return key;
}

/* Gets the private key of a host. `what`: its public half in PEM (direct), a pkcs11: URI (engine, provider), or the key
 * itself in PEM (software). */
PUBLIC int tls_key(struct tls *tls, u32 host, const char *what)
{
    EVP_PKEY *key;
    ERR_clear_error();
    if (host >= tls->settings.hosts)
        return tls_refuse(tls, "there is no such host");
    switch (tls->settings.bridge) {
    case BRIDGE_DIRECT:
        key = key_on_token(tls, host, what);
        break;
    case BRIDGE_ENGINE:
        key = engine_key(tls, what);
        break;
    case BRIDGE_PROVIDER:
        key = stored_key(tls, what);
        break;
    default:
        key = key_of_pem(tls, what);
    }
    if (!key)
        return tls_fail(tls, "the private key cannot be had");
    bridge_forget_key(tls, &tls->hosts[host]);
    tls->hosts[host].key = key;
    return 0;
}

void bridge_forget_key(struct tls *tls, struct host *host)
{
#ifndef OPENSSL_NO_ENGINE
    /* libp11 keeps the key, the key keeps the engine in use, and so ENGINE_finish would not finish anything */
    if (tls->engine && host->key)
        EVP_PKEY_set1_engine(host->key, NULL);
#endif
    (void)tls;
    EVP_PKEY_free(host->key);
    host->key = NULL;
}

void bridge_unload(struct tls *tls)
{
#ifndef OPENSSL_NO_ENGINE
    if (tls->engine_initialized)
        ENGINE_finish(tls->engine);
    tls->engine_initialized = 0;
#endif
    for (int i = 0; i < 2; i++) {
        if (tls->providers[i])
            OSSL_PROVIDER_unload(tls->providers[i]);
        tls->providers[i] = NULL;
    }
    OSSL_LIB_CTX_free(tls->library);
    tls->library = NULL;
    tls->properties = NULL;
    if (tls->pin)
        OPENSSL_cleanse(tls->pin, strlen(tls->pin));
    free(tls->pin);
    tls->pin = NULL;
    sessions_free(&tls->token.sessions);
    tls->token.sessions.functions = NULL;
    free(tls->token.handles);
    tls->token.handles = NULL;
}

void bridge_free(struct tls *tls)
{
    bridge_unload(tls);
#ifndef OPENSSL_NO_ENGINE
    ENGINE_free(tls->engine);
#endif
}
