/*
 * tests/unit/vhd_live_test.c - a VHD while it works: many requests at a time whose parts end in any order,
 * and a power cut at any moment. What each sector may hold is kept beside it.
 */
#include "tests/unit/fake_vhd.h"

#include <errno.h>
#include <fcntl.h>

enum {
	BLOCK = 8192,
	BLOCKS = 200,
	SECTORS = BLOCKS * BLOCK / 512 - 5, /* the last block is not whole */
	IN_FLIGHT = 12,
	HISTORY = 64,
	MOST = 96, /* sectors in a request */
	PARENT = 0x40000000,
};

/* What was written to a sector, in order; the first is durable. maybe: it may be as it was before. */
struct sector {
	struct {
		uint32_t value;
		unsigned done; /* when; 0: not yet */
		bool maybe;
	} was[HISTORY];
	unsigned n;
	bool busy;
};

struct request {
	struct disk_io io; /* first */
	struct world *w;
	struct iovec iov[3];
	uint32_t value, *data;
	unsigned first, count, begun;
	bool used;
	int rc;
};

struct world {
	struct memory_host *h;
	struct disk *d;
	enum disk_type type;
	struct sector *sector;
	struct request request[IN_FLIGHT];
	unsigned clock, in_flight, failures;
	uint32_t next;
	uint64_t dice;
};

static uint64_t
roll(struct world *w, uint64_t n)
{
	w->dice = memory_mix(w->dice, 0x9e3779b97f4a7c15);
	return (w->dice >> 11) % n;
}

static uint32_t
at_first(enum disk_type type, unsigned s)
{
	return type == DISK_DIFFERENCING && s < SECTORS - 40 ? PARENT + s : 0; /* the parent is shorter */
}

/* --- What sectors may hold --------------------------------------------------------------------------- */

static bool
may_be(const struct sector *s, uint32_t value, bool after_cut)
{
	for (unsigned i = s->n; i-- > 0;) {
		if (s->was[i].value == value)
			return true;
		if (!after_cut && !s->was[i].maybe)
			return false;
	}
	return false;
}

/* What ended before `begun` cannot be lost any more. */
static void
durable(struct sector *s, unsigned begun)
{
	unsigned first = 0;

	for (unsigned i = 0; i < s->n; i++)
		if (s->was[i].done && s->was[i].done < begun && !s->was[i].maybe)
			first = i;
	memmove(s->was, s->was + first, (s->n - first) * sizeof(s->was[0]));
	s->n -= first;
}

/* --- Requests ---------------------------------------------------------------------------------------- */

static void
check_read(struct request *r)
{
	for (unsigned i = 0; i < r->count; i++) {
		const struct sector *s = &r->w->sector[r->first + i];

		for (unsigned j = 1; j < 128; j++)
			assert_int_equal(r->data[i * 128 + j], r->data[i * 128]);
		if (!may_be(s, r->data[i * 128], false))
			fail_msg("sector %u reads %x, should be %x", r->first + i, r->data[i * 128],
			    s->was[s->n - 1].value);
	}
}

static void
request_done(struct disk_io *io, int rc)
{
	struct request *r = (struct request *)io;
	struct world *w = r->w;

	w->clock++;
	w->in_flight--;
	r->used = false;
	r->rc = rc;
	if (rc < 0)
		w->failures++;
	if (io->op == DISK_FLUSH && rc == 0)
		for (unsigned i = 0; i < SECTORS; i++)
			durable(&w->sector[i], r->begun);
	if (io->op == DISK_READ && rc == 0)
		check_read(r);
	for (unsigned i = 0; i < r->count; i++) {
		struct sector *s = &w->sector[r->first + i];

		s->busy = false;
		if (io->op == DISK_READ)
			continue;
		s->was[s->n - 1].done = w->clock;
		if (rc < 0)
			s->was[s->n - 1].maybe = true;
		if (rc == 0 && io->fua && !s->was[s->n - 1].maybe)
			durable(s, w->clock + 1);
	}
	free(r->data);
	r->data = NULL;
}

static struct request *
free_request(struct world *w)
{
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		if (!w->request[i].used)
			return &w->request[i];
	return NULL;
}

