/*
 * tests/unit/command_test.c - lines as people type them: what they mean, what is said when they mean
 * nothing, what could come next, and what the history may keep.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shell/command.h"
#include "shell/complete.h"
#include "shell/help.h"
#include "shell/prompt.h"
#include "tests/unit/fake_wire.h"

static struct catalogue cat;

static int
setup(void **state)
{
	(void)state;
	return catalogue_read(&cat, json_loads(fake_discover, 0, NULL)) ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	catalogue_free(&cat);
	return 0;
}

static void
names_that_are_no_names_are_left_out_of_the_catalogue(void **state)
{
	(void)state;
	assert_null(catalogue_find(&cat, "../etc", 6));
	assert_non_null(catalogue_find(&cat, "nic.vlan.set", 12));
	assert_string_equal(catalogue_find(&cat, "nic.vlan.set", 12)->noun, "nic.vlan");
	assert_true(catalogue_has_noun(&cat, "vm", 2));
	assert_false(catalogue_has_noun(&cat, "nic", 3));
}

static void
documents_of_any_kind_are_survived(void **state)
{
	static const char *const docs[] = { "{}", "[]", "{\"methods\":{}}",
		"{\"methods\":[1,null,{},{\"name\":1}]}",
		"{\"methods\":[{\"name\":\"a\"},{\"name\":\".b\"},{\"name\":\"a.\"},{\"name\":\"a.b c\"}]}",
		"{\"methods\":[{\"name\":\"1.b\"},{\"name\":\"a.2\"}]}" };
	struct catalogue c;

	(void)state;
	for (size_t i = 0; i < sizeof(docs) / sizeof(docs[0]); i++)
		assert_false(catalogue_read(&c, json_loads(docs[i], 0, NULL)));
	assert_true(catalogue_read(&c, json_loads("{\"methods\":[{\"name\":\"a.b\",\"params\":[{\"name\":"
						  "\"x\",\"schema\":7},{\"name\":\"-\"},3]},"
						  "{\"name\":\"a.b\"}]}",
					   0, NULL)));
	assert_int_equal(c.n, 1);
	catalogue_free(&c);
}

static void
a_line_that_begins_with_a_noun_and_a_word_is_a_command(void **state)
{
	static const char *const commands[] = { "vm list", "  vm list", "vm start web1", "vm strt",
		"nic vlan set", "whatif vm start web1", "vm\tlist", "user create bob" };
	static const char *const lua[] = { "vm", "vm.list()", "vm\"web1\"", "vm = 5", "vm .list", "vm{}", "x",
		"vms {}", "vm and 1", "vm or x", "print(vm list)", "vm 5", "vmx list", "whatif(f)",
		"whatif x", "" };

	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		assert_true(command_is(&cat, commands[i]));
	for (size_t i = 0; i < sizeof(lua) / sizeof(lua[0]); i++)
		assert_false(command_is(&cat, lua[i]));
}

static void
commands_become_calls_and_lua(void **state)
{
	static const struct {
		const char *line, *params, *lua;
	} rows[] = {
		{ "vm list", "{}", "vm.list()" },
		{ "vm start web1", "{\"vm\":\"web1\"}", "vm.start(\"web1\")" },
		{ "vm list state=running", "{\"state\":\"Running\"}", "vm.list{state=\"Running\"}" },
		{ "vm list web*", "{\"name\":\"web*\"}", "vm.list(\"web*\")" },
		{ "vm create web1 memory=2G kernel=images/vmlinuz",
		    "{\"name\":\"web1\",\"memory\":2048,\"kernel\":\"images/vmlinuz\"}",
		    "vm.create{name=\"web1\", memory=2048, kernel=\"images/vmlinuz\"}" },
		{ "vm create memory=512 name=\"web 1\"", "{\"memory\":512,\"name\":\"web 1\"}",
		    "vm.create{memory=512, name=\"web 1\"}" },
		{ "vm create a notes='x=\"y\"' tags=a,b secure=yes",
		    "{\"name\":\"a\",\"notes\":\"x=\\\"y\\\"\",\"tags\":[\"a\",\"b\"],\"secure\":true}",
		    "vm.create{name=\"a\", notes=\"x=\\\"y\\\"\", tags={\"a\", \"b\"}, secure=true}" },
		{ "vm create a notes= tags=", "{\"name\":\"a\",\"notes\":\"\",\"tags\":[]}",
		    "vm.create{name=\"a\", notes=\"\", tags={}}" },
		{ "nic vlan set web1 7", "{\"vm\":\"web1\",\"id\":7}", "nic.vlan.set{vm=\"web1\", id=7}" },
		{ "nic vlan set vm=web1 7", "{\"vm\":\"web1\",\"id\":7}", "nic.vlan.set{vm=\"web1\", id=7}" },
		{ "disk add web1 size=20G", "{\"vm\":\"web1\",\"size\":21474836480}",
		    "disk.add{vm=\"web1\", size=21474836480}" },
		{ "disk remove web1 1 deleteFile=yes", "{\"vm\":\"web1\",\"lun\":1,\"deleteFile\":true}",
		    "disk.remove{vm=\"web1\", lun=1, deleteFile=true}" },
		{ "vm stop web1 timeout=2m mode=TURNOFF",
		    "{\"vm\":\"web1\",\"timeout\":120,\"mode\":\"turnOff\"}",
		    "vm.stop{vm=\"web1\", timeout=120, mode=\"turnOff\"}" },
		{ "user create bob password=x", "{\"name\":\"bob\",\"password\":\"x\"}",
		    "user.create{name=\"bob\", password=\"...\"}" },
		{ "vm start a\\ b\\\"", "{\"vm\":\"a b\\\"\"}", "vm.start(\"a b\\\"\")" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct command cmd;
		struct usage u;
		char *text, *lua;

		assert_true(command_parse(&cmd, &cat, rows[i].line, &u));
		text = json_dumps(cmd.params, JSON_COMPACT);
		lua = command_as_lua(cmd.op, cmd.params);
		assert_string_equal(text, rows[i].params);
		assert_string_equal(lua, rows[i].lua);
		free(text);
		free(lua);
		command_free(&cmd);
	}
}

static void
what_cannot_be_meant_is_told_with_what_to_do(void **state)
{
	static const struct {
		const char *line, *message, *path, *hint;
	} rows[] = {
		{ "vm strt web1", "there is no command 'vm strt'", "", "Did you mean vm start?" },
		{ "vm frobnicate", "there is no command 'vm frobnicate'", "",
		    "help \"vm\" lists what there is." },
		{ "vm start", "vm.start: vm is missing", "vm", "Name or id." },
		{ "vm start web1 web2", "vm.start: what is 'web2'?", "",
		    "Write NAME=VALUE; help lists the names." },
		{ "vm start web1 vm=web2", "vm.start: vm is there twice", "vm", "" },
		{ "vm create a memroy=2G", "vm.create has no parameter 'memroy'", "memroy",
		    "Did you mean memory?" },
		{ "vm create a memory=2X", "vm.create: memory: '2X' is no size, such as 512M or 2G", "memory",
		    "Memory." },
		{ "vm create a secure=maybe", "vm.create: secure: yes or no is wanted", "secure", "" },
		{ "vm list state=Sleeping", "vm.list: state: 'Sleeping' is not one of the choices", "state",
		    "One of: Off, Running" },
		{ "vm start \"web1", "a quotation mark is missing at the end", "", "" },
		{ "vm start web1 --force", "no option --force", "--force",
		    "There are --yes, --json, --what-if and --background." },
		{ "nic vlan", "there is no command 'nic vlan'", "", "help \"nic\" lists what there is." },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct command cmd;
		struct usage u;

		assert_false(command_parse(&cmd, &cat, rows[i].line, &u));
		assert_string_equal(u.message, rows[i].message);
		assert_string_equal(u.path, rows[i].path);
		assert_string_equal(u.hint, rows[i].hint);
		command_free(&cmd);
	}
}

static void
flags_stand_anywhere(void **state)
{
	struct command cmd;
	struct usage u;

	(void)state;
	assert_true(command_parse(&cmd, &cat, "vm delete --yes web1 --json", &u));
	assert_true(cmd.yes && cmd.json && !cmd.what_if && !cmd.background);
	command_free(&cmd);
	assert_true(command_parse(&cmd, &cat, "whatif vm stop web1 &", &u));
	assert_true(cmd.what_if && cmd.background && !cmd.yes);
	command_free(&cmd);
	assert_true(command_parse(&cmd, &cat, "vm delete web1 confirm=true", &u));
	assert_true(cmd.yes);
	command_free(&cmd);
}

static void
values_of_scripts_are_converted_by_the_schema(void **state)
{
	static const struct {
		const char *given, *sent; /* sent NULL: refused */
	} rows[] = {
		{ "{\"name\":\"a\",\"memory\":\"2G\"}", "{\"name\":\"a\",\"memory\":2048}" },
		{ "{\"name\":\"a\",\"memory\":2048.0}", "{\"name\":\"a\",\"memory\":2048}" },
		{ "{\"name\":\"a\",\"memory\":null}", "{\"name\":\"a\",\"memory\":null}" },
		{ "{\"name\":7}", "{\"name\":\"7\"}" },
		{ "{\"name\":\"a\",\"tags\":{}}", "{\"name\":\"a\",\"tags\":[]}" },
		{ "{\"name\":\"a\",\"tags\":\"x\"}", "{\"name\":\"a\",\"tags\":[\"x\"]}" },
		{ "{\"name\":\"a\",\"automaticStart\":\"start\"}",
		    "{\"name\":\"a\",\"automaticStart\":\"Start\"}" },
		{ "{\"name\":\"a\",\"_\":{\"ifMatch\":3}}", "{\"name\":\"a\",\"_\":{\"ifMatch\":3}}" },
		{ "{\"name\":\"a\",\"memory\":2048.5}", NULL },
		{ "{\"name\":\"a\",\"memory\":true}", NULL },
		{ "{\"name\":\"a\",\"memory\":[]}", NULL },
		{ "{\"name\":\"a\",\"secure\":\"yes\"}", NULL },
		{ "{\"name\":\"a\",\"tags\":7}", NULL },
		{ "{\"name\":\"a\",\"tags\":[{}]}", NULL },
		{ "{\"name\":\"a\",\"nmae\":1}", NULL },
		{ "{}", NULL },
	};
	const struct operation *op = catalogue_find(&cat, "vm.create", 9);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *params = json_loads(rows[i].given, 0, NULL);
		struct usage u = { 0 };
		bool ok = convert_params(op, params, &u);
		char *text = json_dumps(params, JSON_COMPACT);

		assert_int_equal(ok, rows[i].sent != NULL);
		if (ok)
			assert_string_equal(text, rows[i].sent);
		else
			assert_memory_equal(u.message, "vm.create", 9);
		free(text);
		json_decref(params);
	}
}

