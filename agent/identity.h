/*
 * agent/identity.h - who is asking: a user, by which carrier, from where, with which roles.
 *
 * It is made when a connection is accepted or a log-in succeeds, and never changes after that; a call
 * holds a copy. Deny by default: without a grant that covers a path there is no role there.
 */
#ifndef AGENT_IDENTITY_H
#define AGENT_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "agent/method.h"

enum carrier { CARRIER_INTERNAL, CARRIER_LOCAL, CARRIER_HTTPS, CARRIER_WSS };
extern const char *const carrier_names[]; /* "internal", "local", "https", "wss" */

enum { USER_SIZE = 33, SOURCE_SIZE = 64, SCOPE_SIZE = 64, GRANTS_MAX = 32 };

struct grant {
	enum role role;
	char path[SCOPE_SIZE]; /* "/" or "/vm/GUID": there and below */
};

struct identity {
	char user[USER_SIZE];     /* "" before log-in */
	char token[USER_SIZE];    /* the API token used, "" if none */
	char session[65];         /* SHA-256 of the session used, "" if none */
	char source[SOURCE_SIZE]; /* address of the peer; "pid 123" locally */
	enum carrier carrier;
	uint64_t stamp;    /* of users and tokens when it was made: agent/login.h renews it */
	time_t expires;    /* of its token or session; 0: never */
	uint64_t password; /* mark of the password it was opened with (agent/users.h); 0: with none */
	uid_t uid;         /* of a local peer that was known by it; else -1 */
	enum role most;    /* no grant counts for more: a token's role */
	size_t grants;
	struct grant grant[GRANTS_MAX];
};

/* Nobody: from source, without any role. */
void identity_none(struct identity *who, enum carrier carrier, const char *source);
/* The role at path: the highest of the grants that cover it. */
enum role identity_role(const struct identity *who, const char *path);
/* The highest role anywhere at or below path. */
enum role identity_role_below(const struct identity *who, const char *path);
/* False when there is no room for more. */
bool identity_grant(struct identity *who, enum role role, const char *path);

#endif
