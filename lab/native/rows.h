/* Rows in a shared mapping of a file: what the tap and the loops write, and what survives any way to die.
 *
 * A file is one page of header and then rows of 64 bytes (of connections: 128). A row is written in two steps, before the
 * call and after it, so a SIGKILL between them leaves a row that says what was under way. Address space for all rows is
 * reserved at the start; disk blocks are allocated (not merely promised) in steps, so that a full disk is an error number
 * here and never a SIGBUS in the middle of a measurement. Any number of threads of one process append; no lock is taken.
 */
#ifndef LAB_ROWS_H
#define LAB_ROWS_H

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"

typedef int64_t i64;
typedef uint64_t u64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;

#define VALUE(field, number, name)
#define FIELD(row, type, name, meaning) FIELD_##row(type, name)
#define FIELD_call(type, name)
#define FIELD_connection(type, name)
#define FIELD_operation(type, name) type name;
struct operation_row {
#include "rows.def"
};
#undef FIELD_call
#undef FIELD_operation
#define FIELD_operation(type, name)
#define FIELD_call(type, name) type name;
struct call_row {
#include "rows.def"
};
#undef FIELD_call
#undef FIELD_connection
#define FIELD_call(type, name)
#define FIELD_connection(type, name) type name;
struct connection_row {
#include "rows.def"
};
#undef FIELD_call
#undef FIELD_connection
#undef FIELD_operation
#undef FIELD
#undef VALUE

#define FIELD(row, type, name, meaning)
#define VALUE(field, number, name) field##_##name = number,
enum row_values {
#include "rows.def"
};
#undef FIELD
#undef VALUE

enum { ROW_EMPTY, ROW_BEGUN, ROW_ENDED };
enum { ROWS_OF_OPERATIONS = 1, ROWS_OF_CALLS = 2, ROWS_OF_OUTPUTS = 3, ROWS_OF_CONNECTIONS = 4 };

#define ROWS_MAGIC "LABROWS1"
#define ROWS_HEADER_BYTES 4096
#define ROW_BYTES 64
#define CONNECTION_ROW_BYTES 128
#define PROGRAM_BYTES 60
#define ROWS_STEP_BYTES (256 << 10)      /* disk is allocated in multiples of this, */
#define ROWS_MOST_AHEAD_BYTES (16 << 20) /* and never more than this before it is needed */

_Static_assert(sizeof(struct operation_row) == ROW_BYTES, "an operation row is one cache line");
_Static_assert(sizeof(struct call_row) == ROW_BYTES, "a call row is one cache line");
_Static_assert(sizeof(struct connection_row) == CONNECTION_ROW_BYTES, "a connection row is two cache lines");

/* The first page of a file. `claimed` may exceed `capacity`: the rows above it are the lost ones. */
struct rows_header {
    char magic[8];
    u32 kind;
    u32 row_bytes;
    u32 pid;
    u32 process; /* index of the process in the trial, as its opener was told */
    i64 opened_ns;
    u64 capacity;          /* rows that fit in the reserved addresses */
    _Atomic u64 allocated; /* bytes of the file that have disk blocks */
    _Atomic u64 lost;      /* rows that could not be written: no disk, or beyond capacity */
    u64 padding;
    _Atomic u64 claimed; /* rows handed out: every thread writes it, so it has a cache line of its own */
    u64 padding2[7];
    u32 parent;                  /* calls: pid of the parent when the file was opened */
    char program[PROGRAM_BYTES]; /* calls: name of the program's file, without its folder; "" where it is not known */
};

struct rows {
    struct rows_header *header;
    int file;
    dev_t device; /* of the file, so that growth never lands in a stranger's */
    ino_t inode;
};

/* posix_fallocate gives up on a signal (tmpfs does), which is no reason to lose rows. Returns 0 or an error number. */
static inline int rows_fallocate(int file, off_t from, off_t bytes)
{
    int error;
    while ((error = posix_fallocate(file, from, bytes)) == EINTR) {
    }
    return error;
}

/* Makes `bytes` of the file real. Returns 0 or an error number. Threads may do it at the same time: it is idempotent.
 * A host program may have closed our descriptor (daemons close all) and have got its number for a file of its own. */
