/* The calling process as the tap knows it: who it is, and the file its calls go to.
 *
 * Rules that this keeps:
 * - No lock is ever held across a fork. What says "open" or "busy" lies in one page that the kernel wipes in a child
 *   (MADV_WIPEONFORK), so a child starts from zero whatever its parent's threads were doing.
 * - A child cannot touch its parent's rows: their mapping does not exist in it (MADV_DONTFORK). A call that was entered
 *   before a fork and returns in the child (a module that forks) ends in the parent's row only, by the parent.
 * - After start-up, a call costs no system call, no heap and no stdio. A child opens its file with system calls only.
 * - A failure to record is never a failure of the call: one line on stderr per process, and the call is forwarded.
 */
#ifndef LAB_PROCESS_H
#define LAB_PROCESS_H

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "rows.h"

enum { NOT_OPENED, OPENING, RECORDING, NOT_RECORDING };

#define MAX_FILES_PER_PID 10000

/* Zero in every new process. */
struct process {
    _Atomic u32 state;
    _Atomic u32 loader;     /* thread that is loading the real module; 0 for none */
    _Atomic u32 lister;     /* thread that is adding a function list; 0 for none */
    _Atomic u32 complained; /* 1 once the process has said on stderr that it loses rows */
    u32 pid;
    u64 generation; /* of this process; 0 until it is recording */
    struct rows rows;
};

/* What every process of the tree inherits. */
static struct process no_process = {.state = NOT_RECORDING};
static struct process *process = &no_process;
static u64 generation; /* one more than in any ancestor: thread-local storage is a copy of an ancestor's, never newer */
static char rows_folder[PATH_MAX];
static u64 rows_capacity = (u64)16 << 20;

/* Initial-exec: an offset from the thread pointer, where the default model would call into the loader. */
static __thread struct {
    u64 generation;
    u32 tid;
} thread_known __attribute__((tls_model("initial-exec")));

static void complain(const char *what, const char *detail)
{
    struct iovec line[] = {{(char *)"lab tap: ", 9},
                           {(char *)what, strlen(what)},
                           {(char *)": ", detail ? 2 : 0},
                           {(char *)detail, detail ? strlen(detail) : 0},
                           {(char *)"\n", 1}};
    if (writev(STDERR_FILENO, line, sizeof line / sizeof *line) < 0)
        return; /* nobody is listening */
}

static void complain_once(const char *what, const char *detail)
{
    if (!atomic_exchange_explicit(&process->complained, 1, memory_order_relaxed))
        complain(what, detail);
}

static u32 thread_id(void)
{
    return (u32)syscall(SYS_gettid);
}

/* A spin lock in the wiped page, for rare work. False where this thread has it already: the caller is re-entered. */
static bool process_lock(_Atomic u32 *lock)
{
    u32 self = thread_id();
    for (;;) {
        u32 owner = 0;
        if (atomic_compare_exchange_strong_explicit(lock, &owner, self, memory_order_acquire, memory_order_relaxed))
            return true;
        if (owner == self)
            return false;
        sched_yield();
    }
}

static void process_unlock(_Atomic u32 *lock)
{
    atomic_store_explicit(lock, 0, memory_order_release);
}

/* Called once, when the library is mapped. Without a page of its own the tap is unusable. */
static bool process_page_create(void)
{
    void *page = mmap(NULL, sizeof(struct process), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return false;
    if (madvise(page, sizeof(struct process), MADV_WIPEONFORK)) {
        munmap(page, sizeof(struct process));
        return false;
    }
    process = page;
    return true;
}

static char *append_text(char *at, const char *text)
{
    size_t length = strlen(text);
    memcpy(at, text, length + 1);
    return at + length;
}

static char *append_number(char *at, u32 number)
{
    char digits[11], *first = digits + sizeof digits - 1;
    *first = 0;
    do
        *--first = (char)('0' + number % 10);
    while (number /= 10);
    return append_text(at, first);
}

/* Who this is, for people: the name of its program's file, and its parent. Never an argument: those may hold a PIN. */
static void process_introduce(void)
{
    struct rows_header *header = process->rows.header;
    header->parent = (u32)getppid();
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return; /* no /proc here, as in a chroot */
    path[length] = 0;
    char *name = strrchr(path, '/');
    memccpy(header->program, name ? name + 1 : path, 0, sizeof header->program - 1); /* its page was all zeros */
}

/* A name may be taken: a pid comes round again, and a program may unload the tap and load it afresh. */
static int process_open_file(void)
{
    char path[PATH_MAX + 64];
    char *end = append_number(append_text(append_text(path, rows_folder), "/calls-"), process->pid);
    append_text(end, ".rows");
    for (u32 file = 2;; file++) {
        int error = rows_open(&process->rows, path, ROWS_OF_CALLS, ROW_BYTES, rows_capacity, 0);
        if (error != EEXIST || file == MAX_FILES_PER_PID)
            return error;
        append_text(append_number(append_text(end, "-"), file), ".rows");
    }
}

/* Opens the process's file, once, whichever thread comes first. False where it cannot record. */
__attribute__((cold, noinline)) static bool process_open(void)
{
    u32 state = NOT_OPENED;
    if (atomic_compare_exchange_strong_explicit(&process->state, &state, OPENING, memory_order_acq_rel,
                                                memory_order_acquire)) {
        int errno_before = errno, cancel_before;
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_before);
        process->pid = (u32)getpid();
        int error = process_open_file();
        if (!error) {
            process_introduce();
            struct rows_header *header = process->rows.header;
            madvise(header, ROWS_HEADER_BYTES + header->capacity * ROW_BYTES, MADV_DONTFORK);
            process->generation = ++generation;
        } else {
            complain_once("calls of this process are not recorded", strerrordesc_np(error));
        }
        state = error ? NOT_RECORDING : RECORDING;
        atomic_store_explicit(&process->state, state, memory_order_release);
        pthread_setcancelstate(cancel_before, NULL);
        errno = errno_before;
    }
    while (state == OPENING) {
        sched_yield();
        state = atomic_load_explicit(&process->state, memory_order_acquire);
    }
    return state == RECORDING;
}

__attribute__((cold, noinline)) static void process_learn_thread(void)
{
    thread_known.tid = thread_id();
    thread_known.generation = process->generation;
}

/* A row of this process with all that does not depend on the function, or NULL where the call is not recorded. */
static inline struct call_row *call_begin(u8 function)
{
    if (__builtin_expect(atomic_load_explicit(&process->state, memory_order_acquire) != RECORDING, 0) &&
        !process_open())
        return NULL;
    u64 index;
    struct call_row *row = rows_claim(&process->rows, &index);
    if (__builtin_expect(!row, 0)) {
        complain_once("calls of this process are lost", "no room for rows");
        return NULL;
    }
    if (__builtin_expect(thread_known.generation != process->generation, 0))
        process_learn_thread();
    row->pid = process->pid;
    row->tid = thread_known.tid;
    row->function = function;
    return row;
}

static inline void call_started(struct call_row *row)
{
    row->started_ns = now_ns();
    __atomic_store_n(&row->state, ROW_BEGUN, __ATOMIC_RELEASE);
}

/* True where the row is still this process's, so that the caller may complete and end it. */
static inline bool call_returned(struct call_row *row, u64 begun_in, u64 ckr)
{
    if (__builtin_expect(process->generation != begun_in, 0))
        return false;
    row->ended_ns = now_ns();
    row->ckr = (u32)ckr;
    return true;
}

static inline void call_ended(struct call_row *row)
{
    __atomic_store_n(&row->state, ROW_ENDED, __ATOMIC_RELEASE);
}

#endif
