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
#include "hypervisor/vsp/ic.h"
#include "hypervisor/worker/disk_requests.h"

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

#define CHILD(parents)                                                                                       \
	",\"Devices\":{\"Disks\":[{\"Lun\":0,\"Path\":\"images/a\",\"Format\":\"VHDX\",\"Parents\":" parents \
	"}]}"

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
		{ ",\"Devices\":{\"ScsiControllers\":5}",
		    "Devices.ScsiControllers: 5 is not between 0 and 4" },
		{ ",\"Devices\":{\"Disks\":[{\"Path\":\"images/a\"}]}", "Devices.Disks[0].Lun: missing" },
		{ ",\"Devices\":{\"Disks\":[{\"Lun\":0}]}", "Devices.Disks[0]: Path: a disk needs a file" },
		{ ",\"Devices\":{\"Disks\":[{\"Lun\":0,\"Path\":\"/etc/passwd\"}]}",
		    "Devices.Disks[0]: Path: '/etc/passwd' is neither ./disks/NAME nor images/NAME nor "
		    "/dev/..." },
		{ ",\"Devices\":{\"Disks\":[{\"Lun\":0,\"Controller\":1,\"Path\":\"images/a\"}]}",
		    "Devices.Disks[0]: Controller: there is no controller 1; ScsiControllers is 1" },
		{ ",\"Devices\":{\"ScsiControllers\":0,\"Disks\":[{\"Lun\":0,\"Path\":\"images/a\"}]}",
		    "Devices.Disks[0]: Controller: there is no controller 0; ScsiControllers is 0" },
		{ ",\"Devices\":{\"Disks\":[{\"Lun\":3,\"Path\":\"images/a\"},{\"Lun\":3,\"Type\":\"Dvd\"}]}",
		    "Devices.Disks[1]: Lun: 0:3 is taken by another one" },
		{ ",\"Devices\":{\"Disks\":[{\"Lun\":0,\"Path\":\"images/a\"},{\"Lun\":1,\"Path\":\"images/"
		  "a\","
		  "\"ReadOnly\":true}]}",
		    "Devices.Disks[1]: Path: 'images/a' is at 0:0 already, and one of them may write" },
		{ ",\"Devices\":{\"Disks\":[{\"Lun\":0,\"Path\":\"images/a\",\"LogicalSectorSize\":1024}]}",
		    "Devices.Disks[0]: LogicalSectorSize: 1024 is neither 512 nor 4096" },
		{ ",\"Devices\":{\"Disks\":[{\"Lun\":0,\"Path\":\"images/"
		  "a\",\"MinimumIops\":9,\"MaximumIops\":8}]}",
		    "Devices.Disks[0]: MinimumIops: 9 is more than MaximumIops, which is 8" },
		{ ",\"Devices\":{\"Disks\":[{\"Lun\":0,\"Path\":\"images/a\",\"Format\":\"Vhdx\"}]}",
		    "Devices.Disks[0].Format: 'Vhdx' is not one of Raw, VHD, VHDX" },
		{ ",\"Devices\":{\"Disks\":[{\"Lun\":0,\"Path\":\"/dev/sda\",\"Format\":\"VHDX\"}]}",
		    "Devices.Disks[0]: Format: a block device is Raw" },
		{ ",\"Devices\":{\"Disks\":[{\"Lun\":0,\"Type\":\"Dvd\",\"Format\":\"VHD\"}]}",
		    "Devices.Disks[0]: Format: a DVD is Raw" },
		{ ",\"Devices\":{\"Disks\":[{\"Lun\":0,\"Path\":\"images/a\",\"Parents\":[\"images/b\"]}]}",
		    "Devices.Disks[0]: Parents: a raw disk has none" },
		{ CHILD("7"), "Devices.Disks[0]: Parents: not a list of at most 127 paths" },
		{ CHILD("[7]"), "Devices.Disks[0]: Parents[0]: not a path of 1 to 287 bytes" },
		{ CHILD("[\"images/b\",\"\"]"),
		    "Devices.Disks[0]: Parents[1]: not a path of 1 to 287 bytes" },
		{ CHILD("[\"/etc/passwd\"]"),
		    "Devices.Disks[0]: Parents[0]: '/etc/passwd' is neither ./disks/NAME nor images/NAME" },
		{ CHILD("[\"/dev/sda\"]"),
		    "Devices.Disks[0]: Parents[0]: '/dev/sda' is neither ./disks/NAME nor images/NAME" },
		{ CHILD("[\"images/b\",\"images/b\"]"),
		    "Devices.Disks[0]: Parents[1]: 'images/b' is there twice" },
		{ CHILD("[\"images/a\"]"),
		    "Devices.Disks[0]: Parents[0]: 'images/a' is the disk at 0:0, which may write to it" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(read_with(rows[i].more), -EINVAL);
		assert_string_equal(err.msg, rows[i].sentence);
	}
}

