/* The operation loops: what is timed, and nothing else.
 *
 * Python decides everything (which process, which session, which key, when) and calls drive_run() in each thread with the
 * GIL released. A loop knows no policy: it takes the sessions it was given and writes one row per operation. The row is
 * claimed before the first time stamp and the output is copied after the last one, so neither is in the number.
 */
#define _GNU_SOURCE
#include "bindings.h"
#include "input.h"
#include "sessions.h"
#include "thread.h"

#include <sys/prctl.h>

enum { LARGEST_OUTPUT = 1024, LARGEST_INPUT = 256 };

#define NO_ROW (~(CK_RV)0)

/* Filled in by Python, field for field (lab/native/loops.py); `bytes` tells whether both mean the same structure. */
struct settings {
    u64 bytes;
    u64 functions;       /* CK_FUNCTION_LIST *; 0 for the null workload */
    u64 slot;            /* for SESSION_PER_OPERATION and session churn */
    u64 sessions;        /* CK_SESSION_HANDLE *: one per thread (OWN), or the pool */
    u64 session_count;
    u64 key;
    u64 mechanism;
    u64 parameter;       /* mechanism parameter, or 0 */
    u64 parameter_bytes;
    u64 prefix;          /* put before the digest (DigestInfo of RSA_PKCS), or 0 */
    u64 prefix_bytes;
    u64 digest_bytes;    /* length of the digest or message that is signed; of the output of `random` */
    u64 seed;            /* of the trial: two processes, threads or operations never sign the same data */
    u32 process;
    u32 session_use;     /* SESSION_* */
    u32 kind;            /* KIND_* */
    u32 spare;
};

struct drive {
    struct settings settings;
    struct rows rows;
    struct rows outputs; /* outputs.header is NULL where outputs are not kept */
    struct sessions sessions;
    _Atomic int stop;
};

/* One thread's part of the load. */
struct load {
    u64 bytes;
    u64 arrivals;      /* const i64 *: ns after the release, ascending; 0 for a closed loop */
    u64 arrival_count;
    i64 release_ns;    /* CLOCK_MONOTONIC */
    i64 warmup_ns;
    i64 duration_ns;   /* after the warm-up; a closed loop ends here */
    i64 give_up_ns;    /* CLOCK_MONOTONIC; arrivals not begun by then are shed */
    u32 thread;
    u32 phase;         /* PHASE_background overrides warm-up and measured; otherwise PHASE_measured */
    u32 refusal;       /* CKR code of a set-up that failed: operations are refused with it instead of tried; or 0 */
    u32 refused_by;    /* number of the function that failed in the set-up */
};

PUBLIC u64 drive_settings_bytes(void) { return sizeof(struct settings); }
PUBLIC u64 drive_load_bytes(void) { return sizeof(struct load); }

/* Makes the files of one process. `outputs_path` is NULL where outputs are not kept. Returns NULL and sets *error. */
PUBLIC struct drive *drive_open(const char *rows_path, const char *outputs_path, u64 capacity, u32 output_bytes,
                                u32 process, int *error)
{
    struct drive *drive = calloc(1, sizeof *drive);
    if (!drive) {
        *error = ENOMEM;
        return NULL;
    }
    drive->settings.process = process;
    *error = rows_open(&drive->rows, rows_path, ROWS_OF_OPERATIONS, ROW_BYTES, capacity, process);
    if (!*error && outputs_path)
        *error = rows_open(&drive->outputs, outputs_path, ROWS_OF_OUTPUTS, output_bytes, capacity, process);
    if (*error) {
        if (drive->rows.header)
            rows_close(&drive->rows);
        free(drive);
        return NULL;
    }
    prctl(PR_SET_TIMERSLACK, 1UL);
    return drive;
}

/* Says what the loops are to do. The arrays that `settings` points to are copied. Returns 0 or an error number. */
PUBLIC int drive_set(struct drive *drive, const struct settings *settings)
{
    if (settings->bytes != sizeof *settings)
        return EINVAL;
    if (settings->prefix_bytes + settings->digest_bytes > LARGEST_INPUT)
        return EMSGSIZE;
    int error = sessions_set(&drive->sessions, pointer(settings->functions), settings->slot,
                             settings->kind == KIND_session_churn ? SESSION_PER_OPERATION : settings->session_use,
                             pointer(settings->sessions), settings->session_count);
    if (error)
        return error;
    drive->settings = *settings;
    return 0;
}

PUBLIC void drive_stop(struct drive *drive) { atomic_store(&drive->stop, 1); }

