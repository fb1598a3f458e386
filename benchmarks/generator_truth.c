/* A server that delays exactly and stamps what it does, and a stopwatch: the plainest client that can be timed.
 *
 *     generator_truth serve CERTIFICATE_AND_KEY.pem LISTENING_DESCRIPTOR DELAY_NS STAMPS
 *     generator_truth time PORT COUNT BEGIN_NS GAP_NS
 *
 * The server takes one connection after the other: accept, the delay, the handshake; then it answers what is asked by HTTP,
 * if anything is, says close_notify and closes. STAMPS gets four i64 of CLOCK_MONOTONIC for each connection: accepted,
 * delayed, shaken hands, ready for the next. The stopwatch prints, for each handshake, ns from before socket() to its end.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

enum { NS_PER_S = 1000000000, SPIN_NS = 200000, ROOM = 4096 };

static const char answer[] = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * NS_PER_S + time.tv_nsec;
}

/* Sleeps until shortly before, and asks the clock for the rest. */
static void wait_until(int64_t instant)
{
    int64_t sleep_to = instant - SPIN_NS;
    struct timespec time = {sleep_to / NS_PER_S, sleep_to % NS_PER_S};
    if (sleep_to > now_ns())
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
    while (now_ns() < instant) {
    }
}

static int serve(const char *pem, int listener, int64_t delay_ns, const char *file)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    FILE *stamps = fopen(file, "wb");
    if (!context || !stamps || SSL_CTX_use_certificate_file(context, pem, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, pem, SSL_FILETYPE_PEM) != 1)
        return 2;
    SSL_CTX_set_num_tickets(context, 0); /* as the lab's server where nothing is resumed */
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    for (;;) {
        char asked[ROOM];
        int end = accept(listener, NULL, NULL), on = 1;
        int64_t at[4] = {now_ns()};
        if (end < 0)
            return 1;
        setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (delay_ns)
            wait_until(at[0] + delay_ns);
        at[1] = now_ns();
        SSL *ssl = SSL_new(context);
        int greeted = SSL_set_fd(ssl, end) && SSL_accept(ssl) == 1;
        at[2] = now_ns();
        if (greeted) {
            if (SSL_read(ssl, asked, sizeof asked) > 0)
                SSL_write(ssl, answer, sizeof answer - 1);
            SSL_shutdown(ssl);
        }
        SSL_free(ssl);
        close(end);
        at[3] = now_ns();
        if (greeted && (fwrite(at, sizeof at, 1, stamps) != 1 || fflush(stamps)))
            return 1;
    }
}

static int greet(SSL_CTX *context, const struct sockaddr_in *address)
{
    char rest[ROOM];
    struct linger reset = {1, 0};
    int on = 1;
    SSL *ssl = SSL_new(context);
    int64_t begun_ns = now_ns();
    int end = socket(AF_INET, SOCK_STREAM, 0);
    if (end < 0 || connect(end, (const struct sockaddr *)address, sizeof *address))
        return 1;
    if (!SSL_set_fd(ssl, end) || SSL_connect(ssl) != 1)
        return 1;
    printf("%lld\n", (long long)(now_ns() - begun_ns));
    setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(end, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    SSL_shutdown(ssl);
    while (SSL_read(ssl, rest, sizeof rest) > 0) {
    }
    SSL_free(ssl);
    return close(end);
}

static int time_handshakes(int port, int count, int64_t next_ns, int64_t gap_ns)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context)
        return 2;
    for (int i = 0; i < count; i++, next_ns += gap_ns) {
        wait_until(next_ns);
        if (greet(context, &address))
            return 1;
    }
    return 0;
}

int main(int count, char **argument)
{
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1UL);
    if (count == 6 && !strcmp(argument[1], "serve"))
        return serve(argument[2], atoi(argument[3]), atoll(argument[4]), argument[5]);
    if (count == 6 && !strcmp(argument[1], "time"))
        return time_handshakes(atoi(argument[2]), atoi(argument[3]), atoll(argument[4]), atoll(argument[5]));
    return 2;
}
