/* agent/disk_work.c - one call's change of a machine's disks or DVD drives: places, files, steps. */
#include "agent/disk_work.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/vm_keeper.h"

enum { MIB = 1 << 20 };

const char *const disk_effects[] = { "Now", "NextStart", NULL };

/* --- one call ----------------------------------------------------------------------------------------- */

int
disk_work_done(struct disk_work *w, const struct vm_disk *d)
{
	struct machines *ms = w->ch.ms;
	json_t *data;
	uint64_t revision;

	pthread_mutex_lock(&w->vm->lock);
	data = vm_event_data(w->vm);
	revision = w->vm->config.revision;
	pthread_mutex_unlock(&w->vm->lock);
	json_object_set_new(data, "revision", json_integer((json_int_t)revision));
	ms->publish(ms->agent, "vm.changed", data);
	json_object_set_new(w->result, "controller", json_integer((json_int_t)d->controller));
	json_object_set_new(w->result, "lun", json_integer((json_int_t)d->lun));
	json_object_set_new(w->result, "path", json_string(d->path));
	json_object_set_new(w->result, "effect", json_string(disk_effects[w->effect]));
	json_object_set_new(w->result, "revision", json_integer((json_int_t)revision));
	return 0;
}

int
disk_work_enter(struct disk_work *w)
{
	int rc = vm_disks_begin(&w->ch, w->c->agent->machines, w->vm, w->f);

	if (rc < 0)
		return rc;
	w->at = (struct disk_place){ w->c->agent->o.data, w->ch.is->name };
	w->effect = w->ch.runs ? DISK_EFFECT_NOW : DISK_EFFECT_NEXT_START;
	return 0;
}

void
disk_work_leave(struct disk_work *w)
{
	image_chain_free(w->chain);
	w->chain = NULL;
	vm_disks_end(&w->ch);
}

int
disk_work_carry_out(
    struct call *c, const void *params, json_t *result, struct fault *f, int (*change)(struct disk_work *w))
{
	struct disk_work w = { .c = c, .p = params, .result = result, .f = f };
	int rc;

	w.vm = call_vm(c, w.p->vm, f);
	rc = w.vm ? disk_work_enter(&w) : -1;
	if (rc == 0) {
		rc = call_match(c, w.ch.is->revision, f);
		if (rc == 0)
			rc = change(&w);
		disk_work_leave(&w);
	}
	vm_put(w.vm);
	return rc;
}

int
disk_work_unchanged(struct disk_work *w)
{
	return json_object_set_new(w->result, "changed", json_false());
}

const char *
disk_work_when(const struct disk_work *w)
{
	return w->ch.runs ? "at once" : "for its next start";
}

/* --- places ------------------------------------------------------------------------------------------- */

static int
no_disk(const struct disk_work *w, const char *what)
{
	return fault_set(w->f, FAULT_DISK_NOT_FOUND, "lun", "disk.list shows what the machine has",
	    "'%s' has no %s at %llu:%llu", w->ch.is->name, what, (unsigned long long)w->p->controller,
	    (unsigned long long)w->p->lun);
}

int
disk_work_find_disk(struct disk_work *w, struct vm_disk *out)
{
	const struct vm_disk *d = vm_config_disk(w->ch.is, w->p->controller, w->p->lun);

	if (!d || d->type != VM_DISK)
		return no_disk(w, "disk");
	*out = *d;
	return 0;
}

int
disk_work_find_any(struct disk_work *w, struct vm_disk *out)
{
	const struct vm_disk *d = vm_config_disk(w->ch.is, w->p->controller, w->p->lun);

	if (!d)
		return no_disk(w, "disk");
	*out = *d;
	return 0;
}

static bool
is_drive_on(const struct disk_work *w, const struct vm_disk *d)
{
	return d->type == VM_DVD && (!call_has(w->c, "controller") || d->controller == w->p->controller);
}

