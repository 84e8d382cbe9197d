/*
 * hypervisor/vsp/ic_kvp.c - facts between host and guest: what is asked when. The host's facts are told, the
 * guest's are read pool by pool, index by index; in between a question about addresses has its turn.
 *
 * The guest's driver passes everything to a daemon, which may come late or never: then it refuses, and is
 * tried again a few times. A guest tells nothing by itself: after its start it is read a few times, for its
 * addresses come late, too. I/O thread; what the control thread asks is in ic_kvp_facts.c and ic_kvp_ip.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hypervisor/vsp/ic_private.h"
#include "hypervisor/vsp/ic_text.h"

enum {
	SET = 1,
	DELETE = 2,
	ENUMERATE = 3, /* operations */
	HEAD = 4,
	KEY = 512,
	VALUE = 2048,
	DATA = 12 + KEY + VALUE, /* u32 type, u32 bytes of key, u32 bytes of value */
	TYPE_TEXT = 1,
	TYPE_U32 = 4,
	TYPE_U64 = 8,
	TYPE_U64_OTHER = 11, /* there are two opinions */
	INTRINSIC_MAX = 32,  /* indices */
	LIMIT_MS = 60000,    /* a driver gives its daemon 30 s */
};

static const unsigned readings_s[] = { 10, 30, 60, 120, 300 };
enum { READINGS = sizeof(readings_s) / sizeof(readings_s[0]) };

/* --- When it is read --- */

static void
arm(struct ic_kvp *k)
{
	struct ics *s = k->c.all;
	uint64_t in = s->config.facts_s;

	if (k->readings < READINGS && (!in || readings_s[k->readings] < in))
		in = readings_s[k->readings];
	if (k->c.state != IC_READY || s->held)
		in = 0;
	io_loop_timer(s->loop, &k->again, in ? io_loop_now(s->loop) + in * IC_SECOND : 0);
}

static void
read_again(void *ctx)
{
	struct ic_kvp *k = ctx;

	k->readings += k->readings < READINGS;
	k->read_due = true;
	arm(k);
	ic_next(&k->c);
}

void
ic_kvp_init(struct ics *s)
{
	s->kvp.again = (struct io_timer){ .fn = read_again, .ctx = &s->kvp };
}

static void
tell_changes(struct ic_kvp *k)
{
	struct ics *s = k->c.all;

	if (k->changed && s->events.facts)
		s->events.facts(s->events.ctx);
	k->changed = false;
}

static void
end_reading(struct ic_kvp *k, int rc, uint32_t status)
{
	bool was = k->wanted;

	k->doing = KVP_IDLE;
	k->wanted = false;
	tell_changes(k);
	if (was)
		ic_ended(k->c.all, IC_OP_FACTS, rc, status);
}

/* --- What is asked --- */

static void
enumerate(struct ic_kvp *k)
{
	uint8_t p[HEAD + 4 + DATA] = { ENUMERATE, (uint8_t)k->pool };

	put_le32(p + HEAD, k->place);
	ic_ask(&k->c, p, sizeof(p), LIMIT_MS);
}

/* What the guest is not told yet, or has to forget. */
static bool
find_news(struct ic_kvp *k)
{
	static const enum kvp_pool pools[] = { KVP_EXTERNAL, KVP_HOST };

	for (unsigned i = 0; i < 2; i++)
		for (unsigned at = 0; at < KVP_ITEMS; at++) {
			uint8_t state = k->state[pools[i]][at];

			if (state != FACT_NEW && state != FACT_GOING)
				continue;
			if (k->item[pools[i]][at].told) /* it was, and refused */
				continue;
			k->pool = pools[i];
			k->place = at;
			return true;
		}
	return false;
}

static void
tell(struct ic_kvp *k)
{
	const struct kvp_item *item = &k->item[k->pool][k->place];
	uint8_t p[HEAD + DATA] = { SET, (uint8_t)k->pool };
	size_t key, value;

	if (k->state[k->pool][k->place] == FACT_GOING) {
		p[0] = DELETE;
		ic_text_put(item->key, p + HEAD + 4, KEY / 2, &key);
		put_le32(p + HEAD, (uint32_t)key);
		ic_ask(&k->c, p, HEAD + 4 + KEY, LIMIT_MS);
		return;
	}
	ic_text_put(item->key, p + HEAD + 12, KEY / 2, &key);
	ic_text_put(item->value, p + HEAD + 12 + KEY, VALUE / 2, &value);
	put_le32(p + HEAD, TYPE_TEXT);
	put_le32(p + HEAD + 4, (uint32_t)key);
	put_le32(p + HEAD + 8, (uint32_t)value);
	ic_ask(&k->c, p, sizeof(p), LIMIT_MS);
}

static void
next(struct ic *c)
{
	struct ic_kvp *k = (struct ic_kvp *)c;

	if (k->doing == KVP_READING) {
		enumerate(k);
	} else if (k->ip_wanted) {
		k->doing = KVP_IP;
		ic_ask(c, k->ip_message, sizeof(k->ip_message), LIMIT_MS);
	} else if (find_news(k)) {
		k->doing = KVP_TELLING;
		tell(k);
	} else if (k->read_due) {
		k->read_due = false;
		k->doing = KVP_READING;
		k->pool = KVP_INTRINSIC;
		k->place = k->count = 0;
		enumerate(k);
	}
}

/* --- What is answered --- */

