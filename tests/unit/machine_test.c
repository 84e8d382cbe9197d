/*
 * tests/unit/machine_test.c - which descriptions of a machine are taken, and what follows from them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/core/machine.h"

#define ID   "\"ConfigurationVersion\":1,\"Id\":\"00112233-4455-6677-8899-aabbccddeeff\",\"Name\":\"web1\""
#define BOOT "\"LinuxKernelDirect\":{\"Kernel\":0}"
#define GIB  0x40000000ull

/* Reads a document with two descriptors beside it, which are closed unless the machine has them. */
static int
read_text(struct machine *m, const char *text, struct err *e)
{
	int fd[2] = { open("/dev/null", O_RDONLY | O_CLOEXEC), open("/dev/null", O_RDONLY | O_CLOEXEC) };
	struct fd_set_in fds = { fd, 2 };
	json_t *doc = schema_parse(text, strlen(text), e);
	int rc;

	assert_non_null(doc);
	memset(m, 0xa5, sizeof(*m));
	rc = machine_read(m, doc, &fds, e);
	json_decref(doc);
	for (size_t i = 0; i < 2; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	return rc;
}

static unsigned
open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void
the_shortest_document_gets_defaults(void **state)
{
	struct machine m;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(read_text(&m, "{" ID ",\"Memory\":{\"SizeInMB\":512}," BOOT "}", &e), 0);
	assert_int_equal(m.version, 1);
	assert_string_equal(m.name, "web1");
	assert_int_equal(m.id[1], 0x11);
	assert_int_equal(m.processor.count, 1);
	assert_int_equal(m.processor.threads_per_core, 1);
	assert_int_equal(m.processor.cores_per_socket, 1);
	assert_string_equal(m.processor.baseline, "host");
	assert_false(m.processor.expose_virtualization);
	assert_int_equal(m.memory.size_mb, 512);
	assert_int_equal(m.memory.maximum_mb, 512);
	assert_int_equal(m.memory.huge_pages, 0);
	assert_int_equal(m.nodes, 1);
	assert_int_equal(m.node[0].memory_mb, 512);
	assert_int_equal(m.node[0].processors, 1);
	assert_true(m.direct.kernel_fd >= 0);
	assert_int_equal(m.direct.initrd_fd, -1);
	assert_string_equal(m.direct.cmdline, "");
	assert_false(m.com[0] || m.com[1]);
	machine_close(&m);
	assert_int_equal(m.direct.kernel_fd, -1);
	machine_close(&m);
}

static void
every_field_arrives(void **state)
{
	struct machine m;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(
	    read_text(&m,
		"{" ID ",\"Processor\":{\"Count\":6,\"ThreadsPerCore\":2,\"CoresPerSocket\":3,"
		"\"Baseline\":\"x86-64-v2\",\"ExposeVirtualizationExtensions\":true},"
		"\"Memory\":{\"SizeInMB\":4096,\"MaximumSizeInMB\":8192,\"BackingPageSize\":\"Large\"},"
		"\"Numa\":{\"Nodes\":[{\"MemorySizeInMB\":1024,\"ProcessorCount\":2},"
		"{\"MemorySizeInMB\":3072,\"ProcessorCount\":4}]},"
		"\"LinuxKernelDirect\":{\"Kernel\":1,\"Initrd\":0,\"CommandLine\":\"console=ttyS0\"},"
		"\"ComPorts\":{\"Com1\":true,\"Com2\":true},"
		"\"Smbios\":{\"SerialNumber\":\"S1\",\"AssetTag\":\"A1\"},"
		"\"GenerationId\":\"ffeeddcc-bbaa-9988-7766-554433221100\"}",
		&e),
	    0);
	assert_int_equal(m.processor.count, 6);
	assert_int_equal(m.processor.threads_per_core, 2);
	assert_int_equal(m.processor.cores_per_socket, 3);
	assert_string_equal(m.processor.baseline, "x86-64-v2");
	assert_true(m.processor.expose_virtualization);
	assert_int_equal(m.memory.size_mb, 4096);
	assert_int_equal(m.memory.maximum_mb, 8192);
	assert_int_equal(m.memory.huge_pages, 1);
	assert_int_equal(m.nodes, 2);
	assert_int_equal(m.node[0].memory_mb, 1024);
	assert_int_equal(m.node[1].processors, 4);
	assert_true(m.direct.kernel_fd >= 0 && m.direct.initrd_fd >= 0);
	assert_string_equal(m.direct.cmdline, "console=ttyS0");
	assert_true(m.com[0] && m.com[1]);
	assert_string_equal(m.smbios.serial, "S1");
	assert_string_equal(m.smbios.asset_tag, "A1");
	assert_int_equal(m.generation_id[0], 0xff);
	machine_close(&m);
}

/* Each begins with ID; BOOT follows where the document is otherwise whole. */
static const struct {
	const char *text, *msg;
} refused[] = {
	{ "{" ID ",\"Memory\":{\"SizeInMB\":512}}",
	    "LinuxKernelDirect.Kernel: missing, and no other way to boot is configured" },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":31}}", NULL },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":16777217}}", NULL },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":9223372036854775807}}", NULL },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":-512}}", NULL },
	{ "{" ID "," BOOT ",\"Memory\":{}}", NULL },
	{ "{" ID "," BOOT "}", NULL },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512,\"MaximumSizeInMB\":511}}",
	    "Memory.MaximumSizeInMB: 511 is below the 512 MiB at start" },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":513,\"BackingPageSize\":\"Large\"}}",
	    "Memory.BackingPageSize: 513 MiB are not whole pages of 2 MiB" },
	{ "{" ID "," BOOT
	  ",\"Memory\":{\"SizeInMB\":512,\"MaximumSizeInMB\":1023,\"BackingPageSize\":\"Large\"}}",
	    "Memory.BackingPageSize: 1023 MiB are not whole pages of 2 MiB" },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512,\"BackingPageSize\":\"Middle\"}}", NULL },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512},\"Processor\":{\"Count\":0}}", NULL },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512},\"Processor\":{\"Count\":65}}", NULL },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512},\"Processor\":{\"ThreadsPerCore\":3}}", NULL },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512},\"Processor\":{\"Count\":3,\"ThreadsPerCore\":2}}",
	    "Processor.Count: 3 processors do not make whole cores of 2 threads" },
	{ "{" ID ",\"Memory\":{\"SizeInMB\":512}," BOOT ",\"Processor\":{\"Baseline\":\"pentium\"}}",
	    "Processor.Baseline: 'pentium' is not one of host, x86-64-v2, x86-64-v3, x86-64-v4" },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512},\"Processor\":{\"Count\":6,\"CoresPerSocket\":4}}",
	    "Processor.CoresPerSocket: 6 cores do not fill sockets of 4" },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512},\"Processor\":{\"Count\":2,\"CoresPerSocket\":4}}",
	    "Processor.CoresPerSocket: 2 cores do not fill sockets of 4" },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512},\"Processor\":{\"Baseline\":\"\"}}", NULL },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512},\"Numa\":{\"Nodes\":["
	  "{\"MemorySizeInMB\":511,\"ProcessorCount\":1}]}}",
	    "Numa.Nodes: they have 511 MiB in all, the machine 512 MiB" },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512},\"Numa\":{\"Nodes\":["
	  "{\"MemorySizeInMB\":512,\"ProcessorCount\":2}]}}",
	    "Numa.Nodes: they have 2 processors in all, the machine 1" },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512},\"Numa\":{\"Nodes\":["
	  "{\"MemorySizeInMB\":512,\"ProcessorCount\":1},{\"MemorySizeInMB\":0,\"ProcessorCount\":1}]}}",
	    NULL },
	{ "{\"ConfigurationVersion\":2,\"Id\":\"00112233-4455-6677-8899-aabbccddeeff\",\"Name\":\"x\"," BOOT
	  ",\"Memory\":{\"SizeInMB\":512}}",
	    NULL },
	{ "{" ID "," BOOT ",\"Memory\":{\"SizeInMB\":512},\"Colour\":1}", NULL },
	{ "{" ID ",\"LinuxKernelDirect\":{\"Initrd\":0},\"Memory\":{\"SizeInMB\":512}}", NULL },
	{ "{" ID ",\"LinuxKernelDirect\":{\"Kernel\":0,\"Initrd\":0},\"Memory\":{\"SizeInMB\":512}}", NULL },
	{ "{" ID ",\"LinuxKernelDirect\":{\"Kernel\":2},\"Memory\":{\"SizeInMB\":512}}", NULL },
	{ "{}", NULL },
	{ "[]", NULL },
};

