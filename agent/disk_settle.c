/* agent/disk_settle.c - what becomes of a change of a disk's images that was broken off. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/disk_image.h"
#include "agent/disk_live.h"
#include "agent/vm_life.h"
#include "lib/log.h"
#include "lib/text.h"

/* One that is being settled. */
struct settling {
	struct disks_change *ch;
	struct disk_place at;
	const struct disk_note *note;
	struct fault *f;
};

/* --- a child ----------------------------------------------------------------------------------------------
 */

static bool
fits(const struct settling *s)
{
	struct image_chain *chain = NULL;
	struct fault unused = { 0 };
	int rc = image_chain_read(
	    &chain, s->ch->ms->agent, &s->at, s->note->image[0], s->note->format, &unused);

	image_chain_free(chain);
	return rc == 0;
}

/* Whether nothing was ever written to it. */
static int
check_empty(const struct settling *s)
{
	struct disk_tool t;
	char whole[PATH_MAX];
	json_t *info = NULL;
	bool empty;
	int rc;

	image_whole_path(&s->at, s->note->image[0], whole);
	disk_tool_begin(&t, s->ch->ms->agent, "info");
	disk_tool_add(&t, "--json");
	disk_tool_add(&t, "-f%s", image_format_word(s->note->format));
	disk_tool_read(&t, whole);
	disk_tool_add(&t, "%s", whole);
	rc = disk_tool_run(&t, NULL, &info, s->f);
	empty = json_is_integer(json_object_get(info, "allocated")) &&
		json_integer_value(json_object_get(info, "allocated")) == 0 &&
		!json_is_true(json_object_get(info, "dirty"));
	json_decref(info);
	if (rc == 0 && !empty)
		rc = fault_set(s->f, FAULT_FILE_BAD, "lun", "vhd.get tells of both",
		    "%s does not fit %s, and has data of its own", s->note->image[0], s->note->parent);
	return rc;
}

/* The tool has another name for an image that it has not finished. */
static void
delete_half(const struct settling *s)
{
	const char *name = strrchr(s->note->image[0], '/');
	char folder[PATH_MAX], whole[PATH_MAX];

	image_folder(&s->at, s->note->image[0], folder);
	if (name && snprintf(whole, sizeof(whole), "%s/.%s.new", folder, name + 1) < (int)sizeof(whole))
		unlink(whole);
}

/* What was written to it stays: somebody has taken the disk away meanwhile. */
static int
delete_child(const struct settling *s)
{
	struct fault unused = { 0 };
	struct settling quiet = *s;
	char whole[PATH_MAX];

	quiet.f = &unused;
	delete_half(s);
	image_whole_path(&s->at, s->note->image[0], whole);
	if (access(whole, F_OK) < 0 || disk_live_is_held(&s->at, s->note->image[0]) ||
	    check_empty(&quiet) < 0)
		return 0;
	return disk_live_delete(s->ch->ms, &s->at, s->note, s->f);
}

static int
settle_branch(const struct settling *s)
{
	const struct disk_note *n = s->note;

	if (!disk_live_is_named(s->ch, n, n->image[0]))
		return delete_child(s);
	if (s->ch->runs ? disk_live_is_held(&s->at, s->note->image[0]) : fits(s))
		return 0;
	if (check_empty(s) < 0 || disk_live_name_parent(s->ch, n, s->f) < 0)
		return -1;
	return delete_child(s);
}

/* --- a merge ----------------------------------------------------------------------------------------------
 */

/* *merged: vm.json names the parent. It does not any more if the merge has ended before the worker was told.
 */
static int
end_in_worker(const struct settling *s, bool *merged)
{
	uint64_t done, total;
	enum live_state state = disk_live_state(s->ch->vm, s->note, &done, &total);
	int rc;

	if (state == LIVE_UNKNOWN)
		return fault_set(s->f, FAULT_VM_WORKER_FAILED, "vm", "try again in a moment",
		    "its worker does not answer");
	if (!*merged)
		return disk_live_cancel(s->ch->vm, s->note, s->f);
	rc = disk_live_complete(s->ch, s->note, s->f);
	if (rc != -ECANCELED)
		return rc;
	*merged = false;
	return disk_live_name_images(s->ch, s->note, s->f);
}

