/*
 * tests/unit/mirror_test.c - a merge under a running machine: whatever the machine does meanwhile, in
 * whatever order things end, wherever something fails and whenever the power does, what it flushed is there.
 *
 * Files are in memory (tests/disk/memory_file.h): 0 is the parent, 1 the child.
 */
#include "hypervisor/disk/mirror.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/disk/memory_file.h"
#include "tests/unit/fake_loop.h"
#include "tests/unit/toy_image.h"

enum {
	SECTORS = 512,
	SIZE = SECTORS * TOY_SECTOR,
	REQUESTS = 40,
	MOST = 16, /* sectors of a request */
	SEEDS = 300
};

/* What a sector may be after a cut: as it was written at `base`, or by any later write to it. */
struct sector {
	uint32_t base;   /* the last write that was flushed */
	uint32_t ended;  /* the last that has ended */
	uint32_t begun;  /* the last that has begun */
	uint32_t zeroed; /* the last that made it zero */
};

struct request {
	struct disk_io io;
	bool busy;
	uint32_t stamp, before[SECTORS]; /* a flush: what had ended when it began */
	struct iovec iov[3];
	uint8_t data[MOST * TOY_SECTOR];
	int rc;
	struct fixture *f;
};

struct fixture {
	struct io_loop *loop;
	struct memory_host *h;
	struct disk *parent;
	struct toy *top;
	struct mirror *m;
	unsigned told, ended;
	uint32_t stamp;
	uint64_t random;
	struct sector sector[SECTORS];
	struct request request[REQUESTS];
	int fail_file, fail_kind, fail_rc;
	unsigned parent_written; /* times */
};

static uint64_t
chance(struct fixture *f, uint64_t n)
{
	f->random = memory_mix(f->random, 1);
	return f->random % n;
}

static void
fill(uint8_t *p, uint32_t sector, uint32_t stamp)
{
	memset(p, (int)(stamp % 251) + 1, TOY_SECTOR);
	memcpy(p + 8, &sector, sizeof(sector));
	memcpy(p + 12, &stamp, sizeof(stamp));
}

static uint32_t
stamp_of(const uint8_t *p, uint32_t sector)
{
	uint8_t whole[TOY_SECTOR];
	uint32_t stamp;

	memcpy(&stamp, p + 12, sizeof(stamp));
	fill(whole, sector, stamp);
	assert_memory_equal(p, whole, TOY_SECTOR);
	return stamp;
}

/* --- the machine ------------------------------------------------------------------------------------ */

static void
request_done(struct disk_io *io, int rc)
{
	struct request *r = (struct request *)((char *)io - offsetof(struct request, io));
	struct fixture *f = r->f;
	uint64_t first = io->offset / TOY_SECTOR, n = io->len / TOY_SECTOR;

	assert_true(r->busy);
	r->busy = false;
	r->rc = rc;
	f->ended++;
	if (rc < 0)
		return;
	for (uint64_t i = first; i < first + n; i++) {
		f->sector[i].ended = r->stamp;
		if (io->fua)
			f->sector[i].base = r->stamp;
	}
	for (unsigned i = 0; io->op == DISK_FLUSH && i < SECTORS; i++)
		if (f->sector[i].base < r->before[i])
			f->sector[i].base = r->before[i];
}

static void
begin(struct request *r, enum disk_op op, uint64_t first, uint64_t n, bool fua)
{
	struct fixture *f = r->f;
	uint64_t cut = n * TOY_SECTOR / 3 + 1;

	r->busy = true;
	r->stamp = ++f->stamp;
	for (uint64_t i = 0; i < n && op == DISK_WRITE; i++)
		fill(r->data + i * TOY_SECTOR, (uint32_t)(first + i), r->stamp);
	for (uint64_t i = first; i < first + n; i++) {
		f->sector[i].begun = r->stamp;
		if (op != DISK_WRITE)
			f->sector[i].zeroed = r->stamp;
	}
	for (unsigned i = 0; i < SECTORS && op == DISK_FLUSH; i++)
		r->before[i] = f->sector[i].ended;
	r->iov[0] = (struct iovec){ r->data, cut };
	r->iov[1] = (struct iovec){ r->data + cut, 0 };
	r->iov[2] = (struct iovec){ r->data + cut, n * TOY_SECTOR - cut };
	r->io = (struct disk_io){ .op = op,
		.fua = fua,
		.unmap = true,
		.offset = first * TOY_SECTOR,
		.len = n * TOY_SECTOR,
		.iov = r->iov,
		.iovs = op == DISK_WRITE ? 3 : 0,
		.done = request_done };
	disk_submit(mirror_disk(f->m), &r->io);
}

