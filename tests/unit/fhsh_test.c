/*
 * tests/unit/fhsh_test.c - fhsh as people and scripts use it, against a fake agent: at a terminal (a
 * pseudo-terminal that is typed into and read), with -c, from standard input, and with a script that checks
 * the bindings from within (fhsh_test.lua).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <cmocka.h>

#include "tests/unit/fake_wire.h"

/* What has come from the shell and was not yet looked for. */
static struct seen {
	pid_t pid;
	int fd;
	char text[65536];
	size_t len;
} tty;

static char history[128], program[256];

static int
setup(void **state)
{
	char self[200];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	(void)state;
	if (n < 0 || fake_wire_start() != 0)
		return -1;
	self[n] = '\0';
	*strstr(self, "/tests/unit/") = '\0';
	snprintf(program, sizeof(program), "%s/bin/fhsh", self);
	snprintf(history, sizeof(history), "%s/history", fake.folder);
	setenv("FREEHOLD_HISTORY", history, 1);
	setenv("TERM", "vt100", 1);
	setenv("INPUTRC", "/dev/null", 1);
	setenv("LC_ALL", "C.UTF-8", 1);
	unsetenv("LSAN_OPTIONS");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(history);
	fake_wire_stop();
	return 0;
}

/* --- at a terminal ------------------------------------------------------------------------------ */

static void
begin(const char *option, const char *value)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };

	memset(&tty, 0, sizeof(tty));
	tty.pid = forkpty(&tty.fd, NULL, NULL, &size);
	if (tty.pid == 0) {
		execl(program, program, option, value, (char *)NULL);
		_exit(127);
	}
	assert_true(tty.pid > 0);
}

/* Waits until text has come; forgets what was before its end. */
static void
expect(const char *text)
{
	struct pollfd p = { .fd = tty.fd, .events = POLLIN };
	char *found;
	ssize_t n;

	while (!(found = memmem(tty.text, tty.len, text, strlen(text)))) {
		n = poll(&p, 1, 10000) > 0 ? read(tty.fd, tty.text + tty.len, sizeof(tty.text) - 1 - tty.len)
					   : 0;
		if (n <= 0) {
			tty.text[tty.len] = '\0';
			print_message("waited for '%s', got:\n%s\n", text, tty.text);
			kill(tty.pid, SIGKILL);
		}
		assert_true(n > 0);
		tty.len += (size_t)n;
	}
	found += strlen(text);
	tty.len -= (size_t)(found - tty.text);
	memmove(tty.text, found, tty.len);
}

static void
type(const char *text)
{
	assert_int_equal(write(tty.fd, text, strlen(text)), strlen(text));
}