static bool
choose_range(struct world *w, struct request *r)
{
	r->first = (unsigned)roll(w, SECTORS);
	r->count = 1 + (unsigned)roll(w, roll(w, 2) ? 8 : MOST);
	if (roll(w, 4) == 0) { /* whole blocks */
		r->first -= r->first % (BLOCK / 512);
		r->count = BLOCK / 512 * (1 + (unsigned)roll(w, 2));
	}
	if (r->count > SECTORS - r->first)
		r->count = SECTORS - r->first;
	for (unsigned i = 0; i < r->count; i++)
		if (w->sector[r->first + i].busy || w->sector[r->first + i].n == HISTORY)
			return false;
	return true;
}

static void
fill(struct request *r)
{
	size_t bytes = (size_t)r->count * 512, half = r->count > 1 ? 512 * (size_t)(r->count / 2) : 256;

	r->data = malloc(bytes);
	for (size_t i = 0; i < bytes / 4; i++)
		r->data[i] = r->value;
	r->iov[0] = (struct iovec){ r->data, half };
	r->iov[1] = (struct iovec){ (char *)r->data + half, bytes - half };
	r->io.iov = r->iov;
	r->io.iovs = 2;
}

static void
expect(struct world *w, struct request *r)
{
	for (unsigned i = 0; i < r->count; i++) {
		struct sector *s = &w->sector[r->first + i];

		s->busy = true;
		if (r->io.op == DISK_READ)
			continue;
		s->was[s->n].value = r->value;
		s->was[s->n].done = 0;
		s->was[s->n++].maybe = r->io.op == DISK_DISCARD;
	}
}

static void
begin(struct world *w)
{
	static const enum disk_op ops[] = { DISK_WRITE, DISK_WRITE, DISK_WRITE, DISK_WRITE, DISK_READ,
		DISK_READ, DISK_ZERO, DISK_DISCARD, DISK_FLUSH };
	struct request *r = free_request(w);

	if (!r)
		return;
	memset(r, 0, sizeof(*r));
	r->w = w;
	r->io.op = ops[roll(w, sizeof(ops) / sizeof(ops[0]))];
	r->io.done = request_done;
	r->begun = ++w->clock;
	if (r->io.op != DISK_FLUSH) {
		if (!choose_range(w, r))
			return;
		r->io.fua = r->io.op != DISK_READ && r->io.op != DISK_DISCARD && roll(w, 10) == 0;
		r->io.unmap = roll(w, 2);
		r->value = r->io.op == DISK_WRITE ? ++w->next : 0;
		r->io.offset = (uint64_t)r->first * 512;
		r->io.len = (uint64_t)r->count * 512;
		if (r->io.op == DISK_READ || r->io.op == DISK_WRITE)
			fill(r);
		expect(w, r);
	}
	r->used = true;
	w->in_flight++;
	disk_submit(w->d, &r->io);
}

static void
end_some(struct world *w)
{
	if (w->h->in_flight)
		memory_end(w->h, (unsigned)roll(w, w->h->in_flight));
}

static void
end_all(struct world *w)
{
	while (w->h->in_flight)
		end_some(w);
	assert_int_equal(w->in_flight, 0);
}

/* --- Disks ------------------------------------------------------------------------------------------- */

static struct disk *
open_file(struct memory_host *h, unsigned n, bool read_only, struct disk *parent)
{
	struct disk_open how = {
		.file = memory_open(h, n, read_only), .read_only = read_only, .parent = parent
	};
	struct err e = { 0 };
	struct disk *d;

	vhd_ok(disk_vhd_format.open(&d, &how, &e), &e);
	return d;
}

static struct disk *
open_world(struct memory_host *h, enum disk_type type)
{
	return open_file(h, 0, false, type == DISK_DIFFERENCING ? open_file(h, 1, true, NULL) : NULL);
}

static void
make_parent(struct memory_host *h)
{
	struct disk_file *f = memory_open(h, 1, false);
	uint32_t data[128];

	vhd_make(f, DISK_FIXED, (SECTORS - 40) * UINT64_C(512), 0);
	for (unsigned s = 0; s < SECTORS - 40; s++) {
		for (unsigned i = 0; i < 128; i++)
			data[i] = PARENT + s;
		vhd_poke(f, (uint64_t)s * 512, data, sizeof(data));
	}
	assert_int_equal(file_sync(f, NULL), 0);
	file_free(f);
}

