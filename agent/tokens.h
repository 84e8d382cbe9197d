/*
 * agent/tokens.h - API tokens, kept hashed in a file, and sessions, kept in memory.
 *
 * Both are 256 random bits with a prefix that says what they are; only SHA-256 of them is kept. A token
 * has a name among its owner's tokens, a role that it cannot exceed, and an end. Any thread.
 */
#ifndef AGENT_TOKENS_H
#define AGENT_TOKENS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "agent/fault.h"
#include "agent/identity.h"
#include "agent/secret.h"

enum {
	TOKENS_MAX = 256,
	SESSIONS_MAX = 256,  /* the one that ends first makes room */
	TOKENS_OF_USER = 32, /* and as many sessions, so that nobody takes the room of all */
	TOKEN_TEXT_SIZE = 4 + SECRET_SIZE,
	TOKEN_DAYS_MAX = 3650,
	SESSION_SECONDS = 12 * 3600,
};

struct token_info {
	char user[USER_SIZE];
	char name[USER_SIZE];           /* "" for a session */
	char session[SECRET_HASH_SIZE]; /* "" for a token */
	enum role role;
	time_t created, expires;
	uint64_t password; /* of a session: mark of the password that opened it */
};

struct tokens;
/* path: the file of tokens, which need not exist. One that cannot be read stops the agent from starting:
 * whoever wrote it must know. */
int tokens_new(struct tokens **out, const char *path, struct err *e);
void tokens_free(struct tokens *t);
uint64_t tokens_stamp(struct tokens *t);

int tokens_may_create(struct tokens *t, const char *user, const char *name, struct fault *f);
/* text: shown once, never kept. */
int tokens_create(
    struct tokens *t, const struct token_info *info, char text[TOKEN_TEXT_SIZE], struct fault *f);
int tokens_must_exist(struct tokens *t, const char *user, const char *name, struct fault *f);
int tokens_delete(struct tokens *t, const char *user, const char *name, struct fault *f);
/* [{name, user, role, created, expires}] of user, or of all (NULL). A new reference. */
json_t *tokens_list(struct tokens *t, const char *user);
/* Whether text is a token or session that still counts. */
bool tokens_find(struct tokens *t, const char *text, struct token_info *info);
/* Whether the token is still there, for connections that were opened with it. */
bool tokens_counts(struct tokens *t, const char *user, const char *name);
/* The user has gone: so have tokens and sessions. 0 or -errno when the file cannot be written. */
int tokens_forget(struct tokens *t, const char *user, struct err *e);

/* password: mark of the one that opens it; login_token compares it. */
void session_new(
    struct tokens *t, const char *user, uint64_t password, char text[TOKEN_TEXT_SIZE], time_t *expires);
/* By its SHA-256: whether it still counts, and its end; false when there is none. */
bool session_counts(struct tokens *t, const char *hash);
bool session_end(struct tokens *t, const char *hash);
/* Ends all sessions of user. */
void session_end_all(struct tokens *t, const char *user);

/* "2026-11-23T03:08:53Z" */
enum { TIME_TEXT_SIZE = 24 };
void time_text(time_t t, char out[TIME_TEXT_SIZE]);

#endif
