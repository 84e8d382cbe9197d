/* installer/password.h - root's password, as shadow(5) keeps it: yescrypt by crypt(3). */
#ifndef INSTALLER_PASSWORD_H
#define INSTALLER_PASSWORD_H

#include <stddef.h>

#include "lib/err.h"

/* 0, or -errno with *e. Takes about a tenth of a second: that is its purpose. */
int password_hash(const char *password, char *out, size_t size, struct err *e);
/* Whether the system's crypt(3) can check a password against this hash. */
int password_check_hash(const char *hash, struct err *e);

#endif
