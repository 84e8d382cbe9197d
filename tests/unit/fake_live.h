/*
 * tests/unit/fake_live.h - children and merges of a worker that is a thread of the test (fake_vm.h, which
 * includes this): descriptors and locks move as in a real one, no data does. The test says when all is
 * merged.
 */
#ifndef TESTS_UNIT_FAKE_LIVE_H
#define TESTS_UNIT_FAKE_LIVE_H

#include "hypervisor/disk/lock.h"
#include "hypervisor/worker/disks.h"

enum { FAKE_MERGE_SIZE = 64 << 20 };

/* Before a request is carried out, and before it is answered; the test may have it refused. */
static int
fake_look(const char *method, bool done, struct err *e)
{
	return fake.hook && fake.hook(method, done) ? err_set(e, EIO, "%s: it was told not to", method) : 0;
}

static bool
fake_same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

static int
fake_do_branch(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	struct disk_params *p = params;
	struct fake_unit *u = NULL;
	struct unit *is;
	int rc;

	(void)result;
	rc = fake_look("disk.branch", false, e);
	if (rc == 0)
		rc = fake_refused("disk.branch", -1, e);
	if (rc == 0)
		rc = fake_find_unit(w, p, &u, e);
	if (rc == 0 && u && u->merge != MERGE_NONE)
		rc = err_set(e, EBUSY, "it is being merged");
	if (rc == 0 && fake.stale > 0 && fake.stale--)
		rc = err_set(e, ESTALE, "the parent has changed since");
	if (rc == 0)
		rc = disk_lock(p->unit.file, true, e);
	if (rc < 0 || !u) {
		close(p->unit.file);
		return rc;
	}
	pthread_mutex_lock(&w->lock);
	is = &u->told.unit;
	memmove(&is->parent[1], &is->parent[0], is->parents++ * sizeof(is->parent[0]));
	is->parent[0].file = is->file;
	disk_lock(is->file, false, NULL);
	is->file = p->unit.file;
	pthread_mutex_unlock(&w->lock);
	return fake_look("disk.branch", true, e);
}

static int
fake_check_merge(struct fake_worker *w, const struct disk_params *p, struct fake_unit **u, struct err *e)
{
	int rc = fake_refused("disk.merge", -1, e);
	const struct unit *is;

	if (rc == 0)
		rc = fake_find_unit(w, p, u, e);
	if (rc < 0)
		return rc;
	is = &(*u)->told.unit;
	if ((*u)->merge != MERGE_NONE)
		return err_set(e, EBUSY, "it is being merged");
	if (p->levels > is->parents || !fake_same_file(p->unit.file, is->parent[p->levels - 1].file))
		return err_set(e, EINVAL, "File is not the file that is in the disk's chain");
	if (p->levels > 1 && (p->above < 0 || !fake_same_file(p->above, is->parent[p->levels - 2].file)))
		return err_set(e, EINVAL, "Above is not the file that is in the disk's chain");
	disk_unlock(is->parent[p->levels - 1].file);
	return disk_lock(p->unit.file, true, e);
}

static int
fake_do_merge(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	struct disk_params *p = params;
	struct fake_unit *u = NULL;
	int rc;

	(void)result;
	rc = fake_look("disk.merge", false, e);
	if (rc == 0)
		rc = fake_check_merge(w, p, &u, e);
	if (p->above >= 0)
		close(p->above);
	if (rc < 0 || !u) {
		close(p->unit.file);
		return rc;
	}
	pthread_mutex_lock(&w->lock);
	u->merge = MERGE_MOVING;
	u->levels = p->levels;
	u->merge_file = p->unit.file;
	pthread_mutex_unlock(&w->lock);
	return fake_look("disk.merge", true, e);
}

static int
fake_do_complete(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	struct fake_unit *u = NULL;
	struct unit *is;
	int rc;

	(void)result;
	rc = fake_look("disk.merge.complete", false, e);
	if (rc == 0)
		rc = fake_refused("disk.merge.complete", -1, e);
	if (rc == 0)
		rc = fake_find_unit(w, params, &u, e);
	if (rc == 0 && u && u->merge != MERGE_DONE)
		rc = err_set(e, u->merge ? EBUSY : EINVAL, "it is not so far");
	if (rc < 0 || !u)
		return rc;
	pthread_mutex_lock(&w->lock);
	is = &u->told.unit;
	close(is->file);
	for (uint64_t i = 0; i < u->levels; i++)
		close(is->parent[i].file);
	is->parents -= u->levels;
	memmove(&is->parent[0], &is->parent[u->levels], is->parents * sizeof(is->parent[0]));
	is->file = u->merge_file;
	u->merge = MERGE_NONE;
	pthread_mutex_unlock(&w->lock);
	return fake_look("disk.merge.complete", true, e);
}

static void
fake_end_merge(struct fake_worker *w, struct fake_unit *u, const char *why)
{
	const struct unit *is = &u->told.unit;

	pthread_mutex_lock(&w->lock);
	close(u->merge_file);
	disk_lock(is->parent[u->levels - 1].file, false, NULL);
	u->merge = MERGE_NONE;
	pthread_mutex_unlock(&w->lock);
	control_event(w->control, "disk",
	    json_pack("{s:s, s:I, s:I, s:s}", "What", "MergeEnded", "Controller", (json_int_t)is->controller,
		"Lun", (json_int_t)is->lun, "Error", why));
}

static int
fake_do_cancel(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	struct fake_unit *u = NULL;

	(void)result;
	if (fake_refused("disk.merge.cancel", -1, e) < 0 || fake_find_unit(w, params, &u, e) < 0 || !u)
		return -e->code;
	if (u->merge == MERGE_NONE)
		return err_set(e, EINVAL, "it is not being merged");
	fake_end_merge(w, u, "it was cancelled");
	return 0;
}

/* All that is being merged is: or comes to its end before that. */
static void
fake_merge_on(struct fake_worker *w, bool merged)
{
	for (unsigned i = 0; i < MACHINE_MAX_SCSI * STORAGE_UNITS; i++) {
		struct fake_unit *u = &w->unit[i / STORAGE_UNITS][i % STORAGE_UNITS];

		if (!u->used || u->merge == MERGE_NONE)
			continue;
		if (!merged) {
			fake_end_merge(w, u, "write: Input/output error");
			continue;
		}
		pthread_mutex_lock(&w->lock);
		u->merge = MERGE_DONE;
		pthread_mutex_unlock(&w->lock);
		fake_disk_event(w, "Merged", u->told.unit.controller, u->told.unit.lun);
	}
}

#endif
