/* hypervisor/worker/requests.c - what a worker can be asked: one table. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/chipset/pm.h"
#include "hypervisor/chipset/uart.h"
#include "hypervisor/state/save.h"
#include "hypervisor/worker/disk_requests.h"
#include "hypervisor/worker/ic_requests.h"
#include "hypervisor/worker/memory_requests.h"
#include "hypervisor/worker/nic_requests.h"
#include "hypervisor/worker/worker.h"

/* --- parameters and results ---------------------------------------------------------------------- */

struct create_params {
	struct machine machine;
	int stream;
};
struct changed_result {
	bool changed;
};
struct port_params {
	uint64_t port;
	int fd;
};
struct stream_params {
	int stream;
};
struct memory_params {
	uint64_t mb;
};
struct memory_result {
	uint64_t address, total_mb;
};
struct status_result {
	uint8_t id[16];
	char name[101];
	unsigned state;
	char reason[240];
	uint64_t resets, panics;
	char panic[1024]; /* the end of the last panic's text */
};
struct processor_stats {
	uint64_t index, exits[EXIT_KINDS];
};
struct stats_result {
	uint64_t memory_mb, reference_ms;
	size_t processors;
	struct processor_stats processor[MACHINE_MAX_PROCESSORS];
	uint64_t console_lost[MACHINE_COM_PORTS];
};

/* clang-format off */
static const struct field none[] = { { 0 } };

