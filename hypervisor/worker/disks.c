/* hypervisor/worker/disks.c - storage controllers, their I/O threads and their units; news from there. */
#include "hypervisor/worker/disks_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor/disk/lock.h"
#include "lib/guid.h"
#include "lib/log.h"
#include "lib/rate.h"

enum {
	NEWS_BURST = 10, /* of one unit */
	NEWS_PER_SECOND = 1,
	PAUSE_MS = 30000,
	DVD_SECTOR = 2048
};

const char *const format_names[] = { [DISK_RAW] = "Raw", [DISK_VHD] = "VHD", [DISK_VHDX] = "VHDX", NULL };
const char *const unit_kinds[] = { [UNIT_DISK] = "VirtualDisk", [UNIT_DVD] = "Dvd", NULL };

const char *const merge_names[] = {
	[MERGE_NONE] = "None", [MERGE_MOVING] = "Moving", [MERGE_DONE] = "Merged", NULL
};

/* By what the event calls it. */
static const char *const news_names[NEWS_KINDS] = {
	[NEWS_FULL] = "Full",
	[NEWS_EJECTED] = "Ejected",
	[NEWS_SLOW] = "Slow",
	[NEWS_FAILED] = "Failed",
	[NEWS_REMOVED] = "Removed",
	[NEWS_MERGED] = "Merged",
	[NEWS_MERGE_ENDED] = "MergeEnded",
};

/* --- news ------------------------------------------------------------------------------------------ */

/* What says nothing new, or too often. */
static bool
to_be_dropped(struct slot *s, const struct news *n)
{
	struct timespec t;

	if (n->kind == NEWS_FULL) {
		bool again = s->full;

		s->full = true;
		return again;
	}
	if (n->kind == NEWS_FAILED && n->error == -ENOSPC && s->unit.config.pause_on_full)
		return true; /* it has not failed: it waits */
	if (n->kind != NEWS_FAILED && n->kind != NEWS_EJECTED)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &t);
	s->rate.burst = NEWS_BURST;
	s->rate.per_s = NEWS_PER_SECOND;
	return !rate_take(&s->rate, (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec);
}

static void
tell(struct disks *d, const struct news *n)
{
	pthread_mutex_lock(&d->lock);
	if (to_be_dropped(&d->slot[n->controller][n->lun], n)) {
		d->lost++;
	} else if (d->waiting < NEWS_MAX) {
		d->news[d->waiting++] = *n;
	} else {
		d->lost++;
		if (n->kind == NEWS_FULL) /* a guest waits for what follows from it */
			d->news[NEWS_MAX - 1] = *n;
	}
	pthread_mutex_unlock(&d->lock);
	partition_ask(d->p, ASKED_DEVICES);
}

static void
on_full(void *ctx, unsigned controller, unsigned lun, int error)
{
	tell(ctx, &(struct news){ .kind = NEWS_FULL, .controller = controller, .lun = lun, .error = error });
}

static void
on_ejected(void *ctx, unsigned controller, unsigned lun)
{
	tell(ctx, &(struct news){ .kind = NEWS_EJECTED, .controller = controller, .lun = lun });
}

static void
on_slow(void *ctx, unsigned controller, unsigned lun, uint64_t iops)
{
	tell(ctx, &(struct news){ .kind = NEWS_SLOW, .controller = controller, .lun = lun, .number = iops });
}

static void
on_failed(void *ctx, unsigned controller, unsigned lun, enum disk_op op, uint64_t offset, int error)
{
	tell(ctx, &(struct news){ .kind = NEWS_FAILED,
		      .controller = controller,
		      .lun = lun,
		      .error = error,
		      .number = offset,
		      .op = op });
}

static void
on_work(void *ctx)
{
	struct disks *d = ctx;

	atomic_store(&d->work, true);
	partition_ask(d->p, ASKED_DEVICES);
}

