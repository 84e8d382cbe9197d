/*
 * tests/unit/image_test.c - the engine of images, with a toy format: one sector of a table that names the
 * places of blocks. Files are in memory and end their operations when the test says, in any order.
 */
#include "hypervisor/disk/image.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/disk/memory_file.h"

enum {
	BLOCK = 4096,
	BLOCKS = 64,
	SIZE = BLOCK * BLOCKS,
	SECTOR = 512,
	HOME = 65536, /* of the first block */
	SMALL_STACK = 64 * 1024,
};

/* --- The format -------------------------------------------------------------------------------------- */

struct toy {
	struct image image; /* first */
	struct memory_host *host;
	uint64_t table[BLOCKS], copy[BLOCKS]; /* 0: no place */
	uint64_t next;
	struct image_write record, after;
	bool unloaded[BLOCKS];  /* map and place wait */
	bool wakes_itself;      /* when asked for one of those, and has it then */
	bool in_order;          /* a barrier before each record */
	bool writes_later;      /* in settle */
	unsigned changed, most; /* places taken since the last commit; 0: without bound */
	bool early_room;        /* for more, when a commit has them; else when it is durable */
	int capture_rc, place_rc, poison;
	unsigned asked;  /* map and place, in all */
	unsigned placed; /* and not told yet */
	unsigned most_placed;
	char log[256]; /* what happened in a commit */
};

static struct toy *
toy_of(struct image *i)
{
	return (struct toy *)i;
}

static void
note(struct toy *t, const char *what)
{
	strncat(t->log, what, sizeof(t->log) - strlen(t->log) - 1);
}

static uint64_t
in_block(uint64_t offset, uint64_t len)
{
	return len < BLOCK - offset % BLOCK ? len : BLOCK - offset % BLOCK;
}

static bool
is_loaded(struct toy *t, uint64_t offset)
{
	uint64_t b = offset / BLOCK;

	t->asked++;
	if (!t->unloaded[b])
		return true;
	if (t->wakes_itself) {
		t->unloaded[b] = false;
		image_wake(&t->image);
	}
	return false;
}

static int
toy_map(struct image *i, uint64_t offset, uint64_t len, struct extent *x)
{
	struct toy *t = toy_of(i);
	uint64_t at = t->table[offset / BLOCK];

	if (!is_loaded(t, offset))
		return -EAGAIN;
	*x = (struct extent){ .kind = EXTENT_DATA, .at = at + offset % BLOCK, .len = in_block(offset, len) };
	if (at == 0)
		x->kind = i->disk.parent ? EXTENT_PARENT : EXTENT_ZERO;
	return 0;
}

static int
toy_place(struct image *i, uint64_t offset, uint64_t len, struct extent *x)
{
	struct toy *t = toy_of(i);
	uint64_t *at = &t->table[offset / BLOCK];

	if (!is_loaded(t, offset))
		return -EAGAIN;
	if (t->place_rc)
		return t->place_rc;
	if (*at == 0 && t->most && t->changed == t->most) {
		image_commit(i);
		return -EAGAIN;
	}
	if (*at == 0) {
		*at = t->next;
		t->next += BLOCK;
		assert_int_equal(file_truncate(i->disk.file, t->next, NULL), 0);
		t->changed++;
		i->dirty = true;
		i->barrier = t->in_order;
	}
	*x = (struct extent){
		.kind = EXTENT_DATA, .at = *at + offset % BLOCK, .len = in_block(offset, len), .own = 77
	};
	if (++t->placed > t->most_placed)
		t->most_placed = t->placed;
	return 0;
}

static void
toy_wrote(struct image *i, uint64_t offset, const struct extent *x, int rc)
{
	struct toy *t = toy_of(i);

	(void)rc;
	t->placed--;
	assert_int_equal(x->kind, EXTENT_DATA);
	assert_int_equal(x->own, 77);
	assert_int_equal(x->at, t->table[offset / BLOCK] + offset % BLOCK);
	assert_int_equal(in_block(offset, x->len), x->len);
}

static int
toy_drop(struct image *i, const struct disk_io *io, uint64_t offset, uint64_t len, struct extent *x)
{
	struct toy *t = toy_of(i);

	if (i->disk.parent && io->op == DISK_ZERO)
		return toy_place(i, offset, len, x);
	if (!is_loaded(t, offset))
		return -EAGAIN;
	*x = (struct extent){ .kind = EXTENT_ZERO, .len = in_block(offset, len) };
	return t->table[offset / BLOCK] ? toy_place(i, offset, len, x) : 0;
}

static int
toy_capture(struct image *i)
{
	struct toy *t = toy_of(i);

	note(t, "capture ");
	memcpy(t->copy, t->table, sizeof(t->copy));
	if (!t->capture_rc && t->early_room)
		t->changed = 0;
	return t->capture_rc;
}

static void
toy_record(struct image *i)
{
	struct toy *t = toy_of(i);

	note(t, "record ");
	image_write(i, &t->record, t->copy, sizeof(t->copy), 0);
}

