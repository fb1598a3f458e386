/* The generator of handshakes: one thread, one epoll loop, many connections, and a row for every handshake.
 *
 * Python decides everything (which servers, which certificates, when) and calls generator_run() with the GIL released.
 * Here are its calls and the loop, which begins handshakes when they are due and waits for all of them at once; what
 * becomes of one is in generate_handshake.c.
 */
#define _GNU_SOURCE
#include "generate.h"
#include "thread.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

enum { EVENTS_AT_ONCE = 16 };

PUBLIC u64 generator_host_bytes(void) { return sizeof(struct host); }
PUBLIC u64 generator_settings_bytes(void) { return sizeof(struct settings); }
PUBLIC u64 generator_load_bytes(void) { return sizeof(struct load); }

/* Makes the files of one process. Returns NULL and sets *error. */
PUBLIC struct generator *generator_open(const char *operations, const char *connections, const char *outputs,
                                        u64 capacity, u32 process, int *error)
{
    struct generator *generator = calloc(1, sizeof *generator);
    if (!generator) {
        *error = ENOMEM;
        return NULL;
    }
    generator->process = process;
    generator->poll = generator->wake = -1;
    *error = rows_open(&generator->operations, operations, ROWS_OF_OPERATIONS, ROW_BYTES, capacity, process);
    if (!*error)
        *error = rows_open(&generator->connections, connections, ROWS_OF_CONNECTIONS, CONNECTION_ROW_BYTES, capacity,
                           process);
    if (!*error)
        *error = rows_open(&generator->outputs, outputs, ROWS_OF_OUTPUTS, sizeof(struct heard_row), capacity, process);
    if (!*error) {
        generator->poll = epoll_create1(EPOLL_CLOEXEC);
        generator->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct epoll_event woken = {.events = EPOLLIN};
        if (generator->poll < 0 || generator->wake < 0 ||
            epoll_ctl(generator->poll, EPOLL_CTL_ADD, generator->wake, &woken))
            *error = errno;
    }
    if (!*error)
        return generator;
    if (generator->operations.header)
        rows_close(&generator->operations);
    if (generator->connections.header)
        rows_close(&generator->connections);
    if (generator->outputs.header)
        rows_close(&generator->outputs);
    if (generator->poll >= 0)
        close(generator->poll);
    if (generator->wake >= 0)
        close(generator->wake);
    free(generator);
    return NULL;
}

/* Says whom to greet, and how, once and before the first run. What `settings` points to must outlive the generator.
 * Returns 0 or an error number: EINVAL where OpenSSL takes no such ciphers, version or trusted certificates, or the key of
 * tags is none. */
PUBLIC int generator_set(struct generator *generator, const struct settings *settings)
{
    if (settings->bytes != sizeof *settings || generator->context || !settings->host_count)
        return EINVAL;
    if (settings->tag_key && !tag_key_read(pointer(settings->tag_key), &generator->tag_key))
        return EINVAL;
    generator->settings = *settings;
    generator->hosts = calloc(settings->host_count, sizeof *generator->hosts);
    if (!generator->hosts)
        return ENOMEM;
    memcpy(generator->hosts, pointer(settings->hosts), settings->host_count * sizeof *generator->hosts);
    for (u64 i = 0; i < settings->host_count; i++) {
        if (!generator->hosts[i].leaf != !generator->hosts[0].leaf)
            return EINVAL; /* one context verifies in one way */
        if (generator->leaf_room < generator->hosts[i].leaf_bytes)
            generator->leaf_room = generator->hosts[i].leaf_bytes;
    }
    generator->leaf = malloc(generator->leaf_room + 1);
    if (!generator->leaf)
        return ENOMEM;
    ERR_clear_error();
    generator->context = generate_context(generator);
    return generator->context ? 0 : EINVAL;
}

/* Begins no further handshake; those under way come to their end. Any thread may call it. */
PUBLIC void generator_stop(struct generator *generator)
{
    u64 once = 1;
    atomic_store(&generator->stop, 1);
    if (write(generator->wake, &once, sizeof once) < 0)
        return; /* it is full, so the loop is woken already */
}

/* When the next handshake is to begin: now or before, later, or NEVER. A slot may be yet to be found for it. */
static i64 next_ns(const struct generator *generator, const struct load *load, i64 now)
{
    if (generator->full || atomic_load_explicit(&generator->stop, memory_order_relaxed))
        return NEVER;
    if (generator->open_loop) {
        if (now >= load->give_up_ns || generator->begun >= load->arrival_count)
            return NEVER;
        i64 next = load->release_ns + ((const i64 *)pointer(load->arrivals))[generator->begun];
        return next < load->give_up_ns ? next : load->give_up_ns; /* when it is shed, and no longer the next */
    }
    return now >= generator->measured_ns + load->duration_ns ? NEVER : load->release_ns;
}

