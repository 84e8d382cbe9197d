/*
 * tests/unit/host_net_test.c - adapters and addresses of a real kernel, in a network namespace of the test's
 * own, whose adapters are a veth pair. Without the right to make one there is nothing to test, and it is
 * said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "agent/host_ops.h"

static bool have_namespace;

/* Two adapters, joined by a cable. */
static bool
make_adapters(void)
{
	struct nl_sock *sock = nl_socket_alloc();
	bool ok = sock && nl_connect(sock, NETLINK_ROUTE) == 0 &&
		  rtnl_link_veth_add(sock, "eth0", "eth1", getpid()) == 0;

	nl_socket_free(sock);
	return ok;
}

static int
setup(void **state)
{
	(void)state;
	have_namespace = unshare(CLONE_NEWNET) == 0 && make_adapters();
	if (!have_namespace)
		print_message("SKIP host_net: no network namespace, or no veth in it, to be had\n");
	return 0;
}

#define NEEDS_NAMESPACE()    \
	(void)state;         \
	if (!have_namespace) \
	skip()

static struct host_adapter list[HOST_ADAPTERS];
static struct err err;

static struct host_adapter *
look(const char *name)
{
	int n = host_net_adapters(list, &err);

	if (n < 0)
		fail_msg("%s", err.msg);
	for (int i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	return NULL;
}

static void
set(const char *name, const char *address, const char *gateway)
{
	if (host_net_set_address(name, address, gateway, &err) < 0)
		fail_msg("%s", err.msg);
}

static void
adapters_are_those_with_hardware(void **state)
{
	struct host_adapter *a;

	if (!have_namespace)
		return; /* said in setup; the runner wants one test to have run */
	(void)state;
	assert_null(look("lo"));
	a = look("eth0");
	assert_non_null(a);
	assert_int_equal(strlen(a->mac), 17);
	assert_false(a->link);
	assert_int_equal(a->addresses, 0);
	assert_string_equal(a->gateway, "");
}

static void
an_address_replaces_the_one_before(void **state)
{
	struct host_adapter *a;

	NEEDS_NAMESPACE();
	set("eth0", "192.0.2.5/24", "192.0.2.1");
	a = look("eth0");
	assert_int_equal(a->addresses, 1);
	assert_string_equal(a->address[0], "192.0.2.5/24");
	assert_string_equal(a->gateway, "192.0.2.1");
	set("eth0", "192.0.2.5/24", "192.0.2.1"); /* again */
	assert_int_equal(look("eth0")->addresses, 1);
	set("eth0", "192.0.2.6/24", "192.0.2.2");
	a = look("eth0");
	assert_int_equal(a->addresses, 1);
	assert_string_equal(a->address[0], "192.0.2.6/24");
	assert_string_equal(a->gateway, "192.0.2.2");
	set("eth0", "198.51.100.7/25", "");
	a = look("eth0");
	assert_int_equal(a->addresses, 1);
	assert_string_equal(a->address[0], "198.51.100.7/25");
	assert_string_equal(a->gateway, "");
}

static void
adapters_do_not_disturb_each_other(void **state)
{
	NEEDS_NAMESPACE();
	set("eth0", "192.0.2.5/24", "192.0.2.1");
	set("eth1", "198.51.100.5/24", "198.51.100.1");
	assert_string_equal(look("eth0")->gateway, "192.0.2.1");
	assert_string_equal(look("eth1")->gateway, "198.51.100.1");
	assert_true(look("eth0")->link); /* both ends are on */
	set("eth1", "203.0.113.5/32", "");
	assert_string_equal(look("eth1")->address[0], "203.0.113.5/32");
	assert_string_equal(look("eth0")->gateway, "192.0.2.1");
}

static void
ipv6_is_set_beside_ipv4(void **state)
{
	struct host_adapter *a;
	bool four = false, six = false;

	NEEDS_NAMESPACE();
	set("eth0", "192.0.2.5/24", "");
	if (host_net_set_address("eth0", "2001:db8::5/64", "", &err) < 0)
		skip(); /* a kernel without IPv6 */
	a = look("eth0");
	for (size_t i = 0; i < a->addresses; i++) {
		four |= strcmp(a->address[i], "192.0.2.5/24") == 0;
		six |= strcmp(a->address[i], "2001:db8::5/64") == 0;
	}
	assert_true(four && six);
}

static void
an_adapter_that_comes_is_told(void **state)
{
	struct nl_sock *sock = nl_socket_alloc();
	struct pollfd p = { .events = POLLIN };
	char buf[8192];

	NEEDS_NAMESPACE();
	p.fd = host_net_watch(&err);
	assert_true(p.fd >= 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(nl_connect(sock, NETLINK_ROUTE), 0);
	assert_int_equal(rtnl_link_veth_add(sock, "eth2", "eth3", getpid()), 0);
	nl_socket_free(sock);
	assert_int_equal(poll(&p, 1, 5000), 1);
	while (read(p.fd, buf, sizeof(buf)) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	close(p.fd);
}

static void
what_cannot_be_is_said(void **state)
{
	NEEDS_NAMESPACE();
	assert_int_equal(host_net_set_address("eth9", "192.0.2.5/24", "", &err), -ENODEV);
	assert_string_equal(err.msg, "eth9: there is no such adapter");
	assert_int_equal(host_net_set_address("eth0", "nonsense", "", &err), -EINVAL);
	assert_true(host_net_set_address("eth0", "192.0.2.5/24", "198.51.100.99", &err) < 0);
	assert_int_equal(strncmp(err.msg, "eth0: the gateway cannot be set: ", 33), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adapters_are_those_with_hardware),
		cmocka_unit_test(an_address_replaces_the_one_before),
		cmocka_unit_test(adapters_do_not_disturb_each_other),
		cmocka_unit_test(ipv6_is_set_beside_ipv4),
		cmocka_unit_test(an_adapter_that_comes_is_told),
		cmocka_unit_test(what_cannot_be_is_said),
	};

	return cmocka_run_group_tests_name("host_net", tests, setup, NULL);
}
