/* What the tap costs per call: the same function of the same module, directly and through the tap, in turns.
 *
 * tap_cost calls TAP MODULE PAIRS CALLS    C_GetSessionInfo on a module that does nothing
 * tap_cost sign TAP MODULE PAIRS CALLS     C_SignInit and C_Sign with a P-256 key on an empty token, which it fills
 *
 * One line per pair: "<direct_ns> <tapped_ns>", each the mean of CALLS calls. Which of the two goes first alternates.
 * The module's state is the same for both, because both are the same mapping of it.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <p11-kit/pkcs11.h>

#define CHECK(condition) ((condition) ? (void)0 : give_up(#condition, __LINE__))
#define PIN_BYTES 16

static void give_up(const char *what, int line)
{
    fprintf(stderr, "tap_cost.c:%d: %s\n", line, what);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static CK_FUNCTION_LIST *list_of(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        give_up(dlerror(), __LINE__);
    CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
    CK_FUNCTION_LIST *list = NULL;
    CHECK(get && get(&list) == CKR_OK);
    return list;
}

static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE key;

/* A token, a user and a P-256 key in the first free slot. The PIN is made here and stays here. */
static void provision(CK_FUNCTION_LIST *module)
{
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    CK_BYTE pin[PIN_BYTES], label[32];
    CK_SLOT_ID slots[8];
    CK_ULONG count = sizeof slots / sizeof *slots;
    CHECK(getrandom(pin, sizeof pin, 0) == sizeof pin);
    for (int i = 0; i < PIN_BYTES; i++)
        pin[i] = (CK_BYTE)('0' + pin[i] % 10);
    memset(label, ' ', sizeof label);
    memcpy(label, "tap-cost", 8);
    CHECK(module->C_Initialize(&arguments) == CKR_OK);
    CHECK(module->C_GetSlotList(CK_FALSE, slots, &count) == CKR_OK && count);
    CHECK(module->C_InitToken(slots[0], pin, sizeof pin, label) == CKR_OK);
    count = sizeof slots / sizeof *slots;
    CHECK(module->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK && count);
    CHECK(module->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session) == CKR_OK);
    CHECK(module->C_Login(session, CKU_SO, pin, sizeof pin) == CKR_OK);
    CHECK(module->C_InitPIN(session, pin, sizeof pin) == CKR_OK);
    CHECK(module->C_Logout(session) == CKR_OK);
    CHECK(module->C_Login(session, CKU_USER, pin, sizeof pin) == CKR_OK);

    CK_BBOOL yes = CK_TRUE;
    CK_BYTE prime256v1[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_ATTRIBUTE public_key[] = {{CKA_EC_PARAMS, prime256v1, sizeof prime256v1}, {CKA_VERIFY, &yes, sizeof yes}};
    CK_ATTRIBUTE private_key[] = {{CKA_SIGN, &yes, sizeof yes}, {CKA_TOKEN, &yes, sizeof yes}};
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_OBJECT_HANDLE unused;
    CHECK(module->C_GenerateKeyPair(session, &mechanism, public_key, 2, private_key, 2, &unused, &key) == CKR_OK);
}

static void get_session_info(CK_FUNCTION_LIST *module)
{
    CK_SESSION_INFO info;
    CHECK(module->C_GetSessionInfo(session, &info) == CKR_OK);
}

static void sign(CK_FUNCTION_LIST *module)
{
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_BYTE digest[32] = {1}, signature[64];
    CK_ULONG length = sizeof signature;
    CHECK(module->C_SignInit(session, &mechanism, key) == CKR_OK);
    CHECK(module->C_Sign(session, digest, sizeof digest, signature, &length) == CKR_OK);
}

static double mean_ns(CK_FUNCTION_LIST *module, void (*operation)(CK_FUNCTION_LIST *), long calls)
{
    int64_t started_ns = now_ns();
    for (long i = 0; i < calls; i++)
        operation(module);
    return (double)(now_ns() - started_ns) / (double)calls;
}

int main(int count, char **argument)
{
    CHECK(count == 6);
    bool signing = !strcmp(argument[1], "sign");
    CHECK(signing || !strcmp(argument[1], "calls"));
    CK_FUNCTION_LIST *tapped = list_of(argument[2]), *direct = list_of(argument[3]);
    void (*operation)(CK_FUNCTION_LIST *) = signing ? sign : get_session_info;
    int pairs = atoi(argument[4]);
    long calls = atol(argument[5]);
    if (signing)
        provision(direct);
    mean_ns(direct, operation, calls / 10 + 1);
    mean_ns(tapped, operation, calls / 10 + 1);
    for (int pair = 0; pair < pairs; pair++) {
        double first = mean_ns(pair % 2 ? tapped : direct, operation, calls);
        double second = mean_ns(pair % 2 ? direct : tapped, operation, calls);
        printf("%.2f %.2f\n", pair % 2 ? second : first, pair % 2 ? first : second);
    }
    return 0;
}
