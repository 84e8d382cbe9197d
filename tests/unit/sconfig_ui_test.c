/*
 * tests/unit/sconfig_ui_test.c - the full screen without a terminal: every page opened, screens as text at
 * 80x24, what keys do to the agent, errors at their field, an agent that dies, any size, any key.
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
#include "sconfig/ui.h"

struct desk {
	struct fake_agent agent;
	struct link link;
	struct cells cells;
	struct ui_terminal terminal;
	struct ui ui;
	int shells;
	char console[64];
};

static int
shell(void *ctx, struct rpc_error *e)
{
	struct desk *d = ctx;

	(void)e;
	d->shells++;
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
	desk.cells.ascii = true;
	cells_resize(&desk.cells, 24, 80);
	link_open(&desk.link, &fake_agent_ops, &desk.agent, NULL, &e);
	ui_begin(&desk.ui, &desk.link, &desk.cells, &desk.terminal);
	*state = &desk;
	return 0;
}

static int
teardown(void **state)
{
	struct desk *d = *state;

	ui_end(&d->ui);
	cells_free(&d->cells);
	fake_agent_end(&d->agent);
	return 0;
}

/* Presses the characters of keys; '\r' is Enter, '\t' Tab, '\033' Esc. */
static void
press(struct desk *d, const char *keys)
{
	for (; *keys; keys++) {
		ui_key(&d->ui, (unsigned char)*keys);
		ui_draw(&d->ui);
	}
}

/* The screen now; valid until the next call. */
static const char *
screen(struct desk *d)
{
	static char *text;

	free(text);
	ui_draw(&d->ui);
	text = cells_text(&d->cells);
	return text;
}

static void
shows(struct desk *d, const char *words)
{
	const char *text = screen(d);

	if (!strstr(text, words))
		fail_msg("\"%s\" is not on the screen:\n%s", words, text);
}

static void
shows_not(struct desk *d, const char *words)
{
	const char *text = screen(d);

	if (strstr(text, words))
		fail_msg("\"%s\" is on the screen:\n%s", words, text);
}

static void
the_main_menu_is_this_screen(void **state)
{
	static const char expected[] =
	    " host1 - Freehold configuration                            root (Administrator)\n"
	    "\n"
	    "\n"
	    " >  0) Status\n"
	    "    2) Computer name:          host1\n"
	    "    4) Remote management:      enabled\n"
	    "    8) Network settings:       192.0.2.5/24\n"
	    "    9) Date and time:          UTC\n"
	    "   12) Log off\n"
	    "   13) Restart the host\n"
	    "   14) Shut down the host\n"
	    "   15) Shell\n"
	    "   16) Virtual machines:       1 of 2 running\n"
	    "\n"
	    " Enter number to select an option:\n"
	    "\n\n\n\n\n"
	    "--------------------------------------------------------------------------------\n"
	    "CPUs 4 | memory free 6.0 GiB | machines 1/2 | https://192.0.2.5:8443\n"
	    "\n"
	    "Number or j/k, Enter select   ? help   q log off   ! shell\n";

	assert_string_equal(screen(*state), expected);
}

static void
status_tells_how_to_reach_this_host(void **state)
{
	struct desk *d = *state;

	press(d, "0\r");
	shows(d, "Manage it at         https://192.0.2.5:8443");
	shows(d, "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF");
	shows(d, "6.0 GiB free of 8.0 GiB");
	shows(d, "2 h 1 min");
	press(d, "\r");
	shows(d, "Enter number to select an option:");
}

static void
every_page_opens_helps_and_closes(void **state)
{
	struct desk *d = *state;

	for (const struct page *const *page = all_pages; *page; page++) {
		assert_non_null((*page)->about);
		assert_non_null((*page)->title);
		if ((*page)->kind == PAGE_LOG_OFF || (*page)->kind == PAGE_SHELL)
			continue;
		ui_open(&d->ui, *page, (*page)->subject ? "web1" : "");
		shows(d, (*page)->title);
		shows_not(d, "no such method");
		shows_not(d, "no such machine");
		ui_key(&d->ui, K_F1);
		shows(d, "Help");
		shows(d, (*page)->apply ? (*page)->apply : (*page)->load);
		press(d, "\033\033");
		assert_int_equal(d->ui.depth, 1);
	}
}

