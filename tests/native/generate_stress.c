/* The generator before a moody server, to be run under sanitizers:
 *
 *     generate_stress CERTIFICATE_AND_KEY.pem ROWS_FOLDER
 *
 * The server is a forked process, because OpenSSL itself is not instrumented and its threads would be taken for races.
 * One thread runs the loads, another one stops those that have no end. Prints how many handshakes each load began.
 */
#define _GNU_SOURCE
#include "generate.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

enum { CLIENTS = 6, ARRIVALS = 60, UNTIL_STOPPED = 40, CAPACITY = 100000, EVERY_RUDE = 5, EVERY_SILENT = 11 };

#define CHECK(what)                                                                                                     \
    do                                                                                                                  \
        if (!(what)) {                                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                                                  \
            exit(1);                                                                                                    \
        }                                                                                                               \
    while (0)

struct generator *generator_open(const char *operations, const char *connections, const char *outputs, u64 capacity,
                                 u32 process, int *error);
int generator_set(struct generator *generator, const struct settings *settings);
int generator_prepare(struct generator *generator, u32 slots);
i64 generator_run(struct generator *generator, const struct load *load);
void generator_stop(struct generator *generator);
void generator_close(struct generator *generator);

static const char *credential;

/* Most connections get their handshake; some are closed at once, some get no answer. */
static void serve(int listener)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    CHECK(SSL_CTX_use_certificate_file(context, credential, SSL_FILETYPE_PEM) == 1);
    CHECK(SSL_CTX_use_PrivateKey_file(context, credential, SSL_FILETYPE_PEM) == 1);
    for (unsigned count = 1;; count++) {
        int end = accept(listener, NULL, NULL);
        if (end < 0)
            _exit(1);
        if (count % EVERY_SILENT == 0)
            continue; /* and never closed */
        if (count % EVERY_RUDE) {
            SSL *ssl = SSL_new(context);
            SSL_set_fd(ssl, end);
            if (SSL_accept(ssl) == 1)
                SSL_shutdown(ssl);
            SSL_free(ssl);
        }
        close(end);
    }
}

static struct generator *running;

static void *stop_later(void *argument)
{
    (void)argument;
    while (atomic_load(&running->operations.header->claimed) < UNTIL_STOPPED)
        usleep(100);
    generator_stop(running);
    return NULL;
}

static void play(const char *folder, u32 process, struct settings settings, u64 arrival_count)
{
    char operations[4096], connections[4096], outputs[4096];
    snprintf(operations, sizeof operations, "%s/operations-%u.rows", folder, process);
    snprintf(connections, sizeof connections, "%s/connections-%u.rows", folder, process);
    snprintf(outputs, sizeof outputs, "%s/outputs-%u.rows", folder, process);
    int error;
    running = generator_open(operations, connections, outputs, CAPACITY, process, &error);
    CHECK(running);
    CHECK(generator_set(running, &settings) == 0);
    CHECK(generator_prepare(running, CLIENTS) == 0);
    i64 arrivals[ARRIVALS];
    for (int i = 0; i < ARRIVALS; i++)
        arrivals[i] = i * 500000LL;
    struct load load = {.bytes = sizeof load,
                        .arrivals = arrival_count ? (u64)(uintptr_t)arrivals : 0,
                        .arrival_count = arrival_count,
                        .release_ns = now_ns() + 1000000,
                        .warmup_ns = 10000000,
                        .duration_ns = INT64_MAX / 2,
                        .give_up_ns = INT64_MAX,
                        .slots = CLIENTS};
    pthread_t stopper;
    if (!arrival_count)
        CHECK(!pthread_create(&stopper, NULL, stop_later, NULL));
    i64 begun = generator_run(running, &load);
    if (!arrival_count)
        CHECK(!pthread_join(stopper, NULL));
    generator_close(running);
    printf("%u %lld\n", process, (long long)begun);
}

int main(int count, char **argument)
{
    CHECK(count == 3);
    credential = argument[1];
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(listener >= 0 && !bind(listener, (struct sockaddr *)&address, bytes) && !listen(listener, 64));
    CHECK(!getsockname(listener, (struct sockaddr *)&address, &bytes));
    pid_t server = fork();
    CHECK(server >= 0);
    if (!server)
        serve(listener);

    FILE *file = fopen(credential, "r");
    X509 *certificate = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    CHECK(certificate);
    fclose(file);
    unsigned char *der = NULL;
    int der_bytes = i2d_X509(certificate, &der);
    CHECK(der_bytes > 0);
    X509_free(certificate);
    struct host pinned = {(u64)(uintptr_t)&address, bytes, (u64)(uintptr_t)"host-0.lab.test", (u64)(uintptr_t)der,
                          (u64)der_bytes, 0};
    struct host other = pinned;
    other.leaf_bytes--; /* a certificate that the server does not have */
    struct host hosts[] = {pinned, pinned, other};
    struct settings settings = {.bytes = sizeof settings,
                                .hosts = (u64)(uintptr_t)hosts,
                                .host_count = 3,
                                .timeout_ns = 100000000,
                                .version = TLS1_3_VERSION};
    u32 process = 1;
    for (int version = 0; version < 2; version++)
        for (int resume = 0; resume < 2; resume++)
            for (int open = 0; open < 2; open++) {
                settings.version = version ? TLS1_2_VERSION : TLS1_3_VERSION;
                settings.resume = (u32)resume;
                settings.closes_first = (u32)resume;
                settings.tag_key = open ? (u64)(uintptr_t)"000102030405060708090a0b0c0d0e0f" : 0;
                play(argument[2], process++, settings, open ? ARRIVALS : 0);
            }
    OPENSSL_free(der);
    kill(server, SIGKILL);
    CHECK(waitpid(server, NULL, 0) == server);
    return 0;
}
