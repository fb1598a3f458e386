/* A PKCS#11 module that forwards everything to a real one and misbehaves once, where it is told to: for the tests that
 * ask what the lab does when a module crashes, hangs or lies.
 *
 *   MISCHIEF_MODULE   path of the real module
 *   MISCHIEF          ACTION@FUNCTION#N, at the N-th call of FUNCTION in a process (counted afresh in a forked child);
 *                     ACTION@FUNCTION#N+ at every call from the N-th; absent: behave
 *   MISCHIEF_ONCE     path: only the first process that manages to create this file misbehaves
 *   MISCHIEF_LOAD     sigsegv | hang: while it is loaded
 *   MISCHIEF_WHO      any (default) | root | child: root is the process that mapped this library, child one it forked
 *
 * ACTION
 *   sigsegv           writes to address 0
 *   sigkill           kills itself
 *   exit0             exit(0), as if all were well
 *   hang              sleeps for ever in mischief_hang
 *   fork-and-die      leaves a grandchild in a session of its own that sleeps 300 s, and exits 3
 *   wrong-signature   calls the real function and flips the last bit of what it signed
 *   error             answers CKR_DEVICE_ERROR without calling the real function
 *   refuse-pin        answers CKR_PIN_INCORRECT without calling the real function
 *   rubbish           writes to stdout, stderr and descriptor 3, and goes on
 *   daemon            leaves a process in a session of its own, with all descriptors, that sleeps 300 s, and goes on
 *   sigsegv-at-exit   goes on; the library's destructor writes to address 0
 *   hang-at-exit      goes on; the library's destructor sleeps for ever
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lists.h"

#define VISIBLE __attribute__((visibility("default")))
#define GRANDCHILD_S 300

enum action { BEHAVE, SIGSEGV_ACTION, SIGKILL_ACTION, EXIT0, HANG, FORK_AND_DIE, WRONG_SIGNATURE, ERROR,
              REFUSE_PIN, RUBBISH, DAEMON, SIGSEGV_AT_EXIT, HANG_AT_EXIT, ACTION_END };

static const char *const action_names[] = {
    [SIGSEGV_ACTION] = "sigsegv",
    [SIGKILL_ACTION] = "sigkill",
    [EXIT0] = "exit0",
    [HANG] = "hang",
    [FORK_AND_DIE] = "fork-and-die",
    [WRONG_SIGNATURE] = "wrong-signature",
    [ERROR] = "error",
    [REFUSE_PIN] = "refuse-pin",
    [RUBBISH] = "rubbish",
    [DAEMON] = "daemon",
    [SIGSEGV_AT_EXIT] = "sigsegv-at-exit",
    [HANG_AT_EXIT] = "hang-at-exit",
};

static const char *const function_names[] = {
    "",
#define FUNCTION3 FUNCTION
#define FUNCTION(name, parameters, arguments, before, after) #name,
#include "functions.def"
#undef FUNCTION3
#undef FUNCTION
};

static struct function_list real, list;
static enum action action, at_exit;
static int at_function;
static unsigned long at_call;
static bool and_after;
static const char *once, *who;
static pid_t root;
static _Atomic unsigned long *count; /* in a page that is wiped at a fork */

__attribute__((noinline)) VISIBLE void mischief_hang(void)
{
    for (;;)
        pause();
}

static void fork_and_die(void)
{
    if (fork() == 0) {
        setsid();
        sleep(GRANDCHILD_S);
        _exit(0);
    }
    _exit(3);
}

static void leave_daemon(void)
{
    if (fork() == 0) {
        setsid();
        sleep(GRANDCHILD_S);
        _exit(0);
    }
}

static void write_rubbish(void)
{
    static const char rubbish[] = "\xff{\"begun\": \n[1]\n{\"answered\":9}\n";
    for (int file = 1; file <= 3; file++)
        if (write(file, rubbish, sizeof rubbish - 1) < 0)
            continue;
}

static void crash(void)
{
    static volatile int *volatile nowhere; /* volatile itself, or the compiler may leave the whole call out */
    *nowhere = 0;
}

static bool is_chosen(void)
{
    if (who && strcmp(who, "any") && !strcmp(who, "root") != (getpid() == root))
        return false;
    if (!once)
        return true;
    int file = open(once, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file >= 0)
        close(file);
    return file >= 0;
}