static void
disks_of_a_machine_are_this_screen(void **state)
{
	static const char expected[] =
	    " host1 - Disks: web1                                       root (Administrator)\n"
	    "\n"
	    "\n"
	    "   Place Type       Size    On disk File\n"
	    " > 0:0   disk     20 GiB    1.5 GiB ./disks/disk0.img\n"
	    "   0:1   DVD           -          - (no disc)\n"
	    "\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
	    "--------------------------------------------------------------------------------\n"
	    "CPUs 4 | memory free 6.0 GiB | machines 1/2 | https://192.0.2.5:8443\n"
	    "\n"
	    "n New  a Attach  d DVD drive  i Insert  e Eject  r Remove  ? help\n";
	struct desk *d = *state;

	press(d, "16\ri");
	assert_string_equal(screen(d), expected);
	ui_key(&d->ui, K_F1);
	shows(d, "disk.list(\"web1\")");
	shows(d, "disk.remove(\"web1\", {controller=0, lun=0, confirm=true})");
	press(d, "\033\033");
	shows(d, "i Disks");
}

static void
a_guest_its_components_and_its_memory_have_pages(void **state)
{
	struct desk *d = *state;
	json_t *sent;

	press(d, "16\rg");
	shows(d, "alive, its applications are healthy");
	shows(d, "web1.example");
	shows(d, "192.0.2.7 fe80::1");
	press(d, "q");
	press(d, "v");
	shows(d, "Heartbeat                enabled    Ok, version 3.0");
	shows(d, "GuestServiceInterface    disabled   Off");
	press(d, "je");
	sent = fake_last(&d->agent, "integration.enable");
	assert_string_equal(json_string_value(json_object_get(sent, "vm")), "web1");
	assert_string_equal(json_string_value(json_object_get(sent, "service")), "GuestServiceInterface");
	shows(d, "GuestServiceInterface    enabled");
	press(d, "kd");
	shows(d, "Heartbeat                disabled");
	press(d, "q");
	press(d, "m");
	shows(d, "Has now");
	shows_not(d, "Minimum");
	press(d, "\t ");
	shows(d, "Minimum");
	press(d, "\t\x15"
		 "256\t\x15"
		 "2G\t\r\r");
	sent = fake_last(&d->agent, "memory.set");
	assert_true(json_is_true(json_object_get(sent, "dynamic")));
	assert_int_equal(json_integer_value(json_object_get(sent, "minimum")), 256);
	assert_int_equal(json_integer_value(json_object_get(sent, "maximum")), 2048);
	assert_null(json_object_get(sent, "startup"));
}

static void
disks_are_made_attached_and_removed(void **state)
{
	struct desk *d = *state;
	json_t *sent;

	press(d, "16\rin");
	shows(d, "New disk");
	press(d, "\x15"
		 "5x\r\r\r\t\t\r");
	shows(d, "Write a size such as 20G or 500M.");
	press(d, "\x15"
		 "5G\r\r\r\t\t\r");
	shows(d, "Size: 5G");
	shows(d, "- do something to a disk");
	press(d, "\r");
	sent = fake_last(&d->agent, "disk.add");
	assert_int_equal(json_integer_value(json_object_get(sent, "size")), 5ll << 30);
	assert_string_equal(json_string_value(json_object_get(sent, "vm")), "web1");
	assert_string_equal(json_string_value(json_object_get(sent, "format")), "VHDX");
	shows(d, "Create web1: done.");
	shows(d, "0:2");
	press(d, "a\r");
	press(d, "vml\r y\r\r\r");
	sent = fake_last(&d->agent, "disk.add");
	assert_string_equal(json_string_value(json_object_get(sent, "path")), "/data/images/vmlinuz");
	shows(d, "0:3");
	press(d, "r"); /* the first one */
	shows(d, "Remove a disk or drive");
	press(d, " \r\r");
	shows(d, "gone for good");
	press(d, "\t\r");
	sent = fake_last(&d->agent, "disk.remove");
	assert_int_equal(json_integer_value(json_object_get(sent, "lun")), 0);
	assert_true(json_is_true(json_object_get(sent, "deleteFile")));
	assert_true(json_is_true(json_object_get(json_object_get(sent, "_"), "confirm")));
	shows_not(d, "disk0.img");
}

