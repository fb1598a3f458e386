/* A PKCS#11 module whose answers are known beforehand: what `lab calibrate` measures the lab's own measuring with.
 *
 * One slot, one token, one P-256 key. C_Sign returns at an instant, not after a pause: `service` after it was entered, by
 * the clock that rows have. The signature is a real one, made in that time, for the lab verifies every one. Nothing here is
 * secret: the private key stands below, and any PIN will do.
 *
 * LAB_STUB_SERVICE_NS  how long C_Sign takes (0, the default: as long as the signature does)
 * LAB_STUB_STALL_CALL  number (from 1) of the one call of C_Sign that takes LAB_STUB_STALL_NS longer; 0: none
 * LAB_STUB_COUNT       a file of at least 8 bytes, where the calls of C_Sign of all processes are counted (a u64)
 *
 * It notices no fork, and needs no locks: what threads share is counted atomically.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>

#include "clock.h"
#include "lists.h"

#define VISIBLE __attribute__((visibility("default")))
#define LABEL "stub"

enum { SLOT = 1, KEY = 1, SCALAR_BYTES = 32, POINT_BYTES = 65, SIGNATURE_BYTES = 64, SEARCHES = 4096, P256_BITS = 256 };

static const unsigned char scalar[SCALAR_BYTES + 1] = "everybody knows this private key";
static const unsigned char prime256v1[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

static struct function_list list;
static OSSL_LIB_CTX *crypto; /* of its own: the process's default one may have the lab's provider in it */
static EVP_PKEY *pair;
static unsigned char point[2 + POINT_BYTES] = {0x04, POINT_BYTES}; /* a DER OCTET STRING */

static int64_t service_ns, stall_ns;
static uint64_t stall_call;
static _Atomic uint64_t own_count, *count = &own_count;
static _Atomic CK_ULONG last_session;
static _Atomic pid_t initialised_by;
static bool found[SEARCHES]; /* by session: whether C_FindObjects has the key to give */

static int64_t setting(const char *name)
{
    const char *text = getenv(name);
    char *end = NULL;
    long long value = text ? strtoll(text, &end, 10) : 0;
    return text && (end == text || *end || value < 0) ? -1 : value;
}

static bool read_settings(void)
{
    const char *path = getenv("LAB_STUB_COUNT");
    int64_t call = setting("LAB_STUB_STALL_CALL");
    service_ns = setting("LAB_STUB_SERVICE_NS");
    stall_ns = setting("LAB_STUB_STALL_NS");
    stall_call = (uint64_t)call;
    if (service_ns < 0 || stall_ns < 0 || call < 0)
        return false;
    if (!path || count != &own_count)
        return true;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *shared = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (shared == MAP_FAILED)
        return false;
    count = shared;
    return true;
}

/* The key's public half follows from its private one. */
static bool make_pair(void)
{
    if (pair)
        return true;
    crypto = OSSL_LIB_CTX_new();
    EC_GROUP *group = EC_GROUP_new_by_curve_name_ex(crypto, NULL, NID_X9_62_prime256v1);
    EC_POINT *q = group ? EC_POINT_new(group) : NULL;
    BIGNUM *d = BN_bin2bn(scalar, SCALAR_BYTES, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(crypto, "EC", NULL);
    OSSL_PARAM *parameters = NULL;
    bool made = q && d && builder && maker && EC_POINT_mul(group, q, d, NULL, NULL, NULL) &&
                EC_POINT_point2oct(group, q, POINT_CONVERSION_UNCOMPRESSED, point + 2, POINT_BYTES, NULL) &&
                OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) &&
                OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, d) &&
                OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point + 2, POINT_BYTES) &&
                (parameters = OSSL_PARAM_BLD_to_param(builder)) && EVP_PKEY_fromdata_init(maker) == 1 &&
                EVP_PKEY_fromdata(maker, &pair, EVP_PKEY_KEYPAIR, parameters) == 1;
    OSSL_PARAM_free(parameters);
    EVP_PKEY_CTX_free(maker);
    OSSL_PARAM_BLD_free(builder);
    BN_free(d);
    EC_POINT_free(q);
    EC_GROUP_free(group);
    return made;
}

static bool sign(const unsigned char *digest, size_t bytes, unsigned char *signature)
{
    unsigned char der[2 * SIGNATURE_BYTES];
    const unsigned char *at = der;
    size_t length = sizeof der;
    EVP_PKEY_CTX *signer = EVP_PKEY_CTX_new_from_pkey(crypto, pair, NULL);
    bool done =
        signer && EVP_PKEY_sign_init(signer) == 1 && EVP_PKEY_sign(signer, der, &length, digest, bytes) == 1;
    ECDSA_SIG *both = done ? d2i_ECDSA_SIG(NULL, &at, (long)length) : NULL;
    done = both && BN_bn2binpad(ECDSA_SIG_get0_r(both), signature, SCALAR_BYTES) == SCALAR_BYTES &&
           BN_bn2binpad(ECDSA_SIG_get0_s(both), signature + SCALAR_BYTES, SCALAR_BYTES) == SCALAR_BYTES;
    ECDSA_SIG_free(both);
    EVP_PKEY_CTX_free(signer);
    return done;
}

