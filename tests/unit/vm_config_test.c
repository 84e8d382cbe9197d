/*
 * tests/unit/vm_config_test.c - vm.json: what it may hold, what is said about mistakes, and that a worker
 * takes whatever passes here.
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

#include "agent/vm_config.h"
#include "hypervisor/core/machine.h"

#define LEAST                                                             \
	"{\"Version\":1,\"Id\":\"01234567-89ab-cdef-0123-456789abcdef\"," \
	"\"Memory\":{\"SizeInMB\":512},"                                  \
	"\"LinuxKernelDirect\":{\"KernelFilePath\":\"images/vmlinuz\"}%s}"

static struct vm_config config;
static struct err err;

static int
read_with(const char *more)
{
	char text[2048];
	json_t *doc;
	int rc;

	snprintf(text, sizeof(text), LEAST, more);
	memset(&err, 0, sizeof(err));
	doc = schema_parse(text, strlen(text), &err);
	if (!doc)
		fail_msg("%s: %s", text, err.msg);
	rc = vm_config_read(&config, doc, &err);
	json_decref(doc);
	return rc;
}

static void
the_least_document_is_a_machine(void **state)
{
	(void)state;
	assert_int_equal(read_with(""), 0);
	assert_int_equal(config.processor.count, 1);
	assert_int_equal(config.memory.size_mb, 512);
	assert_string_equal(config.processor.baseline, "host");
	assert_true(config.com[0]);
	assert_false(config.com[1]);
	assert_int_equal(config.auto_start, AUTO_START_NOTHING);
	assert_int_equal(config.auto_stop, AUTO_STOP_SHUT_DOWN);
}

static void
mistakes_are_said_with_their_place(void **state)
{
	static const struct {
		const char *more, *sentence;
	} rows[] = {
		{ ",\"Proccessor\":{}", "Proccessor: unknown name" },
		{ ",\"Processor\":{\"Count\":0}", "Processor.Count: 0 is not between 1 and 64" },
		{ ",\"Processor\":{\"Count\":3,\"ThreadsPerCore\":2}",
		    "Processor.Count: 3 processors do not make whole cores of 2 threads" },
		{ ",\"Processor\":{\"Count\":\"2\"}", "Processor.Count: not a whole number" },
		{ ",\"AutomaticStartAction\":\"Always\"",
		    "AutomaticStartAction: 'Always' is not one of Nothing, StartIfRunning, Start" },
		{ ",\"ComPorts\":{\"Com3\":true}", "ComPorts.Com3: unknown name" },
		{ ",\"Notes\":\"a\\nb\"", "Notes: has a control character" },
		{ ",\"ConfigurationVersion\":2", "ConfigurationVersion: 2 is not between 1 and 1" },
		{ ",\"Processor\":[]", "Processor: not an object" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(read_with(rows[i].more), -EINVAL);
		assert_string_equal(err.msg, rows[i].sentence);
	}
}

static void
a_machine_needs_an_id(void **state)
{
	json_t *doc = json_pack("{s:i, s:s, s:{s:i}, s:{s:s}}", "Version", 1, "Id",
	    "00000000-0000-0000-0000-000000000000", "Memory", "SizeInMB", 64, "LinuxKernelDirect",
	    "KernelFilePath", "images/k");

	(void)state;
	assert_int_equal(vm_config_read(&config, doc, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "Id: "));
	json_object_del(doc, "Id");
	assert_int_equal(vm_config_read(&config, doc, &err), -EINVAL);
	assert_string_equal(err.msg, "Id: missing");
	json_decref(doc);
}

static void
what_is_written_reads_the_same(void **state)
{
	struct vm_config again;
	json_t *doc;

	(void)state;
	assert_int_equal(read_with(",\"Revision\":7,\"Name\":\"web1\",\"Notes\":\"Gr\\u00fc\\u00dfe\","
				   "\"AutomaticStopAction\":\"TurnOff\",\"Processor\":{\"Count\":4},"
				   "\"ComPorts\":{\"Com2\":true},\"Smbios\":{\"SerialNumber\":\"S1\"}"),
	    0);
	doc = vm_config_write(&config);
	assert_int_equal(vm_config_read(&again, doc, &err), 0);
	json_decref(doc);
	assert_memory_equal(&again, &config, sizeof(config));
}

static void
a_worker_takes_what_passes_here(void **state)
{
	struct machine m;
	int fd[2] = { open("/dev/null", O_RDONLY), open("/dev/null", O_RDONLY) };
	struct fd_set_in fds = { fd, 2 };
	json_t *params;

	(void)state;
	assert_int_equal(read_with(",\"Name\":\"web1\",\"Processor\":{\"Count\":8,\"ThreadsPerCore\":2,"
				   "\"ExposeVirtualizationExtensions\":true},\"ComPorts\":{\"Com2\":true}"),
	    0);
	strcpy(config.direct.initrd, "images/initrd");
	strcpy(config.direct.cmdline, "console=ttyS0 quiet");
	params = vm_config_worker(&config);
	if (machine_read(&m, json_object_get(params, "Machine"), &fds, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(m.processor.count, 8);
	assert_int_equal(m.processor.threads_per_core, 2);
	assert_true(m.processor.expose_virtualization);
	assert_int_equal(m.memory.size_mb, 512);
	assert_string_equal(m.direct.cmdline, "console=ttyS0 quiet");
	assert_true(m.direct.kernel_fd >= 0 && m.direct.initrd_fd >= 0);
	assert_true(m.com[0] && m.com[1]);
	assert_memory_equal(m.id, config.id, sizeof(m.id));
	machine_close(&m);
	json_decref(params);
	config.direct.initrd[0] = '\0'; /* then no descriptor is spoken of */
	params = vm_config_worker(&config);
	assert_null(json_object_get(
	    json_object_get(json_object_get(params, "Machine"), "LinuxKernelDirect"), "Initrd"));
	json_decref(params);
}