static void
disks_get_children_and_are_merged(void **state)
{
	struct desk *d = *state;
	json_t *sent;

	press(d, "16\rib");
	shows(d, "Put a child on a disk");
	press(d, "child\r\r\r\r");
	sent = fake_last(&d->agent, "disk.branch");
	assert_string_equal(json_string_value(json_object_get(sent, "name")), "child");
	assert_int_equal(json_integer_value(json_object_get(sent, "lun")), 0);
	shows(d, "./disks/child.vhdx");
	press(d, "v");
	shows(d, "Differencing");
	shows(d, "./disks/disk0.vhdx");
	shows(d, "by nobody that can be seen");
	press(d, "\033m");
	shows(d, "Merge a disk into its parent");
	press(d, "\r\r\r");
	shows(d, "does not fit it any more");
	press(d, "\t\r");
	sent = fake_last(&d->agent, "disk.merge");
	assert_int_equal(json_integer_value(json_object_get(sent, "levels")), 1);
	assert_true(json_is_true(json_object_get(sent, "delete")));
	assert_true(json_is_true(json_object_get(json_object_get(sent, "_"), "confirm")));
	shows(d, "Working");
	press(d, "x");
	assert_string_equal(
	    json_string_value(json_object_get(fake_last(&d->agent, "job.cancel"), "job")), "job-1");
}

static void
discs_are_inserted_and_ejected(void **state)
{
	struct desk *d = *state;
	json_t *sent;

	press(d, "16\rij"); /* the drive */
	press(d, "i\r");
	press(d, "vml\r\r\r\r");
	sent = fake_last(&d->agent, "dvd.set");
	assert_string_equal(json_string_value(json_object_get(sent, "path")), "/data/images/vmlinuz");
	assert_int_equal(json_integer_value(json_object_get(sent, "lun")), 1);
	assert_string_equal(json_string_value(json_object_get(sent, "vm")), "web1");
	shows(d, "/data/images/vmlinuz, read only");
	press(d, "e");
	shows(d, "Take the disc out of drive 0:1?");
	press(d, "\r");
	sent = fake_last(&d->agent, "dvd.set");
	assert_string_equal(json_string_value(json_object_get(sent, "path")), "");
	shows(d, "(no disc)");
	press(d, "d\t\r\r");
	assert_string_equal(
	    json_string_value(json_object_get(fake_last(&d->agent, "dvd.add"), "vm")), "web1");
	shows(d, "0:2");
}

static void
every_number_opens_its_page(void **state)
{
	struct desk *d = *state;

	for (const struct page *const *page = pages; *page; page++) {
		char keys[8];

		snprintf(keys, sizeof(keys), "%d\r", (*page)->number);
		press(d, keys);
		if ((*page)->kind == PAGE_SHELL) {
			assert_int_equal(d->shells, 1);
			continue;
		}
		shows(d, (*page)->title);
		press(d, "\033");
		assert_int_equal(d->ui.depth, 1);
	}
	press(d, "77\r");
	shows(d, "! There is no option 77.");
	press(d, "5\x7f");
	shows(d, "option:\n");
}

static void
a_name_is_shown_as_it_will_be_then_set_then_read_back(void **state)
{
	struct desk *d = *state;

	press(d, "2\r");
	shows(d, "host1___");
	press(d, "\x15host2\r\r");
	shows(d, "What will be");
	shows(d, "Computer name: host1 -> host2");
	shows(d, "- write the settings of the host");
	assert_string_equal(json_string_value(json_object_get(d->agent.host, "name")), "host1");
	press(d, "\r");
	shows(d, "Computer name is now host2.");
	shows(d, " host2 - Computer name");
	assert_string_equal(json_string_value(json_object_get(d->agent.host, "name")), "host2");
	assert_non_null(json_object_get(json_object_get(fake_last(&d->agent, "host.set"), "_"), "requestId"));
}

static void
what_is_wrong_is_said_at_its_field(void **state)
{
	struct desk *d = *state;

	press(d, "2\r\x15-x\r\r");
	shows(d, "! A computer name neither begins nor ends with a hyphen.");
	assert_null(fake_last(&d->agent, "host.set"));
	press(d, "\x15\r\r");
	shows(d, "! Computer name is needed.");
	press(d, "\x15taken\r\r");
	shows(d, "! taken is the name of another host. Choose another.");
	shows(d, "> Computer name"); /* the focus is there again */
	press(d, "\x15"
		 "broken\r\r");
	shows(d, "! The disk is full.");
	press(d, "\033");
	shows(d, "What was changed on this page is not applied.");
	press(d, "\r");
	assert_int_equal(d->ui.depth, 1);
}

