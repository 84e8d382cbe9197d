/*
 * tests/fuzz/storage_fuzz.c - a guest's packets to the storage controller, good, odd and malformed, on any
 * channel in any state; with rings spoilt, channels closed and opened, units and media that come and go,
 * disks that fail, fill up, hold and reorder, and the controller saved and restored, in between.
 *
 * In the end every packet that wanted an answer on a channel that lived has one: a lost one would hang a
 * guest.
 */
#include "hypervisor/vsp/storage.h"

#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake_storage.h"

enum { SIZE = 64 * 1024, MOST = 200, RING = 3, CHANNELS = 3, LUNS = 3, STATE_MAX = 1 << 17 };

struct input {
	const uint8_t *p;
	size_t n;
};

struct fuzzed {
	struct fake_storage x;
	struct input in;
	struct fake_disk *disk[LUNS]; /* a disk's, while it is there */
	bool dvd[LUNS], present[LUNS];
	unsigned wanted[CHANNELS]; /* answers that are still to come */
	bool lost[CHANNELS];       /* its ring or its state was spoilt: nothing is promised */
};

static uint8_t
take(struct input *in)
{
	if (!in->n)
		return 0;
	in->n--;
	return *in->p++;
}

static void
take_bytes(struct input *in, uint8_t *p, size_t n)
{
	while (n--)
		*p++ = take(in);
}

static bool
is_open(const struct fuzzed *z, unsigned i)
{
	return z->x.c[i].ch.open && z->x.c[i].ch.ctx;
}

static void
run(struct fuzzed *z)
{
	must(fake_storage_run(&z->x));
	for (unsigned i = 0; i < CHANNELS; i++)
		if (!z->x.c[i].ch.open)
			fake_storage_unmap(&z->x, i);
}

static void
receive(struct fuzzed *z, unsigned i)
{
	struct packet_head h;
	uint8_t p[VSTOR_LEN];

	if (!is_open(z, i) || z->lost[i])
		return;
	while (fake_vstor_recv(&z->x, i, &h, p) >= 0) {
		if (h.type == PACKET_INBAND) {
			must(h.transaction == 0 && get_le32(p) == 11);
			continue;
		}
		must(h.type == PACKET_COMPLETION && get_le32(p) == 1 && z->wanted[i] > 0);
		z->wanted[i]--;
	}
}

/* --- The guest --- */

static void
sent(struct fuzzed *z, unsigned i, bool ok, uint8_t flags)
{
	if (ok && (flags & PACKET_WANTS_REPLY))
		z->wanted[i]++;
}

static void
operation(struct fuzzed *z, unsigned i)
{
	uint8_t p[VSTOR_LEN] = { 0 };

	p[0] = take(&z->in) % 16;
	take_bytes(&z->in, p + 12, 8);
	sent(z, i, fake_vstor_send(&z->x, i, 1, p, sizeof(p)), PACKET_WANTS_REPLY);
}

static void
handshake(struct fuzzed *z)
{
	static const uint8_t steps[][2] = { { 7, 0 }, { 9, 2 }, { 10, 0 }, { 8, 0 } };

	for (size_t i = 0; i < 4 && is_open(z, 0); i++) {
		uint8_t p[VSTOR_LEN] = { steps[i][0], [12] = steps[i][1], [13] = 6 };

		sent(z, 0, fake_vstor_send(&z->x, 0, 1, p, sizeof(p)), PACKET_WANTS_REPLY);
		run(z);
	}
}

static void
command(struct fuzzed *z, unsigned i)
{
	struct fake_srb b = { .cdb_len = take(&z->in) % 18, .dir = take(&z->in) % 4 };
	uint8_t where = take(&z->in), room = take(&z->in);
	uint64_t gpa = FAKE_DATA + take(&z->in) * 64u;

	b.lun = where % (LUNS + 1);
	b.target = where >> 6 == 3;
	b.len = room & 0x80 ? (room & 0x7fu) * 512 : room;
	take_bytes(&z->in, b.cdb, sizeof(b.cdb));
	sent(z, i, fake_srb_send(&z->x, i, 2, &b, gpa), PACKET_WANTS_REPLY);
}

/* Head, ranges and payload are the input's. */
static void
raw_packet(struct fuzzed *z, unsigned i)
{
	uint8_t ext[64], p[80], flags = take(&z->in);
	uint16_t type = take(&z->in) % 13;
	size_t ext_len = take(&z->in) % (sizeof(ext) + 1) / 8 * 8, len = take(&z->in) % (sizeof(p) + 1);

	take_bytes(&z->in, ext, ext_len);
	take_bytes(&z->in, p, len);
	sent(z, i, fake_send(&z->x.c[i].guest, type, flags, 3, ext, ext_len, p, len), flags);
}

