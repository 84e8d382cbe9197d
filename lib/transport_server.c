/* lib/transport_server.c - the carriers on libwebsockets: its context, who answers which of its events, and
 * the loop. */
#include "lib/transport_private.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/text.h"

enum { FDS = 1024 };

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);

static const struct lws_protocols protocols[] = {
	{ TRANSPORT_PROTOCOL, callback, 0, CHUNK, 0, NULL, 0 },
	{ NULL, NULL, 0, 0, 0, NULL, 0 },
};

/* Peers that have gone without a word are found out. */
static const lws_retry_bo_t idle_policy = { .secs_since_valid_ping = 120, .secs_since_valid_hangup = 180 };

/* The link goes with its wsi; several reasons may come for one end. */
static int
gone(struct lws *wsi)
{
	struct link *l = lws_get_opaque_user_data(wsi);

	lws_set_opaque_user_data(wsi, NULL);
	if (l) {
		l->wsi = NULL;
		link_free(l);
	}
	return 0;
}

static int
callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct link *l = wsi ? lws_get_opaque_user_data(wsi) : NULL;

	(void)user;
	if (reason == LWS_CALLBACK_EVENT_WAIT_CANCELLED)
		return 0; /* transport_step looks at the queues after every turn */
	if (!l)
		return reason == LWS_CALLBACK_HTTP || reason == LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION ? -1
													: 0;
	switch (reason) {
	case LWS_CALLBACK_RAW_RX_FILE:
		return raw_readable(l);
	case LWS_CALLBACK_RAW_WRITEABLE_FILE:
		return raw_writable(l);
	case LWS_CALLBACK_HTTP:
		return http_begin(l, in);
	case LWS_CALLBACK_HTTP_BODY:
		return http_body(l, in, len);
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		return http_whole(l);
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return http_writable(l);
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return ws_begin(l);
	case LWS_CALLBACK_ESTABLISHED:
		lws_set_timer_usecs(wsi, (lws_usec_t)LINK_STRANGER_SECONDS * LWS_USEC_PER_SEC);
		lws_callback_on_writable(wsi); /* an answer may wait already */
		return 0;
	case LWS_CALLBACK_TIMER:
		return l->trusted ? 0 : -1;
	case LWS_CALLBACK_RECEIVE:
		return ws_received(l, in, len);
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return ws_writable(l);
	case LWS_CALLBACK_CLOSED:
	case LWS_CALLBACK_CLOSED_HTTP:
	case LWS_CALLBACK_RAW_CLOSE_FILE:
	case LWS_CALLBACK_WSI_DESTROY:
		return gone(wsi);
	default:
		return 0;
	}
}

static void
log_line(int level, const char *line)
{
	size_t len = strcspn(line, "\n");

	log_msg(level == LLL_ERR ? LOG_WARN : LOG_INFO, "transport: %.*s", (int)len, line);
}

static struct lws_vhost *
make_vhost(struct transport *t, const struct transport_config *c, const char *name, bool secure)
{
	struct lws_context_creation_info info = { 0 };

	info.vhost_name = name;
	info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
	info.protocols = protocols;
	info.retry_and_idle_policy = &idle_policy;
	info.timeout_secs = 20;
	info.keepalive_timeout = 60;
	if (secure) {
		/* No client shows a certificate: the system's authorities would only take a megabyte. */
		info.options = LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS |
			       LWS_SERVER_OPTION_ALLOW_NON_SSL_ON_SSL_PORT |
			       LWS_SERVER_OPTION_ALLOW_HTTP_ON_HTTPS_LISTENER;
		info.ssl_cert_filepath = c->cert;
		info.ssl_private_key_filepath = c->key;
		info.alpn = "http/1.1";
		info.ssl_options_set = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2;
	}
	return lws_create_vhost(t->context, &info);
}

static int
make_context(struct transport *t, const struct transport_config *c, struct err *e)
{
	struct lws_context_creation_info info = { 0 };

	lws_set_log_level(LLL_ERR, log_line);
	info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
		       (c->cert ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0);
	info.fd_limit_per_thread = FDS;
	info.pt_serv_buf_size = CHUNK;
	info.max_http_header_pool = LINKS_NETWORK; /* taken as needed: one address must not have them all */
	info.alpn = "http/1.1";
	t->context = lws_create_context(&info);
	if (!t->context)
		return err_set(e, EIO, "libwebsockets could not be set up");
	t->plain = make_vhost(t, c, "plain", false);
	if (!t->plain)
		return err_set(e, EIO, "libwebsockets could not be set up");
	if (c->cert)
		t->secure = make_vhost(t, c, "secure", true);
	if (c->cert && !t->secure)
		return err_set(e, EINVAL, "%s: the certificate or its key cannot be used", c->cert);
	return 0;
}

