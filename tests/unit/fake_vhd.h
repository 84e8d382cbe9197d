/*
 * tests/unit/fake_vhd.h - VHDs in memory, good and bad, for the tests of hypervisor/disk/vhd*.c: made by hand
 * where what makes them is not what is tested.
 */
#ifndef TESTS_UNIT_FAKE_VHD_H
#define TESTS_UNIT_FAKE_VHD_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/disk/vhd.h"
#include "tests/disk/memory_file.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define TIB (GIB * 1024)

static const uint8_t vhd_id[GUID_BYTES] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
static const uint8_t vhd_parent_id[GUID_BYTES] = "a parent's name";

struct vhd_files {
	struct memory_host *h;
	struct disk_file *f;
};

__attribute__((unused)) static int
vhd_setup(void **state)
{
	struct vhd_files *x = calloc(1, sizeof(*x));

	x->h = memory_host_new();
	x->f = memory_open(x->h, 0, false);
	*state = x;
	return 0;
}

__attribute__((unused)) static int
vhd_teardown(void **state)
{
	struct vhd_files *x = *state;

	file_free(x->f);
	memory_host_free(x->h);
	free(x);
	assert_int_equal(pages_alive(), 0);
	return 0;
}

#define VHD_TEST(t) cmocka_unit_test_setup_teardown(t, vhd_setup, vhd_teardown)

__attribute__((unused)) static void
vhd_ok(int rc, const struct err *e)
{
	if (rc < 0)
		print_error("%d: %s\n", rc, e->msg);
	assert_int_equal(rc, 0);
}

__attribute__((unused)) static void
vhd_make_as(struct disk_file *f, const struct disk_create *how)
{
	struct err e = { 0 };

	vhd_ok(disk_vhd_format.create(f, how, NULL, &e), &e);
}

__attribute__((unused)) static void
vhd_make(struct disk_file *f, enum disk_type type, uint64_t size, uint32_t block)
{
	static const struct disk_info parent = { .format = DISK_VHD, .size = MIB };
	struct disk_info p = parent;
	struct disk_create how = { .type = type, .size = size, .block_size = block, .id = vhd_id };

	memcpy(p.data_id, vhd_parent_id, GUID_BYTES);
	if (type == DISK_DIFFERENCING) {
		how.parent = &p;
		how.parent_relative = "parent.vhd";
		how.parent_absolute = "C:\\images\\parent.vhd";
	}
	vhd_make_as(f, &how);
}

/* The file's bytes, changed in place: what is damaged is what comes here. */
__attribute__((unused)) static void
vhd_poke(struct disk_file *f, uint64_t at, const void *bytes, size_t n)
{
	assert_int_equal(file_put(f, bytes, n, at, NULL), 0);
}

__attribute__((unused)) static void
vhd_poke32(struct disk_file *f, uint64_t at, uint32_t v)
{
	uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

	vhd_poke(f, at, b, 4);
}

__attribute__((unused)) static void
vhd_poke64(struct disk_file *f, uint64_t at, uint64_t v)
{
	vhd_poke32(f, at, (uint32_t)(v >> 32));
	vhd_poke32(f, at + 4, (uint32_t)v);
}

/* Seals what was changed at `at`: len bytes with their sum at `field`. */
__attribute__((unused)) static void
vhd_seal(struct disk_file *f, uint64_t at, size_t len, size_t field)
{
	uint8_t raw[VHD_HEADER];
	uint32_t sum = 0;

	vhd_poke32(f, at + field, 0);
	assert_int_equal(file_get(f, raw, len, at, NULL), 0);
	for (size_t i = 0; i < len; i++)
		sum += raw[i];
	vhd_poke32(f, at + field, ~sum);
}

__attribute__((unused)) static void
vhd_seal_footer(struct disk_file *f, uint64_t at)
{
	vhd_seal(f, at, VHD_FOOTER, 64);
}

__attribute__((unused)) static void
vhd_seal_header(struct disk_file *f)
{
	vhd_seal(f, 512, VHD_HEADER, 36);
}

__attribute__((unused)) static uint64_t
vhd_trailer(struct disk_file *f)
{
	uint64_t size;

	assert_int_equal(file_size(f, &size, NULL), 0);
	return size - VHD_FOOTER;
}

/* A block at the end of the file: sectors [from, from+n) of it are here, full of `byte`; in the places of the
 * others lies something else. */
__attribute__((unused)) static void
vhd_put_block(struct disk_file *f, uint32_t block, uint32_t from, uint32_t n, int byte)
{
	uint8_t *data, map[VHD_BLOCK_DEFAULT / VHD_SECTOR / 8] = { 0 };
	struct err e = { 0 };
	struct vhd v;
	uint64_t at;

	vhd_ok(vhd_load_to_change(&v, f, &e), &e);
	at = vhd_place(&v, v.trailer);
	vhd_ok(vhd_extend(&v, at + vhd_stride(&v), &e), &e);
	data = malloc(v.header.block_size);
	memset(data, 0xee, v.header.block_size);
	memset(data + (size_t)from * VHD_SECTOR, byte, (size_t)n * VHD_SECTOR);
	for (uint32_t i = from; i < from + n; i++)
		map[i / 8] |= (uint8_t)(0x80 >> i % 8);
	vhd_poke(f, at, map, v.bitmap);
	vhd_poke(f, at + v.bitmap, data, v.header.block_size);
	free(data);
	vhd_set_entry(&v, block, (uint32_t)(at / VHD_SECTOR));
	vhd_ok(vhd_write_entry(&v, block, &e), &e);
	vhd_recount(&v);
	vhd_ok(vhd_cut(&v, &e), &e);
	vhd_unload(&v);
}

/* A real image, unpacked into file 0; false and a word on the console if the samples are not here. */
__attribute__((unused)) static bool
vhd_sample(struct vhd_files *x, const char *name)
{
	const char *dir = getenv("FREEHOLD_SAMPLES");
	char command[512], path[] = "/tmp/fh-sample-XXXXXX";
	int fd = mkstemp(path), rc;

	assert_true(fd >= 0);
	snprintf(command, sizeof(command),
	    "f='%s/%s'; case $f in *.gz) gzip -dc $f;; *) bzip2 -dc $f;; esac >%s 2>/dev/null",
	    dir ? dir : "../shared/samples", name, path);
	rc = system(command); /* NOLINT(cert-env33-c): a test, and our own names */
	if (rc == 0) {
		file_free(x->f);
		assert_int_equal(memory_load(x->h, 0, path), 0);
		x->f = memory_open(x->h, 0, false);
	} else {
		print_message("SKIP %s: the samples are not here\n", name);
	}
	close(fd);
	unlink(path);
	return rc == 0;
}

#endif
