/*
 * tests/unit/worker_services_test.c - a worker's small devices together: the thread that they share, and
 * what becomes of a stream while its machine stands still, begins anew and ends.
 */
#include "tests/unit/worker_guest.h"

#include <sys/socket.h>

#define DEVICES ",\"Devices\":{\"Sockets\":true,\"IntegrationServices\":{\"Heartbeat\":true}}"
#define MACHINE DOCUMENT("\"SizeInMB\":64,\"MaximumSizeInMB\":128,\"Dynamic\":true", DEVICES)

static size_t
threads(void)
{
	DIR *d = opendir("/proc/self/task");
	size_t n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void
small_devices_share_one_thread(void **state)
{
	size_t without, fds;

	(void)state;
	assert_says(create(DOCUMENT(SMALL, "")), DONE);
	without = threads();
	fds = fake_open_fds();
	fake_worker_free(&f);
	fake_worker_init(&f);
	assert_says(create(MACHINE), DONE);
	assert_true(f.w.streams && f.w.components && f.w.balloon);
	assert_int_equal(threads(), without + 1);
	assert_int_equal(fake_open_fds(), fds + 5); /* ring, mail, the host's clock, two channels */
}

/* --- a stream ------------------------------------------------------------------------------------------ */

struct end {
	struct fake_channel channel;
	uint32_t relid;
	int fd; /* the controller's */
};

static uint32_t
relid_of_stream(void)
{
	for (const struct channel *c = guest.bus->channels; c; c = c->next)
		if (c->offered && !c->taken_back && c->node && c->node->device->ops->transient)
			return c->pub.relid;
	fail_msg("the guest was offered no stream");
	return 0;
}

static struct end
open_stream(void)
{
	struct end e;
	int fd[2];

	connect_guest();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	assert_true(good("socket.connect", "{\"Port\":5,\"File\":0}", fd[1]));
	e.fd = fd[0];
	e.relid = relid_of_stream();
	e.channel = open_rings(e.relid);
	return e;
}

static void
guest_says(struct end *e, char c)
{
	uint8_t m[9] = { 1, 0, 0, 0, 1, 0, 0, 0, (uint8_t)c };

	assert_true(fake_send(&e->channel, PACKET_INBAND, 0, 0, NULL, 0, m, sizeof(m)));
	kick(e->relid);
}

static void
host_hears(struct end *e, char c)
{
	char got = 0;

	for (int i = 0; read(e->fd, &got, 1) != 1; i++) {
		assert_in_range(i, 0, GUEST_PATIENCE);
		turn();
	}
	assert_int_equal(got, c);
}

/* The controller hears of the end before the answer, or soon after. */
static void
ends_by(struct end *e, const char *method)
{
	char text[100], c;
	bool ended = false, answered = false;

	snprintf(
	    text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":{}}", method);
	fake_ask(&f, text, NULL, 0);
	for (int i = 0; !ended || !answered; i++) {
		assert_in_range(i, 0, GUEST_PATIENCE);
		while (fake_told(&f)[0]) {
			ended |= heard("\"socket\"") && heard("\"Shut\"");
			answered |= heard("\"result\"");
		}
		turn();
	}
	assert_int_equal(read(e->fd, &c, 1), 0);
	close(e->fd);
	assert_true(good("socket.list", "{}", -1));
	assert_true(heard("\"Streams\":[]"));
}

static void
a_stream_stands_still_with_its_machine_and_ends_with_it(void **state)
{
	struct end e;
	char c;

	(void)state;
	assert_says(create(MACHINE), DONE);
	assert_true(good("start", "{}", -1));
	e = open_stream();
	guest_says(&e, 'a');
	host_hears(&e, 'a');
	assert_true(good("pause", "{}", -1));
	guest_says(&e, 'b'); /* what a processor has written in that moment */
	for (int i = 0; i < 20; i++)
		turn();
	assert_int_equal(read(e.fd, &c, 1), -1);
	assert_true(good("resume", "{}", -1));
	host_hears(&e, 'b');
	ends_by(&e, "reset");
	e = open_stream();
	guest_says(&e, 'c');
	host_hears(&e, 'c');
	ends_by(&e, "power_off");
}

static void
a_worker_ends_with_its_streams_open(void **state)
{
	struct end e;

	(void)state;
	assert_says(create(MACHINE), DONE);
	assert_true(good("start", "{}", -1));
	e = open_stream();
	guest_says(&e, 'a');
	host_hears(&e, 'a');
	close(e.fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(small_devices_share_one_thread),
		unit(a_stream_stands_still_with_its_machine_and_ends_with_it),
		unit(a_worker_ends_with_its_streams_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