static bool
is_busy(const struct fixture *f, uint64_t first, uint64_t n)
{
	for (unsigned i = 0; i < REQUESTS; i++) {
		const struct request *r = &f->request[i];
		uint64_t at = r->io.offset / TOY_SECTOR;

		if (r->busy && at < first + n && first < at + r->io.len / TOY_SECTOR)
			return true;
	}
	return false;
}

static struct request *
spare(struct fixture *f)
{
	for (unsigned i = 0; i < REQUESTS; i++)
		if (!f->request[i].busy)
			return &f->request[i];
	return NULL;
}

static void
begin_any(struct fixture *f)
{
	static const enum disk_op ops[] = { DISK_WRITE, DISK_WRITE, DISK_WRITE, DISK_ZERO, DISK_DISCARD };
	struct request *r = spare(f);
	uint64_t n = chance(f, MOST) + 1, first = chance(f, SECTORS - n);

	if (!r)
		return;
	if (chance(f, 8) == 0)
		begin(r, DISK_FLUSH, 0, 0, false);
	else if (!is_busy(f, first, n))
		begin(r, ops[chance(f, 5)], first, n, chance(f, 10) == 0);
}

/* Writes, waited for; its result. */
static int
do_write(struct fixture *f, enum disk_op op, uint64_t first, uint64_t n)
{
	struct request *r = spare(f);

	begin(r, op, first, n, false);
	while (r->busy && memory_end_one(f->h))
		;
	assert_false(r->busy);
	return r->rc;
}

/* --- what is found ---------------------------------------------------------------------------------- */

static void
check_sector(const struct fixture *f, const uint8_t *p, uint32_t i)
{
	const struct sector *s = &f->sector[i];
	uint32_t stamp;

	if (p[0] == 0) {
		for (unsigned b = 0; b < TOY_SECTOR; b++)
			assert_int_equal(p[b], 0);
		assert_true(s->zeroed >= s->base);
		return;
	}
	stamp = stamp_of(p, i);
	assert_true(stamp >= s->base && stamp <= s->begun);
}

/* The disk as the child shows it, or the parent alone. */
static void
check_files(const struct fixture *f, struct memory_host *h, bool parent_alone)
{
	struct disk_file *parent = memory_open(h, 0, true), *child = memory_open(h, 1, true);
	uint8_t p[TOY_SECTOR];

	for (uint32_t i = 0; i < SECTORS; i++) {
		assert_int_equal(file_get(child, p, sizeof(p), (uint64_t)i * TOY_SECTOR, NULL), 0);
		if (p[0] == TOY_PARENT || parent_alone)
			assert_int_equal(file_get(parent, p, sizeof(p), (uint64_t)i * TOY_SECTOR, NULL), 0);
		else if (p[0] == TOY_ZERO)
			memset(p, 0, sizeof(p));
		check_sector(f, p, i);
	}
	file_free(parent);
	file_free(child);
}

static void
look(const struct fixture *f, struct mirror_report *r)
{
	mirror_look(f->m, r);
	assert_int_equal(r->total, SIZE);
	assert_true(r->done <= SIZE);
}

static enum mirror_state
state_of(const struct fixture *f)
{
	struct mirror_report r;

	look(f, &r);
	return r.state;
}

static void
check_cut(struct fixture *f)
{
	struct memory_host *cut = memory_cut(f->h, chance(f, 1000));

	check_files(f, cut, false);
	if (state_of(f) == MIRROR_MERGED)
		check_files(f, cut, true);
	memory_host_free(cut);
}

/* Until nothing is in flight, and no alarm is set. */
static void
settle(struct fixture *f)
{
	do {
		memory_run(f->h);
		fake_loop_pass(f->loop, 100000000);
	} while (f->h->in_flight);
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_false(f->request[i].busy);
}