void
disks_send(struct disks *d, const struct news *n)
{
	static const char *const op_names[] = {
		[DISK_READ] = "read",
		[DISK_WRITE] = "write",
		[DISK_FLUSH] = "flush",
		[DISK_DISCARD] = "discard",
		[DISK_ZERO] = "zero",
	};
	json_t *doc = json_pack("{s:s, s:I, s:I}", "What", news_names[n->kind], "Controller",
	    (json_int_t)n->controller, "Lun", (json_int_t)n->lun);

	if (n->error)
		json_object_set_new(doc, "Error", json_string(strerror(abs(n->error))));
	if (n->kind == NEWS_FAILED) {
		log_once(&d->slot[n->controller][n->lun].logged[n->op], LOG_WARN,
		    "%s: disk %u:%u: %s at %llu: %s; more of it is not logged", d->p->machine->name,
		    n->controller, n->lun, op_names[n->op], (unsigned long long)n->number,
		    strerror(abs(n->error)));
		json_object_set_new(doc, "Operation", json_string(op_names[n->op]));
		json_object_set_new(doc, "Offset", json_integer((json_int_t)n->number));
	}
	if (n->text)
		json_object_set_new(doc, "Error", json_string(n->text));
	if (n->kind == NEWS_SLOW)
		json_object_set_new(doc, "Iops", json_integer((json_int_t)n->number));
	control_event(d->control, "disk", doc);
}

void
disks_work(struct disks *d)
{
	if (!d->p || !atomic_exchange(&d->work, false))
		return;
	for (unsigned i = 0; i < d->controllers; i++)
		storage_work(d->controller[i].storage);
}

bool
disks_news(struct disks *d, char *why, size_t size)
{
	struct news news[NEWS_MAX];
	unsigned n;
	bool full = false;

	disks_work(d);
	live_work(d);
	pthread_mutex_lock(&d->lock);
	n = d->waiting;
	memcpy(news, d->news, n * sizeof(news[0]));
	d->waiting = 0;
	pthread_mutex_unlock(&d->lock);
	for (unsigned i = 0; i < n; i++) {
		disks_send(d, &news[i]);
		if (news[i].kind != NEWS_FULL)
			continue;
		full = true;
		snprintf(why, size, "disk %u:%u: %s: make room below it, then let the machine go on",
		    news[i].controller, news[i].lun, strerror(abs(news[i].error)));
	}
	return full;
}

/* --- units ------------------------------------------------------------------------------------------ */

static struct slot *
slot_at(struct disks *d, uint64_t controller, uint64_t lun)
{
	return controller < MACHINE_MAX_SCSI && lun < STORAGE_UNITS ? &d->slot[controller][lun] : NULL;
}

int
disks_find(struct disks *d, uint64_t controller, uint64_t lun, struct slot **out, struct err *e)
{
	*out = slot_at(d, controller, lun);
	if (!*out || !(*out)->used || (*out)->leaving)
		return err_set(e, ENOENT, "there is no disk %llu:%llu", (unsigned long long)controller,
		    (unsigned long long)lun);
	return 0;
}

/* FNV-1a. */
static uint64_t
mix(uint64_t h, const void *data, size_t len)
{
	for (const uint8_t *p = data; len--; p++)
		h = (h ^ *p) * 0x100000001b3;
	return h;
}

/* An identity that is the machine's and the place's own, and stays the same wherever the disk's file lies. */
static void
identify(struct disks *d, struct unit *u)
{
	static const uint64_t seed[2] = { 0xcbf29ce484222325, 0x9e3779b97f4a7c15 };
	const uint64_t place[2] = { u->controller, u->lun };
	uint8_t id[GUID_BYTES];
	char text[GUID_TEXT + 1];

	for (int i = 0; i < 2; i++) {
		uint64_t h = mix(mix(seed[i], d->p->machine->id, GUID_BYTES), place, sizeof(place));

		memcpy(id + (size_t)i * sizeof(h), &h, sizeof(h));
	}
	guid_format(id, text);
	if (!u->config.serial[0]) /* the digits alone: 32 of them */
		for (char *from = text, *to = u->config.serial; *from; from++)
			if (*from != '-')
				*to++ = *from;
	memcpy(u->config.wwn, id, sizeof(id));
	u->config.wwn[0] = (uint8_t)(0x60 | (u->config.wwn[0] & 0xf)); /* NAA 6: 128 bits (SPC-5, 7.7.6.6) */
}

/* What u still holds. */
static void
close_files(struct unit *u)
{
	if (u->file >= 0)
		close(u->file);
	u->file = -1;
	for (size_t i = 0; i < u->parents; i++)
		if (u->parent[i].file >= 0)
			close(u->parent[i].file);
	u->parents = 0;
}

/* One image of a chain: *fd is the disk's, or still there. *top is its parent (NULL: it has none), then it.
 */
