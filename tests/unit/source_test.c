/*
 * tests/unit/source_test.c - who counts as one: sources on the network, users on the local socket, and how
 * many connections each may have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/source.h"
#include "lib/transport_private.h"

static void
what_its_owner_may_choose_does_not_count(void **state)
{
	static const struct {
		const char *source, *network;
	} rows[] = {
		{ "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::" },
		{ "2001:db8:1:2::", "2001:db8:1:2::" },
		{ "fe80::1", "fe80::" },
		{ "::1", "::" },
		{ "192.0.2.1", "192.0.2.1" },
		{ "pid 12", "pid 12" },
		{ "", "" },
		{ "1:2", "1:2" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char out[SOURCE_NETWORK_SIZE];

		source_network(rows[i].source, out);
		assert_string_equal(out, rows[i].network);
	}
}

/* --- connections: only the list is looked at --- */

static struct transport t;

static int
setup(void **state)
{
	(void)state;
	t = (struct transport){ 0 };
	return pthread_mutex_init(&t.lock, NULL);
}

static int
teardown(void **state)
{
	(void)state;
	while (t.links)
		link_free(t.links);
	return pthread_mutex_destroy(&t.lock);
}

static void
come_from(const char *source)
{
	struct link *l = link_new(&t, ROLE_NETWORK, -1);

	assert_non_null(l);
	snprintf(l->source, sizeof(l->source), "%s", source);
}

static void
come_as(uid_t uid)
{
	struct link *l = link_new(&t, ROLE_LOCAL, -1);

	assert_non_null(l);
	l->uid = uid;
}

static void
addresses_of_one_network_share_their_places(void **state)
{
	char source[64];

	(void)state;
	for (int i = 0; i < LINKS_SOURCE; i++) {
		snprintf(source, sizeof(source), "2001:db8:1:2:%x::%x", i, i * 7);
		assert_true(network_has_room(&t, source));
		come_from(source);
	}
	assert_false(network_has_room(&t, "2001:db8:1:2:ffff::1"));
	assert_true(network_has_room(&t, "2001:db8:1:3::1"));
	assert_true(network_has_room(&t, "192.0.2.1"));
	for (int i = LINKS_SOURCE; i < LINKS_NETWORK; i++) {
		snprintf(source, sizeof(source), "192.0.2.%d", i / 4);
		come_from(source);
	}
	assert_false(network_has_room(&t, "198.51.100.1")); /* all are taken */
}

static void
a_local_user_gets_some_and_root_has_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < LINKS_LOCAL_USER; i++)
		come_as(1000);
	assert_false(local_has_room(&t, 1000));
	assert_true(local_has_room(&t, 1001));
	for (uid_t uid = 1001; t.local < LINKS_LOCAL - LINKS_LOCAL_ROOT; uid++)
		for (int i = 0; i < 16; i++)
			come_as(uid);
	assert_false(local_has_room(&t, 5000));
	for (int i = 0; i < LINKS_LOCAL_ROOT; i++) {
		assert_true(local_has_room(&t, 0));
		come_as(0);
	}
	assert_false(local_has_room(&t, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_its_owner_may_choose_does_not_count),
		cmocka_unit_test_setup_teardown(addresses_of_one_network_share_their_places, setup, teardown),
		cmocka_unit_test_setup_teardown(a_local_user_gets_some_and_root_has_its_own, setup, teardown),
	};

	return cmocka_run_group_tests_name("source", tests, NULL, NULL);
}
