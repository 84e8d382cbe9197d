/*
 * hypervisor/vsp/balloon_message.c - what the guest says, and what it is answered. The loop's.
 *
 * A message is a packet's payload, its head {type, size of all, transaction}; what each may hold, and when it
 * may come, is one row of `messages`. Whatever has none is counted and left out: nothing a guest says closes
 * the channel, but rings that break their own rules do.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/vsp/balloon_private.h"
#include "hypervisor/vsp/bytes.h"

enum {
	STEPS = 64, /* packets before others on the loop have their turn */
	TURN_NS = 100000,
	CAN_BALLOON = 1,
	CAN_ADD = 2,
	UNIT_SHIFT = 2, /* bits 5:2: log2 of the unit in MiB */
	UNIT_MASK = 15,
	PAGES_PER_MIB = 256,
	UNIT_LEAST = 2 * PAGES_PER_MIB,
	INFO_MAXIMUM = 0,
	RESULT_DONE = 1,
};

/* --- to the guest ------------------------------------------------------------------------------------- */

uint8_t *
balloon_say(struct balloon *b, enum balloon_message type, uint32_t size)
{
	memset(b->out, 0, size);
	put_le16(b->out, (uint16_t)type);
	put_le16(b->out + 2, (uint16_t)size);
	put_le32(b->out + 4, ++b->transaction);
	b->out_len = size;
	return b->out;
}

static bool
write_packet(struct balloon *b, uint16_t type, uint64_t id, uint32_t len)
{
	bool signal = false;
	int rc = ring_write(&b->ch->rings.out, type, 0, id, b->out, len, NULL, 0, &signal);

	if (signal)
		vmbus_channel_signal(b->ch);
	if (rc < 0 && rc != -EAGAIN) {
		b->broken = true;
		balloon_ask(b);
	}
	return rc == 0;
}

/* What waits to go out. True: nothing does. */
static bool
flush(struct balloon *b)
{
	if (b->complete_due && write_packet(b, PACKET_COMPLETION, b->complete_id, 0))
		b->complete_due = false;
	if (!b->complete_due && b->out_len && write_packet(b, PACKET_INBAND, 0, b->out_len))
		b->out_len = 0;
	return !b->complete_due && !b->out_len;
}

/* --- from the guest ----------------------------------------------------------------------------------- */

static bool
speaks(uint32_t version)
{
	return version == BALLOON_2_0 || version == BALLOON_1_0 || version == BALLOON_0_3;
}

static void
says_version(struct balloon *b, const uint8_t *m)
{
	uint32_t version = get_le32(m + 8);
	bool yes = speaks(version);

	if (yes) {
		b->version = version;
		b->state = BALLOON_CAPABILITIES;
	}
	put_le32(balloon_say(b, TELLS_VERSION, 16) + 8, yes);
}

static void
says_capabilities(struct balloon *b, const uint8_t *m)
{
	uint64_t can = get_le64(m + 8);

	b->can_balloon = can & CAN_BALLOON;
	b->can_add = can & CAN_ADD;
	b->unit = (uint64_t)PAGES_PER_MIB << (can >> UNIT_SHIFT & UNIT_MASK);
	if (b->unit < UNIT_LEAST)
		b->unit = UNIT_LEAST;
	b->max_page = get_le64(m + 24);
	b->state = BALLOON_READY;
	b->info_due = b->version >= BALLOON_1_0;
	put_le32(balloon_say(b, TELLS_CAPABILITIES, 16) + 8, 1);
}

static void
says_status(struct balloon *b, const uint8_t *m)
{
	b->available = get_le64(m + 8);
	b->committed = get_le64(m + 16);
}

/* Which pages they are, and giving them back, is the control thread's. */
static void
says_balloon(struct balloon *b, const uint8_t *m)
{
	(void)m;
	atomic_store(&b->job, JOB_TAKE);
	balloon_ask(b);
}

static void
says_unballoon(struct balloon *b, const uint8_t *m)
{
	(void)m;
	balloon_gave(b);
}

static void
says_hot_add(struct balloon *b, const uint8_t *m)
{
	balloon_hot_added(b, get_le32(m + 8), get_le32(m + 12) != RESULT_DONE);
}

#define AT(state)  (1u << (state))
#define AGREED     (AT(BALLOON_READY) | AT(BALLOON_TAKING) | AT(BALLOON_GIVING) | AT(BALLOON_ADDING))
#define RANGES_MAX ((BALLOON_MESSAGE - 16) / BALLOON_RANGE)

