/*
 * agent/users.h - the users of the appliance: ETC/passwd, ETC/shadow and ETC/group, and what each may do.
 *
 * A role at "/" is membership in a group (administrators, operators, viewers); root is always an
 * administrator. Roles on chosen machines are rows of a file of grants. A user exists when passwd has
 * a line; the other files are written first and cleaned up last, so that a crash leaves no half user.
 * Any thread.
 */
#ifndef AGENT_USERS_H
#define AGENT_USERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/fault.h"
#include "agent/identity.h"

enum { PASSWORD_MIN = 8, PASSWORD_MAX = 256 };

struct users;
/* grants: path of the file of grants, which need not exist. */
int users_new(struct users **out, const char *etc, const char *grants, struct err *e);
void users_free(struct users *u);

/* Another one after every change, by us or by an editor, so that identities made before it are renewed. */
uint64_t users_stamp(struct users *u);
/* The name of a uid: false when it has none. */
bool users_name(struct users *u, uid_t uid, char name[USER_SIZE]);
/* Fills in who's user and grants; false (and nobody) when there is no such user, or it is disabled: its
 * password is there, but locked (passwd -l), or its account has expired (chage -E). */
bool users_identify(struct users *u, const char *name, struct identity *who);
/* Takes its time, the same for a user that is not there. One at a time: yescrypt wants 16 MiB. */
bool users_check_password(struct users *u, const char *name, const char *password);

/* Another one for another password; 0 when there is none to log in with. */
uint64_t users_password_mark(struct users *u, const char *name);

/* [{name, role, uid, locked}]: root and the users made here. A new reference, or NULL. */
json_t *users_list(struct users *u);
/* Whether it exists and is no user of the system's own (root is none of those). */
int users_must_exist(struct users *u, const char *name, struct fault *f);
int users_may_create(struct users *u, const char *name, const char *password, struct fault *f);
int users_create(struct users *u, const char *name, const char *password, enum role role, struct fault *f);
int users_may_delete(struct users *u, const char *name, struct fault *f);
int users_delete(struct users *u, const char *name, struct fault *f);
int users_set_password(struct users *u, const char *name, const char *password, struct fault *f);
/* Whether a password will do. */
int users_password_ok(const char *name, const char *password, struct fault *f);

#endif