static void
a_static_address_needs_dhcp_off(void **state)
{
	struct desk *d = *state;

	press(d, "8\r");
	shows(d, "Addresses now");
	shows_not(d, "Default gateway");
	press(d, "\t ");
	shows(d, "Default gateway      192.0.2.1");
	press(d, "\t\x15"
		 "192.0.2.300/24\r\r\r\r");
	shows(d, "! 192.0.2.300 is not an address.");
	press(d, "\x15"
		 "192.0.2.7/24\r\r\r\r");
	shows(d, "Use DHCP: yes -> no");
	shows(d, "IP address: 192.0.2.5/24 -> 192.0.2.7/24");
	shows(d, "Sessions over this adapter may be cut off.");
	press(d, "\r");
	shows(d, "IP address is now 192.0.2.7/24");
	assert_string_equal(
	    json_string_value(json_object_get(fake_last(&d->agent, "host.set"), "adapter")), "eth0");
	assert_true(json_is_array(json_object_get(fake_last(&d->agent, "host.set"), "dns")));
}

static void
another_adapter_shows_its_own_values(void **state)
{
	struct desk *d = *state;

	press(d, "8\r\r");
	shows(d, "Find:");
	press(d, "eth1\r");
	shows(d, "52:54:00:12:34:57");
	shows(d, "IP address");
}

static void
a_host_without_adapters_says_so(void **state)
{
	struct desk *d = *state;

	json_array_clear(json_object_get(d->agent.host, "adapters"));
	press(d, "8\r");
	shows(d, "! The system knows of no network adapter in this host.");
	press(d, "\r\r\r\r");
	assert_null(fake_last(&d->agent, "host.set"));
}

static void
a_time_zone_is_found_by_typing(void **state)
{
	struct desk *d = *state;

	press(d, "9\r\rvie");
	shows(d, "(1 of 3)");
	press(d, "\r\r\r");
	shows(d, "Time zone: UTC -> Europe/Vienna");
	press(d, "\r");
	assert_string_equal(json_string_value(json_object_get(d->agent.host, "timeZone")), "Europe/Vienna");
}

static void
help_shows_the_lua_line_with_what_is_typed(void **state)
{
	struct desk *d = *state;

	press(d, "2\r\x15host2?");
	shows(d, "host.set{name=\"host2\"}");
	press(d, "\033\033\r16\rn");
	press(d, "web2");
	ui_key(&d->ui, K_F1);
	shows(d, "vm.create{name=\"web2\", memory=512, processors=1,");
}

static void
machines_are_listed_started_stopped_and_watched(void **state)
{
	struct desk *d = *state;

	press(d, "16\r");
	shows(d, "   Name                     State      CPUs    Memory Up for / reason\n"
		 " > web1                     Off           1   512 MiB\n"
		 "   db1                      Running       2   2.0 GiB 2 h 1 min\n");
	press(d, "s");
	shows(d, "web1                     Running");
	shows(d, "Start web1: done.");
	press(d, "t");
	shows(d, "Shut down web1?");
	press(d, "\r");
	shows(d, "Working");
	ui_tick(&d->ui, 1);
	shows(d, "Stop web1: done.");
	json_object_set_new(json_array_get(d->agent.vms, 1), "state", json_string("Critical"));
	json_array_append_new(d->agent.events, json_pack("{s:s}", "type", "vm.state"));
	assert_true(ui_tick(&d->ui, 2));
	shows(d, "db1                      Critical");
	press(d, "jc");
	assert_string_equal(d->console, "db1");
	press(d, "k\r");
	shows(d, "> Start   Starts it.");
}

static void
the_first_machine_is_created_from_the_menu(void **state)
{
	struct desk *d = *state;

	json_array_clear(d->agent.vms);
	ui_changed(&d->ui, "");
	press(d, "16\r");
	shows(d, "There is no machine yet: press n for a new one.");
	press(d, "nfirst\r\x15"
		 "1G\r\r\rvml\r\rinit\r\r\r\r\r\r\r\r");
	shows(d, "What will be");
	shows(d, "Kernel: /data/images/vmlinuz");
	press(d, "\r");
	shows(d, "> first");
	assert_int_equal(
	    json_integer_value(json_object_get(fake_last(&d->agent, "vm.create"), "memory")), 1024);
	assert_string_equal(json_string_value(json_object_get(fake_last(&d->agent, "vm.create"), "initrd")),
	    "/data/images/initrd.img");
	assert_null(json_object_get(fake_last(&d->agent, "vm.create"), "notes"));
}

