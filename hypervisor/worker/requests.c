/* hypervisor/worker/requests.c - what a worker can be asked: one table. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/chipset/pm.h"
#include "hypervisor/chipset/uart.h"
#include "hypervisor/state/save.h"
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
	r->memory_mb = gmem_size(w->p->mem) >> 20;
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
		return err_set(e, EBUSY, "save: the guest turns itself off or resets in this moment");
	}
	if (rc == 0)
		rc = machine_save(w->p, s->stream, e);
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
	{ "memory.add", "Adds memory at the end of the machine's address space while it runs.",
	    PARAMS(memory_params, memory_fields), RESULT(memory_result, memory_result_fields),
	    .call = do_memory_add },
	{ "quit", "Ends the worker, and with it the machine, whatever its state.", .params = none,
	    .result = none, .call = do_quit },
	{ 0 },
};
