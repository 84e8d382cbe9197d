/*
 * tests/disk/memory_file.h - disk files in memory, for units, fuzz targets and the power-cut harness.
 *
 * A memory_host has files by number, and one power supply. Operations begun on a file (the asynchronous half
 * of disk_file_ops) wait until the test ends them, in whatever order; a disk_file's pump ends one of them.
 * What happens at once, happens at once. File sizes cost nothing: up to 256 TiB, of which only written pages
 * exist.
 *
 * The host remembers what a power cut may lose: everything since the last flush of a file that has ended. A
 * flush covers what had ended when it began; a write with FUA covers itself, and what lies under it.
 * memory_cut makes another host with the files as they may be found afterwards; this one goes on. What may be
 * found: every 512-byte sector, or 4 KiB page, is as it was at the last flush or at any later moment, each
 * for itself; writes and holes in flight may be there, too; the size is that of any moment since. A file that
 * was made shorter was made so at one moment.
 *
 * Everything follows from the seeds. One thread.
 */
#ifndef TESTS_DISK_MEMORY_FILE_H
#define TESTS_DISK_MEMORY_FILE_H

#include "hypervisor/disk/file.h"
#include "tests/disk/pages.h"

enum { MEMORY_FILES = 160 }; /* more than a chain has */

enum memory_kind {
	MEMORY_READ,
	MEMORY_WRITE,
	MEMORY_FLUSH,
	MEMORY_ALLOCATE, /* holes, zeros */
	MEMORY_RESIZE,
	MEMORY_KINDS
};

struct memory_op {
	enum memory_kind kind;
	unsigned file;
	uint64_t off, len; /* MEMORY_RESIZE: off is the new size */
	bool fua;
	int mode; /* MEMORY_ALLOCATE: FALLOC_FL_*; 0 takes space */
};

struct memory_host {
	/*
	 * Asked before an operation takes place (in flight: when it ends). 0: it works; -errno: it answers
	 * that, and nothing has changed; above 0, of reads and writes: at most so many bytes are moved. NULL:
	 * all work. It may look at everything, and cut.
	 */
	int (*fault)(void *ctx, const struct memory_op *op);
	void *ctx;
	bool no_holes; /* files cannot be punched, nor zeroed but by writing */
	/* The order in which pump and memory_run end things; 0: that in which they were begun. */
	uint64_t seed;

	unsigned count[MEMORY_KINDS];       /* what has taken place */
	uint64_t bytes_read, bytes_written; /* by those */
	unsigned in_flight;

	struct memory_inode *inode[MEMORY_FILES]; /* the host's own */
	struct memory_flight *flights, **flights_last;
	uint64_t moment; /* counts changes */
};

struct memory_host *memory_host_new(void);
/* With all files; none is open, nothing is in flight. NULL is allowed. */
void memory_host_free(struct memory_host *h);

/* The file with this number, empty if there was none. Freed with file_free; the content stays. */
struct disk_file *memory_open(struct memory_host *h, unsigned number, bool read_only);

/* Ends the n-th of those in flight (0: begun first); one by the seed, false if there was none; all of them,
 * and what they begin. */
void memory_end(struct memory_host *h, unsigned n);
bool memory_end_one(struct memory_host *h);
void memory_run(struct memory_host *h);

/* The same files on another host, all durable: as they are now (nothing is lost); after a cut. Of the seeds 0
 * keeps only what is durable, 1 everything, the others what chance will. */
struct memory_host *memory_copy(const struct memory_host *h);
struct memory_host *memory_cut(const struct memory_host *h, uint64_t seed);
/* How many changes of a file a cut may lose. */
unsigned memory_unsafe(const struct memory_host *h, unsigned number);

/* From and to a file of the machine, sparse; -errno. */
int memory_load(struct memory_host *h, unsigned number, const char *path);
int memory_save(const struct memory_host *h, unsigned number, const char *path);

/* A number that follows from two. */
uint64_t memory_mix(uint64_t a, uint64_t b);

#endif