/* The parent is to its last byte what the child shows. */
static void
check_alike(struct fixture *f)
{
	struct sector kept[SECTORS];

	memcpy(kept, f->sector, sizeof(kept));
	for (unsigned i = 0; i < SECTORS; i++)
		f->sector[i].base = f->sector[i].begun = f->sector[i].ended;
	check_files(f, f->h, false);
	check_files(f, f->h, true);
	memcpy(f->sector, kept, sizeof(kept));
}

/* --- the disks -------------------------------------------------------------------------------------- */

static void
told(void *ctx)
{
	((struct fixture *)ctx)->told++;
}

static int
fault(void *ctx, const struct memory_op *op)
{
	struct fixture *f = ctx;

	f->parent_written += op->file == 0 && (op->kind == MEMORY_WRITE || op->kind == MEMORY_ALLOCATE);
	return f->fail_rc && (int)op->file == f->fail_file && (int)op->kind == f->fail_kind ? f->fail_rc : 0;
}

/* Of each eight sectors: data in the parent, in the child, in both, zeros in the child, none in both. */
static void
make_content(struct fixture *f, struct disk_file *parent, struct disk_file *child, unsigned run)
{
	uint8_t p[TOY_SECTOR], zero[TOY_SECTOR] = { TOY_ZERO };

	file_truncate(parent, SIZE, NULL);
	file_truncate(child, SIZE, NULL);
	for (uint32_t i = 0; i < SECTORS && run; i++) {
		struct sector *s = &f->sector[i];
		unsigned what = i / run % 8;

		*s = (struct sector){ 0 };
		if (what == 0 || what == 2 || what == 3 || what == 5) {
			fill(p, i, s->base = 1);
			file_put(parent, p, sizeof(p), (uint64_t)i * TOY_SECTOR, NULL);
		}
		if (what == 1 || what == 2 || what == 6) {
			fill(p, i, s->base = 2);
			file_put(child, p, sizeof(p), (uint64_t)i * TOY_SECTOR, NULL);
		}
		if (what == 3) {
			file_put(child, zero, sizeof(zero), (uint64_t)i * TOY_SECTOR, NULL);
			s->base = s->zeroed = 2;
		}
		s->ended = s->begun = s->base;
	}
	file_sync(parent, NULL);
	file_sync(child, NULL);
	f->stamp = 2;
}

/* run: sectors that are alike; 0: the child is empty. */
static void
make(struct fixture *f, uint64_t seed, unsigned run)
{
	struct disk_file *parent, *child;
	struct mirror_how how = { .told = told, .ctx = f };

	memset(f, 0, sizeof(*f));
	f->loop = fake_loop_new();
	f->h = memory_host_new();
	f->h->fault = fault;
	f->h->ctx = f;
	f->random = seed;
	for (unsigned i = 0; i < REQUESTS; i++)
		f->request[i].f = f;
	parent = memory_open(f->h, 0, false);
	child = memory_open(f->h, 1, false);
	make_content(f, parent, child, run);
	assert_int_equal(disk_raw_new(&f->parent, f->loop, parent, TOY_SECTOR, false, NULL), 0);
	f->top = toy_open(f->loop, child, f->parent);
	how.top = &f->top->image.disk;
	how.parent = f->parent;
	assert_int_equal(mirror_new(&f->m, &how, NULL), 0);
}

static void
drop(struct fixture *f)
{
	mirror_free(f->m);
	disk_free(&f->top->image.disk);
	memory_host_free(f->h);
	free(f->loop);
}

static int
setup(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	return 0;
}

static int
teardown(void **state)
{
	free(*state);
	return pages_alive() == 0 ? 0 : -1;
}

/* Moves until the cursor is at least at a sector. */
static void
move_to(struct fixture *f, uint64_t sector)
{
	struct mirror_report r;

	do {
		look(f, &r);
		if (!memory_end_one(f->h))
			fake_loop_pass(f->loop, 1000000);
	} while (r.done < sector * TOY_SECTOR && r.state == MIRROR_MOVING);
}

/* --- tests ------------------------------------------------------------------------------------------ */