static int
open_image(struct disks *d, const struct unit *u, int *fd, bool read_only, struct disk **top,
    struct disk_info *above, struct err *e)
{
	const struct disk_format *format = disk_formats[u->format];
	struct disk_open how = { .loop = d->controller[u->controller].loop,
		.read_only = read_only,
		.parent = *top,
		.logical = u->config.kind == UNIT_DVD ? DVD_SECTOR : (uint32_t)u->sector };
	struct disk_info is = { 0 };
	int rc = file_new(&how.file, how.loop, *fd, read_only, e);

	if (rc < 0)
		return rc;
	*fd = -1;
	how.file->hold = disk_hold_new();
	if (u->parents)
		rc = format->info(how.file, &is, e);
	if (rc == 0 && *top)
		rc = disk_parent_fits(&is, above, e);
	if (rc == 0)
		rc = format->open(top, &how, e);
	if (rc < 0)
		file_free(how.file);
	*above = is;
	return rc;
}

/* The last parent first: each has the one behind it. */
static int
open_medium(struct disks *d, struct unit *u, struct disk **out, struct err *e)
{
	bool read_only = u->config.kind == UNIT_DVD || u->read_only;
	struct disk_info *above = calloc(1, sizeof(*above));
	int rc = 0;

	*out = NULL;
	if (!above) {
		close_files(u);
		return err_set(e, ENOMEM, "out of memory");
	}
	for (size_t i = u->parents; rc == 0 && i-- > 0;) {
		rc = open_image(d, u, &u->parent[i].file, true, out, above, e);
		if (rc < 0)
			err_wrap(e, rc, "parent %zu", i + 1);
	}
	if (rc == 0 && u->file >= 0)
		rc = open_image(d, u, &u->file, read_only, out, above, e);
	if (rc < 0)
		disk_free(*out);
	free(above);
	close_files(u);
	return rc;
}

/* Gives a unit that has its slot to its controller. */
static int
attach(struct disks *d, struct slot *s, struct err *e)
{
	struct unit *u = &s->unit;
	struct disk *disk;
	int rc = open_medium(d, u, &disk, e);

	if (rc == 0) {
		identify(d, u);
		rc = storage_add(d->controller[u->controller].storage, (unsigned)u->lun, &u->config, disk, e);
		if (rc < 0)
			disk_free(disk);
	}
	return rc < 0 ? err_wrap(e, rc, "disk %llu:%llu", (unsigned long long)u->controller,
			    (unsigned long long)u->lun)
		      : 0;
}

static int
check_unit(struct disks *d, const struct unit *u, struct err *e)
{
	struct slot *s = slot_at(d, u->controller, u->lun);

	if (!s)
		return err_set(e, EINVAL, "there are controllers 0 to %d with units 0 to %d",
		    MACHINE_MAX_SCSI - 1, STORAGE_UNITS - 1);
	if (d->p && u->controller >= d->controllers)
		return err_set(e, ENOENT, "the machine has %u storage controllers (Devices.ScsiControllers)",
		    d->controllers);
	if (s->used)
		return err_set(e, EEXIST, "disk %llu:%llu is there already",
		    (unsigned long long)u->controller, (unsigned long long)u->lun);
	if (u->config.kind == UNIT_DISK && u->file < 0)
		return err_set(e, EINVAL, "File: a disk needs one");
	if (!disk_formats[u->format])
		return err_set(e, EINVAL, "Format: %s is not supported", format_names[u->format]);
	if (u->parents && (u->format == DISK_RAW || u->config.kind == UNIT_DVD))
		return err_set(e, EINVAL, "Parents: only a differencing image has some");
	if (u->config.kind == UNIT_DISK && u->sector != 512 && u->sector != 4096)
		return err_set(e, EINVAL, "LogicalSectorSize: 512 or 4096");
	return 0;
}

int
disks_add(struct disks *d, const struct unit *u, struct err *e)
{
	struct slot *s;
	int rc = check_unit(d, u, e);

	if (rc < 0) {
		struct unit refused = *u;

		close_files(&refused);
		return rc;
	}
	s = slot_at(d, u->controller, u->lun);
	*s = (struct slot){ .used = true, .unit = *u, .all = d };
	if (!d->p)
		return 0;
	rc = attach(d, s, e);
	if (rc < 0)
		s->used = false;
	return rc;
}

static void
gone(void *ctx)
{
	struct slot *s = ctx;
	struct disks *d = s->all;
	struct news n = {
		.kind = NEWS_REMOVED, .controller = (unsigned)s->unit.controller, .lun = (unsigned)s->unit.lun
	};

	s->used = false;
	disks_send(d, &n);
}

