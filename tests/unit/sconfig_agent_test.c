/*
 * tests/unit/sconfig_agent_test.c - the menu on a pseudo-terminal against the real agent, in namespaces of
 * its own so that the name it sets is not this machine's: what the menu says is done is done, and what others
 * do is seen in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

#include "fake_terminal.h"

static char top[32]; /* the agent's folders */
static pid_t agent;

static void
put_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static bool
answers(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", socket_path);
	yes = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
	close(fd);
	return yes;
}

/* In the child: a host name and a network that are nobody's, or nothing at all is run. */
static void
become_agent(void)
{
	char program[PATH_MAX + 16], data[64], run[64], etc[64];
	int out = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (unshare(CLONE_NEWUTS | CLONE_NEWNET) < 0 &&
	    unshare(CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWNET) < 0)
		_exit(125);
	dup2(out, 2);
	snprintf(program, sizeof(program), "%s/fh-agent", programs);
	snprintf(data, sizeof(data), "%s/data", top);
	snprintf(run, sizeof(run), "%s/run", top);
	snprintf(etc, sizeof(etc), "%s/etc", top);
	execl(program, "fh-agent", "--data", data, "--run", run, "--etc", etc, "--port", "0", (char *)NULL);
	_exit(126);
}

static void
start_agent(void)
{
	int status;

	agent = fork();
	if (agent == 0)
		become_agent();
	for (int64_t until = now_ms() + WAIT_MS; !answers(); usleep(20000)) {
		assert_true(now_ms() < until);
		if (waitpid(agent, &status, WNOHANG) == agent)
			fail_msg("fh-agent ended with %x", (unsigned)status);
	}
}

static void
stop_agent(int sig)
{
	kill(agent, sig);
	waitpid(agent, NULL, 0);
}

static int
begin(void **state)
{
	static const char *const folders[] = { "data", "data/images", "run", "etc" };
	char path[64];

	(void)state;
	find_programs();
	snprintf(top, sizeof(top), "/tmp/sconfig-test-XXXXXX");
	assert_non_null(mkdtemp(top));
	chmod(top, 0755);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", top, folders[i]);
		mkdir(path, 0755);
	}
	put_file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
	put_file("etc/shadow", "root:*:20000:0:99999:7:::\n");
	put_file("etc/group", "administrators:x:100:root\noperators:x:101:\nviewers:x:102:\n");
	put_file("data/images/vmlinuz", "a kernel");
	put_file("data/images/initrd.img", "its RAM disk");
	snprintf(socket_path, sizeof(socket_path), "%s/run/rpc.sock", top);
	start_agent();
	return 0;
}