/* What one operation came to. */
struct result {
    struct use use;
    CK_ULONG length; /* of the output */
};

/* Signs, or draws random bytes, on an open session. `resume` finishes an operation that was begun before a fork. */
static void use_session(struct drive *drive, const CK_BYTE *data, CK_BYTE *output, int resume, struct result *result)
{
    const struct settings *settings = &drive->settings;
    CK_FUNCTION_LIST_PTR functions = pointer(settings->functions);
    struct use *use = &result->use;
    if (settings->kind == KIND_random) {
        if (TRY(use, functions, C_GenerateRandom, use->session, output, settings->digest_bytes))
            result->length = settings->digest_bytes;
        return;
    }
    CK_MECHANISM mechanism = {settings->mechanism, pointer(settings->parameter), settings->parameter_bytes};
    CK_ULONG length = LARGEST_OUTPUT;
    if ((resume || TRY(use, functions, C_SignInit, use->session, &mechanism, settings->key)) &&
        TRY(use, functions, C_Sign, use->session, (CK_BYTE_PTR)data, settings->prefix_bytes + settings->digest_bytes,
            output, &length))
        result->length = length;
}

static void operate(struct drive *drive, u32 thread, const CK_BYTE *data, CK_BYTE *output, int resume,
                    struct result *result)
{
    u32 kind = drive->settings.kind;
    if (kind == KIND_null || !session_take(&drive->sessions, thread, &result->use))
        return;
    if (kind != KIND_session_churn)
        use_session(drive, data, output, resume, result);
    session_give(&drive->sessions, &result->use);
}

struct mark {
    u32 tid, thread, sequence;
    u8 kind, phase;
    i64 intended_ns;
    i64 ended_ns; /* of the last operation: a closed loop need not read the clock again */
};

static u64 input_for(const struct drive *drive, const struct mark *mark)
{
    return input_of(drive->settings.seed, drive->settings.process, mark->thread, mark->sequence, mark->phase);
}

static struct operation_row *begin(struct drive *drive, const struct mark *mark, u64 input, u64 *index)
{
    struct operation_row *row = rows_claim(&drive->rows, index);
    if (!row)
        return NULL;
    row->input = input;
    row->sequence = mark->sequence;
    row->tid = mark->tid;
    row->thread = (u16)mark->thread;
    row->kind = mark->kind;
    row->phase = mark->phase;
    row->started_ns = now_ns();
    row->intended_ns = mark->intended_ns ? mark->intended_ns : row->started_ns;
    __atomic_store_n(&row->state, ROW_BEGUN, __ATOMIC_RELEASE);
    return row;
}

static void end(struct operation_row *row, CK_RV code, u8 function, u8 layer)
{
    row->ended_ns = now_ns();
    row->code = (u32)code;
    row->function = function;
    row->layer = layer;
    __atomic_store_n(&row->state, ROW_ENDED, __ATOMIC_RELEASE);
}

static void keep(struct drive *drive, u64 index, struct operation_row *row, const void *output, u64 length)
{
    if (!drive->outputs.header || !length || length > drive->outputs.header->row_bytes)
        return;
    void *place = rows_at(&drive->outputs, index, drive->outputs.header->row_bytes);
    if (!place)
        return;
    memcpy(place, output, length);
    row->length = (u16)length;
}

/* One operation and its row. Returns its CKR code, or NO_ROW when there is no room to record it: then it is not done. */
static CK_RV once(struct drive *drive, const struct load *load, struct mark *mark, int resume)
{
    CK_BYTE data[LARGEST_INPUT + sizeof(u64)], output[LARGEST_OUTPUT];
    const struct settings *settings = &drive->settings;
    struct result result = {0};
    u64 index, input = input_for(drive, mark);
    if (settings->kind == KIND_sign) { /* before the first time stamp: making up the data is ours, not the token's */
        if (settings->prefix_bytes)
            memcpy(data, pointer(settings->prefix), settings->prefix_bytes);
        expand(input, data + settings->prefix_bytes, settings->digest_bytes);
    }
    struct operation_row *row = begin(drive, mark, input, &index);
    if (!row)
        return NO_ROW; /* counted as lost, which makes the trial invalid */
    if (load->refusal) {
        end(row, load->refusal, (u8)load->refused_by, LAYER_pkcs11);
        return load->refusal;
    }
    operate(drive, mark->thread, data, output, resume, &result);
    end(row, result.use.code, result.use.function, LAYER_pkcs11);
    mark->ended_ns = row->ended_ns;
    row->session = result.use.session;
    if (result.use.code == CKR_OK)
        keep(drive, index, row, output, result.length);
    return result.use.code;
}

