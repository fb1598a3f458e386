/* What a client hears of a handshake that anybody could check the server's signature with, or misuse it: what was signed,
 * the signature, and the key. While the handshake lasts its messages are copied, and nothing else; what they come to is
 * worked out when it is over.
 *
 *     heard_begin(&heard);                                     before each handshake
 *     heard_message(&heard, message, bytes);                   each handshake message, in both directions, as it is whole
 *     if (heard_row(&heard, ssl, &row)) ...                    the handshake went well: an ECDSA signature of P-256 or P-384
 *     heard_free(&heard);
 *
 * Sources: RFC 5246, 7.4.3, and RFC 8422, 5.4 (ServerKeyExchange); RFC 8446, 4.4.1 (transcript, which is another one after
 * a HelloRetryRequest) and 4.4.3 (CertificateVerify).
 */
#ifndef LAB_HEARD_H
#define LAB_HEARD_H

#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "wire_signature.h"

enum {
    HEARD_SCALAR = 48, /* bytes of r and of s, from the right: P-384 */
    HEARD_POINT = 97,
    HEARD_FIRST_ROOM = 4096,
    HEARD_MOST = 1 << 17, /* bytes of a handshake up to its signature: chains of certificates are far shorter */
    HELLO_RANDOM_AT = 6,  /* type, length and version before it, in both hellos */
    HELLO_RANDOM = 32,
    MESSAGE_HEADER = 4,
    MESSAGE_HASH = 254, /* RFC 8446, section 4 */
};

/* As lab/record/dtypes.py has it, too. */
struct heard_row {
    u8 scalar_bytes, digest_bytes, point_bytes, spare;
    u8 r[HEARD_SCALAR], s[HEARD_SCALAR]; /* filled up with zeros on the left */
    u8 digest[EVP_MAX_MD_SIZE];          /* what the signature is of */
    u8 point[HEARD_POINT];               /* the public key, as X9.62 writes it without compression */
    u8 spare2[3];
};

_Static_assert(sizeof(struct heard_row) == 264, "a row of what was heard is as Python has it");

/* The messages so far, one behind the other. */
struct heard {
    u8 *bytes;
    size_t length, room;
    size_t last;           /* where the message with the signature begins, which is the last that is kept */
    struct wire signature; /* in the copy; of one that is lost, in the message itself */
    bool whole, lost;      /* whole: the signature is there; lost: there was no room for all messages */
};

static inline void heard_begin(struct heard *heard)
{
    heard->length = 0;
    heard->whole = heard->lost = false;
}

static inline void heard_free(struct heard *heard)
{
    free(heard->bytes);
    *heard = (struct heard){0};
}

static inline bool heard_make_room(struct heard *heard, size_t bytes)
{
    size_t room = heard->room ? heard->room : HEARD_FIRST_ROOM;
    while (room < heard->length + bytes && room < HEARD_MOST)
        room *= 2;
    if (room < heard->length + bytes)
        return false;
    u8 *larger = room == heard->room ? heard->bytes : realloc(heard->bytes, room);
    if (!larger)
        return false;
    heard->bytes = larger;
    heard->room = room;
    return true;
}

static inline void heard_message(struct heard *heard, const void *message, size_t bytes)
{
    if (heard->whole)
        return;
    heard->lost = heard->lost || !heard_make_room(heard, bytes);
    const u8 *kept = message;
    if (!heard->lost) {
        kept = memcpy(heard->bytes + heard->length, message, bytes);
        heard->last = heard->length;
        heard->length += bytes;
    }
    heard->whole = wire_signature((struct wire){kept, bytes}, &heard->signature);
}

/* Length of the ClientHello, the first message; 0 where the first two are no hellos. */
static inline size_t heard_hellos(const struct heard *heard, const u8 **server)
{
    const size_t needed = HELLO_RANDOM_AT + HELLO_RANDOM;
    const u8 *bytes = heard->bytes;
    if (heard->last < 2 * needed || bytes[0] != SSL3_MT_CLIENT_HELLO)
        return 0;
    size_t client = MESSAGE_HEADER + ((size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3]);
    if (client < needed || client + needed > heard->last || bytes[client] != SSL3_MT_SERVER_HELLO)
        return 0;
    *server = bytes + client;
    return client;
}

/* TLS 1.2: both randoms, and the parameters up to the algorithm. They are put before it, where messages were. */
static inline struct wire heard_signed_12(struct heard *heard)
{
    u8 randoms[2 * HELLO_RANDOM];
    const u8 *server;
    if (!heard_hellos(heard, &server))
        return (struct wire){0};
    memcpy(randoms, heard->bytes + HELLO_RANDOM_AT, HELLO_RANDOM);
    memcpy(randoms + HELLO_RANDOM, server + HELLO_RANDOM_AT, HELLO_RANDOM);
    u8 *params = heard->bytes + heard->last + MESSAGE_HEADER;
    const u8 *end = heard->signature.at - 4; /* length of the signature and its algorithm */
    memcpy(params - sizeof randoms, randoms, sizeof randoms);
    return (struct wire){params - sizeof randoms, sizeof randoms + (size_t)(end - params)};
}

