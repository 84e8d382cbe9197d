/*
 * lib/rpc_client_events.c - events that came while an answer was waited for.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/rpc_client_private.h"
#include "lib/schema.h"

enum { BYTES_MAX = 1024 * 1024 };

static void
drop_oldest(struct rpc_events *ev)
{
	free(ev->ring[ev->first].text);
	ev->bytes -= ev->ring[ev->first].len;
	ev->ring[ev->first].text = NULL;
	ev->first = (ev->first + 1) % RPC_EVENTS_KEPT;
	ev->n--;
}

void
rpc_events_keep(struct rpc_events *ev, const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);
	size_t at;

	if (!copy)
		return;
	while (ev->n > 0 && (ev->n == RPC_EVENTS_KEPT || ev->bytes + len > BYTES_MAX))
		drop_oldest(ev);
	memcpy(copy, text, len);
	at = (ev->first + ev->n++) % RPC_EVENTS_KEPT;
	ev->ring[at].text = copy;
	ev->ring[at].len = len;
	ev->bytes += len;
}

json_t *
rpc_events_take(struct rpc_events *ev)
{
	json_t *params = NULL;

	while (ev->n > 0 && !params) {
		json_t *doc = schema_parse(ev->ring[ev->first].text, ev->ring[ev->first].len, NULL);

		params = json_incref(json_object_get(doc, "params"));
		json_decref(doc);
		drop_oldest(ev);
	}
	return params;
}

void
rpc_events_drop(struct rpc_events *ev)
{
	while (ev->n > 0)
		drop_oldest(ev);
}