/* Whatever may happen next does. */
static void
one_turn(struct fixture *f)
{
	switch (chance(f, 6)) {
	case 0:
	case 1:
		begin_any(f);
		break;
	case 2:
	case 3:
		if (f->h->in_flight)
			memory_end(f->h, (unsigned)chance(f, f->h->in_flight));
		break;
	case 4:
		fake_loop_pass(f->loop, chance(f, 200000));
		break;
	default:
		f->top->again = chance(f, 20) == 0;
		if (chance(f, 10) == 0)
			check_cut(f);
	}
}

static void
nothing_is_lost_whatever_the_machine_does_and_whenever_the_power_fails(void **state)
{
	static const unsigned runs[] = { 1, 3, 8, 20 };
	struct fixture *f = *state;

	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		unsigned after = 0;

		make(f, seed, runs[seed % 4]);
		for (unsigned i = 0; i < 30; i++)
			one_turn(f); /* before it begins */
		for (unsigned i = 0; i < seed % 20; i++)
			begin_any(f); /* and all of these are in flight */
		mirror_begin(f->m);
		while (after < 200) {
			one_turn(f);
			after += state_of(f) == MIRROR_MERGED;
		}
		assert_int_equal(f->told, 1);
		settle(f);
		check_cut(f);
		check_alike(f);
		drop(f);
	}
}

/* What came before it began is not passed over. */
static void
a_write_that_was_in_flight_before_is_moved(void **state)
{
	struct fixture *f = *state;

	make(f, 1, 20);
	begin(&f->request[0], DISK_WRITE, 4, 8, false);
	mirror_begin(f->m);
	while (f->h->in_flight > 1)
		memory_end(f->h, 1);
	settle(f);
	assert_int_equal(state_of(f), MIRROR_MERGED);
	check_alike(f);
	drop(f);
}

static void
a_merge_that_is_cancelled_anywhere_leaves_the_child_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct mirror_report r;

	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		make(f, seed, 3);
		mirror_begin(f->m);
		for (uint64_t i = chance(f, 400); i > 0; i--)
			one_turn(f);
		mirror_cancel(f->m);
		while (state_of(f) != MIRROR_ENDED)
			one_turn(f);
		look(f, &r);
		assert_int_equal(r.why.code, ECANCELED);
		settle(f);
		f->parent_written = 0;
		for (unsigned i = 0; i < 100; i++)
			one_turn(f);
		settle(f);
		for (unsigned i = 0; i < REQUESTS; i++)
			assert_int_equal(f->request[i].rc, 0);
		assert_int_equal(f->parent_written, 0);
		check_cut(f);
		drop(f);
	}
}

static void
a_parent_that_fails_ends_the_merge_and_no_request(void **state)
{
	static const struct {
		int kind, rc;
	} faults[] = { { MEMORY_WRITE, -ENOSPC }, { MEMORY_WRITE, -EIO }, { MEMORY_ALLOCATE, -EIO },
		{ MEMORY_FLUSH, -EIO } };
	struct fixture *f = *state;
	struct mirror_report r;

	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		make(f, seed, 3);
		f->fail_file = 0;
		f->fail_kind = faults[seed % 4].kind;
		mirror_begin(f->m);
		for (uint64_t i = chance(f, 200); i > 0; i--)
			one_turn(f);
		if (state_of(f) == MIRROR_MERGED) {
			settle(f);
			drop(f);
			continue;
		}
		f->fail_rc = faults[seed % 4].rc;
		while (state_of(f) < MIRROR_MERGED)
			one_turn(f);
		assert_int_equal(f->told, 1);
		look(f, &r);
		if (r.state == MIRROR_ENDED) { /* it may have been past what fails */
			assert_int_equal(r.why.code, -faults[seed % 4].rc);
			assert_true(strlen(r.why.msg) > 10);
			for (unsigned i = 0; i < REQUESTS; i++)
				assert_int_equal(f->request[i].rc, 0);
			check_cut(f);
		}
		f->fail_rc = 0;
		settle(f);
		check_cut(f);
		drop(f);
	}
}