static struct world *
new_world(enum disk_type type, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	struct disk_file *f;

	w->h = memory_host_new();
	w->type = type;
	w->dice = seed;
	w->next = 0;
	w->sector = calloc(SECTORS, sizeof(*w->sector));
	for (unsigned i = 0; i < SECTORS; i++) {
		w->sector[i].n = 1;
		w->sector[i].was[0].value = at_first(type, i);
		w->sector[i].was[0].done = 1;
	}
	w->clock = 1;
	if (type == DISK_DIFFERENCING)
		make_parent(w->h);
	f = memory_open(w->h, 0, false);
	vhd_make(f, type, SECTORS * UINT64_C(512), type == DISK_FIXED ? 0 : BLOCK);
	file_free(f);
	w->d = open_world(w->h, type);
	return w;
}

static void
end_world(struct world *w)
{
	disk_free(w->d);
	memory_host_free(w->h);
	free(w->sector);
	free(w);
	assert_int_equal(pages_alive(), 0);
}

static void
damaged(void *ctx, enum disk_fault_kind kind, const char *text)
{
	(void)ctx;
	if (kind == DISK_DAMAGE)
		fail_msg("%s", text);
}

/* Opened, read, closed, opened again: every sector is what it may be, and the image is whole. */
static void
check_image(struct world *w, struct memory_host *h, bool after_cut)
{
	struct disk_check c = { .found = damaged };
	struct disk_file *f = memory_open(h, 0, false);
	struct err e = { 0 };
	struct disk *d;
	uint8_t *data = malloc(SECTORS * 512);
	struct iovec iov = { data, SECTORS * 512 };
	struct disk_io io = { .op = DISK_READ, .len = SECTORS * 512, .iov = &iov, .iovs = 1 };

	vhd_ok(disk_vhd_format.check(f, &c, NULL, &e), &e);
	file_free(f);
	d = open_world(h, w->type);
	assert_int_equal(disk_wait(d, &io), 0);
	for (unsigned i = 0; i < SECTORS; i++) {
		uint32_t value;

		memcpy(&value, data + (size_t)i * 512, 4);
		for (unsigned j = 4; j < 512; j += 4)
			assert_memory_equal(data + (size_t)i * 512 + j, &value, 4);
		if (!may_be(&w->sector[i], value, after_cut))
			fail_msg("sector %u is %x (%u values, last %x)", i, value, w->sector[i].n,
			    w->sector[i].was[w->sector[i].n - 1].value);
	}
	vhd_ok(disk_close(d, &e), &e);
	disk_free(d);
	f = memory_open(h, 0, true);
	memset(c.faults, 0, sizeof(c.faults));
	vhd_ok(disk_vhd_format.check(f, &c, NULL, &e), &e);
	assert_int_equal(c.faults[DISK_REPAIRABLE] + c.faults[DISK_DAMAGE], 0);
	file_free(f);
	free(data);
}

static void
ignore(struct disk_io *io, int rc)
{
	(void)io, (void)rc;
}

static void
cut(struct world *w, uint64_t seed)
{
	struct memory_host *h = memory_cut(w->h, seed);

	check_image(w, h, true);
	memory_host_free(h);
}

/* --- The tests --------------------------------------------------------------------------------------- */

static void
work(struct world *w, unsigned steps, unsigned cut_every)
{
	for (unsigned i = 1; i <= steps; i++) {
		if (roll(w, 3) == 0)
			begin(w);
		else
			end_some(w);
		if (cut_every && i % cut_every == 0)
			cut(w, roll(w, 6) ? roll(w, UINT32_MAX) : roll(w, 2));
	}
}

static void
flush(struct world *w)
{
	struct disk_io io = { .op = DISK_FLUSH };

	end_all(w);
	assert_int_equal(disk_wait(w->d, &io), 0);
	for (unsigned i = 0; i < SECTORS; i++)
		durable(&w->sector[i], ++w->clock);
}