static void
a_new_machine_has_the_focus(void **state)
{
	struct desk *d = *state;

	press(d, "16\rnzoo\r\r\r\rvml\r\t\t\t\t\t\r\r");
	shows(d, "> zoo");
}

static void
a_machine_is_deleted_only_by_its_name(void **state)
{
	struct desk *d = *state;

	press(d, "16\rdweb2\r\r\r");
	shows(d, "! This is not its name: web1.");
	press(d, "\x15web1\r\r\r");
	shows(d, "It cannot be undone.");
	press(d, "\r"); /* the button that goes back has the focus */
	assert_int_equal(json_array_size(d->agent.vms), 2);
	press(d, "\rd");
	shows(d, "> db1");
	assert_int_equal(json_array_size(d->agent.vms), 1);
	assert_true(json_is_true(
	    json_object_get(json_object_get(fake_last(&d->agent, "vm.delete"), "_"), "confirm")));
	assert_null(json_object_get(fake_last(&d->agent, "vm.delete"), "again"));
	assert_null(
	    json_object_get(fake_last(&d->agent, "vm.delete"), "deleteDisks")); /* not unless chosen */
}

static void
settings_keep_what_is_not_changed_and_follow_a_new_name(void **state)
{
	struct desk *d = *state;

	press(d, "16\re\x15mail\r\x15"
		 "1G\r\t\t\t\t\t\t\t\r");
	shows(d, "Name: web1 -> mail");
	press(d, "\r");
	shows(d, "Name is now mail; Memory is now 1024.");
	assert_int_equal(json_object_size(fake_last(&d->agent, "vm.set")), 4); /* vm, name, memory, _ */
	assert_int_equal(json_integer_value(json_object_get(
			     json_object_get(fake_last(&d->agent, "vm.set"), "_"), "ifMatch")),
	    3);
}

static void
restart_asks_twice_and_names_what_runs(void **state)
{
	struct desk *d = *state;

	press(d, "13\r\r"); /* Cancel has the focus */
	assert_int_equal(d->ui.depth, 1);
	press(d, "13\r");
	shows(d, "Running machines     web1, db1");
	press(d, "\x10\r");
	shows(d, "The host and all its machines restart now.");
	press(d, "\r");
	assert_null(json_object_get(json_object_get(fake_last(&d->agent, "host.restart"), "_"), "confirm"));
	press(d, "\rr");
	assert_true(json_is_true(
	    json_object_get(json_object_get(fake_last(&d->agent, "host.restart"), "_"), "confirm")));
}

static void
an_agent_that_dies_is_one_sentence_and_comes_back(void **state)
{
	struct desk *d = *state;

	press(d, "16\r");
	d->agent.down = true;
	ui_tick(&d->ui, link_now_ms());
	shows(d, "THE AGENT DOES NOT ANSWER; machines keep running.");
	press(d, "q0\r");
	shows(d, "The agent does not answer; machines keep running");
	d->agent.down = false;
	assert_true(ui_tick(&d->ui, link_now_ms() + 5000));
	shows(d, "The agent answers again.");
	shows(d, "Manage it at");
	press(d, "\r");
	shows(d, "1 of 2 running");
}

static void
a_change_is_asked_again_when_the_connection_breaks(void **state)
{
	struct desk *d = *state;

	press(d, "2\r\x15host2\r\r");
	d->agent.connected = false; /* the agent was restarted meanwhile */
	press(d, "\r");
	shows(d, "Computer name is now host2.");
}

static void
log_off_asks_and_then_ends(void **state)
{
	struct desk *d = *state;

	press(d, "12\r\033");
	assert_false(d->ui.quit);
	press(d, "q\r"); /* by accident: No has the focus */
	assert_false(d->ui.quit);
	press(d, "12\r\r");
	assert_true(d->ui.quit);
}

static void
the_cursor_is_on_what_has_the_focus(void **state)
{
	struct desk *d = *state;

	press(d, "8");
	assert_int_equal(d->cells.cursor_row, 6);
	press(d, "\r");
	assert_int_equal(d->cells.at[d->cells.cursor_row * 80 + 1].ch, '>');
	press(d, "\t");
	assert_int_equal(d->cells.at[d->cells.cursor_row * 80 + d->cells.cursor_col].ch, 'x');
}

