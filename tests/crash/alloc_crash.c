/*
 * tests/crash/alloc_crash.c - every allocation and every system call of the kinds we make, failing one at a
 * time, while a worker does what it does: it ends with a clean sentence, nothing is leaked or lost, and the
 * next try works.
 */
#include <sanitizer/lsan_interface.h>
#include <signal.h>
#include <string.h>

#include "tests/crash/fault.h"
#include "tests/unit/fake_saved.h"
#define FAKE_SENDMSG __real_sendmsg /* our own end is not what fails */
#include "tests/unit/fake_worker.h"

enum { POINTS_MAX = 4000 }; /* no scenario makes as many calls */

/* What is tried: act with a fault, then clean, and all of it again without. prepare and clean never fail. */
struct scenario {
	const char *name;
	void (*prepare)(void);
	int (*act)(struct err *e); /* 0, or -errno with a sentence */
	void (*clean)(void);
	bool (*whole)(void); /* is all as it should be, when act has succeeded? NULL: nothing to look at */
};

ssize_t __real_writev(int fd, const struct iovec *v, int n);
ssize_t __wrap_writev(int fd, const struct iovec *v, int n);

ssize_t
__wrap_writev(int fd, const struct iovec *v, int n)
{
	return fault_now(FAULT_WRITE) ? -1 : __real_writev(fd, v, n);
}

static const char document[] =
    "{\"ConfigurationVersion\":1,\"Id\":\"01234567-89ab-cdef-0123-456789abcdef\",\"Name\":\"t\","
    "\"Memory\":{\"SizeInMB\":32,\"MaximumSizeInMB\":64},\"ComPorts\":{\"Com1\":true},"
    "\"LinuxKernelDirect\":{\"Kernel\":0}}";

static struct machine m;
static struct host host;

static void
make_machine(void)
{
	host = (struct host){ .kvm_fd = fake_kvm_open() };
	fake_machine(&m, 32, 1);
	m.memory.maximum_mb = 64;
}

static void
drop_machine(void)
{
	machine_close(&m);
	fake_kvm_close();
}

/* --- a document -------------------------------------------------------------------------------------------
 */

static int given = -1;

static void
give_file(void)
{
	given = memfd_create("kernel", MFD_CLOEXEC);
	m.direct.kernel_fd = m.direct.initrd_fd = -1;
}

static int
read_document(struct err *e)
{
	struct fd_set_in fds = { &given, 1 };
	json_t *doc = schema_parse(document, sizeof(document) - 1, e);
	int rc = doc ? machine_read(&m, doc, &fds, e) : -e->code;

	json_decref(doc);
	return rc;
}

static void
take_file(void)
{
	machine_close(&m);
	if (given >= 0)
		close(given);
	given = -1;
}

/* --- boot
 * --------------------------------------------------------------------------------------------------- */

static struct gmem *mem;

static int
boot(struct err *e)
{
	struct boot_entry entry;
	int rc = gmem_new(&mem, 32 << 20, false, e);

	if (rc < 0)
		mem = NULL;
	if (rc == 0)
		rc = gmem_add(mem, 0, 32 << 20, NULL, e);
	if (rc == 0)
		rc = boot_tables(&m, mem, e);
	if (rc == 0)
		rc = boot_load(&m, mem, &entry, e);
	if (rc == 0 && entry.rip != 0x200100)
		rc = err_set(e, EINVAL, "another entry");
	return rc;
}

static void
drop_boot(void)
{
	gmem_free(mem);
	mem = NULL;
	drop_machine();
}

/* --- a whole partition
 * -------------------------------------------------------------------------------------- */

static struct partition *p;

static int
no_walls(struct err *e)
{
	(void)e;
	return 0;
}

static int
build(struct err *e)
{
	int rc = partition_new(&p, &host, &m, NULL, no_walls, e);

	return rc < 0 ? rc : partition_power_on(p, e);
}

static void
drop_partition(void)
{
	fake_partition_free(p);
	fake_kvm_forget_vm();
	p = NULL;
	drop_machine();
}

/* --- requests
 * ------------------------------------------------------------------------------------------------- */

static struct fake_worker f;
static int kernel = -1;