/* TLS 1.3: sixty-four spaces, a text and the hash of all messages before this one, put into `content`. */
static inline struct wire heard_signed_13(struct heard *heard, const SSL *ssl, u8 content[64 + 34 + EVP_MAX_MD_SIZE])
{
    static const u8 retry[HELLO_RANDOM] = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
                                           0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
                                           0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};
    static const char text[] = "TLS 1.3, server CertificateVerify"; /* with the zero at its end */
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    const EVP_MD *hash = cipher ? SSL_CIPHER_get_handshake_digest(cipher) : NULL;
    const u8 *server;
    size_t client = heard_hellos(heard, &server), from = 0;
    unsigned length;
    if (!hash || !client)
        return (struct wire){0};
    if (!memcmp(server + HELLO_RANDOM_AT, retry, sizeof retry)) {
        u8 digest[EVP_MAX_MD_SIZE];
        if (!EVP_Digest(heard->bytes, client, digest, &length, hash, NULL) || client < MESSAGE_HEADER + length)
            return (struct wire){0};
        from = client - MESSAGE_HEADER - length; /* a message with the hash stands for the first ClientHello */
        const u8 header[MESSAGE_HEADER] = {MESSAGE_HASH, 0, 0, (u8)length};
        memcpy(heard->bytes + from, header, sizeof header);
        memcpy(heard->bytes + from + sizeof header, digest, length);
    }
    memset(content, ' ', 64);
    memcpy(content + 64, text, sizeof text);
    if (!EVP_Digest(heard->bytes + from, heard->last - from, content + 64 + sizeof text, &length, hash, NULL))
        return (struct wire){0};
    return (struct wire){content, 64 + sizeof text + length};
}

static inline bool heard_key(const EVP_PKEY *signer, struct heard_row *row)
{
    char group[sizeof "prime256v1"];
    size_t length;
    if (!EVP_PKEY_is_a(signer, "EC") || !EVP_PKEY_get_group_name(signer, group, sizeof group, &length) ||
        (strcmp(group, "prime256v1") && strcmp(group, "secp384r1")) ||
        !EVP_PKEY_get_octet_string_param(signer, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, row->point, sizeof row->point,
                                         &length))
        return false;
    row->point_bytes = (u8)length;
    row->scalar_bytes = (u8)((EVP_PKEY_get_bits(signer) + 7) / 8);
    return true;
}

static inline bool heard_scalars(struct wire signature, struct heard_row *row)
{
    const u8 *at = signature.at;
    ECDSA_SIG *read = d2i_ECDSA_SIG(NULL, &at, (long)signature.left);
    bool right = read && BN_bn2binpad(ECDSA_SIG_get0_r(read), row->r, HEARD_SCALAR) == HEARD_SCALAR &&
                 BN_bn2binpad(ECDSA_SIG_get0_s(read), row->s, HEARD_SCALAR) == HEARD_SCALAR;
    ECDSA_SIG_free(read);
    return right;
}

static inline bool heard_whole_row(struct heard *heard, SSL *ssl, struct heard_row *row)
{
    u8 content[64 + 34 + EVP_MAX_MD_SIZE];
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    const EVP_PKEY *signer = certificate ? X509_get0_pubkey(certificate) : NULL;
    int algorithm;
    unsigned length;
    if (!signer || !heard_key(signer, row) || !heard_scalars(heard->signature, row) ||
        !SSL_get_peer_signature_nid(ssl, &algorithm))
        return false;
    struct wire covered = SSL_version(ssl) == TLS1_3_VERSION ? heard_signed_13(heard, ssl, content)
                                                             : heard_signed_12(heard);
    const EVP_MD *hash = EVP_get_digestbynid(algorithm);
    if (!covered.left || !hash || !EVP_Digest(covered.at, covered.left, row->digest, &length, hash, NULL))
        return false;
    row->digest_bytes = (u8)length;
    return true;
}

/* Works out the row of a handshake that went well, for which the kept messages are used up. False where there was no
 * signature (a resumed session), none by ECDSA on these curves, or one whose messages could not be kept. */
static inline bool heard_row(struct heard *heard, SSL *ssl, struct heard_row *row)
{
    if (!heard->whole || heard->lost)
        return false;
    memset(row, 0, sizeof *row);
    ERR_set_mark(); /* the handshake went well: nothing here is its fault */
    bool known = heard_whole_row(heard, ssl, row);
    ERR_pop_to_mark();
    heard->whole = false;
    return known;
}

#endif