/* --- completion --------------------------------------------------------------------------------- */

static void
machines(void *ctx, const char *noun, const char *prefix, struct candidates *out)
{
	(void)ctx;
	if (strcmp(noun, "vm") == 0) {
		candidates_add(out, prefix, "web1");
		candidates_add(out, prefix, "web2");
		candidates_add(out, prefix, "we\x1b[2Jb");
	}
}

static void
paths(void *ctx, const char *prefix, struct candidates *out)
{
	(void)ctx;
	candidates_add(out, prefix, "images/vmlinuz");
}

static void
globals(void *ctx, const char *prefix, struct candidates *out)
{
	(void)ctx;
	candidates_add(out, prefix, "vms");
	candidates_add(out, prefix, "print");
}

static void
what_can_come_next_is_offered(void **state)
{
	static const struct {
		const char *line, *found;
		size_t start;
	} rows[] = {
		{ "v", "vm vms", 0 },
		{ "he", "help", 0 },
		{ "vm st", "start stop", 3 },
		{ "vm start ", "web1 web2", 9 },
		{ "vm start web1", "web1", 9 },
		{ "whatif vm start w", "web1 web2", 16 },
		{ "disk add web1 path=images/v", "images/vmlinuz", 19 },
		{ "disk remove web1 1 ", "deleteFile=", 19 },
		{ "vm stop web1 ", "mode= timeout=", 13 },
		{ "vm stop web1 mode=turnOff ", "timeout=", 26 },
		{ "vm stop web1 mode=", "shutdown turnOff", 18 },
		{ "vm stop web1 mode=t", "turnOff", 18 },
		{ "vm create x kernel=im", "images/vmlinuz", 19 },
		{ "vm create x secure=", "false true", 19 },
		{ "vm list state=R", "Running", 14 },
		{ "nic ", "vlan", 4 },
		{ "nic vlan set ", "web1 web2", 13 },
		{ "help vm.cr", "vm.create", 5 },
		{ "vm.cr", "create", 3 },
		{ "x = vm.st", "start stop", 7 },
		{ "vm.create{",
		    "automaticStart= kernel= memory= name= notes= processors= secure= tags=", 10 },
		{ "vm.create{name=\"a\", mem", "memory=", 20 },
		{ "vm.create{automaticStart=\"St", "Start StartIfRunning", 26 },
		{ "vm.create({automaticStart = \"No", "Nothing", 29 },
		{ "vm\"we", "web1 web2", 3 },
		{ "vm(\"web1", "web1", 4 },
		{ "vm.start(\"", "web1 web2", 10 },
		{ "vm\"web1\":st", "start stop", 9 },
		{ "print(vm'web1':del", "delete", 15 },
		{ "for v in vm", "vm vms", 9 },
		{ "zzz", "", 0 },
		{ "vm start nothing", "", 9 },
	};
	const struct name_source names = { machines, paths, globals, NULL };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct candidates found;
		char text[512] = "";

		complete(&found, &cat, rows[i].line, strlen(rows[i].line), &names);
		for (size_t k = 0; k < found.n; k++)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", k ? " " : "",
			    found.word[k]);
		if (strcmp(text, rows[i].found) != 0)
			print_message("%s\n", rows[i].line);
		assert_string_equal(text, rows[i].found);
		if (found.n > 0)
			assert_int_equal(found.start, rows[i].start);
		candidates_free(&found);
	}
}

