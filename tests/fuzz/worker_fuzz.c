/*
 * tests/fuzz/worker_fuzz.c - the input is requests to a worker: each begins with a byte that says how many
 * descriptors go with it and ends at a NUL. If the first byte of all is odd, the worker has its machine
 * already. Whatever they are, each is answered once, and no descriptor is lost.
 */
#include <poll.h>
#include <signal.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake_worker.h"

enum { REQUESTS_MAX = 6 };

static struct fake_worker f;
static bool changed; /* something was, since the components were looked at */
static int file;     /* what they are given: can be read and written, but is no kernel */

/* A processor that sleeps until it is kicked, and loses no kick. */
static int
sleep_in_guest(struct fake_vcpu *v, struct kvm_run *r)
{
	sigset_t kick, none;

	(void)v;
	sigemptyset(&none);
	sigemptyset(&kick);
	sigaddset(&kick, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &kick, NULL);
	while (!__atomic_load_n(&r->immediate_exit, __ATOMIC_ACQUIRE))
		ppoll(NULL, 0, NULL, &none);
	return EINTR;
}

static int
next_free(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void
fresh(bool with_machine)
{
	fake_worker_init(&f);
	fake_kvm.run = sleep_in_guest;
	if (with_machine) {
		fake_machine(&f.w.machine, 32, 1);
		f.w.machine.memory.maximum_mb = 64;
		memset(f.w.machine.ic.on, true, sizeof(f.w.machine.ic.on));
		must(life_create(&f.w, -1, NULL) == 0);
		fake_told(&f);
	}
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	signal(SIGPIPE, SIG_IGN);
	file = memfd_create("file", MFD_CLOEXEC);
	must(file >= 0);
	fresh(false);
	return 0;
}

/* At most one answer, events before it; all of them JSON. */
static void
hear(void)
{
	int answers = 0;

	while (fake_told(&f)[0]) {
		struct err e = { 0 };
		json_t *doc = schema_parse(f.heard, strlen(f.heard), &e);

		changed = changed || strstr(f.heard, "\"changed\":true");
		must(json_is_object(doc));
		answers += json_object_get(doc, "jsonrpc") && !json_object_get(doc, "params");
		json_decref(doc);
	}
	must(answers <= 1);
}

/* All components are on, and the guest would be told nothing. */
static bool
components_as_they_were(void)
{
	struct ics *s = components_ics(&f.w);
	struct kvp_item item;
	struct ic_report r;
	size_t external, host;
	bool on = true;

	if (!changed)
		return true;
	changed = false;
	for (unsigned i = 0; i < IC_KINDS; i++) {
		ics_report(s, (enum ic_kind)i, &r);
		on = on && r.on;
	}
	ic_kvp_list(s, KVP_EXTERNAL, 0, &item, 1, &external);
	ic_kvp_list(s, KVP_HOST, 0, &item, 1, &host);
	return on && !external && !host;
}

static bool
as_it_was(bool with_machine)
{
	if (f.w.quit || (f.w.p != NULL) != with_machine)
		return false;
	if (!with_machine)
		return true;
	console_detach(&f.w.console[0]);
	console_detach(&f.w.console[1]);
	life_move(&f.w, LIFE_POWER_OFF, NULL, NULL, NULL);
	fake_told(&f);
	f.w.resets = 0;
	return f.w.state == STATE_OFF && gmem_regions(f.w.p->mem) == 1 && components_as_they_were();
}

static void
ask(const char *text, unsigned nfds)
{
	const int fd[] = { file, file, file };

	fake_ask(&f, text, fd, nfds % 4);
	hear();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[4096];
	bool with_machine;
	int lowest;

	if (size < 3 || size >= sizeof(text))
		return 0;
	with_machine = data[0] & 1;
	if (!as_it_was(with_machine)) {
		fake_worker_free(&f);
		fresh(with_machine);
	}
	lowest = next_free(); /* libFuzzer may have opened something since */
	must(ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	size--;
	for (size_t at = 0, i = 0; at + 1 < size && i < REQUESTS_MAX && !f.w.quit; i++) {
		size_t len = strlen(text + at + 1);

		if (len)
			ask(text + at + 1, (uint8_t)text[at]);
		at += len + 2;
	}
	if (as_it_was(with_machine))
		must(next_free() == lowest);
	return 0;
}