static void
toy_settle(struct image *i, int rc)
{
	struct toy *t = toy_of(i);

	note(t, rc < 0 ? "failed " : "settle ");
	if (!t->early_room)
		t->changed = rc < 0 ? t->most : 0;
	if (rc < 0 && t->poison)
		i->poisoned = t->poison;
	if (rc == 0 && t->writes_later)
		image_write(i, &t->after, t->copy, sizeof(t->copy), 4096);
}

static bool
toy_idle(const struct disk *d)
{
	return image_idle((const struct image *)d);
}

static int
toy_close(struct disk *d, struct err *e)
{
	(void)e;
	note((struct toy *)d, "close ");
	return 0;
}

static void
toy_free(struct disk *d)
{
	struct disk *parent = d->parent;

	file_free(d->file);
	free(d);
	disk_free(parent);
}

static const struct image_ops toy_ops = {
	.disk = { .name = "Toy",
	    .submit = image_submit,
	    .idle = toy_idle,
	    .close = toy_close,
	    .free = toy_free },
	.map = toy_map,
	.place = toy_place,
	.wrote = toy_wrote,
	.drop = toy_drop,
	.capture = toy_capture,
	.record = toy_record,
	.settle = toy_settle,
};

/* The image in file `number`, as its table says. */
static struct toy *
toy_open(struct memory_host *h, unsigned number, struct disk *parent, bool read_only)
{
	struct toy *t = calloc(1, sizeof(*t));
	struct disk_file *f = memory_open(h, number, read_only);
	uint64_t size;

	assert_int_equal(file_size(f, &size, NULL), 0);
	if (size >= sizeof(t->table))
		assert_int_equal(file_get(f, t->table, sizeof(t->table), 0, NULL), 0);
	t->host = h;
	t->next = size > HOME ? (size + BLOCK - 1) / BLOCK * BLOCK : HOME;
	t->image.disk = (struct disk){ .file = f,
		.parent = parent,
		.size = SIZE,
		.logical = SECTOR,
		.physical = BLOCK,
		.read_only = read_only,
		.can_discard = true };
	assert_int_equal(image_init(&t->image, &toy_ops, NULL), 0);
	return t;
}

/* --- Requests ---------------------------------------------------------------------------------------- */

struct fixture {
	struct memory_host *h;
	struct toy *t;
};

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	x->h = memory_host_new();
	x->t = toy_open(x->h, 0, NULL, false);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	disk_free(&x->t->image.disk);
	memory_host_free(x->h);
	free(x);
	assert_int_equal(pages_alive(), 0);
	return 0;
}

struct request {
	struct disk_io io; /* first */
	struct iovec iov[16];
	unsigned ended, order;
	int rc;
};

static unsigned order;

static void
request_done(struct disk_io *io, int rc)
{
	struct request *r = (struct request *)io;

	r->ended++;
	r->rc = rc;
	r->order = ++order;
}

static void
begin(struct toy *t, struct request *r, enum disk_op op, uint64_t offset, void *buf, uint64_t len)
{
	r->ended = 0;
	r->io.op = op;
	r->io.offset = offset;
	r->io.len = len;
	r->iov[0] = (struct iovec){ buf, len };
	r->io.iov = r->iov;
	r->io.iovs = 1;
	r->io.done = request_done;
	disk_submit(&t->image.disk, &r->io);
}

static int
run(struct toy *t, struct request *r, enum disk_op op, uint64_t offset, void *buf, uint64_t len)
{
	begin(t, r, op, offset, buf, len);
	memory_run(t->host);
	assert_int_equal(r->ended, 1);
	return r->rc;
}

static int
fill(struct toy *t, uint64_t offset, int byte, uint64_t len)
{
	struct request r = { 0 };
	uint8_t *b = malloc(len);
	int rc;

	memset(b, byte, len);
	rc = run(t, &r, DISK_WRITE, offset, b, len);
	free(b);
	return rc;
}

static void
assert_reads(struct toy *t, uint64_t offset, int byte, uint64_t len)
{
	struct request r = { 0 };
	uint8_t *b = malloc(len);

	memset(b, 0xa5, len);
	assert_int_equal(run(t, &r, DISK_READ, offset, b, len), 0);
	for (uint64_t i = 0; i < len; i++)
		if (b[i] != byte)
			fail_msg("byte %llu is %d, not %d", (unsigned long long)(offset + i), b[i], byte);
	free(b);
}

static int
flush(struct toy *t)
{
	struct request r = { 0 };

	return run(t, &r, DISK_FLUSH, 0, NULL, 0);
}

/* --- Pieces ------------------------------------------------------------------------------------------ */

static void
what_has_no_place_reads_zero_without_io(void **state)
{
	struct fixture *x = *state;
	struct request r = { 0 };
	uint8_t b[3 * BLOCK];

	memset(b, 1, sizeof(b));
	begin(x->t, &r, DISK_READ, 512, b, sizeof(b));
	assert_int_equal(r.ended, 1);
	assert_int_equal(x->h->in_flight, 0);
	for (size_t i = 0; i < sizeof(b); i++)
		assert_int_equal(b[i], 0);
}