int
disks_remove(struct disks *d, uint64_t controller, uint64_t lun, struct err *e)
{
	struct slot *s;
	int rc = disks_find(d, controller, lun, &s, e);

	if (rc < 0)
		return rc;
	if (!d->p) {
		close_files(&s->unit);
		s->used = false;
		return 0;
	}
	rc = live_busy(s, "taking it away", e);
	if (rc < 0)
		return rc;
	s->leaving = true;
	rc = storage_remove(d->controller[controller].storage, (unsigned)lun, gone, s, e);
	if (rc < 0)
		s->leaving = false;
	return rc;
}

int
disks_insert(struct disks *d, const struct unit *u, bool force, struct err *e)
{
	struct slot *s;
	struct unit medium = *u;
	struct disk *disk = NULL;
	int rc = disks_find(d, u->controller, u->lun, &s, e);

	if (rc == 0 && s->unit.config.kind != UNIT_DVD)
		rc = err_set(e, EINVAL, "disk %llu:%llu is no DVD drive", (unsigned long long)u->controller,
		    (unsigned long long)u->lun);
	if (rc == 0 && !d->p) {
		close_files(&s->unit);
		s->unit.file = u->file;
		return 0;
	}
	medium.config.kind = UNIT_DVD;
	if (rc == 0)
		rc = open_medium(d, &medium, &disk, e);
	if (rc < 0) {
		close_files(&medium);
		return rc;
	}
	rc = storage_insert(d->controller[u->controller].storage, (unsigned)u->lun, disk, force, e);
	if (rc < 0)
		disk_free(disk);
	return rc;
}

int
disks_limit(struct disks *d, const struct unit *u, struct err *e)
{
	struct slot *s;
	struct unit_config c;
	int rc = disks_find(d, u->controller, u->lun, &s, e);

	if (rc < 0)
		return rc;
	c = s->unit.config;
	c.min_iops = u->config.min_iops;
	c.max_iops = u->config.max_iops;
	c.max_bytes = u->config.max_bytes;
	if (d->p)
		rc = storage_set_limits(d->controller[u->controller].storage, (unsigned)u->lun, &c, e);
	if (rc == 0)
		s->unit.config = c;
	return rc;
}

int
disks_resized(struct disks *d, uint64_t controller, uint64_t lun, uint64_t size, struct err *e)
{
	struct slot *s;
	int rc = disks_find(d, controller, lun, &s, e);

	if (rc < 0 || !d->p)
		return rc;
	rc = live_busy(s, "another size", e);
	if (rc < 0)
		return rc;
	return storage_resized(d->controller[controller].storage, (unsigned)lun, size, e);
}

size_t
disks_report(struct disks *d, struct unit_report *r, size_t cap)
{
	size_t n = 0;

	for (unsigned c = 0; d->p && c < d->controllers; c++)
		for (unsigned lun = 0; lun < STORAGE_UNITS && n < cap; lun++) {
			struct slot *s = &d->slot[c][lun];

			if (!s->used)
				continue;
			r[n] =
			    (struct unit_report){ .controller = c, .lun = lun, .kind = s->unit.config.kind };
			live_report(s, &r[n]);
			if (storage_statistics(d->controller[c].storage, lun, &r[n].stats) == 0)
				n++;
		}
	return n;
}

/* --- all of them ------------------------------------------------------------------------------------ */

static int
check_merges(struct disks *d, struct err *e)
{
	int rc = 0;

	for (unsigned c = 0; rc == 0 && c < d->controllers; c++)
		for (unsigned lun = 0; rc == 0 && lun < STORAGE_UNITS; lun++)
			rc = live_busy(&d->slot[c][lun], "saving the machine", e);
	return rc;
}

int
disks_pause(struct disks *d, struct err *e)
{
	unsigned i;
	int rc = check_merges(d, e);

	if (rc < 0)
		return rc;
	for (i = 0; rc == 0 && i < d->controllers; i++)
		rc = storage_pause(d->controller[i].storage, PAUSE_MS, e);
	if (rc < 0)
		while (i-- > 1)
			storage_resume(d->controller[i - 1].storage);
	return rc;
}

void
disks_resume(struct disks *d)
{
	for (unsigned i = 0; i < d->controllers; i++)
		storage_resume(d->controller[i].storage);
}