int
disk_work_find_drive(struct disk_work *w, struct vm_disk *out)
{
	const struct vm_disk *d = NULL, *all = w->ch.is->devices.disk;
	unsigned drives = 0;

	if (call_has(w->c, "lun")) {
		d = vm_config_disk(w->ch.is, w->p->controller, w->p->lun);
		if (!d || d->type != VM_DVD)
			return no_disk(w, "DVD drive");
	}
	for (size_t i = 0; !call_has(w->c, "lun") && i < w->ch.is->devices.disks; i++)
		if (is_drive_on(w, &all[i]) && drives++ == 0)
			d = &all[i];
	if (drives > 1)
		return fault_set(w->f, FAULT_BAD_PARAMS, "lun", "dvd.list shows them",
		    "'%s' has %u DVD drives: say which", w->ch.is->name, drives);
	if (!d)
		return fault_set(w->f, FAULT_DISK_NOT_FOUND, "lun", "dvd.add gives it one",
		    "'%s' has no DVD drive", w->ch.is->name);
	*out = *d;
	return 0;
}

int
disk_work_free_place(struct disk_work *w, struct vm_disk *d)
{
	uint64_t controllers = w->ch.is->devices.controllers;
	int lun = vm_config_free_lun(w->ch.is, w->p->controller);

	if (w->p->controller >= controllers)
		return fault_set(w->f, FAULT_BAD_PARAMS, "controller",
		    "vm.set with scsiControllers gives it more, while it is off",
		    "'%s' has %llu storage controllers, counted from 0", w->ch.is->name,
		    (unsigned long long)controllers);
	if (call_has(w->c, "lun"))
		lun = (int)w->p->lun;
	if (lun < 0)
		return fault_set(w->f, FAULT_LIMIT, "controller", "take another controller",
		    "controller %llu has %d disks and drives, and no place is left",
		    (unsigned long long)w->p->controller, VM_CONTROLLER_UNITS);
	d->controller = w->p->controller;
	d->lun = (uint64_t)lun;
	if (vm_config_disk(w->ch.is, d->controller, d->lun))
		return fault_set(w->f, FAULT_DISK_EXISTS, "lun", "without lun the first free place is taken",
		    "'%s' has a disk or drive at %llu:%llu already", w->ch.is->name,
		    (unsigned long long)d->controller, (unsigned long long)d->lun);
	return 0;
}

/* --- files -------------------------------------------------------------------------------------------- */

static bool
is_own(const char *path)
{
	return path[0] == '.';
}

/* Block devices, and what all machines share, are the host's: who has rights at one machine only may read the
 * latter. */
int
disk_work_may_use(const struct disk_work *w, const struct vm_disk *d)
{
	bool writes = !d->read_only && d->type == VM_DISK;

	if (is_own(d->path) || (d->path[0] == 'i' && !writes) || call_may(w->c, ROLE_ADMINISTRATOR, "/"))
		return 0;
	if (d->path[0] == '/')
		return fault_set(w->f, FAULT_FORBIDDEN, "path", NULL,
		    "%s: block devices are for administrators of the host", d->path);
	return fault_set(w->f, FAULT_FORBIDDEN, "path", "give readOnly=true with it",
	    "%s is there for all machines: only an administrator of the host may have one write to it",
	    d->path);
}

int
disk_work_may_delete_file(struct disk_work *w, const struct vm_disk *d)
{
	const struct vm_disk *all = w->ch.is->devices.disk;

	if (!is_own(d->path))
		return fault_set(w->f, FAULT_BAD_PARAMS, "deleteFile",
		    d->path[0] == 'i' ? "file.delete deletes images" : NULL,
		    "%s is not in the machine's folder", d->path);
	for (size_t i = 0; i < w->ch.is->devices.disks; i++)
		if ((all[i].controller != d->controller || all[i].lun != d->lun) &&
		    strcmp(all[i].path, d->path) == 0)
			return fault_set(w->f, FAULT_DISK_IN_USE, "deleteFile", NULL,
			    "%s is at %llu:%llu, too", d->path, (unsigned long long)all[i].controller,
			    (unsigned long long)all[i].lun);
	return 0;
}

