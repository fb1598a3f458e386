/* What a call's row keeps: the words that functions.def uses, and what stands behind them.
 *
 * A word is a statement on `row` in the wrapper of a function, where the function's parameters are in scope.
 */
#ifndef LAB_KEPT_H
#define LAB_KEPT_H

#include <stdbool.h>
#include <string.h>

#include <p11-kit/pkcs11.h>

#include "rows.h"
#include "tags.h"

#define LOCKING_CHANGED 128

enum locking_override { KEEP_LOCKING, DECLARE_OS, DECLARE_NONE };

static struct siphash_key tag_key;
static enum locking_override locking_override;
static char *init_string; /* for callers of C_Initialize that give none in pReserved; NULL: none for them either */

/* A copy, for servers write the titles of their processes over their environment. */
static bool keep_init_string(const char *text)
{
    init_string = text && *text ? strdup(text) : NULL;
    return !text || !*text || init_string;
}

static inline u64 tag_of(const void *bytes, u64 length)
{
    return tag_with(&tag_key, bytes, length);
}

static inline u64 mechanism_of(const CK_MECHANISM *mechanism)
{
    return mechanism ? mechanism->mechanism : 0;
}

static inline u64 flags_of(const CK_C_INITIALIZE_ARGS *arguments)
{
    return arguments ? arguments->flags : 0;
}

static u8 locking_of(const CK_C_INITIALIZE_ARGS *arguments)
{
    if (!arguments)
        return LOCKING_null_argument;
    bool callbacks =
        arguments->CreateMutex || arguments->DestroyMutex || arguments->LockMutex || arguments->UnlockMutex;
    if (arguments->flags & CKF_OS_LOCKING_OK)
        return callbacks ? LOCKING_os_and_callbacks : LOCKING_os;
    return callbacks ? LOCKING_callbacks : LOCKING_no_flags;
}

static bool overrides(u8 locking)
{
    if (locking_override == DECLARE_NONE)
        return locking != LOCKING_null_argument && locking != LOCKING_no_flags;
    return locking_override == DECLARE_OS && locking != LOCKING_os;
}

/* What the real module is told: `changed` is filled and returned where it is not what the caller said. An init string
 * needs the structure: a NULL argument is then one without flags, which declares the same. */
static CK_C_INITIALIZE_ARGS *arguments_told(CK_C_INITIALIZE_ARGS *asked, CK_C_INITIALIZE_ARGS *changed)
{
    bool overridden = overrides(locking_of(asked)), lacks_string = init_string && !(asked && asked->pReserved);
    if (!overridden && !lacks_string)
        return asked;
    *changed = asked ? *asked : (CK_C_INITIALIZE_ARGS){0};
    if (lacks_string)
        changed->pReserved = init_string;
    if (overridden) {
        *changed = (CK_C_INITIALIZE_ARGS){.flags = changed->flags & ~(CK_FLAGS)CKF_OS_LOCKING_OK,
                                          .pReserved = changed->pReserved};
        if (locking_override == DECLARE_OS)
            changed->flags |= CKF_OS_LOCKING_OK;
        else if (!changed->pReserved && !changed->flags)
            return NULL;
    }
    return changed;
}

static u8 locking_asked(const CK_C_INITIALIZE_ARGS *asked)
{
    u8 locking = locking_of(asked);
    return (u8)(locking | (overrides(locking) ? LOCKING_CHANGED : 0));
}

#define BEFORE(...) __VA_ARGS__
#define AFTER(...) __VA_ARGS__
#define SESSION(handle) row->session = handle;
#define OBJECT(handle) row->object = handle;
#define ARGUMENT(number) row->argument = number;
#define LOCKING_ASKED(init_args) row->locking = locking_asked(init_args);
#define RETURNED(field, pointer)                                                                                       \
    if (pointer)                                                                                                       \
        row->field = *pointer;
#define RETURNED_FIRST(handles, count)                                                                                 \
    if (count) {                                                                                                       \
        row->argument = *count;                                                                                        \
        row->object = *count && handles ? *handles : 0;                                                                \
    }
#define LOGIN_STATE(info)                                                                                              \
    if (info)                                                                                                          \
        row->argument = info->state;
#define INTERFACE_FLAGS(interface)                                                                                     \
    if (interface && *interface)                                                                                       \
        row->argument = (*interface)->flags;
#define TAG_INPUT(bytes, length, output)                                                                               \
    if (output)                                                                                                        \
        row->argument = tag_of(bytes, bytes ? length : 0);
#define TAG_SIGNATURE(bytes, length)                                                                                   \
    if (bytes && length)                                                                                               \
        row->tag = tag_of_signature(&tag_key, bytes, *length);
#define TAG_PART(bytes, length) TAG_OUTPUT(bytes, length)
#define TAG_OUTPUT(bytes, length)                                                                                      \
    if (bytes && length)                                                                                               \
        row->tag = tag_of(bytes, length);

#endif
