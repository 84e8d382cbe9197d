/* lib/transport_http.c - HTTP: a request, its body, one answer. */
#include "lib/transport_private.h"

#include <stdlib.h>
#include <string.h>

#include "lib/text.h"

enum { ANSWER_SECONDS = 3600 /* a request may take long */ };

char *
http_header(struct lws *wsi, enum lws_token_indexes token, char out[HEADER_MAX])
{
	int n = lws_hdr_total_length(wsi, token);

	if (n <= 0)
		return NULL;
	if (n >= HEADER_MAX || lws_hdr_copy(wsi, out, HEADER_MAX, token) < 0)
		text_copy(out, HEADER_MAX, "too long");
	return out;
}

/* On the network nothing is said in the clear. libwebsockets lets plain HTTP through, so that it gets an
 * answer; its lws_is_ssl is true even then. */
bool
http_in_the_clear(const struct link *l)
{
	return l->secure && !lws_get_ssl(l->wsi);
}

/* The answer is not a client's: one sentence, and the connection ends. */
static int
complain(struct link *l, int status, const char *sentence)
{
	char *text = l->t->ops->complaint(status, sentence);

	l->hang_up = true;
	l->deaf = true;
	link_send(l, text, text ? strlen(text) : 0, status);
	return 0;
}

/* A request's header is here. */
int
http_begin(struct link *l, const char *uri)
{
	char length[32] = "", authorization[HEADER_MAX];
	struct link_peer peer;
	unsigned long long len;

	l->kind = LINK_HTTP;
	l->hang_up = l->head_sent = l->deaf = l->whole = false;
	lws_set_timeout(l->wsi, PENDING_TIMEOUT_HTTP_CONTENT, LINK_SLOW_SECONDS);
	if (http_in_the_clear(l))
		return complain(l, 400, "this port speaks HTTPS only");
	if (strcmp(uri, "/rpc/v1") != 0)
		return complain(l, 404, "there is nothing here: POST to /rpc/v1");
	if (lws_hdr_total_length(l->wsi, WSI_TOKEN_POST_URI) <= 0)
		return complain(l, 405, "only POST, or a WebSocket");
	if (lws_hdr_copy(l->wsi, length, sizeof(length), WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0 ||
	    strspn(length, "0123456789") != strlen(length))
		return complain(l, 411, "the request has no Content-Length");
	len = strtoull(length, NULL, 10);
	if (len == 0)
		return complain(l, 400, "the request is empty");
	if (len > LINK_MESSAGE_MAX)
		return complain(l, 413, "the message is longer than 1 MiB");
	link_describe(l, &peer, http_header(l->wsi, WSI_TOKEN_HTTP_AUTHORIZATION, authorization));
	l->user = l->t->ops->open(l->t->ctx, l, &peer);
	explicit_bzero(authorization, sizeof(authorization));
	return l->user ? 0 : complain(l, 503, "the agent is busy");
}

int
http_body(struct link *l, const char *data, size_t len)
{
	if (!l->deaf && !link_collect(l, data, len))
		link_oversized(l);
	return 0;
}

static const char challenge[] = "Basic realm=\"Freehold\", Bearer";

static int
http_head(struct link *l, const struct out *o)
{
	unsigned char buf[LWS_PRE + 1024], *p = buf + LWS_PRE, *start = p, *end = buf + sizeof(buf) - 1;
	unsigned status = (unsigned)o->status;

	if (lws_add_http_header_status(l->wsi, status, &p, end) ||
	    lws_add_http_header_by_token(l->wsi, WSI_TOKEN_HTTP_CONTENT_TYPE,
		(const unsigned char *)"application/json", 16, &p, end) ||
	    lws_add_http_header_by_token(
		l->wsi, WSI_TOKEN_HTTP_CACHE_CONTROL, (const unsigned char *)"no-store", 8, &p, end))
		return -1;
	if (status == 401 && lws_add_http_header_by_token(l->wsi, WSI_TOKEN_HTTP_WWW_AUTHENTICATE,
				 (const unsigned char *)challenge, (int)strlen(challenge), &p, end))
		return -1;
	if (l->hang_up && lws_add_http_header_by_token(
			      l->wsi, WSI_TOKEN_CONNECTION, (const unsigned char *)"close", 5, &p, end))
		return -1;
	if (lws_add_http_header_content_length(l->wsi, o->len, &p, end) ||
	    lws_finalize_http_header(l->wsi, &p, end))
		return -1;
	l->head_sent = true;
	return lws_write(l->wsi, start, (size_t)(p - start),
		   o->len ? LWS_WRITE_HTTP_HEADERS : LWS_WRITE_HTTP_HEADERS | LWS_WRITE_H2_STREAM_END) < 0
		   ? -1
		   : 0;
}

void
http_refuse(struct link *l, int status, char *text)
{
	unsigned char buf[LWS_PRE + HEADER_MAX * 4];
	struct out o = { .text = text, .len = text ? strlen(text) : 0, .status = status };

	if (o.len > sizeof(buf) - LWS_PRE)
		o.len = 0;
	l->hang_up = true;
	if (http_head(l, &o) == 0 && o.len) {
		memcpy(buf + LWS_PRE, o.text, o.len);
		lws_write(l->wsi, buf + LWS_PRE, o.len, LWS_WRITE_HTTP_FINAL);
	}
	free(text);
}

/* The answer is out: the next request, or the end. */
static int
http_done(struct link *l)
{
	bool end;

	link_end_user(l);
	link_disarm_slow(l);
	pthread_mutex_lock(&l->t->lock);
	end = l->hang_up || l->closing || l->overrun;
	pthread_mutex_unlock(&l->t->lock);
	l->head_sent = l->whole = false;
	return end || lws_http_transaction_completed(l->wsi) ? -1 : 0;
}

int
http_writable(struct link *l)
{
	unsigned char buf[LWS_PRE + CHUNK];
	struct out *o = link_first(l);
	size_t n;
	bool last;

	if (!o)
		return l->overrun ? -1 : 0;
	if (!l->head_sent) {
		pthread_mutex_lock(&l->t->lock);
		l->hang_up = l->hang_up || l->closing;
		pthread_mutex_unlock(&l->t->lock);
		if (http_head(l, o) < 0)
			return -1;
		if (o->len == 0) {
			link_wrote(l, 0);
			return http_done(l);
		}
		link_arm_slow(l);
		lws_callback_on_writable(l->wsi);
		return 0;
	}
	n = o->len - o->sent < CHUNK ? o->len - o->sent : CHUNK;
	last = o->sent + n == o->len;
	memcpy(buf + LWS_PRE, o->text + o->sent, n);
	if (lws_write(l->wsi, buf + LWS_PRE, n, last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < (int)n)
		return -1;
	link_wrote(l, n);
	if (last)
		return http_done(l);
	link_arm_slow(l);
	lws_callback_on_writable(l->wsi);
	return 0;
}

/*
 * The request is whole. A peer that sends more before it has the answer gets the answer if there is one, and
 * is let go: libwebsockets 4.1 would take it for more of this body, and tell about its end again and again;
 * and does not write while it is told not to read.
 */
int
http_whole(struct link *l)
{
	if (l->whole) {
		l->hang_up = true;
		while (link_first(l) && http_writable(l) == 0)
			;
		return -1;
	}
	l->whole = true;
	lws_set_timeout(l->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_SECONDS);
	link_hear(l);
	return 0;
}
