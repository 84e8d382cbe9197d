/*
 * hypervisor/vsp/nvsp.c - NVSP, the adapter's own protocol: which message is right when, and what it is
 * answered.
 *
 * I/O threads. A message has been copied out of the ring; its fields are the guest's. Every answer is a
 * completion of NVSP_MESSAGE bytes, zeros behind what there is: drivers of every version find what they look
 * for.
 */
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net_private.h"

enum {
	MSG_INIT = 1,
	MSG_INIT_COMPLETE = 2,
	MSG_NDIS_VERSION = 100,
	MSG_RECEIVE_BUFFER = 101,
	MSG_RECEIVE_BUFFER_COMPLETE = 102,
	MSG_REVOKE_RECEIVE = 103,
	MSG_SEND_BUFFER = 104,
	MSG_SEND_BUFFER_COMPLETE = 105,
	MSG_REVOKE_SEND = 106,
	MSG_RNDIS = 107,
	MSG_RNDIS_COMPLETE = 108,
	MSG_NDIS_CONFIG = 125,
	MSG_VF_ASSOCIATION = 128,
	MSG_SWITCH_DATA_PATH = 129,
	MSG_SUBCHANNELS = 133,
	MSG_SEND_TABLE = 134,

	MAX_MDL_CHAIN = 34,
	CHANNEL_DATA = 0,
	CHANNEL_CONTROL = 1,
	CAPABILITY_8021Q = 1 << 3,
	ALLOCATE_SUBCHANNELS = 1,
	SHARE_MIN = 16, /* sections of a queue */
	NDIS_6_0 = 6 << 16,
	/* Where the table is: behind the longest message that the version knows. */
	TABLE_AT = 0x28,
	TABLE_AT_OLD = 0x1c,
};
#define NO_SECTION UINT32_MAX

/* --- answers --- */

void
nvsp_answer(struct net_queue *q, struct send *s, uint32_t type, uint32_t status)
{
	put_le32(s->message, type);
	put_le32(s->message + 4, status);
	s->len = NVSP_MESSAGE;
	send_done(q, s);
}

static void
answer_empty(struct net_queue *q, struct send *s)
{
	s->len = 0;
	send_done(q, s);
}

/* A request that makes no sense has failed; its driver knows how. */
void
nvsp_refuse(struct net_queue *q, struct send *s, enum net_mistake m, uint32_t type)
{
	static const struct {
		uint32_t request, complete;
		uint8_t status_at, status;
	} kinds[] = {
		{ MSG_INIT, MSG_INIT_COMPLETE, 12, NVSP_FAIL },
		{ MSG_RECEIVE_BUFFER, MSG_RECEIVE_BUFFER_COMPLETE, 4, NVSP_FAIL },
		{ MSG_SEND_BUFFER, MSG_SEND_BUFFER_COMPLETE, 4, NVSP_FAIL },
		{ MSG_SUBCHANNELS, MSG_SUBCHANNELS, 4, NVSP_FAIL },
		{ MSG_RNDIS, MSG_RNDIS_COMPLETE, 4, NVSP_INVALID },
	};

	net_mistake(q->n, m);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].request == type) {
			put_le32(s->message, kinds[i].complete);
			put_le32(s->message + kinds[i].status_at, kinds[i].status);
			s->len = NVSP_MESSAGE;
		}
	send_done(q, s);
}

/* --- versions --- */

static const uint32_t versions[] = { NVSP_6_1, NVSP_6, NVSP_5, NVSP_4, NVSP_2, NVSP_1 }; /* newest first */

bool
nvsp_has_version(uint32_t version)
{
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		if (version == versions[i])
			return true;
	return false;
}

static void
set_mtu(struct net *n, uint32_t mtu)
{
	uint32_t most = n->config.mtu;

	n->mtu = mtu < most ? mtu : most;
	if (n->mtu < NET_MTU_MIN)
		n->mtu = NET_MTU_MIN;
	atomic_store(&n->frame_max, n->mtu + ETHERNET);
}

