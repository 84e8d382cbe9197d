/*
 * lib/err.c - sentences for failures. They end up on terminals, in logs and in JSON, and may quote a
 * stranger, so they are cleaned here, once.
 */
#include "lib/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/text.h"

/* Into a buffer of its own first: the arguments may point into e->msg. */
static void
set_msg(struct err *e, const char *head, const char *between, const char *tail)
{
	char buf[ERR_MSG_SIZE];
	size_t room = sizeof(buf) - 1 - strlen(between);
	size_t tail_len = strnlen(tail, room);

	/* Of a sentence that is too long the head loses its end, as long as half of it is left. */
	if (tail_len > room / 2 && strlen(head) + tail_len > room)
		tail_len = strlen(head) > room / 2 ? room / 2 : room - strlen(head);
	snprintf(buf, sizeof(buf), "%.*s%s%.*s", (int)(room - tail_len), head, between, (int)tail_len, tail);
	memcpy(e->msg, buf, sizeof(buf));
	text_clean(e->msg);
}

int
err_set(struct err *e, int code, const char *fmt, ...)
{
	char text[ERR_MSG_SIZE];
	va_list ap;

	assert(code > 0);
	if (!e)
		return -code;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	e->code = code;
	set_msg(e, text, "", "");
	return -code;
}

int
err_sys(struct err *e, const char *fmt, ...)
{
	int code = errno ? errno : EIO; /* a caller's mistake must not become a success */
	char text[ERR_MSG_SIZE], words[80];
	va_list ap;

	if (!e)
		return -code;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	e->code = code;
	set_msg(e, text, ": ", strerror_r(code, words, sizeof(words)));
	return -code;
}

int
err_wrap(struct err *e, int rc, const char *fmt, ...)
{
	char text[ERR_MSG_SIZE], words[80];
	va_list ap;

	assert(rc < 0);
	if (!e)
		return rc;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (e->code == 0) { /* whoever failed left no sentence */
		e->code = -rc;
		set_msg(e, text, ": ", strerror_r(-rc, words, sizeof(words)));
	} else {
		set_msg(e, text, ": ", e->msg);
	}
	return rc;
}
