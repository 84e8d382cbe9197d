/*
 * tests/unit/host_dhcp_test.c - DHCP clients as services, and the name servers of all leases. The supervisor
 * is a thread that reads what runsv would read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host_dhcp.h"

static char run[64];
static struct err err;

static int
setup(void **state)
{
	(void)state;
	memset(&err, 0, sizeof(err));
	snprintf(run, sizeof(run), "/tmp/host_dhcp_test.XXXXXX");
	return mkdtemp(run) ? 0 : -1;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", run);
	return system(command);
}

static void
path_of(const char *below, char path[128])
{
	snprintf(path, 128, "%s/%s", run, below);
}

static bool
exists(const char *below)
{
	char path[128];

	path_of(below, path);
	return access(path, F_OK) == 0;
}

static void
lease(const char *adapter, const char *text)
{
	char path[128];
	FILE *f;

	path_of("dhcp", path);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/dhcp/%s", run, adapter);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
a_client_is_a_whole_service(void **state)
{
	struct stat before, after;
	char path[128];

	(void)state;
	assert_int_equal(dhcp_start(run, "eth0", &err), 0);
	assert_true(dhcp_runs(run, "eth0"));
	path_of("service/udhcpc-eth0/run", path);
	assert_int_equal(access(path, X_OK), 0);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(dhcp_start(run, "eth0", &err), 0); /* runs already: not touched */
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_false(exists("service/.udhcpc-eth0.new"));
	assert_int_equal(dhcp_stop(run, "eth0", &err), 0);
	assert_false(dhcp_runs(run, "eth0"));
	assert_false(exists("service/.udhcpc-eth0.old"));
	assert_int_equal(dhcp_stop(run, "eth0", &err), 0);
}

static void
strange_names_never_reach_a_shell(void **state)
{
	static const char *const names[] = { "", "..", "a b", "a;b", "$(x)", "a/b", "-x", "a\nb" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(dhcp_start(run, names[i], &err), -EINVAL);
	assert_false(exists("service"));
}

static atomic_bool ended;

/* Obeys after a moment, as a client that gives its lease back. */
static void *
supervise(void *arg)
{
	char c = 0;
	int fd = *(int *)arg;

	while (read(fd, &c, 1) != 1)
		usleep(1000);
	usleep(200000);
	ended = c == 'x';
	close(fd);
	return NULL;
}

static void
a_client_has_ended_before_its_address_is_free(void **state)
{
	char path[128];
	pthread_t thread;
	int fd;

	(void)state;
	assert_int_equal(dhcp_start(run, "eth0", &err), 0);
	path_of("service/udhcpc-eth0/supervise", path);
	assert_int_equal(mkdir(path, 0700), 0);
	path_of("service/udhcpc-eth0/supervise/control", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	assert_true(fd >= 0);
	ended = false;
	assert_int_equal(pthread_create(&thread, NULL, supervise, &fd), 0);
	lease("eth0", "dns=192.0.2.1\n");
	assert_int_equal(dhcp_stop(run, "eth0", &err), 0);
	assert_true(ended);
	pthread_join(thread, NULL);
	assert_false(exists("dhcp/eth0"));
}

static void
name_servers_of_all_are_gathered_once_each(void **state)
{
	struct host_adapter_settings s = {
		.address = "192.0.2.5/24", .gateway = "192.0.2.1", .dns_count = 2
	};
	char dns[HOST_DNS][HOST_ADDRESS_SIZE], path[128], text[256] = "";
	int fd;

	(void)state;
	snprintf(s.dns[0], sizeof(s.dns[0]), "192.0.2.1");
	snprintf(s.dns[1], sizeof(s.dns[1]), "2001:db8::1");
	lease("eth1", "address=198.51.100.5/24\ngateway=198.51.100.1\ndns=192.0.2.1 evil;rm 198.51.100.2 "
		      "198.51.100.3 198.51.100.4\ndomain=example\n");
	assert_int_equal(dhcp_note(run, "eth0", &s, &err), 0);
	path_of("resolv.conf", path);
	fd = open(path, O_RDONLY);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	assert_string_equal(text, "nameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver 198.51.100.2\n"
				  "nameserver 198.51.100.3\nnameserver 198.51.100.4\n");
	assert_int_equal(dhcp_servers(run, "eth0", dns), 2);
	assert_int_equal(dhcp_servers(run, "eth1", dns), 3); /* as many as there is room for */
	assert_int_equal(dhcp_servers(run, "eth2", dns), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_client_is_a_whole_service),
		TEST(strange_names_never_reach_a_shell),
		TEST(a_client_has_ended_before_its_address_is_free),
		TEST(name_servers_of_all_are_gathered_once_each),
	};

	return cmocka_run_group_tests_name("host_dhcp", tests, NULL, NULL);
}
