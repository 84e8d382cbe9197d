/* agent/disk_live.c - the images of a disk change: its document, its worker, its files. */
#include "agent/disk_live.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/disk_image.h"
#include "agent/inventory.h"
#include "agent/vm_keeper.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"

enum { TRIES = 3, STEP_MS = 100, CANCEL_MS = 20000 };

/* --- the document -----------------------------------------------------------------------------------------
 */

/* What the document has there, the disk first; borrowed of ch->is. None: 0. */
static size_t
chain_of(struct disks_change *ch, const struct disk_note *n, const char *path[1 + VM_CHAIN_MAX])
{
	const struct vm_disk *d = vm_config_disk(ch->is, n->controller, n->lun);

	if (!d)
		return 0;
	path[0] = d->path;
	return 1 + vm_config_parents(ch->is, n->controller, n->lun, path + 1);
}

static int
write_chain(struct disks_change *ch, const struct disk_note *n, const char *const *path, size_t images,
    struct fault *f)
{
	struct vm_disk d = *vm_config_disk(ch->is, n->controller, n->lun);

	text_copy(d.path, sizeof(d.path), path[0]);
	if (!vm_config_put_parents(ch->is, n->controller, n->lun, path + 1, images - 1))
		return fault_set(f, FAULT_LIMIT, "lun", "merge some of them",
		    "a chain has %d images at most, and the disks of a machine %d parents together",
		    VM_CHAIN_MAX + 1, VM_MAX_PARENTS);
	return vm_disks_write(ch, &d, false, f);
}

static int
other_images(const struct disks_change *ch, const struct disk_note *n, struct fault *f)
{
	return fault_set(f, FAULT_CONFLICT, "lun", "disk.list shows what it is",
	    "disk %u:%u of '%s' has other images by now", (unsigned)n->controller, (unsigned)n->lun,
	    ch->is->name);
}

int
disk_live_name_images(struct disks_change *ch, const struct disk_note *n, struct fault *f)
{
	const char *was[1 + VM_CHAIN_MAX], *is[2 * VM_CHAIN_MAX + 1];
	size_t below = chain_of(ch, n, was), images = 0;

	if (!below || strcmp(was[0], n->parent) != 0)
		return other_images(ch, n, f);
	for (size_t i = 0; i < n->images; i++)
		is[images++] = n->image[i];
	for (size_t i = 0; i < below; i++)
		is[images++] = was[i];
	return write_chain(ch, n, is, images, f);
}

int
disk_live_name_parent(struct disks_change *ch, const struct disk_note *n, struct fault *f)
{
	const char *was[1 + VM_CHAIN_MAX];
	size_t images = chain_of(ch, n, was);

	if (images <= n->images || strcmp(was[0], n->image[0]) != 0 || strcmp(was[n->images], n->parent) != 0)
		return other_images(ch, n, f);
	return write_chain(ch, n, was + n->images, images - n->images, f);
}

bool
disk_live_is_named(struct disks_change *ch, const struct disk_note *n, const char *path)
{
	const struct vm_disk *d = vm_config_disk(ch->is, n->controller, n->lun);

	return d && strcmp(d->path, path) == 0;
}

/* --- the worker -------------------------------------------------------------------------------------------
 */

int
disk_live_ask(struct vm *vm, const char *method, const struct disk_note *n, json_t *more,
    const struct vm_disk_files *files, struct err *why)
{
	struct disks_change ch = { .vm = vm };
	json_t *params = json_pack(
	    "{s:I, s:I}", "Controller", (json_int_t)n->controller, "Lun", (json_int_t)n->lun);

	json_object_update(params, more);
	json_decref(more);
	return vm_disks_ask(&ch, method, params, files, NULL, why);
}

static const json_t *
unit_in(const json_t *report, const struct disk_note *n)
{
	const json_t *unit;
	size_t i;

	json_array_foreach(json_object_get(report, "Disks"), i, unit)
	{
		if (json_integer_value(json_object_get(unit, "Controller")) == (json_int_t)n->controller &&
		    json_integer_value(json_object_get(unit, "Lun")) == (json_int_t)n->lun)
			return unit;
	}
	return NULL;
}

static uint64_t
bytes_of(const json_t *unit, const char *name)
{
	json_int_t bytes = json_integer_value(json_object_get(unit, name));

	return bytes > 0 ? (uint64_t)bytes : 0;
}

enum live_state
disk_live_state(struct vm *vm, const struct disk_note *n, uint64_t *done, uint64_t *total)
{
	static const char *const names[] = { "None", "Moving", "Merged" }; /* by enum live_state */
	json_t *report = vm_disks_report(vm);
	const json_t *unit = unit_in(report, n);
	const char *merge = json_string_value(json_object_get(unit, "Merge"));
	unsigned state = LIVE_NONE;
	bool runs;

	*done = bytes_of(unit, "MergeAt");
	*total = bytes_of(unit, "MergeSize");
	while (merge && state < LIVE_UNKNOWN && strcmp(names[state], merge) != 0)
		state++;
	pthread_mutex_lock(&vm->lock);
	runs = vm->keeper != NULL;
	pthread_mutex_unlock(&vm->lock);
	if (!report)
		state = runs ? LIVE_UNKNOWN : LIVE_LOST;
	json_decref(report);
	return (enum live_state)state;
}

bool
disk_live_is_held(const struct disk_place *at, const char *path)
{
	struct err e = { 0 };
	int fd = disk_file_open(at, path, USE_WRITE, 0, NULL, &e);

	if (fd >= 0)
		close(fd);
	return fd == -EAGAIN;
}

