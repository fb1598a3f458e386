/* The server's signature in the handshake messages that bring it, and the tag of the PKCS#11 output it was made from.
 *
 * Messages come from whoever answered: what is not formed as it should be has no signature, and so no tag.
 */
#ifndef LAB_WIRE_SIGNATURE_H
#define LAB_WIRE_SIGNATURE_H

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "rows.h"
#include "tags.h"

enum {
    NAMED_CURVE = 3,       /* ECCurveType, RFC 8422, section 5.4 */
    MOST_ORDER_BYTES = 72, /* of a curve: sect571 */
};

/* What is left of a message to be read. */
struct wire {
    const u8 *at;
    size_t left;
};

/* Takes a number of `size` bytes off the front. */
static inline bool wire_number(struct wire *from, size_t size, size_t *number)
{
    if (from->left < size)
        return false;
    *number = 0;
    for (size_t i = 0; i < size; i++)
        *number = *number << 8 | from->at[i];
    from->at += size;
    from->left -= size;
    return true;
}

/* Takes a length of `size` bytes off the front, and as many bytes behind it. */
static inline bool wire_vector(struct wire *from, size_t size, struct wire *taken)
{
    size_t length;
    if (!wire_number(from, size, &length) || from->left < length)
        return false;
    *taken = (struct wire){from->at, length};
    from->at += length;
    from->left -= length;
    return true;
}

/* The signature in a whole CertificateVerify (RFC 8446, section 4.4.3), or in a ServerKeyExchange of TLS 1.2 with ECDHE
 * (RFC 8422, section 5.4; RFC 5246, section 4.7). False for any other message. */
static inline bool wire_signature(struct wire message, struct wire *signature)
{
    size_t type, curve_type, curve, algorithm;
    struct wire body, point;
    if (!wire_number(&message, 1, &type) || !wire_vector(&message, 3, &body) || message.left)
        return false;
    if (type == SSL3_MT_SERVER_KEY_EXCHANGE) {
        if (!wire_number(&body, 1, &curve_type) || curve_type != NAMED_CURVE || !wire_number(&body, 2, &curve) ||
            !wire_vector(&body, 1, &point))
            return false;
    } else if (type != SSL3_MT_CERTIFICATE_VERIFY) {
        return false;
    }
    return wire_number(&body, 2, &algorithm) && wire_vector(&body, 2, signature) && !body.left;
}

/* The tag of a signature by `signer`, as the tap has it of the call that made it; 0 where there can be none. TLS has an
 * ECDSA signature as DER, PKCS#11 as r and s, each as long as the order of the curve (PKCS #11 v2.40 mechanisms, 2.3.1);
 * others are the same in both. */
static inline u64 wire_tag(const struct siphash_key *key, const EVP_PKEY *signer, struct wire signature)
{
    if (!EVP_PKEY_is_a(signer, "EC"))
        return tag_of_signature(key, signature.at, signature.left);
    u8 r[MOST_ORDER_BYTES];
    int width = (EVP_PKEY_get_bits(signer) + 7) / 8;
    const u8 *at = signature.at;
    u64 tag = 0;
    ERR_set_mark(); /* what is wrong with a signature, the handshake says itself */
    ECDSA_SIG *read = d2i_ECDSA_SIG(NULL, &at, (long)signature.left);
    if (read && at == signature.at + signature.left && width > 0 && width <= MOST_ORDER_BYTES &&
        BN_bn2binpad(ECDSA_SIG_get0_r(read), r, width) == width)
        tag = tag_with(key, r, (size_t)width);
    ECDSA_SIG_free(read);
    ERR_pop_to_mark();
    return tag;
}

#endif
