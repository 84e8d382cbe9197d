/* agent/vm_disks.c - disks between vm.json, their files and the worker. */
#include "agent/vm_disks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/disk_file.h"
#include "agent/inventory.h"
#include "agent/vm_keeper.h"
#include "lib/log.h"
#include "lib/text.h"

enum { LOCK_MS = 2000, LOCK_STEP_MS = 20, REMOVE_MS = 10000, REPORT_MS = 2000, TRIES = 10 };

/* --- files -------------------------------------------------------------------------------------------- */

static enum disk_use
use_of(const struct vm_disk *d)
{
	return d->read_only || d->type == VM_DVD ? USE_READ : USE_WRITE;
}

static bool
is_file(const struct disk_place *at, const char *path, const struct stat *file)
{
	struct stat st;
	int fd = path[0] ? disk_file_open(at, path, USE_LOOK, 0, &st, NULL) : -1;

	if (fd >= 0)
		close(fd);
	return fd >= 0 && disk_file_same(&st, file);
}

bool
vm_disk_of_file(
    struct machines *ms, const struct vm_config *c, const struct stat *file, char words[VM_DISK_WORDS])
{
	const struct disk_place at = { ms->data, c->name };

	for (size_t i = 0; i < c->devices.disks; i++) {
		const struct vm_disk *d = &c->devices.disk[i];

		snprintf(words, VM_DISK_WORDS, "%s %u:%u", d->type == VM_DVD ? "DVD drive" : "disk",
		    (unsigned)d->controller, (unsigned)d->lun);
		if (is_file(&at, d->path, file))
			return true;
	}
	for (size_t i = 0; i < c->devices.parents; i++) {
		const struct vm_parent *p = &c->devices.parent[i];

		snprintf(
		    words, VM_DISK_WORDS, "parent of disk %u:%u", (unsigned)p->controller, (unsigned)p->lun);
		if (is_file(&at, p->path, file))
			return true;
	}
	return false;
}

/* Whether a machine that runs has this file. With its place in words. */
static bool
has_file(struct machines *ms, struct vm *vm, const struct stat *file, char words[VM_DISK_WORDS])
{
	struct vm_config *c = malloc(sizeof(*c));
	bool has = false, runs = false;

	if (!c)
		return false;
	pthread_mutex_lock(&vm->lock);
	runs = vm->keeper != NULL;
	if (runs)
		*c = vm->config;
	pthread_mutex_unlock(&vm->lock);
	has = runs && vm_disk_of_file(ms, c, file, words);
	free(c);
	return has;
}

/* Names who has the file: false when no machine that runs does. */
bool
vm_disk_name_holder(struct machines *ms, const struct stat *file, const char *path, struct fault *f)
{
	struct vm **all;
	size_t n = inventory_all(ms, &all);
	bool found = false;

	for (size_t i = 0; all && i < n; i++) {
		char words[VM_DISK_WORDS];

		if (!found && has_file(ms, all[i], file, words)) {
			pthread_mutex_lock(&all[i]->lock);
			fault_set(f, FAULT_DISK_IN_USE, "path",
			    "stop that machine or remove the disk from it; what is only read can be shared",
			    "%s is %s of '%s', which is running", path, words, all[i]->name);
			pthread_mutex_unlock(&all[i]->lock);
			found = true;
		}
		vm_put(all[i]);
	}
	free(all);
	return found;
}

static int
not_opened(struct fault *f, const char *path, const struct err *e)
{
	struct err why = *e;

	err_wrap(&why, -e->code, "%s", path);
	switch (e->code) {
	case ENOENT:
		return fault_err(f, FAULT_FILE_NOT_FOUND, "path", "file.list shows what there is", &why);
	case EAGAIN:
	case EBUSY:
		return fault_err(f, FAULT_DISK_IN_USE, "path", NULL, &why);
	default:
		return fault_err(f, FAULT_FILE_BAD, "path", NULL, &why);
	}
}

/* Returns a descriptor, or a negative number with the fault. */
static int
open_file(struct machines *ms, const struct disk_place *at, const char *path, enum disk_use use,
    uint64_t sector, struct fault *f)
{
	uint64_t until = vm_now_ms() + LOCK_MS;

	for (;; usleep(LOCK_STEP_MS * 1000)) {
		struct stat st = { 0 };
		struct err e = { 0 };
		int fd = disk_file_open(at, path, use, sector, &st, &e);

		if (fd >= 0)
			return fd;
		if (e.code != EAGAIN || vm_now_ms() >= until)
			return not_opened(f, path, &e);
		if (vm_disk_name_holder(ms, &st, path, f))
			return -1;
	}
}