static void
completion_survives_any_beginning_of_a_line(void **state)
{
	static const char line[] =
	    "whatif vm.create({name=\"a\\\"b\", tags={'x','y'}}):stop(vm\"web1\":start()) nic vlan a=b";
	const struct name_source names = { machines, paths, globals, NULL };
	const struct name_source none = { 0 };

	(void)state;
	for (size_t from = 0; from < strlen(line); from++)
		for (size_t to = 0; to <= strlen(line + from); to++) {
			struct candidates found;

			complete(&found, &cat, line + from, to, to % 2 ? &names : &none);
			assert_true(found.start <= to);
			candidates_free(&found);
		}
}

/* --- help and history --------------------------------------------------------------------------- */

static void
helps(const char *topic, bool known, const char *has)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_int_equal(help_write(f, &cat, topic, 80), known);
	fclose(f);
	assert_non_null(strstr(text, has));
	free(text);
}

static void
help_knows_everything_the_host_told(void **state)
{
	(void)state;
	helps("", true, "nic.vlan");
	helps("vm", true, "vm.create");
	helps("vm.create", true,
	    "  memory                  Memory. (MiB, 16 to 1048576, default 512, optional)\n");
	helps("vm create", true, "One of Nothing, StartIfRunning, Start.");
	helps("vm.create", true, "VM_EXISTS");
	helps("vm.delete", true, "--yes");
	helps("disk.remove", true, "With deleteFile it asks");
	helps("nic vlan set", true, "nic vlan set vm id");
	helps("nothing\x1b", false, "'nothing?'");
	for (size_t i = 0; i < cat.n; i++)
		helps(cat.op[i].name, true, cat.op[i].help);
}