static void wait_until(int64_t instant)
{
    struct timespec nearly = timespec_of(instant - SPIN_NS);
    if (instant - SPIN_NS > now_ns())
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &nearly, NULL) == EINTR) {
        }
    while (now_ns() < instant) {
    }
}

static void pad(CK_UTF8CHAR *field, size_t bytes, const char *text)
{
    memset(field, ' ', bytes);
    memcpy(field, text, strlen(text));
}

/* What is not below is not supported. */
#define FUNCTION3 FUNCTION
#define FUNCTION(name, parameters, arguments, before, after)                                                           \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wunused-parameter\"") static CK_RV lacks_##name  \
        parameters                                                                                                     \
    {                                                                                                                  \
        return CKR_FUNCTION_NOT_SUPPORTED;                                                                             \
    }                                                                                                                  \
    _Pragma("GCC diagnostic pop")
#include "functions.def"
#undef FUNCTION

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter" /* the signatures are the standard's */

static CK_RV stub_initialize(void *arguments)
{
    if (atomic_exchange(&initialised_by, getpid()) == getpid())
        return CKR_CRYPTOKI_ALREADY_INITIALIZED;
    if (read_settings() && make_pair())
        return CKR_OK;
    atomic_store(&initialised_by, 0);
    return CKR_GENERAL_ERROR;
}

static CK_RV stub_finalize(void *reserved)
{
    return atomic_exchange(&initialised_by, 0) ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
}

static CK_RV stub_get_info(CK_INFO *info)
{
    *info = (CK_INFO){.cryptokiVersion = {2, 40}};
    info->libraryVersion = (CK_VERSION){1, 0};
    pad(info->manufacturerID, sizeof info->manufacturerID, "PKCS#11 context lab");
    pad(info->libraryDescription, sizeof info->libraryDescription, "stub of known service");
    return CKR_OK;
}

static CK_RV stub_get_slot_list(CK_BBOOL with_token, CK_SLOT_ID *slots, CK_ULONG *room)
{
    if (slots && *room)
        *slots = SLOT;
    *room = 1;
    return CKR_OK;
}

static CK_RV stub_get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    *info = (CK_SLOT_INFO){.flags = CKF_TOKEN_PRESENT};
    pad(info->slotDescription, sizeof info->slotDescription, LABEL);
    pad(info->manufacturerID, sizeof info->manufacturerID, "PKCS#11 context lab");
    return CKR_OK;
}

static CK_RV stub_get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    *info = (CK_TOKEN_INFO){
        .flags = CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED | CKF_LOGIN_REQUIRED | CKF_RNG,
        .ulMaxPinLen = 255,
    };
    pad(info->label, sizeof info->label, LABEL);
    pad(info->manufacturerID, sizeof info->manufacturerID, "PKCS#11 context lab");
    pad(info->model, sizeof info->model, LABEL);
    pad(info->serialNumber, sizeof info->serialNumber, "1");
    return CKR_OK;
}

static CK_RV stub_get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE *mechanisms, CK_ULONG *room)
{
    if (mechanisms && *room)
        *mechanisms = CKM_ECDSA;
    *room = 1;
    return CKR_OK;
}

static CK_RV stub_get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE mechanism, CK_MECHANISM_INFO *info)
{
    *info = (CK_MECHANISM_INFO){P256_BITS, P256_BITS, CKF_HW | CKF_SIGN};
    return mechanism == CKM_ECDSA ? CKR_OK : CKR_MECHANISM_INVALID;
}

static CK_RV stub_open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_ULONG *session)
{
    *session = atomic_fetch_add(&last_session, 1) + 1;
    return CKR_OK;
}

static CK_RV stub_close_session(CK_SESSION_HANDLE session) { return CKR_OK; }

static CK_RV stub_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG bytes)
{
    return CKR_OK;
}

/* Whether a template asks for nothing that the key is not. */
static bool fits(const CK_ATTRIBUTE *wanted, CK_ULONG many)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    for (CK_ULONG i = 0; i < many; i++) {
        bool is_class = wanted[i].type == CKA_CLASS && wanted[i].ulValueLen == sizeof class;
        bool is_label = wanted[i].type == CKA_LABEL && wanted[i].ulValueLen == strlen(LABEL);
        if (!(is_class && !memcmp(wanted[i].pValue, &class, sizeof class)) &&
            !(is_label && !memcmp(wanted[i].pValue, LABEL, strlen(LABEL))))
            return false;
    }
    return true;
}

