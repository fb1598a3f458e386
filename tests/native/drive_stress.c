/* The loops in front of the tap in front of the fake module, with this program in the place of the worker in Python.
 *
 * drive_stress TAP FAKE MODE THREADS OPERATIONS
 * Each process makes drives of its own in LAB_TAP_DIR. It prints "<pid> <calls it made>", so that the test can count the
 * tap's rows, and "operations <file> <rows>" for each file of operations.
 */
#include "drive.c"

#include <dlfcn.h>
#include <stdio.h>
#include <sys/wait.h>

#define CHECK(condition) ((condition) ? (void)0 : give_up(#condition, __LINE__))

enum { CHILDREN = 4, POOL = 2, OUTPUT_BYTES = 64, CAPACITY = 1 << 22, CLOSED_NS = 2000000 };

static CK_FUNCTION_LIST *module;
static u32 threads;
static u64 operations;
static u64 calls;
static u32 drives; /* made by this process and its ancestors: file names differ */

static void give_up(const char *what, int line)
{
    dprintf(STDERR_FILENO, "drive_stress.c:%d: %s\n", line, what);
    abort();
}

/* A way to use sessions, and the calls of one operation. */
static const struct part {
    u32 kind, session_use, calls;
} parts[] = {{KIND_sign, SESSION_OWN, 2},           {KIND_sign, SESSION_POOL, 2}, {KIND_sign, SESSION_PER_OPERATION, 4},
             {KIND_random, SESSION_POOL, 1},        {KIND_random, SESSION_OWN, 1},
             {KIND_session_churn, SESSION_NONE, 2}, {KIND_null, SESSION_NONE, 0}};
enum { PARTS = sizeof parts / sizeof *parts };

struct player {
    pthread_t thread;
    struct drive *drive;
    struct load load;
    i64 begun;
};

static void *play(void *given)
{
    struct player *player = given;
    player->begun = drive_run(player->drive, &player->load);
    CHECK(player->begun >= 0);
    return NULL;
}

/* All threads at once on one drive. Returns the operations. */
static u64 play_together(struct drive *drive, struct load load, int stop)
{
    struct player players[threads];
    u64 begun = 0;
    for (u32 i = 0; i < threads; i++) {
        players[i] = (struct player){.drive = drive, .load = load};
        players[i].load.thread = i;
        CHECK(!pthread_create(&players[i].thread, NULL, play, &players[i]));
    }
    if (stop)
        drive_stop(drive);
    for (u32 i = 0; i < threads; i++) {
        CHECK(!pthread_join(players[i].thread, NULL));
        begun += (u64)players[i].begun;
    }
    return begun;
}

static struct drive *make_drive(const struct part *part, char *name, size_t name_bytes)
{
    char rows[4096], outputs[4096];
    int error = 0;
    u32 process = ++drives;
    CK_SESSION_HANDLE sessions[threads];
    for (u32 i = 0; i < threads; i++)
        sessions[i] = 100 + i;
    snprintf(name, name_bytes, "operations-%d-%u.rows", (int)getpid(), process);
    snprintf(rows, sizeof rows, "%s/%s", getenv("LAB_TAP_DIR"), name);
    snprintf(outputs, sizeof outputs, "%s/outputs-%d-%u.rows", getenv("LAB_TAP_DIR"), (int)getpid(), process);
    struct drive *drive = drive_open(rows, outputs, CAPACITY, OUTPUT_BYTES, process, &error);
    CHECK(drive);
    struct settings settings = {.bytes = sizeof settings,
                                .functions = (u64)(uintptr_t)module,
                                .sessions = (u64)(uintptr_t)sessions,
                                .session_count = part->session_use == SESSION_POOL ? POOL : threads,
                                .key = 7,
                                .mechanism = CKM_ECDSA,
                                .prefix = (u64)(uintptr_t) "DigestInfo",
                                .prefix_bytes = 10,
                                .digest_bytes = 32,
                                .seed = 42688,
                                .process = process,
                                .session_use = part->session_use,
                                .kind = part->kind};
    CHECK(!drive_set(drive, &settings));
    return drive;
}

static void play_part(const struct part *part)
{
    char name[128];
    struct drive *drive = make_drive(part, name, sizeof name);
    i64 arrivals[operations];
    for (u64 i = 0; i < operations; i++)
        arrivals[i] = (i64)i * 100;
    struct load open = {.bytes = sizeof open,
                        .arrivals = (u64)(uintptr_t)arrivals,
                        .arrival_count = operations,
                        .release_ns = now_ns(),
                        .warmup_ns = 1000,
                        .give_up_ns = INT64_MAX,
                        .phase = PHASE_measured};
    u64 begun = play_together(drive, open, 0);
    CHECK(begun == threads * operations);
    struct load closed = {.bytes = sizeof closed, .release_ns = now_ns(), .duration_ns = CLOSED_NS, .phase = PHASE_measured};
    begun += play_together(drive, closed, 0);
    CHECK(drive_once(drive, 0, PHASE_first, 0, 0) == CKR_OK);
    begun++;
    struct load background = closed;
    background.duration_ns = INT64_MAX / 2;
    background.phase = PHASE_background;
    begun += play_together(drive, background, 1);
    CHECK(atomic_load(&drive->rows.header->claimed) < CAPACITY);
    calls += begun * part->calls;
    dprintf(STDOUT_FILENO, "operations %s %llu\n", name, (unsigned long long)begun);
    drive_close(drive);
}

static void play_all(void)
{
    for (int i = 0; i < PARTS; i++)
        play_part(&parts[i]);
}

static void play_pool(void)
{
    play_part(&parts[1]);
}

static void report(void)
{
    dprintf(STDOUT_FILENO, "%d %llu\n", (int)getpid(), (unsigned long long)calls);
}

static void prefork(void)
{
    pid_t children[CHILDREN];
    CHECK(module->C_Initialize(NULL) == CKR_OK);
    calls++;
    for (int i = 0; i < CHILDREN; i++) {
        CHECK((children[i] = fork()) >= 0);
        if (children[i])
            continue;
        calls = 0;
        play_all();
        report();
        _exit(0);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;
        CHECK(waitpid(children[i], &status, 0) == children[i] && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    play_all(); /* the parent's context is as it was */
}

int main(int count, char **argument)
{
    CHECK(count == 6);
    void *tap = dlopen(argument[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(tap);
    CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(tap, "C_GetFunctionList");
    CHECK(get && get(&module) == CKR_OK);
    threads = (u32)atoi(argument[4]);
    operations = strtoull(argument[5], NULL, 10);
    if (!strcmp(argument[3], "threads"))
        play_all();
    else if (!strcmp(argument[3], "prefork"))
        prefork();
    else if (!strcmp(argument[3], "pool"))
        play_pool();
    else
        return 2;
    report();
    return 0;
}
