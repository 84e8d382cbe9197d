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
#include "agent/watch.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/transport_server.h"

enum { PATH_SIZE = 256 };

/* A stream that is open, and what it takes to keep it so. */
struct stream {
	struct watched watched;
	struct stream *next;
	struct agent *agent;
	struct link *link;
	struct stream_rights rights;
};

struct carriers {
	struct transport *transport;
	struct stream *streams; /* on the transport's thread only */
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

/* Under the lock of the watch; the link is there until watch_drop has returned. */
static bool
look(struct watched *w)
{
	struct stream *s = (struct stream *)(void *)w;
	struct stream_rights *r = &s->rights;

	if (login_holds(s->agent, &r->who, r->role, r->path))
		return login_can_lose(&r->who);
	link_close(s->link);
	return false;
}

static void
on_stream_closed(void *ctx, struct link *l)
{
	struct agent *a = ctx;

	for (struct stream **at = &a->carriers->streams; *at; at = &(*at)->next)
		if ((*at)->link == l) {
			struct stream *s = *at;

			*at = s->next;
			watch_drop(a->watch, &s->watched);
			free(s);
			return;
		}
}

/* Watched first: rights that go after the look are seen by the next one. */
static int
stream_new(struct agent *a, struct link *l, const struct stream_rights *r, struct fault *f)
{
	struct stream *s = calloc(1, sizeof(*s));
	struct stream_rights now = *r;

	if (!s)
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	*s = (struct stream){
		.watched.look = look, .next = a->carriers->streams, .agent = a, .link = l, .rights = *r
	};
	a->carriers->streams = s;
	watch_add(a->watch, &s->watched);
	agent_rights_given(a);
	if (login_holds(a, &now.who, now.role, now.path))
		return 0;
	on_stream_closed(a, l);
	return fault_set(f, FAULT_FORBIDDEN, NULL, "Log in and ask for a new ticket.",
	    "what the ticket was given for is not allowed any more");
}

/* Checking a password takes too long for this thread: on a stream only tokens count, and addresses. */
static int
on_stream(void *ctx, const char *ticket, const struct link_peer *peer, char **refusal)
{
	struct agent *a = ctx;
	struct stream_rights rights = { 0 };
	struct identity who;
	struct fault f = { 0 };
	int fd = -1, rc = 0;

	identify(a, peer, &who);
	if (peer->authorization && strncmp(peer->authorization, "Bearer ", 7) == 0)
		rc = login_token(a, peer->authorization + 7, &who, &f);
	if (rc == 0)
		fd = tickets_take(a->tickets, ticket, &who, &rights, &f);
	if (fd >= 0 && stream_new(a, peer->link, &rights, &f) < 0) {
		close(fd);
		fd = -1;
	}
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
	on_complaint, on_stream_closed };

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