static void
on_init(struct net_queue *q, struct send *s, const uint8_t *m)
{
	struct net *n = q->n;
	uint32_t least = get_le32(m + 4), most = get_le32(m + 8), version = 0;

	for (size_t i = 0; !version && i < sizeof(versions) / sizeof(versions[0]); i++)
		if (versions[i] <= most && versions[i] >= least)
			version = versions[i];
	put_le32(s->message + 8, MAX_MDL_CHAIN);
	if (version) {
		n->state = NVSP_AGREED;
		atomic_store(&n->version, version);
		set_mtu(n, NET_MTU_USUAL);
		put_le32(s->message + 12, NVSP_OK);
	} else {
		put_le32(s->message + 12, least > NVSP_6_1 ? NVSP_TOO_NEW : NVSP_TOO_OLD);
	}
	nvsp_answer(q, s, MSG_INIT_COMPLETE, version);
}

static void
on_ndis_version(struct net_queue *q, struct send *s, const uint8_t *m)
{
	uint32_t major = get_le32(m + 4), minor = get_le32(m + 8);

	q->n->ndis = major > UINT16_MAX || minor > UINT16_MAX ? NDIS_6_0 : major << 16 | minor;
	answer_empty(q, s);
}

/* Says once for all how long its frames may be: sections are as long. */
static void
on_ndis_config(struct net_queue *q, struct send *s, const uint8_t *m)
{
	struct net *n = q->n;
	uint32_t with_head = get_le32(m + 4);

	if (q->receive.pfn) {
		nvsp_refuse(q, s, MISTAKE_TIME, MSG_NDIS_CONFIG);
		return;
	}
	set_mtu(n, with_head > ETHERNET ? with_head - ETHERNET : 0);
	atomic_store(&n->vlan, get_le32(m + 12) & CAPABILITY_8021Q);
	answer_empty(q, s);
}

/* --- buffers: the control thread finds them, and gives them to every queue --- */

/* Whole pages where long frames come in parts: fewer parts, and each in as few pages as can be. */
uint32_t
nvsp_section(const struct net *n)
{
	enum { LINE = 64 };
	uint32_t unit = atomic_load(&n->version) >= NVSP_6_1 ? LONG_SECTION : LINE;
	uint32_t bytes = RECEIVE_AT + n->mtu + ETHERNET + VLAN + RECEIVE_END;

	if (bytes < CONTROL_MAX)
		bytes = CONTROL_MAX;
	return (bytes + unit - 1) / unit * unit;
}

unsigned
nvsp_shares(const struct net *n, uint32_t sections)
{
	return atomic_load(&n->version) >= NVSP_5 && sections / n->queues >= SHARE_MIN ? n->queues : 1;
}

/* Reading stops until it is done. */
static void
begin_job(struct net_queue *q, struct send *s, enum net_job_kind kind, const uint8_t *m)
{
	q->n->job = (struct net_job){ .kind = kind,
		.send = s,
		.gpadl = get_le32(m + 4),
		.id = get_le16(m + 8),
		.number = get_le32(m + 8) };
	net_ask(q->n);
}

static void
on_receive_buffer(struct net_queue *q, struct send *s, const uint8_t *m)
{
	if (q->receive.pfn)
		nvsp_refuse(q, s, MISTAKE_TIME, MSG_RECEIVE_BUFFER);
	else
		begin_job(q, s, JOB_RECEIVE_BUFFER, m);
}

static void
on_send_buffer(struct net_queue *q, struct send *s, const uint8_t *m)
{
	if (q->send.pfn)
		nvsp_refuse(q, s, MISTAKE_TIME, MSG_SEND_BUFFER);
	else
		begin_job(q, s, JOB_SEND_BUFFER, m);
}

static void
on_revoke(
    struct net_queue *q, struct send *s, const struct net_buffer *b, enum net_job_kind kind, const uint8_t *m)
{
	if (!b->pfn || get_le16(m + 4) != b->id)
		answer_empty(q, s); /* it has it back already */
	else
		begin_job(q, s, kind, m);
}

static void
on_revoke_receive(struct net_queue *q, struct send *s, const uint8_t *m)
{
	on_revoke(q, s, &q->receive, JOB_REVOKE_RECEIVE, m);
}

static void
on_revoke_send(struct net_queue *q, struct send *s, const uint8_t *m)
{
	on_revoke(q, s, &q->send, JOB_REVOKE_SEND, m);
}

/* --- sub-channels, and what belongs to hardware that is not there --- */

