/*
 * lib/transport_client.c - the client half of the WebSocket carrier, on libwebsockets.
 *
 * A connection is a struct bridge: its own libwebsockets context and thread, so that no other thread
 * ever touches the library's objects. The caller's thread shares with it only the outcome of
 * connecting (under a lock) and the socket pair. Whoever lets go last frees the bridge.
 *
 * Flow: what the caller writes becomes at most one frame in `up` at a time; what the host sends waits
 * in `down` until the caller reads. While either is full its source is not read.
 */
#include "lib/transport_client.h"

#include <errno.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 16 * 1024, FLUSH_MS = 1000 };

struct bridge {
	/* the caller's and the thread's, under the lock */
	pthread_mutex_t lock;
	int users; /* 2, then 1 */
	bool settled;
	int outcome; /* 0 or a negative errno, once settled */
	struct transport_told told;
	int bell[2]; /* a pipe: readable once settled */

	/* the thread's */
	enum transport_kind kind;
	char host[RPC_HOST_MAX + 1], path[256], authorization[600], fingerprint[RPC_FINGERPRINT_SIZE];
	char authority[RPC_HOST_MAX + 16]; /* of the Host header */
	uint16_t port;
	int fd; /* its end of the pair; libwebsockets' once adopted */
	SSL_CTX *tls;
	struct lws_context *context;
	struct lws *ws, *local; /* NULL when gone */
	bool open, local_ended;
	unsigned char *up; /* LWS_PRE bytes, then what is to be sent */
	size_t up_size, up_len;
	bool up_whole; /* a frame is complete */
	char *down;
	size_t down_size, down_len;
};

static void
bridge_free(struct bridge *b)
{
	explicit_bzero(b->authorization, sizeof(b->authorization));
	pthread_mutex_destroy(&b->lock);
	close(b->bell[0]);
	close(b->bell[1]);
	SSL_CTX_free(b->tls);
	free(b->up);
	free(b->down);
	free(b);
}

static void
bridge_put(struct bridge *b)
{
	bool last;

	pthread_mutex_lock(&b->lock);
	last = --b->users == 0;
	pthread_mutex_unlock(&b->lock);
	if (last)
		bridge_free(b);
}

/* Only the first outcome counts. */
static void
settle(struct bridge *b, int outcome, int status, const char *why)
{
	pthread_mutex_lock(&b->lock);
	if (!b->settled) {
		b->settled = true;
		b->outcome = outcome;
		b->told.http_status = status;
		snprintf(b->told.why, sizeof(b->told.why), "%s", why ? why : "");
		if (write(b->bell[1], "", 1) < 0) /* a pipe that is empty takes a byte */
			b->outcome = outcome ? outcome : -EIO;
	}
	pthread_mutex_unlock(&b->lock);
}

static bool
rejected(struct bridge *b)
{
	bool differs;

	pthread_mutex_lock(&b->lock);
	differs = b->told.seen[0] && strcasecmp(b->told.seen, b->fingerprint) != 0;
	pthread_mutex_unlock(&b->lock);
	return differs;
}

/* --- the certificate ---------------------------------------------------------------------------- */

static bool
fingerprint_of(X509 *cert, char out[RPC_FINGERPRINT_SIZE])
{
	unsigned char hash[SHA256_DIGEST_LENGTH];
	unsigned int len = sizeof(hash);

	if (!cert || !X509_digest(cert, EVP_sha256(), hash, &len) || len != sizeof(hash))
		return false;
	for (size_t i = 0; i < sizeof(hash); i++)
		snprintf(out + 3 * i, 4, i + 1 < sizeof(hash) ? "%02X:" : "%02X", hash[i]);
	return true;
}

/* In the handshake, instead of OpenSSL's check of chains: the pin is all there is. 0 ends the handshake. */
static int
check_certificate(X509_STORE_CTX *store, void *ctx)
{
	struct bridge *b = ctx;
	char seen[RPC_FINGERPRINT_SIZE] = "";
	bool known = fingerprint_of(X509_STORE_CTX_get0_cert(store), seen);

	pthread_mutex_lock(&b->lock);
	memcpy(b->told.seen, seen, sizeof(seen));
	pthread_mutex_unlock(&b->lock);
	known = known && strcasecmp(seen, b->fingerprint) == 0;
	X509_STORE_CTX_set_error(store, known ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
	return known;
}

static SSL_CTX *
make_tls(struct bridge *b)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

	if (!tls)
		return NULL;
	SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(tls, check_certificate, b);
	return tls;
}