static void
a_bad_document_is_refused_in_words_and_leaks_nothing(void **state)
{
	unsigned before = open_descriptors();

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct machine m;
		struct err e = { 0 };
		int rc = read_text(&m, refused[i].text, &e);

		if (rc >= 0)
			print_error("taken: %s\n", refused[i].text);
		assert_true(rc < 0);
		assert_int_equal(e.code, -rc);
		assert_true(strlen(e.msg) > 10);
		if (refused[i].msg != NULL)
			assert_string_equal(e.msg, refused[i].msg);
		assert_int_equal(open_descriptors(), before);
	}
}

static void
texts_fit_to_the_byte(void **state)
{
	static const struct {
		const char *before, *after;
		size_t most;
	} text[] = {
		{ "{\"ConfigurationVersion\":1,\"Id\":\"00112233-4455-6677-8899-aabbccddeeff\",\"Name\":\"",
		    "\",\"Memory\":{\"SizeInMB\":512}," BOOT "}", 100 },
		{ "{" ID ",\"Memory\":{\"SizeInMB\":512}," BOOT ",\"Smbios\":{\"SerialNumber\":\"", "\"}}",
		    64 },
		{ "{" ID ",\"Memory\":{\"SizeInMB\":512}," BOOT ",\"Smbios\":{\"AssetTag\":\"", "\"}}", 64 },
		{ "{" ID
		  ",\"Memory\":{\"SizeInMB\":512},\"LinuxKernelDirect\":{\"Kernel\":0,\"CommandLine\":\"",
		    "\"}}", MACHINE_CMDLINE - 1 },
	};
	static char fill[MACHINE_CMDLINE + 1], doc[4096];

	(void)state;
	memset(fill, 'x', sizeof(fill) - 1);
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		struct machine m;
		struct err e = { 0 };

		for (int more = 0; more < 2; more++) {
			snprintf(doc, sizeof(doc), "%s%.*s%s", text[i].before, (int)text[i].most + more, fill,
			    text[i].after);
			assert_int_equal(read_text(&m, doc, &e), more ? -EINVAL : 0);
			if (!more)
				machine_close(&m);
		}
	}
}