static int
read_memory(const char *memory)
{
	char text[512];
	json_t *doc;
	int rc;

	snprintf(text, sizeof(text),
	    "{\"Version\":1,\"Id\":\"01234567-89ab-cdef-0123-456789abcdef\",\"Memory\":{%s},"
	    "\"LinuxKernelDirect\":{\"KernelFilePath\":\"images/vmlinuz\"}}",
	    memory);
	memset(&err, 0, sizeof(err));
	doc = schema_parse(text, strlen(text), &err);
	assert_non_null(doc);
	rc = vm_config_read(&config, doc, &err);
	json_decref(doc);
	return rc;
}

static void
memory_goes_from_least_to_most(void **state)
{
	static const struct {
		const char *memory, *sentence; /* "": it is good */
	} rows[] = {
		{ "\"SizeInMB\":512,\"Dynamic\":true,\"MinimumSizeInMB\":256,\"MaximumSizeInMB\":1024", "" },
		{ "\"SizeInMB\":512,\"Dynamic\":true", "" },
		{ "\"SizeInMB\":512,\"MinimumSizeInMB\":513",
		    "Memory.MinimumSizeInMB: 513 is not between 32 and the 512 MiB at start" },
		{ "\"SizeInMB\":512,\"MinimumSizeInMB\":31",
		    "Memory.MinimumSizeInMB: 31 is not between 32 and the 512 MiB at start" },
		{ "\"SizeInMB\":512,\"MaximumSizeInMB\":511",
		    "Memory.MaximumSizeInMB: 511 is below the 512 MiB at start" },
		{ "\"SizeInMB\":512,\"MaximumSizeInMB\":16777217",
		    "Memory.MaximumSizeInMB: 16777217 is not between 0 and 16777216" },
		{ "\"SizeInMB\":512,\"Dynamic\":true,\"BackingPageSize\":\"Large\"",
		    "Memory.Dynamic: memory in Large pages cannot be given back" },
	};
	uint64_t least, most;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(read_memory(rows[i].memory), rows[i].sentence[0] ? -EINVAL : 0);
		assert_string_equal(err.msg, rows[i].sentence);
	}
	assert_int_equal(read_memory(rows[0].memory), 0);
	vm_config_memory(&config, &least, &most);
	assert_int_equal(least, 256);
	assert_int_equal(most, 1024);
	assert_int_equal(read_memory(rows[1].memory), 0);
	vm_config_memory(&config, &least, &most);
	assert_int_equal(least, 512);
	assert_int_equal(most, 512);
}

