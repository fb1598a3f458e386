/* Reads of handshake messages, well formed, damaged and made up, to be run under sanitizers:
 *
 *     wire_signature_fuzz SEED ROUNDS
 *
 * Every message lies in memory of exactly its size. Prints how many there were, and how many of those that were damaged
 * or made up had a signature and a tag all the same.
 */
#define _GNU_SOURCE
#include "fuzz.h"
#include "wire_signature.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_BYTES = 1024, KEYS = 7, HANDSHAKE_HEADER = 4, MOST_POINT = 255 };

static const struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

struct text {
    size_t bytes;
    u8 at[MOST_BYTES];
};

static void put(struct text *text, u64 number, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        text->at[text->bytes++] = (u8)(number >> 8 * (bytes - 1 - i));
}

static void put_bytes(struct text *text, const u8 *bytes, size_t count)
{
    CHECK(text->bytes + count <= sizeof text->at);
    if (count)
        memcpy(text->at + text->bytes, bytes, count);
    text->bytes += count;
}

static struct text message_of(u8 type, const u8 *signature, size_t bytes)
{
    struct text body = {0}, message = {0};
    if (type == SSL3_MT_SERVER_KEY_EXCHANGE) {
        u8 point[MOST_POINT];
        size_t of_point = next() % sizeof point;
        for (size_t i = 0; i < of_point; i++)
            point[i] = (u8)next();
        put(&body, NAMED_CURVE, 1);
        put(&body, next(), 2);
        put(&body, of_point, 1);
        put_bytes(&body, point, of_point);
    }
    put(&body, next(), 2); /* the algorithm, which a key may be used with in more ways than its curve's */
    put(&body, bytes, 2);
    put_bytes(&body, signature, bytes);
    put(&message, type, 1);
    put(&message, body.bytes, 3);
    put_bytes(&message, body.at, body.bytes);
    return message;
}

/* Its tag, read from memory that ends where it ends. */
static u64 read_tag(const struct text *message, const EVP_PKEY *signer, bool *has_signature)
{
    u8 *exact = malloc(message->bytes);
    CHECK(exact || !message->bytes);
    if (message->bytes)
        memcpy(exact, message->at, message->bytes);
    struct wire signature;
    *has_signature = wire_signature((struct wire){exact, message->bytes}, &signature);
    u64 tag = *has_signature ? wire_tag(&key, signer, signature) : 0;
    CHECK(ERR_peek_error() == 0);
    free(exact);
    return tag;
}

static EVP_PKEY *keys[KEYS];
static const int order_bytes[KEYS] = {32, 48, 66, 29, 0, 0, 0}; /* 0: what PKCS#11 gives is what TLS sends */

static void make_keys(void)
{
    const char *curves[] = {"P-256", "P-384", "P-521", "secp224k1"}; /* whose order has a bit more than its field */
    for (int i = 0; i < 4; i++)
        CHECK(keys[i] = EVP_EC_gen(curves[i]));
    CHECK(keys[4] = EVP_RSA_gen(2048));
    CHECK(keys[5] = EVP_RSA_gen(1032)); /* an odd number of bytes */
    CHECK(keys[6] = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
}

static size_t sign(EVP_PKEY *by, u8 *signature, size_t room)
{
    u64 data = next();
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CHECK(EVP_DigestSignInit(context, NULL, EVP_PKEY_is_a(by, "ED25519") ? NULL : EVP_sha256(), NULL, by) == 1);
    CHECK(EVP_DigestSign(context, signature, &room, (u8 *)&data, sizeof data) == 1);
    EVP_MD_CTX_free(context);
    return room;
}

/* What PKCS#11 gives: r and s of fixed width, or the signature as it is. */
static size_t of_token(int which, const u8 *signature, size_t bytes, u8 *raw)
{
    int width = order_bytes[which];
    if (!width) {
        memcpy(raw, signature, bytes);
        return bytes;
    }
    const u8 *at = signature;
    ECDSA_SIG *read = d2i_ECDSA_SIG(NULL, &at, (long)bytes);
    CHECK(read && BN_bn2binpad(ECDSA_SIG_get0_r(read), raw, width) == width &&
          BN_bn2binpad(ECDSA_SIG_get0_s(read), raw + width, width) == width);
    ECDSA_SIG_free(read);
    return 2 * (size_t)width;
}

static void damage(struct text *message)
{
    switch (next() % 5) {
    case 0: /* cut off, also to nothing */
        message->bytes = next() % (message->bytes + 1);
        break;
    case 1:
        put(message, next(), 1 + next() % 4);
        break;
    case 2: /* a length that is wrong, mostly */
        message->at[1 + next() % 12] = (u8)next();
        break;
    case 3:
        for (u64 count = 1 + next() % 8; count; count--)
            message->at[next() % message->bytes] = (u8)next();
        break;
    default: /* nothing of it is left but the form */
        for (size_t i = HANDSHAKE_HEADER; i < message->bytes; i++)
            message->at[i] = (u8)next();
    }
}

int main(int count, char **argument)
{
    CHECK(count == 3);
    chance = strtoull(argument[1], NULL, 10);
    long rounds = atol(argument[2]), whole = 0, damaged = 0, with_signature = 0, with_tag = 0;
    make_keys();
    for (long round = 0; round < rounds; round++) {
        int which = (int)(next() % KEYS);
        u8 signature[MOST_BYTES / 2], raw[MOST_BYTES / 2], type = next() % 2 ? SSL3_MT_SERVER_KEY_EXCHANGE
                                                                              : SSL3_MT_CERTIFICATE_VERIFY;
        size_t bytes = sign(keys[which], signature, sizeof signature);
        size_t raw_bytes = of_token(which, signature, bytes, raw);
        struct text message = message_of(type, signature, bytes);
        bool has_signature;
        CHECK(read_tag(&message, keys[which], &has_signature) == tag_of_signature(&key, raw, raw_bytes));
        whole++;
        struct text other = message;
        other.at[0] = SSL3_MT_FINISHED;
        CHECK(!read_tag(&other, keys[which], &has_signature) && !has_signature);
        for (int i = 0; i < 10; i++, damaged++) {
            struct text hurt = message;
            damage(&hurt);
            u64 tag = read_tag(&hurt, keys[next() % KEYS], &has_signature);
            with_signature += has_signature;
            with_tag += tag != 0;
        }
        struct text made_up = message_of(type, (u8 *)"", 0); /* signed by nothing */
        CHECK(!read_tag(&made_up, keys[which], &has_signature) && has_signature);
    }
    for (int i = 0; i < KEYS; i++)
        EVP_PKEY_free(keys[i]);
    printf("%ld %ld %ld %ld\n", whole, damaged, with_signature, with_tag);
    return 0;
}
