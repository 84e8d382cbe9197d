/*
 * tests/unit/fake_vm.h - a data disk and a run folder, and in it a spawner with workers that are threads of
 * the test: the real protocol (lib/control), the real document (machine_fields), no process and no guest.
 */
#ifndef TESTS_UNIT_FAKE_VM_H
#define TESTS_UNIT_FAKE_VM_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/vm_room.h"
#include "hypervisor/core/machine.h"
#include "hypervisor/worker/disk_requests.h"
#include "lib/control.h"

enum { FAKE_WORKERS = 8 };

/* What a guest or a fault does, done by the worker's own thread. */
enum {
	FAKE_GUEST_OFF = 1,
	FAKE_DIE = 2,
	FAKE_PANIC = 4,
	FAKE_RESET = 8,
	FAKE_PAUSE = 16,
	FAKE_FAIL = 32,
	FAKE_HANG_UP = 64,       /* cuts the controller off, and goes on */
	FAKE_FLAP = 128,         /* pauses and goes on again and again, from now on */
	FAKE_EJECT = 256,        /* the guest takes the disc out of drive 0:0 */
	FAKE_FULL = 512,         /* disk 0:0 finds no space below */
	FAKE_MERGED = 1024,      /* what is being merged is, */
	FAKE_MERGE_FAILS = 2048, /* or ends before that */
	FAKE_HEARTBEAT = 4096,   /* there is news of the guest's heart */
};

/* A unit of a worker: what it was told of it, and the descriptor it got. */
struct fake_unit {
	bool used;
	struct disk_params told;
	uint64_t size;  /* as it was told later */
	unsigned merge; /* enum merge_progress; how many go into which: */
	uint64_t levels;
	int merge_file;
};

struct fake_worker {
	char guid[GUID_TEXT + 1];
	char path[256];
	pthread_t thread;
	struct control *control;
	const char *state, *reason;
	uint64_t resets, panics;
	atomic_int console;
	struct machine machine; /* as it was told */
	atomic_uint todo;
	atomic_bool used, ended;
	bool quit;
	bool created;
	bool frozen; /* see fake_guest.h */
	uint64_t freeze_s;
	char copied[64], copied_to[1600];
	uint64_t assigned_mb, target_mb; /* 0: as at start */
	_Atomic uint64_t limit_mb;       /* of its control group, for its guest */
	unsigned before;                 /* disks that were there before it was created */
	pthread_mutex_t lock;            /* units: the test looks at them, too */
	struct fake_unit unit[MACHINE_MAX_SCSI][STORAGE_UNITS];
};

static struct fake {
	char root[64], data[80], run[80];
	struct control *spawn;
	pthread_t thread;
	atomic_bool stop, running;
	struct fake_worker worker[FAKE_WORKERS];
	bool refuse_create, ignore_button, die_at_start, unfit; /* how workers are from now on */
	atomic_uint button_ms;                                  /* how long they hang when it is pressed */
	atomic_uint spawned;
	char hangs[GUID_TEXT + 1]; /* whose worker is never ready */
	const char *refuse;        /* a request about disks that fails */
	bool locked;               /* the guest has locked its DVD drives */
	bool ejects_first;         /* what it is asked to insert, it says before, was ejected by the guest */
	bool keeps_files;          /* of disks that are removed */
	unsigned stale;            /* how many children do not fit any more when they come */
	bool drivers;              /* guests have drivers for integration components and dynamic memory */
	bool heart_stops, restart_is_off, copy_hangs;
	atomic_bool copy_cancelled;
	const char *guest_refuses;                   /* why guests do not do what they are asked for */
	_Atomic uint64_t demand_mb;                  /* of guests; 0: they have not said */
	bool (*hook)(const char *method, bool done); /* see fake_look */
} fake;

/* --- a worker
 * ------------------------------------------------------------------------------------------------ */

struct fake_create {
	struct machine machine;
};
struct fake_port {
	uint64_t port;
	int fd;
};
struct fake_status {
	char state[16], reason[64];
	uint64_t resets, panics, ms;
};

