/*
 * hypervisor/vsp/rndis.c - RNDIS control messages of the guest, their answers, and what the guest is told
 * unasked.
 *
 * The primary channel's thread. A message is copied whole, then looked at; answers wait in a short queue for
 * a section of the receive buffer. A guest that asks faster than it takes answers gets none for the rest.
 */
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net_private.h"

enum {
	HEAD = 8, /* type, length; offsets count from here */
	KEPT_CONTROLS = 2,
	FLAG_CONNECTIONLESS = 1,
	MEDIUM_8023 = 0,
	PACKETS_A_MESSAGE = 8,
	ALIGN = 3, /* a power of 2 */
	ANSWER_HEAD = 24,
	INDICATION = 20,
};
#define MAX_TRANSFER            0xefffffffu
#define STATUS_MEDIA_CONNECT    0x4001000bu
#define STATUS_MEDIA_DISCONNECT 0x4001000cu
#define STATUS_NETWORK_CHANGE   0x40010018u
/* A guest that looks at one event every two seconds must not see "down" and "up" as one. */
#define UP_AFTER_NS 5000000000ull

static uint8_t *
new_control(struct net *n, uint32_t type, uint32_t len)
{
	struct control *c = &n->control[(n->first_control + n->controls++) % CONTROLS];

	c->len = len;
	memset(c->bytes, 0, len);
	put_le32(c->bytes, type);
	put_le32(c->bytes + 4, len);
	return c->bytes;
}

static void
set_len(uint8_t *m, struct net *n, uint32_t len)
{
	put_le32(m + 4, len);
	n->control[(n->first_control + n->controls - 1) % CONTROLS].len = len;
}

/* --- messages --- */

struct request {
	const uint8_t *m;
	uint32_t len, id;
};

static void
halt(struct net *n)
{
	n->rndis = false;
	atomic_store(&n->ready, false);
	atomic_store(&n->filter, 0);
}

static void
on_initialize(struct net *n, const struct request *r)
{
	uint8_t *m = new_control(n, RNDIS_INITIALIZE | RNDIS_DONE, 52);

	put_le32(m + 8, r->id);
	put_le32(m + 12, RNDIS_OK);
	put_le32(m + 16, 1); /* version 1.0 */
	put_le32(m + 24, FLAG_CONNECTIONLESS);
	put_le32(m + 28, MEDIUM_8023);
	put_le32(m + 32, PACKETS_A_MESSAGE);
	put_le32(m + 36, MAX_TRANSFER);
	put_le32(m + 40, ALIGN);
	n->rndis = true;
	n->link_told = atomic_load(&n->link); /* it asks for it */
	n->network_changed = false;
	atomic_store(&n->ready, true);
}

static void
on_halt(struct net *n, const struct request *r)
{
	(void)r;
	halt(n);
}

/* The part of a query or set that is the OID's own; false when it does not lie in the message. */
static bool
find_data(const struct request *r, const uint8_t **data, uint32_t *len)
{
	uint64_t at = (uint64_t)get_le32(r->m + 20) + HEAD;

	*len = get_le32(r->m + 16);
	*data = r->m;
	if (!*len)
		return true;
	if (!within(at, *len, r->len))
		return false;
	*data = r->m + at;
	return true;
}

static void
on_query(struct net *n, const struct request *r)
{
	uint8_t *m = new_control(n, RNDIS_QUERY | RNDIS_DONE, CONTROL_MAX);
	uint32_t in_len, len = 0, status = RNDIS_INVALID_DATA;
	const uint8_t *in;

	if (find_data(r, &in, &in_len))
		status = oid_query(n, get_le32(r->m + 12), in, in_len, m + ANSWER_HEAD, &len);
	if (status != RNDIS_OK)
		len = 0;
	put_le32(m + 8, r->id);
	put_le32(m + 12, status);
	put_le32(m + 16, len);
	put_le32(m + 20, len ? ANSWER_HEAD - HEAD : 0);
	set_len(m, n, ANSWER_HEAD + len);
}

