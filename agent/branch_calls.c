/* agent/branch_calls.c - disk.branch: a new differencing image on the disk that a machine has. */
#include "agent/disk_calls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/disk_live.h"
#include "agent/disk_work.h"
#include "agent/vm_keeper.h"
#include "lib/text.h"

enum { TRIES = 3 };

/* --- what it is to be -------------------------------------------------------------------------------------
 */

static int
check_disk(const struct disk_work *w, const struct vm_disk *d)
{
	if (d->format == VM_RAW)
		return fault_set(w->f, FAULT_BAD_PARAMS, "lun", "vhd.convert makes a VHDX of it",
		    "%s is raw: only VHD and VHDX images have children", d->path);
	if (d->read_only)
		return fault_set(w->f, FAULT_BAD_PARAMS, "lun", NULL,
		    "the disk is only read: a child of it would stay empty");
	return disk_work_may_use(w, d);
}

/* The place that was given for the new file, into d. */
static int
take_new_path(struct disk_work *w, struct vm_disk *d)
{
	char whole[PATH_MAX], folder[PATH_MAX];
	int rc = disk_work_take_path(w, d);

	if (rc < 0)
		return rc;
	if (d->path[0] == '/')
		return fault_set(w->f, FAULT_FILE_BAD, "path", NULL, "%s is a device and no image", d->path);
	image_whole_path(&w->at, d->path, whole);
	image_folder(&w->at, d->path, folder);
	if (access(whole, F_OK) == 0)
		return fault_set(w->f, FAULT_DISK_EXISTS, "path", NULL, "%s is there already", d->path);
	if (d->path[0] != '.' && access(folder, F_OK) < 0)
		return fault_set(
		    w->f, FAULT_FOLDER_NOT_FOUND, "path", NULL, "there is no folder for %s", d->path);
	return disk_work_check_room(w, w->chain->size);
}

static int
plan_child(struct disk_work *w, const struct vm_disk *was, struct vm_disk *child)
{
	bool placed = call_has(w->c, "path");
	int rc;

	*child = *was;
	if (placed && call_has(w->c, "name"))
		return fault_set(w->f, FAULT_BAD_PARAMS, "path", NULL,
		    "give the name of its file in the machine's folder, or its path elsewhere");
	rc = image_chain_read(&w->chain, w->c->agent, &w->at, was->path, was->format, w->f);
	if (rc == 0)
		rc = placed ? take_new_path(w, child) : disk_work_plan_file(w, child, w->chain->size);
	if (rc == 0 && image_format_of(child->path) != was->format)
		rc = fault_set(w->f, FAULT_BAD_PARAMS, placed ? "path" : "name", NULL,
		    "%s is %s, and so is what is made on it: the name %s says something else", was->path,
		    vm_disk_formats[was->format], child->path);
	return rc;
}