static inline int rows_allocate(const struct rows *rows, u64 bytes)
{
    struct rows_header *header = rows->header;
    u64 had = atomic_load_explicit(&header->allocated, memory_order_acquire);
    if (bytes <= had)
        return 0;
    struct stat now;
    if (fstat(rows->file, &now) || now.st_dev != rows->device || now.st_ino != rows->inode)
        return EBADF;
    u64 ahead = had / 2 < ROWS_MOST_AHEAD_BYTES ? had / 2 : ROWS_MOST_AHEAD_BYTES; /* grow in few, growing steps */
    u64 want = (bytes + ahead + ROWS_STEP_BYTES - 1) / ROWS_STEP_BYTES * ROWS_STEP_BYTES;
    int error = rows_fallocate(rows->file, (off_t)had, (off_t)(want - had));
    if (error) { /* the last rows of a nearly full disk are worth a second, modest try */
        want = (bytes + ROWS_STEP_BYTES - 1) / ROWS_STEP_BYTES * ROWS_STEP_BYTES;
        error = rows_fallocate(rows->file, (off_t)had, (off_t)(want - had));
    }
    if (error)
        return error;
    while (had < want && !atomic_compare_exchange_weak_explicit(&header->allocated, &had, want, memory_order_acq_rel,
                                                                memory_order_acquire)) {
    }
    return 0;
}

/* Creates the file, which must not exist. Returns 0 or an error number. Only system calls: fit for a forked child. */
static inline int rows_open(struct rows *rows, const char *path, u32 kind, u32 row_bytes, u64 capacity, u32 process)
{
    mode_t mode = kind == ROWS_OF_OUTPUTS ? 0600 : 0644; /* two signatures with one nonce are the key */
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (file < 0)
        return errno;
    struct stat made;
    int error = fstat(file, &made) ? errno : rows_fallocate(file, 0, ROWS_STEP_BYTES);
    if (error) {
        close(file);
        return error;
    }
    void *map = mmap(NULL, ROWS_HEADER_BYTES + capacity * row_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) {
        error = errno;
        close(file);
        return error;
    }
    struct rows_header *header = map;
    header->kind = kind;
    header->row_bytes = row_bytes;
    header->pid = (u32)getpid();
    header->process = process;
    header->opened_ns = now_ns();
    header->capacity = capacity;
    atomic_store(&header->claimed, 0);
    atomic_store(&header->lost, 0);
    atomic_store(&header->allocated, ROWS_STEP_BYTES);
    madvise(map, ROWS_HEADER_BYTES + capacity * row_bytes, MADV_DONTFORK); /* a child must not write its parent's rows */
    memcpy(header->magic, ROWS_MAGIC, sizeof header->magic); /* last: a file with the magic has a whole header */
    rows->header = header;
    rows->file = file;
    rows->device = made.st_dev;
    rows->inode = made.st_ino;
    return 0;
}

/* Row `row`, with disk under it, or NULL (and counted as lost) where there is no room for it. */
static inline void *rows_at(struct rows *rows, u64 row, u32 row_bytes)
{
    struct rows_header *header = rows->header;
    u64 end = ROWS_HEADER_BYTES + (row + 1) * row_bytes;
    if (row >= header->capacity || (end > atomic_load_explicit(&header->allocated, memory_order_acquire) &&
                                    rows_allocate(rows, end))) {
        atomic_fetch_add_explicit(&header->lost, 1, memory_order_relaxed);
        return NULL;
    }
    return (char *)header + end - row_bytes;
}

/* The next empty row, or NULL where there is no room for it. *index gets its number. */
static inline void *rows_claim_of(struct rows *rows, u64 *index, u32 row_bytes)
{
    *index = atomic_fetch_add_explicit(&rows->header->claimed, 1, memory_order_relaxed);
    return rows_at(rows, *index, row_bytes);
}

static inline void *rows_claim(struct rows *rows, u64 *index) { return rows_claim_of(rows, index, ROW_BYTES); }

static inline void rows_close(struct rows *rows)
{
    munmap(rows->header, ROWS_HEADER_BYTES + rows->header->capacity * rows->header->row_bytes);
    close(rows->file);
    rows->header = NULL;
}

#endif
