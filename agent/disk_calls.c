/* agent/disk_calls.c - disk.add, disk.remove, disk.set and disk.resize. */
#include "agent/disk_calls.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/disk_work.h"
#include "agent/vm_keeper.h"

/* --- add ---------------------------------------------------------------------------------------------- */

static void
take_settings(const struct disk_params *p, struct vm_disk *d)
{
	d->read_only = p->read_only;
	d->sector = p->sector;
	d->pause_when_full = p->pause_when_full;
	d->min_iops = p->min_iops;
	d->max_iops = p->max_iops;
	d->max_bytes = p->max_bytes;
	memcpy(d->serial, p->serial, sizeof(d->serial));
}

/* Of a new disk: what was asked for, what its name says, its parent's, VHDX. */
static enum vm_disk_format
new_format(const struct disk_work *w)
{
	const struct disk_params *p = w->p;

	if (call_has(w->c, "format"))
		return (enum vm_disk_format)p->format;
	if (strchr(p->name, '.'))
		return image_format_of(p->name);
	return call_has(w->c, "parent") ? image_format_of(p->parent) : VM_VHDX;
}

static int
check_new(const struct disk_work *w, const struct vm_disk *d)
{
	bool child = call_has(w->c, "parent"), differencing = w->p->type == IMAGE_DIFFERENCING;

	if (d->read_only)
		return fault_set(w->f, FAULT_BAD_PARAMS, "readOnly", NULL,
		    "a new disk that cannot be written stays empty");
	if (differencing && !child)
		return fault_set(w->f, FAULT_BAD_PARAMS, "parent", NULL,
		    "a differencing disk is made on a parent: say which");
	if (child && call_has(w->c, "type") && !differencing)
		return fault_set(
		    w->f, FAULT_BAD_PARAMS, "type", NULL, "a disk with a parent is a differencing one");
	if (child && d->format == VM_RAW)
		return fault_set(w->f, FAULT_BAD_PARAMS, "parent", "vhd.convert makes a VHDX of it",
		    "only VHD and VHDX images have parents and children");
	if (!child && d->format == VM_VHD && w->p->sector != 512)
		return fault_set(
		    w->f, FAULT_BAD_PARAMS, "sectorSize", NULL, "the sectors of a VHD have 512 bytes");
	return 0;
}

/* The parent of a new disk, with all of its own. */
static int
take_parent(struct disk_work *w, const struct vm_disk *d)
{
	struct vm_disk parent = { .read_only = true };
	struct err e = { 0 };
	int rc;

	if (disk_file_tidy(&w->at, w->p->parent, parent.path, sizeof(parent.path), &e) < 0)
		return fault_err(w->f, FAULT_FILE_BAD, "parent", "file.list shows what there is", &e);
	rc = disk_work_may_use(w, &parent);
	if (rc == 0)
		rc = disk_work_try_file(w, &parent);
	if (rc == 0)
		rc = image_chain_read(&w->chain, w->c->agent, &w->at, parent.path, d->format, w->f);
	w->is_parent = rc == 0;
	return rc;
}

static int
plan_new(struct disk_work *w, struct vm_disk *d)
{
	uint64_t size = disk_work_whole_mib(w->p->size);
	int rc;

	d->format = new_format(w);
	rc = check_new(w, d);
	if (rc == 0 && call_has(w->c, "parent"))
		rc = take_parent(w, d);
	if (rc == 0 && w->chain && size == 0)
		size = w->chain->size;
	return rc < 0 ? rc : disk_work_plan_file(w, d, size);
}

static int
plan_existing(struct disk_work *w, struct vm_disk *d)
{
	static const char *const of_new[] = { "name", "type", "blockSize", "physicalSectorSize" };
	int rc;

	for (size_t i = 0; i < sizeof(of_new) / sizeof(of_new[0]); i++)
		if (call_has(w->c, of_new[i]))
			return fault_set(w->f, FAULT_BAD_PARAMS, of_new[i], NULL,
			    "that is for a new disk: one that is there has its own");
	rc = disk_work_take_path(w, d);
	if (rc < 0)
		return rc;
	d->format = call_has(w->c, "format") ? w->p->format
		    : d->path[0] == '/'      ? VM_RAW
					     : image_format_of(d->path);
	if (d->format == VM_RAW || d->path[0] == '/')
		return 0;
	d->sector = 512; /* the image says itself */
	rc = disk_work_try_file(w, d);
	return rc < 0 ? rc : image_chain_read(&w->chain, w->c->agent, &w->at, d->path, d->format, w->f);
}