static void
the_table_keeps_its_own_rules(void **state)
{
	struct err e = { 0 };

	(void)state;
	if (!schema_table_ok(machine_fields, &e))
		fail_msg("%s", e.msg);
}

static struct machine
with_processors(unsigned count, unsigned threads, unsigned cores)
{
	struct machine m;
	struct err e = { 0 };

	machine_defaults(&m);
	m.processor.count = count;
	m.processor.threads_per_core = threads;
	m.processor.cores_per_socket = cores;
	m.memory.size_mb = 512;
	m.direct.kernel_fd = 1000; /* never used */
	if (machine_check(&m, &e) < 0)
		m.processor.count = 0;
	return m;
}

static void
apic_ids_have_whole_bits_for_threads_and_cores(void **state)
{
	struct machine m = with_processors(12, 2, 3);

	(void)state;
	assert_int_equal(machine_core_shift(&m), 1);
	assert_int_equal(machine_socket_shift(&m), 3);
	assert_int_equal(machine_apic_id(&m, 0), 0);
	assert_int_equal(machine_apic_id(&m, 1), 1);
	assert_int_equal(machine_apic_id(&m, 2), 2);
	assert_int_equal(machine_apic_id(&m, 5), 5);
	assert_int_equal(machine_apic_id(&m, 6), 8);
	assert_int_equal(machine_apic_id(&m, 11), 13);
	m = with_processors(1, 1, 0);
	assert_int_equal(machine_core_shift(&m), 0);
	assert_int_equal(machine_socket_shift(&m), 0);
}