static void
nonsense_from_the_agent_does_no_harm(void **state)
{
	struct desk *d = *state;

	d->agent.nonsense = true;
	ui_changed(&d->ui, "");
	for (const struct page *const *page = all_pages; *page; page++) {
		if ((*page)->kind == PAGE_LOG_OFF || (*page)->kind == PAGE_SHELL)
			continue;
		ui_open(&d->ui, *page, (*page)->subject ? "web1" : "");
		press(d, "\r\r\r\r j s\r\033\033\033\033\r");
		while (d->ui.depth > 1)
			ui_pop(&d->ui);
	}
}

static uint32_t
next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void
no_size_does_harm(void **state)
{
	struct desk *d = *state;

	for (const struct page *const *page = all_pages; *page; page++) {
		if ((*page)->kind != PAGE_LOG_OFF && (*page)->kind != PAGE_SHELL)
			ui_open(&d->ui, *page, (*page)->subject ? "web1" : "");
		for (int rows = 1; rows <= 100; rows = rows < 30 ? rows + 1 : rows + 23)
			for (int cols = 1; cols <= 300; cols = cols < 30 ? cols + 1 : cols + 53) {
				cells_resize(&d->cells, rows, cols);
				ui_draw(&d->ui);
				assert_true(d->cells.cursor_row < rows && d->cells.cursor_col < cols);
			}
		while (d->ui.depth > 1)
			ui_pop(&d->ui);
	}
}

static void
no_keys_do_harm(void **state)
{
	static const char likely[] = "\r\r\r\t\t\033 jkqnstoced?1690248xy\x15\x7f/";
	struct desk *d = *state;
	uint32_t seed = 1;

	for (int i = 0; i < 20000; i++) {
		uint32_t key = next_random(&seed) % 4
				   ? (uint32_t)likely[next_random(&seed) % (sizeof(likely) - 1)]
				   : next_random(&seed) % (K_NONE + 1);

		if (i % 16 == 0)
			cells_resize(&d->cells, (int)(next_random(&seed) % 100 + 1),
			    (int)(next_random(&seed) % 300 + 1));
		if (i % 512 == 0)
			d->agent.nonsense = !d->agent.nonsense;
		ui_key(&d->ui, key);
		ui_draw(&d->ui);
		if (i % 8 == 0)
			ui_tick(&d->ui, (uint64_t)i);
		if (i % 64 == 0)
			json_array_clear(d->agent.calls);
		d->ui.quit = false;
	}
}

int
main(void)
{
#define ON_A_DESK(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		ON_A_DESK(the_main_menu_is_this_screen),
		ON_A_DESK(status_tells_how_to_reach_this_host),
		ON_A_DESK(every_page_opens_helps_and_closes),
		ON_A_DESK(disks_of_a_machine_are_this_screen),
		ON_A_DESK(a_guest_its_components_and_its_memory_have_pages),
		ON_A_DESK(disks_are_made_attached_and_removed),
		ON_A_DESK(disks_get_children_and_are_merged),
		ON_A_DESK(discs_are_inserted_and_ejected),
		ON_A_DESK(every_number_opens_its_page),
		ON_A_DESK(a_name_is_shown_as_it_will_be_then_set_then_read_back),
		ON_A_DESK(what_is_wrong_is_said_at_its_field),
		ON_A_DESK(a_static_address_needs_dhcp_off),
		ON_A_DESK(another_adapter_shows_its_own_values),
		ON_A_DESK(a_host_without_adapters_says_so),
		ON_A_DESK(a_time_zone_is_found_by_typing),
		ON_A_DESK(help_shows_the_lua_line_with_what_is_typed),
		ON_A_DESK(machines_are_listed_started_stopped_and_watched),
		ON_A_DESK(the_first_machine_is_created_from_the_menu),
		ON_A_DESK(a_new_machine_has_the_focus),
		ON_A_DESK(a_machine_is_deleted_only_by_its_name),
		ON_A_DESK(settings_keep_what_is_not_changed_and_follow_a_new_name),
		ON_A_DESK(restart_asks_twice_and_names_what_runs),
		ON_A_DESK(an_agent_that_dies_is_one_sentence_and_comes_back),
		ON_A_DESK(a_change_is_asked_again_when_the_connection_breaks),
		ON_A_DESK(log_off_asks_and_then_ends),
		ON_A_DESK(the_cursor_is_on_what_has_the_focus),
		ON_A_DESK(nonsense_from_the_agent_does_no_harm),
		ON_A_DESK(no_size_does_harm),
		ON_A_DESK(no_keys_do_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