static void
on_subchannels(struct net_queue *q, struct send *s, const uint8_t *m)
{
	struct net *n = q->n;
	uint32_t asked = get_le32(m + 8);
	bool can = q->receive.pfn && nvsp_shares(n, q->receive.sections) > 1;

	if (atomic_load(&n->version) < NVSP_5 || get_le32(m + 4) != ALLOCATE_SUBCHANNELS || !asked ||
	    n->subchannels || !can) {
		nvsp_refuse(q, s, MISTAKE_TIME, MSG_SUBCHANNELS);
		return;
	}
	begin_job(q, s, JOB_SUBCHANNELS, m);
	if (asked > n->queues - 1)
		n->job.number = n->queues - 1;
}

static void
on_data_path(struct net_queue *q, struct send *s, const uint8_t *m)
{
	(void)m; /* there is one way only */
	answer_empty(q, s);
}

size_t
nvsp_table(const struct net *n, uint8_t *m)
{
	uint32_t at = atomic_load(&n->version) <= NVSP_6 ? TABLE_AT_OLD : TABLE_AT;

	put_le32(m, MSG_SEND_TABLE);
	put_le32(m + 4, SEND_TABLE);
	put_le32(m + 8, at);
	for (uint32_t i = 0; i < SEND_TABLE; i++)
		put_le32(m + at + 4 * i, i % (n->subchannels + 1));
	return at + 4 * SEND_TABLE;
}

void
nvsp_job_done(struct net *n, int rc)
{
	struct net_queue *q = &n->queue[0];
	struct net_job job = n->job;
	struct send *s = job.send;
	uint32_t status = rc < 0 ? NVSP_FAIL : NVSP_OK;

	n->job = (struct net_job){ .kind = JOB_NONE };
	if (job.kind == JOB_NONE || !q->ch || q->closing)
		return;
	q->stalled = true;
	if (job.kind == JOB_RECEIVE_BUFFER) {
		if (rc == 0) {
			put_le32(s->message + 8, 1);
			put_le32(s->message + 16, q->receive.section);
			put_le32(s->message + 20, q->receive.sections);
			put_le32(s->message + 24, q->receive.section * q->receive.sections);
		}
		nvsp_answer(q, s, MSG_RECEIVE_BUFFER_COMPLETE, status);
	} else if (job.kind == JOB_SEND_BUFFER) {
		put_le32(s->message + 8, rc == 0 ? SEND_SECTION : 0);
		nvsp_answer(q, s, MSG_SEND_BUFFER_COMPLETE, status);
	} else if (job.kind == JOB_SUBCHANNELS) {
		n->subchannels = rc < 0 ? 0 : job.number;
		put_le32(s->message + 8, n->subchannels);
		nvsp_answer(q, s, MSG_SUBCHANNELS, status);
	} else {
		answer_empty(q, s);
	}
}

/* --- RNDIS in it --- */

static int
gather_ranges(struct net_queue *q, const struct packet *p)
{
	struct gpa_range range[NET_RANGES];
	int n = packet_ranges(p, q->packet, range, NET_RANGES);

	if (n < 0 || n > NET_RANGES)
		return -1;
	for (int i = 0; i < n; i++) {
		uint32_t off = range[i].offset, left = range[i].len;

		for (uint32_t k = 0; k < range[i].pages; k++) {
			uint64_t pfn = gpa_range_pfn(&range[i], k);
			uint32_t now = GMEM_PAGE - off < left ? GMEM_PAGE - off : left;

			if (pfn >= UINT64_MAX / GMEM_PAGE ||
			    pieces_add(&q->pieces, queue_memory(q), pfn * GMEM_PAGE + off, now) < 0)
				return -1;
			left -= now;
			off = 0;
		}
	}
	return 0;
}

/* What lies in the section comes first, then what the ranges name. */
static bool
gather_message(struct net_queue *q, const struct packet *p, const uint8_t *m)
{
	uint32_t section = get_le32(m + 8), len = get_le32(m + 12);

	q->pieces.n = q->pieces.bytes = 0;
	if (section != NO_SECTION) {
		if (section >= q->send.sections || len > SEND_SECTION ||
		    pieces_add_buffer(&q->pieces, queue_memory(q), &q->send, section * SEND_SECTION, len) < 0)
			return false;
	}
	return p->type != PACKET_GPA_DIRECT || gather_ranges(q, p) == 0;
}