/* What this call is to do; does what does not return. */
static enum action act(int function)
{
    if (function != at_function)
        return BEHAVE;
    unsigned long call = atomic_fetch_add(count, 1) + 1;
    if (call < at_call || (call > at_call && !and_after) || !is_chosen())
        return BEHAVE;
    switch (action) {
    case SIGSEGV_ACTION:
        crash();
        break;
    case SIGKILL_ACTION:
        raise(SIGKILL);
        break;
    case EXIT0:
        exit(0);
    case HANG:
        mischief_hang();
        break;
    case FORK_AND_DIE:
        fork_and_die();
        break;
    case RUBBISH:
        write_rubbish();
        break;
    case DAEMON:
        leave_daemon();
        break;
    case SIGSEGV_AT_EXIT:
    case HANG_AT_EXIT:
        at_exit = action;
        break;
    default:
        break;
    }
    return action;
}

#define AFTER(...) __VA_ARGS__
#define RETURNED(field, pointer)
#define RETURNED_FIRST(handles, count)
#define LOGIN_STATE(info)
#define INTERFACE_FLAGS(interface)
#define TAG_INPUT(bytes, length, output)
#define TAG_OUTPUT(bytes, length) bytes[length - 1] ^= 1;
#define TAG_PART(bytes, length)
#define TAG_SIGNATURE(bytes, length)                                                                                   \
    if (bytes && length && *length)                                                                                    \
        bytes[*length - 1] ^= 1;

#define FUNCTION3(name, parameters, arguments, before, after)
#define FUNCTION(name, parameters, arguments, before, after)                                                           \
    __attribute__((unused)) static CK_RV mischief_##name parameters                                                    \
    {                                                                                                                  \
        enum action now = act(NUMBER_##name);                                                                          \
        if (now == ERROR)                                                                                              \
            return CKR_DEVICE_ERROR;                                                                                   \
        if (now == REFUSE_PIN)                                                                                         \
            return CKR_PIN_INCORRECT;                                                                                  \
        CK_RV rv = real.name arguments;                                                                                \
        if (rv == CKR_OK && now == WRONG_SIGNATURE) {                                                                  \
            after                                                                                                      \
        }                                                                                                              \
        return rv;                                                                                                     \
    }
#include "functions.def"
#undef FUNCTION

static int index_of(const char *name, size_t length, const char *const *names, int end)
{
    for (int i = 1; i < end; i++)
        if (strlen(names[i]) == length && !memcmp(names[i], name, length))
            return i;
    return 0;
}

static bool read_mischief(const char *text)
{
    if (!text || !*text)
        return true;
    const char *at = strchr(text, '@'), *number = at ? strchr(at, '#') : NULL;
    if (!number)
        return false;
    char *end;
    action = (enum action)index_of(text, (size_t)(at - text), action_names, ACTION_END);
    at_function = index_of(at + 1, (size_t)(number - at - 1), function_names, NUMBER_END);
    at_call = strtoul(number + 1, &end, 10);
    and_after = *end == '+';
    return action && at_function && at_call && !end[and_after];
}

VISIBLE CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR function_list)
{
    if (!list.C_GetFunctionList)
        return CKR_GENERAL_ERROR;
    *function_list = (CK_FUNCTION_LIST *)&list;
    return CKR_OK;
}

__attribute__((constructor)) static void mapped(void)
{
    const char *path = getenv("MISCHIEF_MODULE"), *load = getenv("MISCHIEF_LOAD");
    if (load && *load)
        strcmp(load, "hang") ? crash() : mischief_hang();
    void *module = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    CK_C_GetFunctionList get = module ? (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList") : NULL;
    CK_FUNCTION_LIST *theirs;
    once = getenv("MISCHIEF_ONCE");
    who = getenv("MISCHIEF_WHO");
    root = getpid();
    count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!get || get(&theirs) != CKR_OK || count == MAP_FAILED || madvise(count, 4096, MADV_WIPEONFORK) ||
        !read_mischief(getenv("MISCHIEF"))) {
        dprintf(STDERR_FILENO, "mischief: MISCHIEF_MODULE or MISCHIEF cannot be used\n");
        return;
    }
    memcpy(&real, theirs, sizeof *theirs);
#define FUNCTION(name, parameters, arguments, before, after) list.name = mischief_##name;
#include "functions.def"
#undef FUNCTION
    list.version = real.version;
    list.C_GetFunctionList = C_GetFunctionList;
}

__attribute__((destructor)) static void unmapped(void)
{
    if (at_exit == SIGSEGV_AT_EXIT)
        crash();
    if (at_exit == HANG_AT_EXIT)
        mischief_hang();
}