static void
on_set(struct net *n, const struct request *r)
{
	uint8_t *m = new_control(n, RNDIS_SET | RNDIS_DONE, 16);
	uint32_t in_len, status = RNDIS_INVALID_DATA;
	const uint8_t *in;

	if (find_data(r, &in, &in_len))
		status = oid_set(n, get_le32(r->m + 12), in, in_len);
	put_le32(m + 8, r->id);
	put_le32(m + 12, status);
}

static void
on_reset(struct net *n, const struct request *r)
{
	uint8_t *m = new_control(n, RNDIS_RESET | RNDIS_DONE, 16);

	(void)r;
	put_le32(m + 8, RNDIS_OK);
}

static void
on_keepalive(struct net *n, const struct request *r)
{
	uint8_t *m = new_control(n, RNDIS_KEEPALIVE | RNDIS_DONE, 16);

	put_le32(m + 8, r->id);
	put_le32(m + 12, RNDIS_OK);
}

static const struct kind {
	uint32_t type, least; /* bytes */
	bool initialized;     /* only then */
	void (*run)(struct net *n, const struct request *r);
} kinds[] = {
	{ RNDIS_INITIALIZE, 24, false, on_initialize },
	{ RNDIS_HALT, 12, true, on_halt },
	{ RNDIS_QUERY, 28, true, on_query },
	{ RNDIS_SET, 28, true, on_set },
	{ RNDIS_RESET, 12, true, on_reset },
	{ RNDIS_KEEPALIVE, 12, true, on_keepalive },
};

bool
rndis_control(struct net *n, const struct net_pieces *ps, const struct gmem *mem)
{
	uint8_t m[CONTROL_MAX];
	struct request r = { .m = m };

	if (!pieces_read(ps, mem, 0, m, HEAD))
		return false;
	r.len = get_le32(m + 4);
	if (r.len < 12 || r.len > CONTROL_MAX || !pieces_read(ps, mem, 0, m, r.len))
		return false;
	put_le32(m + 4, r.len); /* as it was checked */
	r.id = get_le32(m + 8);
	if (n->controls >= CONTROLS - KEPT_CONTROLS) {
		net_mistake(n, MISTAKE_FLOOD);
		return true;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].type != get_le32(m))
			continue;
		if (r.len < kinds[i].least || (kinds[i].initialized && !n->rndis))
			return false;
		kinds[i].run(n, &r);
		return true;
	}
	return false;
}

/* --- what the guest is told --- */

static bool
indicate(struct net *n, uint32_t status)
{
	uint8_t *m;

	if (n->controls == CONTROLS)
		return false;
	m = new_control(n, RNDIS_INDICATE, INDICATION);
	put_le32(m + 8, status);
	return true;
}

/* Once a round. */
void
rndis_link(struct net *n)
{
	bool link = atomic_load_explicit(&n->link, memory_order_relaxed);
	struct io_loop *l = n->queue[0].loop;

	if (!n->rndis)
		return;
	if (link == n->link_told) {
		if (n->network_changed && (!link || indicate(n, STATUS_NETWORK_CHANGE)))
			n->network_changed = false;
		return;
	}
	if (!link) {
		if (indicate(n, STATUS_MEDIA_DISCONNECT)) {
			n->link_told = false;
			n->link_at = io_loop_now(l);
		}
	} else if (n->link_at && io_loop_now(l) < n->link_at + UP_AFTER_NS) {
		if (n->link_timer.at != n->link_at + UP_AFTER_NS)
			io_loop_timer(l, &n->link_timer, n->link_at + UP_AFTER_NS);
	} else if (indicate(n, STATUS_MEDIA_CONNECT)) {
		n->link_told = true;
		n->network_changed = false; /* it looks around anyway */
	}
}

void
rndis_close(struct net *n)
{
	halt(n);
	io_loop_timer(n->queue[0].loop, &n->link_timer, 0);
	n->link_at = 0;
	n->first_control = n->controls = 0;
	oid_reset(n);
}