static void
on_control(struct net_queue *q, struct send *s)
{
	if (q->index || !q->receive.pfn)
		nvsp_refuse(q, s, MISTAKE_TIME, MSG_RNDIS);
	else if (!rndis_control(q->n, &q->pieces, queue_memory(q)))
		nvsp_refuse(q, s, MISTAKE_CONTROL, MSG_RNDIS);
	else
		nvsp_answer(q, s, MSG_RNDIS_COMPLETE, NVSP_OK);
}

/* copied: the guest has the packet in a section of its send buffer. */
static void
on_data(struct net_queue *q, struct send *s, bool copied)
{
	uint32_t status;

	if (!atomic_load_explicit(&q->n->ready, memory_order_relaxed)) {
		nvsp_refuse(q, s, MISTAKE_TIME, MSG_RNDIS);
		return;
	}
	s->left = 1;
	status = rndis_send(q, s);
	s->patient = copied && status == NVSP_OK;
	put_le32(s->message, MSG_RNDIS_COMPLETE);
	put_le32(s->message + 4, status);
	s->len = NVSP_MESSAGE;
	if (--s->left == 0)
		send_done(q, s);
}

static void
on_rndis(struct net_queue *q, struct send *s, const struct packet *p, const uint8_t *m)
{
	uint32_t channel = get_le32(m + 4);

	if (!gather_message(q, p, m))
		nvsp_refuse(q, s, MISTAKE_SPACE, MSG_RNDIS);
	else if (channel == CHANNEL_CONTROL)
		on_control(q, s);
	else if (channel == CHANNEL_DATA)
		on_data(q, s, p->type == PACKET_INBAND);
	else
		nvsp_refuse(q, s, MISTAKE_NVSP, MSG_RNDIS);
}

/* --- which message is right when --- */

#define IN(state) (1u << NVSP_##state)

static const struct message {
	uint32_t type;
	unsigned states;
	uint32_t since; /* which version knows it */
	size_t least;   /* bytes */
	void (*run)(struct net_queue *q, struct send *s, const uint8_t *m);
} messages[] = {
	{ MSG_INIT, IN(START), 0, 12, on_init },
	{ MSG_NDIS_VERSION, IN(AGREED), 0, 12, on_ndis_version },
	{ MSG_NDIS_CONFIG, IN(AGREED), NVSP_2, 20, on_ndis_config },
	{ MSG_RECEIVE_BUFFER, IN(AGREED), 0, 10, on_receive_buffer },
	{ MSG_REVOKE_RECEIVE, IN(AGREED), 0, 6, on_revoke_receive },
	{ MSG_SEND_BUFFER, IN(AGREED), 0, 10, on_send_buffer },
	{ MSG_REVOKE_SEND, IN(AGREED), 0, 6, on_revoke_send },
	{ MSG_SWITCH_DATA_PATH, IN(AGREED), NVSP_4, 8, on_data_path },
	{ MSG_SUBCHANNELS, IN(AGREED), NVSP_5, 12, on_subchannels },
};

void
nvsp_packet(struct net_queue *q, struct send *s, const struct packet *p, const uint8_t *m, size_t len)
{
	struct net *n = q->n;
	uint32_t type = len < sizeof(type) ? 0 : get_le32(m);

	if (type == MSG_RNDIS && len >= 16) { /* nearly all there is */
		if (atomic_load_explicit(&n->version, memory_order_relaxed))
			on_rndis(q, s, p, m);
		else
			nvsp_refuse(q, s, MISTAKE_TIME, type);
		return;
	}
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		const struct message *k = &messages[i];

		if (k->type != type || q->index || p->type != PACKET_INBAND)
			continue;
		if (len < k->least)
			break;
		if (!(k->states & 1u << n->state) || atomic_load(&n->version) < k->since)
			nvsp_refuse(q, s, MISTAKE_TIME, type);
		else
			k->run(q, s, m);
		return;
	}
	nvsp_refuse(q, s, MISTAKE_NVSP, type);
}

/* The driver is gone, or will begin anew: as after power-on. */
void
nvsp_close(struct net *n)
{
	n->state = NVSP_START;
	atomic_store(&n->version, 0);
	n->ndis = 0;
	n->job = (struct net_job){ .kind = JOB_NONE };
	n->subchannels = 0;
	n->table_due = n->table_told = false;
	atomic_store(&n->vlan, false);
	set_mtu(n, NET_MTU_USUAL);
	rndis_close(n);
}