static void
names_can_be_folders_and_are_no_ids(void **state)
{
	static const char *const good[] = { "web1", "Web Server 1", "a", "r\xc3\xa9seau", "x.y_z-1", NULL };
	static const char *const bad[] = { "", ".", "..", ".hidden", "a/b", "-rf", " a", "a ", "a\nb", "w*b",
		"w?b", "\xff", "01234567-89ab-cdef-0123-456789abcdef", NULL };
	char longest[VM_NAME_SIZE + 1];

	(void)state;
	for (int i = 0; good[i]; i++)
		assert_int_equal(vm_name_check(good[i], &err), 0);
	for (int i = 0; bad[i]; i++)
		assert_int_equal(vm_name_check(bad[i], &err), -EINVAL);
	memset(longest, 'x', sizeof(longest));
	longest[VM_NAME_SIZE] = '\0';
	assert_int_equal(vm_name_check(longest, &err), -EINVAL);
	longest[VM_NAME_SIZE - 1] = '\0';
	assert_int_equal(vm_name_check(longest, &err), 0);
}

static void
new_ids_are_of_version_4_and_differ(void **state)
{
	uint8_t a[GUID_BYTES], b[GUID_BYTES];

	(void)state;
	vm_new_guid(a);
	vm_new_guid(b);
	assert_memory_not_equal(a, b, GUID_BYTES);
	assert_int_equal(a[6] >> 4, 4);
	assert_int_equal(a[8] >> 6, 2);
}

static void
the_table_keeps_its_own_rules(void **state)
{
	(void)state;
	if (!schema_table_ok(vm_config_fields, &err))
		fail_msg("%s", err.msg);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_document_is_a_machine),
		cmocka_unit_test(mistakes_are_said_with_their_place),
		cmocka_unit_test(a_machine_needs_an_id),
		cmocka_unit_test(what_is_written_reads_the_same),
		cmocka_unit_test(a_worker_takes_what_passes_here),
		cmocka_unit_test(names_can_be_folders_and_are_no_ids),
		cmocka_unit_test(new_ids_are_of_version_4_and_differ),
		cmocka_unit_test(the_table_keeps_its_own_rules),
	};

	return cmocka_run_group_tests_name("vm_config", tests, NULL, NULL);
}
