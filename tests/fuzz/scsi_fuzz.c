/*
 * tests/fuzz/scsi_fuzz.c - any CDB, with any length of buffer, against a disk or a DVD drive; with media that
 * come and go, disks that fail and fill up, limits and resets in between.
 */
#include "hypervisor/vsp/scsi.h"

#define FAKE_SCSI_BUFFER (66 * 1024)
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake_scsi.h"

enum { SIZE = 64 * 1024, MOST = 64, GUARD = 0xa5 };

struct input {
	const uint8_t *p;
	size_t n;
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

/* What every answer promises. */
static void
check(const struct fake_scsi *x)
{
	const struct scsi_cmd *c = &x->c;

	must(c->moved <= c->len && c->touched <= c->len);
	must(c->dir == SCSI_IN || c->touched == 0);
	must((c->status == SCSI_CHECK_CONDITION) == (c->sense_len == SCSI_SENSE));
	must(c->status == SCSI_GOOD || c->moved == 0 || c->status == SCSI_BUSY);
	must(c->sense_len == 0 || (c->sense[0] & 0x7f) == 0x70);
	for (int i = 1; i <= FAKE_GUARD; i++)
		must(x->buffer[-i] == GUARD);
	for (int i = 0; i < FAKE_GUARD; i++)
		must(x->buffer[c->len + (uint32_t)i] == GUARD);
	must(x->u.users == 0 && x->u.stats.in_flight == 0 && x->u.stats.waiting == 0);
	must(!x->u.medium || x->u.medium->users == 0);
}

static void
command(struct fake_scsi *x, struct input *in)
{
	uint8_t cdb[SCSI_CDB], len = take(in) % (SCSI_CDB + 1), dir = take(in) % 3;
	uint32_t room = take(in);
	unsigned before = x->done;

	room = room & 0x80 ? (room & 0x7f) * 512 : room;
	x->piece = take(in) * 16u;
	if (x->piece && room / x->piece > FAKE_PIECES - 2)
		x->piece = 512;
	take_bytes(in, cdb, sizeof(cdb));
	memset(x->buffer - FAKE_GUARD, GUARD, FAKE_GUARD);
	memset(x->buffer, 0, room);
	memset(x->buffer + room, GUARD, FAKE_GUARD);
	take_bytes(in, x->buffer, dir == SCSI_OUT ? (room < 80 ? room : 80) : 0);
	fake_scsi_begin(x, cdb, len, (enum scsi_dir)dir, room);
	must(fake_loop_run(x->loop));
	if (x->done == before) { /* it waits for its limit, or for space */
		must(x->u.stats.waiting == 1);
		if (take(in) & 1) {
			scsi_abort_waiting(&x->u, NULL, NULL);
		} else {
			memset(x->disk->fail, 0, sizeof(x->disk->fail));
			scsi_retry(&x->u);
			scsi_set_limits(&x->u, 0, 0, 0);
		}
	}
	must(x->done == before + 1);
	check(x);
}

static void
insert(struct fake_scsi *x, uint8_t how)
{
	struct fake_disk *old = x->disk;
	struct scsi_medium *m = how & 1 ? fake_scsi_medium(x, SIZE, 2048) : NULL;

	if (scsi_dvd_insert(&x->u, m, how & 2))
		return;
	x->disk = old;
	if (m)
		fake_scsi_retired(x, m);
}

static void
host(struct fake_scsi *x, struct input *in)
{
	uint8_t what = take(in), how = take(in);

	switch (what % 7) {
	case 0:
		if (x->u.type->removable)
			insert(x, how);
		break;
	case 1:
		if (x->u.medium)
			x->disk->fail[how % (DISK_ZERO + 1)] = how & 0x80   ? -ENOSPC
							       : how & 0x40 ? -EROFS
									    : -EIO;
		break;
	case 2:
		scsi_set_limits(&x->u, how & 3, how >> 2 & 7, how >> 5);
		break;
	case 3:
		scsi_reset(&x->u);
		break;
	case 4:
		x->u.config.pause_on_full = how & 1;
		x->no_scratch = how & 2;
		break;
	case 5:
		if (x->u.medium && !x->u.type->removable)
			x->disk->disk.read_only = how & 1;
		if (x->u.medium)
			x->disk->disk.can_discard = x->disk->disk.discard_zeroes = how & 2;
		break;
	default:
		fake_loop_pass(x->loop, (uint64_t)how << 28);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t kind = take(&in);
	static struct fake_scsi x;

	fake_scsi_init(&x, kind & 1 ? &scsi_dvd_type : &scsi_disk_type, SIZE,
	    kind & 1   ? 2048
	    : kind & 2 ? 4096
		       : 512);
	if (kind & 4)
		x.u.attention = 0;
	for (unsigned i = 0; i < MOST && in.n; i++)
		if (take(&in) & 3)
			command(&x, &in);
		else
			host(&x, &in);
	fake_scsi_free(&x);
	must(x.left == 1);
	return 0;
}