static const struct {
	unsigned when; /* states */
	uint16_t size;
	bool ranges; /* and as many ranges behind it as it says in bits 31:1 at 12 */
	void (*fn)(struct balloon *b, const uint8_t *m);
} messages[] = {
	[SAYS_VERSION] = { AT(BALLOON_VERSION), 16, false, says_version },
	[SAYS_CAPABILITIES] = { AT(BALLOON_CAPABILITIES), 32, false, says_capabilities },
	[SAYS_STATUS] = { AGREED, 48, false, says_status },
	[SAYS_BALLOON] = { AGREED, 16, true, says_balloon },
	[SAYS_UNBALLOON] = { AGREED, 8, false, says_unballoon },
	[SAYS_HOT_ADD] = { AGREED, 16, false, says_hot_add },
};
enum { MESSAGES = sizeof(messages) / sizeof(messages[0]) };

/* len: of the payload, which the ring has rounded up to 8. */
static bool
makes_sense(const struct balloon *b, const uint8_t *m, uint32_t len)
{
	uint32_t type, size, want;

	if (len < BALLOON_HEAD)
		return false;
	type = get_le16(m);
	size = get_le16(m + 2);
	if (type >= MESSAGES || !messages[type].fn || !(messages[type].when & AT(b->state)))
		return false;
	want = messages[type].size;
	if (size > len || size < want)
		return false;
	if (messages[type].ranges) {
		uint32_t n = get_le32(m + 12) >> 1;

		if (n > RANGES_MAX)
			return false;
		want += n * BALLOON_RANGE;
	}
	return size == want && (size + 7) / 8 * 8 == len;
}

static void
take(struct balloon *b, const struct packet *p)
{
	const uint8_t *m = b->in + p->offset;
	uint32_t len = p->len - p->offset;

	if (p->flags & PACKET_WANTS_REPLY) {
		b->complete_due = true;
		b->complete_id = p->transaction;
	}
	if (p->type != PACKET_INBAND || !makes_sense(b, m, len)) {
		b->nonsense++;
		return;
	}
	b->silent = false;
	b->in_at = (uint16_t)p->offset;
	b->in_len = get_le16(m + 2);
	messages[get_le16(m)].fn(b, m);
}

/* True: there was one. */
static bool
read_packet(struct balloon *b)
{
	struct packet p;
	int rc = ring_read(&b->ch->rings.in, &p, b->in, sizeof(b->in));

	if (rc == 1)
		take(b, &p);
	else if (rc == -EMSGSIZE)
		b->nonsense++;
	else if (rc < 0) {
		b->broken = true;
		balloon_ask(b);
	}
	return rc == 1 || rc == -EMSGSIZE;
}

static void
say_maximum(struct balloon *b)
{
	uint8_t *m = balloon_say(b, TELLS_INFO, 32);

	put_le32(m + 12, 16);
	put_le32(m + 16, INFO_MAXIMUM);
	put_le32(m + 20, 8);
	put_le64(m + 24, b->limits.maximum / GMEM_PAGE);
	b->info_due = false;
}

/* True: there may be more to do. */
static bool
step(struct balloon *b)
{
	if (b->info_due) {
		say_maximum(b);
		return true;
	}
	return balloon_next(b) || read_packet(b) || (!b->broken && ring_idle(&b->ch->rings.in));
}

void
balloon_pump(struct balloon *b)
{
	unsigned steps = 0;

	if (!b->begun || b->held || b->broken)
		return;
	b->again = 0;
	ring_mask(&b->ch->rings.in);
	while (b->job == JOB_NONE && !b->broken && flush(b) && step(b))
		if (++steps == STEPS) {
			b->again = io_loop_now(b->loop) + TURN_NS;
			break;
		}
	if (!b->broken && ring_read_done(&b->ch->rings.in))
		vmbus_channel_signal(b->ch);
	balloon_look(b);
}

static void
kicked(void *ctx)
{
	balloon_pump(ctx);
}

static void
rang(void *ctx)
{
	struct balloon *b = ctx;

	balloon_look_at_time(b);
	balloon_pump(b);
	balloon_look(b);
}

void
balloon_begin(void *balloon)
{
	struct balloon *b = balloon;

	b->begun = true;
	b->kick.fn = kicked;
	b->kick.ctx = b;
	b->alarm.fn = rang;
	b->alarm.ctx = b;
	io_loop_watch(b->loop, &b->kick);
	balloon_pump(b);
}

void
balloon_job_done(void *balloon)
{
	struct balloon *b = balloon;

	atomic_store(&b->job, JOB_NONE);
	balloon_pump(b);
}
