/*
 * lib/err.h - why an operation failed, in words, for whoever asked for it.
 *
 * A function that can fail for a reason worth telling returns 0 or -errno and fills a struct err
 * that its caller owns. Who detects the failure writes the sentence, callers may prefix it, and it
 * is shown once, at the edge: as an RPC answer, a Lua error, a line in a menu or in the log.
 * Any thread may use these functions; a struct err belongs to one thread at a time.
 */
#ifndef LIB_ERR_H
#define LIB_ERR_H

enum { ERR_MSG_SIZE = 240 };

struct err {
	int code;               /* positive errno; 0 when nothing failed */
	char msg[ERR_MSG_SIZE]; /* "start web1: kernel: cut short at 512 bytes"; always terminated */
};

/* Sets code and sentence. Returns -code. e may be NULL. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with the code from errno, whose words end the sentence: "open: No such file or directory". */
int err_sys(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "prefix: " before the sentence that is there. Returns rc, a negative errno. */
int err_wrap(struct err *e, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