/* Whether a worker that has ended had said so of the merge first. */
static bool
has_told_end(struct vm *vm, const struct disk_note *n)
{
	bool told;

	pthread_mutex_lock(&vm->lock);
	told = vm->merge_end.told && vm->merge_end.controller == n->controller && vm->merge_end.lun == n->lun;
	pthread_mutex_unlock(&vm->lock);
	return told;
}

static int
over(struct disks_change *ch, const struct disk_note *n, enum live_state state, struct fault *f)
{
	const struct disk_place at = { ch->ms->data, ch->is->name };
	bool ended = state == LIVE_LOST ? has_told_end(ch->vm, n) : disk_live_is_held(&at, n->image[0]);

	if (!ended) /* the answer was late: it has let go of them */
		return 0;
	fault_set(f, FAULT_VM_WORKER_FAILED, "lun", NULL,
	    "the merge has ended, and the disk is what it was: %s cannot be written any more", n->parent);
	return -ECANCELED;
}

int
disk_live_complete(struct disks_change *ch, const struct disk_note *n, struct fault *f)
{
	struct err why = { 0 };
	uint64_t done, total;

	for (int i = 0; i < TRIES; i++) {
		enum live_state state;

		if (disk_live_ask(ch->vm, "disk.merge.complete", n, NULL, NULL, &why) == 0)
			return 0;
		state = disk_live_state(ch->vm, n, &done, &total);
		if (state == LIVE_NONE || state == LIVE_LOST)
			return over(ch, n, state, f);
		usleep(STEP_MS * 1000);
	}
	return keeper_fault(f, &why);
}

int
disk_live_cancel(struct vm *vm, const struct disk_note *n, struct fault *f)
{
	struct err why = { 0 };
	uint64_t done, total, until = vm_now_ms() + CANCEL_MS;

	do {
		enum live_state state;

		disk_live_ask(vm, "disk.merge.cancel", n, NULL, NULL, &why);
		state = disk_live_state(vm, n, &done, &total);
		if (state == LIVE_NONE || state == LIVE_LOST)
			return 0;
		usleep(STEP_MS * 1000);
	} while (vm_now_ms() < until);
	return fault_set(f, FAULT_VM_WORKER_FAILED, "vm", "turn the machine off: nothing is lost by that",
	    "the worker does not end the merge%s%s", why.msg[0] ? ": " : "", why.msg);
}

/* --- files ------------------------------------------------------------------------------------------------
 */

/* Whether the document of any machine has it, whatever it is called there. */
static bool
is_in_use(struct machines *ms, const struct stat *file)
{
	struct vm_config *c = malloc(sizeof(*c));
	char words[VM_DISK_WORDS];
	struct vm **all;
	size_t n = inventory_all(ms, &all);
	bool named = !c || !all;

	for (size_t i = 0; all && i < n; i++) {
		if (!named && c) {
			pthread_mutex_lock(&all[i]->lock);
			*c = all[i]->config;
			memcpy(c->name, all[i]->name, sizeof(c->name));
			pthread_mutex_unlock(&all[i]->lock);
			named = vm_disk_of_file(ms, c, file, words);
		}
		vm_put(all[i]);
	}
	free(all);
	free(c);
	return named;
}

static int
delete_one(struct machines *ms, const struct disk_place *at, const char *path, struct err *e)
{
	char whole[PATH_MAX];
	struct stat st = { 0 };
	int rc = 0, fd = disk_file_open(at, path, USE_WRITE, 0, &st, e);

	if (fd == -ENOENT)
		return 0;
	if (fd >= 0 && is_in_use(ms, &st))
		rc = err_set(e, EBUSY, "a machine has it");
	if (fd >= 0)
		close(fd);
	if (fd < 0 || rc < 0)
		return fd < 0 ? fd : rc;
	image_whole_path(at, path, whole);
	rc = file_remove(whole, e);
	if (rc == 0 && path[0] != '.')
		ms->publish(
		    ms->agent, "file.changed", json_pack("{s:s, s:s}", "path", path, "change", "deleted"));
	return rc;
}

int
disk_live_delete(struct machines *ms, const struct disk_place *at, const struct disk_note *n, struct fault *f)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n->images; i++) {
		struct err e = { 0 };

		if (delete_one(ms, at, n->image[i], &e) < 0)
			rc = fault_set(f, FAULT_STORAGE, "delete", "delete it when nobody has it any more",
			    "the file %s is not deleted: %s", n->image[i], e.msg);
	}
	return rc;
}

/* --- whose it is ------------------------------------------------------------------------------------------
 */

int
disk_live_claim(struct disks_change *ch, const struct disk_note *n, struct fault *f)
{
	const struct disk_place at = { ch->ms->data, ch->is->name };
	struct err e = { 0 };

	if (disk_note_write(&at, n, &e) < 0)
		return fault_err(
		    f, e.code == ENOSPC || e.code == EDQUOT ? FAULT_NO_SPACE : FAULT_STORAGE, NULL, NULL, &e);
	pthread_mutex_lock(&ch->vm->lock);
	ch->vm->claimed[n->controller] |= 1ull << n->lun;
	pthread_mutex_unlock(&ch->vm->lock);
	return 0;
}

void
disk_live_release(struct machines *ms, struct vm *vm, const struct disk_note *n, bool settled)
{
	struct disk_place at = { ms->data, vm->name };
	struct err e = { 0 };

	pthread_mutex_lock(&vm->lock); /* its folder keeps its name meanwhile */
	vm->claimed[n->controller] &= ~(1ull << n->lun);
	if (settled && !vm->gone && disk_note_remove(&at, n, &e) < 0)
		log_msg(LOG_WARN, "%s: %s", vm->name, e.msg);
	pthread_mutex_unlock(&vm->lock);
}