/* A command whose ranges are the input's. */
static void
command_with_ranges(struct fuzzed *z, unsigned i)
{
	struct fake_srb b = { { 0x28 }, 10, 1, 0, 0, 0, 0 };
	uint8_t ext[128] = { 0 }, p[VSTOR_LEN];
	size_t len = 8 + take(&z->in) % 15 * 8u;

	b.cdb[8] = take(&z->in);
	b.cdb[0] = take(&z->in) & 1 ? 0x2a : 0x28;
	b.dir = b.cdb[0] == 0x28;
	b.len = b.cdb[8] * 512u;
	put_le32(ext + 4, take(&z->in) & 3);
	for (size_t at = 8; at < len; at += 8) {
		uint8_t how = take(&z->in);

		put_le32(ext + at, how & 0x80 ? take(&z->in) * 256u : take(&z->in) + 1024u);
		put_le32(ext + at + 4, how & 0x40 ? take(&z->in) * 32u : 0);
	}
	fake_srb_packet(p, &b);
	sent(z, i, fake_send(&z->x.c[i].guest, PACKET_GPA_DIRECT, 1, 4, ext, len, p, sizeof(p)), 1);
}

static void
spoil(struct fuzzed *z, unsigned i)
{
	struct fake_channel *g = &z->x.c[i].guest;
	uint8_t what = take(&z->in);
	uint32_t v = take(&z->in) * 8u + (what >> 7);

	z->lost[i] = true;
	if (what & 1)
		g->out.control->write_index = v;
	else if (what & 2)
		g->in.control->read_index = v;
	else if (what & 4)
		g->out.control->pending_send = v;
	else
		take_bytes(&z->in, g->out.data + v % (g->out.size - 64), 32);
	fake_kick(&z->x.f, g->connection);
}

static void
open_or_close(struct fuzzed *z, unsigned i)
{
	struct vmbus_channel *ch = &z->x.c[i].ch;

	if (is_open(z, i)) {
		ch->device->ops->close(ch->device, ch);
		z->lost[i] = true; /* of what was under way nothing is told */
	} else if (!ch->kick_fd) {
		fake_storage_open(&z->x, i, RING);
		z->lost[i] = false;
		z->wanted[i] = 0;
	}
	run(z);
}

/* --- The host --- */

static void
add(struct fuzzed *z, unsigned lun, bool dvd)
{
	struct unit_config c = { .kind = dvd ? UNIT_DVD : UNIT_DISK };
	struct fake_disk *d = fake_disk_new(z->x.loop, SIZE, dvd ? 2048 : 512);

	if (storage_add(z->x.s, lun, &c, &d->disk, NULL) < 0) {
		fake_disk_free(&d->disk);
		return;
	}
	z->disk[lun] = dvd ? NULL : d; /* a guest may eject it, and then it is gone */
	z->dvd[lun] = dvd;
	z->present[lun] = true;
}

static void
release(struct fuzzed *z, unsigned lun, uint8_t how)
{
	struct fake_disk *d = z->disk[lun];

	if (d && d->n_held)
		fake_disk_release(d, how % d->n_held);
}

/* The disk is nobody's that we know: what it holds has to end first, or nobody could end it. */
static void
let_go(struct fuzzed *z, unsigned lun)
{
	struct fake_disk *d = z->disk[lun];

	z->disk[lun] = NULL;
	if (!d)
		return;
	d->hold = false;
	fake_disk_release_all(d, false);
	run(z);
}

static void
set_unit(struct fuzzed *z, unsigned lun, uint8_t how)
{
	struct unit_config c = { .min_iops = how & 1,
		.max_iops = how >> 1 & 3,
		.max_bytes = (how >> 3 & 1) * 4096u,
		.pause_on_full = how & 16 };

	storage_set_limits(z->x.s, lun, &c, NULL);
	if (z->disk[lun]) {
		z->disk[lun]->hold = how & 32;
		z->disk[lun]->fail[how % (DISK_ZERO + 1)] = how & 64 ? -ENOSPC : how & 128 ? -EIO : 0;
	}
}

static void
unit_action(struct fuzzed *z)
{
	unsigned lun = take(&z->in) % LUNS;
	uint8_t what = take(&z->in), how = take(&z->in);
	struct fake_disk *d;

	switch (what % 6) {
	case 0:
		add(z, lun, how & 1);
		break;
	case 1:
		let_go(z, lun);
		if (storage_remove(z->x.s, lun, fake_storage_gone, &z->x, NULL) == 0)
			z->present[lun] = false;
		break;
	case 2:
		if (!z->present[lun] || !z->dvd[lun])
			break;
		let_go(z, lun);
		d = how & 1 ? fake_disk_new(z->x.loop, SIZE, 2048) : NULL;
		if (storage_insert(z->x.s, lun, d ? &d->disk : NULL, how & 2, NULL) < 0 && d)
			fake_disk_free(&d->disk);
		break;
	case 3:
		set_unit(z, lun, how);
		break;
	case 4:
		release(z, lun, how);
		break;
	default:
		storage_resized(z->x.s, lun, SIZE - how % 4 * 4096u, NULL);
	}
}

