/*
 * sconfig/term.h - what is known of the terminal: whether it is a serial line, how large it is, what it may
 * be sent. Reading and setting it without ncurses, so that it can be put right whatever happens.
 */
#ifndef SCONFIG_TERM_H
#define SCONFIG_TERM_H

#include <stdbool.h>

enum { TERM_ESC_MS = 25, TERM_ESC_SERIAL_MS = 200, TERM_PROBE_MS = 300 };

struct terminal {
	bool is_tty;  /* both ends are terminals */
	bool serial;  /* slow, of unknown size, with flow control by XON/XOFF */
	bool unicode; /* lines and letters beyond ASCII may be sent */
	bool dumb;    /* it cannot move its cursor: TERM says so */
};

/* Looks at descriptors 0 and 1 and at the environment; sets TERM if nobody has. */
void term_look(struct terminal *t);
/*
 * Rows and columns. A line that does not know its size is asked (CSI 6n, at most TERM_PROBE_MS) and told,
 * so that what is started from here knows it too; else 24 x 80. again: ask anew even if it knows.
 */
void term_size(const struct terminal *t, bool again, int *rows, int *cols);

/* Keeps the present settings, to be put back by term_restore. */
void term_save(void);
/* As they were; safe in a signal handler. */
void term_restore(void);
/* Bytes pass as they are, both ways. */
void term_raw(void);

#endif