/* A document that may not be written is better told before anything is made. */
static int
try_document(struct disk_work *w, const struct vm_disk *was, const struct vm_disk *child)
{
	const char *below[1 + VM_CHAIN_MAX];
	struct vm_config *c = malloc(sizeof(*c));
	struct err e = { 0 };
	size_t n;
	int rc = 0;

	if (!c)
		return fault_set(w->f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	*c = *w->ch.is;
	below[0] = was->path;
	n = 1 + vm_config_parents(w->ch.is, was->controller, was->lun, below + 1);
	vm_config_put_disk(c, child);
	if (!vm_config_put_parents(c, was->controller, was->lun, below, n))
		rc = fault_set(w->f, FAULT_LIMIT, "lun", "disk.merge makes the chain shorter",
		    "a chain has %d images at most, and the disks of a machine %d parents together",
		    VM_CHAIN_MAX + 1, VM_MAX_PARENTS);
	else if (vm_config_check(c, &e) < 0)
		rc = fault_err(w->f, FAULT_BAD_PARAMS, NULL, NULL, &e);
	free(c);
	return rc;
}

/* --- its making -------------------------------------------------------------------------------------------
 */

static int
make_file(struct disk_work *w, const struct disk_note *n)
{
	const struct image_plan plan = { .path = n->image[0],
		.format = n->format,
		.type = IMAGE_DIFFERENCING,
		.parent = w->chain,
		.parent_in_use = w->ch.runs };

	return image_make(w->c->agent, &w->at, &plan, NULL, w->f);
}

/* The worker has the child on top of the disk: 0 or -errno. */
static int
put_on_top(struct disk_work *w, const struct disk_note *n, struct err *why)
{
	struct vm_disk_files files = { 0 };
	int rc, fd = disk_file_open(&w->at, n->image[0], USE_WRITE, 0, NULL, why);

	if (fd < 0)
		return -EIO;
	files.fd[files.n++] = fd;
	rc = disk_live_ask(w->vm, "disk.branch", n, json_pack("{s:i}", "File", 0), &files, why);
	vm_disk_close(&files);
	return rc;
}

/* All is as it was; *settled is false if that could not be done. */
static void
take_back(struct disk_work *w, const struct disk_note *n, bool *settled)
{
	struct fault unused = { 0 };

	*settled =
	    (!disk_live_is_named(&w->ch, n, n->image[0]) || disk_live_name_parent(&w->ch, n, &unused) == 0) &&
	    disk_live_delete(w->ch.ms, &w->at, n, &unused) == 0;
}

/* One try. -ESTALE without a fault: the parent has got another identity since the child was made on it, as it
 * does with the first write to it; *settled: nothing is left to be done. */
static int
try_once(struct disk_work *w, const struct disk_note *n, bool *settled)
{
	struct err why = { 0 };
	int rc = make_file(w, n);

	*settled = true;
	if (rc < 0)
		return rc;
	rc = disk_live_name_images(&w->ch, n, w->f);
	if (rc < 0) {
		take_back(w, n, settled);
		return rc;
	}
	rc = w->ch.runs ? put_on_top(w, n, &why) : 0;
	if (rc == 0)
		return 0;
	if (rc == -ENOENT) { /* written into the document by hand, for the next start */
		w->effect = DISK_EFFECT_NEXT_START;
		return 0;
	}
	*settled = false; /* it may have the child, or be about to */
	if (rc != -ETIMEDOUT && rc != -ECONNRESET && rc != -EPIPE)
		take_back(w, n, settled);
	if (rc == -ESTALE && *settled)
		return rc;
	return keeper_fault(w->f, &why);
}

static int
branch(struct disk_work *w, const struct vm_disk *child, const struct disk_note *n)
{
	bool settled = true;
	int rc = disk_live_claim(&w->ch, n, w->f);

	if (rc < 0)
		return rc;
	rc = -ESTALE;
	for (int i = 0; rc == -ESTALE && i < TRIES; i++)
		rc = try_once(w, n, &settled);
	if (rc == -ESTALE)
		rc = fault_set(w->f, FAULT_DISK_IN_USE, "lun", "try again in a moment",
		    "%s has changed while its child was made", n->parent);
	disk_live_release(w->ch.ms, w->vm, n, settled);
	if (rc == 0 && child->path[0] != '.')
		event_publish(w->c->agent, "file.changed",
		    json_pack("{s:s, s:s}", "path", child->path, "change", "created"));
	return rc < 0 ? rc : disk_work_done(w, child);
}

static int
branch_disk(struct disk_work *w)
{
	struct vm_disk was = { 0 }, child;
	struct disk_note *n;
	int rc = disk_work_find_disk(w, &was);

	if (rc == 0)
		rc = disk_live_free(&w->ch, was.controller, was.lun, w->c->dry_run, w->f);
	if (rc == 0)
		rc = disk_work_find_disk(w, &was); /* as it is, settled */
	if (rc == 0)
		rc = check_disk(w, &was);
	if (rc == 0 && !w->ch.runs)
		rc = disk_work_try_file(w, &was);
	if (rc == 0)
		rc = plan_child(w, &was, &child);
	if (rc == 0)
		rc = try_document(w, &was, &child);
	if (rc < 0 || call_would(w->c, "make %s on %s and have it as disk %llu:%llu of %s, %s", child.path,
			  was.path, (unsigned long long)was.controller, (unsigned long long)was.lun,
			  w->ch.is->name, disk_work_when(w)))
		return rc;
	n = disk_note_new(NOTE_BRANCH, &was);
	if (!n)
		return fault_set(w->f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	n->images = 1;
	text_copy(n->image[0], sizeof(n->image[0]), child.path);
	text_copy(n->parent, sizeof(n->parent), was.path);
	rc = branch(w, &child, n);
	free(n);
	return rc;
}

int
disk_call_branch(struct call *c, const void *params, json_t *result, struct fault *f)
{
	return disk_work_carry_out(c, params, result, f, branch_disk);
}