static void
secrets_stay_out_of_the_history(void **state)
{
	static const char *const secret[] = { "user create bob password=x", "user create bob x",
		"user.create{name='a', password='x'}", "call('user.create', x)", "PASSWORD = 'x'",
		"my_passwd='x'", "token='abc'", "connect{Token = 'abc'}", "x.password=1",
		"for i=1,2 do\nuser.create('a','b')\nend" };
	static const char *const plain[] = { "vm list", "token list", "vm create web1 memory=2G", "print(1)",
		"user list" };

	(void)state;
	for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++)
		assert_true(prompt_is_secret(&cat, secret[i]));
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		assert_false(prompt_is_secret(&cat, plain[i]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_are_no_names_are_left_out_of_the_catalogue),
		cmocka_unit_test(documents_of_any_kind_are_survived),
		cmocka_unit_test(a_line_that_begins_with_a_noun_and_a_word_is_a_command),
		cmocka_unit_test(commands_become_calls_and_lua),
		cmocka_unit_test(what_cannot_be_meant_is_told_with_what_to_do),
		cmocka_unit_test(flags_stand_anywhere),
		cmocka_unit_test(values_of_scripts_are_converted_by_the_schema),
		cmocka_unit_test(what_can_come_next_is_offered),
		cmocka_unit_test(completion_survives_any_beginning_of_a_line),
		cmocka_unit_test(help_knows_everything_the_host_told),
		cmocka_unit_test(secrets_stay_out_of_the_history),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
