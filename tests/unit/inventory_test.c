/*
 * tests/unit/inventory_test.c - machines as folders: made, changed, renamed, deleted, edited by hand, broken,
 * left half by a crash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/inventory.h"
#include "lib/file.h"

static char root[64];
static struct machines ms;
static struct err err;

static void
open_inventory(void)
{
	memset(&ms, 0, sizeof(ms));
	ms.data = root;
	if (inventory_open(&ms, &err) < 0)
		fail_msg("%s", err.msg);
}

static void
reopen(void)
{
	inventory_close(&ms);
	open_inventory();
}

static int
setup(void **state)
{
	(void)state;
	memset(&err, 0, sizeof(err));
	snprintf(root, sizeof(root), "/tmp/inventory_test.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	open_inventory();
	return 0;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	inventory_close(&ms);
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static void
config_of(struct vm_config *c, const char *name)
{
	vm_config_defaults(c);
	vm_new_guid(c->id);
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->direct.kernel, sizeof(c->direct.kernel), "images/vmlinuz");
}

static struct vm *
make(const char *name)
{
	struct vm_config c;
	struct vm *vm;

	config_of(&c, name);
	if (inventory_create(&ms, &c, &vm, &err) < 0)
		fail_msg("%s", err.msg);
	vm_put(vm); /* the inventory's reference remains */
	return vm;
}

static struct vm *
find(const char *name)
{
	struct vm *vm = inventory_find(&ms, name);

	vm_put(vm);
	return vm;
}

static void
path_of(const char *name, const char *file, char path[256])
{
	snprintf(path, 256, "%s/vms/%s%s%s", root, name, file ? "/" : "", file ? file : "");
}

static bool
exists(const char *name, const char *file)
{
	char path[256];

	path_of(name, file, path);
	return access(path, F_OK) == 0;
}

