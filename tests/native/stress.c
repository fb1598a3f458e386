/* Programs in miniature that call a module through the tap: many threads, many processes, forks at bad moments.
 *
 * stress TAP FAKE MODE THREADS CALLS
 * Every process prints one line, "<pid> <calls it made>", so that the test can count rows against calls.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <p11-kit/pkcs11.h>

#define FORKS 50
#define CHECK(condition) ((condition) ? (void)0 : give_up(#condition, __LINE__))

static void *tap, *fake;
static CK_FUNCTION_LIST *module;
static int threads;
static unsigned long calls_each;
static _Atomic unsigned long calls;
static _Atomic bool stop;

static void give_up(const char *what, int line)
{
    dprintf(STDERR_FILENO, "stress.c:%d: %s\n", line, what);
    abort();
}

static void called(CK_RV rv)
{
    CHECK(rv == CKR_OK);
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
}

static void report(void)
{
    dprintf(STDOUT_FILENO, "%d %lu\n", (int)getpid(), atomic_load(&calls));
}

static void get_list(void)
{
    CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(tap, "C_GetFunctionList");
    CHECK(get && get(&module) == CKR_OK && module);
}

static void sign(CK_SESSION_HANDLE session)
{
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_BYTE data[32] = {1}, signature[64];
    CK_ULONG length = sizeof signature;
    called(module->C_SignInit(session, &mechanism, 7));
    called(module->C_Sign(session, data, sizeof data, signature, &length));
}

static void *work(void *unused)
{
    CK_SESSION_HANDLE session;
    (void)unused;
    called(module->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session));
    for (unsigned long i = 0; i < calls_each; i++)
        sign(session);
    called(module->C_CloseSession(session));
    return NULL;
}

static void *work_until_stopped(void *unused)
{
    (void)unused;
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        sign(1);
    return NULL;
}

static void run_threads(void)
{
    pthread_t workers[threads];
    for (int i = 0; i < threads; i++)
        CHECK(!pthread_create(&workers[i], NULL, work, NULL));
    for (int i = 0; i < threads; i++)
        CHECK(!pthread_join(workers[i], NULL));
}

static void wait_for_child(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Forks a child that does `body` and reports; its calls are counted from zero. */
static pid_t fork_child(void (*body)(void))
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid)
        return pid;
    atomic_store(&calls, 0);
    body();
    report();
    _exit(0);
}

static void prefork(void)
{
    called(module->C_Initialize(NULL));
    pid_t children[4];
    for (int i = 0; i < 4; i++)
        children[i] = fork_child(run_threads);
    run_threads();
    for (int i = 0; i < 4; i++)
        wait_for_child(children[i]);
}

static void sign_thrice(void)
{
    for (int i = 0; i < 3; i++)
        sign(1);
}

static void fork_busy(void)
{
    pthread_t workers[threads];
    for (int i = 0; i < threads; i++)
        CHECK(!pthread_create(&workers[i], NULL, work_until_stopped, NULL));
    for (int i = 0; i < FORKS; i++)
        wait_for_child(fork_child(sign_thrice));
    atomic_store(&stop, true);
    for (int i = 0; i < threads; i++)
        CHECK(!pthread_join(workers[i], NULL));
}

static void fork_grandchild(void)
{
    sign_thrice();
    wait_for_child(fork_child(sign_thrice));
    sign(1);
}

static void nested(void)
{
    sign(1);
    wait_for_child(fork_child(fork_grandchild));
    sign(1);
}

/* The module itself forks inside C_Sign, and the call returns in both processes. */
static pid_t forked;

static void fork_in_sign(int number)
{
    if (number == 44)
        CHECK((forked = fork()) >= 0);
}

static void set_hook(void (*hook)(int))
{
    void (**at)(int) = dlsym(fake, "fake_hook");
    CHECK(at);
    *at = hook;
}

static void fork_inside(void)
{
    sign(1);
    set_hook(fork_in_sign);
    sign(1);
    set_hook(NULL);
    if (forked == 0) {
        atomic_store(&calls, 0);
        sign_thrice();
        report();
        _exit(0);
    }
    wait_for_child(forked);
    sign(1);
}

