/*
 * agent/disk_image.h - VHD and VHDX images of machines: named as disk_file.h names disks, looked at and made
 * by fh-disk (disk_tool.h), never by the agent itself.
 *
 * Any thread; blocks for as long as the tool takes. 0, or a negative number with the fault at "path".
 */
#ifndef AGENT_DISK_IMAGE_H
#define AGENT_DISK_IMAGE_H

#include <limits.h>

#include "agent/disk_file.h"
#include "agent/disk_tool.h"
#include "agent/vm_config.h"

enum image_type { IMAGE_FIXED, IMAGE_DYNAMIC, IMAGE_DIFFERENCING };
extern const char *const image_types[]; /* "Fixed", "Dynamic", "Differencing", NULL */

/* By the end of its name: .vhd, .avhd, .vhdx, .avhdx; all else is raw. */
enum vm_disk_format image_format_of(const char *path);
/* "vhdx": what fh-disk calls it, and how its files end. */
const char *image_format_word(enum vm_disk_format format);

/* The whole path of one in its short form. */
void image_whole_path(const struct disk_place *at, const char *path, char out[PATH_MAX]);
/* The folder that an image is in, as a whole path. */
void image_folder(const struct disk_place *at, const char *path, char out[PATH_MAX]);

/* An image with its parents, in their short forms; what the first says of itself. */
struct image_chain {
	enum vm_disk_format format;
	enum image_type type;
	uint64_t size, sector; /* as guests see them, bytes */
	size_t n;
	char path[1 + VM_CHAIN_MAX][VM_DISK_PATH_SIZE];
	json_t *info; /* what fh-disk told of each, the first one's first */
};
/*
 * Resolves them: parents are looked for where the images name them, in the machine's folder (at->name may be
 * "": of no machine) and among the images of all. *out is to be freed. A parent elsewhere is a fault.
 */
int image_chain_read(struct image_chain **out, const struct agent *a, const struct disk_place *at,
    const char *path, enum vm_disk_format format, struct fault *f);
void image_chain_free(struct image_chain *c); /* NULL is allowed */
/* Lets the tool read them all, but the first `skip`. */
void image_chain_allow(
    struct disk_tool *t, const struct disk_place *at, const struct image_chain *c, size_t skip);

/* The folder of a machine's own new image, if it is not there yet. */
int image_make_folder(const struct disk_place *at, const char *path, struct fault *f);

/* A new image. */
struct image_plan {
	const char *path; /* short form; nothing is there */
	enum vm_disk_format format;
	enum image_type type;
	uint64_t size;                         /* differencing: 0 takes the parent's */
	uint64_t block_size, sector, physical; /* 0: the format's own choice */
	const struct image_chain *parent;      /* differencing */
	bool parent_in_use; /* by our own worker, which is about to have the image on top of it: not locked */
};
int image_make(const struct agent *a, const struct disk_place *at, const struct image_plan *plan,
    struct job *j, struct fault *f);

#endif