static int
take_item(struct ic_kvp *k, const uint8_t *p, size_t len)
{
	const uint8_t *data = p + HEAD + 4, *value = data + 12 + KEY;
	struct kvp_item *item = &k->item[k->pool][k->count], new = { .told = false };
	uint32_t key_len, value_len;

	if (len < HEAD + 4 + DATA)
		return -EPROTO;
	key_len = get_le32(data + 4);
	value_len = get_le32(data + 8);
	if (key_len > KEY || value_len > VALUE)
		return -EPROTO;
	ic_text_get(data + 12, key_len / 2, new.key, sizeof(new.key));
	switch (get_le32(data)) {
	case TYPE_TEXT:
		ic_text_get(value, value_len / 2, new.value, sizeof(new.value));
		break;
	case TYPE_U32:
		snprintf(new.value, sizeof(new.value), "%" PRIu32, get_le32(value));
		break;
	case TYPE_U64:
	case TYPE_U64_OTHER:
		snprintf(new.value, sizeof(new.value), "%" PRIu64, get_le64(value));
		break;
	default:
		return -EPROTO;
	}
	if (new.key[0] == '\0') /* nobody could ask for it */
		return 0;
	if (k->count >= k->n[k->pool] || strcmp(item->key, new.key) != 0 ||
	    strcmp(item->value, new.value) != 0) {
		*item = new;
		k->changed = true;
	}
	k->count++;
	if (k->n[k->pool] < k->count)
		k->n[k->pool] = k->count;
	return 0;
}

static void
end_pool(struct ic_kvp *k)
{
	k->changed |= k->n[k->pool] != k->count;
	k->n[k->pool] = k->count;
	if (k->pool == KVP_GUEST) {
		end_reading(k, 0, 0);
		return;
	}
	k->pool = KVP_GUEST;
	k->place = k->count = 0;
}

static int
answer_reading(struct ic_kvp *k, uint32_t status, const uint8_t *p, size_t len)
{
	bool intrinsic = k->pool == KVP_INTRINSIC;

	if (status == IC_OK) {
		if (take_item(k, p, len) < 0)
			return -EPROTO;
	} else if (status != (uint32_t)IC_NO_MORE_ITEMS && intrinsic && k->place == 0) {
		end_reading(k, -EREMOTEIO, status); /* there is no daemon */
		return 0;
	} else if (status == (uint32_t)IC_NO_MORE_ITEMS || !intrinsic) {
		end_pool(k);
		return 0;
	} /* else it does not know this one */
	if (++k->place == (intrinsic ? INTRINSIC_MAX : KVP_ITEMS))
		end_pool(k);
	return 0;
}

/* What it refuses is not told it again before it listens anew. */
static void
answer_telling(struct ic_kvp *k, uint32_t status)
{
	uint8_t *state = &k->state[k->pool][k->place];

	k->doing = KVP_IDLE;
	if (*state == FACT_GOING)
		*state = FACT_NONE;
	else if (status == IC_OK)
		*state = FACT_TOLD;
	k->item[k->pool][k->place].told = true;
}

static int
answer(struct ic *c, uint32_t status, const uint8_t *p, size_t len)
{
	struct ic_kvp *k = (struct ic_kvp *)c;
	int rc = 0;

	if (k->doing == KVP_READING)
		return answer_reading(k, status, p, len);
	if (k->doing == KVP_TELLING) {
		answer_telling(k, status);
		return 0;
	}
	if (status == IC_OK && !k->ip_set && kvp_ip_answer(k, p, len) < 0)
		return -EPROTO;
	if (status != IC_OK)
		rc = -EREMOTEIO;
	k->doing = KVP_IDLE;
	k->ip_wanted = false;
	ic_ended(c->all, k->ip_set ? IC_OP_IP_SET : IC_OP_IP_GET, rc, status);
	return 0;
}

static void
ready(struct ic *c)
{
	struct ic_kvp *k = (struct ic_kvp *)c;

	k->readings = 0;
	k->read_due = true;
	arm(k);
}

/* Whoever listens next is told everything, and may be another guest. */
static void
forget(struct ic_kvp *k)
{
	for (unsigned pool = 0; pool < KVP_POOLS; pool++)
		for (unsigned at = 0; at < KVP_ITEMS; at++) {
			if (k->state[pool][at] == FACT_TOLD)
				k->state[pool][at] = FACT_NEW;
			if (k->state[pool][at])
				k->item[pool][at].told = false;
		}
	if (k->c.state != IC_CLOSED)
		return;
	k->changed = k->n[KVP_GUEST] || k->n[KVP_INTRINSIC];
	k->n[KVP_GUEST] = k->n[KVP_INTRINSIC] = 0;
}

static void
stop(struct ic *c, int rc)
{
	struct ic_kvp *k = (struct ic_kvp *)c;
	bool ip = k->ip_wanted;

	k->read_due = k->ip_wanted = false;
	arm(k);
	forget(k);
	end_reading(k, rc, 0);
	if (ip)
		ic_ended(c->all, k->ip_set ? IC_OP_IP_SET : IC_OP_IP_GET, rc, 0);
}

static void
hold(struct ic *c, bool held)
{
	struct ic_kvp *k = (struct ic_kvp *)c;

	if (!held && c->state == IC_READY)
		k->read_due = true; /* its addresses may be others now */
	arm(k);
}

static const uint32_t versions[] = { 1 << 16, 3 << 16, 4 << 16, 0 };

const struct ic_type ic_kvp_type = {
	.name = "kvp",
	.label = "key/value pair exchange",
	.class = "a9a0f4e7-5a45-4d96-b827-8a841e8c03e6",
	.instance = "242ff919-07db-4180-9c2e-b86cb68c8c55",
	.message = 2,
	.versions = versions,
	.ready = ready,
	.next = next,
	.answer = answer,
	.stop = stop,
	.hold = hold,
};