static void die_in_sign(int number)
{
    if (number == 44)
        raise(SIGKILL);
}

static void kill_inside(void)
{
    sign(1);
    set_hook(die_in_sign);
    sign(1);
}

/* All threads ask for the list at once, before anybody has. */
static pthread_barrier_t start;

static void *load_at_once(void *list)
{
    CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(tap, "C_GetFunctionList");
    pthread_barrier_wait(&start);
    CHECK(get(list) == CKR_OK);
    called((*(CK_FUNCTION_LIST **)list)->C_GetInfo(&(CK_INFO){.flags = 0}));
    return NULL;
}

static void loading_race(void)
{
    pthread_t loaders[threads];
    CK_FUNCTION_LIST *lists[threads];
    CHECK(!pthread_barrier_init(&start, NULL, (unsigned)threads));
    for (int i = 0; i < threads; i++)
        CHECK(!pthread_create(&loaders[i], NULL, load_at_once, &lists[i]));
    for (int i = 0; i < threads; i++)
        CHECK(!pthread_join(loaders[i], NULL) && lists[i] == lists[0]);
}

static void *load(void *unused)
{
    get_list();
    return unused;
}

static void load_and_sign(void)
{
    get_list();
    sign_thrice();
}

/* A thread is in the middle of loading the real module when another one forks. */
static void fork_while_loading(void)
{
    int in[2], out[2];
    char gate[32], byte = 'x';
    pthread_t loader;
    CHECK(!pipe(in) && !pipe(out));
    snprintf(gate, sizeof gate, "%d,%d", in[0], out[1]);
    setenv("FAKE_GATE", gate, 1);
    CHECK(!pthread_create(&loader, NULL, load, NULL));
    CHECK(read(out[0], &byte, 1) == 1);
    pid_t child = fork_child(load_and_sign);
    wait_for_child(child);
    CHECK(write(in[1], &byte, 1) == 1);
    CHECK(!pthread_join(loader, NULL));
    sign_thrice();
}

/* The caller says that its buffer is larger than it is: for proving that AddressSanitizer looks. */
static void overrun(void)
{
    CK_BYTE data[32] = {1}, *signature = malloc(32);
    CK_ULONG length = 64;
    called(module->C_Sign(1, data, sizeof data, signature, &length));
    free(signature);
}

/* Unloads the tap and maps it again, many times; the real module must go and come with it. */
static void reload(const char *tap_path, const char *fake_path)
{
    dlclose(fake);
    for (unsigned long i = 0; i < calls_each; i++) {
        sign(1);
        CHECK(!dlclose(tap));
        CHECK(!dlopen(fake_path, RTLD_NOW | RTLD_NOLOAD));
        CHECK((tap = dlopen(tap_path, RTLD_NOW | RTLD_LOCAL)));
        get_list();
    }
}

int main(int count, char **argument)
{
    static const struct {
        const char *name;
        void (*run)(void);
        bool loads_itself;
    } modes[] = {{"threads", run_threads, false},         {"prefork", prefork, false},
                 {"fork-busy", fork_busy, false},         {"nested", nested, false},
                 {"fork-inside", fork_inside, false},     {"kill-inside", kill_inside, false},
                 {"loading-race", loading_race, true},    {"fork-while-loading", fork_while_loading, true},
                 {"overrun", overrun, false}};
    CHECK(count == 6);
    CHECK((tap = dlopen(argument[1], RTLD_NOW | RTLD_LOCAL)));
    CHECK((fake = dlopen(argument[2], RTLD_NOW | RTLD_LOCAL)));
    threads = atoi(argument[4]);
    calls_each = strtoul(argument[5], NULL, 10);
    if (!strcmp(argument[3], "reload")) {
        get_list();
        reload(argument[1], argument[2]);
        report();
        return 0;
    }
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(argument[3], modes[i].name))
            continue;
        if (!modes[i].loads_itself)
            get_list();
        modes[i].run();
        report();
        return 0;
    }
    return 2;
}
