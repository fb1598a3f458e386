/* SipHash-2-4, 64 bits (Aumasson and Bernstein 2012): keyed tags, by which equal outputs are found without keeping
 * them. */
#ifndef LAB_SIPHASH_H
#define LAB_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct siphash_key {
    uint64_t k0, k1;
};

static inline uint64_t siphash_rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void siphash_rounds(uint64_t v[4], int rounds)
{
    while (rounds--) {
        v[0] += v[1], v[1] = siphash_rotate(v[1], 13) ^ v[0], v[0] = siphash_rotate(v[0], 32);
        v[2] += v[3], v[3] = siphash_rotate(v[3], 16) ^ v[2];
        v[0] += v[3], v[3] = siphash_rotate(v[3], 21) ^ v[0];
        v[2] += v[1], v[1] = siphash_rotate(v[1], 17) ^ v[2], v[2] = siphash_rotate(v[2], 32);
    }
}

/* Words are read as the machine has them; the lab runs on little-endian machines, as the reference does. */
static inline uint64_t siphash(const struct siphash_key *key, const void *data, size_t length)
{
    uint64_t v[4] = {key->k0 ^ 0x736f6d6570736575u, key->k1 ^ 0x646f72616e646f6du, key->k0 ^ 0x6c7967656e657261u,
                     key->k1 ^ 0x7465646279746573u};
    const uint8_t *at = data;
    uint64_t word;
    for (size_t left = length; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);
        v[3] ^= word;
        siphash_rounds(v, 2);
        v[0] ^= word;
    }
    word = (uint64_t)length << 56;
    for (size_t i = 0; i < length % 8; i++)
        word |= (uint64_t)at[i] << (8 * i);
    v[3] ^= word;
    siphash_rounds(v, 2);
    v[0] ^= word;
    v[2] ^= 0xff;
    siphash_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
