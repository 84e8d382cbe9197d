/*
 * tests/unit/fake_vhdx.h - VHDX files in memory, made by the format and damaged by hand, for its tests.
 */
#ifndef TESTS_UNIT_FAKE_VHDX_H
#define TESTS_UNIT_FAKE_VHDX_H

#include "hypervisor/disk/vhdx.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/disk/memory_file.h"

#define MIB VHDX_MIB

/* Where vhdx_create.c puts things. */
enum { LOG_AT = 1 << 20, METADATA_AT = 2 << 20, BAT_AT = 3 << 20 };

static inline void
fake_create(struct memory_host *h, unsigned number, const struct disk_create *how)
{
	struct disk_file *f = memory_open(h, number, false);
	struct err e = { 0 };

	if (disk_vhdx_format.create(f, how, NULL, &e) < 0)
		fail_msg("%s", e.msg);
	file_free(f);
}

static inline struct memory_host *
fake_host(const struct disk_create *how)
{
	struct memory_host *h = memory_host_new();

	fake_create(h, 0, how);
	return h;
}

static inline void
fake_put(struct memory_host *h, uint64_t off, const void *p, size_t n)
{
	struct disk_file *f = memory_open(h, 0, false);

	assert_int_equal(file_put(f, p, n, off, NULL), 0);
	file_free(f);
}

static inline void
fake_get(struct memory_host *h, uint64_t off, void *p, size_t n)
{
	struct disk_file *f = memory_open(h, 0, true);

	assert_int_equal(file_get(f, p, n, off, NULL), 0);
	file_free(f);
}

/* Both headers and both region tables have right checksums again. */
static inline void
fake_seal(struct memory_host *h)
{
	static uint8_t p[VHDX_COPY];
	uint32_t crc;

	for (unsigned i = 0; i < 4; i++) {
		size_t n = i < 2 ? VHDX_PAGE : VHDX_COPY;
		uint64_t at = VHDX_HEADER_AT + i * (uint64_t)VHDX_COPY;

		fake_get(h, at, p, n);
		crc = vhdx_crc(p, n, 4);
		fake_put(h, at + 4, &crc, sizeof(crc));
	}
}

static inline int
fake_info(struct memory_host *h, struct disk_info *info, struct err *e)
{
	struct disk_file *f = memory_open(h, 0, true);
	int rc;

	*e = (struct err){ 0 };
	rc = disk_vhdx_format.info(f, info, e);
	file_free(f);
	return rc;
}

static inline int
fake_open(struct memory_host *h, bool read_only, struct disk **d, struct err *e)
{
	struct disk_open how = { .file = memory_open(h, 0, read_only), .read_only = read_only };
	int rc;

	*e = (struct err){ 0 };
	rc = disk_vhdx_format.open(d, &how, e);
	if (rc < 0)
		file_free(how.file);
	return rc;
}

static inline int
fake_check(struct memory_host *h, struct disk_check *c)
{
	struct disk_file *f = memory_open(h, 0, !c->repair);
	struct err e = { 0 };
	int rc = disk_vhdx_format.check(f, c, NULL, &e);

	file_free(f);
	return rc;
}

/* One request that is waited for. */
static inline int
fake_io(struct memory_host *h, struct disk *d, enum disk_op op, uint64_t offset, void *p, uint64_t len)
{
	struct iovec iov = { p, len };
	struct disk_io io = { .op = op, .offset = offset, .len = len, .iov = &iov, .iovs = 1 };

	(void)h;
	return disk_wait(d, &io);
}

/* Each of n blocks of a MiB gets a page of its own in the middle, with `byte` + its number. */
static inline void
fake_fill(struct memory_host *h, unsigned n, int byte)
{
	uint8_t page[VHDX_PAGE];
	struct disk *d;
	struct err e;

	assert_int_equal(fake_open(h, false, &d, &e), 0);
	for (unsigned i = 0; i < n; i++) {
		memset(page, byte + (int)i, sizeof(page));
		assert_int_equal(fake_io(h, d, DISK_WRITE, i * MIB + MIB / 2, page, sizeof(page)), 0);
	}
	assert_int_equal(disk_close(d, NULL), 0);
	disk_free(d);
}

/* What guests read of the first n MiB (of each the `len` bytes around its middle), as one number. */
static inline uint64_t
fake_sum(struct memory_host *h, uint64_t n, uint64_t len)
{
	uint8_t *p = malloc(len);
	uint64_t sum = 0;
	struct disk *d;
	struct err e;

	if (fake_open(h, true, &d, &e) < 0)
		fail_msg("%s", e.msg);
	for (uint64_t i = 0; i < n; i++) {
		assert_int_equal(fake_io(h, d, DISK_READ, i * MIB + (MIB - len) / 2, p, len), 0);
		sum = memory_mix(sum, vhdx_crc_part(UINT32_MAX, p, len));
	}
	disk_free(d);
	free(p);
	return sum;
}

#endif