static const struct field fake_none[] = { { 0 } };
static const struct field fake_create_fields[] = {
	{ .name = "Machine", .type = FIELD_OBJECT, .required = true, .fields = machine_fields, .help = "." },
	{ 0 }
};
static const struct field fake_port_fields[] = { { "Port", FIELD_UINT, FIELD_AT(fake_port, port), .max = 1,
						     .help = "." },
	{ "Stream", FIELD_FD, .required = true, FIELD_AT(fake_port, fd), .help = "." }, { 0 } };
static const struct field fake_status_fields[] = {
	{ "State", FIELD_STRING, FIELD_AT(fake_status, state), .max = 15, .size = 16, .help = "." },
	{ "Reason", FIELD_STRING, FIELD_AT(fake_status, reason), .max = 63, .size = 64, .help = "." },
	{ "Resets", FIELD_UINT, FIELD_AT(fake_status, resets), .max = UINT64_MAX, .help = "." },
	{ "Panics", FIELD_UINT, FIELD_AT(fake_status, panics), .max = UINT64_MAX, .help = "." },
	{ "ReferenceTimeInMs", FIELD_UINT, FIELD_AT(fake_status, ms), .max = UINT64_MAX, .help = "." }, { 0 }
};

static void
fake_enter(struct fake_worker *w, const char *state, const char *reason)
{
	w->state = state;
	w->reason = reason;
	control_event(w->control, "state", json_pack("{s:s, s:s}", "State", state, "Reason", reason));
}

static void
fake_create_defaults(void *p)
{
	machine_defaults(&((struct fake_create *)p)->machine);
}

static int
fake_do_create(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	struct fake_create *c = params;

	(void)result;
	if (fake.refuse_create || machine_check(&c->machine, e) < 0) {
		machine_close(&c->machine);
		w->quit = true;
		return fake.refuse_create ? err_set(e, ENOMEM, "guest memory: there is not enough")
					  : -e->code;
	}
	w->machine = c->machine; /* checked: with what follows from the rest */
	w->created = true;
	fake_enter(w, "Off", "created");
	return 0;
}

/* --- its disks */

static int
fake_refused(const char *method, int fd, struct err *e)
{
	if (!fake.refuse || strcmp(fake.refuse, method) != 0)
		return 0;
	if (fd >= 0)
		close(fd);
	return err_set(e, EIO, "%s: the worker does not want to", method);
}

/* NULL: there is none. */
static struct fake_unit *
fake_unit(struct fake_worker *w, uint64_t controller, uint64_t lun)
{
	struct fake_unit *u = &w->unit[controller][lun];

	return u->used ? u : NULL;
}

static void
fake_drop(struct fake_unit *u)
{
	if (u->used && u->told.unit.file >= 0)
		close(u->told.unit.file);
	if (u->used && u->merge)
		close(u->merge_file);
	for (size_t i = 0; u->used && i < u->told.unit.parents; i++)
		close(u->told.unit.parent[i].file);
	u->used = false;
}

static void
fake_disk_event(struct fake_worker *w, const char *what, uint64_t controller, uint64_t lun)
{
	control_event(w->control, "disk",
	    json_pack("{s:s, s:I, s:I}", "What", what, "Controller", (json_int_t)controller, "Lun",
		(json_int_t)lun));
}

static int
fake_do_disk_add(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	struct disk_params *p = params;
	struct fake_unit *u = &w->unit[p->unit.controller][p->unit.lun];

	(void)result;
	if (fake_refused("disk.add", p->unit.file, e) < 0)
		return -e->code;
	if (u->used || (p->unit.config.kind == UNIT_DISK && p->unit.file < 0)) {
		if (p->unit.file >= 0)
			close(p->unit.file);
		return err_set(e, u->used ? EEXIST : EINVAL, "not so");
	}
	pthread_mutex_lock(&w->lock);
	*u = (struct fake_unit){ .used = true, .told = *p };
	w->before += !w->created;
	pthread_mutex_unlock(&w->lock);
	return 0;
}

static int
fake_find_unit(struct fake_worker *w, const struct disk_params *p, struct fake_unit **u, struct err *e)
{
	*u = fake_unit(w, p->unit.controller, p->unit.lun);
	return *u ? 0 : err_set(e, ENOENT, "there is no disk there");
}