/* Sleeps until shortly before the instant, then spins: a sleeping thread is woken tens of microseconds late. */
static void wait_until(i64 when_ns)
{
    i64 sleep_until = when_ns - SPIN_NS;
    if (now_ns() < sleep_until) {
        struct timespec t = timespec_of(sleep_until);
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
        }
    }
    while (now_ns() < when_ns) {
    }
}

/* The loop of one thread: open where `load` has arrivals, closed otherwise. Returns the operations begun, -1 on misuse. */
PUBLIC i64 drive_run(struct drive *drive, const struct load *load)
{
    if (load->bytes != sizeof *load)
        return -1;
    const i64 *arrivals = pointer(load->arrivals);
    i64 measured_ns = load->release_ns + load->warmup_ns;
    struct mark mark = {.tid = this_thread(), .thread = load->thread, .kind = (u8)drive->settings.kind};
    wait_until(load->release_ns);
    if (arrivals) {
        for (u64 i = 0; i < load->arrival_count; i++) {
            mark.intended_ns = load->release_ns + arrivals[i];
            wait_until(mark.intended_ns < load->give_up_ns ? mark.intended_ns : load->give_up_ns);
            if (now_ns() >= load->give_up_ns)
                return (i64)i;
            mark.sequence = (u32)i;
            mark.phase = mark.intended_ns < measured_ns ? PHASE_warmup : PHASE_measured;
            if (once(drive, load, &mark, 0) == NO_ROW)
                return (i64)i;
        }
        return (i64)load->arrival_count;
    }
    i64 end_ns = measured_ns + load->duration_ns, now = now_ns();
    while (now < end_ns && !atomic_load_explicit(&drive->stop, memory_order_relaxed)) {
        mark.phase = load->phase == PHASE_background ? PHASE_background
                                                     : (u8)(now < measured_ns ? PHASE_warmup : PHASE_measured);
        CK_RV code = once(drive, load, &mark, 0);
        if (code == NO_ROW)
            break;
        mark.sequence++;
        if (load->refusal)
            break; /* a worker without a context has nothing to repeat */
        now = mark.ended_ns;
        if (code != CKR_OK) {
            rest(PAUSE_AFTER_FAILURE_NS);
            now = now_ns();
        }
    }
    return mark.sequence;
}

/* One operation outside the load (the first one, the parent's check). Returns its CKR code. */
PUBLIC u32 drive_once(struct drive *drive, u32 thread, u32 phase, u32 sequence, int resume)
{
    struct load load = {0};
    struct mark mark = {this_thread(), thread, sequence, (u8)drive->settings.kind, (u8)phase, 0, 0};
    return (u32)once(drive, &load, &mark, resume);
}

/* Rows of steps that Python makes itself: set-up, and the operations of the python-pkcs11 driver. Returns the row's
 * index, or -1 where there is no room. */
PUBLIC i64 drive_begin(struct drive *drive, u32 kind, u32 phase, u32 thread, u32 sequence, i64 intended_ns,
                       u32 vhost)
{
    struct mark mark = {this_thread(), thread, sequence, (u8)kind, (u8)phase, intended_ns, 0};
    u64 index;
    struct operation_row *row = begin(drive, &mark, input_for(drive, &mark), &index);
    if (row)
        row->vhost = (u16)vhost;
    return row ? (i64)index : -1;
}

PUBLIC void drive_end(struct drive *drive, i64 index, u32 code, u32 function, u32 layer, u64 session,
                      const void *output, u64 length)
{
    if (index < 0)
        return;
    struct operation_row *row = rows_at(&drive->rows, (u64)index, ROW_BYTES);
    end(row, code, (u8)function, (u8)layer);
    row->session = session;
    keep(drive, (u64)index, row, output, length);
}

/* The data that the row's operation signs, without the prefix: for a driver that signs in Python. */
PUBLIC void drive_data(struct drive *drive, i64 index, void *out, u64 length)
{
    const struct operation_row *row = index < 0 ? NULL : rows_at(&drive->rows, (u64)index, ROW_BYTES);
    expand(row ? row->input : 0, out, length);
}

PUBLIC void drive_wait_until(i64 when_ns) { wait_until(when_ns); }

PUBLIC void drive_close(struct drive *drive)
{
    if (drive->outputs.header)
        rows_close(&drive->outputs);
    rows_close(&drive->rows);
    sessions_free(&drive->sessions);
    free(drive);
}
