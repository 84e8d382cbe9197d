/*
 * agent/login.h - from credentials to an identity: passwords, tokens, the uid of a local peer.
 *
 * Whoever guesses is slowed down: a bucket of tries for each source, and a lock-out that doubles (30 s to
 * 15 min) for a user from one source (5 failures), for a source (20; lib/source.h), for a user (50). What is
 * counted is bounded: the oldest makes room. Local peers are known by their uid and cannot be locked out. Any
 * thread; checking a password takes a tenth of a second.
 */
#ifndef AGENT_LOGIN_H
#define AGENT_LOGIN_H

#include <stdint.h>
#include <sys/types.h>

#include "agent/identity.h"

struct login;
struct login *login_new(void);
void login_free(struct login *l);
/* Tests bring their own clock: milliseconds that never go back. */
void login_set_clock(struct login *l, uint64_t (*now_ms)(void));

/* All of them fill *who, in which carrier and source are set already; on failure it stays nobody. */
int login_password(
    struct agent *a, const char *user, const char *password, struct identity *who, struct fault *f);
int login_token(struct agent *a, const char *text, struct identity *who, struct fault *f);
/* An Authorization header: "Bearer TOKEN" or "Basic BASE64". */
int login_header(struct agent *a, const char *header, struct identity *who, struct fault *f);
/* Whom a header of user and password names, for the audit; false when it is none, or no name. */
bool login_header_user(const char *header, char user[USER_SIZE]);
/* By SO_PEERCRED: root, or the user of that uid; one without a name is nobody. */
void login_peer(struct agent *a, uid_t uid, struct identity *who);
/* Before each call: roles may have changed, the token may have gone, the password may be another. Then who is
 * somebody else, or nobody. */
void login_renew(struct agent *a, struct identity *who);
/* The same, and whether who has at least role at path now; nobody has not even ROLE_NONE. */
bool login_holds(struct agent *a, struct identity *who, enum role role, const char *path);
/* Whether who can lose any right: root on the local socket cannot. */
bool login_can_lose(const struct identity *who);
/* Of whoever has begun something that outlives the log-in (a job): all that counts is whether the user, or
 * the token, is still there, and with which role. */
bool login_still_may(struct agent *a, const struct identity *who, enum role role, const char *path);

#endif
