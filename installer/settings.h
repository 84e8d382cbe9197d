/* installer/settings.h - the first settings of a host: the files that its data partition begins with. */
#ifndef INSTALLER_SETTINGS_H
#define INSTALLER_SETTINGS_H

#include "installer/answers.h"

/*
 * Makes the folder and in it what the answers say; what they do not say is the start's default. The adapter
 * that an address is for is looked up below net ("/sys/class/net").
 */
int settings_write(const char *folder, const char *net, const struct answers *a, struct err *e);
/* Whether there is the adapter that the answers mean; to be asked before anything is written. */
int settings_check(const char *net, const struct answers *a, struct err *e);

#endif