static int
end(void)
{
	struct pollfd p = { .fd = tty.fd, .events = POLLIN };
	char rest[512];
	int status;

	while (poll(&p, 1, 10000) > 0 && read(tty.fd, rest, sizeof(rest)) > 0)
		;
	close(tty.fd);
	assert_int_equal(waitpid(tty.pid, &status, 0), tty.pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void
the_prompt_takes_commands_and_lua_and_shows_both_as_tables(void **state)
{
	(void)state;
	begin(NULL, NULL);
	expect("fhsh> ");
	type("vm list\n");
	expect("-- vm.list()"); /* the first time it teaches */
	expect("web2");
	expect("fhsh> ");
	type("vms{state=\"Off\"}\n");
	expect("512");
	expect("fhsh> ");
	type("1 + 1\n");
	expect("\n2\r\n");
	type("x = 5\n");
	expect("fhsh> ");
	type("x * 2\n");
	expect("\n10\r\n");
	type("vm start nobody\n");
	expect("no machine is called so (parameter vm). vm list shows the machines.");
	type("vm.start('nobody')\n");
	expect("no machine is called so (parameter vm).");
	type("help vm create\n");
	expect("Creates a machine.");
	type("exit\n");
	assert_int_equal(end(), 0);
}

static void
a_statement_may_take_several_lines(void **state)
{
	(void)state;
	begin(NULL, NULL);
	expect("fhsh> ");
	type("for i = 1, 2 do\n");
	expect("...> ");
	type("print('line', i)\n");
	expect("...> ");
	type("end\n");
	expect("2");
	expect("fhsh> ");
	type("for i = 1, 2 do\n");
	expect("...> ");
	type("\x03"); /* and may be given up */
	expect("fhsh> ");
	type("'still ' .. 'here'\n");
	expect("still here");
	expect("fhsh> ");
	type("\x04");
	assert_int_equal(end(), 0);
}

static void
tab_completes_nouns_verbs_names_and_machines(void **state)
{
	(void)state;
	begin(NULL, NULL);
	expect("fhsh> ");
	type("hos\t");
	expect("host ");
	type("ge\t");
	expect("get ");
	type("\n");
	expect("alpha");
	expect("fhsh> ");
	type("vm sto\tweb1\tmo\tturn\t\n");
	expect("stop web1 mode=turnOff");
	expect("Done.");
	assert_non_null(strstr(fake_last(), "\"mode\":\"turnOff\""));
	type("vm.sta\t");
	expect("vm.start");
	type("('we\t2')\n");
	expect("2')");
	expect("fhsh> ");
	assert_non_null(strstr(fake_last(), "\"vm\":\"web2\""));
	type("exit\n");
	assert_int_equal(end(), 0);
}

static void
what_deletes_asks_for_the_name(void **state)
{
	(void)state;
	begin(NULL, NULL);
	expect("fhsh> ");
	type("vm delete web2\n");
	expect("type the name to confirm: ");
	type("web1\n");
	expect("was not confirmed, nothing was done");
	type("vm\"web2\":delete()\n");
	expect("type the name to confirm: ");
	type("web2\n");
	expect("fhsh> ");
	assert_non_null(strstr(fake_last(), "\"confirm\":true"));
	type("exit\n");
	assert_int_equal(end(), 0);
}

static void
ctrl_c_ends_the_call_and_not_the_shell(void **state)
{
	(void)state;
	begin(NULL, NULL);
	expect("fhsh> ");
	type("test hang\n");
	expect("-- test.hang()");
	usleep(200000);
	type("\x03");
	expect("interrupted");
	expect("fhsh> ");
	type("while true do end\n");
	usleep(200000);
	type("\x03");
	expect("interrupted");
	expect("fhsh> ");
	type("host get\n");
	expect("alpha");
	type("exit\n");
	assert_int_equal(end(), 0);
}

static void
a_job_shows_how_far_it_is_and_ctrl_c_asks_what_to_do(void **state)
{
	(void)state;
	fake.polls_needed = 1000;
	begin(NULL, NULL);
	expect("fhsh> ");
	type("vm stop web1\n");
	expect("stopping  [");
	expect("%");
	type("\x03");
	expect("[c]ancel it, [l]eave it, or [w]ait?");
	type("l\n");
	expect("goes on in the background");
	expect("fhsh> ");
	type("vm stop web1\n");
	expect("stopping  [");
	type("\x03");
	expect("[w]ait?");
	type("c\n");
	expect("the job was cancelled");
	type("vm stop web1 &\n");
	expect("Job 7 goes on in the background");
	type("exit\n");
	assert_int_equal(end(), 0);
	fake.polls_needed = 3;
}

static void
the_console_is_raw_and_the_terminal_is_put_back(void **state)
{
	struct termios before, during, after;

	(void)state;
	begin(NULL, NULL);
	expect("fhsh> ");
	type("x = 1\n");
	expect("fhsh> ");
	tcgetattr(tty.fd, &before);
	type("vm console web1\n");
	expect("Ctrl-] leaves it.");
	expect("login: ");
	type("root\x03");
	expect("ROOT\x03"); /* Ctrl-C is the machine's */
	tcgetattr(tty.fd, &during);
	assert_false(during.c_lflag & (ECHO | ICANON | ISIG));
	type("\x1d");
	expect("\033[?1049;1047;47l"); /* all of it: screen_test.c */
	expect("Left the console.");
	expect("fhsh> ");
	type("vm.console('web1')\n");
	expect("login: ");
	type("\x04"); /* the machine's end closes */
	expect("The console has ended.");
	expect("fhsh> ");
	tcgetattr(tty.fd, &after);
	assert_int_equal(after.c_lflag, before.c_lflag);
	type("exit\n");
	assert_int_equal(end(), 0);
}

static void
a_console_that_is_killed_leaves_the_terminal_as_it_was(void **state)
{
	struct termios before, after;
	int slave;

	(void)state;
	begin("-c", "vm console web1");
	slave = open(ptsname(tty.fd), O_RDWR | O_NOCTTY);
	expect("login: ");
	tcgetattr(slave, &before);
	assert_false(before.c_lflag & ICANON);
	kill(tty.pid, SIGTERM);
	expect("\033[?1049;1047;47l");
	assert_int_equal(waitpid(tty.pid, NULL, 0), tty.pid);
	tcgetattr(slave, &after);
	assert_true(after.c_lflag & ICANON);
	assert_true(after.c_lflag & ECHO);
	close(slave);
	close(tty.fd);
}

static void
a_missing_password_is_asked_for_unseen_and_not_remembered(void **state)
{
	static const char secret[] = "correct horse";
	char kept[4096] = "";
	struct stat st;
	FILE *f;

	(void)state;
	begin(NULL, NULL);
	expect("fhsh> ");
	type("user create bob\n");
	expect("password: ");
	type("correct horse\n");
	expect("password, again: ");
	type("correct horse\n");
	expect("Done.");
	assert_non_null(strstr(fake_last(), secret));
	assert_null(memmem(tty.text, tty.len, secret, strlen(secret)));
	expect("fhsh> ");
	type("user create eve password=s3cret\n");
	expect("Done.");
	type("vm list\nexit\n");
	assert_int_equal(end(), 0);
	f = fopen(history, "r");
	assert_non_null(f);
	assert_true(fread(kept, 1, sizeof(kept) - 1, f) > 0);
	fclose(f);
	assert_non_null(strstr(kept, "vm list\n"));
	assert_null(strstr(kept, "s3cret"));
	assert_null(strstr(kept, "horse"));
	assert_int_equal(stat(history, &st), 0);
	assert_int_equal(st.st_mode & 077, 0);
}

static void
a_terminal_that_is_resized_gets_narrower_tables(void **state)
{
	struct winsize size = { .ws_row = 24, .ws_col = 30 };

	(void)state;
	begin(NULL, NULL);
	expect("fhsh> ");
	assert_int_equal(ioctl(tty.fd, TIOCSWINSZ, &size), 0);
	type("vm list\n");
	expect("more columns do not fit");
	type("exit\n");
	assert_int_equal(end(), 0);
}

/* --- without one -------------------------------------------------------------------------------- */

/* Runs a shell command; its output is in tty.text. */
static int
sh(const char *format, ...)
{
	char line[1024], command[2048];
	va_list ap;
	FILE *f;
	int status;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	snprintf(command, sizeof(command), "fhsh=%s; { %s ; } 2>&1", program, line);
	f = popen(command, "re"); // NOLINT: a test
	assert_non_null(f);
	tty.len = fread(tty.text, 1, sizeof(tty.text) - 1, f);
	tty.text[tty.len] = '\0';
	status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
exit_codes_tell_done_failed_and_refused(void **state)
{
	(void)state;
	assert_int_equal(sh("$fhsh -c 'vm list' </dev/null"), 0);
	assert_int_equal(sh("$fhsh -c 'vm start nobody'"), 1);
	assert_int_equal(sh("$fhsh -c 'vm strt web1'"), 2);
	assert_int_equal(sh("$fhsh -c 'disk remove web1 1'"), 0); /* only what deletes has to be confirmed */
	assert_int_equal(sh("$fhsh -c 'disk remove web1 1 deleteFile=yes'"), 2);
	assert_int_equal(sh("$fhsh -c 'disk.remove(\"web1\", 1, {deleteFile=true, confirm=true})'"), 0);
	assert_int_equal(sh("$fhsh -c 'vm delete web1'"), 2);
	assert_non_null(strstr(tty.text, "Use --yes"));
	assert_int_equal(sh("$fhsh --yes -c 'vm delete web1'"), 0);
	assert_int_equal(sh("$fhsh -c 'vm delete web1 --yes'"), 0);
	assert_int_equal(sh("$fhsh -c 'vm.delete{vm=\"web1\", confirm=true}'"), 0);
	assert_int_equal(sh("$fhsh -c 'error(\"no\")'"), 1);
	assert_int_equal(sh("$fhsh -c 'for'"), 2);
	assert_int_equal(sh("$fhsh --nonsense"), 2);
	assert_int_equal(sh("$fhsh /nonexistent.lua"), 2);
	assert_int_equal(sh("$fhsh --socket /nonexistent -c 'vm list'"), 1);
	assert_non_null(strstr(tty.text, "Is fh-agent running?"));
	assert_int_equal(sh("echo 'os.exit(7)' | $fhsh"), 7);
	assert_int_equal(sh("$fhsh --help"), 0);
}

static void
answers_can_be_had_as_json(void **state)
{
	json_t *doc;

	(void)state;
	assert_int_equal(sh("$fhsh --json -c 'vm list state=Off'"), 0);
	doc = json_loads(tty.text, 0, NULL);
	assert_non_null(doc);
	assert_true(json_is_array(json_object_get(doc, "vms")));
	json_decref(doc);
	assert_int_equal(sh("$fhsh -c 'vm get web1 --json' -c 'vm.get(\"web1\")'"), 0);
	assert_memory_equal(tty.text, "{\"vm\":{", 7);
}

static void
lines_come_from_standard_input_until_one_fails(void **state)
{
	(void)state;
	assert_int_equal(
	    sh("printf 'for i=1,2 do\\nprint(i)\\nend\\nvm list\\nvm start nobody\\nprint(\"not me\")\\n' "
	       "| $fhsh"),
	    1);
	assert_memory_equal(tty.text, "1\n2\n", 4);
	assert_non_null(strstr(tty.text, "no machine is called so"));
	assert_null(strstr(tty.text, "not me"));
	assert_int_equal(sh("printf 'for i=1,2 do\\n' | $fhsh"), 1);
}

#define HELLO "f=$(mktemp -d)/hello; printf 'hello world' >$f; "
#define CLEAN "; r=$?; rm -r \"${f%/*}\"; exit $r"

static void
a_file_is_uploaded_and_compared(void **state)
{
	(void)state;
	assert_int_equal(sh(HELLO "$fhsh --json -c \"file upload $f\"" CLEAN), 0);
	assert_non_null(strstr(tty.text, "\"size\":11,\"sha256\":\"b94d27b9"));
	assert_non_null(strstr(fake.last, "file.upload {\"path\":\"images/hello\",\"size\":11,"));
	assert_int_equal(sh(HELLO "$fhsh -c \"file upload $f images/kernel\"" CLEAN), 0);
	assert_non_null(strstr(tty.text, "Done."));
	assert_non_null(strstr(fake.last, "\"path\":\"images/kernel\""));
	assert_int_equal(sh(HELLO "$fhsh -c \"print(file.upload('$f', 'images/kernel').size)\"" CLEAN), 0);
	assert_non_null(strstr(tty.text, "11"));
	assert_int_equal(sh(HELLO "$fhsh -c \"whatif file upload $f\"" CLEAN), 0);
	assert_non_null(strstr(tty.text, "would upload it"));
}

static void
an_upload_that_fails_says_why(void **state)
{
	(void)state;
	assert_int_equal(sh("$fhsh -c 'file upload /nonexistent'"), 1);
	assert_non_null(strstr(tty.text, "/nonexistent: No such file or directory."));
	assert_int_equal(sh("$fhsh -c 'file upload /dev/null'"), 1);
	assert_non_null(strstr(tty.text, "/dev/null: it is not a file."));
	assert_int_equal(sh("$fhsh -c 'file upload'"), 2);
	assert_int_equal(
	    sh(HELLO "head -c 1000000 /dev/zero >>$f; $fhsh -c \"file upload $f images/full\" 2>&1" CLEAN),
	    1);
	assert_non_null(strstr(tty.text, "images/full: No space left on device."));
	assert_int_equal(sh(HELLO "$fhsh -c \"file upload $f images/other\" 2>&1" CLEAN), 1);
	assert_non_null(strstr(tty.text, "the host has other bytes than were sent"));
	assert_int_equal(sh(HELLO "$fhsh -c \"file upload $f images/gone\" 2>&1" CLEAN), 1);
	assert_non_null(
	    strstr(tty.text, "the connection was lost before the host had said that it has the file"));
}

static void
a_script_finds_all_bindings_as_promised(void **state)
{
	int status;

	(void)state;
	fake.web1_running = true;
	status = sh("$fhsh tests/unit/fhsh_test.lua one 'two words'");
	if (status != 0)
		print_message("%s\n", tty.text);
	assert_int_equal(status, 0);
	assert_non_null(strstr(tty.text, "all is well"));
}

static void
a_script_that_fails_tells_where(void **state)
{
	(void)state;
	assert_int_equal(sh("printf 'local x = 1\\nvm.start(\"nobody\")\\n' >%s/s.lua; $fhsh %s/s.lua; r=$?; "
			    "rm %s/s.lua; exit $r",
			     fake.folder, fake.folder, fake.folder),
	    1);
	assert_non_null(strstr(tty.text, "s.lua:2: no machine is called so"));
}

static void
a_change_whose_answer_was_lost_is_sent_again_with_the_same_id(void **state)
{
	char first[600];

	(void)state;
	pthread_mutex_lock(&fake.lock);
	fake.drop_next = true;
	fake.starts = 0;
	pthread_mutex_unlock(&fake.lock);
	assert_int_equal(sh("$fhsh -c 'vm start web1'"), 0);
	assert_int_equal(
	    fake.starts, 2); /* the fake keeps no ids; an agent answers the second from its memory */
	snprintf(first, sizeof(first), "%s", fake_last());
	assert_non_null(strstr(first, "\"requestId\":\""));
}

static void
a_job_is_waited_for_even_when_the_agent_is_restarted(void **state)
{
	(void)state;
	pthread_mutex_lock(&fake.lock);
	fake.drop_next_get = true;
	pthread_mutex_unlock(&fake.lock);
	assert_int_equal(sh("$fhsh -c 'vm stop web1'"), 0);
	assert_false(fake.drop_next_get);
	assert_non_null(strstr(tty.text, "Done."));
}

static void
scripts_are_found_in_their_folder(void **state)
{
	(void)state;
	fake.web1_running = true;
	assert_int_equal(sh("FREEHOLD_SCRIPTS=tests/unit $fhsh fhsh_test one 'two words'"), 0);
}

static void
the_report_is_for_people_and_for_programs(void **state)
{
	json_t *doc;

	(void)state;
	fake.web1_running = true;
	assert_int_equal(sh("FREEHOLD_SCRIPTS=scripts $fhsh report"), 0);
	assert_non_null(strstr(tty.text, "Host alpha"));
	assert_non_null(strstr(tty.text, "2: 1 running, 1 off"));
	assert_int_equal(sh("$fhsh scripts/report.lua --json"), 0);
	doc = json_loads(tty.text, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(doc, "sum"), "memory")), 2048);
	json_decref(doc);
	assert_int_equal(sh("$fhsh scripts/report.lua --nonsense"), 2);
}

static void
a_rolling_restart_goes_one_by_one_and_stops_at_the_first_failure(void **state)
{
	(void)state;
	fake.web1_running = true;
	fake.starts = 0;
	assert_int_equal(sh("$fhsh scripts/rolling-restart.lua --settle=0 web1 web2"), 0);
	assert_non_null(strstr(tty.text, "web2: is Off, left as it is"));
	assert_non_null(
	    strstr(tty.text, "web1: shutting down\nweb1: starting\nweb1: is back\n1 restarted\n"));
	assert_int_equal(fake.starts, 1);
	assert_int_equal(sh("$fhsh scripts/rolling-restart.lua --what-if web1"), 0);
	assert_int_equal(fake.starts, 1);
	fake.never_starts = true;
	assert_int_equal(sh("$fhsh scripts/rolling-restart.lua --settle=0 --timeout=1 web1"), 1);
	assert_non_null(strstr(tty.text, "web1: it does not come up; 0 more were not touched"));
	fake.never_starts = false;
	assert_int_equal(sh("$fhsh scripts/rolling-restart.lua --settle=0 nobody"), 2);
	assert_int_equal(sh("$fhsh scripts/rolling-restart.lua"), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_prompt_takes_commands_and_lua_and_shows_both_as_tables),
		cmocka_unit_test(a_statement_may_take_several_lines),
		cmocka_unit_test(tab_completes_nouns_verbs_names_and_machines),
		cmocka_unit_test(what_deletes_asks_for_the_name),
		cmocka_unit_test(ctrl_c_ends_the_call_and_not_the_shell),
		cmocka_unit_test(a_job_shows_how_far_it_is_and_ctrl_c_asks_what_to_do),
		cmocka_unit_test(the_console_is_raw_and_the_terminal_is_put_back),
		cmocka_unit_test(a_console_that_is_killed_leaves_the_terminal_as_it_was),
		cmocka_unit_test(a_missing_password_is_asked_for_unseen_and_not_remembered),
		cmocka_unit_test(a_terminal_that_is_resized_gets_narrower_tables),
		cmocka_unit_test(exit_codes_tell_done_failed_and_refused),
		cmocka_unit_test(answers_can_be_had_as_json),
		cmocka_unit_test(lines_come_from_standard_input_until_one_fails),
		cmocka_unit_test(a_file_is_uploaded_and_compared),
		cmocka_unit_test(an_upload_that_fails_says_why),
		cmocka_unit_test(a_script_finds_all_bindings_as_promised),
		cmocka_unit_test(a_script_that_fails_tells_where),
		cmocka_unit_test(a_change_whose_answer_was_lost_is_sent_again_with_the_same_id),
		cmocka_unit_test(a_job_is_waited_for_even_when_the_agent_is_restarted),
		cmocka_unit_test(scripts_are_found_in_their_folder),
		cmocka_unit_test(the_report_is_for_people_and_for_programs),
		cmocka_unit_test(a_rolling_restart_goes_one_by_one_and_stops_at_the_first_failure),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