/* --- Saved state --- */

static void
rebuild(struct fuzzed *z)
{
	bool open[CHANNELS];

	for (unsigned i = 0; i < CHANNELS; i++)
		open[i] = is_open(z, i);
	fake_storage_drop(&z->x);
	z->x.work = 0;
	fake_storage_make(&z->x);
	for (unsigned lun = 0; lun < LUNS; lun++) {
		z->disk[lun] = NULL;
		if (z->present[lun])
			add(z, lun, z->dvd[lun]);
	}
	for (unsigned i = 0; i < CHANNELS; i++)
		if (open[i]) {
			fake_storage_map(&z->x, i, RING);
			must(z->x.c[i].ch.device->ops->open(z->x.c[i].ch.device, &z->x.c[i].ch, NULL) == 0);
		}
}

static void
save_and_restore(struct fuzzed *z)
{
	static uint8_t buf[STATE_MAX];
	uint8_t changes = take(&z->in) % 4;
	struct vmbus_device *d;
	struct snap s;

	if (storage_pause(z->x.s, 0, NULL) < 0)
		return;
	d = storage_device(z->x.s);
	snap_save_to(&s, buf, sizeof(buf));
	d->ops->snap(d, &s);
	if (snap_end(&s) < 0) { /* more waits than fits here */
		must(s.rc == -ENOSPC);
		storage_resume(z->x.s);
		return;
	}
	for (unsigned i = 0; i < changes; i++)
		buf[(take(&z->in) | (size_t)take(&z->in) << 8) % s.pos] = take(&z->in);
	for (unsigned i = 0; changes && i < CHANNELS; i++)
		z->lost[i] = true;
	rebuild(z);
	d = storage_device(z->x.s);
	snap_restore_from(&s, buf, s.pos);
	d->ops->snap(d, &s);
	must(snap_end(&s) == 0 || changes);
	if (s.rc == 0)
		d->ops->restored(d);
	else
		rebuild(z); /* the machine is dropped: another begins */
	run(z);
}

/* --- One input --- */

static void
action(struct fuzzed *z)
{
	uint8_t what = take(&z->in);
	unsigned i = what >> 4 & 1 ? (what >> 5) % CHANNELS : 0;
	static void (*const guest[])(struct fuzzed *, unsigned) = { command, command, command_with_ranges,
		raw_packet, operation, spoil };

	what &= 15;
	if (what < 6) {
		if (is_open(z, i) && (what != 5 || (take(&z->in) & 7) == 0))
			guest[what](z, i);
	} else if (what == 6) {
		handshake(z);
	} else if (what < 9) {
		unit_action(z);
	} else if (what == 9) {
		open_or_close(z, i);
	} else if (what == 10) {
		save_and_restore(z);
	} else if (what == 11) {
		fake_loop_pass(z->x.loop, (uint64_t)take(&z->in) << 26);
	} else if (what == 12) {
		storage_retry(z->x.s);
	} else if (what == 13) {
		receive(z, i);
	} else {
		run(z);
	}
}

static void
mend(struct fuzzed *z)
{
	static const struct unit_config none = { 0 };

	for (unsigned lun = 0; lun < LUNS; lun++) {
		if (z->disk[lun]) {
			memset(z->disk[lun]->fail, 0, sizeof(z->disk[lun]->fail));
			z->disk[lun]->hold = false;
			fake_disk_release_all(z->disk[lun], true);
		}
		storage_set_limits(z->x.s, lun, &none, NULL);
	}
	storage_retry(z->x.s);
}

/* How many answers are owed to channels that lived. */
static unsigned
owed(const struct fuzzed *z)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CHANNELS && !z->x.bus.broke; i++)
		if (is_open(z, i) && !z->lost[i])
			n += z->wanted[i];
	return n;
}

/* Everything below works again: then every answer comes, as fast as the guest takes them. */
static void
end(struct fuzzed *z)
{
	unsigned still = 0;

	mend(z);
	run(z);
	for (unsigned before = UINT32_MAX; still < 2;) {
		for (unsigned i = 0; i < CHANNELS; i++)
			receive(z, i);
		run(z);
		still = owed(z) < before ? 0 : still + 1;
		before = owed(z);
	}
	must(owed(z) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzzed z;
	uint8_t first;

	memset(&z, 0, sizeof(z));
	z.in = (struct input){ data, size };
	first = take(&z.in);
	fake_storage_init(&z.x);
	add(&z, 0, false);
	if (first & 1)
		add(&z, 1, true);
	fake_storage_open(&z.x, 0, RING);
	if (first & 2)
		handshake(&z);
	for (unsigned i = 0; i < MOST && z.in.n; i++)
		action(&z);
	end(&z);
	fake_storage_free(&z.x);
	return 0;
}
