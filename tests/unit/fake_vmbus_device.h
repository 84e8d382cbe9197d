/*
 * tests/unit/fake_vmbus_device.h - a device on a bus that remembers what it was told, lets go when it is told
 * to, and answers packets with what they held.
 */
#ifndef TESTS_UNIT_FAKE_VMBUS_DEVICE_H
#define TESTS_UNIT_FAKE_VMBUS_DEVICE_H

#include "tests/unit/fake_vmbus.h"

enum { FAKE_CHANNELS = 64 };

struct fake_device {
	struct vmbus_device d;
	bool hold;      /* let go later: fake_let_go */
	int open_error; /* what open fails with */
	bool break_in_open, keep_gpadl;
	unsigned opens, closes, restores, gone, wanted;
	uint32_t wanted_id;
	uint32_t value; /* its state */
	struct vmbus_channel *open[FAKE_CHANNELS], *closing[FAKE_CHANNELS];
};

static inline struct fake_device *
fake_device_of(struct vmbus_device *d)
{
	return (struct fake_device *)(void *)d;
}

static inline void
fake_set_add(struct vmbus_channel **set, struct vmbus_channel *ch)
{
	for (size_t i = 0; i < FAKE_CHANNELS; i++)
		if (set[i] == NULL) {
			set[i] = ch;
			return;
		}
	abort();
}

static inline bool
fake_set_remove(struct vmbus_channel **set, struct vmbus_channel *ch)
{
	for (size_t i = 0; i < FAKE_CHANNELS; i++)
		if (set[i] == ch) {
			set[i] = NULL;
			return true;
		}
	return false;
}

static inline int
fake_device_open(struct vmbus_device *d, struct vmbus_channel *ch, struct err *e)
{
	struct fake_device *f = fake_device_of(d);

	if (!ch->open || ch->kick_fd < 0 || ch->device != d || ch->rings.in.page == NULL)
		abort();
	if (f->open_error != 0)
		return err_set(e, f->open_error, "refused by the test");
	f->opens++;
	fake_set_add(f->open, ch);
	if (f->break_in_open)
		vmbus_channel_break(ch, "broken by the test");
	return 0;
}

static inline void
fake_device_close(struct vmbus_device *d, struct vmbus_channel *ch)
{
	struct fake_device *f = fake_device_of(d);

	if (!fake_set_remove(f->open, ch) || ch->open)
		abort(); /* what is not open is not closed */
	f->closes++;
	if (f->hold)
		fake_set_add(f->closing, ch);
	else
		vmbus_channel_closed(ch);
}

/* Its memory is still there: a device may be in the middle of it. */
static inline void
fake_let_go(struct fake_device *f)
{
	for (size_t i = 0; i < FAKE_CHANNELS; i++) {
		struct vmbus_channel *ch = f->closing[i];

		if (ch == NULL)
			continue;
		if (ch->rings.in.page == NULL)
			abort();
		f->closing[i] = NULL;
		vmbus_channel_closed(ch);
	}
}

static inline void
fake_device_snap(struct vmbus_device *d, struct snap *s)
{
	snap_u32(s, "value", &fake_device_of(d)->value, 1000);
}

static inline void
fake_device_restored(struct vmbus_device *d)
{
	fake_device_of(d)->restores++;
}

static inline void
fake_device_gpadl_wanted(struct vmbus_device *d, struct vmbus_channel *ch, uint32_t id)
{
	struct fake_device *f = fake_device_of(d);

	f->wanted++;
	f->wanted_id = id;
	if (!f->keep_gpadl)
		vmbus_gpadl_release(ch, id);
}

static inline void
fake_device_gone(struct vmbus_device *d)
{
	fake_device_of(d)->gone++;
}

/* Its type and instance begin with these bytes. */
static inline void
fake_device_init(struct fake_device *f, uint8_t type, uint8_t instance)
{
	static const struct vmbus_device_ops ops = {
		.name = "fake",
		.version = 1,
		.open = fake_device_open,
		.close = fake_device_close,
		.snap = fake_device_snap,
		.restored = fake_device_restored,
		.gpadl_wanted = fake_device_gpadl_wanted,
	};

	*f = (struct fake_device){ .d = { .ops = &ops, .offer = { .name = "fake device" } } };
	for (uint8_t i = 0; i < 16; i++) {
		f->d.offer.type[i] = (uint8_t)(type + i);
		f->d.offer.instance[i] = (uint8_t)(instance + i);
	}
}

/* Takes every packet of the channel, and sends each payload back. False when the ring is broken. */
static inline bool
fake_device_echo(struct vmbus_channel *ch)
{
	uint8_t got[2048];
	struct packet p;
	bool signal = false;
	int rc;

	while ((rc = ring_read(&ch->rings.in, &p, got, sizeof(got))) == 1) {
		rc = ring_write(&ch->rings.out, PACKET_COMPLETION, 0, p.transaction, got + p.offset,
		    p.len - p.offset, NULL, 0, &signal);
		if (rc < 0)
			break;
	}
	if (ring_read_done(&ch->rings.in) || signal)
		vmbus_channel_signal(ch);
	return rc != -EPROTO;
}

#endif