static void
a_write_that_fails_in_the_child_is_told_and_its_place_is_moved_again(void **state)
{
	struct fixture *f = *state;
	struct mirror_report r;

	make(f, 1, 8);
	mirror_begin(f->m);
	move_to(f, 300);
	f->fail_file = 1;
	f->fail_kind = MEMORY_WRITE;
	f->fail_rc = -EIO;
	assert_int_equal(do_write(f, DISK_WRITE, 100, 4), -EIO);
	f->fail_rc = 0;
	move_to(f, SECTORS);
	settle(f);
	look(f, &r);
	assert_int_equal(r.state, MIRROR_MERGED);
	check_alike(f);
	drop(f);
}

/* No room below: the machine's request is tried again when there is some, and is then in both. */
static void
a_write_without_space_is_in_both_when_it_is_tried_again(void **state)
{
	struct fixture *f = *state;

	make(f, 1, 8);
	mirror_begin(f->m);
	move_to(f, 300);
	f->fail_file = 1;
	f->fail_kind = MEMORY_WRITE;
	f->fail_rc = -ENOSPC;
	assert_int_equal(do_write(f, DISK_WRITE, 100, 4), -ENOSPC);
	move_to(f, SECTORS);
	f->fail_rc = 0;
	assert_int_equal(do_write(f, DISK_WRITE, 100, 4), 0);
	settle(f);
	assert_int_equal(state_of(f), MIRROR_MERGED);
	check_alike(f);
	drop(f);
}

static void
when_both_have_all_a_failure_of_either_is_the_requests(void **state)
{
	struct fixture *f = *state;

	make(f, 1, 8);
	mirror_begin(f->m);
	settle(f);
	assert_int_equal(state_of(f), MIRROR_MERGED);
	f->fail_rc = -EIO;
	for (f->fail_file = 0; f->fail_file < 2; f->fail_file++) {
		f->fail_kind = MEMORY_WRITE;
		assert_int_equal(do_write(f, DISK_WRITE, 100, 4), -EIO);
		f->fail_kind = MEMORY_FLUSH;
		assert_int_equal(do_write(f, DISK_FLUSH, 0, 0), -EIO);
	}
	f->fail_rc = 0;
	assert_int_equal(do_write(f, DISK_FLUSH, 0, 0), -EIO);     /* it may be gone: file.h */
	f->parent->file->lost = f->top->image.disk.file->lost = 0; /* as if they were opened anew */
	assert_int_equal(do_write(f, DISK_WRITE, 100, 4), 0);
	assert_int_equal(do_write(f, DISK_FLUSH, 0, 0), 0);
	check_cut(f);
	assert_int_equal(state_of(f), MIRROR_MERGED);
	mirror_cancel(f->m); /* the machine's document was not written: back to the child */
	assert_int_equal(state_of(f), MIRROR_ENDED);
	drop(f);
}

static void
memory_that_changes_under_a_write_does_not_part_the_two(void **state)
{
	struct fixture *f = *state;
	struct request *r = &f->request[0];

	make(f, 1, 8);
	mirror_begin(f->m);
	move_to(f, 300);
	begin(r, DISK_WRITE, 100, 4, false);
	while (r->busy) {
		for (uint32_t i = 0; i < 4; i++)
			fill(r->data + (size_t)i * TOY_SECTOR, 100 + i, ++f->stamp);
		memory_end_one(f->h);
	}
	settle(f);
	for (uint32_t i = 100; i < 104; i++)
		f->sector[i].ended = r->stamp; /* as it was when it was taken */
	check_alike(f);
	drop(f);
}

static void
writes_that_overlap_end_alike_in_both(void **state)
{
	struct fixture *f = *state;
	uint8_t a[TOY_SECTOR], b[TOY_SECTOR];

	for (unsigned seed = 1; seed <= 50; seed++) {
		make(f, seed, 8);
		mirror_begin(f->m);
		move_to(f, 300);
		for (unsigned i = 0; i < 6; i++)
			begin(&f->request[i], DISK_WRITE, 100 + i % 3, 4, false);
		while (f->h->in_flight)
			memory_end(f->h, (unsigned)chance(f, f->h->in_flight));
		settle(f);
		for (uint64_t i = 100; i < 106; i++) {
			file_get(f->parent->file, a, sizeof(a), i * TOY_SECTOR, NULL);
			file_get(f->top->image.disk.file, b, sizeof(b), i * TOY_SECTOR, NULL);
			assert_memory_equal(a, b, sizeof(a));
		}
		drop(f);
	}
}