int
transport_new(struct transport **out, const struct transport_config *c, struct err *e)
{
	struct transport *t = calloc(1, sizeof(*t));
	int rc;

	*out = NULL;
	if (!t)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->done, NULL);
	t->ops = c->ops;
	t->ctx = c->ctx;
	rc = make_context(t, c, e);
	if (rc == 0 && c->local_path) {
		if (strlen(c->local_path) >= sizeof(t->local_path))
			rc = err_set(e, ENAMETOOLONG, "%s: the name is too long", c->local_path);
		else
			text_copy(t->local_path, sizeof(t->local_path), c->local_path);
	}
	if (rc == 0 && c->local_path)
		rc = local_listen(t, e);
	if (rc < 0) {
		transport_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

static void
serve_asked(struct transport *t)
{
	bool on;
	uint16_t port;
	struct err e = { 0 };
	int rc;

	pthread_mutex_lock(&t->lock);
	if (t->asked) {
		on = t->ask_on;
		port = t->ask_port;
		pthread_mutex_unlock(&t->lock);
		rc = network_serve(t, on, port, &e);
		pthread_mutex_lock(&t->lock);
		t->ask_rc = rc;
		t->ask_err = e;
		t->asked = false;
		pthread_cond_broadcast(&t->done);
	}
	pthread_mutex_unlock(&t->lock);
}

int
transport_listen(struct transport *t, bool on, uint16_t port, uint16_t *actual, struct err *e)
{
	int rc;

	if (!t->has_thread) {
		rc = network_serve(t, on, port, e);
		*actual = t->actual_port;
		return rc;
	}
	pthread_mutex_lock(&t->lock);
	while (t->asked)
		pthread_cond_wait(&t->done, &t->lock);
	t->asked = true;
	t->ask_on = on;
	t->ask_port = port;
	lws_cancel_service(t->context);
	while (t->asked)
		pthread_cond_wait(&t->done, &t->lock);
	rc = t->ask_rc;
	if (rc < 0 && e)
		*e = t->ask_err;
	*actual = t->actual_port;
	pthread_mutex_unlock(&t->lock);
	return rc;
}

int
transport_adopt(struct transport *t, enum link_kind kind, int fd, struct err *e)
{
	return kind == LINK_LOCAL ? local_adopt(t, fd, e) : network_adopt(t, t->plain, fd, "test");
}

void
transport_step(struct transport *t)
{
	serve_asked(t);
	links_serve(t);
	lws_service(t->context, -1);
	links_serve(t);
}

static bool
must_stop(struct transport *t)
{
	bool stop;

	pthread_mutex_lock(&t->lock);
	stop = t->stop;
	pthread_mutex_unlock(&t->lock);
	return stop;
}

static void *
loop(void *arg)
{
	struct transport *t = arg;

	while (!must_stop(t) && lws_service(t->context, 0) >= 0) {
		serve_asked(t);
		links_serve(t);
	}
	return NULL;
}

int
transport_start(struct transport *t, struct err *e)
{
	int rc = pthread_create(&t->thread, NULL, loop, t);

	if (rc)
		return err_set(e, rc, "no thread for the carriers: %s", strerror(rc));
	t->has_thread = true;
	return 0;
}

/* Connections one by one: those in the middle of a TLS hello are not freed with the context. */
static void
end_all(struct transport *t)
{
	struct link *l;

	do {
		for (l = t->links; l && l->role != ROLE_NETWORK; l = l->next)
			;
		if (l)
			lws_set_timeout(l->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
	} while (l);
	for (l = t->links; l; l = l->next)
		link_end_user(l);
}

void
transport_stop(struct transport *t)
{
	if (!t->has_thread)
		return;
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_mutex_unlock(&t->lock);
	lws_cancel_service(t->context);
	pthread_join(t->thread, NULL);
	t->has_thread = false;
	/* What is queued goes out, as far as the peers take it at once. */
	for (int i = 0; i < 10; i++)
		transport_step(t);
	end_all(t);
}

void
transport_free(struct transport *t)
{
	if (!t)
		return;
	if (t->context)
		lws_context_destroy(t->context); /* frees every link through its callback */
	while (t->links)
		link_free(t->links);
	if (t->local_path[0])
		unlink(t->local_path);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->done);
	free(t);
}