static int
add_disk(struct disk_work *w)
{
	bool make = call_has(w->c, "size") || call_has(w->c, "parent");
	char size[32];
	struct vm_disk d = { 0 };
	int rc;

	vm_disk_defaults(&d);
	take_settings(w->p, &d);
	if (make == call_has(w->c, "path"))
		return fault_set(w->f, FAULT_BAD_PARAMS, make ? "path" : "size", NULL,
		    "give the size of a new disk, or the path of one that is there");
	rc = disk_work_free_place(w, &d);
	if (rc == 0)
		rc = make ? plan_new(w, &d) : plan_existing(w, &d);
	if (rc == 0)
		rc = disk_work_try_document(w, &d);
	if (rc == 0 && !make)
		rc = disk_work_try_file(w, &d);
	if (rc < 0)
		return rc;
	if (make && call_would(w->c, "make the disk %s of %s%s%s", d.path,
			disk_work_size_text(
			    w->p->size || !w->chain ? disk_work_whole_mib(w->p->size) : w->chain->size, size),
			w->is_parent ? " on " : "", w->is_parent ? w->chain->path[0] : ""))
		(void)size;
	if (call_would(w->c, "attach %s to %s as disk %llu:%llu, %s", d.path, w->ch.is->name,
		(unsigned long long)d.controller, (unsigned long long)d.lun, disk_work_when(w)))
		return 0;
	return disk_work_attach(w, &d, make);
}

int
disk_call_add(struct call *c, const void *params, json_t *result, struct fault *f)
{
	return disk_work_carry_out(c, params, result, f, add_disk);
}

/* --- remove ------------------------------------------------------------------------------------------- */

static int
remove_disk(struct disk_work *w)
{
	struct vm_disk d = { 0 };
	struct err e = { 0 };
	int rc = disk_work_find_any(w, &d);

	if (rc == 0 && w->p->delete_file)
		rc = disk_work_may_delete_file(w, &d);
	if (rc < 0)
		return rc;
	if (call_would(w->c, "take %s %llu:%llu, %s, from %s%s", d.type == VM_DVD ? "DVD drive" : "disk",
		(unsigned long long)d.controller, (unsigned long long)d.lun, d.path[0] ? d.path : "empty",
		w->ch.is->name, w->p->delete_file ? ", and delete its file" : ""))
		return 0;
	rc = disk_work_detach(w, &d);
	if (rc == 0)
		rc = disk_work_done(w, &d);
	if (rc == 0 && w->p->delete_file && disk_file_delete(&w->at, d.path, &e) < 0 && e.code != ENOENT)
		rc = fault_set(w->f, FAULT_STORAGE, "deleteFile", NULL,
		    "the disk is removed, but its file is not deleted: %s", e.msg);
	return rc;
}

int
disk_call_remove(struct call *c, const void *params, json_t *result, struct fault *f)
{
	return disk_work_carry_out(c, params, result, f, remove_disk);
}

/* --- set ---------------------------------------------------------------------------------------------- */

static int
ask_limits(struct disk_work *w, const struct vm_disk *d, struct err *why)
{
	json_t *params = json_pack("{s:I, s:I, s:I, s:I, s:I}", "Controller", (json_int_t)d->controller,
	    "Lun", (json_int_t)d->lun, "MinimumIops", (json_int_t)d->min_iops, "MaximumIops",
	    (json_int_t)d->max_iops, "MaximumBytesPerSecond", (json_int_t)d->max_bytes);

	return vm_disks_ask(&w->ch, "disk.limit", params, NULL, NULL, why);
}

static bool
same_limits(const struct vm_disk *a, const struct vm_disk *b)
{
	return a->min_iops == b->min_iops && a->max_iops == b->max_iops && a->max_bytes == b->max_bytes;
}

/* What was given, into d. */
static int
take_changes(struct disk_work *w, struct vm_disk *d)
{
	const struct disk_params *p = w->p;
	bool was_read_only = d->read_only;

	if (call_has(w->c, "minimumIops"))
		d->min_iops = p->min_iops;
	if (call_has(w->c, "maximumIops"))
		d->max_iops = p->max_iops;
	if (call_has(w->c, "maximumBytesPerSecond"))
		d->max_bytes = p->max_bytes;
	if (call_has(w->c, "pauseWhenFull"))
		d->pause_when_full = p->pause_when_full;
	if (call_has(w->c, "readOnly"))
		d->read_only = p->read_only;
	if (d->read_only == was_read_only)
		return 0;
	if (w->ch.runs)
		return fault_set(w->f, FAULT_VM_WRONG_STATE, "readOnly", "stop the machine first",
		    "'%s' is running: whether it may write to a disk is fixed until it is off",
		    w->ch.is->name);
	return disk_work_may_use(w, d);
}