/* The tables of ACPI hold them in a byte of which 255 means all. */
static void
apic_ids_rise_and_stay_below_128_in_every_topology(void **state)
{
	(void)state;
	for (unsigned threads = 1; threads <= 2; threads++)
		for (unsigned count = 1; count <= MACHINE_MAX_PROCESSORS; count++)
			for (unsigned cores = 0; cores <= count; cores++) {
				struct machine m = with_processors(count, threads, cores);

				for (unsigned vp = 0; vp < m.processor.count; vp++) {
					assert_true(machine_apic_id(&m, vp) < 128);
					assert_true(
					    vp == 0 || machine_apic_id(&m, vp) > machine_apic_id(&m, vp - 1));
				}
			}
}

static void
nodes_take_processors_in_order(void **state)
{
	struct machine m = with_processors(6, 1, 0);

	(void)state;
	assert_int_equal(machine_node_of(&m, 5), 0);
	m.nodes = 3;
	m.node[0].processors = 1;
	m.node[1].processors = 3;
	m.node[2].processors = 2;
	for (unsigned vp = 0; vp < 6; vp++)
		assert_int_equal(machine_node_of(&m, vp), vp == 0 ? 0 : vp < 4 ? 1 : 2);
}

static void
the_memory_map_of_version_1_does_not_change(void **state)
{
	static const struct {
		uint64_t size_mb, maximum_mb;
		struct memory_map map;
	} known[] = {
		{ 32, 32, { 0x2000000, 0, 4 * GIB, 4 * GIB, 4 * GIB, 5 * GIB, 69 * GIB } },
		{ 3072, 0, { 3 * GIB, 0, 4 * GIB, 4 * GIB, 4 * GIB, 5 * GIB, 69 * GIB } },
		{ 3073, 3073,
		    { 3 * GIB, 0x100000, 4 * GIB + 0x100000, 4 * GIB + 0x100000, 5 * GIB, 6 * GIB,
			70 * GIB } },
		{ 3073, 3074,
		    { 3 * GIB, 0x100000, 4 * GIB + 0x8000000, 4 * GIB + 0x10000000, 5 * GIB, 6 * GIB,
			70 * GIB } },
		{ 512, 8192,
		    { 0x20000000, 0, 4 * GIB, 4 * GIB + 7680ull * 0x100000, 12 * GIB, 13 * GIB, 77 * GIB } },
		{ MACHINE_MAX_MB, MACHINE_MAX_MB,
		    { 3 * GIB, 16381 * GIB, 16385 * GIB, 16385 * GIB, 16385 * GIB, 16386 * GIB,
			16450 * GIB } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct machine m;
		struct memory_map map;

		machine_defaults(&m);
		m.memory.size_mb = known[i].size_mb;
		m.memory.maximum_mb = known[i].maximum_mb;
		machine_map(&m, &map);
		assert_memory_equal(&map, &known[i].map, sizeof(map));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_shortest_document_gets_defaults),
		cmocka_unit_test(every_field_arrives),
		cmocka_unit_test(a_bad_document_is_refused_in_words_and_leaks_nothing),
		cmocka_unit_test(texts_fit_to_the_byte),
		cmocka_unit_test(the_table_keeps_its_own_rules),
		cmocka_unit_test(apic_ids_have_whole_bits_for_threads_and_cores),
		cmocka_unit_test(apic_ids_rise_and_stay_below_128_in_every_topology),
		cmocka_unit_test(nodes_take_processors_in_order),
		cmocka_unit_test(the_memory_map_of_version_1_does_not_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
