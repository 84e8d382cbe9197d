/*
 * tests/unit/sconfig_prompts_test.c - the menu as questions and answers, by scripts: what is asked, what a
 * default does, where errors are said, what is done in the end.
 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fake_menu_agent.h"
#include "sconfig/pages.h"
#include "sconfig/prompts.h"

struct desk {
	struct fake_agent agent;
	struct link link;
	struct ui_terminal terminal;
	int shells;
	char console[64];
	char *said;
	enum prompts_end end;
};

static int
shell(void *ctx, struct rpc_error *e)
{
	(void)e;
	((struct desk *)ctx)->shells++;
	return 0;
}

static int
console(void *ctx, const char *vm, struct rpc_error *e)
{
	struct desk *d = ctx;

	(void)e;
	snprintf(d->console, sizeof(d->console), "%s", vm);
	return 0;
}

static int
setup(void **state)
{
	static struct desk desk;
	struct rpc_error e;

	setlocale(LC_CTYPE, "C.UTF-8");
	memset(&desk, 0, sizeof(desk));
	fake_agent_begin(&desk.agent);
	desk.terminal = (struct ui_terminal){ shell, console, &desk };
	link_open(&desk.link, &fake_agent_ops, &desk.agent, NULL, &e);
	*state = &desk;
	return 0;
}

static int
teardown(void **state)
{
	struct desk *d = *state;

	free(d->said);
	fake_agent_end(&d->agent);
	return 0;
}

static void
run(struct desk *d, const char *script)
{
	size_t size;
	struct prompts p = { .link = &d->link, .terminal = &d->terminal };

	free(d->said);
	p.in = fmemopen((void *)(uintptr_t)script, strlen(script), "r");
	p.out = open_memstream(&d->said, &size);
	assert_non_null(p.in);
	assert_non_null(p.out);
	d->end = prompts_run(&p);
	fclose(p.in);
	fclose(p.out);
}

static void
says(struct desk *d, const char *words)
{
	if (!strstr(d->said, words))
		fail_msg("\"%s\" was not said:\n%s", words, d->said);
}

static void
the_menu_lists_numbers_and_values(void **state)
{
	struct desk *d = *state;

	run(d, "");
	assert_int_equal(d->end, PROMPTS_EOF);
	says(d, "   8) Network settings: 192.0.2.5/24\n");
	says(d, "  16) Virtual machines: 1 of 2 running\n");
	says(d, "Manage this host at https://192.0.2.5:8443");
	says(d, "Enter number to select an option: ");
}

static void
the_end_of_the_input_ends_any_page(void **state)
{
	struct desk *d = *state;
	char script[64];

	for (const struct page *const *page = pages; *page; page++) {
		snprintf(script, sizeof(script), "%d\n", (*page)->number);
		run(d, script);
		assert_int_equal(d->end, (*page)->kind == PAGE_LOG_OFF ? PROMPTS_EOF : PROMPTS_EOF);
	}
	run(d, "16\nn\nweb9\n");
	assert_int_equal(d->end, PROMPTS_EOF);
}

static void
a_name_is_asked_shown_and_set(void **state)
{
	struct desk *d = *state;

	run(d, "2\nhost2\n\n12\n\n");
	says(d, "Computer name [host1] ");
	says(d, "What will be:\nComputer name: host1 -> host2\n");
	says(d, "Apply [yes] ");
	says(d, "Computer name is now host2.");
	assert_int_equal(d->end, PROMPTS_LOG_OFF);
	run(d, "2\nhost3\nno\n");
	says(d, "Nothing was changed.");
	assert_string_equal(json_string_value(json_object_get(d->agent.host, "name")), "host2");
}

static void
enter_keeps_a_question_mark_explains_a_dot_goes_back(void **state)
{
	struct desk *d = *state;

	run(d, "2\n\n?8\n2\n?\n.\n2\n!\n\n");
	says(d, "Nothing has changed.");
	says(d, "8) Network settings. The address of this host");
	says(d, "Letters, digits and hyphens");
	says(d, "The same in Lua: host.set()");
	assert_int_equal(d->shells, 1);
}

static void
what_is_wrong_is_asked_again(void **state)
{
	struct desk *d = *state;

	run(d, "2\n-\n-x\ntaken\n\nhost4\n\n");
	says(d, "! Computer name is needed.\n");
	says(d, "! A computer name neither begins nor ends with a hyphen.\nComputer name [-x] ");
	says(d, "! taken is the name of another host. Choose another.\nComputer name [taken] ");
	run(d, "2\nbroken\n\n");
	says(d, "! The disk is full.");
}

static void
a_choice_is_taken_by_number_or_a_part(void **state)
{
	struct desk *d = *state;

	run(d, "9\nvie\n\n\n9\n?\n1\n\n\n9\nnowhere\n");
	says(d, "Time zone is now Europe/Vienna.");
	says(d, "    2) Europe/Vienna\n");
	says(d, "Time zone is now Asia/Tokyo.");
}

static void
a_static_address_is_set(void **state)
{
	struct desk *d = *state;

	run(d, "8\n1\nn\n192.0.2.7/24\n\n192.0.2.53 192.0.2.54\n\n");
	says(d, "DNS servers [192.0.2.53] ");
	says(d, "IP address is now 192.0.2.7/24");
	assert_int_equal(json_array_size(json_object_get(fake_last(&d->agent, "host.set"), "dns")), 2);
}

static void
machines_are_created_started_and_stopped(void **state)
{
	struct desk *d = *state;

	run(d, "16\nn\nweb2\n1G\n\nvmlinuz\n\n\n\n\n\n\ns web2\nt 2\ny\nc 1\n?\nx\ns\n.\n");
	says(d, "! Which one? Type s and its number.");
	says(d, "    3) web2 ");
	says(d, "Start web2: done.");
	says(d, "Shut down db1? [no] Stop db1: done.");
	says(d, "o  Turn off");
	assert_string_equal(d->console, "web1");
	assert_int_equal(
	    json_integer_value(json_object_get(fake_last(&d->agent, "vm.create"), "memory")), 1024);
}

static void
a_restart_needs_a_yes(void **state)
{
	struct desk *d = *state;

	run(d, "13\n\n");
	says(d, "Restart [no] Nothing was changed.");
	run(d, "13\nyes\n");
	assert_true(json_is_true(
	    json_object_get(json_object_get(fake_last(&d->agent, "host.restart"), "_"), "confirm")));
}

static void
an_agent_that_is_gone_is_one_sentence(void **state)
{
	struct desk *d = *state;

	d->agent.down = true;
	run(d, "0\n2\n16\n.\n");
	says(d, "! The agent does not answer; machines keep running, and the menu keeps trying to reach it.");
	assert_int_equal(d->end, PROMPTS_EOF);
}

static void
garbage_does_no_harm(void **state)
{
	struct desk *d = *state;
	char script[4096];
	uint32_t seed = 7;

	for (int round = 0; round < 200; round++) {
		for (size_t i = 0; i + 1 < sizeof(script); i++) {
			static const char likely[] = "\n\n\n\n1690823?!.-ynstoced web1\x1b\xff\x80";

			seed = seed * 1664525 + 1013904223;
			script[i] = likely[(seed >> 8) % (sizeof(likely) - 1)];
		}
		script[sizeof(script) - 1] = '\0';
		d->agent.nonsense = round % 2;
		run(d, script);
		json_array_clear(d->agent.calls);
		assert_null(strchr(d->said, 0x1b));
	}
}

int
main(void)
{
#define ON_A_DESK(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		ON_A_DESK(the_menu_lists_numbers_and_values),
		ON_A_DESK(the_end_of_the_input_ends_any_page),
		ON_A_DESK(a_name_is_asked_shown_and_set),
		ON_A_DESK(enter_keeps_a_question_mark_explains_a_dot_goes_back),
		ON_A_DESK(what_is_wrong_is_asked_again),
		ON_A_DESK(a_choice_is_taken_by_number_or_a_part),
		ON_A_DESK(a_static_address_is_set),
		ON_A_DESK(machines_are_created_started_and_stopped),
		ON_A_DESK(a_restart_needs_a_yes),
		ON_A_DESK(an_agent_that_is_gone_is_one_sentence),
		ON_A_DESK(garbage_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