static int
fake_do_disk_remove(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	struct disk_params *p = params;
	struct fake_unit *u;

	(void)result;
	if (fake_refused("disk.remove", -1, e) < 0 || fake_find_unit(w, p, &u, e) < 0)
		return -e->code;
	pthread_mutex_lock(&w->lock);
	if (!fake.keeps_files)
		fake_drop(u);
	pthread_mutex_unlock(&w->lock);
	if (!fake.keeps_files)
		fake_disk_event(w, "Removed", p->unit.controller, p->unit.lun);
	return 0;
}

static int
fake_do_disk_insert(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	struct disk_params *p = params;
	struct fake_unit *u;
	int rc = fake_refused("disk.insert", p->unit.file, e);

	(void)result;
	if (rc < 0)
		return rc;
	rc = fake_find_unit(w, p, &u, e);
	if (rc == 0 && fake.locked && !p->force)
		rc = err_set(e, EBUSY, "the guest has locked the drive");
	if (rc < 0) {
		if (p->unit.file >= 0)
			close(p->unit.file);
		return rc;
	}
	if (fake.ejects_first)
		fake_disk_event(w, "Ejected", p->unit.controller, p->unit.lun);
	pthread_mutex_lock(&w->lock);
	if (u->told.unit.file >= 0)
		close(u->told.unit.file);
	u->told.unit.file = p->unit.file;
	pthread_mutex_unlock(&w->lock);
	return 0;
}

static int
fake_do_disk_limit(void *ctx, void *params, void *result, struct err *e)
{
	struct disk_params *p = params;
	struct fake_unit *u;

	(void)result;
	if (fake_refused("disk.limit", -1, e) < 0 || fake_find_unit(ctx, p, &u, e) < 0)
		return -e->code;
	u->told.unit.config.min_iops = p->unit.config.min_iops;
	u->told.unit.config.max_iops = p->unit.config.max_iops;
	u->told.unit.config.max_bytes = p->unit.config.max_bytes;
	return 0;
}

static int
fake_do_disk_resized(void *ctx, void *params, void *result, struct err *e)
{
	struct disk_params *p = params;
	struct fake_unit *u;

	(void)result;
	if (fake_refused("disk.resized", -1, e) < 0 || fake_find_unit(ctx, p, &u, e) < 0)
		return -e->code;
	u->size = p->size;
	return 0;
}

#include "tests/unit/fake_live.h"
#include "tests/unit/fake_guest.h"

static int
fake_do_disk_list(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	struct disk_list *list = result;

	(void)params;
	if (fake_refused("disk.list", -1, e) < 0)
		return -e->code;
	for (unsigned c = 0; c < MACHINE_MAX_SCSI; c++)
		for (unsigned lun = 0; lun < STORAGE_UNITS; lun++)
			if (w->unit[c][lun].used)
				list->unit[list->n++] = (struct unit_report){ .controller = c,
					.lun = lun,
					.kind = w->unit[c][lun].told.unit.config.kind,
					.merge = w->unit[c][lun].merge,
					.merge_at = w->unit[c][lun].merge ? 1 << 20 : 0,
					.merge_size = w->unit[c][lun].merge ? FAKE_MERGE_SIZE : 0,
					.stats = { .reads = 7, .read_bytes = 4096 } };
	return 0;
}

static int
fake_do_start(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;

	(void)params;
	(void)result;
	(void)e;
	if (fake.die_at_start)
		w->quit = true;
	fake_enter(w, "Running", "requested");
	if (w->console >= 0)
		dprintf(w->console, "boot of %s\n", w->machine.name);
	return 0;
}

static int
fake_do_button(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;

	(void)params;
	(void)result;
	(void)e;
	if (strcmp(((struct fake_worker *)ctx)->machine.name, "web1") != 0)
		usleep(fake.button_ms * 1000);
	if (!fake.ignore_button)
		atomic_fetch_or(&w->todo, FAKE_GUEST_OFF);
	return 0;
}

static int
fake_do_status(void *ctx, void *params, void *result, struct err *e)
{
	const struct fake_worker *w = ctx;
	struct fake_status *s = result;

	(void)params;
	(void)e;
	snprintf(s->state, sizeof(s->state), "%s", w->state);
	snprintf(s->reason, sizeof(s->reason), "%s", w->reason);
	s->resets = w->resets;
	s->panics = w->panics;
	s->ms = 3600 * 1000;
	return 0;
}