static int
end(void **state)
{
	char command[64];

	(void)state;
	stop_agent(SIGTERM);
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

/* Answers to the prompts; all that was said, until the next call. */
static const char *
answer_prompts(const char *script)
{
	static char said[65536];
	int to[2], from[2];
	size_t len = 0;
	pid_t pid;

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	pid = fork();
	if (pid == 0) {
		char program[PATH_MAX + 16];

		dup2(to[0], 0);
		dup2(from[1], 1);
		close(to[1]);
		snprintf(program, sizeof(program), "%s/sconfig", programs);
		execl(program, "sconfig", "--socket", socket_path, (char *)NULL);
		_exit(126);
	}
	close(to[0]);
	close(from[1]);
	assert_int_equal(write(to[1], script, strlen(script)), strlen(script));
	close(to[1]);
	for (ssize_t n; (n = read(from[0], said + len, sizeof(said) - 1 - len)) > 0;)
		len += (size_t)n;
	said[len] = '\0';
	close(from[0]);
	waitpid(pid, NULL, 0);
	return said;
}

static struct desk *
sit_down(void)
{
	struct desk *d = start("vt100", 24, 80, NULL, NULL);

	sees(d, "Enter number to select an option:");
	return d;
}

static void
leave(struct desk *d)
{
	type(d, "12\r");
	sees(d, "Yes");
	type(d, "\r");
	assert_int_equal(finish(d), 0);
}

static void
the_status_tells_fingerprint_and_processors(void **state)
{
	struct desk *d = sit_down();

	(void)state;
	type(d, "0\r");
	sees(d, "Fingerprint");
	sees(d, " free of ");
	type(d, "\r");
	leave(d);
}

static void
a_name_set_in_the_menu_is_the_hosts_name(void **state)
{
	struct desk *d = sit_down();

	(void)state;
	type(d, "2\r");
	sees(d, "at most 63");
	type(d, "\x15"
		"menu-host\r\r");
	sees(d, "menu-host");
	sees(d, "The host will:");
	type(d, "\r");
	sees(d, "Computer name is now menu-host.");
	type(d, "\033");
	leave(d);
	assert_non_null(strstr(answer_prompts("12\n\n"), "Computer name: menu-host\n"));
}

static void
a_refusal_of_the_agent_is_said_at_its_field(void **state)
{
	struct desk *d = sit_down();

	(void)state;
	answer_prompts("16\nn\nweb0\n\n\nvmlinuz\n\n\n\n\n\n\n");
	type(d, "16\r");
	sees(d, "web0");
	type(d, "nweb0\r\r\r\r");
	sees(d, "Find:");
	type(d, "vml\r\t\t\t\t\t\r");
	sees(d, "already");
	type(d, "\033");
	sees(d, "Not applied");
	type(d, "\r");
	type(d, "q");
	leave(d);
}

static void
a_machine_is_created_changed_and_deleted(void **state)
{
	struct desk *d = sit_down();

	(void)state;
	type(d, "16\r");
	sees(d, "n New");
	type(d, "nweb1\r\x15"
		"256M\r\r\r");
	sees(d, "Find:");
	type(d, "vml\r\t\t\t\t\t\r");
	sees(d, "create the machine web1");
	type(d, "\r");
	sees(d, "Create web1: done.");
	sees(d, "256 MiB");
	assert_non_null(strstr(answer_prompts("16\n.\n"), "web1"));
	type(d, "e");
	sees(d, "When it shuts down");
	type(d, "\t\x15"
		"1G\r\t\t\t\t\t\t\t\r");
	sees(d, "256 -> 1024 MiB");
	type(d, "\r");
	sees(d, "Memory is now 1024.");
	type(d, "\033");
	sees(d, "1.0 GiB");
	type(d, "d");
	sees(d, "Type its name");
	type(d, "web1\r\r\r");
	sees(d, "It cannot be undone.");
	type(d, "\t\r");
	sees(d, "Delete web1: done.");
	assert_null(strstr(answer_prompts("16\n.\n"), "web1"));
	type(d, "q");
	leave(d);
}

static void
what_others_do_is_seen_at_once(void **state)
{
	struct desk *d = sit_down();

	(void)state;
	type(d, "16\r");
	sees(d, "n New");
	settle(d);
	d->mark = d->len;
	answer_prompts("16\nn\nelsewhere\n\n\nvmlinuz\n\n\n\n\n\n\n");
	sees(d, "elsewhere");
	type(d, "q");
	leave(d);
}

static void
an_agent_that_dies_under_the_menu_comes_back_in_it(void **state)
{
	struct desk *d = sit_down();

	(void)state;
	stop_agent(SIGKILL);
	sees(d, "THE AGENT DOES NOT ANSWER; machines keep running.");
	start_agent();
	sees(d, "The agent answers again.");
	leave(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_status_tells_fingerprint_and_processors),
		cmocka_unit_test(a_name_set_in_the_menu_is_the_hosts_name),
		cmocka_unit_test(a_refusal_of_the_agent_is_said_at_its_field),
		cmocka_unit_test(a_machine_is_created_changed_and_deleted),
		cmocka_unit_test(what_others_do_is_seen_at_once),
		cmocka_unit_test(an_agent_that_dies_under_the_menu_comes_back_in_it),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