static void
requests_are_cut_where_extents_end(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(fill(x->t, 5 * BLOCK, 5, BLOCK), 0); /* apart from its neighbours */
	assert_int_equal(fill(x->t, 4 * BLOCK + 512, 4, 2 * BLOCK), 0);
	assert_int_equal(x->h->count[MEMORY_WRITE], 1 + 3);
	assert_reads(x->t, 4 * BLOCK, 0, 512);
	assert_reads(x->t, 4 * BLOCK + 512, 4, 2 * BLOCK);
	assert_reads(x->t, 6 * BLOCK + 512, 0, BLOCK);
}

static void
a_request_within_one_extent_is_one_operation_with_its_own_array(void **state)
{
	struct fixture *x = *state;
	struct request r = { 0 };
	uint8_t b[BLOCK];

	assert_int_equal(fill(x->t, 0, 1, BLOCK), 0);
	begin(x->t, &r, DISK_READ, 0, b, sizeof(b));
	assert_int_equal(x->h->in_flight, 1);
	memory_end(x->h, 0);
	assert_int_equal(r.ended, 1);
	assert_int_equal(x->h->count[MEMORY_READ], 1);
}

static int
short_transfers(void *ctx, const struct memory_op *op)
{
	(void)ctx;
	return op->kind == MEMORY_READ || op->kind == MEMORY_WRITE ? 700 : 0;
}

/* Cuts a buffer into iovecs at random. */
static void
scatter(struct request *r, uint8_t *buf, uint64_t len, uint64_t seed)
{
	unsigned n = 0;

	while (n < 15 && len > 1) {
		uint64_t part = memory_mix(seed, n) % len;

		r->iov[n++] = (struct iovec){ buf, part };
		buf += part;
		len -= part;
	}
	r->iov[n++] = (struct iovec){ buf, len };
	r->io.iov = r->iov;
	r->io.iovs = n;
}

enum { AT_ONCE = 24 };

/* Requests of a turn do not touch each other; they run together and end in any order. */
static void
turn(struct toy *t, uint8_t *model, uint64_t seed)
{
	static struct request r[AT_ONCE];
	static uint8_t buf[AT_ONCE][SIZE / AT_ONCE], want[AT_ONCE][SIZE / AT_ONCE];
	uint64_t share = SIZE / AT_ONCE / SECTOR * SECTOR;

	for (unsigned i = 0; i < AT_ONCE; i++) {
		uint64_t s = memory_mix(seed, i), off = i * share + s % 8 * SECTOR;
		uint64_t len = (s >> 8) % ((share - s % 8 * SECTOR) / SECTOR) * SECTOR + SECTOR;

		r[i] = (struct request){
			.io = { .op = (enum disk_op)((s >> 32) % 5), .offset = off, .len = len }
		};
		r[i].io.fua = s >> 40 & 1;
		r[i].io.unmap = s >> 41 & 1;
		r[i].io.done = request_done;
		if (r[i].io.op == DISK_DISCARD)
			r[i].io.op = DISK_ZERO; /* the model would have to know */
		if (r[i].io.op == DISK_FLUSH)
			r[i].io.len = 0;
		memset(buf[i], (int)(s >> 48), len);
		scatter(&r[i], buf[i], len, s);
		memcpy(want[i], model + off, len);
		if (r[i].io.op == DISK_WRITE)
			memcpy(model + off, buf[i], len);
		else if (r[i].io.op == DISK_ZERO)
			memset(model + off, 0, len);
		disk_submit(&t->image.disk, &r[i].io);
	}
	for (unsigned b = 0; b < BLOCKS; b++) {
		memory_end_one(t->host);
		t->unloaded[b] = false;
		image_wake(&t->image);
	}
	memory_run(t->host);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		assert_int_equal(r[i].ended, 1);
		assert_int_equal(r[i].rc, 0);
		if (r[i].io.op == DISK_READ)
			assert_memory_equal(buf[i], want[i], r[i].io.len);
	}
}

static void
many_requests_of_all_kinds_agree_with_a_model(void **state)
{
	struct fixture *x = *state;
	static uint8_t model[SIZE];

	memset(model, 0, sizeof(model));
	x->h->fault = short_transfers;
	x->h->seed = 5;
	x->t->most = 3;
	for (uint64_t seed = 0; seed < 300; seed++) {
		for (unsigned b = 0; b < BLOCKS; b++)
			x->t->unloaded[b] = memory_mix(seed, b + 100) % 4 == 0;
		x->t->in_order = seed & 1;
		x->t->writes_later = seed & 2;
		turn(x->t, model, seed);
		assert_true(image_idle(&x->t->image));
	}
}

static void
no_more_than_so_many_pieces_are_placed(void **state)
{
	struct fixture *x = *state;
	static struct request r[3 * IMAGE_PIECES];
	static uint8_t b[BLOCK];
	unsigned n = sizeof(r) / sizeof(r[0]);

	for (unsigned i = 0; i < n; i++)
		begin(x->t, &r[i], DISK_WRITE, (uint64_t)(i % (SIZE / SECTOR)) * SECTOR, b, SECTOR);
	assert_int_equal(x->t->placed, IMAGE_PIECES);
	order = 0;
	memory_run(x->h);
	assert_int_equal(x->t->most_placed, IMAGE_PIECES);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(r[i].ended, 1);
		assert_int_equal(r[i].order, i + 1); /* nobody is overtaken */
	}
	assert_true(image_idle(&x->t->image));
}