static int
fake_do_attach(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;

	(void)result;
	(void)e;
	if (w->console >= 0)
		close(w->console);
	w->console = ((struct fake_port *)params)->fd;
	return 0;
}

static int
fake_do_quit(void *ctx, void *params, void *result, struct err *e)
{
	(void)params;
	(void)result;
	(void)e;
	((struct fake_worker *)ctx)->quit = true;
	return 0;
}

static const struct method fake_worker_methods[] = {
	{ "create", ".", fake_create_fields, sizeof(struct fake_create), fake_create_defaults, fake_none, 0,
	    fake_do_create },
	{ "start", ".", fake_none, 0, NULL, fake_none, 0, fake_do_start },
	{ "power_button", ".", fake_none, 0, NULL, fake_none, 0, fake_do_button },
	{ "status", ".", fake_none, 0, NULL, fake_status_fields, sizeof(struct fake_status), fake_do_status },
	{ "statistics", ".", fake_none, 0, NULL, fake_status_fields, sizeof(struct fake_status),
	    fake_do_status },
	{ "console.attach", ".", fake_port_fields, sizeof(struct fake_port), NULL, fake_none, 0,
	    fake_do_attach },
	{ "disk.add", ".", disk_add_fields, sizeof(struct disk_params), disk_defaults, fake_none, 0,
	    fake_do_disk_add },
	{ "disk.remove", ".", disk_name_fields, sizeof(struct disk_params), disk_defaults, fake_none, 0,
	    fake_do_disk_remove },
	{ "disk.insert", ".", disk_insert_fields, sizeof(struct disk_params), disk_defaults, fake_none, 0,
	    fake_do_disk_insert },
	{ "disk.limit", ".", disk_limit_fields, sizeof(struct disk_params), disk_defaults, fake_none, 0,
	    fake_do_disk_limit },
	{ "disk.resized", ".", disk_resized_fields, sizeof(struct disk_params), disk_defaults, fake_none, 0,
	    fake_do_disk_resized },
	{ "disk.branch", ".", disk_branch_fields, sizeof(struct disk_params), disk_defaults, fake_none, 0,
	    fake_do_branch },
	{ "disk.merge", ".", disk_merge_fields, sizeof(struct disk_params), disk_defaults, fake_none, 0,
	    fake_do_merge },
	{ "disk.merge.complete", ".", disk_name_fields, sizeof(struct disk_params), disk_defaults, fake_none,
	    0, fake_do_complete },
	{ "disk.merge.cancel", ".", disk_name_fields, sizeof(struct disk_params), disk_defaults, fake_none, 0,
	    fake_do_cancel },
	{ "disk.list", ".", fake_none, 0, NULL, disk_list_fields, sizeof(struct disk_list),
	    fake_do_disk_list },
	{ "quit", ".", fake_none, 0, NULL, fake_none, 0, fake_do_quit },
	{ "reset", ".", fake_none, 0, NULL, fake_none, 0, fake_do_reset },
	{ "ic.list", ".", fake_none, 0, NULL, ic_list_fields, sizeof(struct ic_list), fake_do_ic_list },
	{ "ic.set", ".", ic_set_fields, sizeof(struct ic_params), ic_defaults, ic_changed_fields,
	    sizeof(struct ic_changed), fake_do_ic_set },
	{ "guest.shutdown", ".", guest_shutdown_fields, sizeof(struct ic_params), ic_defaults, fake_none, 0,
	    fake_do_guest_shutdown },
	{ "kvp.enumerate", ".", kvp_enumerate_fields, sizeof(struct ic_params), ic_defaults, kvp_page_fields,
	    sizeof(struct kvp_page), fake_do_kvp },
	{ "guest.freeze", ".", guest_freeze_fields, sizeof(struct ic_params), ic_defaults, fake_none, 0,
	    fake_do_freeze },
	{ "guest.thaw", ".", fake_none, 0, NULL, fake_none, 0, fake_do_thaw },
	{ "guest.copy", ".", guest_copy_fields, sizeof(struct ic_params), ic_defaults, fake_none, 0,
	    fake_do_copy },
	{ "guest.copy.cancel", ".", fake_none, 0, NULL, fake_none, 0, fake_do_copy_cancel },
	{ "memory.status", ".", fake_none, 0, NULL, memory_status_fields, sizeof(struct memory_status),
	    fake_do_memory_status },
	{ "memory.target", ".", memory_target_fields, sizeof(struct memory_target), NULL, fake_none, 0,
	    fake_do_memory_target },
	{ 0 },
};

