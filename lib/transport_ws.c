/* lib/transport_ws.c - WebSockets: one message a frame, or a stream of frames. */
#include "lib/transport_private.h"

#include <stdlib.h>
#include <string.h>

enum { TICKET_MAX = 64 };

/* A WebSocket is asked for: 0 to open it. Here the header is still there to be read. */
int
ws_begin(struct link *l)
{
	char uri[HEADER_MAX], authorization[HEADER_MAX], *auth, *refusal = NULL;
	struct link_peer peer;
	int rc = -1;

	if (http_in_the_clear(l) || !http_header(l->wsi, WSI_TOKEN_GET_URI, uri))
		return -1;
	auth = http_header(l->wsi, WSI_TOKEN_HTTP_AUTHORIZATION, authorization);
	l->kind = LINK_WS;
	if (strncmp(uri, "/stream/", 8) == 0 && strlen(uri) < TICKET_MAX) {
		rc = stream_begin(l, uri + 8, auth, &refusal);
		if (rc < 0) /* never in a frame: that would look like what the stream is for */
			http_refuse(l, HTTP_STATUS_FORBIDDEN, refusal);
		explicit_bzero(authorization, sizeof(authorization));
		return rc;
	} else if (strcmp(uri, "/rpc/v1") == 0) {
		link_describe(l, &peer, auth);
		l->user = l->t->ops->open(l->t->ctx, l, &peer);
		rc = l->user ? 0 : -1;
	}
	explicit_bzero(authorization, sizeof(authorization));
	if (rc < 0)
		lws_return_http_status(l->wsi, HTTP_STATUS_NOT_FOUND, NULL);
	return rc;
}

int
ws_received(struct link *l, const char *data, size_t len)
{
	if (l->deaf)
		return 0;
	if (l->kind == LINK_STREAM) {
		stream_pass_on(l, data, len, STREAM_IN);
		return 0;
	}
	if (!link_collect(l, data, len)) {
		link_oversized(l);
		return 0;
	}
	if (!lws_is_final_fragment(l->wsi) || lws_remaining_packet_payload(l->wsi))
		return l->in_len > LINK_MESSAGE_MAX ? link_oversized(l), 0 : 0;
	if (l->in_len > LINK_MESSAGE_MAX)
		link_oversized(l);
	else
		link_hear(l);
	return 0;
}

/* One message, one frame. */
int
ws_writable(struct link *l)
{
	struct out *o = link_first(l);
	unsigned char *buf;
	size_t len;
	int n;

	if (!o)
		return link_after_write(l);
	len = o->len;
	buf = malloc(LWS_PRE + len + 1);
	if (!buf)
		return -1;
	memcpy(buf + LWS_PRE, o->text, len);
	n = lws_write(l->wsi, buf + LWS_PRE, len, l->kind == LINK_STREAM ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
	free(buf);
	if (n < (int)len)
		return -1;
	link_wrote(l, len);
	stream_release(l, STREAM_LOW);
	return link_after_write(l);
}