/* --- the host's side ---------------------------------------------------------------------------- */

static void
write_down(struct bridge *b)
{
	ssize_t n = 0;

	while (b->down_len > 0 && n >= 0) {
		n = send(b->fd, b->down, b->down_len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n <= 0)
			break;
		b->down_len -= (size_t)n;
		memmove(b->down, b->down + n, b->down_len);
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		b->down_len = 0; /* the caller has gone */
}

/* What came from the host; a text frame becomes one line, whatever white space is in it. */
static int
take_down(struct bridge *b, const char *in, size_t len, bool last)
{
	size_t need = b->down_len + len + 1;
	char *grown = b->down;

	if (need > b->down_size && !(grown = realloc(b->down, need + CHUNK)))
		return -1;
	if (need > b->down_size)
		b->down_size = need + CHUNK;
	b->down = grown;
	memcpy(b->down + b->down_len, in, len);
	for (size_t i = 0; b->kind == TRANSPORT_LINES && i < len; i++)
		if (b->down[b->down_len + i] == '\n')
			b->down[b->down_len + i] = ' ';
	b->down_len += len;
	if (b->kind == TRANSPORT_LINES && last)
		b->down[b->down_len++] = '\n';
	if (!b->local)
		return -1;
	write_down(b);
	if (b->down_len > 0) {
		lws_rx_flow_control(b->ws, 0);
		lws_callback_on_writable(b->local);
	}
	return 0;
}

/* Sends the frame that is ready, then reads the caller again. */
static int
send_up(struct bridge *b)
{
	enum lws_write_protocol how = b->kind == TRANSPORT_LINES ? LWS_WRITE_TEXT : LWS_WRITE_BINARY;
	size_t len = b->up_len;
	int n;

	if (!b->up_whole)
		return b->local_ended ? -1 : 0;
	b->up_whole = false;
	b->up_len = 0;
	n = lws_write(b->ws, b->up + LWS_PRE, len, how);
	explicit_bzero(b->up + LWS_PRE, len); /* it may have been a password */
	if (n < (int)len)
		return -1;
	if (b->local)
		lws_rx_flow_control(b->local, 1);
	else
		lws_callback_on_writable(b->ws); /* and close */
	return 0;
}

/* --- the caller's side -------------------------------------------------------------------------- */

static int
room_up(struct bridge *b, size_t more)
{
	size_t need = LWS_PRE + b->up_len + more;
	unsigned char *grown;

	if (need <= b->up_size)
		return 0;
	if (b->up_len + more > RPC_MESSAGE_MAX + (size_t)CHUNK)
		return -1;
	grown = realloc(b->up, need + CHUNK);
	if (!grown)
		return -1;
	b->up = grown;
	b->up_size = need + CHUNK;
	return 0;
}

/* Reads at most one message: what follows it waits in the socket. */
static int
read_up(struct bridge *b)
{
	char chunk[CHUNK], *nl;
	size_t take;
	ssize_t n;

	if (b->up_whole)
		return 0;
	n = recv(b->fd, chunk, sizeof(chunk), MSG_DONTWAIT | (b->kind == TRANSPORT_LINES ? MSG_PEEK : 0));
	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
	nl = b->kind == TRANSPORT_LINES ? memchr(chunk, '\n', (size_t)n) : NULL;
	take = nl ? (size_t)(nl - chunk) : (size_t)n;
	if (b->kind == TRANSPORT_LINES && recv(b->fd, chunk, take + (nl ? 1 : 0), MSG_DONTWAIT) < 0)
		return -1;
	if (room_up(b, take) < 0)
		return -1;
	memcpy(b->up + LWS_PRE + b->up_len, chunk, take);
	explicit_bzero(chunk, sizeof(chunk));
	b->up_len += take;
	b->up_whole = nl || b->kind == TRANSPORT_BYTES;
	if (!b->up_whole)
		return 0;
	lws_rx_flow_control(b->local, 0);
	if (b->open)
		lws_callback_on_writable(b->ws);
	return 0;
}

/* The host has gone and the caller has not read all yet. */
static int
drain_down(struct bridge *b)
{
	write_down(b);
	if (b->down_len > 0) {
		lws_callback_on_writable(b->local);
		return 0;
	}
	if (!b->ws)
		return -1;
	lws_rx_flow_control(b->ws, 1);
	return 0;
}

/* --- libwebsockets' events ---------------------------------------------------------------------- */

static int
add_header(struct bridge *b, struct lws *wsi, unsigned char **p, const unsigned char *end)
{
	if (!b->authorization[0])
		return 0;
	return lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_AUTHORIZATION,
	    (const unsigned char *)b->authorization, (int)strlen(b->authorization), p, (unsigned char *)end);
}