static void
fake_happen(struct fake_worker *w, unsigned what)
{
	if (what & FAKE_PANIC) {
		w->panics++;
		control_event(w->control, "panic", json_pack("{s:s}", "Text", "Oops"));
	}
	if (what & FAKE_RESET) {
		w->resets++;
		fake_enter(w, "Running", "reset by the guest");
	}
	if (what & FAKE_PAUSE)
		fake_enter(w, "Paused", "requested");
	if (what & FAKE_FAIL)
		fake_enter(w, "Critical", "processor 0: emulation failed");
	if (what & FAKE_GUEST_OFF)
		fake_enter(w, "Off", "turned off by the guest");
	if (what & FAKE_FLAP) {
		fake_enter(w, w->state[0] == 'P' ? "Running" : "Paused", "requested");
		atomic_fetch_or(&w->todo, FAKE_FLAP);
	}
	if (what & FAKE_EJECT) {
		fake_disk_event(w, "Ejected", 0, 0);
		pthread_mutex_lock(&w->lock);
		if (w->unit[0][0].used && w->unit[0][0].told.unit.file >= 0)
			close(w->unit[0][0].told.unit.file);
		w->unit[0][0].told.unit.file = -1;
		pthread_mutex_unlock(&w->lock);
	}
	if (what & FAKE_FULL) {
		fake_disk_event(w, "Full", 0, 0);
		fake_enter(w, "Paused", "disk 0:0: No space left on device: make room below it");
	}
	if (what & (FAKE_MERGED | FAKE_MERGE_FAILS))
		fake_merge_on(w, what & FAKE_MERGED);
	if (what & FAKE_HEARTBEAT)
		control_event(w->control, "integration", json_pack("{s:s}", "What", "Heartbeat"));
	if (what & FAKE_DIE)
		w->quit = true;
	if (what & FAKE_HANG_UP) {
		shutdown(control_poll_fd(w->control), SHUT_RDWR);
		control_handle(w->control);
	}
}

static void *
fake_worker_main(void *arg)
{
	struct fake_worker *w = arg;
	char typed[64];

	while (!w->quit) {
		struct pollfd p[2] = { { .fd = control_poll_fd(w->control), .events = POLLIN },
			{ .fd = w->console, .events = POLLIN } };

		poll(p, 2, 5);
		if (p[0].revents)
			control_handle(w->control);
		if (w->console >= 0 && p[1].revents) { /* the guest echoes */
			ssize_t n = read(w->console, typed, sizeof(typed));

			if (n > 0 && write(w->console, typed, (size_t)n) < 0)
				n = -1;
			if (n <= 0) {
				close(w->console);
				w->console = -1;
			}
		}
		fake_happen(w, atomic_exchange(&w->todo, 0));
	}
	machine_close(&w->machine);
	for (unsigned i = 0; i < MACHINE_MAX_SCSI * STORAGE_UNITS; i++)
		fake_drop(&w->unit[i / STORAGE_UNITS][i % STORAGE_UNITS]);
	if (w->console >= 0)
		close(w->console);
	unlink(w->path);
	control_free(w->control);
	atomic_store(&w->ended, true);
	return NULL;
}

static int
fake_listen(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 8) < 0)
		abort();
	return fd;
}

static struct fake_worker *
fake_find(const char *guid)
{
	for (int i = 0; i < FAKE_WORKERS; i++)
		if (fake.worker[i].used && strcmp(fake.worker[i].guid, guid) == 0)
			return &fake.worker[i];
	return NULL;
}

/* --- the spawner
 * --------------------------------------------------------------------------------------------- */

struct fake_spawn {
	uint8_t id[16];
	uint64_t mb;
};
struct fake_ending {
	char ending[16], words[64];
	uint64_t status;
};
struct fake_row {
	uint8_t id[16];
	bool running;
};
struct fake_list {
	size_t n;
	struct fake_row row[FAKE_WORKERS];
};

