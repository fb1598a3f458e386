/* The direct bridge: a private key on a token as an OpenSSL key, through a small provider of the lab's own.
 *
 * A provider and not an ENGINE, because OpenSSL 3's libssl decrypts a TLS premaster secret with RSA only through one. It
 * knows nothing of forks: it calls the function list, the sessions and the key handles that it was given last, which is
 * what a server does that hands its context to its children.
 */
#ifndef LAB_TLS_KEY_H
#define LAB_TLS_KEY_H

#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "sessions.h"

#define KEY_PROVIDER "lab"
#define KEY_ALGORITHMS "provider=" KEY_PROVIDER
#define PUBLIC_FIRST "?provider=default" /* or OpenSSL might take this provider for public keys, too */

/* What the keys of all hosts share. `handles` has one of each host. */
struct token {
    struct sessions sessions;
    CK_OBJECT_HANDLE *handles;
    u64 hosts;
};

/* A key as OpenSSL holds it. */
struct token_key {
    struct token *token;
    OSSL_LIB_CTX *library;
    EVP_PKEY *public; /* of the default provider, which answers all questions about the public half */
    u32 host;
};

/* The last use of a key by this thread: which session, and what failed. The server clears it before a step. */
extern __thread struct use key_use;
extern __thread u32 key_thread; /* index of the calling thread in its process: SESSION_OWN goes by it */

OSSL_provider_init_fn key_provider_init;
extern const OSSL_DISPATCH key_signature_rsa[], key_signature_ecdsa[], key_decryption[];

/* NULL where OpenSSL refuses: see its errors. `public` gets a reference more. */
EVP_PKEY *token_key_new(OSSL_LIB_CTX *library, struct token *token, u32 host, EVP_PKEY *public);

/* Both return CKR_OK, or what failed, which key_use has too. */
CK_RV token_sign(const struct token_key *key, CK_MECHANISM *mechanism, const CK_BYTE *data, CK_ULONG bytes,
                 CK_BYTE *signature, CK_ULONG *signature_bytes);
CK_RV token_decrypt(const struct token_key *key, const CK_BYTE *data, CK_ULONG bytes, CK_BYTE *clear,
                    CK_ULONG *clear_bytes);

#endif
