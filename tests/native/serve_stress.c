/* The server and its clients in one process, with this program in the place of the worker in Python.
 *
 * serve_stress FAKE FOLDER MODE THREADS CONNECTIONS
 * MODE is threads, event or prefork. The keys are OpenSSL's (handshakes succeed) and then the fake module's, whose
 * signatures no client takes. It prints "connections <file> <rows>" for each file of rows.
 */
#define _GNU_SOURCE
#include "serve.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#define CHECK(condition) ((condition) ? (void)0 : give_up(#condition, __LINE__))

enum { CAPACITY = 1 << 16, CHILDREN = 2, CLIENTS = 3, PEM_BYTES = 4096, DAY_S = 86400, HOSTS = 2, KEYS_BASE = 7 };
#define TIMEOUT_NS 20000000000

struct tls *tls_new(const struct tls_settings *settings);
int tls_load(struct tls *tls, const char *library, const char *module, const char *pin);
int tls_token(struct tls *tls, const struct token_settings *settings);
int tls_key(struct tls *tls, u32 host, const char *what);
int tls_context(struct tls *tls, u32 host, const char *certificate, const char *name);
int tls_handshake_once(struct tls *tls, u32 host, u32 thread, struct outcome *outcome);
void tls_free(struct tls *tls);
struct server *server_open(const char *path, u64 capacity, u32 process, struct tls *tls, i64 timeout_ns, int *error);
int server_listen(struct server *server, u32 mode, const int *sockets, const u32 *hosts, u32 count);
i64 server_run(struct server *server, u32 thread, u64 most);
void server_stop(struct server *server);
void server_close(struct server *server);

static CK_FUNCTION_LIST *module;
static const char *folder;
static u32 threads, connections, files;
static struct sockaddr_in address[HOSTS];
static int listeners[HOSTS];

static void give_up(const char *what, int line)
{
    dprintf(STDERR_FILENO, "serve_stress.c:%d: %s\n", line, what);
    abort();
}

static void text_of(BIO *bio, char *text)
{
    int bytes = BIO_read(bio, text, PEM_BYTES - 1);
    CHECK(bytes > 0);
    text[bytes] = 0;
    BIO_free(bio);
}

/* A key, its public half and a certificate that it signs itself, all in PEM. */
static void make_key(char *private, char *public, char *certificate)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *made = X509_new();
    BIO *of_private = BIO_new(BIO_s_mem()), *of_public = BIO_new(BIO_s_mem()), *of_made = BIO_new(BIO_s_mem());
    CHECK(key && made && X509_set_pubkey(made, key) && X509_gmtime_adj(X509_getm_notBefore(made), 0) &&
          X509_gmtime_adj(X509_getm_notAfter(made), DAY_S) && X509_sign(made, key, EVP_sha256()));
    CHECK(PEM_write_bio_PrivateKey(of_private, key, NULL, NULL, 0, NULL, NULL) &&
          PEM_write_bio_PUBKEY(of_public, key) && PEM_write_bio_X509(of_made, made));
    text_of(of_private, private);
    text_of(of_public, public);
    text_of(of_made, certificate);
    X509_free(made);
    EVP_PKEY_free(key);
}

static struct tls *make_tls(u32 bridge, u32 session_use)
{
    CK_SESSION_HANDLE sessions[threads];
    CK_OBJECT_HANDLE keys[HOSTS];
    struct tls_settings settings = {.bytes = sizeof settings, .bridge = bridge, .version = 0x0304, .hosts = HOSTS};
    struct tls *tls = tls_new(&settings);
    CHECK(tls && !tls_load(tls, NULL, NULL, NULL));
    for (u32 i = 0; i < threads; i++)
        sessions[i] = 100 + i;
    for (u32 host = 0; host < HOSTS; host++) {
        char private[PEM_BYTES], public[PEM_BYTES], certificate[PEM_BYTES], name[32];
        make_key(private, public, certificate);
        snprintf(name, sizeof name, "host-%u.lab.test", host);
        CHECK(!tls_key(tls, host, bridge == BRIDGE_DIRECT ? public : private));
        CHECK(!tls_context(tls, host, certificate, name));
        keys[host] = KEYS_BASE + host;
    }
    struct token_settings token = {.bytes = sizeof token,
                                   .functions = (u64)(uintptr_t)module,
                                   .sessions = (u64)(uintptr_t)sessions,
                                   .session_count = session_use == SESSION_POOL ? 1 : threads,
                                   .keys = (u64)(uintptr_t)keys,
                                   .key_count = HOSTS,
                                   .session_use = session_use};
    CHECK(bridge != BRIDGE_DIRECT || !tls_token(tls, &token));
    return tls;
}

