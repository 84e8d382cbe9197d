/*
 * tests/unit/images.h - images in a folder of their own, with what they should show: for tests of chains,
 * copies and merges. A program that includes it runs each test with images_setup and images_teardown.
 */
#ifndef TESTS_UNIT_IMAGES_H
#define TESTS_UNIT_IMAGES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/disk/chain.h"
#include "hypervisor/disk/copy.h"

struct images {
	char folder[64];
	struct io_loop *loop;
	uint64_t seed;
};

static inline int
images_setup(void **state)
{
	struct images *x = calloc(1, sizeof(*x));
	struct err e = { 0 };

	snprintf(x->folder, sizeof(x->folder), "/tmp/images_test.XXXXXX");
	if (!mkdtemp(x->folder) || chdir(x->folder) < 0 || io_loop_new(&x->loop, &e) < 0 ||
	    io_loop_here(x->loop, &e) < 0) {
		print_error("setup: %s\n", e.msg);
		return -1;
	}
	x->seed = 1;
	*state = x;
	return 0;
}

static inline int
images_teardown(void **state)
{
	struct images *x = *state;
	char command[128];

	io_loop_free(x->loop);
	snprintf(command, sizeof(command), "rm -rf %s", x->folder);
	if (chdir("/") < 0 || system(command) != 0)
		return -1;
	free(x);
	return 0;
}

static inline uint64_t
images_random(struct images *x, uint64_t below)
{
	x->seed = x->seed * 6364136223846793005u + 1442695040888963407u;
	return (x->seed >> 33) % below;
}

static inline bool
images_have(enum disk_format_id format)
{
	return disk_formats[format] && disk_formats[format]->create;
}

#define WORKS(call)                                                          \
	do {                                                                 \
		struct err works_e = { 0 };                                  \
		int works_rc = (call);                                       \
		if (works_rc < 0)                                            \
			fail_msg("%s: %d %s", #call, works_rc, works_e.msg); \
	} while (0)

static inline struct disk_chain *
images_chain(const char *path, int format, bool write)
{
	const struct disk_chain_how how = { .format = format, .write = write };
	struct disk_chain *c = NULL;

	WORKS(disk_chain_open(&c, path, &how, &works_e));
	return c;
}

static inline struct disk *
images_open(struct images *x, const char *path, int format, bool write)
{
	struct disk_chain *c = images_chain(path, format, write);
	const struct disk_stack how = { .loop = x->loop, .write = write };
	struct disk *d = NULL;

	WORKS(disk_chain_disk(&d, c, &how, &works_e));
	disk_chain_free(c);
	return d;
}

static inline void
images_close(struct disk *d)
{
	WORKS(disk_close(d, &works_e));
	disk_free(d);
}

/* parent: NULL, or an image in the same folder tree. */
static inline void
images_make(const char *path, enum disk_format_id format, uint64_t size, const char *parent)
{
	struct disk_new n = { .path = path,
		.format = format,
		.create = { .type = format == DISK_RAW ? DISK_FIXED : DISK_DYNAMIC,
		    .size = size,
		    .block_size = format == DISK_RAW ? 0 : 1 << 20,
		    .sparse_fixed = true } };
	struct disk_chain *c = parent ? images_chain(parent, (int)format, false) : NULL;
	char here[PATH_MAX], there[PATH_MAX], relative[PATH_MAX];

	if (parent) {
		assert_non_null(realpath(".", here));
		snprintf(here + strlen(here), sizeof(here) - strlen(here), "/%s", path);
		assert_non_null(realpath(parent, there));
		assert_int_equal(parent_path_relative(here, there, relative), 0);
		n.create.type = DISK_DIFFERENCING;
		n.create.parent = &c->link[0]->info;
		n.create.parent_relative = relative;
	}
	WORKS(disk_make(&n, NULL, &works_e));
	disk_chain_free(c);
}

static inline int
images_do(struct disk *d, enum disk_op op, uint64_t offset, void *buf, uint64_t len)
{
	struct iovec iov = { buf, len };
	const struct disk_io io = { .op = op,
		.unmap = op == DISK_ZERO,
		.offset = offset,
		.len = len,
		.iov = &iov,
		.iovs = buf != NULL };

	return disk_wait(d, &io);
}

/* Random writes and zeros of an image, noted in model (its whole content). */
static inline void
images_scribble(
    struct images *x, const char *path, enum disk_format_id format, uint8_t *model, unsigned times)
{
	struct disk *d = images_open(x, path, (int)format, true);
	static uint8_t buf[256 << 10];

	for (unsigned i = 0; i < times; i++) {
		uint64_t len = (1 + images_random(x, sizeof(buf) / 512)) * 512;
		uint64_t off = images_random(x, (d->size - len) / 512 + 1) * 512;

		if (images_random(x, 4) == 0) {
			len = len * 8 < d->size - off ? len * 8 : len;
			memset(model + off, 0, len);
			assert_int_equal(images_do(d, DISK_ZERO, off, NULL, len), 0);
		} else {
			memset(buf, (int)(1 + images_random(x, 255)), len);
			memcpy(model + off, buf, len);
			assert_int_equal(images_do(d, DISK_WRITE, off, buf, len), 0);
		}
	}
	images_close(d);
}

static inline void
images_show(
    struct images *x, const char *path, enum disk_format_id format, const uint8_t *model, uint64_t size)
{
	struct disk *d = images_open(x, path, (int)format, false);
	static uint8_t buf[1 << 20];

	assert_int_equal(d->size, size);
	for (uint64_t at = 0; at < size; at += sizeof(buf)) {
		uint64_t len = size - at < sizeof(buf) ? size - at : sizeof(buf);

		memset(buf, 0xee, sizeof(buf));
		assert_int_equal(images_do(d, DISK_READ, at, buf, len), 0);
		for (uint64_t i = 0; i < len; i++)
			if (buf[i] != model[at + i])
				fail_msg("%s: offset %llu is %02x, expected is %02x", path,
				    (unsigned long long)(at + i), buf[i], model[at + i]);
	}
	disk_free(d);
}

#endif