static void
a_long_write_does_not_keep_others_waiting(void **state)
{
	struct fixture *x = *state;
	static struct request r[IMAGE_PIECES + 1];
	static uint8_t b[SIZE];
	unsigned last = IMAGE_PIECES;

	for (unsigned i = 0; i < last; i++)
		begin(x->t, &r[i], DISK_WRITE, 0, b, SIZE);
	begin(x->t, &r[last], DISK_WRITE, 0, b, SECTOR);
	memory_end(x->h, 0); /* one piece of the first */
	for (unsigned i = 0; !r[last].ended && i < 2 * last; i++)
		memory_end(x->h, 0);
	assert_int_equal(r[last].ended, 1);
	assert_int_equal(r[0].ended, 0);
	memory_run(x->h);
	assert_int_equal(r[0].rc, 0);
}

static int
fails_behind(void *ctx, const struct memory_op *op)
{
	(void)ctx;
	return op->kind == MEMORY_WRITE && op->off >= HOME + BLOCK ? -EIO : 0;
}

static void
a_request_that_fails_half_way_ends_with_its_error(void **state)
{
	struct fixture *x = *state;

	x->h->fault = fails_behind;
	assert_int_equal(fill(x->t, 0, 1, 3 * BLOCK), -EIO);
	assert_int_equal(x->t->placed, 0);
	x->h->fault = NULL;
	assert_reads(x->t, 0, 1, BLOCK);
	x->t->place_rc = -ENOSPC;
	assert_int_equal(fill(x->t, 0, 2, BLOCK), -ENOSPC);
	x->t->place_rc = 0;
	assert_true(image_idle(&x->t->image));
}

static void
what_is_dropped_is_emptied(void **state)
{
	struct fixture *x = *state;
	struct request r = { 0 };
	struct disk_file *f = x->t->image.disk.file;
	uint64_t n;

	assert_int_equal(fill(x->t, 0, 1, 3 * BLOCK), 0);
	r.io.unmap = true;
	assert_int_equal(run(x->t, &r, DISK_ZERO, 512, NULL, 2 * BLOCK), 0);
	assert_reads(x->t, 0, 1, 512);
	assert_reads(x->t, 512, 0, 2 * BLOCK);
	assert_reads(x->t, 512 + 2 * BLOCK, 1, 512);
	assert_true(file_is_hole(f, HOME + BLOCK, BLOCK, &n));
	assert_int_equal(run(x->t, &r, DISK_DISCARD, 0, NULL, SIZE), 0);
	x->h->no_holes = true; /* may be what it was, then */
	assert_int_equal(run(x->t, &r, DISK_DISCARD, 0, NULL, SIZE), 0);
	assert_int_equal(fill(x->t, 0, 1, BLOCK), 0);
	assert_int_equal(run(x->t, &r, DISK_ZERO, 0, NULL, BLOCK), 0);
	assert_reads(x->t, 0, 0, BLOCK);
	x->h->no_holes = false;
}

/* --- Waiting for tables ------------------------------------------------------------------------------ */

static void
who_needs_a_table_waits_until_it_is_there(void **state)
{
	struct fixture *x = *state;
	struct request r[2] = { 0 };
	uint8_t b[BLOCK];

	x->t->unloaded[3] = true;
	begin(x->t, &r[0], DISK_READ, 3 * BLOCK, b, BLOCK);
	begin(x->t, &r[1], DISK_WRITE, 3 * BLOCK, b, BLOCK);
	memory_run(x->h);
	assert_int_equal(r[0].ended + r[1].ended, 0);
	image_wake(&x->t->image); /* something else came */
	assert_int_equal(r[0].ended + r[1].ended, 0);
	assert_false(image_idle(&x->t->image));
	assert_reads(x->t, 0, 0, BLOCK); /* others pass */
	x->t->unloaded[3] = false;
	order = 0;
	image_wake(&x->t->image);
	memory_run(x->h);
	assert_int_equal(r[0].order, 1);
	assert_int_equal(r[1].order, 2);
}

static void
a_wake_before_the_wait_is_not_lost(void **state)
{
	struct fixture *x = *state;

	x->t->unloaded[3] = x->t->unloaded[4] = true;
	x->t->wakes_itself = true;
	assert_int_equal(fill(x->t, 3 * BLOCK, 3, BLOCK), 0);
	assert_reads(x->t, 3 * BLOCK, 3, BLOCK);
	assert_reads(x->t, 4 * BLOCK, 0, BLOCK);
}

static void
writers_wait_for_the_commit_that_they_need_in_their_order(void **state)
{
	struct fixture *x = *state;
	uint8_t b[BLOCK] = { 1 };

	x->t->most = 2;
	for (unsigned early = 0; early < 2; early++) {
		struct request r[10] = { 0 };

		x->t->early_room = early;
		order = 0;
		for (unsigned i = 0; i < 10; i++)
			begin(x->t, &r[i], DISK_WRITE, (early * 10 + i) * BLOCK, b, BLOCK);
		memory_run(x->h);
		for (unsigned i = 0; i < 10; i++) {
			assert_int_equal(r[i].rc, 0);
			assert_int_equal(r[i].order, i + 1);
		}
		assert_int_equal(flush(x->t), 0);
		assert_int_equal(x->h->count[MEMORY_FLUSH], (early + 1) * 5); /* two blocks in each */
	}
}