static void
whatever_the_order_each_sector_reads_as_written(void **state)
{
	static const enum disk_type types[] = { DISK_FIXED, DISK_DYNAMIC, DISK_DIFFERENCING };

	(void)state;
	for (unsigned t = 0; t < 3; t++)
		for (uint64_t seed = 1; seed < 9; seed++) {
			struct world *w = new_world(types[t], seed);
			struct err e = { 0 };

			for (unsigned round = 0; round < 6; round++) {
				work(w, 1500, 0);
				flush(w);
			}
			assert_int_equal(w->failures, 0);
			vhd_ok(disk_close(w->d, &e), &e);
			assert_int_equal(memory_unsafe(w->h, 0), 0);
			disk_free(w->d);
			check_image(w, w->h, false);
			w->d = NULL;
			end_world(w);
		}
}

static void
a_cut_at_any_moment_loses_nothing_that_was_flushed(void **state)
{
	(void)state;
	for (unsigned t = DISK_DYNAMIC; t <= DISK_DIFFERENCING; t++)
		for (uint64_t seed = 1; seed < 5; seed++) {
			struct world *w = new_world(t, seed + 100);

			work(w, 4000, 37);
			end_all(w);
			end_world(w);
		}
}

struct one_flush {
	struct disk_io io; /* first */
	bool *under_way;
};

static void
flush_ended(struct disk_io *io, int rc)
{
	*((struct one_flush *)io)->under_way = false;
	assert_int_equal(rc, 0);
	free(io);
}

static void
begin_flush(struct world *w, bool *under_way)
{
	struct one_flush *f = calloc(1, sizeof(*f));

	f->io.op = DISK_FLUSH;
	f->io.done = flush_ended;
	f->under_way = under_way;
	*under_way = true;
	disk_submit(w->d, &f->io);
}

/* The first blocks, at each step: there the old footer is still where a bitmap will be. */
static void
a_cut_while_the_file_grows_shows_no_footer_as_a_bitmap(void **state)
{
	(void)state;
	for (unsigned t = DISK_DYNAMIC; t <= DISK_DIFFERENCING; t++)
		for (uint64_t seed = 1; seed < 9; seed++) {
			struct world *w = new_world(t, seed + 1000);
			bool flushing = false;

			for (unsigned i = 0; i < 6; i++)
				begin(w);
			while (w->h->in_flight) {
				end_some(w);
				if (!flushing && roll(w, 3) == 0)
					begin_flush(w, &flushing);
				for (unsigned i = 0; i < 3; i++)
					cut(w, roll(w, UINT32_MAX));
			}
			end_all(w);
			end_world(w);
		}
}

static int
ask_sector(struct disk *d, enum disk_op op, uint64_t offset, uint64_t len, uint8_t *data)
{
	struct iovec iov = { data, len };
	struct disk_io io = { .op = op, .unmap = true, .offset = offset, .len = len, .iov = &iov, .iovs = 1 };

	return disk_wait(d, &io);
}

/* A guest that trims what it is writing to may find either, but not first the one and then the other. */
static void
a_write_under_way_keeps_its_block_from_leaving(void **state)
{
	uint8_t data[512], first[512], again[512], zeros[BLOCK] = { 0 };

	(void)state;
	memset(data, 0x5a, sizeof(data));
	for (unsigned order = 0; order < 2; order++) {
		struct world *w = new_world(DISK_DYNAMIC, 1);
		struct iovec iov = { data, 512 };
		struct disk_io write = {
			.op = DISK_WRITE, .len = 512, .iov = &iov, .iovs = 1, .done = ignore
		};
		struct disk_io trim = { .op = DISK_ZERO, .unmap = true, .len = BLOCK, .done = ignore };

		assert_int_equal(ask_sector(w->d, DISK_WRITE, 0, BLOCK, zeros), 0);
		memory_run(w->h);
		disk_submit(w->d, &write);
		disk_submit(w->d, &trim);
		assert_int_equal(w->h->in_flight, 2);
		memory_end(w->h, order);
		memory_run(w->h);
		assert_int_equal(ask_sector(w->d, DISK_READ, 0, 512, first), 0);
		assert_int_equal(ask_sector(w->d, DISK_WRITE, 4096, 512, data), 0);
		assert_int_equal(ask_sector(w->d, DISK_READ, 0, 512, again), 0);
		assert_memory_equal(first, again, 512);
		memory_run(w->h);
		end_world(w);
	}
}