static void listen_all(void)
{
    for (u32 host = 0; host < HOSTS; host++) {
        socklen_t bytes = sizeof address[host];
        address[host] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        CHECK((listeners[host] = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
        CHECK(!bind(listeners[host], (struct sockaddr *)&address[host], bytes) && !listen(listeners[host], 128));
        CHECK(!getsockname(listeners[host], (struct sockaddr *)&address[host], &bytes));
    }
}

struct runner {
    pthread_t thread;
    struct server *server;
    u32 index, hosts;
    i64 served;
};

static void *serve(void *given)
{
    struct runner *runner = given;
    runner->served = server_run(runner->server, runner->index, 0);
    return NULL;
}

/* Real clients, and some that say nothing, or rubbish, or go away. Whether a handshake succeeds is not asked here. */
static void *call(void *given)
{
    static const char *const names[] = {"host-1.lab.test", "stranger.lab.test"};
    struct runner *runner = given;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    CHECK(context);
    for (u32 i = 0; i < connections; i++) {
        u32 host = i % runner->hosts;
        int raw = socket(AF_INET, SOCK_STREAM, 0);
        struct linger reset = {1, 0};
        char byte;
        CHECK(raw >= 0 && !connect(raw, (struct sockaddr *)&address[host], sizeof address[host]));
        if (i % 8 == 6) {
            CHECK(write(raw, "rubbish, not TLS", 16) == 16);
            while (read(raw, &byte, 1) > 0) {
            }
        } else if (i % 8 != 7) {
            SSL *ssl = SSL_new(context);
            CHECK(ssl && SSL_set_fd(ssl, raw));
            SSL_set_tlsext_host_name(ssl, names[i % 2]);
            if (SSL_connect(ssl) == 1)
                SSL_read(ssl, &byte, 1);
            SSL_free(ssl);
        }
        setsockopt(raw, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(raw);
    }
    SSL_CTX_free(context);
    return NULL;
}

/* One server in `count` threads and, where `calls`, its clients. Returns the connections. */
static u64 play(struct tls *tls, u32 mode, u32 hosts, u32 count, int calls)
{
    char path[4096], name[128];
    const u32 host_of[HOSTS] = {0, 1};
    struct runner servers[count], clients[CLIENTS];
    u64 served = 0;
    int error = 0;
    snprintf(name, sizeof name, "connections-%d-%u.rows", (int)getpid(), ++files);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    struct server *server = server_open(path, CAPACITY, files, tls, TIMEOUT_NS, &error);
    CHECK(server && !server_listen(server, mode, listeners, host_of, hosts));
    for (u32 i = 0; i < count; i++) {
        servers[i] = (struct runner){.server = server, .index = i};
        CHECK(!pthread_create(&servers[i].thread, NULL, serve, &servers[i]));
    }
    for (u32 i = 0; calls && i < CLIENTS; i++) {
        clients[i] = (struct runner){.hosts = hosts};
        CHECK(!pthread_create(&clients[i].thread, NULL, call, &clients[i]));
    }
    for (u32 i = 0; calls && i < CLIENTS; i++)
        CHECK(!pthread_join(clients[i].thread, NULL));
    server_stop(server);
    for (u32 i = 0; i < count; i++) {
        CHECK(!pthread_join(servers[i].thread, NULL));
        served += (u64)servers[i].served;
    }
    server_close(server);
    dprintf(STDOUT_FILENO, "connections %s %llu\n", name, (unsigned long long)served);
    return served;
}

static void play_bridges(u32 mode, u32 count)
{
    static const struct part {
        u32 bridge, session_use, hosts;
    } parts[] = {{BRIDGE_SOFTWARE, SESSION_NONE, 1},
                 {BRIDGE_SOFTWARE, SESSION_NONE, HOSTS},
                 {BRIDGE_DIRECT, SESSION_OWN, 1},
                 {BRIDGE_DIRECT, SESSION_POOL, HOSTS},
                 {BRIDGE_DIRECT, SESSION_PER_OPERATION, 1}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct outcome outcome;
        struct tls *tls = make_tls(parts[i].bridge, parts[i].session_use);
        CHECK(!tls_handshake_once(tls, 0, 0, &outcome) == (parts[i].bridge == BRIDGE_SOFTWARE));
        play(tls, mode, parts[i].hosts, count, 1);
        play(tls, mode, parts[i].hosts, count, 0); /* a stop as soon as there are threads */
        tls_free(tls);
    }
}

/* Children serve with what the parent made, before its own threads have ever been started. */
static void prefork(void)
{
    struct tls *tls = make_tls(BRIDGE_DIRECT, SESSION_POOL);
    struct outcome outcome;
    pid_t children[CHILDREN];
    tls_handshake_once(tls, 0, 0, &outcome);
    for (int i = 0; i < CHILDREN; i++) {
        CHECK((children[i] = fork()) >= 0);
        if (children[i])
            continue;
        listen_all();
        play(tls, SERVING_BLOCKING, 1, threads, 1);
        tls_free(tls);
        exit(0);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;
        CHECK(waitpid(children[i], &status, 0) == children[i] && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    tls_free(tls);
}

int main(int count, char **argument)
{
    CHECK(count == 6);
    void *fake = dlopen(argument[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(fake);
    CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(fake, "C_GetFunctionList");
    CHECK(get && get(&module) == CKR_OK);
    signal(SIGPIPE, SIG_IGN);
    folder = argument[2];
    threads = (u32)atoi(argument[4]);
    connections = (u32)atoi(argument[5]);
    if (!strcmp(argument[3], "prefork")) {
        prefork();
        return 0;
    }
    listen_all();
    if (!strcmp(argument[3], "threads"))
        play_bridges(SERVING_BLOCKING, threads);
    else if (!strcmp(argument[3], "event"))
        play_bridges(SERVING_EVENT, 1);
    else
        return 2;
    return 0;
}