/* What a document does not say is as for a new machine. */
static void
components_are_on_but_for_copies(void **state)
{
	struct machine m;
	int fd = open("/dev/null", O_RDONLY);
	struct fd_set_in fds = { &fd, 1 };
	json_t *params;

	(void)state;
	assert_int_equal(
	    read_with(",\"Name\":\"web1\",\"Devices\":{\"IntegrationServices\":{\"VSS\":false}}"), 0);
	params = vm_config_worker(&config);
	if (machine_read(&m, json_object_get(params, "Machine"), &fds, &err) < 0)
		fail_msg("%s", err.msg);
	json_decref(params);
	for (size_t i = 0; i < VM_SERVICES; i++) {
		assert_string_equal(vm_services[i], ic_names[i]);
		assert_int_equal(m.ic.on[i], i != IC_VSS && i != IC_FCOPY);
	}
	assert_null(vm_services[VM_SERVICES]);
	machine_close(&m);
	assert_int_equal(read_with(",\"Devices\":{\"IntegrationServices\":{\"Voodoo\":true}}"), -EINVAL);
	assert_string_equal(err.msg, "Devices.IntegrationServices.Voodoo: unknown name");
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
disks_are_in_the_order_of_their_places(void **state)
{
	struct vm_disk d;

	(void)state;
	assert_int_equal(read_with(""), 0);
	assert_int_equal(
	    config.devices.controllers, 1); /* as machines that were made before there were disks */
	assert_int_equal(config.devices.disks, 0);
	assert_int_equal(read_with(",\"Devices\":{\"ScsiControllers\":2,\"Disks\":["
				   "{\"Lun\":7,\"Controller\":1,\"Type\":\"Dvd\"},"
				   "{\"Lun\":2,\"Path\":\"./disks/b\"},{\"Lun\":0,\"Path\":\"images/a\"}]}"),
	    0);
	assert_int_equal(config.devices.disks, 3);
	assert_string_equal(config.devices.disk[0].path, "images/a");
	assert_int_equal(config.devices.disk[2].controller, 1);
	assert_true(config.devices.disk[0].pause_when_full);
	assert_int_equal(vm_config_free_lun(&config, 0), 1);
	assert_int_equal(vm_config_free_lun(&config, 1), 0);
	assert_null(vm_config_disk(&config, 0, 1));
	vm_disk_defaults(&d);
	d.lun = 1;
	assert_true(vm_config_put_disk(&config, &d));
	assert_string_equal(config.devices.disk[2].path, "./disks/b");
	assert_true(vm_config_drop_disk(&config, 0, 0));
	assert_false(vm_config_drop_disk(&config, 0, 0));
	assert_int_equal(config.devices.disks, 3);
	for (unsigned i = 0; i < VM_MAX_DISKS; i++) {
		d.controller = i / VM_CONTROLLER_UNITS;
		d.lun = i % VM_CONTROLLER_UNITS;
		assert_true(vm_config_put_disk(&config, &d));
	}
	assert_int_equal(config.devices.disks, VM_MAX_DISKS);
	assert_int_equal(vm_config_free_lun(&config, 3), -1);
}

static void
a_worker_takes_every_disk_that_passes_here(void **state)
{
	struct disk_params p;
	int fd = open("/dev/null", O_RDONLY);
	struct fd_set_in fds = { &fd, 1 };
	json_t *params;

	(void)state;
	assert_int_equal(
	    read_with(",\"Devices\":{\"Disks\":[{\"Lun\":3,\"Path\":\"images/a\",\"ReadOnly\":true,"
		      "\"LogicalSectorSize\":4096,\"SerialNumber\":\"12345678901234567890123456789012\","
		      "\"PauseWhenFull\":false,\"MinimumIops\":1,\"MaximumIops\":1000000000,"
		      "\"MaximumBytesPerSecond\":1125899906842624},{\"Lun\":4,\"Type\":\"Dvd\"}]}"),
	    0);
	params = vm_disk_worker(&config.devices.disk[0], 0);
	memset(&p, 0, sizeof(p));
	disk_defaults(&p);
	if (schema_read(disk_add_fields, params, &fds, &p, &err) < 0)
		fail_msg("%s", err.msg);
	json_decref(params);
	assert_true(p.unit.file >= 0);
	close(p.unit.file);
	assert_int_equal(p.unit.lun, 3);
	assert_true(p.unit.read_only);
	assert_int_equal(p.unit.sector, 4096);
	assert_int_equal(strlen(p.unit.config.serial), 32);
	assert_false(p.unit.config.pause_on_full);
	assert_int_equal(p.unit.config.max_bytes, 1ull << 50);
	params = vm_disk_worker(&config.devices.disk[1], 0);
	memset(&p, 0, sizeof(p));
	disk_defaults(&p);
	assert_int_equal(schema_read(disk_add_fields, params, &fds, &p, &err), 0);
	json_decref(params);
	assert_int_equal(p.unit.file, -1);
	assert_int_equal(p.unit.config.kind, UNIT_DVD);
}

static void
parents_stand_with_their_disk(void **state)
{
	const char *path[VM_CHAIN_MAX], *many[VM_CHAIN_MAX];

	(void)state;
	assert_int_equal(
	    read_with(
		",\"Devices\":{\"Disks\":["
		"{\"Lun\":2,\"Path\":\"./disks/b.avhdx\",\"Format\":\"VHDX\",\"Parents\":[\"images/c\"]},"
		"{\"Lun\":1,\"Path\":\"./disks/a.avhdx\",\"Format\":\"VHDX\","
		"\"Parents\":[\"./disks/a\",\"images/c\"]}]}"),
	    0);
	assert_int_equal(config.devices.disk[0].format, VM_VHDX);
	assert_int_equal(vm_config_parents(&config, 0, 1, path), 2);
	assert_string_equal(path[0], "./disks/a");
	assert_string_equal(path[1], "images/c");
	assert_int_equal(vm_config_parents(&config, 0, 2, path), 1);
	assert_int_equal(vm_config_parents(&config, 0, 0, path), 0);
	assert_true(vm_config_put_parents(&config, 0, 1, path + 1, 0));
	assert_int_equal(config.devices.parents, 1);
	for (int i = 0; i < VM_CHAIN_MAX; i++)
		many[i] = "images/x";
	for (unsigned i = 10; i < 14; i++)
		assert_true(vm_config_put_parents(&config, 0, i, many, VM_CHAIN_MAX));
	assert_false(vm_config_put_parents(&config, 0, 1, many, 4));
	assert_true(vm_config_put_parents(&config, 0, 1, many, 3));
	assert_true(vm_config_put_parents(&config, 0, 13, many, VM_CHAIN_MAX)); /* in their own place */
	assert_int_equal(config.devices.parents, VM_MAX_PARENTS);
	assert_true(vm_config_drop_disk(&config, 0, 1));
	assert_int_equal(config.devices.parents, VM_MAX_PARENTS - 3);
	assert_int_equal(vm_config_parents(&config, 0, 1, path), 0);
}

/* The longest chain there is goes to the worker in one request. */
static void
a_worker_takes_a_disk_with_its_parents(void **state)
{
	static struct disk_params p;
	int fd[VM_CHAIN_MAX + 1];
	struct fd_set_in fds = { fd, VM_CHAIN_MAX + 1 };
	json_t *params;

	(void)state;
	for (int i = 0; i <= VM_CHAIN_MAX; i++)
		fd[i] = open("/dev/null", O_RDONLY);
	assert_int_equal(
	    read_with(",\"Devices\":{\"Disks\":[{\"Lun\":3,\"Path\":\"images/a\",\"Format\":\"VHDX\"}]}"), 0);
	params = vm_disk_worker(&config.devices.disk[0], VM_CHAIN_MAX);
	schema_no_fds(disk_add_fields, &p);
	disk_defaults(&p);
	if (schema_read(disk_add_fields, params, &fds, &p, &err) < 0)
		fail_msg("%s", err.msg);
	json_decref(params);
	assert_int_equal(p.unit.format, DISK_VHDX);
	assert_int_equal(p.unit.parents, VM_CHAIN_MAX);
	assert_int_equal(p.unit.sector, 512); /* nothing was said of it */
	schema_close_fds(disk_add_fields, &p);
	assert_int_equal(fd[VM_CHAIN_MAX], -1);
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
		cmocka_unit_test(memory_goes_from_least_to_most),
		cmocka_unit_test(components_are_on_but_for_copies),
		cmocka_unit_test(a_machine_needs_an_id),
		cmocka_unit_test(what_is_written_reads_the_same),
		cmocka_unit_test(a_worker_takes_what_passes_here),
		cmocka_unit_test(disks_are_in_the_order_of_their_places),
		cmocka_unit_test(a_worker_takes_every_disk_that_passes_here),
		cmocka_unit_test(parents_stand_with_their_disk),
		cmocka_unit_test(a_worker_takes_a_disk_with_its_parents),
		cmocka_unit_test(names_can_be_folders_and_are_no_ids),
		cmocka_unit_test(new_ids_are_of_version_4_and_differ),
		cmocka_unit_test(the_table_keeps_its_own_rules),
	};

	return cmocka_run_group_tests_name("vm_config", tests, NULL, NULL);
}