/* The place that a trimmed block leaves is taken again by nobody but itself. */
static void
a_trimmed_block_leaves_the_table_and_comes_back_empty(void **state)
{
	uint8_t data[BLOCK], back[BLOCK], zeros[BLOCK] = { 0 };
	struct world *w = new_world(DISK_DYNAMIC, 1);
	struct extent x, y;
	struct err e = { 0 };

	(void)state;
	memset(data, 0x5a, sizeof(data));
	assert_int_equal(ask_sector(w->d, DISK_WRITE, 0, BLOCK, data), 0);
	assert_int_equal(w->d->ops->extent(w->d, 0, BLOCK, &x, &e), 0);
	assert_int_equal(x.kind, EXTENT_DATA);
	assert_int_equal(x.at % 4096, 0);
	assert_int_equal(ask_sector(w->d, DISK_DISCARD, 0, BLOCK, NULL), 0);
	assert_int_equal(w->d->ops->extent(w->d, 0, BLOCK, &y, &e), 0);
	assert_int_equal(y.kind, EXTENT_ZERO);
	assert_int_equal(ask_sector(w->d, DISK_WRITE, BLOCK, 512, data), 0);
	assert_int_equal(ask_sector(w->d, DISK_WRITE, 512, 512, data), 0);
	assert_int_equal(w->d->ops->extent(w->d, 0, BLOCK, &y, &e), 0);
	assert_int_equal(y.at, x.at);
	assert_int_equal(ask_sector(w->d, DISK_READ, 0, BLOCK, back), 0);
	assert_memory_equal(back, zeros, 512);
	assert_memory_equal(back + 512, data, 512);
	assert_memory_equal(back + 1024, zeros, BLOCK - 1024);
	memory_run(w->h);
	end_world(w);
}

/* What the issue of all this is: no flush for an allocation, one or two for a guest's. */
static void
flushes_are_as_few_as_can_be(void **state)
{
	uint8_t data[512] = { 1 };

	(void)state;
	for (unsigned t = DISK_DYNAMIC; t <= DISK_DIFFERENCING; t++) {
		struct world *w = new_world(t, 1);
		unsigned before, most = t == DISK_DYNAMIC ? 1 : 2;

		assert_int_equal(ask_sector(w->d, DISK_WRITE, 0, 512, data), 0);
		memory_run(w->h);
		assert_int_equal(ask_sector(w->d, DISK_FLUSH, 0, 0, NULL), 0);
		before = w->h->count[MEMORY_FLUSH];
		for (unsigned b = 1; b < 30; b++)
			assert_int_equal(ask_sector(w->d, DISK_WRITE, b * BLOCK, 512, data), 0);
		memory_run(w->h);
		assert_int_equal(w->h->count[MEMORY_FLUSH], before);
		assert_int_equal(ask_sector(w->d, DISK_FLUSH, 0, 0, NULL), 0);
		assert_int_equal(w->h->count[MEMORY_FLUSH], before + most);
		before = w->h->count[MEMORY_FLUSH];
		assert_int_equal(ask_sector(w->d, DISK_WRITE, BLOCK, 512, data), 0);
		assert_int_equal(ask_sector(w->d, DISK_FLUSH, 0, 0, NULL), 0);
		assert_int_equal(w->h->count[MEMORY_FLUSH], before + 1); /* no table has changed */
		end_world(w);
	}
}

/* A dynamic disk that another program wrote: what its bitmap does not name reads zero, not what lies there.
 */
static void
clear_bits_read_zero_until_they_are_written(void **state)
{
	struct memory_host *h = memory_host_new();
	struct disk_file *f = memory_open(h, 0, false);
	uint8_t data[512], back[8 * 512];
	struct err e = { 0 };
	struct disk *d;

	(void)state;
	vhd_make(f, DISK_DYNAMIC, 4 * MIB, BLOCK);
	vhd_put_block(f, 3, 2, 3, 0x33);
	file_free(f);
	for (unsigned round = 0; round < 2; round++) {
		d = open_file(h, 0, false, NULL);
		assert_int_equal(ask_sector(d, DISK_READ, 3 * BLOCK, sizeof(back), back), 0);
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(back[i * 512], i >= 2 && i < 5 ? 0x33 : round && i == 6 ? 0x44 : 0);
		memset(data, 0x44, sizeof(data));
		assert_int_equal(ask_sector(d, DISK_WRITE, 3 * BLOCK + 6 * 512, 512, data), 0);
		vhd_ok(disk_close(d, &e), &e);
		assert_int_equal(memory_unsafe(h, 0), 0);
		disk_free(d);
	}
	memory_host_free(h);
}

