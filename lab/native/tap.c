/* The tap: a PKCS#11 module that forwards every call to the real module and keeps one row of it (DESIGN.md, section 4).
 *
 * Environment, read when the first function list is asked for:
 *   LAB_TAP_MODULE    path of the real module
 *   LAB_TAP_DIR       folder of the files calls-<pid>.rows (calls-<pid>-2.rows, ... where the name is taken)
 *   LAB_TAP_KEY       32 hexadecimal digits, the key of the tags; absent: random, of this process and its children
 *   LAB_TAP_LOCKING   os | none: what C_Initialize declares instead of what its caller asked; pReserved is kept
 *   LAB_TAP_SESSIONS  read-write: what each C_OpenSession asks for, whatever its caller did
 *   LAB_TAP_INIT      init string that C_Initialize gets in pReserved where its caller gives none: NSS cannot do without,
 *                     and OpenSSL's libraries and p11-kit have none to give
 *   LAB_TAP_ROWS      rows for which each process reserves addresses; 16 Mi by default
 * Without a module or a folder, C_GetFunctionList answers CKR_GENERAL_ERROR and stderr has one line that says why.
 * Where only recording fails, calls are still forwarded.
 *
 * Every function has two wrappers: `plain` forwards to the list of C_GetFunctionList (v2.40), and `modern` to the first
 * v3.x list that the program got, since a module may implement them differently. Exported symbols are the plain ones.
 * C_GetFunctionList is recorded only when it is called through a list, C_GetInterface and C_GetInterfaceList always.
 *
 * One thing differs from having no tap: the real module's C_GetFunctionList is asked once per process tree, so two
 * users of p11-kit's proxy in one process, which gives a new list at each request, would share one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/random.h>

#include "kept.h"
#include "lists.h"
#include "process.h"

#define MAX_MODERN_LISTS 4
#define MAX_INTERFACES 16

enum { NOT_LOADED, LOADED, UNUSABLE };

/* The real module, as it is and with the four functions below that change something on the way. */
static struct function_list plain_real, plain, modern_real, modern;
/* What callers get. */
static struct function_list plain_list;
static struct {
    _Atomic(void *) source;
    struct function_list list;
} modern_lists[MAX_MODERN_LISTS];
static struct {
    _Atomic(void *) source;
    struct interface interface;
} interfaces[MAX_INTERFACES];

static _Atomic int loading; /* NOT_LOADED, LOADED, UNUSABLE; that somebody is at it is said in the wiped page */
static void *module;

/* The wrappers. */

static bool load(void);

static inline bool loaded(void)
{
    return __builtin_expect(atomic_load_explicit(&loading, memory_order_acquire) == LOADED, 1) || load();
}

#define WRAPPER(set, number, name, parameters, arguments, before, after)                                               \
    static CK_RV set##_##name parameters                                                                               \
    {                                                                                                                  \
        if (!loaded())                                                                                                 \
            return CKR_GENERAL_ERROR;                                                                                  \
        struct call_row *row = number ? call_begin(number) : NULL;                                                     \
        u64 begun_in = row ? process->generation : 0;                                                                  \
        if (row) {                                                                                                     \
            before call_started(row);                                                                                  \
        }                                                                                                              \
        CK_RV rv = set.name ? set.name arguments : CKR_FUNCTION_NOT_SUPPORTED;                                         \
        if (row && call_returned(row, begun_in, rv)) {                                                                 \
            if (rv == CKR_OK) {                                                                                        \
                after                                                                                                  \
            }                                                                                                          \
            call_ended(row);                                                                                           \
        }                                                                                                              \
        return rv;                                                                                                     \
    }

/* The exported C_GetFunctionList is not recorded: who only looks at a module has not used it. In lists is the modern
 * one. */
#define UNLESS_EXPORTED_LIST(number) ((number) == NUMBER_C_GetFunctionList ? NUMBER_NONE : (number))

