/*
 * shell/screen.h - a terminal after a guest's console had it. A guest may send anything and be left at any
 * point; what it has switched is put back. The menu uses it too.
 */
#ifndef SHELL_SCREEN_H
#define SHELL_SCREEN_H

/* Asks the terminal nothing; the cursor goes below what is shown. Safe in a signal handler. */
void screen_reset(int fd);

#endif