/* Not even what a crash has left undone. */
static void
opened_for_reading_nothing_is_written(void **state)
{
	struct memory_host *h = memory_host_new();
	struct disk_file *f = memory_open(h, 0, false);
	uint8_t back[512];
	struct disk *d;
	unsigned written;

	(void)state;
	vhd_make(f, DISK_DYNAMIC, 4 * MIB, BLOCK);
	vhd_put_block(f, 3, 2, 3, 0x33);
	vhd_poke(f, vhd_trailer(f) + 100, "x", 1);
	file_free(f);
	written = h->count[MEMORY_WRITE];
	d = open_file(h, 0, true, NULL);
	assert_int_equal(ask_sector(d, DISK_READ, 3 * BLOCK + 1024, 512, back), 0);
	assert_int_equal(back[0], 0x33);
	assert_int_equal(disk_close(d, NULL), 0);
	disk_free(d);
	assert_int_equal(h->count[MEMORY_WRITE], written);
	memory_host_free(h);
}

static int
fail_one(void *ctx, const struct memory_op *op)
{
	int *n = ctx;

	if (op->kind == MEMORY_READ || --n[0] != 0)
		return 0;
	return n[1];
}

/* One operation on the file fails, whichever it is: what was flushed is there, the rest old or new. */
static void
an_error_anywhere_loses_nothing_that_was_flushed(void **state)
{
	static const int errors[] = { -EIO, -ENOSPC };

	(void)state;
	for (unsigned t = DISK_DYNAMIC; t <= DISK_DIFFERENCING; t++)
		for (unsigned k = 0; k < 2; k++)
			for (int at = 1; at < 260; at += 1 + at / 20) {
				struct world *w = new_world(t, (uint64_t)at);
				int n[] = { at, errors[k] };

				w->h->fault = fail_one;
				w->h->ctx = n;
				work(w, 700, 0);
				end_all(w);
				w->h->fault = NULL;
				cut(w, 0);
				cut(w, (uint64_t)at);
				(void)disk_close(w->d, NULL);
				end_all(w);
				cut(w, 1);
				end_world(w);
			}
}

/* No space for a while: requests fail, nothing hangs, and when there is space again all goes on. */
static int
no_space(void *ctx, const struct memory_op *op)
{
	return *(bool *)ctx && (op->kind == MEMORY_WRITE || op->kind == MEMORY_ALLOCATE) ? -ENOSPC : 0;
}

static void
a_full_host_is_no_end(void **state)
{
	(void)state;
	for (unsigned t = DISK_DYNAMIC; t <= DISK_DIFFERENCING; t++)
		for (uint64_t seed = 1; seed < 6; seed++) {
			struct world *w = new_world(t, seed);
			bool full = false;

			w->h->fault = no_space;
			w->h->ctx = &full;
			work(w, 600, 0);
			full = true;
			work(w, 600, 0);
			end_all(w);
			full = false;
			flush(w);
			w->failures = 0;
			work(w, 600, 0);
			flush(w);
			assert_int_equal(w->failures, 0);
			check_image(w, w->h, false);
			disk_free(w->d);
			w->d = NULL;
			end_world(w);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_the_order_each_sector_reads_as_written),
		cmocka_unit_test(a_cut_at_any_moment_loses_nothing_that_was_flushed),
		cmocka_unit_test(a_cut_while_the_file_grows_shows_no_footer_as_a_bitmap),
		cmocka_unit_test(a_write_under_way_keeps_its_block_from_leaving),
		cmocka_unit_test(a_trimmed_block_leaves_the_table_and_comes_back_empty),
		cmocka_unit_test(flushes_are_as_few_as_can_be),
		cmocka_unit_test(clear_bits_read_zero_until_they_are_written),
		cmocka_unit_test(opened_for_reading_nothing_is_written),
		cmocka_unit_test(an_error_anywhere_loses_nothing_that_was_flushed),
		cmocka_unit_test(a_full_host_is_no_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