struct follower {
	struct request flush, write; /* first */
	struct toy *t;
	uint8_t b[BLOCK];
};

static void
write_then(struct disk_io *io, int rc)
{
	struct follower *f = (struct follower *)io;

	request_done(io, rc);
	begin(f->t, &f->write, DISK_WRITE, 2 * BLOCK, f->b, BLOCK);
}

static void
who_comes_as_a_commit_ends_does_not_overtake_who_waited_for_it(void **state)
{
	struct fixture *x = *state;
	struct request w = { 0 };
	struct follower f = { .t = x->t };

	x->t->most = 1;
	assert_int_equal(fill(x->t, 0, 1, BLOCK), 0);
	f.flush.io = (struct disk_io){ .op = DISK_FLUSH, .done = write_then };
	disk_submit(&x->t->image.disk, &f.flush.io);
	begin(x->t, &w, DISK_WRITE, BLOCK, f.b, BLOCK);
	order = 0;
	memory_run(x->h);
	assert_int_equal(f.flush.order, 1);
	assert_int_equal(w.order, 2);
	assert_int_equal(f.write.order, 3);
}

/* As far as its file goes. */
static void
open_anew(struct fixture *x)
{
	x->t->image.disk.file->lost = 0;
}

static int
no_flushes(void *ctx, const struct memory_op *op)
{
	(void)ctx;
	return op->kind == MEMORY_FLUSH ? -EIO : 0;
}

static void
writers_fail_if_the_commit_that_they_need_fails(void **state)
{
	struct fixture *x = *state;
	struct request w = { 0 }, reader = { 0 };
	uint8_t b[BLOCK] = { 1 };

	x->t->most = 1;
	x->h->fault = no_flushes;
	x->t->unloaded[9] = true;
	begin(x->t, &reader, DISK_READ, 9 * BLOCK, b, BLOCK);
	assert_int_equal(fill(x->t, 0, 1, BLOCK), 0);
	assert_int_equal(run(x->t, &w, DISK_WRITE, BLOCK, b, BLOCK), -EIO);
	assert_int_equal(reader.ended, 0); /* it has nothing to do with that */
	x->h->fault = NULL;
	open_anew(x);
	x->t->capture_rc = -ENOMEM;
	assert_int_equal(run(x->t, &w, DISK_WRITE, BLOCK, b, BLOCK), -ENOMEM);
	x->t->capture_rc = 0;
	assert_int_equal(run(x->t, &w, DISK_WRITE, BLOCK, b, BLOCK), 0);
	x->t->unloaded[9] = false;
	image_wake(&x->t->image);
	assert_int_equal(reader.ended, 1);
}

/* --- Parents ----------------------------------------------------------------------------------------- */

static struct toy *
child_of(struct memory_host *h, unsigned number, struct toy *parent)
{
	return toy_open(h, number, &parent->image.disk, false);
}

static void
what_a_child_has_not_is_its_parent_s(void **state)
{
	struct fixture *x = *state;
	struct toy *parent = x->t, *child;

	assert_int_equal(fill(parent, 0, 1, 4 * BLOCK), 0);
	parent->image.disk.size = 2 * BLOCK + 512; /* the child has become larger */
	child = x->t = child_of(x->h, 1, parent);
	assert_int_equal(fill(child, BLOCK, 2, BLOCK), 0);
	assert_reads(child, 0, 1, BLOCK);
	assert_reads(child, BLOCK, 2, BLOCK);
	assert_reads(child, 2 * BLOCK, 1, 512);
	assert_reads(child, 2 * BLOCK + 512, 0, 4 * BLOCK);
	assert_int_equal(fill(child, 0, 3, 512), 0);
	assert_reads(child, 0, 3, 512);
}

static void
a_child_waits_for_its_parent_s_tables(void **state)
{
	struct fixture *x = *state;
	struct toy *parent = x->t, *child;
	struct request r = { 0 };
	uint8_t b[BLOCK];

	assert_int_equal(fill(parent, 0, 1, 2 * BLOCK), 0);
	child = x->t = child_of(x->h, 1, parent);
	parent->unloaded[0] = true;
	begin(child, &r, DISK_READ, 0, b, BLOCK);
	memory_run(x->h);
	assert_int_equal(r.ended, 0);
	parent->unloaded[0] = false;
	image_wake(&parent->image);
	memory_run(x->h);
	assert_int_equal(r.ended, 1);
	assert_int_equal(b[0], 1);
	parent->unloaded[1] = parent->wakes_itself = true; /* at once */
	assert_reads(child, BLOCK, 1, BLOCK);
}

static int
raw_map(struct disk *d, uint64_t offset, uint64_t len, struct extent *x)
{
	(void)d;
	*x = (struct extent){ .kind = EXTENT_DATA, .at = offset, .len = len };
	return 0;
}

static void
raw_free(struct disk *d)
{
	file_free(d->file);
}

