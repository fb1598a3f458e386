/* What libssl does with a key of the direct bridge: sign a handshake, decrypt a premaster secret.
 *
 * Sources: PKCS #11 v2.40 mechanisms, 2.1.6 (CKM_RSA_PKCS), 2.1.10 (CKM_RSA_PKCS_PSS), 2.3.6 (CKM_ECDSA); RFC 8017,
 * 9.2 (DigestInfo); RFC 5246, 7.4.7.1 (premaster secret).
 */
#define _GNU_SOURCE
#include "tls_key.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>

enum {
    LARGEST_RSA = 1024, /* bytes of RSA-8192 */
    LARGEST_RAW = 132,  /* bytes of r and s on P-521 */
    BITS = 8
};

/* DER before a digest of SHA-2: only the lengths and the last number of the algorithm differ. */
static const unsigned char info_template[] = {0x30, 0, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                              0x65, 0x03, 0x04, 0x02, 0, 0x05, 0x00, 0x04, 0};
enum { INFO_BYTES = sizeof info_template, INFO_LENGTH_AT = 1, INFO_ALGORITHM_AT = 14, INFO_DIGEST_AT = 18 };

static const struct hash {
    const char *name;
    CK_ULONG bytes;
    CK_MECHANISM_TYPE mechanism;
    CK_ULONG mask; /* of PSS */
    unsigned char algorithm;
} hashes[] = {{"SHA256", 32, CKM_SHA256, CKG_MGF1_SHA256, 1},
              {"SHA384", 48, CKM_SHA384, CKG_MGF1_SHA384, 2},
              {"SHA512", 64, CKM_SHA512, CKG_MGF1_SHA512, 3}};

struct signing {
    const struct token_key *key;
    EVP_MD_CTX *digest;
    const struct hash *hash;
    int padding; /* RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING; RSA_NO_PADDING for EC */
};

static void *signing_new(int padding)
{
    struct signing *signing = calloc(1, sizeof *signing);
    if (signing)
        signing->padding = padding;
    return signing;
}

static void *rsa_new(void *provider, const char *properties)
{
    (void)provider, (void)properties;
    return signing_new(RSA_PKCS1_PADDING);
}

static void *ecdsa_new(void *provider, const char *properties)
{
    (void)provider, (void)properties;
    return signing_new(RSA_NO_PADDING);
}

static void signing_free(void *context)
{
    struct signing *signing = context;
    if (signing)
        EVP_MD_CTX_free(signing->digest);
    free(signing);
}

static int signing_set(void *context, const OSSL_PARAM given[]);

static int signing_begin(void *context, const char *hash, void *key, const OSSL_PARAM given[])
{
    struct signing *signing = context;
    signing->key = key;
    signing->hash = NULL;
    EVP_MD *method = EVP_MD_fetch(signing->key->library, hash, NULL);
    for (size_t i = 0; method && i < sizeof hashes / sizeof *hashes; i++)
        if (EVP_MD_is_a(method, hashes[i].name))
            signing->hash = &hashes[i];
    if (!signing->digest)
        signing->digest = EVP_MD_CTX_new();
    int begun = signing->hash && signing->digest && EVP_DigestInit_ex2(signing->digest, method, NULL);
    EVP_MD_free(method); /* the digest has its own reference */
    return begun && signing_set(context, given);
}

static int signing_update(void *context, const unsigned char *data, size_t bytes)
{
    return EVP_DigestUpdate(((struct signing *)context)->digest, data, bytes);
}

static int sign_rsa(const struct signing *signing, const unsigned char *digest, unsigned char *out, size_t *bytes)
{
    const struct hash *hash = signing->hash;
    CK_RSA_PKCS_PSS_PARAMS salted = {hash->mechanism, hash->mask, hash->bytes};
    CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
    CK_BYTE info[INFO_BYTES + EVP_MAX_MD_SIZE];
    const CK_BYTE *data = digest;
    CK_ULONG data_bytes = hash->bytes, length = *bytes;
    if (signing->padding == RSA_PKCS1_PSS_PADDING) {
        mechanism = (CK_MECHANISM){CKM_RSA_PKCS_PSS, &salted, sizeof salted};
    } else {
        memcpy(info, info_template, INFO_BYTES);
        memcpy(info + INFO_BYTES, digest, hash->bytes);
        info[INFO_LENGTH_AT] = (CK_BYTE)(INFO_BYTES - INFO_LENGTH_AT - 1 + hash->bytes);
        info[INFO_ALGORITHM_AT] = hash->algorithm;
        info[INFO_DIGEST_AT] = (CK_BYTE)hash->bytes;
        data = info;
        data_bytes += INFO_BYTES;
    }
    if (token_sign(signing->key, &mechanism, data, data_bytes, out, &length) != CKR_OK)
        return 0;
    *bytes = length;
    return 1;
}