static const struct field fake_spawn_fields[] = { { "Id", FIELD_GUID, .required = true,
						      FIELD_AT(fake_spawn, id), .help = "." },
	{ "MemoryInMB", FIELD_UINT, FIELD_AT(fake_spawn, mb), .max = 1 << 24, .help = "." }, { 0 } };
static const struct field fake_ending_fields[] = { { "Ending", FIELD_STRING, FIELD_AT(fake_ending, ending),
						       .max = 15, .size = 16, .help = "." },
	{ "LastWords", FIELD_STRING, FIELD_AT(fake_ending, words), .max = 63, .size = 64, .help = "." },
	{ "Status", FIELD_UINT, FIELD_AT(fake_ending, status), .max = UINT64_MAX, .help = "." }, { 0 } };
static const struct field fake_row_fields[] = { { "Id", FIELD_GUID, FIELD_AT(fake_row, id), .help = "." },
	{ "Running", FIELD_BOOL, FIELD_AT(fake_row, running), .help = "." }, { 0 } };
static const struct field fake_list_fields[] = { { "Workers", FIELD_LIST, FIELD_AT(fake_list, row),
						     .max = FAKE_WORKERS, .size = sizeof(struct fake_row),
						     .count_offset = offsetof(struct fake_list, n),
						     .fields = fake_row_fields, .help = "." },
	{ 0 } };

static int
fake_do_spawn(void *ctx, void *params, void *result, struct err *e)
{
	const struct fake_spawn *p = params;
	struct fake_worker *w = NULL;
	char guid[GUID_TEXT + 1];

	(void)ctx;
	(void)result;
	guid_format(p->id, guid);
	if (fake.unfit)
		return err_set(e, ENODEV, "this host's processor has no virtualisation");
	if (fake_find(guid))
		return err_set(e, EEXIST, "it has its worker already");
	for (int i = 0; i < FAKE_WORKERS && !w; i++)
		w = fake.worker[i].used ? NULL : &fake.worker[i];
	if (!w)
		return err_set(e, ENFILE, "no more workers");
	memset(w, 0, sizeof(*w));
	pthread_mutex_init(&w->lock, NULL);
	snprintf(w->guid, sizeof(w->guid), "%s", guid);
	snprintf(w->path, sizeof(w->path), "%s/workers/%s.sock", fake.run, guid);
	w->console = -1;
	machine_defaults(&w->machine);
	w->state = "None";
	w->reason = "";
	if (control_new(&w->control, fake_listen(w->path), fake_worker_methods, w, e) < 0)
		return -e->code;
	w->used = true;
	w->limit_mb = p->mb;
	atomic_fetch_add(&fake.spawned, 1);
	if (pthread_create(&w->thread, NULL, fake_worker_main, w) != 0)
		abort();
	return 0;
}

struct fake_ready {
	bool ready;
};

static const struct field fake_ready_fields[] = {
	{ "Ready", FIELD_BOOL, FIELD_AT(fake_ready, ready), .help = "." }, { 0 }
};

static int
fake_do_ready(void *ctx, void *params, void *result, struct err *e)
{
	const struct fake_spawn *p = params;
	char guid[GUID_TEXT + 1];

	(void)ctx;
	guid_format(p->id, guid);
	if (!fake_find(guid))
		return err_set(e, EIO, "the worker was ended before it was ready");
	((struct fake_ready *)result)->ready = strcmp(guid, fake.hangs) != 0;
	return 0;
}

static int
fake_do_limit(void *ctx, void *params, void *result, struct err *e)
{
	const struct fake_spawn *p = params;
	struct fake_worker *w;
	char guid[GUID_TEXT + 1];

	(void)ctx;
	(void)result;
	guid_format(p->id, guid);
	w = fake_find(guid);
	if (!w)
		return err_set(e, ENOENT, "there is no such worker");
	atomic_store(&w->limit_mb, p->mb);
	return 0;
}

