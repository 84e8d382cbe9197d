/*
 * agent/merge_calls.c - disk.merge: the uppermost images of a machine's disk go into the one below them,
 * while it runs (disk_live.h) or is off (vhd.merge).
 */
#include "agent/disk_calls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/disk_live.h"
#include "agent/disk_work.h"
#include "agent/vhd_calls.h"
#include "agent/vm_keeper.h"
#include "lib/text.h"

enum { LOOK_MS = 250, TOLD_MS = 2000, SILENT_MS = 60000 };

/* One call, in several turns. */
struct merge {
	struct disk_work w;
	struct vm_disk disk;    /* as it was */
	struct disk_note *note; /* what goes where */
	struct vhd_params p;    /* for what is shared with vhd.merge */
	uint64_t run;           /* of the machine: its worker is another in the next one */
	bool unsettled;         /* the note stays, for whoever comes next */
};

/* --- what is merged ---------------------------------------------------------------------------------------
 */

static int
plan(struct merge *m)
{
	const char *below[VM_CHAIN_MAX];
	struct disk_work *w = &m->w;
	size_t parents = vm_config_parents(w->ch.is, m->disk.controller, m->disk.lun, below),
	       levels = w->p->levels;

	if (m->disk.format == VM_RAW || parents == 0)
		return fault_set(w->f, FAULT_BAD_PARAMS, "lun", NULL,
		    "%s is no differencing image: there is nothing to merge it into", m->disk.path);
	if (levels > parents)
		return fault_set(w->f, FAULT_BAD_PARAMS, "levels", NULL, "%s has only %zu images below it",
		    m->disk.path, parents);
	m->note = disk_note_new(NOTE_MERGE, &m->disk);
	if (!m->note)
		return fault_set(w->f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	m->note->images = levels;
	m->note->remove = w->p->delete_file;
	for (size_t i = 0; i < levels; i++)
		text_copy(m->note->image[i], VM_DISK_PATH_SIZE, i ? below[i - 1] : m->disk.path);
	text_copy(m->note->parent, VM_DISK_PATH_SIZE, below[levels - 1]);
	return 0;
}

/* The disk as vhd.merge knows images. */
static void
as_image(struct merge *m, struct vhd_work *v)
{
	const struct disk_work *w = &m->w;

	m->p = (struct vhd_params){ .levels = w->p->levels, .remove = w->p->delete_file };
	*v = (struct vhd_work){ .c = w->c, .p = &m->p, .result = w->result, .f = w->f };
	text_copy(v->name, sizeof(v->name), w->ch.is->name);
	v->at = (struct disk_place){ w->at.data, v->name };
	v->format = m->disk.format;
	text_copy(v->path, sizeof(v->path), m->disk.path);
	image_whole_path(&v->at, v->path, v->whole);
}

/* All of them are ours to write, and nobody else has made anything on them. */
static int
check_images(struct merge *m)
{
	const struct disk_note *n = m->note;
	struct vhd_work v;
	int rc = 0;

	as_image(m, &v);
	for (size_t i = 0; rc == 0 && i <= n->images; i++) {
		const char *path = i < n->images ? n->image[i] : n->parent;

		rc = vhd_may_write(&v, "lun", path);
		if (rc == 0)
			rc = vhd_no_children(
			    &v, path, i ? m->disk.path : NULL, i < n->images ? "merged" : "merged into");
	}
	if (rc < 0 && m->w.f->code == FAULT_FILE_IN_USE) /* there is no force here */
		m->w.f->hint[0] = '\0';
	return rc;
}

static int
begin(struct merge *m)
{
	struct disk_work *w = &m->w;
	int rc = call_match(w->c, w->ch.is->revision, w->f);

	if (rc == 0)
		rc = disk_work_find_disk(w, &m->disk);
	if (rc == 0)
		rc = disk_live_free(&w->ch, m->disk.controller, m->disk.lun, w->c->dry_run, w->f);
	if (rc == 0)
		rc = disk_work_find_disk(w, &m->disk); /* as it is, settled */
	if (rc == 0)
		rc = plan(m);
	return rc < 0 ? rc : check_images(m);
}

/* --- while it runs ----------------------------------------------------------------------------------------
 */

/* Those that are written get descriptors for that. The worker has both locked; it moves its locks. */
static int
open_images(struct merge *m, struct vm_disk_files *files)
{
	const struct disk_note *n = m->note;
	const char *path[2] = { n->parent, n->images > 1 ? n->image[n->images - 1] : NULL };

	files->n = 0;
	for (int i = 0; i < 2 && path[i]; i++) {
		struct err e = { 0 };
		int fd = disk_file_open(&m->w.at, path[i], USE_GROW, 0, NULL, &e);

		if (fd < 0) {
			vm_disk_close(files);
			return fault_set(m->w.f, e.code == ENOENT ? FAULT_FILE_NOT_FOUND : FAULT_FILE_BAD,
			    "lun", NULL, "%s: %s", path[i], e.msg);
		}
		files->fd[files->n++] = fd;
	}
	return 0;
}

/* The disk is what it was; the fault that there is stays. */
static void
go_back(struct merge *m)
{
	struct fault unused = { 0 };

	m->unsettled = disk_live_cancel(m->w.vm, m->note, &unused) < 0;
}

static int
ask_merge(struct merge *m)
{
	const struct disk_note *n = m->note;
	struct vm_disk_files files;
	struct err why = { 0 };
	json_t *more;
	int rc = open_images(m, &files);

	if (rc < 0)
		return rc;
	more = json_pack("{s:I, s:i}", "Levels", (json_int_t)n->images, "File", 0);
	if (files.n > 1)
		json_object_set_new(more, "Above", json_integer(1));
	rc = disk_live_ask(m->w.vm, "disk.merge", n, more, &files, &why);
	vm_disk_close(&files);
	if (rc == -ETIMEDOUT) /* it may be doing it all the same */
		go_back(m);
	if (rc == -ENOENT)
		return fault_set(m->w.f, FAULT_VM_WRONG_STATE, "lun", "stop the machine first",
		    "'%s' has no such disk before its next start", m->w.ch.is->name);
	return rc < 0 ? keeper_fault(m->w.f, &why) : 0;
}

static int
ended_by_itself(struct merge *m)
{
	uint64_t until = vm_now_ms() + TOLD_MS;
	struct vm *vm = m->w.vm;
	char why[ERR_MSG_SIZE] = "";

	pthread_mutex_lock(&vm->lock);
	while (vm->keeper && !vm->merge_end.told && vm_now_ms() < until)
		vm_wait(vm, LOOK_MS);
	if (vm->merge_end.told && vm->merge_end.controller == m->note->controller &&
	    vm->merge_end.lun == m->note->lun)
		text_copy(why, sizeof(why), vm->merge_end.why);
	pthread_mutex_unlock(&vm->lock);
	return fault_set(m->w.f, FAULT_VM_WORKER_FAILED, "lun", NULL,
	    "the merge has ended, and the disk is what it was%s%s", why[0] ? ": " : "", why);
}

static int
lost(struct merge *m)
{
	return fault_set(m->w.f, FAULT_VM_WORKER_LOST, "lun",
	    "merge it again: what was merged so far stays valid",
	    "the machine has ended, and its disk is what it was");
}

static bool
is_same_run(const struct merge *m)
{
	struct vm *vm = m->w.vm;
	bool same;

	pthread_mutex_lock(&vm->lock);
	same = vm->keeper && vm->runs == m->run;
	pthread_mutex_unlock(&vm->lock);
	return same;
}

static int
cancel(struct merge *m)
{
	if (disk_live_cancel(m->w.vm, m->note, m->w.f) < 0) {
		m->unsettled = true;
		return -1;
	}
	return fault_set(m->w.f, FAULT_CANCELLED, NULL, NULL, "cancelled: the disk is what it was");
}

static int
silent(struct merge *m)
{
	m->unsettled = true;
	return fault_set(m->w.f, FAULT_VM_WORKER_FAILED, "vm", NULL,
	    "its worker does not say any more how far the merge is");
}

/* Until the parent has everything. */
static int
follow(struct merge *m)
{
	uint64_t done, total, heard = vm_now_ms();

	for (;; job_sleep(m->w.c->job, LOOK_MS)) {
		enum live_state state;

		if (!is_same_run(m))
			return lost(m);
		if (job_cancelled(m->w.c->job))
			return cancel(m);
		state = disk_live_state(m->w.vm, m->note, &done, &total);
		if (state == LIVE_MERGED)
			return 0;
		if (state == LIVE_NONE)
			return ended_by_itself(m);
		if (state == LIVE_MOVING) {
			job_progress(m->w.c->job, "merge", done, total, "bytes");
			heard = vm_now_ms();
		} else if (vm_now_ms() - heard > SILENT_MS) {
			return silent(m);
		}
	}
}

/* The parent has everything. */
static int
complete(struct merge *m)
{
	struct disk_work *w = &m->w;
	struct fault unused = { 0 };
	int rc;

	if (!is_same_run(m))
		return lost(m);
	rc = disk_live_name_parent(&w->ch, m->note, w->f);
	if (rc < 0) {
		go_back(m);
		return rc;
	}
	rc = disk_live_complete(&w->ch, m->note, w->f);
	if (rc == 0)
		return 0;
	/* The images are named again first: from then on they alone may be written to. */
	if (disk_live_name_images(&w->ch, m->note, &unused) == 0)
		go_back(m);
	else
		m->unsettled = true;
	return rc;
}

static int
delete_images(struct merge *m)
{
	struct fault why = { 0 };

	if (!m->note->remove || disk_live_delete(m->w.ch.ms, &m->w.at, m->note, &why) == 0)
		return 0;
	m->unsettled = true;
	return fault_set(m->w.f, FAULT_STORAGE, "delete", why.hint, "it is merged, but %s", why.message);
}

/* In a turn of its own. */
static int
finish(struct merge *m)
{
	struct vm_disk is = m->disk;
	struct disk_work *w = &m->w;
	int rc = disk_work_enter(w);

	if (rc < 0) {
		go_back(m);
		return rc;
	}
	rc = complete(m);
	if (rc == 0) {
		text_copy(is.path, sizeof(is.path), m->note->parent);
		disk_work_done(w, &is);
		rc = delete_images(m);
	}
	disk_work_leave(w);
	return rc;
}

/* In its first turn, which ends here. */
static int
merge_live(struct merge *m)
{
	struct disk_work *w = &m->w;
	int rc = disk_live_claim(&w->ch, m->note, w->f);

	if (rc < 0) {
		disk_work_leave(w);
		return rc;
	}
	pthread_mutex_lock(&w->vm->lock);
	m->run = w->vm->runs;
	w->vm->merge_end.told = false;
	pthread_mutex_unlock(&w->vm->lock);
	rc = ask_merge(m);
	disk_work_leave(w);
	if (rc == 0)
		rc = follow(m);
	if (rc == 0)
		rc = finish(m);
	disk_live_release(w->c->agent->machines, w->vm, m->note, !m->unsettled);
	return rc;
}

/* --- while it is off --------------------------------------------------------------------------------------
 */

static int
merge_off(struct merge *m)
{
	struct disk_work *w = &m->w;
	struct vhd_work v;
	int rc;

	as_image(m, &v);
	disk_work_leave(w);
	rc = vhd_merge(&v);
	if (rc < 0 || w->c->dry_run)
		return rc;
	rc = disk_work_enter(w);
	if (rc < 0)
		return rc;
	rc = disk_work_find_disk(w, &m->disk);
	if (rc == 0)
		rc = disk_work_done(w, &m->disk);
	disk_work_leave(w);
	return rc;
}

/* --- both -------------------------------------------------------------------------------------------------
 */

static int
note_merge(struct merge *m)
{
	const struct disk_note *n = m->note;

	if (call_would(m->w.c, "put what %s holds into %s, while %s runs", n->image[0], n->parent,
		m->w.ch.is->name) &&
	    n->remove)
		for (size_t i = 0; i < n->images; i++)
			call_would(m->w.c, "delete %s", n->image[i]);
	disk_work_leave(&m->w);
	return 0;
}

static int
carry_out(struct merge *m)
{
	int rc = disk_work_enter(&m->w);

	if (rc < 0)
		return rc;
	rc = begin(m);
	if (rc < 0) {
		disk_work_leave(&m->w);
		return rc;
	}
	if (!m->w.ch.runs)
		return merge_off(m);
	return m->w.c->dry_run ? note_merge(m) : merge_live(m);
}

int
disk_call_merge(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct merge *m = calloc(1, sizeof(*m));
	int rc = -1;

	if (!m)
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	m->w = (struct disk_work){ .c = c, .p = params, .result = result, .f = f };
	m->w.vm = call_vm(c, m->w.p->vm, f);
	if (m->w.vm)
		rc = carry_out(m);
	vm_put(m->w.vm);
	free(m->note);
	free(m);
	return rc;
}
