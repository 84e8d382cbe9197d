/*
 * shell/tty.h - the terminal: questions, secrets, raw mode. Whatever ends the program, the terminal is
 * left as it was found.
 */
#ifndef SHELL_TTY_H
#define SHELL_TTY_H

#include <stdbool.h>
#include <stddef.h>

/* Raw mode at descriptor 0 for a console, and back, with what the guest has done to the screen undone.
 * tty_restore is safe twice, and in a signal handler. */
int tty_raw(void);
void tty_restore(void);

/* Asks at the controlling terminal without echo: 0, or -1 when there is none or the answer was broken off. */
int tty_ask_secret(const char *question, char *out, size_t size);
/* Asks for a line: 0, or -1. */
int tty_ask(const char *question, char *out, size_t size);
/* Whether somebody sits there: standard input and output are a terminal. */
bool tty_is_interactive(void);

#endif