void
disks_retry(struct disks *d)
{
	pthread_mutex_lock(&d->lock);
	for (unsigned c = 0; c < d->controllers; c++)
		for (unsigned lun = 0; lun < STORAGE_UNITS; lun++)
			d->slot[c][lun].full = false;
	pthread_mutex_unlock(&d->lock);
	for (unsigned i = 0; i < d->controllers; i++)
		storage_retry(d->controller[i].storage);
}

static void
close_unit(struct disks *d, unsigned c, unsigned lun)
{
	struct disk *disk;
	struct err e;
	int rc = storage_rest(d->controller[c].storage, lun, PAUSE_MS, &disk, &e);

	if (rc == 0)
		rc = disk_close(disk, &e);
	if (rc < 0 && rc != -ENOENT) /* an empty drive */
		log_msg(LOG_WARN,
		    "%s: disk %u:%u was not closed in order, that will be done when it is opened: %s",
		    d->p->machine->name, c, lun, e.msg);
}

void
disks_close(struct disks *d)
{
	for (unsigned c = 0; d->p && c < d->controllers; c++)
		for (unsigned lun = 0; lun < STORAGE_UNITS; lun++)
			if (d->slot[c][lun].used && !d->slot[c][lun].leaving &&
			    live_busy(&d->slot[c][lun], "closing it", NULL) == 0)
				close_unit(d, c, lun);
}

/* --- life ------------------------------------------------------------------------------------------- */

int
disks_new(struct disks **out, struct control *control, struct err *e)
{
	struct disks *d = calloc(1, sizeof(*d));

	if (!d)
		return err_set(e, ENOMEM, "disks: out of memory");
	d->control = control;
	pthread_mutex_init(&d->lock, NULL);
	*out = d;
	return 0;
}

static int
make_controller(struct disks *d, unsigned i, int (*walls)(struct err *), struct err *e)
{
	struct controller *c = &d->controller[i];
	const struct storage_events events = { .ctx = d,
		.work = on_work,
		.full = on_full,
		.ejected = on_ejected,
		.slow = on_slow,
		.failed = on_failed };
	int rc = io_loop_new(&c->loop, e);

	if (rc == 0)
		rc = storage_new(&c->storage, d->p->vmbus, c->loop, i, d->p->machine->id, &events, e);
	if (rc == 0)
		rc = vmbus_offer_device(d->p->vmbus, storage_device(c->storage), e);
	if (rc == 0)
		rc = io_loop_start(c->loop, walls, e);
	return rc < 0 ? err_wrap(e, rc, "storage controller %u", i) : 0;
}

int
disks_create(struct disks *d, struct partition *p, int (*walls)(struct err *), struct err *e)
{
	int rc = 0;

	d->p = p;
	for (; rc == 0 && d->controllers < p->machine->scsi_controllers; d->controllers++)
		rc = make_controller(d, d->controllers, walls, e);
	return rc;
}

int
disks_attach(struct disks *d, struct err *e)
{
	int rc = 0;

	for (unsigned c = 0; rc == 0 && c < MACHINE_MAX_SCSI; c++)
		for (unsigned lun = 0; rc == 0 && lun < STORAGE_UNITS; lun++) {
			struct slot *s = &d->slot[c][lun];

			if (s->used && c >= d->controllers)
				rc = err_set(e, ENOENT, "disk %u:%u: the machine has %u storage controllers",
				    c, lun, d->controllers);
			else if (s->used)
				rc = attach(d, s, e);
		}
	return rc;
}

static void
free_controller(struct controller *c)
{
	if (c->storage)
		vmbus_revoke_device(storage_device(c->storage), NULL);
	if (c->loop)
		io_loop_stop(c->loop); /* its rounds are the controller's */
	storage_free(c->storage);
	io_loop_free(c->loop);
}

void
disks_free(struct disks *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < d->controllers; i++)
		for (unsigned lun = 0; lun < STORAGE_UNITS; lun++)
			live_drop(&d->slot[i][lun]);
	for (unsigned i = 0; i < MACHINE_MAX_SCSI; i++) {
		free_controller(&d->controller[i]);
		for (unsigned lun = 0; lun < STORAGE_UNITS; lun++)
			if (d->slot[i][lun].used)
				close_files(&d->slot[i][lun].unit);
	}
	pthread_mutex_destroy(&d->lock);
	free(d);
}