static CK_RV stub_find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *wanted, CK_ULONG many)
{
    found[session % SEARCHES] = fits(wanted, many);
    return CKR_OK;
}

static CK_RV stub_find_objects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG room, CK_ULONG *many)
{
    *many = room && found[session % SEARCHES];
    if (*many)
        *objects = KEY;
    found[session % SEARCHES] = false;
    return CKR_OK;
}

static CK_RV stub_find_objects_final(CK_SESSION_HANDLE session) { return CKR_OK; }

static CK_RV give(CK_ATTRIBUTE *wanted, const void *value, CK_ULONG bytes)
{
    CK_ULONG room = wanted->ulValueLen;
    wanted->ulValueLen = bytes;
    if (!wanted->pValue)
        return CKR_OK;
    if (room < bytes)
        return CKR_BUFFER_TOO_SMALL;
    memcpy(wanted->pValue, value, bytes);
    return CKR_OK;
}

static CK_RV stub_get_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *wanted,
                                      CK_ULONG many)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE type = CKK_EC;
    CK_BBOOL yes = CK_TRUE;
    CK_RV rv = CKR_OK;
    for (CK_ULONG i = 0; i < many && rv == CKR_OK; i++)
        switch (wanted[i].type) {
        case CKA_CLASS: rv = give(wanted + i, &class, sizeof class); break;
        case CKA_KEY_TYPE: rv = give(wanted + i, &type, sizeof type); break;
        case CKA_LABEL: rv = give(wanted + i, LABEL, strlen(LABEL)); break;
        case CKA_SIGN: rv = give(wanted + i, &yes, sizeof yes); break;
        case CKA_EC_PARAMS: rv = give(wanted + i, prime256v1, sizeof prime256v1); break;
        case CKA_EC_POINT: rv = give(wanted + i, point, sizeof point); break;
        default: wanted[i].ulValueLen = (CK_ULONG)-1; rv = CKR_ATTRIBUTE_TYPE_INVALID;
        }
    return rv;
}

static CK_RV stub_sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    if (key != KEY)
        return CKR_KEY_HANDLE_INVALID;
    return mechanism->mechanism == CKM_ECDSA ? CKR_OK : CKR_MECHANISM_INVALID;
}

static CK_RV stub_sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG bytes, CK_BYTE *signature, CK_ULONG *room)
{
    int64_t due_ns = now_ns() + service_ns;
    CK_ULONG had = *room;
    *room = SIGNATURE_BYTES;
    if (!signature)
        return CKR_OK;
    if (had < SIGNATURE_BYTES)
        return CKR_BUFFER_TOO_SMALL;
    uint64_t number = atomic_fetch_add(count, 1) + 1;
    if (!sign(data, bytes, signature))
        return CKR_FUNCTION_FAILED;
    wait_until(due_ns + (number == stall_call ? stall_ns : 0));
    return CKR_OK;
}

/* At once, and the same each time: what a call costs without anything behind it. */
static CK_RV stub_generate_random(CK_SESSION_HANDLE session, CK_BYTE *output, CK_ULONG bytes)
{
    memset(output, 1, bytes);
    return CKR_OK;
}

#pragma GCC diagnostic pop

VISIBLE CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR found_list)
{
    *found_list = (CK_FUNCTION_LIST *)&list;
    return CKR_OK;
}

__attribute__((constructor)) static void mapped(void)
{
#define FUNCTION(name, parameters, arguments, before, after) list.name = lacks_##name;
#include "functions.def"
#undef FUNCTION
    list.version = (struct version){2, 40};
    list.C_GetFunctionList = C_GetFunctionList;
    list.C_Initialize = stub_initialize;
    list.C_Finalize = stub_finalize;
    list.C_GetInfo = stub_get_info;
    list.C_GetSlotList = stub_get_slot_list;
    list.C_GetSlotInfo = stub_get_slot_info;
    list.C_GetTokenInfo = stub_get_token_info;
    list.C_GetMechanismList = stub_get_mechanism_list;
    list.C_GetMechanismInfo = stub_get_mechanism_info;
    list.C_OpenSession = stub_open_session;
    list.C_CloseSession = stub_close_session;
    list.C_CloseAllSessions = stub_close_session;
    list.C_Login = stub_login;
    list.C_Logout = stub_close_session;
    list.C_FindObjectsInit = stub_find_objects_init;
    list.C_FindObjects = stub_find_objects;
    list.C_FindObjectsFinal = stub_find_objects_final;
    list.C_GetAttributeValue = stub_get_attribute_value;
    list.C_SignInit = stub_sign_init;
    list.C_Sign = stub_sign;
    list.C_GenerateRandom = stub_generate_random;
}