static const struct field changed_fields[] = {
	{ "changed", FIELD_BOOL, FIELD_AT(changed_result, changed), .help = "False when it was so already." },
	{ 0 }
};
static const struct field create_fields[] = {
	{ "Machine", FIELD_OBJECT, .required = true, FIELD_AT(create_params, machine), .fields = machine_fields,
	  .help = "The machine's description." },
	{ 0 }
};
static const struct field restore_fields[] = {
	{ "Machine", FIELD_OBJECT, .required = true, FIELD_AT(create_params, machine), .fields = machine_fields,
	  .help = "The machine's description, as it was when the machine was saved." },
	{ "Stream", FIELD_FD, .required = true, FIELD_AT(create_params, stream), .help = "Its saved state, for reading." },
	{ 0 }
};
static const struct field port_fields[] = {
	{ "Port", FIELD_UINT, .required = true, FIELD_AT(port_params, port), .min = 0, .max = MACHINE_COM_PORTS - 1,
	  .help = "0 is COM1, 1 is COM2." },
	{ "Stream", FIELD_FD, .required = true, FIELD_AT(port_params, fd), .help = "Socket, pipe or terminal." },
	{ 0 }
};
static const struct field detach_fields[] = {
	{ "Port", FIELD_UINT, .required = true, FIELD_AT(port_params, port), .min = 0, .max = MACHINE_COM_PORTS - 1,
	  .help = "0 is COM1, 1 is COM2." },
	{ 0 }
};
static const struct field save_fields[] = {
	{ "Stream", FIELD_FD, .required = true, FIELD_AT(stream_params, stream), .help = "File, pipe or socket, for writing." },
	{ 0 }
};
static const struct field memory_fields[] = {
	{ "SizeInMB", FIELD_UINT, .required = true, FIELD_AT(memory_params, mb), .min = 2, .max = 1 << 24,
	  .help = "How much to add, in MiB: an even number." },
	{ 0 }
};
static const struct field memory_result_fields[] = {
	{ "Address", FIELD_UINT, FIELD_AT(memory_result, address), .max = UINT64_MAX, .help = "Guest physical address of the new memory." },
	{ "SizeInMB", FIELD_UINT, FIELD_AT(memory_result, total_mb), .max = UINT64_MAX, .help = "Memory of the machine in all, in MiB." },
	{ 0 }
};
static const struct field status_fields[] = {
	{ "Id", FIELD_GUID, FIELD_AT(status_result, id), .help = "The machine's id." },
	{ "Name", FIELD_STRING, FIELD_AT(status_result, name), .max = 100, .size = 101, .help = "The machine's name." },
	{ "State", FIELD_ENUM, FIELD_AT(status_result, state), .names = state_names, .help = "State of the machine." },
	{ "Reason", FIELD_STRING, FIELD_AT(status_result, reason), .max = 239, .size = 240, .help = "Why it is in that state." },
	{ "Resets", FIELD_UINT, FIELD_AT(status_result, resets), .max = UINT64_MAX, .help = "Resets since it was created." },
	{ "Panics", FIELD_UINT, FIELD_AT(status_result, panics), .max = UINT64_MAX, .help = "Panics its guests have reported." },
	{ "LastPanic", FIELD_STRING, FIELD_AT(status_result, panic), .max = 1023, .size = 1024, .help = "End of the last panic's text." },
	{ 0 }
};
static const struct field processor_fields[] = {
	{ "Index", FIELD_UINT, FIELD_AT(processor_stats, index), .max = UINT64_MAX, .help = "Virtual processor." },
	{ "Io", FIELD_UINT, FIELD_AT(processor_stats, exits[EXIT_IO]), .max = UINT64_MAX, .help = "Port accesses that reached the worker." },
	{ "Mmio", FIELD_UINT, FIELD_AT(processor_stats, exits[EXIT_MMIO]), .max = UINT64_MAX, .help = "Accesses where there is no memory." },
	{ "Msr", FIELD_UINT, FIELD_AT(processor_stats, exits[EXIT_MSR]), .max = UINT64_MAX, .help = "Crash MSR accesses." },
	{ "Hypercall", FIELD_UINT, FIELD_AT(processor_stats, exits[EXIT_HYPERCALL]), .max = UINT64_MAX, .help = "Hypercalls and SynIC changes." },
	{ "Other", FIELD_UINT, FIELD_AT(processor_stats, exits[EXIT_OTHER]), .max = UINT64_MAX, .help = "Everything else." },
	{ 0 }
};
static const struct field stats_fields[] = {
	{ "MemoryInMB", FIELD_UINT, FIELD_AT(stats_result, memory_mb), .max = UINT64_MAX, .help = "Memory assigned." },
	{ "ReferenceTimeInMs", FIELD_UINT, FIELD_AT(stats_result, reference_ms), .max = UINT64_MAX, .help = "Age of the machine." },
	{ "Processors", FIELD_LIST, FIELD_AT(stats_result, processor), .max = MACHINE_MAX_PROCESSORS,
	  .size = sizeof(struct processor_stats), .count_offset = offsetof(struct stats_result, processors),
	  .fields = processor_fields, .help = "Exits from the guest to the worker, by kind." },
	{ "Com1Lost", FIELD_UINT, FIELD_AT(stats_result, console_lost[0]), .max = UINT64_MAX, .help = "Bytes of output nobody read in time." },
	{ "Com2Lost", FIELD_UINT, FIELD_AT(stats_result, console_lost[1]), .max = UINT64_MAX, .help = "Bytes of output nobody read in time." },
	{ 0 }
};
/* clang-format on */

/* --- handlers ------------------------------------------------------------------------------------- */

static void
create_defaults(void *params)
{
	struct create_params *c = params;

	machine_defaults(&c->machine);
	c->stream = -1;
}

static int
do_create(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct create_params *c = params;
	int rc;

	(void)result;
	if (w->state == STATE_NONE)
		w->machine = c->machine; /* with its descriptors */
	else
		machine_close(&c->machine);
	rc = life_create(w, c->stream, e);
	if (rc < 0 && w->state == STATE_NONE) {
		machine_close(&w->machine);
		if (!w->p)
			w->machine = (struct machine){ 0 }; /* there is none, and "status" says so */
	}
	if (c->stream >= 0)
		close(c->stream);
	return rc;
}

static int
need_machine(const struct worker *w, struct err *e)
{
	return w->p ? 0 : err_set(e, ENOENT, "no machine was created yet");
}

static int
need_running(const struct worker *w, const char *what, struct err *e)
{
	if (w->state == STATE_RUNNING)
		return 0;
	return err_set(e, EINVAL, "%s: the machine is %s, not Running", what, state_names[w->state]);
}

static int
move(struct worker *w, enum life_event ev, void *result, struct err *e)
{
	struct changed_result *r = result;
	int rc = need_machine(w, e);

	return rc < 0 ? rc : life_move(w, ev, "requested", &r->changed, e);
}

