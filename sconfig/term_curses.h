/*
 * sconfig/term_curses.h - shows cells on a real terminal and reads its keys, by ncurses. Its core only;
 * it decides what has to be sent so that the screen becomes what the cells are. One per process.
 */
#ifndef SCONFIG_TERM_CURSES_H
#define SCONFIG_TERM_CURSES_H

#include <stdbool.h>
#include <stdint.h>

#include "sconfig/cells.h"
#include "sconfig/term.h"

/* Takes the terminal. The usual ones need no terminfo files; one that nobody knows is taken for a vt100.
 * False: ncurses will not have it. */
bool curses_open(const struct terminal *t);
/* It is a vt100, or taken for one: ASCII is all that it may be sent. */
bool curses_is_plain(void);
/* Gives it back; also when it is not open. */
void curses_close(void);
/* Gives it to somebody else for a while, and takes it again. */
void curses_pause(void);
void curses_resume(void);
void curses_size(int *rows, int *cols);
void curses_set_size(int rows, int cols);
/* Makes the screen what the cells are; again: all of it is sent. */
void curses_show(const struct cells *c, bool again);
/* A key that has come, or K_NONE. *resized is set when the size has changed. */
uint32_t curses_key(bool *resized);

#endif
