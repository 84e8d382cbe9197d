/*
 * tests/unit/vmbus_hostile_test.c - a guest that makes the bus work, keeps what it should release, and breaks
 * what it is offered, again and again: what that costs the host has an end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <sys/mman.h>

#include "lib/log.h"
#include "tests/unit/fake_vmbus_device.h"

enum { VPS = FAKE_VPS, OUT = 2, IN = 2, ROUNDS = 30 };

static struct fake_vmbus f;
static struct fake_device device;
static struct wire_offer offer;
static struct fake_channel channel;

static int
setup(void **state)
{
	(void)state;
	if (fake_vmbus_init(&f, 16, VPS) < 0)
		return -1;
	fake_device_init(&device, 1, 1);
	if (vmbus_offer_device(f.bus, &device.d, NULL) < 0 || !fake_connect(&f, VMBUS_5_3) ||
	    fake_offers(&f, &offer, 1) != 1)
		return -1;
	return fake_open(&f, &channel, &offer, OUT, IN, 0) == WIRE_STATUS_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	vmbus_reset(f.bus);
	fake_vmbus_free(&f);
	return 0;
}

/* --- messages without end --- */

static unsigned left;

/* Another processor makes contact while this one is answered. */
static int
contact_again(void *ctx, uint32_t conn, int fd, struct err *e)
{
	const struct wire_contact c = fake_contact(VMBUS_1_1, 0);
	bool wake;

	if (left != 0) {
		left--;
		assert_int_equal(
		    vmbus_receive(f.bus, CONNECTION_MESSAGE, MESSAGE_TYPE_VMBUS, &c, sizeof(c), &wake), 0);
	}
	return fake_vmbus_bind(ctx, conn, fd, e);
}

static void
processors_that_post_without_end_do_not_keep_the_control_thread(void **state)
{
	const struct wire_contact c = fake_contact(VMBUS_1_1, 0);
	struct vmbus_stats before, after;

	(void)state;
	left = 10 * VMBUS_WORK_AT_ONCE;
	f.host.bind = contact_again;
	vmbus_statistics(f.bus, &before);
	fake_post(&f, CONNECTION_MESSAGE, &c, sizeof(c));
	vmbus_statistics(f.bus, &after);
	assert_int_equal(after.messages_in - before.messages_in, VMBUS_WORK_AT_ONCE);
	for (int i = 0; i < 20 && f.retry_ms != 0; i++) { /* what is left is not forgotten */
		f.retry_ms = 0;
		vmbus_retry(f.bus);
	}
	assert_int_equal(left, 0);
	vmbus_statistics(f.bus, &after);
	assert_int_equal(after.messages_in - before.messages_in, 10 * VMBUS_WORK_AT_ONCE + 1);
}

/* --- descriptors --- */

static size_t
open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void
sub_channels_that_are_never_released_hold_no_descriptors(void **state)
{
	size_t before = open_fds();
	struct fake_message m;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(vmbus_offer_subchannels(&device.d, VPS - 1, NULL), 0);
		fake_forget(&f);
		fake_close(&channel);
		fake_open_again(&channel, 0, channel.gpadl);
		assert_true(fake_await(&f, WIRE_OPEN_RESULT, &m));
		assert_int_equal(m.opened.status, WIRE_STATUS_OK);
	}
	assert_in_range(open_fds(), before, before + VPS);
}

/* --- the log --- */

/* How many lines of the log have these words. */
static unsigned
log_lines(int fd, const char *words)
{
	char text[4096] = "";
	unsigned lines = 0;

	log_open("test", 2, (enum log_level)0);
	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		return 0;
	close(fd);
	for (const char *p = text; (p = strstr(p, words)); p++)
		lines++;
	return lines;
}

static void
a_device_that_is_broken_again_and_again_is_told_of_once(void **state)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	(void)state;
	log_open("test", fd, LOG_INFO);
	for (int i = 0; i < ROUNDS; i++) {
		vmbus_channel_break(device.d.primary, "of this test");
		assert_true(fake_connect(&f, VMBUS_5_3));
		assert_int_equal(fake_offers(&f, &offer, 1), 1);
		assert_int_equal(fake_open(&f, &channel, &offer, OUT, IN, 0), WIRE_STATUS_OK);
	}
	assert_int_equal(log_lines(fd, "of this test"), 1);
}

/* A guest asks for as many as it likes. */
static void
devices_that_come_at_the_guests_wish_are_told_of_once_all_together(void **state)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct vmbus_device_ops ops = *device.d.ops;
	struct fake_device asked[ROUNDS];

	(void)state;
	log_open("test", fd, LOG_INFO);
	ops.transient = true;
	for (uint8_t i = 0; i < ROUNDS; i++) {
		struct fake_message m;

		fake_device_init(&asked[i], 40, (uint8_t)(50 + i));
		asked[i].d.ops = &ops;
		asked[i].open_error = i % 2 ? ENOTCONN : 0;
		asked[i].break_in_open = true;
		fake_forget(&f);
		assert_int_equal(vmbus_offer_device(f.bus, &asked[i].d, NULL), 0);
		assert_true(fake_await(&f, WIRE_OFFER, &m));
		fake_open(&f, &channel, &m.offer, OUT, IN, 0);
		vmbus_revoke_device(&asked[i].d, NULL);
	}
	vmbus_reset(f.bus);
	assert_int_equal(log_lines(fd, "fake device"), 2); /* not opened, broken */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(processors_that_post_without_end_do_not_keep_the_control_thread),
		TEST(sub_channels_that_are_never_released_hold_no_descriptors),
		TEST(a_device_that_is_broken_again_and_again_is_told_of_once),
		TEST(devices_that_come_at_the_guests_wish_are_told_of_once_all_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
