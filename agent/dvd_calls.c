/* agent/dvd_calls.c - dvd.add, dvd.remove and dvd.set. */
#include "agent/disk_calls.h"

#include <errno.h>
#include <string.h>

#include "agent/disk_work.h"
#include "agent/vm_keeper.h"

static int
add_drive(struct disk_work *w)
{
	struct vm_disk d = { 0 };
	int rc;

	vm_disk_defaults(&d);
	d.type = VM_DVD;
	d.read_only = true;
	rc = disk_work_free_place(w, &d);
	if (rc == 0 && w->p->path[0])
		rc = disk_work_take_path(w, &d);
	if (rc == 0)
		rc = disk_work_try_document(w, &d);
	if (rc == 0)
		rc = disk_work_try_file(w, &d);
	if (rc < 0 || call_would(w->c, "give %s a DVD drive %llu:%llu with %s, %s", w->ch.is->name,
			  (unsigned long long)d.controller, (unsigned long long)d.lun,
			  d.path[0] ? d.path : "no disc", disk_work_when(w)))
		return rc;
	return disk_work_attach(w, &d, false);
}

int
dvd_call_add(struct call *c, const void *params, json_t *result, struct fault *f)
{
	return disk_work_carry_out(c, params, result, f, add_drive);
}

static int
remove_drive(struct disk_work *w)
{
	struct vm_disk d = { 0 };
	int rc = disk_work_find_drive(w, &d);

	if (rc < 0 || call_would(w->c, "take the DVD drive %llu:%llu from %s",
			  (unsigned long long)d.controller, (unsigned long long)d.lun, w->ch.is->name))
		return rc;
	rc = disk_work_detach(w, &d);
	return rc < 0 ? rc : disk_work_done(w, &d);
}

int
dvd_call_remove(struct call *c, const void *params, json_t *result, struct fault *f)
{
	return disk_work_carry_out(c, params, result, f, remove_drive);
}

static int
insert(struct disk_work *w, const struct vm_disk *d, bool force, struct fault *f)
{
	json_t *params = json_pack("{s:I, s:I, s:b}", "Controller", (json_int_t)d->controller, "Lun",
	    (json_int_t)d->lun, "Force", force);
	struct vm_disk_files files;
	struct err why;
	int rc = vm_disk_open(w->ch.ms, w->ch.is, d, &files, f);

	if (rc < 0) {
		json_decref(params);
		return rc;
	}
	if (files.n)
		json_object_set_new(params, "File", json_integer(0));
	rc = vm_disks_ask(&w->ch, "disk.insert", params, &files, NULL, &why);
	vm_disk_close(&files);
	if (rc == -EBUSY)
		return fault_set(f, FAULT_DISK_LOCKED, "force", "force=true does it all the same",
		    "the guest of '%s' has locked the drive", w->ch.is->name);
	if (rc == -ENOENT) {
		w->effect = DISK_EFFECT_NEXT_START;
		return 0;
	}
	if (rc < 0)
		return keeper_fault(f, &why);
	/* What it ejected before was the disc that was in it then. */
	pthread_mutex_lock(&w->vm->lock);
	w->vm->ejected[d->controller] &= ~(1ull << d->lun);
	pthread_mutex_unlock(&w->vm->lock);
	return 0;
}

static int
set_drive(struct disk_work *w)
{
	struct vm_disk was = { 0 }, is;
	int rc = disk_work_find_drive(w, &was);

	if (rc < 0)
		return rc;
	is = was;
	memset(is.path, 0, sizeof(is.path));
	if (w->p->path[0])
		rc = disk_work_take_path(w, &is);
	if (rc == 0 && strcmp(was.path, is.path) == 0)
		return disk_work_unchanged(w);
	if (rc == 0)
		rc = disk_work_try_document(w, &is);
	if (rc == 0)
		rc = disk_work_try_file(w, &is);
	if (rc < 0 || call_would(w->c,
			  is.path[0] ? "put %s into the DVD drive of %s, %s"
				     : "take the disc%s out of the DVD drive of %s, %s",
			  is.path, w->ch.is->name, disk_work_when(w)))
		return rc;
	if (w->ch.runs)
		rc = insert(w, &is, w->p->force, w->f);
	if (rc < 0)
		return rc;
	rc = vm_disks_write(&w->ch, &is, false, w->f);
	if (rc < 0 && w->ch.runs && w->effect == DISK_EFFECT_NOW) {
		struct fault unused = { 0 };

		insert(w, &was, true, &unused);
	}
	return rc < 0 ? rc : disk_work_done(w, &is);
}

int
dvd_call_set(struct call *c, const void *params, json_t *result, struct fault *f)
{
	return disk_work_carry_out(c, params, result, f, set_drive);
}