static int
fake_do_end(void *ctx, void *params, void *result, struct err *e)
{
	const struct fake_spawn *p = params;
	struct fake_ending *r = result;
	struct fake_worker *w;
	char guid[GUID_TEXT + 1];

	(void)ctx;
	guid_format(p->id, guid);
	w = fake_find(guid);
	if (!w)
		return err_set(e, ENOENT, "there is no such worker");
	atomic_fetch_or(&w->todo, FAKE_DIE);
	pthread_join(w->thread, NULL);
	w->used = false;
	snprintf(r->ending, sizeof(r->ending), "Signal");
	snprintf(r->words, sizeof(r->words), "processor 0: out of luck");
	r->status = 11;
	return 0;
}

static int
fake_do_list(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_list *r = result;

	(void)ctx;
	(void)params;
	(void)e;
	for (int i = 0; i < FAKE_WORKERS; i++)
		if (fake.worker[i].used) {
			guid_parse(fake.worker[i].guid, r->row[r->n].id);
			r->row[r->n++].running = !fake.worker[i].ended;
		}
	return 0;
}

static const struct method fake_spawn_methods[] = {
	{ "spawn", ".", fake_spawn_fields, sizeof(struct fake_spawn), NULL, fake_none, 0, fake_do_spawn },
	{ "ready", ".", fake_spawn_fields, sizeof(struct fake_spawn), NULL, fake_ready_fields,
	    sizeof(struct fake_ready), fake_do_ready },
	{ "end", ".", fake_spawn_fields, sizeof(struct fake_spawn), NULL, fake_ending_fields,
	    sizeof(struct fake_ending), fake_do_end },
	{ "limit", ".", fake_spawn_fields, sizeof(struct fake_spawn), NULL, fake_none, 0, fake_do_limit },
	{ "list", ".", fake_none, 0, NULL, fake_list_fields, sizeof(struct fake_list), fake_do_list },
	{ 0 },
};

static void *
fake_spawn_main(void *arg)
{
	(void)arg;
	while (!fake.stop) {
		struct pollfd p = { .fd = control_poll_fd(fake.spawn), .events = POLLIN };

		if (poll(&p, 1, 5) > 0)
			control_handle(fake.spawn);
	}
	control_free(fake.spawn);
	return NULL;
}

static inline void
fake_spawner_start(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/spawn.sock", fake.run);
	fake.stop = false;
	if (control_new(&fake.spawn, fake_listen(path), fake_spawn_methods, NULL, NULL) < 0 ||
	    pthread_create(&fake.thread, NULL, fake_spawn_main, NULL) != 0)
		abort();
	fake.running = true;
}

static inline void
fake_spawner_stop(void)
{
	if (!fake.running)
		return;
	fake.stop = true;
	pthread_join(fake.thread, NULL);
	fake.running = false;
}

/* --- the place
 * ----------------------------------------------------------------------------------------------- */

static inline void
fake_file(const char *path, const char *text)
{
	char whole[512];
	FILE *f;

	snprintf(whole, sizeof(whole), "%s/%s", fake.data, path);
	f = fopen(whole, "w");
	if (!f || fputs(text, f) < 0)
		abort();
	fclose(f);
}

static inline int
fake_setup(void)
{
	char path[256];

	memset(&fake, 0, sizeof(fake));
	snprintf(fake.root, sizeof(fake.root), "/tmp/fake_vm.XXXXXX");
	if (!mkdtemp(fake.root))
		return -1;
	snprintf(fake.data, sizeof(fake.data), "%s/data", fake.root);
	snprintf(fake.run, sizeof(fake.run), "%s/run", fake.root);
	mkdir(fake.data, 0700);
	mkdir(fake.run, 0700);
	snprintf(path, sizeof(path), "%s/workers", fake.run);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/images", fake.data);
	mkdir(path, 0700);
	fake_file("images/vmlinuz", "kernel");
	fake_file("images/initrd", "initrd");
	fake_spawner_start();
	return 0;
}

static inline int
fake_teardown(void)
{
	char command[128];

	fake_spawner_stop();
	for (int i = 0; i < FAKE_WORKERS; i++)
		if (fake.worker[i].used) {
			atomic_fetch_or(&fake.worker[i].todo, FAKE_DIE);
			pthread_join(fake.worker[i].thread, NULL);
		}
	snprintf(command, sizeof(command), "rm -rf '%s'", fake.root);
	return system(command);
}

#endif