#define MOVE(name, event)                                                          \
	static int do_##name(void *ctx, void *params, void *result, struct err *e) \
	{                                                                          \
		(void)params;                                                      \
		return move(ctx, event, result, e);                                \
	}
MOVE(start, LIFE_START)
MOVE(pause, LIFE_PAUSE)
MOVE(resume, LIFE_RESUME)
MOVE(reset, LIFE_RESET)
MOVE(power_off, LIFE_POWER_OFF)

static int
do_power_button(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	int rc = need_running(w, "power button", e);

	(void)params;
	(void)result;
	if (rc == 0)
		pm_power_button(w->p->pm);
	return rc;
}

static int
do_nmi(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	int rc = need_running(w, "NMI", e);

	(void)params;
	(void)result;
	return rc < 0 ? rc : partition_nmi(w->p, e);
}

static int
do_status(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct status_result *r = result;

	(void)params;
	(void)e;
	memcpy(r->id, w->machine.id, sizeof(r->id));
	memcpy(r->name, w->machine.name, sizeof(r->name));
	r->state = w->state;
	memcpy(r->reason, w->reason, sizeof(r->reason));
	r->resets = w->resets;
	r->panics = w->panics;
	if (w->p) {
		size_t len;

		pthread_mutex_lock(&w->p->crash_lock);
		len = strlen(w->p->panic);
		snprintf(r->panic, sizeof(r->panic), "%s",
		    w->p->panic + (len >= sizeof(r->panic) ? len - sizeof(r->panic) + 1 : 0));
		pthread_mutex_unlock(&w->p->crash_lock);
		for (char *c = r->panic; *c; c++) /* one line: a string of a document has no others */
			*c = *c == '\n' || *c == '\t' ? ' ' : *c;
	}
	return 0;
}

static int
do_statistics(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct stats_result *r = result;
	int rc = need_machine(w, e);

	(void)params;
	if (rc < 0)
		return rc;
	r->memory_mb = memory_assigned(w) >> 20;
	r->reference_ms = partition_now(w->p) / 1000000;
	r->processors = w->p->vcpus;
	for (unsigned i = 0; i < w->p->vcpus; i++) {
		r->processor[i].index = i;
		for (int k = 0; k < EXIT_KINDS; k++)
			r->processor[i].exits[k] = atomic_load(&w->p->vcpu[i].exits[k]);
	}
	for (int i = 0; i < MACHINE_COM_PORTS; i++)
		r->console_lost[i] = w->p->com[i] ? uart_lost(w->p->com[i]) : 0;
	return 0;
}

static int
do_console_attach(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct port_params *p = params;
	int rc = need_machine(w, e);

	(void)result;
	if (rc < 0) {
		close(p->fd);
		return rc;
	}
	return console_attach(&w->console[p->port], p->fd, e);
}

static int
do_console_detach(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct port_params *p = params;
	struct changed_result *r = result;
	int rc = need_machine(w, e);

	if (rc < 0)
		return rc;
	r->changed = w->console[p->port].fd >= 0;
	console_detach(&w->console[p->port]);
	return 0;
}

/* A machine that ran goes on running when it could not be saved. */
static int
do_save(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct stream_params *s = params;
	bool paused = false;
	int rc = need_machine(w, e);

	(void)result;
	if (rc == 0)
		rc = life_move(w, LIFE_PAUSE, "being saved", &paused, e);
	/* What the guest asked last is not part of saved state: it is carried out instead (loop.c). */
	if (rc == 0 && (atomic_load(&w->p->asked) & ASKED_TO_END)) {
		close(s->stream);
		w->go_on = paused;
		return err_set(e, EBUSY, "save: the guest turns itself off or resets in this moment");
	}
	if (rc == 0)
		rc = disks_pause(w->disks, e);
	if (rc == 0) {
		rc = nics_pause(w->nics, e);
		if (rc == 0)
			rc = machine_save(w->p, s->stream, e);
		if (rc < 0) {
			disks_resume(w->disks);
			nics_resume(w->nics);
		}
	}
	close(s->stream);
	if (rc == 0)
		return life_move(w, LIFE_SAVED, "requested", NULL, e);
	if (paused)
		life_move(w, LIFE_RESUME, "it could not be saved", NULL, NULL);
	return rc;
}