static void
ws_gone(struct bridge *b)
{
	b->ws = NULL;
	b->open = false;
	settle(b, -ECONNRESET, 0, "the connection was closed");
	if (b->local) /* what was received is still delivered, then the caller sees the end */
		lws_callback_on_writable(b->local);
}

static int
connection_error(struct bridge *b, struct lws *wsi, const char *why)
{
	int status = (int)lws_http_client_http_response(wsi);

	if (rejected(b))
		settle(b, -EKEYREJECTED, 0, "another certificate");
	else if (status >= 200)
		settle(b, -EACCES, status, why);
	else
		settle(b, -ECONNREFUSED, 0, why);
	ws_gone(b);
	return 0;
}

static int
local_gone(struct bridge *b)
{
	b->local = NULL;
	b->local_ended = true;
	b->down_len = 0;
	settle(b, -ECANCELED, 0, "given up");
	if (b->ws && b->open)
		lws_callback_on_writable(b->ws);
	else if (b->ws)
		lws_set_timeout(b->ws, PENDING_TIMEOUT_AWAITING_CONNECT_RESPONSE, LWS_TO_KILL_ASYNC);
	return 0;
}

static int
on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct lws_context *context = lws_get_context(wsi);
	struct bridge *b = context ? lws_context_user(context) : NULL;

	(void)user;
	if (!b)
		return 0;
	switch (reason) {
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
		return add_header(b, wsi, in, *(unsigned char **)in + len);
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		b->open = true;
		settle(b, 0, 0, NULL);
		if (b->up_whole || b->local_ended)
			lws_callback_on_writable(wsi);
		return 0;
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		return connection_error(b, wsi, in);
	case LWS_CALLBACK_CLIENT_RECEIVE:
		return take_down(
		    b, in, len, lws_is_final_fragment(wsi) && !lws_remaining_packet_payload(wsi));
	case LWS_CALLBACK_CLIENT_WRITEABLE:
		return send_up(b);
	case LWS_CALLBACK_CLIENT_CLOSED:
		ws_gone(b);
		return 0;
	case LWS_CALLBACK_RAW_RX_FILE:
		return read_up(b);
	case LWS_CALLBACK_RAW_WRITEABLE_FILE:
		return drain_down(b);
	case LWS_CALLBACK_RAW_CLOSE_FILE:
		return local_gone(b);
	default:
		return 0;
	}
}

static const struct lws_protocols protocols[] = {
	{ .name = "freehold", .callback = on_event, .rx_buffer_size = CHUNK },
	{ 0 },
};

/* --- the thread --------------------------------------------------------------------------------- */

static bool
make_context(struct bridge *b)
{
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
		.fd_limit_per_thread = 16, /* else tables for as many as ulimit admits */
		.ka_time = 60,
		.ka_probes = 3,
		.ka_interval = 10,
		.user = b,
	};

	b->tls = make_tls(b);
	info.provided_client_ssl_ctx = b->tls;
	b->context = b->tls ? lws_create_context(&info) : NULL;
	return b->context;
}

static bool
adopt_local(struct bridge *b)
{
	lws_sock_file_fd_type fd = { .filefd = b->fd };

	b->local = lws_adopt_descriptor_vhost(lws_get_vhost_by_name(b->context, "default"),
	    LWS_ADOPT_RAW_FILE_DESC, fd, protocols[0].name, NULL);
	if (!b->local)
		b->fd = -1; /* closed by the library */
	return b->local;
}