void
vm_disk_close(struct vm_disk_files *files)
{
	while (files->n > 0)
		close(files->fd[--files->n]);
}

int
vm_disk_open(struct machines *ms, const struct vm_config *c, const struct vm_disk *d,
    struct vm_disk_files *files, struct fault *f)
{
	const struct disk_place at = { ms->data, c->name };
	const char *parent[VM_CHAIN_MAX];
	size_t parents = d->format == VM_RAW ? 0 : vm_config_parents(c, d->controller, d->lun, parent);
	int fd = 0;

	files->n = 0;
	if (!d->path[0])
		return 0;
	for (size_t i = 0; fd >= 0 && i <= parents; i++) {
		fd = i == 0 ? open_file(ms, &at, d->path, use_of(d), d->type == VM_DVD ? 2048 : d->sector, f)
			    : open_file(ms, &at, parent[i - 1], USE_READ, 512, f);
		if (fd >= 0)
			files->fd[files->n++] = fd;
	}
	if (fd >= 0)
		return 0;
	vm_disk_close(files);
	return fd;
}

int
vm_disks_check(struct machines *ms, const struct vm_config *c, struct fault *f)
{
	struct vm_disk_files files;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < c->devices.disks; i++) {
		rc = vm_disk_open(ms, c, &c->devices.disk[i], &files, f);
		if (rc == 0)
			vm_disk_close(&files);
	}
	return rc;
}

/* --- the worker --------------------------------------------------------------------------------------- */