/* As an editor does. */
static void
edit(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	path_of(name, "vm.json", path);
	unlink(path);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static char *
text_of(const char *name)
{
	char path[256], *text;

	path_of(name, "vm.json", path);
	assert_int_equal(file_read(path, 65536, &text, NULL, &err), 0);
	return text;
}

static int
set_memory(struct vm *vm, uint64_t mb)
{
	struct vm_config c = vm->config;

	c.memory.size_mb = mb;
	return inventory_set(&ms, vm, &c, NULL, NULL, &err);
}

static int
rename_vm(struct vm *vm, const char *name)
{
	struct vm_config c = vm->config;

	memset(c.name, 0, sizeof(c.name));
	snprintf(c.name, sizeof(c.name), "%s", name);
	return inventory_set(&ms, vm, &c, NULL, NULL, &err);
}

static void
a_machine_is_a_folder_that_is_read_again(void **state)
{
	struct vm *vm;
	char guid[GUID_TEXT + 1], *text;

	(void)state;
	vm = make("web1");
	guid_format(vm->config.id, guid);
	assert_ptr_equal(find("web1"), vm);
	assert_ptr_equal(find(guid), vm);
	text = text_of("web1");
	assert_non_null(strstr(text, "\"SizeInMB\": 512"));
	assert_non_null(strstr(text, "\"Name\": \"web1\""));
	free(text);
	reopen();
	vm = find(guid);
	assert_non_null(vm);
	assert_string_equal(vm->name, "web1");
	assert_int_equal(vm->config.revision, 1);
	assert_int_equal(vm->state, VM_OFF);
	assert_null(find("web2"));
}

static void
names_and_ids_are_unique(void **state)
{
	struct vm_config c;
	struct vm *vm, *first = make("web1");

	(void)state;
	config_of(&c, "web1");
	assert_int_equal(inventory_create(&ms, &c, &vm, &err), -EEXIST);
	assert_string_equal(err.msg, "there is a machine 'web1' already");
	assert_int_equal(inventory_may_create(&ms, &c, &err), -EEXIST);
	config_of(&c, "web2");
	memcpy(c.id, first->config.id, sizeof(c.id));
	assert_int_equal(inventory_create(&ms, &c, &vm, &err), -EEXIST);
	assert_null(find("web2"));
	reopen(); /* and no half of them is left */
	assert_int_equal(ms.n, 1);
}

static void
a_change_counts_the_revision_and_stays(void **state)
{
	struct vm *vm = make("web1");

	(void)state;
	assert_int_equal(set_memory(vm, 1024), 0);
	assert_int_equal(vm->config.revision, 2);
	reopen();
	vm = find("web1");
	assert_int_equal(vm->config.memory.size_mb, 1024);
	assert_int_equal(vm->config.revision, 2);
}

static int
no(struct vm *vm, void *arg)
{
	(void)vm;
	++*(int *)arg;
	return -EPERM;
}

static void
whoever_is_asked_first_can_refuse(void **state)
{
	struct vm *vm = make("web1");
	struct vm_config c = vm->config;
	int asked = 0;

	(void)state;
	c.memory.size_mb = 64;
	assert_int_equal(inventory_set(&ms, vm, &c, no, &asked, &err), -EPERM);
	assert_int_equal(inventory_delete(&ms, vm, false, no, &asked, &err), -EPERM);
	assert_int_equal(asked, 2);
	reopen();
	assert_int_equal(find("web1")->config.memory.size_mb, 512);
}

static void
a_rename_moves_the_folder(void **state)
{
	struct vm *vm = make("web1");

	(void)state;
	make("db1");
	assert_int_equal(rename_vm(vm, "db1"), -EEXIST);
	assert_int_equal(rename_vm(vm, "a web"), 0);
	assert_ptr_equal(find("a web"), vm);
	assert_null(find("web1"));
	assert_false(exists("web1", NULL));
	reopen();
	assert_non_null(find("a web"));
	assert_non_null(find("db1"));
	assert_int_equal(ms.n, 2);
}

static void
a_deleted_machine_leaves_nothing(void **state)
{
	struct vm *vm = vm_get(make("web1"));
	char path[256], outside[256];

	(void)state;
	path_of("web1", "disks", path);
	mkdir(path, 0700);
	path_of("web1", "disks/link", path);
	snprintf(outside, sizeof(outside), "%s/keep", root);
	fclose(fopen(outside, "w"));
	assert_int_equal(symlink(outside, path), 0);
	assert_int_equal(inventory_delete(&ms, vm, false, NULL, NULL, &err), 0);
	assert_true(vm->gone);
	assert_false(exists("web1", NULL));
	assert_int_equal(access(outside, F_OK), 0); /* links are not followed */
	assert_int_equal(inventory_delete(&ms, vm, false, NULL, NULL, &err), -ENOENT);
	assert_int_equal(set_memory(vm, 64), -ENOENT);
	vm_put(vm);
	reopen();
	assert_int_equal(ms.n, 0);
}

static void
a_broken_document_makes_that_machine_critical(void **state)
{
	struct vm *vm;

	(void)state;
	make("web1");
	make("db1");
	edit("web1", "{\"Version\":1,\"Id\":\"01234567-89ab-cdef-0123-456789abcdef\","
		     "\"Memory\":{\"SizeInMB\":5},\"LinuxKernelDirect\":{\"KernelFilePath\":\"images/k\"}}");
	reopen();
	assert_int_equal(find("db1")->state, VM_OFF);
	vm = find("web1");
	assert_int_equal(vm->state, VM_CRITICAL);
	assert_string_equal(vm->reason, "vm.json: Memory.SizeInMB: 5 is not between 32 and 16777216");
	assert_ptr_equal(find("01234567-89ab-cdef-0123-456789abcdef"), vm); /* its id could be read */
	edit("web1", "{\"Version\":");
	inventory_refresh(&ms, vm);
	assert_int_equal(vm->state, VM_CRITICAL);
	assert_int_equal(strncmp(vm->reason, "vm.json: ", 9), 0);
	assert_int_equal(inventory_delete(&ms, vm, false, NULL, NULL, &err), 0);
}

static void
a_folder_without_a_document_is_critical_too(void **state)
{
	char path[256];

	(void)state;
	path_of("stray", NULL, path);
	mkdir(path, 0700);
	path_of("lost+found", NULL, path);
	mkdir(path, 0700);
	reopen();
	assert_int_equal(ms.n, 1);
	assert_int_equal(find("stray")->state, VM_CRITICAL);
	assert_string_equal(find("stray")->reason, "vm.json: No such file or directory");
}

static void
an_edit_is_seen_and_a_mended_document_works_again(void **state)
{
	struct vm *vm = make("web1");
	char *text = text_of("web1"), *memory;

	(void)state;
	edit("web1", "not JSON");
	inventory_refresh(&ms, vm);
	assert_int_equal(vm->state, VM_CRITICAL);
	memory = strstr(text, "\"SizeInMB\": 512"); /* an id may have these digits, too */
	assert_non_null(memory);
	memory += strlen("\"SizeInMB\": ");
	memcpy(memory, "640", 3);
	edit("web1", text);
	free(text);
	inventory_refresh(&ms, vm);
	assert_int_equal(vm->state, VM_OFF);
	assert_string_equal(vm->reason, "");
	assert_int_equal(vm->config.memory.size_mb, 640);
	assert_int_equal(vm->config.revision, 2); /* so that ifMatch notices */
}

static void
a_machine_keeps_its_id(void **state)
{
	struct vm *vm = make("web1");
	char *text, guid[GUID_TEXT + 1];

	(void)state;
	guid_format(vm->config.id, guid);
	text = text_of("web1");
	memcpy(strstr(text, guid), "01234567-89ab-cdef-0123-456789abcdef", GUID_TEXT);
	edit("web1", text);
	free(text);
	inventory_refresh(&ms, vm);
	assert_int_equal(vm->state, VM_CRITICAL);
	assert_string_equal(vm->reason, "vm.json: Id: a machine keeps its id");
	assert_ptr_equal(find(guid), vm);
}

static void
a_copied_folder_is_told_apart(void **state)
{
	struct vm *vm;
	char *text;

	(void)state;
	make("web1");
	text = text_of("web1");
	char path[256];
	path_of("web2", NULL, path);
	mkdir(path, 0700);
	edit("web2", text);
	reopen();
	assert_int_equal(find("web1")->state, VM_OFF);
	vm = find("web2");
	assert_int_equal(vm->state, VM_CRITICAL);
	assert_non_null(strstr(vm->reason, "is that of 'web1' as well"));
	memcpy(strstr(text, "\"Id\": \"") + 7, "01234567-89ab-cdef-0123-456789abcdef", GUID_TEXT);
	edit("web2", text);
	free(text);
	inventory_refresh(&ms, vm);
	assert_int_equal(vm->state, VM_OFF);
	assert_ptr_equal(find("01234567-89ab-cdef-0123-456789abcdef"), vm);
}

/* Else the copy would take over worker, sockets and rights of the machine that runs. */
static void
a_copy_that_is_read_first_is_the_copy_still(void **state)
{
	char path[256], *text;

	(void)state;
	make("web1");
	text = text_of("web1");
	path_of("a-copy", NULL, path);
	mkdir(path, 0700);
	edit("a-copy", text);
	free(text);
	reopen();
	assert_int_equal(find("web1")->state, VM_OFF);
	assert_int_equal(find("a-copy")->state, VM_CRITICAL);
	assert_non_null(strstr(find("a-copy")->reason, "is that of 'web1' as well"));
}

static void
what_a_crash_left_half_is_swept_away(void **state)
{
	static const char *const half[] = { ".new-1", ".deleted-2" };
	char path[256];

	(void)state;
	for (int i = 0; i < 2; i++) {
		path_of(half[i], NULL, path);
		mkdir(path, 0700);
		edit(half[i], "{}");
	}
	reopen();
	assert_int_equal(ms.n, 0);
	assert_false(exists(half[0], NULL));
	assert_false(exists(half[1], NULL));
}

static void
whether_it_ran_is_remembered(void **state)
{
	struct vm *vm = make("web1");

	(void)state;
	assert_false(inventory_was_running(&ms, vm));
	inventory_mark_running(&ms, vm, true);
	reopen();
	vm = find("web1");
	assert_true(inventory_was_running(&ms, vm));
	inventory_mark_running(&ms, vm, false);
	assert_false(inventory_was_running(&ms, vm));
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
a_thousand_machines_are_listed_fast(void **state)
{
	struct vm **all;
	double from, took;
	char name[32], path[256], *text;
	struct vm_config c;
	json_t *doc;
	size_t n;

	(void)state;
	for (int i = 0; i < 1000; i++) { /* without a thousand fsyncs */
		snprintf(name, sizeof(name), "vm%d", i);
		config_of(&c, name);
		path_of(name, NULL, path);
		mkdir(path, 0700);
		doc = vm_config_write(&c);
		text = json_dumps(doc, 0);
		edit(name, text);
		free(text);
		json_decref(doc);
	}
	from = seconds();
	reopen();
	took = seconds() - from;
	print_message("1000 machines: read in %.0f ms, ", took * 1000);
	assert_int_equal(ms.n, 1000);
	from = seconds();
	n = inventory_all(&ms, &all);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			assert_true(strcmp(all[i - 1]->name, all[i]->name) < 0);
		inventory_refresh(&ms, all[i]);
		vm_put(all[i]);
	}
	free(all);
	took = seconds() - from;
	print_message("listed in %.1f ms\n", took * 1000);
	assert_int_equal(n, 1000);
	assert_true(took < 2); /* of a busy machine; see docs/performance.md for what it takes */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_machine_is_a_folder_that_is_read_again),
		TEST(names_and_ids_are_unique),
		TEST(a_change_counts_the_revision_and_stays),
		TEST(whoever_is_asked_first_can_refuse),
		TEST(a_rename_moves_the_folder),
		TEST(a_deleted_machine_leaves_nothing),
		TEST(a_broken_document_makes_that_machine_critical),
		TEST(a_folder_without_a_document_is_critical_too),
		TEST(an_edit_is_seen_and_a_mended_document_works_again),
		TEST(a_machine_keeps_its_id),
		TEST(a_copied_folder_is_told_apart),
		TEST(a_copy_that_is_read_first_is_the_copy_still),
		TEST(what_a_crash_left_half_is_swept_away),
		TEST(whether_it_ran_is_remembered),
		TEST(a_thousand_machines_are_listed_fast),
	};

	return cmocka_run_group_tests_name("inventory", tests, NULL, NULL);
}