#define FUNCTION3 FUNCTION
#define FUNCTION(name, parameters, arguments, before, after)                                                           \
    WRAPPER(plain, UNLESS_EXPORTED_LIST(NUMBER_##name), name, parameters, arguments, before, after)                    \
    WRAPPER(modern, NUMBER_##name, name, parameters, arguments, before, after)
#include "functions.def"
#undef FUNCTION

/* Symbols of our own under the standard names. The wrappers stay static, so that no other module's C_Sign, linked into
 * the program, can take the place of ours in our lists. */
#define FUNCTION(name, parameters, arguments, before, after)                                                           \
    extern CK_RV exported_##name parameters __asm__(#name)                                                             \
        __attribute__((alias("plain_" #name), visibility("default")));
#include "functions.def"
#undef FUNCTION

/* Our list for one of the real module. A function that it lacks stays absent. */
static void fill_plain_list(void)
{
    plain_list.version = plain_real.version;
#define FUNCTION(name, parameters, arguments, before, after)                                                           \
    if (plain_real.name)                                                                                               \
        plain_list.name = plain_##name;
#include "functions.def"
#undef FUNCTION
    if (plain_real.C_GetFunctionList)
        plain_list.C_GetFunctionList = modern_C_GetFunctionList;
}

static void fill_modern_list(struct function_list *list, const struct function_list *real)
{
    list->version = real->version;
#define FUNCTION(name, parameters, arguments, before, after) list->name = real->name ? modern_##name : NULL;
#include "functions.def"
#undef FUNCTION
    if (real->version.minor >= 2) /* handed on as they are, and not recorded */
        memcpy(list->added_by_3_2, real->added_by_3_2, sizeof list->added_by_3_2);
}
#undef FUNCTION3

/* What is done on the way to the real module. */

static CK_RV initialize(CK_RV (*real)(CK_VOID_PTR), CK_VOID_PTR asked)
{
    CK_C_INITIALIZE_ARGS changed;
    return real ? real(arguments_told(asked, &changed)) : CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_FLAGS more_session_flags;

static CK_RV plain_open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
                                CK_SESSION_HANDLE_PTR session)
{
    return plain_real.C_OpenSession
               ? plain_real.C_OpenSession(slot, flags | more_session_flags, application, notify, session)
               : CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_RV modern_open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
                                 CK_SESSION_HANDLE_PTR session)
{
    return modern_real.C_OpenSession
               ? modern_real.C_OpenSession(slot, flags | more_session_flags, application, notify, session)
               : CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_RV plain_initialize(CK_VOID_PTR init_args)
{
    return initialize(plain_real.C_Initialize, init_args);
}

static CK_RV modern_initialize(CK_VOID_PTR init_args)
{
    return initialize(modern_real.C_Initialize, init_args);
}

static CK_RV get_function_list(CK_FUNCTION_LIST_PTR_PTR function_list)
{
    if (!function_list)
        return CKR_ARGUMENTS_BAD;
    *function_list = (CK_FUNCTION_LIST *)&plain_list;
    return CKR_OK;
}

/* Our list in place of a real one of a standard interface; the real one where it has no shape that we know. The caller
 * holds the lister's lock. */
static void *own_list(struct function_list *real)
{
    if (real->version.major == 2)
        return &plain_list;
    for (int i = 0; real->version.major == 3 && real->version.minor <= 2 && i < MAX_MODERN_LISTS; i++) {
        void *source = atomic_load_explicit(&modern_lists[i].source, memory_order_relaxed);
        if (source == real)
            return &modern_lists[i].list;
        if (source)
            continue;
        if (i == 0) {
            memcpy(&modern_real, real, offsetof(struct function_list, added_by_3_2));
#define FUNCTION3 FUNCTION
#define FUNCTION(name, parameters, arguments, before, after)                                                           \
    if (NUMBER_##name != NUMBER_C_GetFunctionList && NUMBER_##name != NUMBER_C_Initialize &&                           \
        NUMBER_##name != NUMBER_C_OpenSession && NUMBER_##name != NUMBER_C_GetInterface &&                             \
        NUMBER_##name != NUMBER_C_GetInterfaceList)                                                                    \
        modern.name = modern_real.name;
#include "functions.def"
#undef FUNCTION
#undef FUNCTION3
        }
        fill_modern_list(&modern_lists[i].list, real);
        atomic_store_explicit(&modern_lists[i].source, real, memory_order_release);
        return &modern_lists[i].list;
    }
    complain_once("a function list of unknown version is handed on, its calls are not recorded", NULL);
    return real;
}

/* Replaces the list of a standard interface by ours. Vendors' own are handed on untouched. */
static void replace_list(struct interface *interface)
{
    if (!interface->name || strcmp((char *)interface->name, STANDARD_INTERFACE) || !interface->list ||
        !process_lock(&process->lister))
        return;
    interface->list = own_list(interface->list);
    process_unlock(&process->lister);
}

/* Real modules without C_GetInterface, as a caller knows them: one v2.40 interface without flags. CKR_ARGUMENTS_BAD for
 * anything else is what NSS answers, and on it pkcs11-provider and p11-kit ask for less and then for
 * C_GetFunctionList. */
static struct interface plain_interface = {(CK_BYTE_PTR)STANDARD_INTERFACE, &plain_list, 0};

static CK_RV get_plain_interface(CK_BYTE_PTR name, const struct version *version, struct interface **interface,
                                 CK_FLAGS flags)
{
    if (!interface || flags || (name && strcmp((char *)name, STANDARD_INTERFACE)) ||
        (version && (version->major != plain_list.version.major || version->minor != plain_list.version.minor)))
        return CKR_ARGUMENTS_BAD;
    *interface = &plain_interface;
    return CKR_OK;
}

static CK_RV get_interface(CK_BYTE_PTR name, struct version *version, struct interface **interface, CK_FLAGS flags)
{
    if (!plain_real.C_GetInterface)
        return get_plain_interface(name, version, interface, flags);
    CK_RV rv = plain_real.C_GetInterface(name, version, interface, flags);
    if (rv != CKR_OK || !interface || !*interface || !process_lock(&process->lister))
        return rv;
    struct interface *real = *interface;
    for (int i = 0; i < MAX_INTERFACES; i++) {
        void *source = atomic_load_explicit(&interfaces[i].source, memory_order_relaxed);
        if (source && source != real)
            continue;
        if (!source) {
            interfaces[i].interface = *real;
            if (real->name && !strcmp((char *)real->name, STANDARD_INTERFACE) && real->list)
                interfaces[i].interface.list = own_list(real->list);
            atomic_store_explicit(&interfaces[i].source, real, memory_order_release);
        }
        if (interfaces[i].interface.list != real->list)
            *interface = &interfaces[i].interface;
        break;
    }
    process_unlock(&process->lister);
    return rv;
}

static CK_RV get_interface_list(struct interface *list, CK_ULONG_PTR count)
{
    if (plain_real.C_GetInterfaceList) {
        CK_RV rv = plain_real.C_GetInterfaceList(list, count);
        for (CK_ULONG i = 0; rv == CKR_OK && list && count && i < *count; i++)
            replace_list(&list[i]);
        return rv;
    }
    if (!count)
        return CKR_ARGUMENTS_BAD;
    bool fits = *count >= 1;
    *count = 1;
    if (list && !fits)
        return CKR_BUFFER_TOO_SMALL;
    if (list)
        *list = plain_interface;
    return CKR_OK;
}

/* Loading. */

static bool read_key(const char *text)
{
    if (!text)
        return getrandom(&tag_key, sizeof tag_key, 0) == sizeof tag_key;
    return tag_key_read(text, &tag_key);
}

static bool read_rows(const char *text)
{
    char *end = NULL;
    unsigned long long rows = text ? strtoull(text, &end, 10) : rows_capacity;
    rows_capacity = rows;
    return rows && rows <= (u64)1 << 40 && (!text || (*text >= '0' && *text <= '9' && !*end));
}

static bool read_locking(const char *text)
{
    locking_override = !text ? KEEP_LOCKING : !strcmp(text, "os") ? DECLARE_OS : DECLARE_NONE;
    return locking_override != DECLARE_NONE || !strcmp(text, "none");
}

static bool read_sessions(const char *text)
{
    more_session_flags = text ? CKF_RW_SESSION : 0;
    return !text || !strcmp(text, "read-write");
}

static void *symbol(const char *name)
{
    void *found = dlsym(module, name);
    Dl_info theirs, ours;
    /* A tap that was linked or preloaded globally answers for the real module and would call itself for ever. */
    if (found && dladdr(found, &theirs) && dladdr(&loading, &ours) && theirs.dli_fbase == ours.dli_fbase)
        return NULL;
    return found;
}

/* NULL, or what is wrong. *detail gets its object. */
static const char *load_module(const char **detail)
{
    const char *path = *detail = getenv("LAB_TAP_MODULE"), *folder = getenv("LAB_TAP_DIR");
    if (process == &no_process)
        return "the kernel has no MADV_WIPEONFORK (Linux 4.14)";
    if (!path)
        return "LAB_TAP_MODULE names no module";
    *detail = folder;
    if (!folder)
        return "LAB_TAP_DIR names no folder";
    if (!realpath(folder, rows_folder)) /* absolute: daemons change their folder */
        return "LAB_TAP_DIR cannot be used";
    if (!read_key(getenv("LAB_TAP_KEY"))) {
        *detail = NULL; /* a key is not for logs */
        return "LAB_TAP_KEY is not 32 hexadecimal digits";
    }
    if (!read_rows(*detail = getenv("LAB_TAP_ROWS")))
        return "LAB_TAP_ROWS is not a number of rows";
    if (!read_locking(*detail = getenv("LAB_TAP_LOCKING")))
        return "LAB_TAP_LOCKING is neither os nor none";
    if (!read_sessions(*detail = getenv("LAB_TAP_SESSIONS")))
        return "LAB_TAP_SESSIONS is not read-write";
    *detail = NULL;
    if (!keep_init_string(getenv("LAB_TAP_INIT")))
        return "no memory for LAB_TAP_INIT";
    *detail = path;
    if (!(module = dlopen(path, RTLD_NOW | RTLD_LOCAL))) {
        *detail = dlerror();
        return "cannot load the real module";
    }
    CK_RV (*list)(CK_FUNCTION_LIST_PTR_PTR) = (CK_RV(*)(CK_FUNCTION_LIST_PTR_PTR))symbol("C_GetFunctionList");
    CK_FUNCTION_LIST *real = NULL;
    *detail = path;
    if (!list || list(&real) != CKR_OK || !real)
        return "the real module gives no function list";
    memcpy(&plain_real, real, sizeof *real);
    if (plain_real.C_Initialize == plain_C_Initialize)
        return "the real module's functions lead back to the tap";
#define FUNCTION(name, parameters, arguments, before, after)
#define FUNCTION3(name, parameters, arguments, before, after) plain_real.name = (CK_RV(*) parameters)symbol(#name);
#include "functions.def"
#undef FUNCTION
#undef FUNCTION3
    plain = plain_real;
    plain.C_Initialize = plain_initialize;
    modern.C_Initialize = modern_initialize;
    plain.C_OpenSession = plain_open_session;
    modern.C_OpenSession = modern_open_session;
    plain.C_GetFunctionList = modern.C_GetFunctionList = get_function_list;
    plain.C_GetInterfaceList = modern.C_GetInterfaceList = get_interface_list;
    plain.C_GetInterface = modern.C_GetInterface = get_interface;
    fill_plain_list();
    return NULL;
}

/* Loads the real module, once, whichever thread comes first; the others wait. That somebody is at it is said in the
 * wiped page, so a child that was forked meanwhile does it for itself. False where the tap is unusable. */
__attribute__((cold, noinline)) static bool load(void)
{
    int result = atomic_load_explicit(&loading, memory_order_acquire);
    if (result == NOT_LOADED && process_lock(&process->loader)) {
        result = atomic_load_explicit(&loading, memory_order_acquire);
        if (result == NOT_LOADED) {
            int errno_before = errno;
            const char *detail, *fault = load_module(&detail);
            if (fault)
                complain(fault, detail);
            result = fault ? UNUSABLE : LOADED;
            atomic_store_explicit(&loading, result, memory_order_release);
            errno = errno_before;
        }
        process_unlock(&process->loader);
    }
    return result == LOADED;
}

__attribute__((constructor)) static void mapped(void)
{
    process_page_create();
}

/* The program unloads the tap (or ends, where dlclose does nothing). The real module goes too, or a program that
 * unloads its module to get a fresh one would not get it. Rows stay mapped: at an exit, other threads may still be in a
 * call. */
__attribute__((destructor)) static void unmapped(void)
{
    if (atomic_load_explicit(&loading, memory_order_acquire) == LOADED)
        dlclose(module);
}