static int
ask(struct vm *vm, struct keeper_call *call)
{
	int rc;

	pthread_mutex_lock(&vm->lock);
	if (vm->keeper) {
		rc = keeper_call(vm, call);
	} else {
		json_decref(call->params);
		rc = err_set(&call->why, ECONNRESET, "its worker has ended");
	}
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

int
vm_disks_ask(struct disks_change *ch, const char *method, json_t *params, const struct vm_disk_files *files,
    json_t **result, struct err *why)
{
	struct keeper_call call = { .method = method,
		.params = params,
		.fd = files ? files->fd : NULL,
		.fds = files ? files->n : 0 };
	int rc = ask(ch->vm, &call);

	*why = call.why;
	if (result)
		*result = call.result;
	else
		json_decref(call.result);
	return rc;
}

int
vm_disks_give(struct disks_change *ch, const struct vm_disk *d, struct fault *f)
{
	struct vm_disk_files files;
	struct err why;
	int rc = vm_disk_open(ch->ms, ch->is, d, &files, f);

	if (rc < 0)
		return rc;
	rc = vm_disks_ask(ch, "disk.add", vm_disk_worker(d, files.n ? files.n - 1 : 0), &files, NULL, &why);
	vm_disk_close(&files);
	if (rc == -ETIMEDOUT) { /* it may have it all the same, or get it yet */
		struct err unused;
		bool closed;

		vm_disks_take(ch, d, &closed, &unused);
	}
	return rc < 0 ? keeper_fault(f, &why) : 0;
}

/* With vm->lock. Whether the worker has closed the file in time; it has when it is not there any more. */
static bool
wait_closed(struct vm *vm, const struct vm_disk *d)
{
	uint64_t until = vm_now_ms() + REMOVE_MS, bit = 1ull << d->lun;

	while (vm->keeper && (vm->leaving[d->controller] & bit) && vm_now_ms() < until)
		vm_wait(vm, 200);
	return !vm->keeper || !(vm->leaving[d->controller] & bit);
}

int
vm_disks_take(struct disks_change *ch, const struct vm_disk *d, bool *closed, struct err *why)
{
	struct vm *vm = ch->vm;
	json_t *place = json_pack(
	    "{s:I, s:I}", "Controller", (json_int_t)d->controller, "Lun", (json_int_t)d->lun);
	int rc;

	pthread_mutex_lock(&vm->lock);
	vm->leaving[d->controller] |= 1ull << d->lun; /* "Removed" may come right after the answer */
	pthread_mutex_unlock(&vm->lock);
	rc = vm_disks_ask(ch, "disk.remove", place, NULL, NULL, why);
	pthread_mutex_lock(&vm->lock);
	if (rc < 0)
		vm->leaving[d->controller] &= ~(1ull << d->lun);
	*closed = rc == 0 && wait_closed(vm, d);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

json_t *
vm_disks_report(struct vm *vm)
{
	struct keeper_call call = { .method = "disk.list", .ms = REPORT_MS };
	bool starting;

	pthread_mutex_lock(&vm->lock);
	starting = vm->state == VM_STARTING; /* its keeper is busy with that */
	pthread_mutex_unlock(&vm->lock);
	return !starting && ask(vm, &call) == 0 ? call.result : NULL;
}

/* --- a change ----------------------------------------------------------------------------------------- */

/* With vm->lock. */
static int
may_change(const struct vm *vm, struct fault *f)
{
	if (vm->gone)
		return fault_set(f, FAULT_VM_NOT_FOUND, "vm", "vm.list shows all machines",
		    "there is no machine '%s' any more", vm->name);
	if (vm->broken[0])
		return fault_set(f, FAULT_VM_DOCUMENT_BAD, "vm", "mend the file, or delete the machine",
		    "'%s': %s", vm->name, vm->broken);
	if (vm->state == VM_STOPPING)
		return fault_set(f, FAULT_VM_WRONG_STATE, "vm", "wait until it is off",
		    "'%s' is Stopping and cannot be changed", vm->name);
	return 0;
}

int
vm_disks_begin(struct disks_change *ch, struct machines *ms, struct vm *vm, struct fault *f)
{
	int rc;

	*ch = (struct disks_change){ .ms = ms, .vm = vm, .is = malloc(sizeof(*ch->is)) };
	if (!ch->is)
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	pthread_mutex_lock(&vm->lock);
	while (vm->disks_busy || (vm->state == VM_STARTING && vm->keeper))
		vm_wait(vm, 1000);
	rc = may_change(vm, f);
	if (rc == 0) {
		vm->disks_busy = true;
		ch->runs = vm->keeper != NULL;
		*ch->is = vm->config;
	}
	pthread_mutex_unlock(&vm->lock);
	if (rc < 0)
		free(ch->is);
	return rc;
}

static int
agree(struct vm *vm, void *arg)
{
	return vm->config.revision == *(const uint64_t *)arg ? 0 : -EAGAIN;
}

/* edit makes the document that shall be of the one that is; 0, or negative with *e. */
static int
rewrite(struct machines *ms, struct vm *vm, struct vm_config *is,
    int (*edit)(struct vm_config *c, const void *arg, struct err *e), const void *arg, struct err *e)
{
	int rc = -EAGAIN;

	for (int i = 0; i < TRIES && rc == -EAGAIN; i++) {
		uint64_t base;

		pthread_mutex_lock(&vm->lock);
		*is = vm->config;
		pthread_mutex_unlock(&vm->lock);
		base = is->revision;
		rc = edit(is, arg, e);
		if (rc == 0)
			rc = vm_config_check(is, e);
		if (rc == 0)
			rc = inventory_set(ms, vm, is, agree, &base, e);
	}
	return rc == -EAGAIN ? err_set(e, EAGAIN, "others change the machine all the time") : rc;
}

struct edit {
	struct vm_disk d;
	bool drop;
	size_t parents;
	char parent[][VM_DISK_PATH_SIZE];
};

static int
edit_disk(struct vm_config *c, const void *arg, struct err *e)
{
	const struct edit *edit = arg;
	const char *path[VM_CHAIN_MAX];

	if (edit->drop) {
		vm_config_drop_disk(c, edit->d.controller, edit->d.lun);
		return 0;
	}
	for (size_t i = 0; i < edit->parents; i++)
		path[i] = edit->parent[i];
	if (!vm_config_put_disk(c, &edit->d))
		return err_set(e, ENOSPC, "a machine has %d disks at most", VM_MAX_DISKS);
	if (!vm_config_put_parents(c, edit->d.controller, edit->d.lun, path, edit->parents))
		return err_set(e, ENOSPC, "the disks of a machine have %d parents at most", VM_MAX_PARENTS);
	return 0;
}

/* Copies: what they are made of may be in c, and changes with it. */
static struct edit *
make_edit(const struct vm_config *c, const struct vm_disk *d, bool drop)
{
	const char *path[VM_CHAIN_MAX];
	size_t n = d->format == VM_RAW ? 0 : vm_config_parents(c, d->controller, d->lun, path);
	struct edit *edit = malloc(sizeof(*edit) + n * sizeof(edit->parent[0]));

	if (!edit)
		return NULL;
	edit->d = *d;
	edit->drop = drop;
	edit->parents = n;
	for (size_t i = 0; i < n; i++)
		text_copy(edit->parent[i], sizeof(edit->parent[i]), path[i]);
	return edit;
}

static int
write_fault(struct fault *f, const struct err *e)
{
	return fault_err(f,
	    e->code == EINVAL                        ? FAULT_BAD_PARAMS
	    : e->code == ENOSPC || e->code == EDQUOT ? FAULT_NO_SPACE
	    : e->code == EAGAIN || e->code == ENOENT ? FAULT_CONFLICT
						     : FAULT_STORAGE,
	    NULL, e->code == ENOSPC ? "make room on the data disk" : NULL, e);
}

int
vm_disks_edit(struct disks_change *ch, int (*edit)(struct vm_config *c, const void *arg, struct err *e),
    const void *arg, struct fault *f)
{
	struct err e = { 0 };

	if (rewrite(ch->ms, ch->vm, ch->is, edit, arg, &e) == 0)
		return 0;
	pthread_mutex_lock(&ch->vm->lock);
	*ch->is = ch->vm->config;
	pthread_mutex_unlock(&ch->vm->lock);
	return write_fault(f, &e);
}

int
vm_disks_write(struct disks_change *ch, const struct vm_disk *d, bool drop, struct fault *f)
{
	struct edit *edit = make_edit(ch->is, d, drop);
	int rc = edit ? vm_disks_edit(ch, edit_disk, edit, f)
		      : fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");

	free(edit);
	return rc;
}

/* --- what the guest ejects ---------------------------------------------------------------------------- */

static int
edit_ejected(struct vm_config *c, const void *arg, struct err *e)
{
	const uint64_t *ejected = arg;

	(void)e;
	for (size_t i = 0; i < c->devices.disks; i++) {
		struct vm_disk *d = &c->devices.disk[i];

		if (d->type == VM_DVD && (ejected[d->controller] >> d->lun & 1))
			memset(d->path, 0, sizeof(d->path));
	}
	return 0;
}

/* With vm->lock: whether there is anything to write of what was ejected. What is of no drive with a disc in
 * it is forgotten. */
static bool
take_ejected(struct vm *vm, uint64_t out[VM_MAX_CONTROLLERS])
{
	bool any = false;

	memcpy(out, vm->ejected, sizeof(vm->ejected));
	memset(vm->ejected, 0, sizeof(vm->ejected));
	for (size_t i = 0; i < vm->config.devices.disks; i++) {
		const struct vm_disk *d = &vm->config.devices.disk[i];

		any |= d->type == VM_DVD && d->path[0] && (out[d->controller] >> d->lun & 1);
	}
	return any;
}

static void
write_ejected(struct machines *ms, struct vm *vm, const uint64_t ejected[VM_MAX_CONTROLLERS])
{
	struct vm_config *c = malloc(sizeof(*c));
	struct err e = { 0 };
	json_t *data;

	if (!c || rewrite(ms, vm, c, edit_ejected, ejected, &e) < 0) {
		log_msg(LOG_ERROR, "%s: its guest has ejected a disc, and that cannot be written down: %s",
		    vm->name, c ? e.msg : "out of memory");
	} else {
		pthread_mutex_lock(&vm->lock);
		data = vm_event_data(vm);
		json_object_set_new(data, "revision", json_integer((json_int_t)vm->config.revision));
		pthread_mutex_unlock(&vm->lock);
		ms->publish(ms->agent, "vm.changed", data);
	}
	free(c);
}

/* The holder of disks_busy ends, having written what was ejected in the meantime. */
static void
finish(struct machines *ms, struct vm *vm)
{
	uint64_t ejected[VM_MAX_CONTROLLERS];

	pthread_mutex_lock(&vm->lock);
	while (take_ejected(vm, ejected)) {
		pthread_mutex_unlock(&vm->lock);
		write_ejected(ms, vm, ejected);
		pthread_mutex_lock(&vm->lock);
	}
	vm->disks_busy = false;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}

void
vm_disks_end(struct disks_change *ch)
{
	finish(ch->ms, ch->vm);
	free(ch->is);
}

void
vm_disks_settle(struct machines *ms, struct vm *vm)
{
	bool mine = false;

	pthread_mutex_lock(&vm->lock);
	for (int i = 0; i < VM_MAX_CONTROLLERS; i++)
		mine |= vm->ejected[i] != 0;
	mine = mine && !vm->disks_busy;
	vm->disks_busy |= mine;
	pthread_mutex_unlock(&vm->lock);
	if (mine)
		finish(ms, vm);
}
