/* What a client hears of a handshake, kept whole and then damaged, to be run under sanitizers:
 *
 *     heard_fuzz CERTIFICATE_AND_KEY.pem SEED ROUNDS
 *
 * Handshakes of TLS 1.2 and 1.3, and of 1.3 with a HelloRetryRequest, take turns; after each the messages are read as they
 * are, and then again with some bytes changed, or cut. Prints the handshakes, and how many whole and damaged rows there were.
 */
#define _GNU_SOURCE
#include "fuzz.h"
#include "heard.h"

#include <stdio.h>

enum { DAMAGES = 8, PAIRS_OF_STEPS = 8 };

static void hear(int sent, int version, int content, const void *message, size_t bytes, SSL *ssl, void *heard)
{
    (void)sent, (void)version, (void)ssl;
    if (content == SSL3_RT_HANDSHAKE)
        heard_message(heard, message, bytes);
}

/* The messages again, damaged, each in memory of exactly its size and so kept in memory of exactly theirs. */
static bool damaged(const struct heard *whole, SSL *ssl)
{
    struct heard heard = {0};
    struct heard_row row;
    size_t at = 0;
    while (at < whole->length && !heard.whole) {
        const u8 *message = whole->bytes + at;
        size_t bytes = MESSAGE_HEADER + ((size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3]);
        at += bytes;
        size_t left = next() % 16 ? bytes : next() % bytes;
        u8 *copy = malloc(left ? left : 1);
        memcpy(copy, message, left);
        for (u64 changes = next() % 4; changes && left; changes--)
            copy[next() % (next() % 2 ? left : left < 64 ? left : 64)] = (u8)next();
        heard_message(&heard, copy, left);
        free(copy);
    }
    if (heard.whole) { /* no room behind the last message */
        u8 *exact = malloc(heard.length);
        memcpy(exact, heard.bytes, heard.length);
        heard.signature.at = exact + (heard.signature.at - heard.bytes);
        free(heard.bytes);
        heard.bytes = exact;
        heard.room = heard.length;
    }
    bool known = heard_row(&heard, ssl, &row);
    heard_free(&heard);
    return known;
}

int main(int count, char **words)
{
    CHECK(count == 4);
    chance = strtoull(words[2], NULL, 10);
    u64 rounds = strtoull(words[3], NULL, 10), whole = 0, broken = 0;
    SSL_CTX *served = SSL_CTX_new(TLS_server_method()), *asking = SSL_CTX_new(TLS_client_method());
    CHECK(SSL_CTX_use_certificate_file(served, words[1], SSL_FILETYPE_PEM) == 1);
    CHECK(SSL_CTX_use_PrivateKey_file(served, words[1], SSL_FILETYPE_PEM) == 1);
    for (u64 round = 0; round < rounds; round++) {
        SSL *server = SSL_new(served), *client = SSL_new(asking);
        struct heard heard = {0};
        struct heard_row row;
        BIO *here, *there;
        CHECK(BIO_new_bio_pair(&here, 0, &there, 0));
        SSL_set_bio(server, here, here);
        SSL_set_bio(client, there, there);
        SSL_set_accept_state(server);
        SSL_set_connect_state(client);
        SSL_set_msg_callback(client, hear);
        SSL_set_msg_callback_arg(client, &heard);
        CHECK(SSL_set_max_proto_version(client, round % 3 ? TLS1_3_VERSION : TLS1_2_VERSION));
        CHECK(round % 3 < 2 || SSL_set1_groups_list(server, "P-384"));
        heard_begin(&heard);
        for (int i = 0; i < PAIRS_OF_STEPS; i++)
            (void)SSL_do_handshake(client), (void)SSL_do_handshake(server);
        CHECK(SSL_is_init_finished(client) && heard.whole);
        for (int i = 0; i < DAMAGES; i++)
            broken += damaged(&heard, client);
        whole += heard_row(&heard, client, &row);
        CHECK(!heard_row(&heard, client, &row)); /* its messages are used up */
        heard_free(&heard);
        SSL_free(server);
        SSL_free(client);
    }
    SSL_CTX_free(served);
    SSL_CTX_free(asking);
    printf("%lu %lu %lu\n", (unsigned long)rounds, (unsigned long)whole, (unsigned long)broken);
    return 0;
}