int
disk_work_take_path(struct disk_work *w, struct vm_disk *d)
{
	struct err e = { 0 };

	if (disk_file_tidy(&w->at, w->p->path, d->path, sizeof(d->path), &e) < 0)
		return fault_err(w->f, FAULT_FILE_BAD, "path", "file.list shows what there is", &e);
	return disk_work_may_use(w, d);
}

int
disk_work_try_file(struct disk_work *w, const struct vm_disk *d)
{
	struct vm_disk_files files;
	int rc = vm_disk_open(w->ch.ms, w->ch.is, d, &files, w->f);

	if (rc == 0)
		vm_disk_close(&files);
	return rc;
}

/* A disk that is made on an image has that as its first parent; one that is there says itself. */
static bool
put_parents(struct disk_work *w, const struct vm_disk *d)
{
	const char *path[1 + VM_CHAIN_MAX];
	size_t from = w->is_parent ? 0 : 1, n = w->chain->n - from;

	for (size_t i = 0; i < n; i++)
		path[i] = w->chain->path[from + i];
	return vm_config_put_parents(w->ch.is, d->controller, d->lun, path, n);
}

int
disk_work_try_document(struct disk_work *w, const struct vm_disk *d)
{
	struct err e = { 0 };

	if (!vm_config_put_disk(w->ch.is, d))
		return fault_set(
		    w->f, FAULT_LIMIT, NULL, NULL, "a machine has %d disks at most", VM_MAX_DISKS);
	if (w->chain && !put_parents(w, d))
		return fault_set(w->f, FAULT_LIMIT, "parent", "merge some of them, or convert the disk",
		    "a chain has %d images at most, and the disks of a machine %d parents together",
		    VM_CHAIN_MAX + 1, VM_MAX_PARENTS);
	return vm_config_check(w->ch.is, &e) < 0 ? fault_err(w->f, FAULT_BAD_PARAMS, NULL, NULL, &e) : 0;
}

const char *
disk_work_size_text(uint64_t bytes, char out[32])
{
	static const char *const units[] = { "MiB", "GiB", "TiB" };
	unsigned i = 0;
	double n = (double)bytes / MIB;

	for (; n >= 1024 && i < 2; i++)
		n /= 1024;
	snprintf(out, 32, n == (double)(uint64_t)n ? "%.0f %s" : "%.1f %s", n, units[i]);
	return out;
}

uint64_t
disk_work_whole_mib(uint64_t size)
{
	return (size + MIB - 1) / MIB * MIB;
}

int
disk_work_check_room(struct disk_work *w, uint64_t more)
{
	char wanted[32], there[32];
	struct err e = { 0 };
	uint64_t left;

	if (w->p->overcommit)
		return 0;
	if (disk_file_room(&w->at, &left, &e) < 0)
		return fault_err(w->f, FAULT_STORAGE, NULL, NULL, &e);
	if (more <= left)
		return 0;
	return fault_set(w->f, FAULT_NO_SPACE, "size",
	    "overcommit=true does it all the same: the machine is paused when the data disk is full",
	    "the disk may take %s, and the data disk has %s left", disk_work_size_text(more, wanted),
	    disk_work_size_text(left, there));
}

static int
made_fault(struct fault *f, const struct err *e)
{
	return fault_err(f,
	    e->code == EEXIST                              ? FAULT_DISK_EXISTS
	    : e->code == EINVAL || e->code == ENAMETOOLONG ? FAULT_FILE_BAD
	    : e->code == ENOSPC || e->code == EDQUOT       ? FAULT_NO_SPACE
	    : e->code == EFBIG                             ? FAULT_BAD_PARAMS
							   : FAULT_STORAGE,
	    e->code == EFBIG ? "size" : "name", NULL, e);
}