static int
settle_merge(const struct settling *s)
{
	bool merged = disk_live_is_named(s->ch, s->note, s->note->parent);
	int rc = s->ch->runs ? end_in_worker(s, &merged) : 0;
	struct fault why = { 0 };

	if (rc == 0 && merged && s->note->remove &&
	    disk_live_delete(s->ch->ms, &s->at, s->note, &why) < 0) /* no reason to hold up others */
		log_msg(LOG_WARN, "%s: %s", s->ch->is->name, why.message);
	return rc;
}

/* --- any --------------------------------------------------------------------------------------------------
 */

static int
settle(struct disks_change *ch, uint64_t controller, uint64_t lun, struct fault *f)
{
	static int (*const by_kind[])(const struct settling *s) = {
		[NOTE_BRANCH] = settle_branch,
		[NOTE_MERGE] = settle_merge,
	};
	const struct vm_disk place = { .controller = controller, .lun = lun };
	struct disk_note *n = disk_note_new(0, &place);
	struct settling s = { ch, { ch->ms->data, ch->is->name }, n, f };
	struct err e = { 0 };
	int rc = n ? disk_note_read(&s.at, controller, lun, n, &e) : -ENOMEM;

	if (rc < 0) {
		free(n);
		return rc == -ENOENT ? 0 : fault_err(f, FAULT_STORAGE, "lun", NULL, &e);
	}
	rc = by_kind[n->kind](&s);
	if (rc == 0) {
		log_msg(LOG_INFO, "%s: disk %u:%u: what was broken off is settled", ch->is->name,
		    (unsigned)controller, (unsigned)lun);
		if (disk_note_remove(&s.at, n, &e) < 0)
			rc = fault_err(f, FAULT_STORAGE, "lun", NULL, &e);
	}
	free(n);
	return rc;
}

static bool
is_claimed(struct vm *vm, uint64_t controller, uint64_t lun)
{
	bool claimed;

	pthread_mutex_lock(&vm->lock);
	claimed = vm->claimed[controller] >> lun & 1;
	pthread_mutex_unlock(&vm->lock);
	return claimed;
}

int
disk_live_free(struct disks_change *ch, uint64_t controller, uint64_t lun, bool dry_run, struct fault *f)
{
	if (is_claimed(ch->vm, controller, lun))
		return fault_set(f, FAULT_DISK_IN_USE, "lun", "job.list tells of it, job.cancel ends it",
		    "disk %u:%u of '%s' is being merged", (unsigned)controller, (unsigned)lun, ch->is->name);
	return dry_run ? 0 : settle(ch, controller, lun, f);
}

static void
settle_all(struct disks_change *ch, const uint64_t places[VM_MAX_CONTROLLERS])
{
	for (unsigned i = 0; i < VM_MAX_CONTROLLERS * VM_CONTROLLER_UNITS; i++) {
		unsigned controller = i / VM_CONTROLLER_UNITS, lun = i % VM_CONTROLLER_UNITS;
		struct fault f = { 0 };

		if (!(places[controller] >> lun & 1) || is_claimed(ch->vm, controller, lun))
			continue;
		if (settle(ch, controller, lun, &f) < 0)
			log_msg(LOG_ERROR, "%s: disk %u:%u: a change of its images was broken off: %s",
			    ch->is->name, controller, lun, f.message);
	}
}

void
disk_live_settle(struct machines *ms, struct vm *vm)
{
	uint64_t places[VM_MAX_CONTROLLERS];
	char name[VM_NAME_SIZE];
	const struct disk_place at = { ms->data, name };
	struct disks_change ch;
	struct fault f = { 0 };

	pthread_mutex_lock(&vm->lock);
	text_copy(name, sizeof(name), vm->name);
	pthread_mutex_unlock(&vm->lock);
	if (!disk_note_places(&at, places))
		return;
	if (vm_disks_begin(&ch, ms, vm, &f) < 0) {
		log_msg(LOG_ERROR, "%s: a change of its disks was broken off: %s", name, f.message);
		return;
	}
	settle_all(&ch, places);
	vm_disks_end(&ch);
}
