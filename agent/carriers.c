/*
 * agent/carriers.c - connections become clients, tickets become streams.
 */
#include "agent/carriers.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/client.h"
#include "agent/login.h"
#include "agent/tickets.h"
#include "agent/tls.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/transport_server.h"

enum { PATH_SIZE = 256 };

struct carriers {
	struct transport *transport;
	char fingerprint[FINGERPRINT_SIZE];
	pthread_mutex_t lock; /* one opens or closes at a time */
	uint16_t port;        /* in use; 0: closed */
};

static void
op_send(void *link, char *text, size_t len, int status)
{
	link_send(link, text, len, status);
}

static bool
op_room(void *link, size_t len)
{
	return link_room(link, len);
}

static void
op_close(void *link)
{
	link_close(link);
}

static void
op_trust(void *link)
{
	link_trust(link);
}

static const struct client_ops stream_ops = { op_send, op_room, op_close, op_trust, .streams = true };
static const struct client_ops post_ops = { op_send, op_room, op_close, op_trust, .batches = true };

static enum carrier
carrier_of(enum link_kind kind)
{
	switch (kind) {
	case LINK_LOCAL:
		return CARRIER_LOCAL;
	case LINK_HTTP:
		return CARRIER_HTTPS;
	case LINK_WS:
	case LINK_STREAM:
		break;
	}
	return CARRIER_WSS;
}

static void
identify(struct agent *a, const struct link_peer *peer, struct identity *who)
{
	identity_none(who, carrier_of(peer->kind), peer->source);
	if (peer->kind == LINK_LOCAL)
		login_peer(a, peer->uid, who);
}

static void *
on_open(void *ctx, struct link *l, const struct link_peer *peer)
{
	struct identity who;

	identify(ctx, peer, &who);
	return client_new(
	    ctx, peer->kind == LINK_HTTP ? &post_ops : &stream_ops, l, &who, peer->authorization);
}

static void
on_message(void *user, const char *text, size_t len)
{
	client_message(user, text, len);
}

static void
on_oversized(void *user)
{
	client_oversized(user);
}

static void
on_ended(void *user)
{
	client_ended(user);
}

static void
on_closed(void *user)
{
	client_gone(user);
}

static char *
fault_text(const struct fault *f)
{
	json_t *doc = json_pack("{s:s, s:n, s:o}", "jsonrpc", "2.0", "id", "error", fault_to_json(f));
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

	json_decref(doc);
	return text;
}

/* Checking a password takes too long for this thread: on a stream only tokens count, and addresses. */
static int
on_stream(void *ctx, const char *ticket, const struct link_peer *peer, char **refusal)
{
	struct agent *a = ctx;
	struct identity who;
	struct fault f = { 0 };
	int fd = -1, rc = 0;

	identify(a, peer, &who);
	if (peer->authorization && strncmp(peer->authorization, "Bearer ", 7) == 0)
		rc = login_token(a, peer->authorization + 7, &who, &f);
	if (rc == 0)
		fd = tickets_take(a->tickets, ticket, &who, &f);
	if (fd < 0)
		*refusal = fault_text(&f);
	return fd;
}

static char *
on_complaint(int status, const char *sentence)
{
	struct fault f = { 0 };

	fault_set(&f,
	    status == 413   ? FAULT_TOO_LARGE
	    : status == 503 ? FAULT_TOO_BUSY
			    : FAULT_NOT_A_REQUEST,
	    NULL, NULL, "%s", sentence);
	return fault_text(&f);
}

static const struct transport_ops ops = { on_open, on_message, on_oversized, on_ended, on_closed, on_stream,
	on_complaint };

static void
host_name(char *out, size_t size)
{
	if (gethostname(out, size) < 0 || !out[0])
		snprintf(out, size, "freehold");
	out[size - 1] = '\0';
}

int
carriers_new(struct agent *a, struct err *e)
{
	char folder[PATH_SIZE], key[PATH_SIZE + 16], cert[PATH_SIZE + 16], local[PATH_SIZE], name[64];
	const struct transport_config config = {
		.cert = cert, .key = key, .local_path = local, .ops = &ops, .ctx = a
	};
	struct carriers *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&c->lock, NULL);
	a->carriers = c;
	host_name(name, sizeof(name));
	snprintf(folder, sizeof(folder), "%s/system/tls", a->o.data);
	snprintf(key, sizeof(key), "%s/key.pem", folder);
	snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
	snprintf(local, sizeof(local), "%s/rpc.sock", a->o.run);
	rc = tls_prepare(folder, name, c->fingerprint, e);
	if (rc == 0)
		rc = file_make_dirs(a->o.run, 0755, e);
	if (rc == 0)
		rc = transport_new(&c->transport, &config, e);
	if (rc < 0)
		carriers_free(a);
	return rc;
}

int
carriers_start(struct agent *a, struct err *e)
{
	return transport_start(a->carriers->transport, e);
}

void
carriers_stop(struct agent *a)
{
	if (a->carriers)
		transport_stop(a->carriers->transport);
}

void
carriers_free(struct agent *a)
{
	struct carriers *c = a->carriers;

	if (!c)
		return;
	transport_free(c->transport);
	pthread_mutex_destroy(&c->lock);
	free(c);
	a->carriers = NULL;
}

struct transport *
carriers_transport(struct agent *a)
{
	return a->carriers->transport;
}

int
carriers_remote(struct agent *a, bool on, struct err *e)
{
	struct carriers *c = a->carriers;
	uint16_t port = 0;
	bool was;
	int rc;

	pthread_mutex_lock(&c->lock);
	was = c->port != 0;
	rc = transport_listen(c->transport, on, a->o.port, &port, e);
	if (rc == 0)
		c->port = port;
	pthread_mutex_unlock(&c->lock);
	if (rc == 0 && was != on)
		log_msg(LOG_INFO, on ? "remote management is on, port %u" : "remote management is off", port);
	return rc;
}

uint16_t
carriers_port(struct agent *a)
{
	uint16_t port;

	pthread_mutex_lock(&a->carriers->lock);
	port = a->carriers->port;
	pthread_mutex_unlock(&a->carriers->lock);
	return port;
}

bool
carriers_remote_is_on(struct agent *a)
{
	return carriers_port(a) != 0;
}

const char *
carriers_fingerprint(struct agent *a)
{
	return a->carriers->fingerprint;
}