static void
a_parent_may_be_any_disk_that_tells_where_its_bytes_are(void **state)
{
	static const struct disk_ops with = { .name = "With", .map = raw_map, .free = raw_free };
	static const struct disk_ops without = { .name = "Without" };
	struct fixture *x = *state;
	struct disk parent = { .ops = &with, .file = memory_open(x->h, 7, true), .size = SIZE };
	struct disk other = { .ops = &without };
	struct image i = { .disk.parent = &other };
	struct err e;
	struct toy *child;

	memory_load(x->h, 7, "/dev/null");
	child = toy_open(x->h, 1, &parent, false);
	assert_int_equal(file_truncate(x->t->image.disk.file, 0, NULL), 0);
	assert_int_equal(fill(child, 0, 2, SIZE), 0);
	assert_reads(child, BLOCK, 2, BLOCK);
	disk_free(&child->image.disk);
	assert_int_equal(image_init(&i, &toy_ops, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "Without"));
}

/* --- The stack --------------------------------------------------------------------------------------- */

struct endless {
	struct request r; /* first */
	struct toy *t;
	unsigned left;
	uint8_t b[SECTOR];
};

static void
another(struct disk_io *io, int rc)
{
	struct endless *n = (struct endless *)io;

	request_done(io, rc);
	if (n->left-- == 0)
		return;
	n->r.iov[0] = (struct iovec){ n->b, sizeof(n->b) };
	n->r.io.iov = n->r.iov;
	n->r.io.iovs = 1;
	disk_submit(&n->t->image.disk, &n->r.io);
}

static void
on_small_stack(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	assert_int_equal(pthread_attr_setstacksize(&attr, SMALL_STACK), 0);
	assert_int_equal(pthread_create(&thread, &attr, fn, arg), 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attr);
}

static void *
read_for_long(void *arg)
{
	struct endless *n = arg;

	n->r.io = (struct disk_io){ .op = DISK_READ, .len = SECTOR, .done = another };
	another(&n->r.io, 0);
	return NULL;
}

static void *
read_block_0(void *arg)
{
	struct endless *n = arg;

	begin(n->t, &n->r, DISK_READ, 0, n->b, SECTOR);
	memory_run(n->t->host);
	return NULL;
}

static void
requests_that_end_at_once_do_not_pile_up(void **state)
{
	struct fixture *x = *state;
	static struct endless n;

	n = (struct endless){ .t = x->t, .left = 100000 };
	on_small_stack(read_for_long, &n);
	assert_int_equal(n.r.ended, 100001);
}

static void
the_longest_chain_fits_the_stack(void **state)
{
	struct fixture *x = *state;
	static struct endless n;

	assert_int_equal(fill(x->t, 0, 9, SECTOR), 0);
	for (unsigned i = 1; i < 128; i++)
		x->t = child_of(x->h, i, x->t);
	n = (struct endless){ .t = x->t };
	on_small_stack(read_block_0, &n);
	assert_int_equal(n.r.ended, 1);
	assert_int_equal(n.b[0], 9);
	assert_int_equal(x->h->count[MEMORY_READ], 1); /* not once a level */
}

/* --- Commits ----------------------------------------------------------------------------------------- */

static void
a_commit_has_its_steps_in_their_order(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(flush(x->t), 0); /* nothing has changed */
	assert_string_equal(x->t->log, "settle ");
	assert_int_equal(x->h->count[MEMORY_FLUSH], 1);
	x->t->log[0] = 0;
	assert_int_equal(fill(x->t, 0, 1, BLOCK), 0);
	assert_string_equal(x->t->log, "");
	assert_int_equal(flush(x->t), 0);
	assert_string_equal(x->t->log, "capture record settle ");
	assert_int_equal(x->h->count[MEMORY_FLUSH], 2);
	x->t->in_order = true;
	assert_int_equal(fill(x->t, BLOCK, 1, BLOCK), 0);
	assert_int_equal(flush(x->t), 0);
	assert_int_equal(x->h->count[MEMORY_FLUSH], 4); /* the barrier, too */
	assert_int_equal(memory_unsafe(x->h, 0), 0);
}

static void
flushes_share_commits(void **state)
{
	struct fixture *x = *state;
	struct request r[20] = { 0 };

	assert_int_equal(fill(x->t, 0, 1, BLOCK), 0);
	for (unsigned i = 0; i < 20; i++)
		begin(x->t, &r[i], DISK_FLUSH, 0, NULL, 0);
	memory_run(x->h);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(r[i].rc, 0);
	assert_int_equal(x->h->count[MEMORY_FLUSH], 2); /* the first one's, and that of all others */
}

static void
a_flush_covers_what_ended_before_it_and_only_later_commits_the_rest(void **state)
{
	struct fixture *x = *state;
	struct request f = { 0 }, w = { 0 };
	uint8_t b[BLOCK] = { 2 };

	assert_int_equal(fill(x->t, 0, 1, BLOCK), 0);
	begin(x->t, &f, DISK_FLUSH, 0, NULL, 0);
	begin(x->t, &w, DISK_WRITE, BLOCK, b, BLOCK);
	memory_run(x->h);
	assert_int_equal(f.rc, 0);
	assert_true(x->t->image.dirty); /* the second block came after the capture */
	assert_int_equal(x->t->copy[1], 0);
	assert_int_equal(flush(x->t), 0);
	assert_int_equal(x->t->copy[1], x->t->table[1]);
}

