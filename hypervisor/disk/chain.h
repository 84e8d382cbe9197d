/*
 * hypervisor/disk/chain.h - an image with all its parents, found by their paths.
 *
 * For tools, and for the agent, which passes the descriptors to a worker. A parent is looked for by the
 * relative path that its child keeps (from the child's folder), by its other paths (mapped: parent_path.h),
 * and then by base name in the child's folder and in a list of folders. The first that is there and fits is
 * it. Each is locked as it is opened (lock.h): the first for writing if it shall be written, parents shared.
 *
 * Refused: a parent that is of another format, identity or sector size, is no regular file, or is in the
 * chain already; more than DISK_CHAIN_MAX images; with a root, whatever leads out of it. A whole path may be
 * given or one below the root.
 *
 * Blocks. Any thread, one at a time.
 */
#ifndef HYPERVISOR_DISK_CHAIN_H
#define HYPERVISOR_DISK_CHAIN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "hypervisor/disk/format.h"
#include "hypervisor/disk/parent_path.h"
#include "lib/err.h"

enum { DISK_GUESS = -1 }; /* the format is what the file looks like: for people's tools only */

struct disk_link {
	char path[PATH_MAX]; /* below the root if there is one */
	int fd;
	struct disk_hold *hold; /* its lock, shared with the files over copies of this descriptor */
	struct stat st;
	struct disk_info info;
};

struct disk_chain {
	unsigned n;
	bool complete; /* no parent is missing: always, unless only some were asked for */
	struct disk_link *link[DISK_CHAIN_MAX]; /* the image, its parent, ... */
	int root;
	const struct disk_search *search;
};

struct disk_chain_how {
	int format;    /* enum disk_format_id, or DISK_GUESS; parents have the same */
	bool write;    /* the first */
	bool look;     /* nothing is locked: what is in use may be looked at; it may change meanwhile */
	unsigned most; /* no more images than this; 0: all. 1: parents are not even looked for */
	const struct disk_search
	    *search; /* NULL: nothing but the images' own paths; stays as long as the chain */
};

/* 0; -ENOENT; -EAGAIN: in use; -ESTALE: a parent was changed since; -EINVAL, -ELOOP, ... with a sentence that
 * names the file. */
int disk_chain_open(
    struct disk_chain **out, const char *path, const struct disk_chain_how *how, struct err *e);
void disk_chain_free(struct disk_chain *c); /* NULL is allowed */

/*
 * The disk made of images [from, to) and, if that is not all, of `below`, which has the others; on a loop
 * (NULL: for what happens at once only). `below` is freed if this fails. The chain keeps its descriptors and
 * may be freed before the disk. Control thread. write: image `from` was opened so; keep_id: as in struct
 * disk_open.
 */
struct disk_stack {
	unsigned from, to; /* to: 0 means all */
	struct disk *below;
	struct io_loop *loop;
	bool write, keep_id;
};
int disk_chain_disk(struct disk **out, struct disk_chain *c, const struct disk_stack *how, struct err *e);
/* One image's file, for what changes it as a whole; also a second one of the descriptor. */
int disk_chain_file(struct disk_file **out, struct disk_chain *c, unsigned n, bool write, struct err *e);
/* Opens and locks an image for writing that was opened as a parent, by its path; reads what it says now.
 * -ESTALE: there is another file by now. It is closed if this fails. */
int disk_chain_rewrite(struct disk_chain *c, unsigned n, struct err *e);
/* Reads again what an image says. */
int disk_chain_reread(struct disk_chain *c, unsigned n, struct err *e);

/*
 * What image n says is on the disk now. Before a child is made of it, which will know it by the identity of
 * its content: whoever wrote it last may have been killed before that was flushed.
 */
int disk_chain_sync(const struct disk_chain *c, unsigned n, struct err *e);

/* What an open descriptor's image says. format may be DISK_GUESS. */
int disk_info_of(int fd, int format, struct disk_info *info, struct err *e);

#endif
