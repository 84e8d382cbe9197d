/*
 * tests/unit/scsi_test.c - what every command of a disk answers: right, wrong, cut short, too long.
 */
#include "hypervisor/vsp/scsi.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "hypervisor/vsp/scsi_disk.h"
#include "tests/unit/fake_scsi.h"

enum { SIZE = 4 << 20, BLOCKS = SIZE / 512, OUT = SCSI_OUT, IN = SCSI_IN, NO = SCSI_NO_DATA };

static int
setup(void **state)
{
	struct fake_scsi *x = calloc(1, sizeof(*x));

	fake_scsi_init(x, &scsi_disk_type, SIZE, 512);
	x->u.attention = 0;
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fake_scsi *x = *state;

	fake_scsi_free(x);
	assert_int_equal(x->left, 1);
	free(x);
	return 0;
}

#define CDB(...)            \
	(const uint8_t[16]) \
	{                   \
		__VA_ARGS__ \
	}

/* One command and what comes of it. */
struct row {
	uint8_t cdb[16];
	uint8_t len, dir;
	uint32_t room, sense, moved;
	bool overrun;
};

static void
expect(struct fake_scsi *x, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];
		uint32_t sense = fake_scsi_do(x, r->cdb, r->len, (enum scsi_dir)r->dir, r->room);

		if (sense != r->sense || x->c.moved != r->moved || x->c.overrun != r->overrun)
			fail_msg("row %zu (%02x): sense %06x, moved %u, overrun %d", i, r->cdb[0], sense,
			    x->c.moved, x->c.overrun);
		assert_int_equal(x->c.status, sense ? SCSI_CHECK_CONDITION : SCSI_GOOD);
	}
	assert_int_equal(x->done, n);
	assert_int_equal(x->u.users, 0);
	assert_int_equal(x->u.medium->users, 0);
}
#define EXPECT(x, rows) expect(x, rows, sizeof(rows) / sizeof((rows)[0]))

