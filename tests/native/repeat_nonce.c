/* A PKCS#11 module that forwards everything to a real one, but signs itself, each time with the same ECDSA nonce, which is
 * 1: as a generator of random numbers does that two processes have inherited. The signatures are right.
 *
 *   NONCE_MODULE   path of the real module
 *   NONCE_KEY      PEM file with the private key that the real module has, too
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* nothing newer lets its caller choose the nonce */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/ecdsa.h>
#include <openssl/pem.h>
#include <p11-kit/pkcs11.h>

#define VISIBLE __attribute__((visibility("default")))

static CK_FUNCTION_LIST list;
static EC_KEY *key;

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG bytes, CK_BYTE *signature, CK_ULONG *length)
{
    BIGNUM *inverse = BN_new(), *r = BN_new(), *order = BN_new();
    const EC_GROUP *group = EC_KEY_get0_group(key);
    (void)session;
    BN_one(inverse);
    EC_GROUP_get_order(group, order, NULL);
    EC_POINT_get_affine_coordinates(group, EC_GROUP_get0_generator(group), r, NULL, NULL); /* 1 times the generator */
    BN_nnmod(r, r, order, BN_CTX_new());
    ECDSA_SIG *made = ECDSA_do_sign_ex(data, (int)bytes, inverse, r, key);
    int half = (EC_GROUP_order_bits(group) + 7) / 8;
    if (!made || *length < (CK_ULONG)(2 * half))
        return CKR_GENERAL_ERROR;
    BN_bn2binpad(ECDSA_SIG_get0_r(made), signature, half);
    BN_bn2binpad(ECDSA_SIG_get0_s(made), signature + half, half);
    *length = (CK_ULONG)(2 * half);
    return CKR_OK;
}

/* Nothing is begun in the real module, for nothing would end it. */
static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE object)
{
    (void)session, (void)mechanism, (void)object;
    return CKR_OK;
}

VISIBLE CK_RV C_GetFunctionList(CK_FUNCTION_LIST **function_list)
{
    void *module = dlopen(getenv("NONCE_MODULE"), RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = module ? (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList") : NULL;
    FILE *file = fopen(getenv("NONCE_KEY"), "r");
    CK_FUNCTION_LIST *real;
    if (!get || !file || get(&real) || !(key = PEM_read_ECPrivateKey(file, NULL, NULL, NULL)))
        return CKR_GENERAL_ERROR;
    fclose(file);
    list = *real;
    list.C_Sign = sign;
    list.C_SignInit = sign_init;
    list.C_GetFunctionList = C_GetFunctionList;
    *function_list = &list;
    return CKR_OK;
}