static int sign_ecdsa(const struct signing *signing, const unsigned char *digest, unsigned char *out, size_t *bytes)
{
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_BYTE raw[LARGEST_RAW];
    CK_ULONG raw_bytes = sizeof raw, data_bytes = signing->hash->bytes;
    CK_ULONG order_bytes = ((CK_ULONG)EVP_PKEY_get_bits(signing->key->public) + BITS - 1) / BITS;
    if (data_bytes > order_bytes)
        data_bytes = order_bytes; /* of a longer hash, ECDSA takes the leftmost bits; not all tokens do it themselves */
    if (token_sign(signing->key, &mechanism, digest, data_bytes, raw, &raw_bytes) != CKR_OK)
        return 0;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)raw_bytes / 2, NULL);
    BIGNUM *s = BN_bin2bn(raw + raw_bytes / 2, (int)raw_bytes / 2, NULL);
    if (!pair || !r || !s || !ECDSA_SIG_set0(pair, r, s)) {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(pair);
        return 0;
    }
    int length = i2d_ECDSA_SIG(pair, NULL);
    int fits = length > 0 && (size_t)length <= *bytes;
    if (fits)
        *bytes = (size_t)i2d_ECDSA_SIG(pair, &out);
    ECDSA_SIG_free(pair);
    return fits;
}

/* `out` NULL asks for the largest length. */
static int signing_end(void *context, unsigned char *out, size_t *bytes, size_t room)
{
    struct signing *signing = context;
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (!out) {
        *bytes = (size_t)EVP_PKEY_get_size(signing->key->public);
        return 1;
    }
    *bytes = room;
    return EVP_DigestFinal_ex(signing->digest, digest, NULL) &&
           (signing->padding == RSA_NO_PADDING ? sign_ecdsa : sign_rsa)(signing, digest, out, bytes);
}

/* The whole in one call, which is what libssl makes. */
static int signing_once(void *context, unsigned char *out, size_t *bytes, size_t room, const unsigned char *data,
                        size_t data_bytes)
{
    return (!out || signing_update(context, data, data_bytes)) && signing_end(context, out, bytes, room);
}

/* OpenSSL says a padding by number or by name. 0 where it says none, -1 where it is unknown. */
static int padding_of(const OSSL_PARAM given[])
{
    const OSSL_PARAM *mode = given ? OSSL_PARAM_locate_const(given, OSSL_PKEY_PARAM_PAD_MODE) : NULL;
    int number = -1;
    if (!mode)
        return 0;
    if (mode->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_get_int(mode, &number) ? number : -1;
    if (!strcmp(mode->data, OSSL_PKEY_RSA_PAD_MODE_PSS))
        return RSA_PKCS1_PSS_PADDING;
    return strcmp(mode->data, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) ? -1 : RSA_PKCS1_PADDING;
}

/* The length of the salt is not read: in TLS it is the hash's (RFC 8446, 4.2.3). */
static int signing_set(void *context, const OSSL_PARAM given[])
{
    struct signing *signing = context;
    int padding = padding_of(given);
    if (!padding)
        return 1;
    if (padding != RSA_PKCS1_PADDING && padding != RSA_PKCS1_PSS_PADDING)
        return 0;
    signing->padding = padding;
    return 1;
}

static const OSSL_PARAM *rsa_settable(void *context, void *provider)
{
    static const OSSL_PARAM settable[] = {OSSL_PARAM_int(OSSL_PKEY_PARAM_PAD_MODE, NULL),
                                          OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
                                          OSSL_PARAM_END};
    (void)context, (void)provider;
    return settable;
}

struct decrypting {
    const struct token_key *key;
    unsigned int version; /* that the client offered, which its secret begins with */
    int padding;
};

static void *decrypting_new(void *provider)
{
    (void)provider;
    return calloc(1, sizeof(struct decrypting));
}

static int decrypting_set(void *context, const OSSL_PARAM given[])
{
    struct decrypting *decrypting = context;
    const OSSL_PARAM *version = given ? OSSL_PARAM_locate_const(given, OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION) : NULL;
    int padding = padding_of(given);
    if (padding)
        decrypting->padding = padding;
    return padding >= 0 && (!version || OSSL_PARAM_get_uint(version, &decrypting->version));
}

static const OSSL_PARAM *decrypting_settable(void *context, void *provider)
{
    static const OSSL_PARAM settable[] = {OSSL_PARAM_int(OSSL_PKEY_PARAM_PAD_MODE, NULL),
                                          OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, NULL),
                                          OSSL_PARAM_END};
    (void)context, (void)provider;
    return settable;
}

