/*
 * sconfig/console.h - the terminal as a machine's serial console.
 */
#ifndef SCONFIG_CONSOLE_H
#define SCONFIG_CONSOLE_H

enum console_end { CONSOLE_LEFT, CONSOLE_CLOSED, CONSOLE_HUNG_UP };

/* Passes bytes between descriptors 0 and 1 and fd, both ways, until Ctrl-] or the end of either. Takes fd. */
enum console_end console_run(int fd);

#endif
