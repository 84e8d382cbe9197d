/*
 * lib/log.h - the log of a program: one line a message, to one descriptor, never more than the
 * reader can bear.
 *
 * Lines are "<3>fh-worker: text\n", the priority as syslog counts it (3 error, 4 warning, 6 info,
 * 7 debug), so that a supervisor's logger can sort them. Any thread may log. At most LOG_BURST
 * lines go out at once and LOG_PER_SECOND after that; what is dropped is counted and told. What a
 * guest can cause again and again is logged through log_once. Control characters and bytes that are
 * not UTF-8 become '?'. A descriptor that is non-blocking loses lines rather than hold up a
 * processor's thread; those count as dropped.
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stdatomic.h>

enum log_level { LOG_ERROR = 3, LOG_WARN = 4, LOG_INFO = 6, LOG_DEBUG = 7 };
enum { LOG_BURST = 200, LOG_PER_SECOND = 10, LOG_LINE_MAX = 512 };

/* Where to log and as whom; ident is kept by reference. Before it is called lines go to descriptor 2
 * as "freehold". Lines above `most` are not written. */
void log_open(const char *ident, int fd, enum log_level most);
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A cause that is told once for as long as *told lives (one per device and cause). */
#define log_once(told, level, ...)                                              \
	do {                                                                    \
		if (!atomic_exchange_explicit((told), 1, memory_order_relaxed)) \
			log_msg(level, __VA_ARGS__);                            \
	} while (0)

#endif