static void
stable_writes_need_a_flush_only_where_tables_have_changed(void **state)
{
	struct fixture *x = *state;
	struct request r = { .io.fua = true };
	uint8_t b[BLOCK] = { 1 };

	assert_int_equal(run(x->t, &r, DISK_WRITE, 0, b, BLOCK), 0);
	assert_int_equal(x->h->count[MEMORY_FLUSH], 1);
	assert_int_equal(memory_unsafe(x->h, 0), 0);
	assert_int_equal(run(x->t, &r, DISK_WRITE, 0, b, BLOCK), 0);
	assert_int_equal(x->h->count[MEMORY_FLUSH], 1);
	assert_int_equal(memory_unsafe(x->h, 0), 0);
	assert_int_equal(fill(x->t, BLOCK, 2, BLOCK), 0); /* another's change */
	assert_int_equal(run(x->t, &r, DISK_WRITE, BLOCK, b, BLOCK), 0);
	assert_int_equal(x->h->count[MEMORY_FLUSH], 2);
	assert_int_equal(memory_unsafe(x->h, 0), 0);
	assert_int_equal(run(x->t, &r, DISK_ZERO, 0, NULL, BLOCK), 0);
	assert_true(x->h->count[MEMORY_FLUSH] == 3); /* of the file's own: a hole has no FUA */
}

static void
a_stable_write_waits_for_tables_that_are_on_their_way(void **state)
{
	struct fixture *x = *state;
	struct request f = { 0 }, w = { .io.fua = true };
	uint8_t b[BLOCK] = { 2 };

	assert_int_equal(fill(x->t, 0, 1, BLOCK), 0);
	begin(x->t, &f, DISK_FLUSH, 0, NULL, 0);
	assert_false(x->t->image.dirty); /* captured, but nowhere yet */
	begin(x->t, &w, DISK_WRITE, 0, b, BLOCK);
	memory_end(x->h, x->h->in_flight - 1); /* the write */
	assert_int_equal(w.ended, 0);
	memory_run(x->h);
	assert_int_equal(w.rc, 0);
	assert_int_equal(memory_unsafe(x->h, 0), 0);
}

struct stage_fault {
	enum memory_kind kind;
	unsigned nth; /* 1: the next */
};

static int
fails_at(void *ctx, const struct memory_op *op)
{
	struct stage_fault *s = ctx;

	return op->kind == s->kind && s->nth && --s->nth == 0 ? -EIO : 0;
}

static void
errors_of_each_step_are_told_to_every_flush_and_tried_again(void **state)
{
	static const struct stage_fault rows[] = { { MEMORY_FLUSH, 1 }, { MEMORY_WRITE, 1 },
		{ MEMORY_FLUSH, 2 } };
	struct fixture *x = *state;

	x->t->in_order = true;
	for (unsigned i = 0; i < 3; i++) {
		struct stage_fault s = rows[i];
		struct request a = { 0 }, b = { 0 };

		assert_int_equal(fill(x->t, i * BLOCK, 1, BLOCK), 0);
		x->t->log[0] = 0;
		x->h->fault = fails_at;
		x->h->ctx = &s;
		begin(x->t, &a, DISK_FLUSH, 0, NULL, 0);
		begin(x->t, &b, DISK_FLUSH, 0, NULL, 0);
		memory_run(x->h);
		x->h->fault = NULL;
		assert_int_equal(a.rc, -EIO);
		assert_non_null(strstr(x->t->log, "failed "));
		if (rows[i].kind == MEMORY_FLUSH) {
			assert_int_equal(b.rc, -EIO); /* what the kernel could not write it has forgotten */
			open_anew(x);
			assert_int_equal(flush(x->t), 0);
		}
		assert_int_equal(b.rc, rows[i].kind == MEMORY_FLUSH ? -EIO : 0);
		/* The next commit has what the first had, and its barrier. */
		assert_non_null(strstr(x->t->log, "record settle "));
		assert_int_equal(memory_unsafe(x->h, 0), 0);
		assert_int_equal(x->t->copy[i], x->t->table[i]);
	}
	x->t->capture_rc = -ENOMEM;
	assert_int_equal(fill(x->t, 5 * BLOCK, 1, BLOCK), 0);
	assert_int_equal(flush(x->t), -ENOMEM);
	x->t->capture_rc = 0;
	assert_int_equal(flush(x->t), 0);
	assert_int_equal(x->t->copy[5], x->t->table[5]);
}

static void
a_poisoned_image_is_only_read(void **state)
{
	struct fixture *x = *state;
	struct request w = { 0 };
	uint8_t b[BLOCK] = { 3 };

	assert_int_equal(fill(x->t, 0, 1, BLOCK), 0);
	x->h->fault = no_flushes;
	x->t->poison = -EROFS;
	x->t->unloaded[1] = true;
	begin(x->t, &w, DISK_WRITE, BLOCK, b, BLOCK);
	assert_int_equal(flush(x->t), -EIO);
	x->h->fault = NULL;
	assert_int_equal(w.rc, -EROFS); /* it was waiting */
	assert_int_equal(flush(x->t), -EROFS);
	assert_int_equal(fill(x->t, 0, 2, BLOCK), -EROFS);
	assert_int_equal(run(x->t, &w, DISK_ZERO, 0, NULL, BLOCK), -EROFS);
	assert_int_equal(run(x->t, &w, DISK_DISCARD, 0, NULL, BLOCK), -EROFS);
	assert_reads(x->t, 0, 1, BLOCK);
	assert_true(image_idle(&x->t->image));
}