static void
begin_connect(struct bridge *b)
{
	struct lws_client_connect_info info = {
		.context = b->context,
		.address = b->host,
		.port = b->port,
		.ssl_connection = LCCSCF_USE_SSL | LCCSCF_ALLOW_SELFSIGNED |
				  LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK | LCCSCF_ALLOW_EXPIRED |
				  LCCSCF_ALLOW_INSECURE,
		.path = b->path,
		.host = b->authority,
		.origin = NULL,
		.local_protocol_name = protocols[0].name,
		.alpn = "http/1.1",
		.pwsi = &b->ws,
	};

	if (!lws_client_connect_via_info(&info)) {
		b->ws = NULL;
		settle(b, -ECONNREFUSED, 0, "no connection"); /* unless the callback knew better */
	}
}

static void *
run(void *ctx)
{
	struct bridge *b = ctx;

	if (!make_context(b)) {
		close(b->fd);
		settle(b, -ENOMEM, 0, "out of memory");
	} else if (!adopt_local(b)) {
		settle(b, -ENOMEM, 0, "out of memory");
	} else {
		begin_connect(b);
		if (!b->ws)
			lws_callback_on_writable(b->local);
		while ((b->ws || b->local) && lws_service(b->context, 0) >= 0)
			;
	}
	if (b->context)
		lws_context_destroy(b->context);
	settle(b, -ECONNRESET, 0, "the connection was closed");
	bridge_put(b);
	return NULL;
}

/* Signals are for the program's own threads. OpenSSL must not clean up under a thread when the program ends.
 */
static int
start_thread(struct bridge *b)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL);
	lws_set_log_level(0, NULL);
	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&thread, &attr, run, b);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -rc;
}

/* --- the caller --------------------------------------------------------------------------------- */

static struct bridge *
bridge_new(const struct transport_target *t, int fd)
{
	struct bridge *b = calloc(1, sizeof(*b));
	int n = 0;

	if (!b || pipe2(b->bell, O_CLOEXEC) < 0) {
		free(b);
		return NULL;
	}
	pthread_mutex_init(&b->lock, NULL);
	b->users = 2;
	b->kind = t->kind;
	b->port = t->port;
	b->fd = fd;
	snprintf(b->host, sizeof(b->host), "%s", t->host);
	snprintf(
	    b->authority, sizeof(b->authority), strchr(t->host, ':') ? "[%s]:%u" : "%s:%u", t->host, t->port);
	snprintf(b->fingerprint, sizeof(b->fingerprint), "%s", t->fingerprint ? t->fingerprint : "");
	if (t->token)
		n = snprintf(b->authorization, sizeof(b->authorization), "Bearer %s", t->token);
	if (n < 0 || (size_t)n >= sizeof(b->authorization) ||
	    snprintf(b->path, sizeof(b->path), "%s", t->path) >= (int)sizeof(b->path)) {
		bridge_free(b);
		return NULL;
	}
	return b;
}

static int
wait_settled(struct bridge *b, const struct rpc_patience *p, struct transport_told *told)
{
	int rc = rpc_wait(b->bell[0], POLLIN, p);

	pthread_mutex_lock(&b->lock);
	*told = b->told;
	if (rc == 0)
		rc = b->outcome;
	pthread_mutex_unlock(&b->lock);
	return rc;
}

int
transport_connect(
    const struct transport_target *t, const struct rpc_patience *p, int *fd, struct transport_told *told)
{
	struct bridge *b;
	int pair[2], rc;

	memset(told, 0, sizeof(*told));
	*fd = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	b = bridge_new(t, pair[1]);
	rc = b ? start_thread(b) : -ENOMEM;
	if (rc < 0) {
		if (b)
			bridge_free(b);
		close(pair[0]);
		close(pair[1]);
		return rc;
	}
	rc = wait_settled(b, p, told);
	bridge_put(b);
	if (rc < 0)
		close(pair[0]); /* which ends the thread */
	else
		*fd = pair[0];
	return rc;
}