static int decrypting_begin(void *context, void *key, const OSSL_PARAM given[])
{
    ((struct decrypting *)context)->key = key;
    return decrypting_set(context, given);
}

/* A secret that does not come out right is replaced by chance, and the handshake fails later, so that nobody learns from
 * the server what was wrong with the padding (RFC 5246, 7.4.7.1). That is so where the token says what is wrong, with
 * CKR_ENCRYPTED_DATA_INVALID or CKR_ENCRYPTED_DATA_LEN_RANGE. Any other code is a token that fails, and has its row. */
static int decrypting_once(void *context, unsigned char *out, size_t *bytes, size_t room, const unsigned char *data,
                           size_t data_bytes)
{
    const struct decrypting *decrypting = context;
    CK_BYTE clear[LARGEST_RSA];
    CK_ULONG length = sizeof clear;
    if (decrypting->padding != RSA_PKCS1_WITH_TLS_PADDING)
        return 0;
    *bytes = SSL_MAX_MASTER_KEY_LENGTH;
    if (!out)
        return 1;
    if (room < SSL_MAX_MASTER_KEY_LENGTH ||
        RAND_priv_bytes_ex(decrypting->key->library, out, SSL_MAX_MASTER_KEY_LENGTH, 0) <= 0)
        return 0;
    CK_RV ckr = token_decrypt(decrypting->key, data, data_bytes, clear, &length);
    if (ckr == CKR_OK && length == SSL_MAX_MASTER_KEY_LENGTH && clear[0] == decrypting->version >> BITS &&
        clear[1] == (decrypting->version & UINT8_MAX))
        memcpy(out, clear, SSL_MAX_MASTER_KEY_LENGTH);
    OPENSSL_cleanse(clear, sizeof clear);
    if (ckr == CKR_ENCRYPTED_DATA_INVALID || ckr == CKR_ENCRYPTED_DATA_LEN_RANGE)
        key_use = (struct use){.session = key_use.session};
    return !key_use.function;
}

#define DO(number, function) {number, (void (*)(void))(function)}
#define SIGNING                                                                                                         \
    DO(OSSL_FUNC_SIGNATURE_FREECTX, signing_free), DO(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, signing_begin),             \
        DO(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, signing_update),                                                     \
        DO(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, signing_end), DO(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, signing_once)

const OSSL_DISPATCH key_signature_rsa[] = {DO(OSSL_FUNC_SIGNATURE_NEWCTX, rsa_new), SIGNING,
                                           DO(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, signing_set),
                                           DO(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, rsa_settable), {0, NULL}};
const OSSL_DISPATCH key_signature_ecdsa[] = {DO(OSSL_FUNC_SIGNATURE_NEWCTX, ecdsa_new), SIGNING, {0, NULL}};
const OSSL_DISPATCH key_decryption[] = {
    DO(OSSL_FUNC_ASYM_CIPHER_NEWCTX, decrypting_new), DO(OSSL_FUNC_ASYM_CIPHER_FREECTX, free),
    DO(OSSL_FUNC_ASYM_CIPHER_DECRYPT_INIT, decrypting_begin), DO(OSSL_FUNC_ASYM_CIPHER_DECRYPT, decrypting_once),
    DO(OSSL_FUNC_ASYM_CIPHER_SET_CTX_PARAMS, decrypting_set),
    DO(OSSL_FUNC_ASYM_CIPHER_SETTABLE_CTX_PARAMS, decrypting_settable), {0, NULL}};
