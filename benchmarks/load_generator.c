/* The simplest server that closes as the lab's does: one handshake after the other, close_notify, close.
 *
 *     load_generator CERTIFICATE_AND_KEY.pem LISTENING_DESCRIPTOR
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

int main(int count, char **argument)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (count != 3 || !context || SSL_CTX_use_certificate_file(context, argument[1], SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argument[1], SSL_FILETYPE_PEM) != 1)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    SSL_CTX_set_num_tickets(context, 0); /* as the lab's server where nothing is resumed */
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    for (;;) {
        int end = accept(atoi(argument[2]), NULL, NULL), on = 1;
        if (end < 0)
            return 1;
        setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        SSL *ssl = SSL_new(context);
        if (SSL_set_fd(ssl, end) && SSL_accept(ssl) == 1)
            SSL_shutdown(ssl);
        SSL_free(ssl);
        close(end);
    }
}
