/* A PKCS#11 module with nothing behind it: every function counts its call, fills what it returns with known numbers and
 * answers fake_rv. Tests reach its state by symbol, because the tap and the test map the same library.
 *
 * -DFAKE_V3 gives it C_GetInterface with interfaces of v2.40 and v3.0 (the second declared safe to fork) and a
 * vendor's own.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lists.h"

#define VISIBLE __attribute__((visibility("default")))
#define FIRST_HANDLE 1000
#define SIGNATURE_BYTES 64

VISIBLE _Atomic unsigned long fake_calls[NUMBER_END];
VISIBLE _Atomic unsigned long fake_last_handle = FIRST_HANDLE;
VISIBLE CK_RV fake_rv = CKR_OK;
VISIBLE CK_RV fake_answers[NUMBER_END]; /* of one function, where fake_rv is CKR_OK */
VISIBLE void (*fake_hook)(int number);
VISIBLE int fake_echo; /* 1: a signature is the signed data, then zeros */
VISIBLE CK_C_INITIALIZE_ARGS fake_initialize_args; /* as C_Initialize got it; flags are all ones for a NULL argument */

/* Signatures in the making: C_Sign returns to nobody before `fake_meet` threads have been inside at once. */
VISIBLE _Atomic int fake_meet, fake_inside, fake_most_inside;
VISIBLE _Atomic int fake_stolen; /* signatures during which another thread called C_SignInit on the session */

enum { SESSIONS = 64 };
static _Atomic pid_t begun_by[SESSIONS];
static __thread CK_BYTE signed_data[SIGNATURE_BYTES];

static struct function_list list_2, list_3;

static unsigned long next_handle(void)
{
    return atomic_fetch_add(&fake_last_handle, 1) + 1;
}

static void fill(CK_BYTE_PTR bytes, CK_ULONG length)
{
    for (CK_ULONG i = 0; i < length; i++)
        bytes[i] = (CK_BYTE)(i * 7 + 1);
}

static void note_session(int number, CK_SESSION_HANDLE session)
{
    if (number == NUMBER_C_SignInit)
        atomic_store(&begun_by[session % SESSIONS], gettid());
    if (number != NUMBER_C_Sign)
        return;
    int inside = atomic_fetch_add(&fake_inside, 1) + 1;
    int most = atomic_load(&fake_most_inside);
    while (most < inside && !atomic_compare_exchange_weak(&fake_most_inside, &most, inside)) {
    }
    while (atomic_load(&fake_most_inside) < atomic_load(&fake_meet))
        sched_yield();
    if (atomic_load(&begun_by[session % SESSIONS]) != gettid())
        atomic_fetch_add(&fake_stolen, 1);
    atomic_fetch_sub(&fake_inside, 1);
}

static void note_data(const CK_BYTE *data, CK_ULONG length)
{
    memset(signed_data, 0, sizeof signed_data);
    memcpy(signed_data, data, length < sizeof signed_data ? length : sizeof signed_data);
}

static void fill_signature(CK_BYTE_PTR bytes)
{
    if (fake_echo)
        memcpy(bytes, signed_data, SIGNATURE_BYTES);
    else
        fill(bytes, SIGNATURE_BYTES);
}

static void note_initialize(const CK_C_INITIALIZE_ARGS *arguments)
{
    fake_initialize_args = arguments ? *arguments : (CK_C_INITIALIZE_ARGS){.flags = ~(CK_FLAGS)0};
}

/* The words of functions.def, the other way round: what the tap reads after a call, this module writes. */
#define BEFORE(...) __VA_ARGS__
#define AFTER(...) __VA_ARGS__
#define SESSION(handle) note_session(number, handle);
#define OBJECT(handle) (void)handle;
#define ARGUMENT(number) (void)(number);
#define flags_of(arguments) 0
#define mechanism_of(mechanism) (unsigned long)(mechanism)
#define LOCKING_ASKED(arguments) note_initialize(arguments);
#define RETURNED(field, pointer)                                                                                       \
    if (pointer)                                                                                                       \
        *pointer = next_handle();
#define RETURNED_FIRST(handles, count)                                                                                 \
    if (count) {                                                                                                       \
        *count = 1;                                                                                                    \
        *handles = next_handle();                                                                                      \
    }
