/*
 * hypervisor/core/io_loop.h - one I/O thread: an io_uring and what waits on it.
 *
 * The ring is restricted before its thread starts (registered files, and the operations below only), for the
 * system-call filter does not see what goes through it. Everything but the functions marked "any thread" or
 * "control thread" is called on the loop's own thread.
 */
#ifndef HYPERVISOR_CORE_IO_LOOP_H
#define HYPERVISOR_CORE_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lib/err.h"

enum { IO_LOOP_FILES = 512 }; /* slots for descriptors */

struct io_loop;

/* One operation in flight: part of its owner's memory, which must stay until done is called. */
struct io_op {
	/* res: bytes or 0, or -errno, as the system call has it. */
	void (*done)(struct io_op *op, int res);
};

/* Control thread, before the walls close. The thread is made by io_loop_start, which returns when it has
 * passed `walls` and sleeps. */
int io_loop_new(struct io_loop **out, struct err *e);
int io_loop_start(struct io_loop *l, int (*walls)(struct err *), struct err *e);
/* Ends the thread (units only: a worker's process ends with it). What is called after that is done at once,
 * by the caller: so its users can be freed. */
void io_loop_stop(struct io_loop *l);
/* Both. */
void io_loop_free(struct io_loop *l);

/*
 * Without a thread of its own, for tools: instead of io_loop_start, the thread that calls io_loop_here
 * becomes the loop's and the control thread in one. Nothing happens but in io_loop_once, which is one round:
 * what was begun goes to the kernel, then it waits until an operation has ended or a timer is due, and calls
 * what is due. False, at once: there was nothing to wait for (watched eventfds alone are not waited for). Not
 * to be called from within a round.
 */
int io_loop_here(struct io_loop *l, struct err *e);
bool io_loop_once(struct io_loop *l);
/* Whether io_loop_start has made a thread, which is not this one. */
bool io_loop_has_thread(const struct io_loop *l);

/* Control thread: makes fd known (the caller keeps it open until it is forgotten); the slot, or -errno. */
int io_loop_add_file(struct io_loop *l, int fd, struct err *e);
/* Control thread: forgets it. Nothing of it may be in flight, nor be watched. While the thread runs, each
 * watch of the loop is called once more; the ring's own hold on the file ends before this returns, but for
 * what is in flight on other files (kernels before 6.13 wait for that). */
void io_loop_drop_file(struct io_loop *l, int slot);
/* Control thread: runs fn(arg) on the loop's thread, and returns when it has returned. */
void io_loop_call(struct io_loop *l, void (*fn)(void *arg), void *arg);

/* Begins an operation on a slot. Operations begun in one round go to the kernel together. iov must stay until
 * done. */
void io_loop_readv(
    struct io_loop *l, struct io_op *op, int slot, const struct iovec *iov, unsigned n, uint64_t off);
void io_loop_writev(struct io_loop *l, struct io_op *op, int slot, const struct iovec *iov, unsigned n,
    uint64_t off, bool fua);
/* The same on what has no offsets, at once or not at all: -EAGAIN where it would wait, whether or not the
 * descriptor is non-blocking (the ring waits for those that can be polled). */
void io_loop_read_now(struct io_loop *l, struct io_op *op, int slot, const struct iovec *iov, unsigned n);
void io_loop_write_now(struct io_loop *l, struct io_op *op, int slot, const struct iovec *iov, unsigned n);
void io_loop_fsync(struct io_loop *l, struct io_op *op, int slot);
/* mode: FALLOC_FL_* */
void io_loop_fallocate(struct io_loop *l, struct io_op *op, int slot, int mode, uint64_t off, uint64_t len);

/* Calls fn(ctx) each time the eventfd in the slot is signalled (and once soon after this call). Nobody reads
 * the eventfd. io_loop_unwatch: fn is not called again after it returns. */
struct io_watch {
	void (*fn)(void *ctx);
	void *ctx;
	int slot; /* of io_loop_add_file */
};
void io_loop_watch(struct io_loop *l, struct io_watch *w);
void io_loop_unwatch(struct io_loop *l, struct io_watch *w);

/* One alarm each: fn(ctx) at or soon after `at` (CLOCK_MONOTONIC, ns); 0 disarms. */
struct io_timer {
	void (*fn)(void *ctx);
	void *ctx;
	uint64_t at;
	struct io_timer *next; /* the loop's own */
};
void io_loop_timer(struct io_loop *l, struct io_timer *t, uint64_t at);
uint64_t io_loop_now(const struct io_loop *l);

/* Called once at the end of each round, before the thread sleeps: for what is better done once for many
 * completions (one interrupt for a batch). Any number; control thread before io_loop_start, later the loop's
 * own (io_loop_call), but not within a round function. */
struct io_round {
	void (*fn)(void *ctx);
	void *ctx;
	struct io_round *next;
};
void io_loop_each_round(struct io_loop *l, struct io_round *r);
void io_loop_end_round(struct io_loop *l, struct io_round *r);

#endif