static int
do_memory_add(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct memory_params *m = params;
	struct memory_result *r = result;
	int rc = need_machine(w, e);

	if (rc == 0)
		rc = partition_add_memory(w->p, m->mb << 20, &r->address, e);
	if (rc == 0)
		r->total_mb = gmem_size(w->p->mem) >> 20;
	return rc;
}

static int
do_quit(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;

	(void)params;
	(void)result;
	(void)e;
	/* The others are cut off, as by a power failure: what they have flushed is safe. */
	if (w->state == STATE_OFF || w->state == STATE_SAVED)
		disks_close(w->disks);
	w->quit = true;
	return 0;
}

/* --- the table ------------------------------------------------------------------------------------ */

#define PARAMS(type, fields_) .params = fields_, .params_size = sizeof(struct type)
#define RESULT(type, fields_) .result = fields_, .result_size = sizeof(struct type)
#define CHANGED               RESULT(changed_result, changed_fields)

const struct method worker_methods[] = {
	{ "create", "Creates the machine, switched off. A worker has one machine all its life.",
	    PARAMS(create_params, create_fields), create_defaults, .result = none, .call = do_create },
	{ "restore", "Creates the machine from saved state, paused.", PARAMS(create_params, restore_fields),
	    create_defaults, .result = none, .call = do_create },
	{ "start", "Switches the machine on, or lets a paused one go on.", .params = none, CHANGED,
	    .call = do_start },
	{ "pause", "Stops the processors where they are. Time goes on for the guest.", .params = none,
	    CHANGED, .call = do_pause },
	{ "resume", "Lets a paused machine go on.", .params = none, CHANGED, .call = do_resume },
	{ "reset", "Starts the machine again from power-on, as its reset button does.", .params = none,
	    CHANGED, .call = do_reset },
	{ "power_button", "Presses the power button: the guest is asked to shut down.", .params = none,
	    .result = none, .call = do_power_button },
	{ "power_off", "Switches the machine off, as pulling its plug does.", .params = none, CHANGED,
	    .call = do_power_off },
	{ "nmi", "Sends every processor a non-maskable interrupt.", .params = none, .result = none,
	    .call = do_nmi },
	{ "status", "State of the machine.", .params = none, RESULT(status_result, status_fields),
	    .call = do_status },
	{ "statistics", "Counters of the machine.", .params = none, RESULT(stats_result, stats_fields),
	    .call = do_statistics },
	{ "console.attach",
	    "Connects a serial port to a descriptor; what was written last comes first. The worker makes it "
	    "non-blocking and keeps it until another takes its place.",
	    PARAMS(port_params, port_fields), .result = none, .call = do_console_attach },
	{ "console.detach", "Disconnects a serial port.", PARAMS(port_params, detach_fields), CHANGED,
	    .call = do_console_detach },
	{ "save",
	    "Pauses the machine and writes all of it to a stream. Answers when the last byte is written; "
	    "then this worker's copy must be left behind (quit). After a failure the machine goes on.",
	    PARAMS(stream_params, save_fields), .result = none, .call = do_save },
	{ "memory.add",
	    "Adds memory at the end of the machine's address space while it runs, up to 14 times.",
	    PARAMS(memory_params, memory_fields), RESULT(memory_result, memory_result_fields),
	    .call = do_memory_add },
	{ "memory.target",
	    "Says how much memory the machine should have. It gives back what is too much, and is given what "
	    "is "
	    "missing, as far and as fast as its guest takes part: the event \"memory\" tells of changes.",
	    PARAMS(memory_target, memory_target_fields), .result = none, .call = do_memory_target },
	{ "memory.status", "What memory the machine has, and what its guest says it needs.", .params = none,
	    RESULT(memory_status, memory_status_fields), .call = do_memory_status },
	{ "disk.add",
	    "Gives the machine a disk or DVD drive. Before \"create\" it is part of the machine from the "
	    "beginning, "
	    "later it comes while the guest runs.",
	    PARAMS(disk_params, disk_add_fields), disk_defaults, .result = none, .call = do_disk_add },
	{ "disk.remove",
	    "Takes a disk or DVD drive away, as pulling it out does. The event \"disk\" with What "
	    "\"Removed\" says when "
	    "its file has been closed.",
	    PARAMS(disk_params, disk_name_fields), disk_defaults, .result = none, .call = do_disk_remove },
	{ "disk.insert", "Puts a medium into a DVD drive, or takes it out.",
	    PARAMS(disk_params, disk_insert_fields), disk_defaults, .result = none, .call = do_disk_insert },
	{ "disk.limit", "Sets the limits of a disk.", PARAMS(disk_params, disk_limit_fields), disk_defaults,
	    .result = none, .call = do_disk_limit },
	{ "disk.resized", "Says that a disk's file has another size now.",
	    PARAMS(disk_params, disk_resized_fields), disk_defaults, .result = none,
	    .call = do_disk_resized },
	{ "disk.branch",
	    "Puts a new differencing image on top of a disk while the guest runs: its own image becomes the "
	    "parent, and is not written to any more. Answers when that holds; after a failure the disk is "
	    "what "
	    "it was.",
	    PARAMS(disk_params, disk_branch_fields), disk_defaults, .result = none, .call = do_disk_branch },
	{ "disk.merge",
	    "Merges a disk's own image into its parent, or several at once, while the guest runs. Answers "
	    "when "
	    "it has begun; the event \"disk\" says \"Merged\" when each of the two has everything, or "
	    "\"MergeEnded\" "
	    "when the disk is what it was before.",
	    PARAMS(disk_params, disk_merge_fields), disk_defaults, .result = none, .call = do_disk_merge },
	{ "disk.merge.complete",
	    "After \"Merged\": the parent is the disk's own image now, and what was merged into it is "
	    "closed.",
	    PARAMS(disk_params, disk_name_fields), disk_defaults, .result = none,
	    .call = do_disk_merge_complete },
	{ "disk.merge.cancel", "Ends a merge, also after \"Merged\": \"MergeEnded\" follows.",
	    PARAMS(disk_params, disk_name_fields), disk_defaults, .result = none,
	    .call = do_disk_merge_cancel },
	{ "disk.list", "The disks and DVD drives, with their counters.", .params = none,
	    RESULT(disk_list, disk_list_fields), .call = do_disk_list },
	{ "socket.listen",
	    "Guests may ask for streams to a service: each time the event \"socket\" with What \"Requested\" "
	    "tells "
	    "the stream's Id, to be accepted or refused within 1.5 s.",
	    PARAMS(socket_params, stream_service_fields), stream_defaults, .result = none,
	    .call = do_stream_listen },
	{ "socket.unlisten", "The service is listened to no more; its streams stay.",
	    PARAMS(socket_params, stream_service_fields), stream_defaults, .result = none,
	    .call = do_stream_unlisten },
	{ "socket.accept", "Gives the guest the stream that it has asked for.",
	    PARAMS(socket_params, stream_accept_fields), stream_defaults, .result = none,
	    .call = do_stream_accept },
	{ "socket.refuse", "Refuses the stream that the guest has asked for.",
	    PARAMS(socket_params, stream_id_fields), stream_defaults, .result = none,
	    .call = do_stream_refuse },
	{ "socket.connect",
	    "Offers a service of the guest a stream. If it does not take it in 5 s the event \"socket\" says "
	    "\"NotTaken\"; the end of any stream is told by \"Closed\", \"Failed\" or \"Shut\".",
	    PARAMS(socket_params, stream_connect_fields), stream_defaults,
	    RESULT(socket_id, stream_new_fields), .call = do_stream_connect },
	{ "socket.close", "Ends a stream.", PARAMS(socket_params, stream_id_fields), stream_defaults,
	    .result = none, .call = do_stream_close },
	{ "socket.list", "The streams there are, with their counters.", .params = none,
	    RESULT(socket_list, stream_list_fields), .call = do_stream_list },
	{ "ic.list", "The integration components, and what the guest makes of them.", .params = none,
	    RESULT(ic_list, ic_list_fields), .call = do_ic_list },
	{ "ic.set",
	    "Switches an integration component on or off, also while the guest runs. Saved state is for a "
	    "document that says the same.",
	    PARAMS(ic_params, ic_set_fields), ic_defaults, RESULT(ic_changed, ic_changed_fields),
	    .call = do_ic_set },
	{ "guest.shutdown",
	    "Asks the guest to shut down, restart or hibernate. The event \"integration\" with What "
	    "\"Ended\" says whether it will; the machine's state, that it has.",
	    PARAMS(ic_params, guest_shutdown_fields), ic_defaults, .result = none,
	    .call = do_guest_shutdown },
	{ "guest.time.sync", "Sets the guest's clock to the host's; \"Ended\" follows.", .params = none,
	    .result = none, .call = do_guest_time_sync },
	{ "kvp.get", "A fact, as it was told or read last.", PARAMS(ic_params, kvp_key_fields), ic_defaults,
	    RESULT(kvp_item, kvp_item_fields), .call = do_kvp_get },
	{ "kvp.set", "A fact that the guest is told, now or when it listens.",
	    PARAMS(ic_params, kvp_set_fields), ic_defaults, RESULT(ic_changed, ic_changed_fields),
	    .call = do_kvp_set },
	{ "kvp.delete", "The guest is told to forget a fact of the host's.",
	    PARAMS(ic_params, kvp_key_fields), ic_defaults, RESULT(ic_changed, ic_changed_fields),
	    .call = do_kvp_delete },
	{ "kvp.enumerate",
	    "The facts of a pool, a dozen at a time. What the guest tells is what was read last; the event "
	    "\"integration\" with What \"GuestFacts\" says that it has changed.",
	    PARAMS(ic_params, kvp_enumerate_fields), ic_defaults, RESULT(kvp_page, kvp_page_fields),
	    .call = do_kvp_enumerate },
	{ "guest.ip.get", "Asks the guest for the addresses of an adapter; \"Ended\" brings them.",
	    PARAMS(ic_params, guest_ip_get_fields), ic_defaults, .result = none, .call = do_guest_ip_get },
	{ "guest.ip.set", "Sets the addresses of an adapter of the guest; \"Ended\" follows.",
	    PARAMS(ic_params, guest_ip_set_fields), ic_defaults, .result = none, .call = do_guest_ip_set },
	{ "guest.freeze",
	    "Makes the guest's file systems stand still; \"Ended\" says when they do, and with Operation "
	    "guest.thaw when they do not any more: at guest.thaw, or after the time limit.",
	    PARAMS(ic_params, guest_freeze_fields), ic_defaults, .result = none, .call = do_guest_freeze },
	{ "guest.thaw", "Lets them go on.", .params = none, .result = none, .call = do_guest_thaw },
	{ "guest.copy", "Copies a file into the guest. \"Copying\" tells how far it is, \"Ended\" the end.",
	    PARAMS(ic_params, guest_copy_fields), ic_defaults, .result = none, .call = do_guest_copy },
	{ "guest.copy.cancel", "Ends a copy; the guest removes what it has of it.", .params = none,
	    .result = none, .call = do_guest_copy_cancel },
	{ "nic.add",
	    "Gives the machine a network adapter. Before \"create\" it is part of the machine from the "
	    "beginning, "
	    "later it comes while the guest runs.",
	    PARAMS(nic_params, nic_add_fields), nic_defaults, .result = none, .call = do_nic_add },
	{ "nic.remove",
	    "Takes a network adapter away. The event \"nic\" with What \"Removed\" says when its taps have "
	    "been "
	    "closed.",
	    PARAMS(nic_params, nic_name_fields), nic_defaults, .result = none, .call = do_nic_remove },
	{ "nic.connect",
	    "Plugs a network adapter in or out, or into another network, as with its cable. Without taps the "
	    "link "
	    "changes only.",
	    PARAMS(nic_params, nic_connect_fields), nic_defaults, .result = none, .call = do_nic_connect },
	{ "nic.list", "The network adapters, with their counters.", .params = none,
	    RESULT(nic_list, nic_list_fields), .call = do_nic_list },
	{ "quit", "Ends the worker, and with it the machine, whatever its state.", .params = none,
	    .result = none, .call = do_quit },
	{ 0 },
};
