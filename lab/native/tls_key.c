/* The lab's provider: its key management, and the calls of the module. What is done with keys is in tls_operations.c. */
#define _GNU_SOURCE
#include "tls_key.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#define PARAMETER_KEY "lab-key" /* a struct token_key, of which the imported key becomes a copy */

__thread struct use key_use;
__thread u32 key_thread;

/* A session for one operation. False where there is none, and key_use says why. */
static bool open_for(struct token *token)
{
    if (token->sessions.functions && (token->sessions.use != SESSION_OWN || token->sessions.count))
        return session_take(&token->sessions, key_thread, &key_use);
    /* nobody has said what to call: a context whose set-up failed */
    key_use = (struct use){.code = CKR_CRYPTOKI_NOT_INITIALIZED, .function = NUMBER_C_OpenSession};
    return false;
}

CK_RV token_sign(const struct token_key *key, CK_MECHANISM *mechanism, const CK_BYTE *data, CK_ULONG bytes,
                 CK_BYTE *signature, CK_ULONG *signature_bytes)
{
    CK_FUNCTION_LIST_PTR functions = key->token->sessions.functions;
    if (!open_for(key->token))
        return key_use.code;
    if (TRY(&key_use, functions, C_SignInit, key_use.session, mechanism, key->token->handles[key->host]))
        (void)TRY(&key_use, functions, C_Sign, key_use.session, (CK_BYTE_PTR)data, bytes, signature, signature_bytes);
    session_give(&key->token->sessions, &key_use);
    return key_use.code;
}

CK_RV token_decrypt(const struct token_key *key, const CK_BYTE *data, CK_ULONG bytes, CK_BYTE *clear,
                    CK_ULONG *clear_bytes)
{
    CK_FUNCTION_LIST_PTR functions = key->token->sessions.functions;
    CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
    if (!open_for(key->token))
        return key_use.code;
    if (TRY(&key_use, functions, C_DecryptInit, key_use.session, &mechanism, key->token->handles[key->host]))
        (void)TRY(&key_use, functions, C_Decrypt, key_use.session, (CK_BYTE_PTR)data, bytes, clear, clear_bytes);
    session_give(&key->token->sessions, &key_use);
    return key_use.code;
}

static void *key_new(void *provider)
{
    (void)provider;
    return calloc(1, sizeof(struct token_key));
}

static void key_free(void *data)
{
    struct token_key *key = data;
    if (key)
        EVP_PKEY_free(key->public);
    free(key);
}

static int key_import(void *data, int selection, const OSSL_PARAM given[])
{
    (void)selection;
    struct token_key *key = data;
    const OSSL_PARAM *of = OSSL_PARAM_locate_const(given, PARAMETER_KEY);
    if (!of || of->data_type != OSSL_PARAM_OCTET_STRING || of->data_size != sizeof *key)
        return 0; /* of another provider: these keys are not made from numbers */
    memcpy(key, of->data, sizeof *key);
    return EVP_PKEY_up_ref(key->public);
}

static const OSSL_PARAM *key_import_types(int selection)
{
    static const OSSL_PARAM types[] = {OSSL_PARAM_octet_string(PARAMETER_KEY, NULL, 0), OSSL_PARAM_END};
    (void)selection;
    return types;
}

/* Only the public half leaves. Where the private one is wanted too, OpenSSL asks to do the work elsewhere: it must not. */
static int key_export(void *data, int selection, OSSL_CALLBACK *give, void *to)
{
    const struct token_key *key = data;
    return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? 0 : EVP_PKEY_export(key->public, selection, give, to);
}

static const OSSL_PARAM *key_export_types(int selection)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0), OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END};
    return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : types;
}

static int key_has(const void *data, int selection)
{
    (void)selection;
    return data && ((const struct token_key *)data)->public;
}

static int key_match(const void *one, const void *other, int selection)
{
    (void)selection;
    return EVP_PKEY_eq(((const struct token_key *)one)->public, ((const struct token_key *)other)->public) == 1;
}

static int key_get_params(void *data, OSSL_PARAM wanted[])
{
    return EVP_PKEY_get_params(((const struct token_key *)data)->public, wanted);
}

static const OSSL_PARAM *key_gettable(void *provider)
{
    static const OSSL_PARAM some[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL), OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL), OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_END};
    (void)provider;
    return some;
}

static const char *ec_operation(int operation)
{
    return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

#define DO(number, function) {number, (void (*)(void))(function)}
#define KEY_MANAGEMENT                                                                                                  \
    DO(OSSL_FUNC_KEYMGMT_NEW, key_new), DO(OSSL_FUNC_KEYMGMT_FREE, key_free), DO(OSSL_FUNC_KEYMGMT_HAS, key_has),       \
        DO(OSSL_FUNC_KEYMGMT_MATCH, key_match), DO(OSSL_FUNC_KEYMGMT_IMPORT, key_import),                               \
        DO(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, key_import_types), DO(OSSL_FUNC_KEYMGMT_EXPORT, key_export),                 \
        DO(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, key_export_types), DO(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get_params),         \
        DO(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable)

static const OSSL_DISPATCH rsa_keys[] = {KEY_MANAGEMENT, {0, NULL}};
static const OSSL_DISPATCH ec_keys[] = {
    KEY_MANAGEMENT, DO(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, ec_operation), {0, NULL}};

static const OSSL_ALGORITHM keys[] = {{"RSA:rsaEncryption", KEY_ALGORITHMS, rsa_keys, NULL},
                                      {"EC:id-ecPublicKey", KEY_ALGORITHMS, ec_keys, NULL},
                                      {NULL, NULL, NULL, NULL}};
static const OSSL_ALGORITHM signatures[] = {{"RSA:rsaEncryption", KEY_ALGORITHMS, key_signature_rsa, NULL},
                                            {"ECDSA", KEY_ALGORITHMS, key_signature_ecdsa, NULL},
                                            {NULL, NULL, NULL, NULL}};
static const OSSL_ALGORITHM decryptions[] = {{"RSA:rsaEncryption", KEY_ALGORITHMS, key_decryption, NULL},
                                             {NULL, NULL, NULL, NULL}};

static const OSSL_ALGORITHM *provide(void *provider, int operation, int *no_cache)
{
    (void)provider;
    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT:
        return keys;
    case OSSL_OP_SIGNATURE:
        return signatures;
    case OSSL_OP_ASYM_CIPHER:
        return decryptions;
    default:
        return NULL;
    }
}

int key_provider_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *from_core, const OSSL_DISPATCH **functions,
                      void **provider)
{
    static const OSSL_DISPATCH offered[] = {DO(OSSL_FUNC_PROVIDER_QUERY_OPERATION, provide), {0, NULL}};
    (void)from_core;
    *functions = offered;
    *provider = (void *)core;
    return 1;
}

EVP_PKEY *token_key_new(OSSL_LIB_CTX *library, struct token *token, u32 host, EVP_PKEY *public)
{
    struct token_key key = {token, library, public, host};
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_octet_string(PARAMETER_KEY, &key, sizeof key),
                               OSSL_PARAM_construct_end()};
    EVP_PKEY_CTX *making =
        EVP_PKEY_CTX_new_from_name(library, EVP_PKEY_is_a(public, "RSA") ? "RSA" : "EC", KEY_ALGORITHMS);
    EVP_PKEY *made = NULL;
    if (!making || EVP_PKEY_fromdata_init(making) <= 0 ||
        EVP_PKEY_fromdata(making, &made, EVP_PKEY_KEYPAIR, parameters) <= 0)
        made = NULL;
    EVP_PKEY_CTX_free(making);
    return made;
}