int
disk_work_plan_file(struct disk_work *w, struct vm_disk *d, uint64_t size)
{
	const char *end = d->format == VM_RAW ? "img" : image_format_word(d->format);
	char path[VM_DISK_PATH_SIZE], *dot;
	struct err e = { 0 };
	struct stat st;
	int fd, rc = 0;

	if (!w->p->name[0]) {
		rc = disk_file_name(&w->at, end, d->path, sizeof(d->path), &e);
	} else {
		dot = strrchr(w->p->name, '.');
		snprintf(path, sizeof(path), "./disks/%s%s%s", w->p->name, dot ? "" : ".", dot ? "" : end);
		rc = disk_file_tidy(&w->at, path, d->path, sizeof(d->path), &e);
		fd = rc < 0 ? -1 : disk_file_open(&w->at, d->path, USE_LOOK, 0, &st, NULL);
		if (fd >= 0) {
			close(fd);
			rc = err_set(&e, EEXIST, "%s is there already", d->path);
		}
	}
	return rc < 0 ? made_fault(w->f, &e) : disk_work_check_room(w, size);
}

/* --- to the machine, and from it ---------------------------------------------------------------------- */

/* What was done so far is taken back. */
static void
take_back(struct disk_work *w, const struct vm_disk *d, bool in_worker, bool made)
{
	struct err e = { 0 };
	bool closed;

	if (in_worker)
		vm_disks_take(&w->ch, d, &closed, &e);
	if (made)
		disk_file_delete(&w->at, d->path, &e);
}

static int
make_file(struct disk_work *w, const struct vm_disk *d)
{
	const struct disk_params *p = w->p;
	const struct image_plan plan = { .path = d->path,
		.format = d->format,
		.type = w->is_parent ? IMAGE_DIFFERENCING : p->type,
		.size = p->size ? disk_work_whole_mib(p->size) : 0,
		.block_size = p->block_size,
		.sector = w->is_parent ? 0 : p->sector,
		.physical = p->physical,
		.parent = w->is_parent ? w->chain : NULL };
	struct err e = { 0 };

	if (d->format == VM_RAW && p->type != IMAGE_FIXED)
		return disk_file_make(&w->at, d->path, plan.size, &e) < 0 ? made_fault(w->f, &e) : 0;
	return image_make(w->c->agent, &w->at, &plan, NULL, w->f);
}

int
disk_work_attach(struct disk_work *w, const struct vm_disk *d, bool make)
{
	int rc = make ? make_file(w, d) : 0;

	if (rc < 0)
		return rc;
	rc = w->ch.runs ? vm_disks_give(&w->ch, d, w->f) : disk_work_try_file(w, d);
	if (rc < 0) {
		take_back(w, d, false, make);
		return rc;
	}
	rc = vm_disks_write(&w->ch, d, false, w->f);
	if (rc < 0) {
		take_back(w, d, w->ch.runs, make);
		return rc;
	}
	return disk_work_done(w, d);
}

int
disk_work_detach(struct disk_work *w, const struct vm_disk *d)
{
	bool closed = true, had = w->ch.runs;
	struct err why;
	int rc = 0;

	if (w->ch.runs)
		rc = vm_disks_take(&w->ch, d, &closed, &why);
	if (rc == -ENOENT) { /* somebody wrote it into the document by hand, for the next start */
		had = false;
		closed = true;
		rc = 0;
		w->effect = DISK_EFFECT_NEXT_START;
	}
	if (rc < 0)
		return keeper_fault(w->f, &why);
	rc = vm_disks_write(&w->ch, d, true, w->f);
	if (rc < 0 && had) {
		struct fault unused = { 0 };

		vm_disks_give(&w->ch, d, &unused);
	}
	json_object_set_new(w->result, "closed", json_boolean(closed));
	return rc;
}