/* *asked: the worker has the new limits. */
static int
set_in_worker(struct disk_work *w, const struct vm_disk *was, const struct vm_disk *is, bool *asked)
{
	struct err why;
	int rc;

	*asked = false;
	if (!w->ch.runs || same_limits(was, is))
		return 0;
	rc = ask_limits(w, is, &why);
	*asked = rc == 0;
	if (rc == -ENOENT)
		w->effect = DISK_EFFECT_NEXT_START;
	else if (rc < 0)
		return keeper_fault(w->f, &why);
	return 0;
}

/* What disk.set may change. */
static bool
same_settings(const struct vm_disk *a, const struct vm_disk *b)
{
	return a->read_only == b->read_only && a->pause_when_full == b->pause_when_full && same_limits(a, b);
}

static int
set_disk(struct disk_work *w)
{
	struct vm_disk was = { 0 }, is;
	struct err unused;
	bool asked, later;
	int rc = disk_work_find_disk(w, &was);

	is = was;
	if (rc == 0)
		rc = take_changes(w, &is);
	if (rc == 0)
		rc = disk_work_try_document(w, &is);
	if (rc < 0)
		return rc;
	later = w->ch.runs && is.pause_when_full != was.pause_when_full;
	json_object_set_new(w->result, "restart", later ? json_pack("[s]", "pauseWhenFull") : json_array());
	if (same_settings(&was, &is))
		return disk_work_unchanged(w);
	if (call_would(w->c, "change the settings of disk %llu:%llu of %s, %s%s",
		(unsigned long long)is.controller, (unsigned long long)is.lun, w->ch.is->name,
		disk_work_when(w), later ? "; pauseWhenFull at its next start" : ""))
		return 0;
	if (later && same_limits(&was, &is))
		w->effect = DISK_EFFECT_NEXT_START;
	rc = set_in_worker(w, &was, &is, &asked);
	if (rc == 0)
		rc = vm_disks_write(&w->ch, &is, false, w->f);
	if (rc < 0 && asked)
		ask_limits(w, &was, &unused);
	return rc < 0 ? rc : disk_work_done(w, &is);
}

int
disk_call_set(struct call *c, const void *params, json_t *result, struct fault *f)
{
	return disk_work_carry_out(c, params, result, f, set_disk);
}

/* --- resize ------------------------------------------------------------------------------------------- */

static int
tell_size(struct disk_work *w, const struct vm_disk *d, uint64_t size)
{
	struct err why;
	int rc;

	if (!w->ch.runs)
		return 0;
	rc = vm_disks_ask(&w->ch, "disk.resized",
	    json_pack("{s:I, s:I, s:I}", "Controller", (json_int_t)d->controller, "Lun", (json_int_t)d->lun,
		"SizeInBytes", (json_int_t)size),
	    NULL, NULL, &why);
	if (rc == -ENOENT)
		w->effect = DISK_EFFECT_NEXT_START;
	return rc < 0 && rc != -ENOENT ? keeper_fault(w->f, &why) : 0;
}

/* A file grows, then the worker hears of it; a device has grown by itself. */
static int
grow(struct disk_work *w, const struct vm_disk *d, int fd, uint64_t from, uint64_t to)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0 || (S_ISREG(st.st_mode) && ftruncate(fd, (off_t)to) < 0) || fsync(fd) < 0)
		return fault_set(w->f, errno == EFBIG ? FAULT_BAD_PARAMS : FAULT_STORAGE, "size", NULL,
		    "%s: %s", d->path, strerror(errno));
	rc = tell_size(w, d, to);
	/* Nobody has seen the end yet. */
	if (rc < 0 && S_ISREG(st.st_mode) && ftruncate(fd, (off_t)from) < 0)
		fault_set(w->f, FAULT_STORAGE, "size", NULL,
		    "%s has grown, but the running machine does not know: %s", d->path, strerror(errno));
	if (rc < 0)
		return rc;
	json_object_set_new(w->result, "size", json_integer((json_int_t)to));
	return disk_work_done(w, d);
}