/* More than have room at a time, and longer than a piece that is copied. */
static void
many_and_long_requests_wait_their_turn(void **state)
{
	struct fixture *f = *state;
	struct disk_io zero = { .op = DISK_ZERO, .len = SIZE, .done = request_done };

	make(f, 1, 8);
	mirror_begin(f->m);
	settle(f);
	for (unsigned i = 0; i < REQUESTS; i++)
		begin(&f->request[i], DISK_WRITE, (uint64_t)i * 8, 8, false);
	for (unsigned i = 0; i < 3; i++) {
		while (f->h->in_flight)
			memory_end(f->h, f->h->in_flight - 1);
	}
	settle(f);
	check_alike(f);
	f->request[0].io = zero;
	f->request[0].busy = true;
	f->request[0].stamp = ++f->stamp;
	for (unsigned i = 0; i < SECTORS; i++)
		f->sector[i].begun = f->sector[i].zeroed = f->stamp;
	disk_submit(mirror_disk(f->m), &f->request[0].io);
	settle(f);
	check_alike(f);
	drop(f);
}

static void
an_empty_child_is_merged_at_once(void **state)
{
	struct fixture *f = *state;
	struct mirror_report r;

	make(f, 1, 0);
	mirror_begin(f->m);
	memory_run(f->h); /* a flush */
	look(f, &r);
	assert_int_equal(r.state, MIRROR_MERGED);
	assert_int_equal(r.done, SIZE);
	assert_int_equal(r.stored, 0);
	assert_int_equal(f->h->count[MEMORY_WRITE], 0);
	drop(f);
}

/* As long as it has requests, half of the time is its own. */
static void
a_machine_with_requests_has_its_share_of_the_time(void **state)
{
	struct fixture *f = *state;
	struct mirror_report before, after;

	make(f, 1, 8);
	mirror_begin(f->m);
	begin(&f->request[0], DISK_WRITE, 400, 1, false);
	f->loop->now += 1000000; /* the step takes 1 ms */
	memory_run(f->h);
	look(f, &before);
	memory_run(f->h);
	look(f, &after);
	assert_int_equal(after.done, before.done);
	fake_loop_pass(f->loop, 1100000);
	memory_run(f->h);
	look(f, &after);
	assert_true(after.done > before.done);
	settle(f);
	drop(f);
}

static void
only_an_image_and_its_writable_parent_are_taken(void **state)
{
	struct fixture *f = *state;
	struct mirror_how how = { .told = told };
	struct mirror *m;
	struct err e = { 0 };

	make(f, 1, 8);
	how.top = how.parent = &f->top->image.disk;
	assert_int_equal(mirror_new(&m, &how, &e), -EINVAL);
	how.top = f->parent;
	assert_int_equal(mirror_new(&m, &how, &e), -EINVAL);
	how.top = &f->top->image.disk;
	how.parent = f->parent;
	f->parent->read_only = true;
	assert_int_equal(mirror_new(&m, &how, &e), -EINVAL);
	f->parent->read_only = false;
	f->parent->size += 512;
	assert_int_equal(mirror_new(&m, &how, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "different sizes"));
	drop(f);
}

#define unit(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(nothing_is_lost_whatever_the_machine_does_and_whenever_the_power_fails),
		unit(a_write_that_was_in_flight_before_is_moved),
		unit(a_merge_that_is_cancelled_anywhere_leaves_the_child_as_it_was),
		unit(a_parent_that_fails_ends_the_merge_and_no_request),
		unit(a_write_that_fails_in_the_child_is_told_and_its_place_is_moved_again),
		unit(a_write_without_space_is_in_both_when_it_is_tried_again),
		unit(when_both_have_all_a_failure_of_either_is_the_requests),
		unit(memory_that_changes_under_a_write_does_not_part_the_two),
		unit(writes_that_overlap_end_alike_in_both),
		unit(many_and_long_requests_wait_their_turn),
		unit(an_empty_child_is_merged_at_once),
		unit(a_machine_with_requests_has_its_share_of_the_time),
		unit(only_an_image_and_its_writable_parent_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
