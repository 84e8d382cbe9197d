/*
 * tests/lab/back_door/back_door.h - attempts to break out of a worker, made from inside it.
 *
 * fh-worker-open is fh-worker, the very same objects, linked with these files: the linker puts functions of
 * back_door.c in the place of some that the worker calls (-Wl,--wrap). It has one request more, "breakout",
 * and, told so by its environment, leaves walls out, so that those behind them can be tried.
 */
#ifndef TESTS_LAB_BACK_DOOR_H
#define TESTS_LAB_BACK_DOOR_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/sandbox/syscalls.h"

/* What came of a number of attempts. */
struct findings {
	uint64_t tried, held;
	char open[4000]; /* what did not hold, or whatever there is to tell */
};

/* Counts an attempt; when it did not hold, says which. */
void finding(struct findings *f, bool held, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Adds to f->open without counting. */
void remark(struct findings *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* FH_BACK_DOOR in the environment: words separated by commas. "seccomp", "landlock", "files": that wall is
 * left out. "cx16": a processor without cmpxchg16b is taken for one with it. */
bool left_out(const char *wall);

/* --- calls.c: what the system call lists hold; each on the thread that is tried ------------------- */

void try_list(struct findings *f, enum thread_kind kind);      /* the numbers allowed to this kind */
void try_calls(struct findings *f, enum thread_kind kind);     /* every number that is not */
void try_named(struct findings *f, enum thread_kind kind);     /* files, sockets, processes, in earnest */
void try_arguments(struct findings *f, enum thread_kind kind); /* allowed calls, forbidden arguments */
void try_uretprobe(struct findings *f, enum thread_kind kind); /* may end the process */
void try_int80(struct findings *f, enum thread_kind kind);     /* must end it, and so must the next */
void try_x32(struct findings *f, enum thread_kind kind);

/* --- layers.c: what holds without them; seccomp is left out ---------------------------------------- */

void try_files(struct findings *f, enum thread_kind kind);
void try_network(struct findings *f, enum thread_kind kind);
void try_rights(struct findings *f, enum thread_kind kind);
void try_processes(struct findings *f, enum thread_kind kind);

#endif