static int
check_growth(struct disk_work *w, const struct vm_disk *d, int fd, uint64_t from, uint64_t to)
{
	char is[32], wanted[32];
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISBLK(st.st_mode))
		return to == from ? 0
				  : fault_set(w->f, FAULT_BAD_PARAMS, "size",
					"resize the device itself, then give its size here",
					"%s is a block device and has %llu bytes", d->path,
					(unsigned long long)from);
	if (to < from)
		return fault_set(w->f, FAULT_BAD_PARAMS, "size", "make a smaller disk and copy to it",
		    "%s has %s and cannot shrink to %s: what is behind that would be lost", d->path,
		    disk_work_size_text(from, is), disk_work_size_text(to, wanted));
	return disk_work_check_room(w, to - from);
}

static int
resize_open(struct disk_work *w, const struct vm_disk *d, int fd)
{
	uint64_t from = 0, to = w->p->size;
	char a[32], b[32];
	struct err e = { 0 };
	struct stat st;
	bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	int rc = disk_file_size(fd, &from, &e);

	if (rc < 0)
		return fault_err(w->f, FAULT_STORAGE, "size", NULL, &e);
	if (regular && to != from)
		to = disk_work_whole_mib(to);
	rc = check_growth(w, d, fd, from, to);
	if (rc < 0)
		return rc;
	json_object_set_new(w->result, "size", json_integer((json_int_t)to));
	if (to == from && regular)
		return disk_work_unchanged(w);
	if (call_would(w->c, "grow %s from %s to %s, %s", d->path, disk_work_size_text(from, a),
		disk_work_size_text(to, b), disk_work_when(w)))
		return 0;
	return grow(w, d, fd, from, to);
}

/* VHD, VHDX: the tool does it, while nobody uses the file. */
static int
resize_image(struct disk_work *w, const struct vm_disk *d)
{
	uint64_t to = disk_work_whole_mib(w->p->size);
	struct disk_tool t;
	char whole[PATH_MAX], a[32], b[32];
	int rc = image_chain_read(&w->chain, w->c->agent, &w->at, d->path, d->format, w->f);

	if (rc < 0)
		return rc;
	if (to < w->chain->size)
		return fault_set(w->f, FAULT_BAD_PARAMS, "size",
		    "vhd.resize makes it smaller, if its end is empty",
		    "%s has %s and is not made smaller here", d->path,
		    disk_work_size_text(w->chain->size, a));
	json_object_set_new(w->result, "size", json_integer((json_int_t)to));
	if (to == w->chain->size)
		return disk_work_unchanged(w);
	rc = disk_work_check_room(w, to - w->chain->size);
	if (rc < 0 ||
	    call_would(w->c, "grow %s from %s to %s, %s", d->path, disk_work_size_text(w->chain->size, a),
		disk_work_size_text(to, b), disk_work_when(w)))
		return rc;
	image_whole_path(&w->at, d->path, whole);
	disk_tool_begin(&t, w->c->agent, "resize");
	disk_tool_add(&t, "-f%s", image_format_word(d->format));
	disk_tool_write(&t, whole);
	disk_tool_add(&t, "%s", whole);
	disk_tool_add(&t, "%llu", (unsigned long long)to);
	rc = disk_tool_run(&t, NULL, NULL, w->f);
	return rc < 0 ? rc : disk_work_done(w, d);
}

static int
resize_disk(struct disk_work *w)
{
	const struct disk_place *at = &w->at;
	struct vm_disk d = { 0 };
	struct err e = { 0 };
	int fd, rc = disk_work_find_disk(w, &d);

	if (rc == 0 && d.read_only)
		rc = fault_set(
		    w->f, FAULT_BAD_PARAMS, "lun", NULL, "the disk is only read, and keeps its size");
	if (rc == 0)
		rc = disk_work_may_use(w, &d);
	if (rc == 0 && !w->ch.runs)
		rc = disk_work_try_file(w, &d); /* whoever runs has the lock */
	if (rc == 0 && d.format != VM_RAW && w->ch.runs)
		rc = fault_set(w->f, FAULT_VM_WRONG_STATE, "lun", "stop the machine first",
		    "'%s' is running: a %s disk is resized while it is off", w->ch.is->name,
		    vm_disk_formats[d.format]);
	if (rc < 0)
		return rc;
	if (d.format != VM_RAW)
		return resize_image(w, &d);
	fd = disk_file_open(at, d.path, USE_GROW, 0, NULL, &e);
	if (fd < 0)
		return fault_set(w->f, e.code == ENOENT ? FAULT_FILE_NOT_FOUND : FAULT_FILE_BAD, "lun", NULL,
		    "%s: %s", d.path, e.msg);
	rc = resize_open(w, &d, fd);
	close(fd);
	return rc;
}

int
disk_call_resize(struct call *c, const void *params, json_t *result, struct fault *f)
{
	return disk_work_carry_out(c, params, result, f, resize_disk);
}