static void
every_command_answers_as_the_standards_say(void **state)
{
	static const struct row rows[] = {
		/* test unit ready, start stop, and other short ones */
		{ { 0x00 }, 6, NO, 0, 0, 0, 0 },
		{ { 0x1b, 0, 0, 0, 1 }, 6, NO, 0, 0, 0, 0 },
		{ { 0x1b, 0, 0, 0, 0 }, 6, NO, 0, 0, 0, 0 },
		{ { 0x1b, 0, 0, 0, 2 }, 6, NO, 0, 0x052400, 0, 0 },
		{ { 0x1e, 0, 0, 0, 1 }, 6, NO, 0, 0, 0, 0 },
		{ { 0x16 }, 6, NO, 0, 0, 0, 0 },
		{ { 0x17 }, 6, NO, 0, 0, 0, 0 },
		{ { 0x56 }, 10, NO, 0, 0, 0, 0 },
		{ { 0x57 }, 10, NO, 0, 0, 0, 0 },
		{ { 0x1d, 4 }, 6, NO, 0, 0, 0, 0 },
		{ { 0x04 }, 6, NO, 0, 0, 0, 0 },
		{ { 0x03, 0, 0, 0, 18 }, 6, IN, 18, 0, 18, 0 },
		{ { 0x03, 0, 0, 0, 4 }, 6, IN, 18, 0, 4, 0 },
		{ { 0x03, 1, 0, 0, 18 }, 6, IN, 18, 0x052400, 0, 0 },
		/* what is not there */
		{ { 0x5e }, 10, IN, 8, 0x052000, 0, 0 }, /* persistent reservations */
		{ { 0x5f }, 10, OUT, 24, 0x052000, 0, 0 },
		{ { 0x4d }, 10, IN, 8, 0x052000, 0, 0 }, /* log sense */
		{ { 0xff }, 16, NO, 0, 0x052000, 0, 0 },
		{ { 0x9e, 0x11 }, 16, IN, 32, 0x052400, 0, 0 }, /* a service action */
		{ { 0xa3, 0x01 }, 12, IN, 32, 0x052400, 0, 0 },
		/* a CDB that is cut, or wants NACA */
		{ { 0x28 }, 6, IN, 512, 0x052400, 0, 0 },
		{ { 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, 12, IN, 512, 0x052400, 0, 0 },
		{ { 0x00, 0, 0, 0, 0, 4 }, 6, NO, 0, 0x052400, 0, 0 },
		/* inquiry: allocation 0, short, long; buffer short */
		{ { 0x12, 0, 0, 0, 0 }, 6, IN, 36, 0, 0, 0 },
		{ { 0x12, 0, 0, 0, 5 }, 6, IN, 36, 0, 5, 0 },
		{ { 0x12, 0, 0, 1, 0 }, 6, IN, 256, 0, 36, 0 },
		{ { 0x12, 0, 0, 0, 36 }, 6, IN, 10, 0, 10, 1 },
		{ { 0x12, 0, 0x80, 0, 36 }, 6, IN, 36, 0x052400, 0, 0 }, /* a page, but no EVPD */
		{ { 0x12, 2, 0, 0, 36 }, 6, IN, 36, 0x052400, 0, 0 },
		{ { 0x12, 1, 0xc0, 0, 36 }, 6, IN, 36, 0x052400, 0, 0 },
		{ { 0x12, 1, 0, 0, 255 }, 6, IN, 255, 0, 10, 0 },
		{ { 0x12, 1, 0x80, 0, 255 }, 6, IN, 255, 0, 14, 0 },
		{ { 0x12, 1, 0x83, 0, 255 }, 6, IN, 255, 0, 46, 0 },
		{ { 0x12, 1, 0xb0, 0, 255 }, 6, IN, 255, 0, 64, 0 },
		{ { 0x12, 1, 0xb1, 0, 255 }, 6, IN, 255, 0, 64, 0 },
		{ { 0x12, 1, 0xb2, 0, 255 }, 6, IN, 255, 0, 8, 0 },
		{ { 0x12, 1, 0xb2, 0, 2 }, 6, IN, 255, 0, 2, 0 },
		/* capacity */
		{ { 0x25 }, 10, IN, 8, 0, 8, 0 },
		{ { 0x25, 0, 0, 0, 0, 1 }, 10, IN, 8, 0x052400, 0, 0 },
		{ { 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32 }, 16, IN, 32, 0, 32, 0 },
		{ { 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12 }, 16, IN, 32, 0, 12, 0 },
		{ { 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 16, IN, 32, 0, 0, 0 },
		/* mode sense: pages, all of them, what does not exist */
		{ { 0x1a, 0, 0x08, 0, 255 }, 6, IN, 255, 0, 32, 0 },
		{ { 0x1a, 8, 0x08, 0, 255 }, 6, IN, 255, 0, 24, 0 },
		{ { 0x1a, 8, 0x3f, 0, 255 }, 6, IN, 255, 0, 36, 0 },
		{ { 0x1a, 8, 0x3f, 0xff, 255 }, 6, IN, 255, 0, 36, 0 },
		{ { 0x1a, 8, 0x0a, 0, 3 }, 6, IN, 255, 0, 3, 0 },
		{ { 0x1a, 0, 0x02, 0, 255 }, 6, IN, 255, 0x052400, 0, 0 },
		{ { 0x1a, 0, 0x08, 3, 255 }, 6, IN, 255, 0x052400, 0, 0 },
		{ { 0x1a, 0, 0xc8, 0, 255 }, 6, IN, 255, 0x053900, 0, 0 }, /* saved values */
		{ { 0x5a, 0, 0x3f, 0, 0, 0, 0, 1, 0 }, 10, IN, 256, 0, 48, 0 },
		/* reading: every length of CDB; nothing, the last block, behind it */
		{ { 0x08, 0, 0, 5, 2 }, 6, IN, 1024, 0, 1024, 0 },
		{ { 0x08, 0, 0, 0, 0 }, 6, IN, 256 * 512, 0, 256 * 512, 0 }, /* 0 is 256 */
		{ { 0x08, 0, 0x1f, 0x01, 0 }, 6, IN, 256 * 512, 0x052100, 0, 0 },
		{ { 0x28, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, IN, 1024, 0, 1024, 0 },
		{ { 0x28, 0, 0, 0, 0, 5, 0, 0, 0 }, 10, IN, 1024, 0, 0, 0 },
		{ { 0x28, 0, 0, 0, 0x1f, 0xff, 0, 0, 1 }, 10, IN, 512, 0, 512, 0 },
		{ { 0x28, 0, 0, 0, 0x1f, 0xff, 0, 0, 2 }, 10, IN, 1024, 0x052100, 0, 0 },
		{ { 0x28, 0, 0, 0, 0x20, 0x00, 0, 0, 1 }, 10, IN, 512, 0x052100, 0, 0 },
		{ { 0x28, 0x20, 0, 0, 0, 0, 0, 0, 1 }, 10, IN, 512, 0x052400, 0, 0 }, /* RDPROTECT */
		{ { 0x28, 0x18, 0, 0, 0, 0, 0, 0, 1 }, 10, IN, 512, 0, 512, 0 },      /* DPO, FUA */
		{ { 0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 3 }, 12, IN, 1536, 0, 1536, 0 },
		{ { 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3 }, 16, IN, 1536, 0, 1536, 0 },
		{ { 0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 3 }, 16, IN, 1536, 0x052100, 0,
		    0 },
		{ { 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255 }, 16, IN, 512, 0x052100, 0, 0 },
		/* a buffer that is too small, too large, or goes the other way */
		{ { 0x28, 0, 0, 0, 0, 0, 0, 0, 4 }, 10, IN, 1024, 0, 1024, 1 },
		{ { 0x28, 0, 0, 0, 0, 0, 0, 0, 4 }, 10, IN, 1300, 0, 1024, 1 },
		{ { 0x28, 0, 0, 0, 0, 0, 0, 0, 2 }, 10, IN, 4096, 0, 1024, 0 },
		{ { 0x28, 0, 0, 0, 0, 0, 0, 0, 2 }, 10, IN, 0, 0, 0, 1 },
		{ { 0x28, 0, 0, 0, 0, 0, 0, 0, 2 }, 10, OUT, 1024, 0, 0, 1 },
		{ { 0x28, 0, 0, 0, 0, 0, 0, 0, 2 }, 10, NO, 1024, 0, 0, 1 },
		/* writing */
		{ { 0x0a, 0, 0, 5, 2 }, 6, OUT, 1024, 0, 1024, 0 },
		{ { 0x2a, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, OUT, 1024, 0, 1024, 0 },
		{ { 0x2a, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, OUT, 600, 0, 512, 1 },
		{ { 0x2a, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, IN, 1024, 0, 0, 1 },
		{ { 0x2a, 0, 0, 0, 0x20, 0, 0, 0, 1 }, 10, OUT, 512, 0x052100, 0, 0 },
		{ { 0xaa, 0, 0, 0, 0, 5, 0, 0, 0, 2 }, 12, OUT, 1024, 0, 1024, 0 },
		{ { 0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2 }, 16, OUT, 1024, 0, 1024, 0 },
		{ { 0x2e, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, OUT, 1024, 0, 1024, 0 },
		{ { 0x2e, 4, 0, 0, 0, 5, 0, 0, 2 }, 10, OUT, 1024, 0x052400, 0, 0 },
		{ { 0xae, 0, 0, 0, 0, 5, 0, 0, 0, 2 }, 12, OUT, 1024, 0, 1024, 0 },
		{ { 0x8e, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2 }, 16, OUT, 1024, 0, 1024, 0 },
		/* verify without data; caches */
		{ { 0x2f, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, NO, 0, 0, 0, 0 },
		{ { 0x2f, 6, 0, 0, 0, 5, 0, 0, 2 }, 10, OUT, 512, 0x052400, 0, 0 },
		{ { 0x2f, 0, 0, 0, 0x20, 5, 0, 0, 2 }, 10, NO, 0, 0x052100, 0, 0 },
		{ { 0xaf, 0, 0, 0, 0, 5, 0, 0, 0, 2 }, 12, NO, 0, 0, 0, 0 },
		{ { 0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2 }, 16, NO, 0, 0, 0, 0 },
		{ { 0x35 }, 10, NO, 0, 0, 0, 0 },
		{ { 0x35, 2, 0, 0, 0, 1, 0, 0, 1 }, 10, NO, 0, 0, 0, 0 },
		{ { 0x35, 0, 0, 0, 0x30, 1, 0, 0, 1 }, 10, NO, 0, 0x052100, 0, 0 },
		{ { 0x91 }, 16, NO, 0, 0, 0, 0 },
		/* the same over and over */
		{ { 0x41, 0, 0, 0, 0, 1, 0, 0, 1 }, 10, OUT, 512, 0, 512, 0 },
		{ { 0x41, 0, 0, 0, 0, 1, 0, 0, 0 }, 10, OUT, 512, 0x052400, 0, 0 }, /* WSNZ */
		{ { 0x41, 0x10, 0, 0, 0, 1, 0, 0, 1 }, 10, OUT, 512, 0x052400, 0, 0 },
		{ { 0x41, 1, 0, 0, 0, 1, 0, 0, 1 }, 10, OUT, 512, 0x052400, 0, 0 }, /* NDOB: of 16 only */
		{ { 0x41, 0, 0, 0, 0, 1, 0, 0, 1 }, 10, OUT, 100, 0, 0, 1 },
		{ { 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9 }, 16, NO, 0, 0, 0, 0 },
		{ { 0x93, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9 }, 16, NO, 0, 0, 0, 0 },
		{ { 0x93, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9 }, 16, OUT, 512, 0x052400, 0, 0 },
		{ { 0x93, 0, 0, 0, 0, 0, 0, 0, 0x20, 1, 0, 0, 0, 9 }, 16, OUT, 512, 0x052100, 0, 0 },
		/* unmap: heads only; lists have a test of their own */
		{ { 0x42 }, 10, NO, 0, 0, 0, 0 },
		{ { 0x42, 1, 0, 0, 0, 0, 0, 0, 24 }, 10, OUT, 24, 0x052400, 0, 0 },
		{ { 0x42, 0, 0, 0, 0, 0, 0, 0, 7 }, 10, OUT, 24, 0x051a00, 0, 0 },
		{ { 0x42, 0, 0, 0, 0, 0, 0, 0, 24 }, 10, OUT, 4, 0x051a00, 0, 0 },
		{ { 0x42, 0, 0, 0, 0, 0, 0, 0, 8 }, 10, OUT, 8, 0, 0, 0 },
		/* operation codes */
		{ { 0xa3, 0x0c, 1, 0x28, 0, 0, 0, 0, 1, 0 }, 12, IN, 256, 0, 14, 0 },
		{ { 0xa3, 0x0c, 1, 0x5e, 0, 0, 0, 0, 1, 0 }, 12, IN, 256, 0, 4, 0 },
		{ { 0xa3, 0x0c, 1, 0x9e, 0, 0, 0, 0, 1, 0 }, 12, IN, 256, 0x052400, 0, 0 },
		{ { 0xa3, 0x0c, 2, 0x9e, 0, 0x10, 0, 0, 1, 0 }, 12, IN, 256, 0, 20, 0 },
		{ { 0xa3, 0x0c, 2, 0x9e, 0, 0x11, 0, 0, 1, 0 }, 12, IN, 256, 0, 4, 0 },
		{ { 0xa3, 0x0c, 2, 0x28, 0, 0, 0, 0, 1, 0 }, 12, IN, 256, 0x052400, 0, 0 },
		{ { 0xa3, 0x0c, 3, 0x28, 0, 0, 0, 0, 1, 0 }, 12, IN, 256, 0, 14, 0 },
		{ { 0xa3, 0x0c, 4, 0, 0, 0, 0, 0, 1, 0 }, 12, IN, 256, 0x052400, 0, 0 },
		{ { 0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 1, 0 }, 12, IN, 256, 0x052400, 0, 0 },
	};

	EXPECT((struct fake_scsi *)*state, rows);
}

static void
a_wrong_field_is_pointed_at(void **state)
{
	struct fake_scsi *x = *state;

	fake_scsi_do(x, CDB(0x28, 0x20, 0, 0, 0, 0, 0, 0, 1), 10, SCSI_IN, 512);
	assert_int_equal(x->c.sense[0], 0x70);
	assert_int_equal(x->c.sense[15], 0x80 | 0x40 | 0x08 | 7); /* valid, in the CDB, bit 7 ... */
	assert_int_equal(get_be16(x->c.sense + 16), 1);           /* ... of byte 1 */
}

static void
the_first_block_out_of_range_is_named(void **state)
{
	struct fake_scsi *x = *state;

	fake_scsi_do(x, CDB(0x28, 0, 0, 0, 0x1f, 0xff, 0, 0, 2), 10, SCSI_IN, 1024);
	assert_int_equal(x->c.sense[0], 0xf0);
	assert_int_equal(get_be32(x->c.sense + 3), BLOCKS);
	assert_int_equal(x->u.stats.errors, 0); /* nothing has failed below */
}

static void
data_goes_through_pieces_of_any_size_and_nowhere_else(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 7, 511, 512, 513, 4096 };
	struct fake_scsi *x = *state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint32_t len = sizes[i] == 1 || sizes[i] == 7 ? 0 : 8192;
		uint8_t cdb[10] = { 0x28, 0, 0, 0, 0, 9, 0, 0, (uint8_t)(len / 512) };

		x->piece = sizes[i];
		memset(x->buffer - FAKE_GUARD, 0xa5, 16384 + FAKE_GUARD);
		assert_int_equal(fake_scsi_do(x, cdb, 10, SCSI_IN, len), 0);
		assert_memory_equal(x->buffer, x->disk->data + 9 * 512, len);
		assert_int_equal(x->buffer[-1], 0xa5);
		assert_int_equal(x->buffer[len], 0xa5);
		cdb[0] = 0x2a;
		cdb[5] = 100;
		assert_int_equal(fake_scsi_do(x, cdb, 10, SCSI_OUT, len), 0);
		assert_memory_equal(x->disk->data + 51200, x->disk->data + 9 * 512, len);
	}
	x->piece = 3; /* small data, too */
	assert_int_equal(fake_scsi_do(x, CDB(0x12, 0, 0, 0, 36), 6, SCSI_IN, 40), 0);
	assert_memory_equal(x->buffer + 8, "Msft    Virtual Disk    1.0 ", 28);
}

static void
identity_is_told_in_pages(void **state)
{
	struct fake_scsi *x = *state;
	uint8_t *b = x->buffer;

	fake_scsi_do(x, CDB(0x12, 1, 0, 0, 255), 6, SCSI_IN, 255);
	assert_memory_equal(b, ((uint8_t[]){ 0, 0, 0, 6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2 }), 10);
	fake_scsi_do(x, CDB(0x12, 1, 0x80, 0, 255), 6, SCSI_IN, 255);
	assert_memory_equal(b + 4, "0102030405", 10);
	fake_scsi_do(x, CDB(0x12, 1, 0x83, 0, 255), 6, SCSI_IN, 255);
	assert_memory_equal(b + 4, ((uint8_t[]){ 1, 3, 0, 16, 0x60 }), 5);
	assert_memory_equal(b + 24, ((uint8_t[]){ 2, 1, 0, 18 }), 4);
	assert_memory_equal(b + 28, "Msft    0102030405", 18);
}

static void
limits_and_thin_provisioning_are_those_of_the_disk(void **state)
{
	struct fake_scsi *x = *state;
	uint8_t *b = x->buffer;

	fake_scsi_do(x, CDB(0x12, 1, 0xb0, 0, 255), 6, SCSI_IN, 255);
	assert_int_equal(get_be16(b + 6), 8);                       /* optimal granularity: 4 KiB */
	assert_int_equal(get_be32(b + 8), SCSI_MAX_TRANSFER / 512); /* one transfer */
	assert_int_equal(get_be32(b + 20), DISK_MAX_UNMAP / 512);   /* one unmap */
	assert_int_equal(get_be32(b + 24), DISK_MAX_DESCRIPTORS);
	assert_int_equal(get_be32(b + 28), 8);
	assert_int_equal(get_be64(b + 36), DISK_MAX_SAME / 512);
	fake_scsi_do(x, CDB(0x12, 1, 0xb1, 0, 255), 6, SCSI_IN, 255);
	assert_int_equal(get_be16(b + 4), 1); /* does not rotate */
	fake_scsi_do(x, CDB(0x12, 1, 0xb2, 0, 255), 6, SCSI_IN, 255);
	assert_int_equal(b[5], 0x80 | 0x40 | 0x20 | 4);
	assert_int_equal(b[6], 2);
	fake_scsi_do(x, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), 16, SCSI_IN, 32);
	assert_int_equal(get_be64(b), BLOCKS - 1);
	assert_int_equal(get_be32(b + 8), 512);
	assert_int_equal(b[13], 3);
	assert_int_equal(b[14], 0xc0);
	x->disk->disk.discard_zeroes = false;
	fake_scsi_do(x, CDB(0x12, 1, 0xb2, 0, 255), 6, SCSI_IN, 255);
	assert_int_equal(b[5], 0x80 | 0x40 | 0x20);
	fake_scsi_do(x, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), 16, SCSI_IN, 32);
	assert_int_equal(b[14], 0x80);
	x->disk->disk.can_discard = false;
	fake_scsi_do(x, CDB(0x12, 1, 0xb2, 0, 255), 6, SCSI_IN, 255);
	assert_int_equal(b[5], 0);
	fake_scsi_do(x, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), 16, SCSI_IN, 32);
	assert_int_equal(b[14], 0);
	assert_int_equal(fake_scsi_do(x, CDB(0x42), 10, SCSI_NO_DATA, 0), 0x052000);
	assert_int_equal(
	    fake_scsi_do(x, CDB(0x93, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9), 16, SCSI_NO_DATA, 0), 0x052400);
}

static void
a_disk_beyond_2_tib_says_so_in_its_short_capacity(void **state)
{
	struct fake_scsi *x = *state;

	x->disk->disk.size = UINT64_C(3) << 40;
	fake_scsi_do(x, CDB(0x25), 10, SCSI_IN, 8);
	assert_int_equal(get_be32(x->buffer), UINT32_MAX);
	x->disk->disk.size = SIZE;
	fake_scsi_do(x, CDB(0x25), 10, SCSI_IN, 8);
	assert_int_equal(get_be32(x->buffer), BLOCKS - 1);
}

static void
all_operation_codes_are_reported_once(void **state)
{
	struct fake_scsi *x = *state;
	uint32_t n;

	assert_int_equal(fake_scsi_do(x, CDB(0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 4, 0), 12, SCSI_IN, 1024), 0);
	n = get_be32(x->buffer);
	assert_int_equal(x->c.moved, n + 4);
	for (uint32_t i = 4; i < n + 4; i += 8)
		for (uint32_t j = 4; j < i; j += 8)
			assert_memory_not_equal(x->buffer + i, x->buffer + j, 4);
	for (uint32_t i = 4; i < n + 4; i += 8) { /* and each is what it says alone */
		uint8_t op = x->buffer[i], action = x->buffer[i + 3], how = x->buffer[i + 5] ? 2 : 1;
		uint8_t len = x->buffer[i + 7], one[20];
		struct fake_scsi *y = x;

		memcpy(one, x->buffer, sizeof(one));
		fake_scsi_do(y, CDB(0xa3, 0x0c, how, op, 0, action, 0, 0, 0, 200), 12, SCSI_IN, 200);
		assert_int_equal(y->buffer[1], 3);
		assert_int_equal(get_be16(y->buffer + 2), len);
		assert_int_equal(y->buffer[4], op);
		fake_scsi_do(x, CDB(0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 4, 0), 12, SCSI_IN, 1024);
	}
}

static void
write_protection_is_told_and_kept(void **state)
{
	static const struct row rows[] = {
		{ { 0x2a, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, OUT, 1024, 0x072700, 0, 0 },
		{ { 0x0a, 0, 0, 5, 2 }, 6, OUT, 1024, 0x072700, 0, 0 },
		{ { 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9 }, 16, NO, 0, 0x072700, 0, 0 },
		{ { 0x42 }, 10, NO, 0, 0x072700, 0, 0 },
		{ { 0x04 }, 6, NO, 0, 0x072700, 0, 0 },
		{ { 0x28, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, IN, 1024, 0, 1024, 0 },
		{ { 0x35 }, 10, NO, 0, 0, 0, 0 },
		{ { 0x1a, 0, 0x08, 0, 255 }, 6, IN, 255, 0, 32, 0 },
	};
	struct fake_scsi *x = *state;

	x->disk->disk.read_only = true;
	EXPECT(x, rows);
	assert_int_equal(x->buffer[2], 0x90);
}

static void
the_write_cache_can_be_turned_off(void **state)
{
	struct fake_scsi *x = *state;
	static const uint8_t off[] = { 0, 0, 0, 0, 0x08, 0x12, 0 };

	fake_scsi_do(x, CDB(0x1a, 8, 0x08, 0, 255), 6, SCSI_IN, 255);
	assert_int_equal(x->buffer[2], 0x10);
	assert_int_equal(x->buffer[6], 4);
	fake_scsi_do(x, CDB(0x1a, 8, 0x48, 0, 255), 6, SCSI_IN, 255);
	assert_int_equal(x->buffer[6], 4); /* changeable */
	fake_scsi_do(x, CDB(0x2a, 0, 0, 0, 0, 5, 0, 0, 1), 10, SCSI_OUT, 512);
	assert_int_equal(x->disk->fuas, 0);
	fake_scsi_do(x, CDB(0x2a, 8, 0, 0, 0, 5, 0, 0, 1), 10, SCSI_OUT, 512);
	assert_int_equal(x->disk->fuas, 1); /* asked for */
	memset(x->buffer, 0, 64);
	memcpy(x->buffer, off, sizeof(off));
	assert_int_equal(fake_scsi_do(x, CDB(0x15, 0x10, 0, 0, 24), 6, SCSI_OUT, 24), 0);
	assert_int_equal(x->c.moved, 24);
	fake_scsi_do(x, CDB(0x2a, 0, 0, 0, 0, 5, 0, 0, 1), 10, SCSI_OUT, 512);
	assert_int_equal(x->disk->fuas, 2);
	fake_scsi_do(x, CDB(0x1a, 8, 0x08, 0, 255), 6, SCSI_IN, 255);
	assert_int_equal(x->buffer[6], 0);
}

static void
mode_select_takes_nothing_that_cannot_be_changed(void **state)
{
	static const struct {
		uint8_t list[40], len;
		uint32_t sense;
		uint16_t at;
	} rows[] = {
		{ { 0 }, 0, 0, 0 }, { { 0 }, 3, 0x051a00, 0 },                /* not even a head */
		{ { 0 }, 4, 0, 0 },                                           /* a head alone */
		{ { 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0 }, 12, 0, 0 },         /* blocks of 512 bytes */
		{ { 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 16, 0 }, 12, 0x052600, 9 }, /* of 4096 */
		{ { 0, 0, 0, 8, 0, 0 }, 6, 0x052600, 3 },                     /* half a descriptor */
		{ { 0, 0, 0, 5 }, 12, 0x052600, 3 },                          /* of a wrong length */
		{ { 0, 0, 0, 0, 0x02, 2 }, 8, 0x052600, 4 },                  /* no such page */
		{ { 0, 0, 0, 0, 0x48, 0x12 }, 24, 0x052600, 4 },              /* a subpage */
		{ { 0, 0, 0, 0, 0x08, 0x11 }, 24, 0x052600, 5 },              /* a wrong length */
		{ { 0, 0, 0, 0, 0x08, 0x12 }, 23, 0x052600, 5 },              /* cut */
		{ { 0, 0, 0, 0, 0x08 }, 5, 0x052600, 5 },                     /* after a byte */
		{ { 0, 0, 0, 0, 0x08, 0x12, 5 }, 24, 0x052600, 6 },           /* another bit */
		{ { 0, 0, 0, 0, 0x08, 0x12, 0, 1 }, 24, 0x052600, 7 },
		{ { 0, 0, 0, 0, 0x0a, 10, 0, 0x10, 0, 0, 0, 0, 0xff, 0xff }, 16, 0, 0 }, /* as it is */
	};
	struct fake_scsi *x = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memcpy(x->buffer, rows[i].list, 40);
		assert_int_equal(
		    fake_scsi_do(x, CDB(0x15, 0x10, 0, 0, rows[i].len), 6, SCSI_OUT, 64), rows[i].sense);
		if (rows[i].sense == 0x052600)
			assert_int_equal(get_be16(x->c.sense + 16), rows[i].at);
		assert_false(x->u.write_through);
	}
	assert_int_equal(fake_scsi_do(x, CDB(0x15, 0x11, 0, 0, 4), 6, SCSI_OUT, 4), 0x052400); /* SP */
	assert_int_equal(fake_scsi_do(x, CDB(0x15, 0x10, 0, 0, 24), 6, SCSI_OUT, 10), 0x051a00);
	assert_int_equal(fake_scsi_do(x, CDB(0x55, 0x10, 0, 0, 0, 0, 0, 4, 0), 10, SCSI_OUT, 1024), 0x051a00);
	memset(x->buffer, 0, 64);
	assert_int_equal(fake_scsi_do(x, CDB(0x55, 0x10, 0, 0, 0, 0, 0, 0, 8), 10, SCSI_OUT, 8), 0);
}

static void
a_flush_makes_durable_what_was_written(void **state)
{
	struct fake_scsi *x = *state;

	memset(x->buffer, 0x5a, 1024);
	fake_scsi_do(x, CDB(0x2a, 0, 0, 0, 0, 5, 0, 0, 2), 10, SCSI_OUT, 1024);
	assert_memory_not_equal(x->disk->stable + 5 * 512, x->buffer, 1024);
	fake_scsi_do(x, CDB(0x35), 10, SCSI_NO_DATA, 0);
	assert_memory_equal(x->disk->stable + 5 * 512, x->buffer, 1024);
	memset(x->buffer, 0x33, 512);
	fake_scsi_do(x, CDB(0x2e, 0, 0, 0, 0, 9, 0, 0, 1), 10, SCSI_OUT, 512); /* verified: on the medium */
	assert_memory_equal(x->disk->stable + 9 * 512, x->buffer, 512);
	memset(x->buffer, 0x44, 512);
	fake_scsi_do(x, CDB(0x2a, 0, 0, 0, 0, 11, 0, 0, 1), 10, SCSI_OUT, 512);
	fake_scsi_do(x, CDB(0x1b), 6, SCSI_NO_DATA, 0); /* stopped */
	assert_memory_equal(x->disk->stable + 11 * 512, x->buffer, 512);
	x->disk->fail[DISK_FLUSH] = -EIO;
	assert_int_equal(fake_scsi_do(x, CDB(0x35, 2), 10, SCSI_NO_DATA, 0), 0x030c00);
}

static void
an_answer_comes_after_the_disk_s(void **state)
{
	static const struct row rows[] = {
		{ { 0x28, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, IN, 1024, 0, 0, 0 },
		{ { 0x2a, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, OUT, 1024, 0, 0, 0 },
		{ { 0x35, 2 }, 10, NO, 0, 0, 0, 0 }, /* IMMED is no excuse */
		{ { 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9 }, 16, NO, 0, 0, 0, 0 },
	};
	struct fake_scsi *x = *state;

	x->disk->hold = true;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fake_scsi_begin(x, rows[i].cdb, rows[i].len, (enum scsi_dir)rows[i].dir, rows[i].room);
		fake_loop_run(x->loop);
		assert_int_equal(x->done, i);
		fake_disk_release_all(x->disk, false);
		assert_int_equal(x->done, i + 1);
	}
}

static void
errors_below_become_sense_data(void **state)
{
	static const struct {
		enum disk_op op;
		int rc;
		struct row r;
	} rows[] = {
		{ DISK_READ, -EIO, { { 0x28, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, IN, 1024, 0x031100, 0, 0 } },
		{ DISK_WRITE, -EIO, { { 0x2a, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, OUT, 1024, 0x030c00, 0, 0 } },
		{ DISK_WRITE, -ENOSPC, { { 0x2a, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, OUT, 1024, 0x072707, 0, 0 } },
		{ DISK_WRITE, -EDQUOT, { { 0x2a, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, OUT, 1024, 0x072707, 0, 0 } },
		{ DISK_WRITE, -EROFS, { { 0x2a, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, OUT, 1024, 0x072700, 0, 0 } },
		{ DISK_FLUSH, -EIO, { { 0x35 }, 10, NO, 0, 0x030c00, 0, 0 } },
		{ DISK_ZERO, -EIO,
		    { { 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9 }, 16, NO, 0, 0x030c00, 0, 0 } },
	};
	struct fake_scsi *x = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i].r;

		x->disk->fail[rows[i].op] = rows[i].rc;
		assert_int_equal(fake_scsi_do(x, r->cdb, r->len, (enum scsi_dir)r->dir, r->room), r->sense);
		assert_int_equal(x->failed, i + 1);
		x->disk->fail[rows[i].op] = 0;
	}
	assert_int_equal(x->u.stats.errors, sizeof(rows) / sizeof(rows[0]));
}

static void
what_finds_no_space_waits_and_is_done_when_there_is(void **state)
{
	struct fake_scsi *x = *state;

	x->u.config.pause_on_full = true;
	x->disk->fail[DISK_WRITE] = -ENOSPC;
	memset(x->buffer, 0x77, 1024);
	fake_scsi_do(x, CDB(0x2a, 0, 0, 0, 0, 5, 0, 0, 2), 10, SCSI_OUT, 1024);
	assert_int_equal(x->done, 0);
	assert_int_equal(x->full, 1);
	assert_int_equal(x->u.stats.waiting, 1);
	scsi_retry(&x->u); /* still full */
	assert_int_equal(x->done, 0);
	assert_int_equal(x->full, 2);
	x->disk->fail[DISK_WRITE] = 0;
	scsi_retry(&x->u);
	assert_int_equal(x->done, 1);
	assert_int_equal(x->c.status, SCSI_GOOD);
	assert_int_equal(x->c.moved, 1024);
	assert_memory_equal(x->disk->data + 5 * 512, x->buffer, 1024);
	assert_int_equal(x->u.stats.waiting, 0);
	assert_int_equal(x->u.medium->users, 0);
}

static void
what_waits_can_be_aborted(void **state)
{
	struct fake_scsi *x = *state;

	x->u.config.pause_on_full = true;
	x->disk->fail[DISK_WRITE] = -ENOSPC;
	fake_scsi_do(x, CDB(0x2a, 0, 0, 0, 0, 5, 0, 0, 2), 10, SCSI_OUT, 1024);
	scsi_reset(&x->u);
	assert_int_equal(x->done, 1);
	assert_int_equal(fake_scsi_sense(x), SENSE_ABORTED);
	assert_int_equal(x->u.stats.waiting, 0);
	assert_int_equal(fake_scsi_do(x, CDB(0), 6, SCSI_NO_DATA, 0), SENSE_POWER_ON);
}

static void
unit_attentions_are_told_once_the_most_important_first(void **state)
{
	struct fake_scsi *x = *state;

	x->u.attention = ATTENTION_ALL;
	fake_scsi_do(x, CDB(0x12, 0, 0, 0, 36), 6, SCSI_IN, 36); /* not by these */
	assert_int_equal(x->c.status, SCSI_GOOD);
	assert_int_equal(fake_scsi_do(x, CDB(0), 6, SCSI_NO_DATA, 0), SENSE_POWER_ON);
	assert_int_equal(
	    fake_scsi_do(x, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 10, SCSI_IN, 512), SENSE_MEDIUM_CHANGED);
	fake_scsi_do(x, CDB(0x03, 0, 0, 0, 18), 6, SCSI_IN, 18); /* or when asked for */
	assert_int_equal(x->buffer[2], 6);
	assert_int_equal(x->buffer[12], 0x2a);
	assert_int_equal(x->buffer[13], 0x09);
	assert_int_equal(fake_scsi_do(x, CDB(0), 6, SCSI_NO_DATA, 0), 0);
}

static void
verify_compares(void **state)
{
	struct fake_scsi *x = *state;

	x->piece = 1000;
	memcpy(x->buffer, x->disk->data + 512, 20480);
	assert_int_equal(fake_scsi_do(x, CDB(0x2f, 2, 0, 0, 0, 1, 0, 0, 40), 10, SCSI_OUT, 20480), 0);
	assert_int_equal(x->c.moved, 20480);
	x->buffer[20479] ^= 1;
	assert_int_equal(fake_scsi_do(x, CDB(0x2f, 2, 0, 0, 0, 1, 0, 0, 40), 10, SCSI_OUT, 20480), 0x0e1d00);
	assert_int_equal(fake_scsi_do(x, CDB(0x2f, 2, 0, 0, 0, 1, 0, 0, 40), 10, SCSI_OUT, 20000), 0);
	assert_true(x->c.overrun);
	x->disk->fail[DISK_READ] = -EIO;
	assert_int_equal(fake_scsi_do(x, CDB(0x2f, 2, 0, 0, 0, 1, 0, 0, 1), 10, SCSI_OUT, 512), 0x031100);
	x->no_scratch = true;
	fake_scsi_do(x, CDB(0x2f, 2, 0, 0, 0, 1, 0, 0, 1), 10, SCSI_OUT, 512);
	assert_int_equal(x->c.status, SCSI_BUSY);
}

static void
write_same_fills_with_zeros_or_a_pattern(void **state)
{
	struct fake_scsi *x = *state;
	uint8_t *d = x->disk->data;

	assert_int_equal(
	    fake_scsi_do(x, CDB(0x93, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 16), 16, SCSI_NO_DATA, 0), 0);
	for (unsigned i = 8 * 512; i < 24 * 512; i++)
		assert_int_equal(d[i], 0);
	assert_int_equal(x->disk->begun[DISK_ZERO], 1);
	memset(x->buffer, 0, 512);
	assert_int_equal(fake_scsi_do(x, CDB(0x41, 0, 0, 0, 0, 32, 0, 0, 16), 10, SCSI_OUT, 512), 0);
	assert_int_equal(x->disk->begun[DISK_ZERO], 2); /* zeros that were sent are zeros, too */
	for (unsigned i = 0; i < 512; i++)
		x->buffer[i] = (uint8_t)(i * 3 + 1);
	assert_int_equal(fake_scsi_do(x, CDB(0x41, 0, 0, 0, 0, 0, 0x10, 0x0f, 0xf1), 10, SCSI_OUT, 512), 0);
	for (unsigned i = 0; i < 0xff1; i++)
		assert_memory_equal(d + i * 512, x->buffer, 512);
	assert_memory_not_equal(d + 0xff1 * 512, x->buffer, 512);
	assert_int_equal(x->disk->begun[DISK_WRITE], 3); /* in pieces of about 1 MiB */
	x->no_scratch = true;
	fake_scsi_do(x, CDB(0x41, 0, 0, 0, 0, 32, 0, 0, 16), 10, SCSI_OUT, 512);
	assert_int_equal(x->c.status, SCSI_BUSY);
}

static void
put_unmap(uint8_t *b, uint16_t bytes, uint64_t lba, uint32_t blocks)
{
	memset(b, 0, 24);
	put_be16(b, (uint16_t)(bytes + 6));
	put_be16(b + 2, bytes);
	put_be64(b + 8, lba);
	put_be32(b + 16, blocks);
}

static void
unmap_gives_up_what_its_list_names(void **state)
{
	struct fake_scsi *x = *state;
	uint8_t *b = x->buffer;

	put_unmap(b, 16, 8, 8);
	assert_int_equal(fake_scsi_do(x, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 10, SCSI_OUT, 24), 0);
	assert_int_equal(x->disk->begun[DISK_DISCARD], 1);
	assert_int_equal(x->disk->data[8 * 512 + 100], 0);
	put_unmap(b, 16, BLOCKS - 1, 2);
	assert_int_equal(fake_scsi_do(x, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 10, SCSI_OUT, 24), 0x052100);
	put_unmap(b, 16, UINT64_MAX, UINT32_MAX);
	assert_int_equal(fake_scsi_do(x, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 10, SCSI_OUT, 24), 0x052100);
	put_unmap(b, 16, 8, 0); /* nothing */
	assert_int_equal(fake_scsi_do(x, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 10, SCSI_OUT, 24), 0);
	assert_int_equal(x->disk->begun[DISK_DISCARD], 1);
	put_unmap(b, 15, 8, 8); /* not one whole descriptor */
	assert_int_equal(fake_scsi_do(x, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 10, SCSI_OUT, 24), 0);
	assert_int_equal(x->disk->begun[DISK_DISCARD], 1);
	put_unmap(b, 64 * 16, 8, 8); /* more descriptors than the list is long: those that are there */
	assert_int_equal(fake_scsi_do(x, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 10, SCSI_OUT, 24), 0);
	assert_int_equal(x->disk->begun[DISK_DISCARD], 2);
	put_unmap(b, 32, 8, 8); /* the list is longer than what came */
	assert_int_equal(fake_scsi_do(x, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40), 10, SCSI_OUT, 24), 0x051a00);
	put_unmap(b, 65 * 16, 8, 8); /* more than were promised to work */
	assert_int_equal(fake_scsi_do(x, CDB(0x42, 0, 0, 0, 0, 0, 0, 4, 24), 10, SCSI_OUT, 2048), 0x052600);
	x->disk->disk.size = UINT64_C(1) << 40;
	put_unmap(b, 16, 8, DISK_MAX_UNMAP / 512 + 1);
	assert_int_equal(fake_scsi_do(x, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 10, SCSI_OUT, 24), 0x052600);
	x->disk->disk.size = SIZE;
	for (unsigned i = 0; i < 64; i++) {
		put_be64(b + 8 + i * 16, i * 16);
		put_be32(b + 16 + i * 16, 1);
	}
	put_be16(b + 2, 64 * 16);
	assert_int_equal(fake_scsi_do(x, CDB(0x42, 0, 0, 0, 0, 0, 0, 4, 8), 10, SCSI_OUT, 1032), 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(x->disk->data[i * 16 * 512 + 3], 0);
}

/* --- Limits --- */

/* A command that is begun anew whenever it has ended. */
struct storm {
	struct scsi_cmd c;
	struct iovec iov;
	uint8_t data[8192];
	bool ended;
	unsigned done;
};

static void
storm_done(struct scsi_cmd *c)
{
	struct storm *s = (struct storm *)c;

	s->ended = true;
	s->done += c->status == SCSI_GOOD;
}

static void
storm_begin(struct fake_scsi *x, struct storm *s)
{
	s->ended = false;
	s->iov = (struct iovec){ s->data, sizeof(s->data) };
	s->c = (struct scsi_cmd){ .cdb = { 0x28, 0, 0, 0, 0, 0, 0, 0, 16 },
		.cdb_len = 10,
		.dir = SCSI_IN,
		.len = sizeof(s->data),
		.iov = &s->iov,
		.iovs = 1,
		.done = storm_done };
	scsi_execute(&x->u, &s->c);
}

/* How many commands of 8 KiB end in a time, four being begun at any moment. */
static unsigned
storm(struct fake_scsi *x, unsigned ms)
{
	struct storm *s = calloc(4, sizeof(*s));
	unsigned done = 0;

	for (unsigned i = 0; i < 4; i++)
		s[i].ended = true;
	for (unsigned t = 0; t < 4 * ms; t++) {
		for (unsigned i = 0; i < 4; i++)
			if (s[i].ended)
				storm_begin(x, &s[i]);
		fake_loop_pass(x->loop, 250000);
	}
	for (unsigned i = 0; i < 4; i++)
		done += s[i].done;
	scsi_abort_waiting(&x->u, NULL, NULL);
	free(s);
	return done;
}

static void
requests_and_bytes_a_second_are_limited(void **state)
{
	struct fake_scsi *x = *state;
	unsigned n;

	scsi_set_limits(&x->u, 0, 1000, 0);
	n = storm(x, 2000);
	assert_in_range(n, 1950, 2100);
	assert_true(x->u.stats.throttled > 0);
	scsi_set_limits(&x->u, 0, 0, 4096000); /* 500 of these a second */
	n = storm(x, 2000);
	assert_in_range(n, 950, 1060);
	assert_int_equal(x->u.stats.waiting, 0);
}

static void
limits_change_while_commands_wait(void **state)
{
	struct fake_scsi *x = *state;

	scsi_set_limits(&x->u, 0, 1, 0);
	for (unsigned i = 0; i < 1; i++)
		assert_int_equal(fake_scsi_do(x, CDB(0x28, 0, 0, 0, 0, 0, 0, 1, 0), 10, SCSI_IN, 131072), 0);
	assert_int_equal(x->done, 1);
	fake_scsi_do(x, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 10, SCSI_IN, 512);
	assert_int_equal(x->done, 1); /* 16 requests of 8 KiB ago: it waits 16 s */
	fake_loop_pass(x->loop, UINT64_C(15000000000));
	assert_int_equal(x->done, 1);
	fake_loop_pass(x->loop, UINT64_C(1100000000));
	assert_int_equal(x->done, 2);
	fake_scsi_do(x, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 10, SCSI_IN, 512);
	assert_int_equal(x->done, 2);
	scsi_set_limits(&x->u, 0, 0, 0);
	assert_int_equal(x->done, 3);
	assert_null(x->loop->timers);
}

static void
what_is_held_is_not_let_go_by_its_limit(void **state)
{
	struct fake_scsi *x = *state;

	scsi_set_limits(&x->u, 0, 10, 0);
	fake_scsi_do(x, CDB(0x28, 0, 0, 0, 0, 0, 0, 1, 0), 10, SCSI_IN, 131072);
	fake_scsi_do(x, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 10, SCSI_IN, 512);
	scsi_hold(&x->u, true);
	fake_loop_pass(x->loop, UINT64_C(60000000000));
	assert_int_equal(x->done, 1);
	scsi_hold(&x->u, false);
	assert_int_equal(x->done, 2);
}

static void
a_minimum_not_reached_is_told(void **state)
{
	struct fake_scsi *x = *state;

	scsi_set_limits(&x->u, 100, 0, 0);
	x->disk->hold = true;
	fake_scsi_begin(x, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 10, SCSI_IN, 512);
	fake_loop_pass(x->loop, UINT64_C(10100000000));
	assert_int_equal(x->slow, 1); /* busy all the time, and nothing done */
	assert_int_equal(x->iops, 0);
	fake_disk_release_all(x->disk, false);
	fake_loop_pass(x->loop, UINT64_C(30000000000));
	assert_int_equal(x->slow, 1);
	assert_null(x->loop->timers); /* who has nothing to do is not looked at */
	x->disk->hold = false;
	for (unsigned i = 0; i < 20; i++) {
		fake_scsi_do(x, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 10, SCSI_IN, 512);
		fake_loop_pass(x->loop, UINT64_C(1000000000));
	}
	assert_int_equal(x->slow, 1); /* slow, but it did not want more */
}

static void
a_unit_that_leaves_ends_when_its_last_command_does(void **state)
{
	struct fake_scsi *y = calloc(1, sizeof(*y));

	(void)state;
	fake_scsi_init(y, &scsi_disk_type, SIZE, 512);
	y->u.attention = 0;
	y->disk->hold = true;
	fake_scsi_begin(y, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 10, SCSI_IN, 512);
	scsi_leave(&y->u);
	assert_int_equal(y->left, 0);
	fake_disk_release(y->disk, 0); /* and the disk is freed: a leak or a late use would be seen */
	assert_int_equal(y->left, 1);
	assert_int_equal(y->done, 1);
	free(y->buffer - FAKE_GUARD);
	free(y->loop);
	free(y);
}

static void
sectors_of_4096_bytes_count_as_such(void **state)
{
	struct fake_scsi *y = calloc(1, sizeof(*y));

	(void)state;
	fake_scsi_init(y, &scsi_disk_type, SIZE, 4096);
	y->u.attention = 0;
	fake_scsi_do(y, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), 16, SCSI_IN, 32);
	assert_int_equal(get_be64(y->buffer), SIZE / 4096 - 1);
	assert_int_equal(get_be32(y->buffer + 8), 4096);
	assert_int_equal(y->buffer[13], 0);
	assert_int_equal(fake_scsi_do(y, CDB(0x28, 0, 0, 0, 0, 2, 0, 0, 3), 10, SCSI_IN, 12288), 0);
	assert_memory_equal(y->buffer, y->disk->data + 8192, 12288);
	for (unsigned i = 0; i < 4096; i++)
		y->buffer[i] = (uint8_t)(i ^ 0x5a);
	assert_int_equal(fake_scsi_do(y, CDB(0x41, 0, 0, 0, 0, 1, 0, 0, 3), 10, SCSI_OUT, 4096), 0);
	assert_memory_equal(y->disk->data + 3 * 4096, y->buffer, 4096);
	fake_scsi_free(y);
	free(y);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(every_command_answers_as_the_standards_say),
		unit(a_wrong_field_is_pointed_at),
		unit(the_first_block_out_of_range_is_named),
		unit(data_goes_through_pieces_of_any_size_and_nowhere_else),
		unit(identity_is_told_in_pages),
		unit(limits_and_thin_provisioning_are_those_of_the_disk),
		unit(a_disk_beyond_2_tib_says_so_in_its_short_capacity),
		unit(all_operation_codes_are_reported_once),
		unit(write_protection_is_told_and_kept),
		unit(the_write_cache_can_be_turned_off),
		unit(mode_select_takes_nothing_that_cannot_be_changed),
		unit(a_flush_makes_durable_what_was_written),
		unit(an_answer_comes_after_the_disk_s),
		unit(errors_below_become_sense_data),
		unit(what_finds_no_space_waits_and_is_done_when_there_is),
		unit(what_waits_can_be_aborted),
		unit(unit_attentions_are_told_once_the_most_important_first),
		unit(verify_compares),
		unit(write_same_fills_with_zeros_or_a_pattern),
		unit(unmap_gives_up_what_its_list_names),
		unit(requests_and_bytes_a_second_are_limited),
		unit(limits_change_while_commands_wait),
		unit(what_is_held_is_not_let_go_by_its_limit),
		unit(a_minimum_not_reached_is_told),
		unit(a_unit_that_leaves_ends_when_its_last_command_does),
		cmocka_unit_test(sectors_of_4096_bytes_count_as_such),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
