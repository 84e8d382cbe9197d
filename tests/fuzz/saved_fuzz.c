/*
 * tests/fuzz/saved_fuzz.c - the input is a saved machine, or (its first byte odd) changes to a good one: two
 * bytes for the place, one for the new byte. Whatever it is, it is refused in words or leaves a machine that
 * can be saved and restored again.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake_saved.h"

enum { MB = 32, GOOD_MAX = 32768 };

static struct machine m;
static struct host host;
static struct partition p;
static int stream;
static uint8_t good[GOOD_MAX];
static size_t good_len;

static void
fresh(void)
{
	fake_saved_free(&p);
	must(fake_saved_init(&p, &host, &m, NULL) == 0);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	ssize_t n;

	(void)argc;
	(void)argv;
	host = (struct host){ .kvm_fd = fake_kvm_open() };
	fake_machine(&m, MB, 1);
	m.memory.maximum_mb = 256;
	stream = memfd_create("saved", MFD_CLOEXEC);
	must(fake_saved_init(&p, &host, &m, NULL) == 0);
	must(machine_save(&p, stream, NULL) == 0);
	n = pread(stream, good, sizeof(good), 0);
	must(n > 0 && (size_t)n < sizeof(good));
	good_len = (size_t)n;
	fresh();
	return 0;
}

static void
put(const uint8_t *bytes, size_t n)
{
	must(ftruncate(stream, 0) == 0);
	must(pwrite(stream, bytes, n, 0) == (ssize_t)n);
	must(lseek(stream, 0, SEEK_SET) == 0);
}

static void
put_changed(const uint8_t *data, size_t size)
{
	static uint8_t changed[GOOD_MAX];

	memcpy(changed, good, good_len);
	for (; size >= 3; data += 3, size -= 3)
		changed[(size_t)(data[0] | data[1] << 8) % good_len] = data[2];
	put(changed, good_len);
}

static int
restore(struct err *e)
{
	struct saved_facts facts;
	int rc = saved_facts_read(&facts, &m, stream, e);

	return rc < 0 ? rc : machine_restore(&p, &facts, stream, e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = { 0 };
	bool whole;

	if (size == 0)
		return 0;
	if (data[0] & 1)
		put_changed(data + 1, size - 1);
	else
		put(data + 1, size - 1);
	whole = restore(&e) == 0;
	must(whole || (e.code > 0 && e.msg[0]));
	if (gmem_regions(p.mem) > 1) { /* it has more memory now: not for the next input */
		fresh();
		return 0;
	}
	if (whole) {
		must(ftruncate(stream, 0) == 0 && lseek(stream, 0, SEEK_SET) == 0);
		must(machine_save(&p, stream, &e) == 0 && lseek(stream, 0, SEEK_SET) == 0);
		must(restore(&e) == 0);
	}
	return 0;
}
