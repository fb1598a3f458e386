/* Keyed tags of what a token gives, so that equal outputs, and the taker of one, are found without keeping them. The tap
 * tags what leaves a module, the generator what arrives at a client: both in this way, and with the trial's key. */
#ifndef LAB_TAGS_H
#define LAB_TAGS_H

#include <stdbool.h>

#include "siphash.h"

/* Reads 32 hexadecimal digits. False, and an unusable key, where the text is something else. */
static inline bool tag_key_read(const char *text, struct siphash_key *key)
{
    uint8_t bytes[sizeof *key];
    for (size_t i = 0; i < 2 * sizeof bytes; i++) {
        const char *digits = "0123456789abcdef", *digit = text[i] ? strchr(digits, text[i] | 0x20) : NULL;
        if (!digit)
            return false;
        bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | (digit - digits));
    }
    memcpy(key, bytes, sizeof *key);
    return text[2 * sizeof bytes] == 0;
}

static inline uint64_t tag_with(const struct siphash_key *key, const void *bytes, size_t length)
{
    uint64_t tag = siphash(key, bytes, length);
    return tag ? tag : 1; /* 0 means that there is none */
}

/* Of a signature in PKCS#11's form: of its first half, which for ECDSA is r and tells equal nonces. 0 where there is
 * nothing to halve. */
static inline uint64_t tag_of_signature(const struct siphash_key *key, const void *signature, size_t length)
{
    return length > 1 ? tag_with(key, signature, length / 2) : 0;
}

#endif
