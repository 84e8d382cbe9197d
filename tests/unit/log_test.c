/*
 * tests/unit/log_test.c - the log: whole lines, no more of them than a reader can bear, and nothing in
 * them that a stranger could have forged; lib/rate.c with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/log.h"
#include "lib/rate.h"

static int reader = -1, writer = -1;
static char got[256 * 1024];

static int
open_pipe(void **state)
{
	int fd[2];

	(void)state;
	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	reader = fd[0];
	writer = fd[1];
	log_open("test", writer, LOG_INFO);
	return 0;
}

static int
close_pipe(void **state)
{
	(void)state;
	log_open("test", 2, LOG_ERROR);
	close(reader);
	close(writer);
	return 0;
}

/* All that has been logged since the last look. */
static const char *
logged(void)
{
	ssize_t n = read(reader, got, sizeof(got) - 1);

	got[n > 0 ? n : 0] = '\0';
	return got;
}

static size_t
count_lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void
a_line_has_priority_program_and_text(void **state)
{
	(void)state;
	log_msg(LOG_ERROR, "disk %d is gone", 2);
	assert_string_equal(logged(), "<3>test: disk 2 is gone\n");
	log_msg(LOG_INFO, "started");
	assert_string_equal(logged(), "<6>test: started\n");
}

static void
a_line_above_the_chosen_level_is_not_written(void **state)
{
	(void)state;
	log_msg(LOG_DEBUG, "detail");
	assert_string_equal(logged(), "");
	log_open("test", writer, LOG_DEBUG);
	log_msg(LOG_DEBUG, "detail");
	assert_string_equal(logged(), "<7>test: detail\n");
}

static void
a_message_is_one_line_whatever_is_in_it(void **state)
{
	(void)state;
	log_msg(LOG_WARN, "guest says: %s", "hi\n<3>test: disk is gone\r\x1b[31m\xff");
	assert_string_equal(logged(), "<4>test: guest says: hi?<3>test: disk is gone??[31m?\n");
}

static void
a_long_message_is_cut_but_ends_its_line(void **state)
{
	const char *line;

	(void)state;
	log_msg(LOG_WARN, "%02000d", 1);
	line = logged();
	assert_in_range(strlen(line), LOG_LINE_MAX - 2, LOG_LINE_MAX);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

static void
errno_is_the_same_after_logging(void **state)
{
	(void)state;
	log_open("test", -1, LOG_INFO);
	errno = ENOTTY;
	log_msg(LOG_INFO, "nowhere to go");
	assert_int_equal(errno, ENOTTY);
}

static void
a_cause_is_told_once(void **state)
{
	atomic_int told = 0;

	(void)state;
	for (int i = 0; i < 5; i++)
		log_once(&told, LOG_WARN, "port %d", i);
	assert_string_equal(logged(), "<4>test: port 0\n");
}

static void
a_flood_is_cut_off(void **state)
{
	size_t n;

	(void)state;
	for (int i = 0; i < 3 * LOG_BURST; i++)
		log_msg(LOG_WARN, "again");
	n = count_lines(logged());
	assert_in_range(n, LOG_BURST, 2 * LOG_BURST); /* a slow machine earns a few tokens meanwhile */
}

static void
what_was_dropped_is_told(void **state)
{
	(void)state;
	for (int i = 0; i < 70000 / 20; i++) { /* more than the pipe holds, as often as the bucket lets it */
		if (i % LOG_BURST == 0)
			log_open("test", writer, LOG_INFO);
		log_msg(LOG_WARN, "%0480d", i);
	}
	logged();
	while (read(reader, got, sizeof(got)) > 0)
		continue;
	log_msg(LOG_WARN, "after");
	logged();
	assert_non_null(strstr(got, " lines dropped\n<4>test: after\n"));
	assert_memory_equal(got, "<4>test: ", 9);
	log_msg(LOG_WARN, "later");
	assert_string_equal(logged(), "<4>test: later\n");
}

static void *
log_much(void *name)
{
	for (int i = 0; i < LOG_BURST / 4; i++)
		log_msg(LOG_INFO, "%0100d %s", i, (const char *)name);
	return NULL;
}

static void
lines_of_several_threads_do_not_mix(void **state)
{
	pthread_t t[4];
	char *names[4] = { "a", "b", "c", "d" }, *line, *rest = NULL;
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, log_much, names[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	logged();
	for (line = strtok_r(got, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), n++)
		assert_int_equal(strlen(line), strlen("<6>test: ") + 102);
	assert_int_equal(n, LOG_BURST);
}

enum { SECOND = 1000000000 };

static void
a_bucket_gives_its_burst_and_then_nothing(void **state)
{
	struct rate r = { .burst = 5, .per_s = 10 };

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_true(rate_take(&r, 7 * (uint64_t)SECOND));
	assert_false(rate_take(&r, 7 * (uint64_t)SECOND));
}

static void
a_bucket_refills_at_its_rate(void **state)
{
	struct rate r = { .burst = 5, .per_s = 10 };
	uint64_t now = SECOND, taken = 0;

	(void)state;
	for (int i = 0; i < 1000; i++, now += SECOND / 100) /* ten seconds, asked at any moment */
		taken += rate_take(&r, now);
	assert_in_range(taken, 5 + 99, 5 + 100);
}

static void
a_bucket_never_holds_more_than_its_burst(void **state)
{
	struct rate r = { .burst = 3, .per_s = 10 };

	(void)state;
	assert_true(rate_take(&r, SECOND));
	for (int i = 0; i < 3; i++)
		assert_true(rate_take(&r, UINT64_MAX / 2));
	assert_false(rate_take(&r, UINT64_MAX / 2));
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, open_pipe, close_pipe)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(a_line_has_priority_program_and_text),
		LOG_TEST(a_line_above_the_chosen_level_is_not_written),
		LOG_TEST(a_message_is_one_line_whatever_is_in_it),
		LOG_TEST(a_long_message_is_cut_but_ends_its_line),
		LOG_TEST(errno_is_the_same_after_logging),
		LOG_TEST(a_cause_is_told_once),
		LOG_TEST(a_flood_is_cut_off),
		LOG_TEST(what_was_dropped_is_told),
		LOG_TEST(lines_of_several_threads_do_not_mix),
		cmocka_unit_test(a_bucket_gives_its_burst_and_then_nothing),
		cmocka_unit_test(a_bucket_refills_at_its_rate),
		cmocka_unit_test(a_bucket_never_holds_more_than_its_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