static void
make_worker(void)
{
	kernel = fake_kernel();
	fake_worker_init(&f);
}

static void
drop_worker(void)
{
	fake_worker_free(&f);
	close(kernel);
}

/* The answer, events skipped: 0, or -errno and its sentence. A controller that was let go knows why, too. */
static int
answer(struct err *e)
{
	struct err none = { 0 };
	const char *text;

	while ((text = fake_told(&f))[0]) {
		json_t *doc = schema_parse(text, strlen(text), &none);
		json_t *failure = json_object_get(doc, "error"), *result = json_object_get(doc, "result");
		const char *words = json_string_value(json_object_get(failure, "message"));
		int rc = result ? 0 : 1;

		if (words)
			rc = err_set(e, EREMOTEIO, "%s", words);
		json_decref(doc);
		if (rc <= 0)
			return rc;
	}
	return err_set(e, ECONNRESET, "the controller was let go");
}

static int
ask(const char *text, const int *fd, size_t nfds, struct err *e)
{
	fake_ask(&f, text, fd, nfds);
	return answer(e);
}

static int
create(struct err *e)
{
	char text[600];

	snprintf(text, sizeof(text),
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"create\",\"params\":{\"Machine\":%s}}", document);
	return ask(text, &kernel, 1, e);
}

static void
make_created(void)
{
	struct err e = { 0 };

	make_worker();
	if (create(&e) < 0)
		abort();
}

static int
start(struct err *e)
{
	return ask("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"start\"}", NULL, 0, e);
}

static int
status(struct err *e)
{
	return ask("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}", NULL, 0, e);
}

static int
add_memory(struct err *e)
{
	return ask("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory.add\",\"params\":{\"SizeInMB\":2}}",
	    NULL, 0, e);
}

/* --- a console
 * ----------------------------------------------------------------------------------------------- */

static int ours = -1;

/* Attaches, and moves bytes both ways. A console may be let go, or nothing move: nobody else suffers. */
static int
talk(struct err *e)
{
	int fd[2], rc;
	char buf[16];
	bool armed = fault.kind != FAULT_NONE;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
		return err_sys(e, "socketpair");
	ours = fd[1];
	rc = ask("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"console.attach\",\"params\":{\"Port\":0,"
		 "\"Stream\":0}}",
	    fd, 1, e);
	close(fd[0]);
	if (send(ours, "in", 2, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && rc == 0 && f.w.console[0].fd >= 0)
		return err_set(e, EIO, "the console does not take input");
	bus_write(&f.w.p->ports, 0x3f8, 1, 'x');
	for (int i = 0; i < 3 && f.w.console[0].fd >= 0; i++)
		console_pump(&f.w.console[0]);
	if (rc == 0 && !armed && recv(ours, buf, sizeof(buf), MSG_DONTWAIT) != 1)
		return err_set(e, EIO, "the console said nothing");
	return rc;
}

static void
drop_console(void)
{
	if (ours >= 0)
		close(ours);
	ours = -1;
	drop_worker();
}

/* --- saved state
 * ---------------------------------------------------------------------------------------------- */

static struct partition source;
static int stream = -1;

static void
make_source(void)
{
	make_machine();
	if (fake_saved_init(&source, &host, &m, NULL) < 0)
		abort();
	memset(gmem_span(source.mem, 0x100000, 8192), 0x42, 8192);
	stream = memfd_create("saved", MFD_CLOEXEC);
}

static int
save(struct err *e)
{
	return machine_save(&source, stream, e);
}

static void
drop_source(void)
{
	fake_saved_free(&source);
	if (stream >= 0)
		close(stream);
	stream = -1;
	drop_machine();
}

/* A save that says it succeeded has all of it. */
static bool
saved_all(void)
{
	struct partition copy;
	struct saved_facts facts;
	struct err e = { 0 };
	int rc;
	bool ok;

	lseek(stream, 0, SEEK_SET);
	fake_saved_free(&source);
	rc = saved_facts_read(&facts, &m, stream, &e);
	if (rc < 0 || fake_saved_init(&copy, &host, &m, &e) < 0)
		return false;
	rc = machine_restore(&copy, &facts, stream, &e);
	ok = rc == 0 && *(uint8_t *)gmem_span(copy.mem, 0x101fff, 1) == 0x42;
	fake_saved_free(&copy);
	return ok;
}

static void
make_stream(void)
{
	struct err e = { 0 };

	make_source();
	if (save(&e) < 0 || lseek(stream, 0, SEEK_SET) < 0)
		abort();
	fake_saved_free(&source);
}

static struct partition restored;

static int
restore(struct err *e)
{
	struct saved_facts facts;
	int rc = saved_facts_read(&facts, &m, stream, e);

	if (rc == 0)
		rc = fake_saved_init(&restored, &host, &m, e);
	return rc < 0 ? rc : machine_restore(&restored, &facts, stream, e);
}

static bool
restored_all(void)
{
	return *(uint8_t *)gmem_span(restored.mem, 0x101fff, 1) == 0x42;
}

static void
drop_restored(void)
{
	if (restored.machine)
		fake_saved_free(&restored);
	drop_source();
}

/* --- all of them
 * ----------------------------------------------------------------------------------------------- */

static const struct scenario scenarios[] = {
	{ "document", give_file, read_document, take_file, NULL },
	{ "boot", make_machine, boot, drop_boot, NULL },
	{ "partition", make_machine, build, drop_partition, NULL },
	{ "create", make_worker, create, drop_worker, NULL },
	{ "start", make_created, start, drop_worker, NULL },
	{ "status", make_created, status, drop_worker, NULL },
	{ "memory.add", make_created, add_memory, drop_worker, NULL },
	{ "console", make_created, talk, drop_console, NULL },
	{ "save", make_source, save, drop_source, saved_all },
	{ "restore", make_stream, restore, drop_restored, restored_all },
};
enum { SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]) };

