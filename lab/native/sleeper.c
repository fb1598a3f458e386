/* A sleeper: asks for a millisecond again and again, and notes how much later it was woken. One thread, no allocation. */
#include <stdint.h>
#include <time.h>

#include "bindings.h"
#include "clock.h"

/* Sleeps a millisecond at a time until *stop is not 0 or `capacity` sleeps are noted; returns how many were. */
PUBLIC int64_t sleeper_run(int64_t *late_ns, int64_t capacity, const int32_t *stop)
{
    int64_t noted = 0;
    while (noted < capacity && !__atomic_load_n(stop, __ATOMIC_ACQUIRE)) {
        int64_t begun_ns = now_ns();
        rest(NS_PER_MS);
        late_ns[noted++] = now_ns() - begun_ns - NS_PER_MS;
    }
    return noted;
}