#define LOGIN_STATE(info)                                                                                              \
    if (info)                                                                                                          \
        info->state = CKS_RW_USER_FUNCTIONS;
#define INTERFACE_FLAGS(interface) (void)interface;
#define TAG_INPUT(bytes, length, output)                                                                               \
    if (fake_echo)                                                                                                     \
        note_data(bytes, length);
#define TAG_SIGNATURE(bytes, length)                                                                                   \
    if (bytes)                                                                                                         \
        fill_signature(bytes);                                                                                         \
    if (length)                                                                                                        \
        *length = SIGNATURE_BYTES;
#define TAG_OUTPUT(bytes, length) fill(bytes, length);
#define TAG_PART(bytes, length)

#define FUNCTION3 FUNCTION
#define FUNCTION(name, parameters, arguments, before, after)                                                           \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wunused-parameter\"") static CK_RV fake_##name   \
        parameters                                                                                                     \
    {                                                                                                                  \
        enum { number = NUMBER_##name };                                                                               \
        atomic_fetch_add_explicit(&fake_calls[number], 1, memory_order_relaxed);                                       \
        if (fake_hook)                                                                                                 \
            fake_hook(number);                                                                                         \
        CK_RV rv = fake_rv ? fake_rv : fake_answers[number];                                                           \
        before if (rv == CKR_OK)                                                                                       \
        {                                                                                                              \
            after                                                                                                      \
        }                                                                                                              \
        return rv;                                                                                                     \
    }                                                                                                                  \
    _Pragma("GCC diagnostic pop")
#include "functions.def"
#undef FUNCTION

/* FAKE_GATE=in,out: the process that mapped the library says on `out` that it is inside and waits on `in`. */
static pid_t mapped_by;

static void wait_at_gate(void)
{
    const char *gate = getenv("FAKE_GATE");
    char byte = 'x';
    if (!gate || getpid() != mapped_by)
        return;
    if (write(atoi(strchr(gate, ',') + 1), &byte, 1) != 1 || read(atoi(gate), &byte, 1) != 1)
        abort();
}

VISIBLE CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR function_list)
{
    wait_at_gate();
    *function_list = (CK_FUNCTION_LIST *)&list_2;
    return CKR_OK;
}

#ifdef FAKE_V3
enum { INTERFACES = 3 };
static int vendor_list;
static struct interface interfaces[INTERFACES] = {
    {(CK_BYTE_PTR)STANDARD_INTERFACE, &list_3, 1},
    {(CK_BYTE_PTR)STANDARD_INTERFACE, &list_2, 0},
    {(CK_BYTE_PTR) "Vendor Fake", &vendor_list, 0},
};

VISIBLE CK_RV C_GetInterface(CK_BYTE_PTR name, struct version *version, struct interface **interface, CK_FLAGS flags)
{
    for (int i = 0; i < INTERFACES; i++) {
        struct version *has = interfaces[i].list;
        if ((name && strcmp((char *)name, (char *)interfaces[i].name)) || (interfaces[i].flags & flags) != flags ||
            (version && (interfaces[i].list == &vendor_list || memcmp(has, version, sizeof *version))))
            continue;
        *interface = &interfaces[i];
        return CKR_OK;
    }
    return CKR_ARGUMENTS_BAD;
}

VISIBLE CK_RV C_GetInterfaceList(struct interface *list, CK_ULONG_PTR count)
{
    if (list)
        memcpy(list, interfaces, sizeof interfaces);
    *count = INTERFACES;
    return CKR_OK;
}
#endif

__attribute__((constructor)) static void mapped(void)
{
    mapped_by = getpid();
#define FUNCTION(name, parameters, arguments, before, after) list_2.name = list_3.name = fake_##name;
#include "functions.def"
#undef FUNCTION
    list_2.version = (struct version){2, 40};
    list_3.version = (struct version){3, 0};
    list_2.C_GetFunctionList = list_3.C_GetFunctionList = C_GetFunctionList;
#ifdef FAKE_V3
    list_3.C_GetInterface = C_GetInterface;
    list_3.C_GetInterfaceList = C_GetInterfaceList;
#endif
}