static bool
is_sentence(const struct err *e)
{
	return e->code > 0 && strlen(e->msg) > 5 && !strstr(e->msg, "(null)") && !strstr(e->msg, "Success");
}

/* One run. True when the fault came. */
static bool
try(const struct scenario *s, enum fault kind, unsigned n, int code)
{
	struct err e = { 0 };
	size_t before = fake_open_fds();
	bool came;
	int rc;

	s->prepare();
	fake_kvm.fails_now = fault_ioctl;
	fault_arm(kind, n, code);
	rc = s->act(&e);
	came = fault_disarm();
	fake_kvm.fails_now = NULL;
	snprintf(tally.point, sizeof(tally.point), "%s: %s %u: %s", s->name,
	    kind ? faults[kind].name : "nothing", n, kind ? strerror(code) : "fails");
	point(rc == 0 || is_sentence(&e), "no sentence:", e.msg);
	point(came || rc == 0, "failed without a fault:", e.msg);
	if (rc == 0 && s->whole)
		point(s->whole(), "succeeded with a part missing", "");
	s->clean();
	point(fake_open_fds() == before, "a descriptor was lost", "");
	return came;
}

static void
run(const struct scenario *s)
{
	for (enum fault kind = FAULT_NONE + 1; kind < FAULTS; kind++)
		for (int c = 0; c < 3 && faults[kind].code[c]; c++) {
			unsigned n = 0;

			while (n < POINTS_MAX && try(s, kind, n, faults[kind].code[c]))
				n++;
			point(n < POINTS_MAX, "there is no end to its calls", "");
			try(s, FAULT_NONE, 0, 0); /* the next try works */
		}
	point(__lsan_do_recoverable_leak_check() == 0, "memory was leaked", "");
}

/*
 * What jansson allocates fails as well, but for the text of its lexer, which grows by powers of two: jansson
 * 2.14 does not notice that failure and reads and writes past its buffer (github.com/akheron/jansson, issue
 * 362).
 */
static void *
json_malloc(size_t n)
{
	return n >= 32 && (n & (n - 1)) == 0 ? __real_malloc(n) : __wrap_malloc(n);
}

int
main(void)
{
	signal(SIGPIPE, SIG_IGN);
	if (vcpu_setup_signal(NULL) < 0)
		abort();
	log_open("alloc", 2, (enum log_level)0);
	json_set_alloc_funcs(json_malloc, free);
	json_object_seed(1);
	for (int i = 0; i < SCENARIOS; i++)
		run(&scenarios[i]);
	return tell("alloc");
}