static void
the_next_commit_waits_for_what_follows_the_last(void **state)
{
	struct fixture *x = *state;
	struct request a = { 0 }, b = { 0 };

	x->t->writes_later = true;
	begin(x->t, &a, DISK_FLUSH, 0, NULL, 0);
	memory_end(x->h, 0);
	assert_int_equal(a.ended, 1); /* guests do not wait for it */
	assert_int_equal(x->h->in_flight, 1);
	begin(x->t, &b, DISK_FLUSH, 0, NULL, 0);
	assert_int_equal(x->h->in_flight, 1);
	assert_false(image_idle(&x->t->image));
	memory_end(x->h, 0);
	assert_int_equal(x->h->in_flight, 1); /* now the flush */
	memory_run(x->h);
	assert_int_equal(b.rc, 0);
}

static void
closing_waits_for_what_nobody_asked_for(void **state)
{
	struct fixture *x = *state;
	struct request r = { 0 };

	x->t->writes_later = true;
	begin(x->t, &r, DISK_FLUSH, 0, NULL, 0);
	memory_end(x->h, 0);
	assert_int_equal(x->h->in_flight, 1);
	assert_int_equal(disk_close(&x->t->image.disk, NULL), 0);
	assert_int_equal(x->h->in_flight, 0);
	assert_non_null(strstr(x->t->log, "close"));
}

static void
what_is_only_read_has_nothing_to_flush(void **state)
{
	struct fixture *x = *state;
	struct toy *t = toy_open(x->h, 1, NULL, true);

	assert_int_equal(flush(t), 0);
	assert_int_equal(x->h->count[MEMORY_FLUSH], 0);
	disk_free(&t->image.disk);
}

/* What was flushed is found after any cut. */
static void
a_flushed_block_survives_cuts(void **state)
{
	struct fixture *x = *state;
	struct request f = { 0 };
	uint8_t b[BLOCK];

	x->t->in_order = true;
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(fill(x->t, i * BLOCK, (int)i + 1, BLOCK), 0);
		begin(x->t, &f, DISK_FLUSH, 0, NULL, 0);
		for (uint64_t seed = 0; !f.ended || seed < 20; seed++) {
			struct memory_host *h = memory_cut(x->h, seed);
			struct toy *t = toy_open(h, 0, NULL, true);
			unsigned durable = f.ended ? i + 1 : i;

			for (unsigned n = 0; n <= i; n++)
				if (n < durable || t->table[n]) { /* never a table without its data */
					assert_int_equal(
					    file_get(t->image.disk.file, b, BLOCK, t->table[n], NULL), 0);
					assert_int_equal(b[0], n + 1);
					assert_int_equal(b[BLOCK - 1], n + 1);
				}
			disk_free(&t->image.disk);
			memory_host_free(h);
			if (seed % 8 == 7)
				memory_end_one(x->h);
		}
		memory_run(x->h);
	}
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(what_has_no_place_reads_zero_without_io),
		unit(requests_are_cut_where_extents_end),
		unit(a_request_within_one_extent_is_one_operation_with_its_own_array),
		unit(many_requests_of_all_kinds_agree_with_a_model),
		unit(no_more_than_so_many_pieces_are_placed),
		unit(a_long_write_does_not_keep_others_waiting),
		unit(a_request_that_fails_half_way_ends_with_its_error),
		unit(what_is_dropped_is_emptied),
		unit(who_needs_a_table_waits_until_it_is_there),
		unit(a_wake_before_the_wait_is_not_lost),
		unit(writers_wait_for_the_commit_that_they_need_in_their_order),
		unit(who_comes_as_a_commit_ends_does_not_overtake_who_waited_for_it),
		unit(writers_fail_if_the_commit_that_they_need_fails),
		unit(what_a_child_has_not_is_its_parent_s),
		unit(a_child_waits_for_its_parent_s_tables),
		unit(a_parent_may_be_any_disk_that_tells_where_its_bytes_are),
		unit(requests_that_end_at_once_do_not_pile_up),
		unit(the_longest_chain_fits_the_stack),
		unit(a_commit_has_its_steps_in_their_order),
		unit(flushes_share_commits),
		unit(a_flush_covers_what_ended_before_it_and_only_later_commits_the_rest),
		unit(stable_writes_need_a_flush_only_where_tables_have_changed),
		unit(a_stable_write_waits_for_tables_that_are_on_their_way),
		unit(errors_of_each_step_are_told_to_every_flush_and_tried_again),
		unit(a_poisoned_image_is_only_read),
		unit(the_next_commit_waits_for_what_follows_the_last),
		unit(closing_waits_for_what_nobody_asked_for),
		unit(what_is_only_read_has_nothing_to_flush),
		unit(a_flushed_block_survives_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