/* Begins the handshake that is due, if one is and has a slot. At most one: others are waiting to be answered. */
static i64 start_due(struct generator *generator, const struct load *load, i64 now)
{
    i64 next = next_ns(generator, load, now);
    struct slot *slot = generator->queues[STAGE_FREE].first;
    if (next <= now && slot)
        generate_start(generator, slot, next);
    return next;
}

/* Waits for events, until `until` at most; sleeps until shortly before and then asks without sleeping. */
static int wait_events(const struct generator *generator, struct epoll_event *events, i64 until, bool exactly, i64 now)
{
    i64 left = until == NEVER ? NEVER : until - now - (exactly ? SPIN_NS : 0);
    struct timespec time = timespec_of(left > 0 ? left : 0);
    return epoll_pwait2(generator->poll, events, EVENTS_AT_ONCE, left == NEVER ? NULL : &time, NULL);
}

static bool under_way(const struct generator *generator)
{
    return generator->queues[STAGE_SHAKING].first || generator->queues[STAGE_DRAINING].first;
}

static void loop(struct generator *generator, const struct load *load)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    for (;;) {
        i64 now = now_ns();
        generate_expire(generator, now);
        start_due(generator, load, now);
        now = now_ns();
        i64 next = next_ns(generator, load, now);
        if (next == NEVER && !under_way(generator))
            return;
        bool waits_for_slot = next <= now && !generator->queues[STAGE_FREE].first;
        i64 until = next;
        if (waits_for_slot) /* then a slot's end is what is waited for, and what ends the waiting for one */
            until = generator->open_loop ? load->give_up_ns : generator->measured_ns + load->duration_ns;
        bool exactly = !waits_for_slot && until != NEVER;
        for (enum stage stage = STAGE_PAUSED; stage < STAGES; stage++) {
            i64 due = first_due(generator, stage);
            if (due < until && (stage != STAGE_PAUSED || next != NEVER)) {
                until = due;
                exactly = false;
            }
        }
        int count = wait_events(generator, events, until, exactly, now);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                generate_go_on(generator, events[i].data.ptr, events[i].events);
            else /* generator_stop: the flag says it, and the news need not be told again */
                epoll_ctl(generator->poll, EPOLL_CTL_DEL, generator->wake, NULL);
            if (i + 1 < count)
                start_due(generator, load, now_ns());
        }
    }
}

static void forget(struct generator *generator)
{
    for (u32 i = 0; i < generator->slot_count; i++) {
        generate_hang_up(&generator->slots[i]);
        SSL_free(generator->slots[i].ssl);
        heard_free(&generator->slots[i].heard);
    }
    for (u64 i = 0; generator->sessions && i < generator->slot_count * generator->settings.host_count; i++)
        SSL_SESSION_free(generator->sessions[i]);
    free(generator->slots);
    free(generator->sessions);
    generator->slots = NULL;
    generator->sessions = NULL;
    generator->slot_count = 0;
}

/* All that the first handshakes need is made here, before the release. Returns 0 or an error number. */
PUBLIC int generator_prepare(struct generator *generator, u32 slots)
{
    if (!generator->context || !slots || slots > UINT16_MAX)
        return EINVAL;
    forget(generator);
    memset(generator->queues, 0, sizeof generator->queues);
    generator->slots = calloc(slots, sizeof *generator->slots);
    if (generator->slots && generator->settings.resume)
        generator->sessions = calloc(slots * generator->settings.host_count, sizeof *generator->sessions);
    if (!generator->slots || (generator->settings.resume && !generator->sessions))
        return ENOMEM;
    generator->slot_count = slots;
    for (u32 i = 0; i < slots; i++) {
        struct slot *slot = &generator->slots[i];
        slot->number = (u16)i;
        slot->socket = -1;
        generate_ssl(generator, slot);
        enter(generator, slot, STAGE_FREE, NEVER);
    }
    return 0;
}

/* The whole load: open where `load` has arrivals, closed otherwise. Returns the handshakes begun, -1 on misuse. */
PUBLIC i64 generator_run(struct generator *generator, const struct load *load)
{
    if (load->bytes != sizeof *load)
        return -1;
    if (!load->slots || (load->slots != generator->slot_count && generator_prepare(generator, load->slots)))
        return -1;
    prctl(PR_SET_TIMERSLACK, 1UL);
    generator->tid = this_thread();
    generator->open_loop = load->arrivals != 0;
    generator->begun = 0;
    generator->measured_ns = load->release_ns + load->warmup_ns;
    loop(generator, load);
    return generator->begun;
}

PUBLIC void generator_close(struct generator *generator)
{
    forget(generator);
    SSL_CTX_free(generator->context);
    free(generator->hosts);
    free(generator->leaf);
    close(generator->poll);
    close(generator->wake);
    rows_close(&generator->operations);
    rows_close(&generator->connections);
    rows_close(&generator->outputs);
    free(generator);
}
