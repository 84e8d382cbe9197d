/*
 * tests/unit/worker_case.h - what the units of a worker have in common: the worker `f`, its controller that
 * asks and hears, and the count of descriptors, of which none may be lost.
 */
#ifndef TESTS_UNIT_WORKER_CASE_H
#define TESTS_UNIT_WORKER_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include "tests/unit/fake_worker.h"

/* memory: the members of Memory; rest: what else there is, each with a comma before it. */
#define DOCUMENT(memory, rest)                                                                        \
	"{\"ConfigurationVersion\":1,\"Id\":\"01234567-89ab-cdef-0123-456789abcdef\",\"Name\":\"t\"," \
	"\"Memory\":{" memory "},\"LinuxKernelDirect\":{\"Kernel\":0}" rest "}"
#define SMALL "\"SizeInMB\":32"
#define DONE  "\"result\":{}}"

static struct fake_worker f;
static size_t fds_before;

static inline int
setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	fds_before = fake_open_fds();
	fake_worker_init(&f);
	return 0;
}

static inline int
teardown(void **state)
{
	(void)state;
	fake_worker_free(&f);
	return fake_open_fds() == fds_before ? 0 : -1;
}

/* The answer, without what is the same in all; events before it are skipped. fds are given away. */
static inline const char *
ask_with(const char *method, const char *params, const int *fd, size_t n)
{
	static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":1,";
	char text[2000];

	snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method,
	    params);
	fake_ask(&f, text, fd, n);
	for (size_t i = 0; i < n; i++)
		close(fd[i]);
	while (fake_told(&f)[0] && strncmp(f.heard, head, sizeof(head) - 1) != 0)
		;
	return f.heard[0] ? f.heard + sizeof(head) - 1 : "";
}

/* fd -1: none. */
static inline const char *
ask(const char *method, const char *params, int fd)
{
	return ask_with(method, params, &fd, fd >= 0);
}

static inline bool
good(const char *method, const char *params, int fd)
{
	return strncmp(ask(method, params, fd), "\"result\"", 8) == 0;
}

static inline bool
heard(const char *words)
{
	return strstr(f.heard, words) != NULL;
}

static inline void
assert_says(const char *answer, const char *words)
{
	if (!strstr(answer, words))
		print_error("wanted '%s', have '%s'\n", words, answer);
	assert_non_null(strstr(answer, words));
}

/* document: DOCUMENT's. The answer. */
static inline const char *
create(const char *document)
{
	char params[1500];

	snprintf(params, sizeof(params), "{\"Machine\":%s}", document);
	return ask("create", params, fake_kernel());
}

/* The same from saved state; stream is given away. */
static inline const char *
restore(const char *document, int stream)
{
	const int fd[] = { fake_kernel(), stream };
	char params[1500];

	snprintf(params, sizeof(params), "{\"Machine\":%s,\"Stream\":1}", document);
	return ask_with("restore", params, fd, 2);
}

#define unit(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

#endif
