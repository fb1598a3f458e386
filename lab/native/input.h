/* The data that operations sign: made up from a seed and the operation's place, and again from its row when the signature
 * is verified (lab/record/verify.py). */
#ifndef LAB_INPUT_H
#define LAB_INPUT_H

#include "rows.h"

#include <p11-kit/pkcs11.h>

/* splitmix64 (Steele, Lea, Flood 2014): a full-period mix, easy to repeat in numpy. */
static inline u64 mix(u64 *state)
{
    u64 z = (*state += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

static inline void expand(u64 input, CK_BYTE *out, u64 length)
{
    for (u64 at = 0; at < length; at += sizeof(u64)) {
        u64 word = mix(&input);
        memcpy(out + at, &word, length - at < sizeof word ? length - at : sizeof word);
    }
}

/* What an operation signs is known by its place: no two of a trial sign the same data. */
static inline u64 input_of(u64 seed, u32 process, u32 thread, u32 sequence, u32 phase)
{
    u64 place = (u64)process << 48 | (u64)thread << 36 | (u64)phase << 32 | sequence;
    u64 state = seed ^ (place * 0xD6E8FEB86659FD93ULL); /* odd: a bijection of the place */
    return mix(&state);
}

#endif
