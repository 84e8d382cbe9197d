/*
 * agent/login.c - credentials, and those who guess them.
 */
#include "agent/login.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "agent/secret.h"
#include "agent/tokens.h"
#include "agent/users.h"
#include "lib/rate.h"
#include "lib/source.h"
#include "lib/text.h"

enum {
	GUESSERS = 256,
	KEY_SIZE = USER_SIZE + SOURCE_SIZE + 2,
	FORGET_MS = 15 * 60 * 1000, /* after so long without a failure */
	LOCK_MS = 30 * 1000,
	LOCK_MAX_MS = 15 * 60 * 1000,
	TRIES_BURST = 10,
	TRIES_PER_S = 1,
};

/* Whom a failure counts against, and how many it takes. */
enum key { KEY_USER_AT_SOURCE, KEY_SOURCE, KEY_USER, KEYS };
static const unsigned allowed[KEYS] = { 5, 20, 50 };

struct guesser {
	char key[KEY_SIZE]; /* "": free */
	unsigned failures;
	uint64_t last_ms, locked_until_ms;
	struct rate tries;
};

struct login {
	pthread_mutex_t lock;
	uint64_t (*now_ms)(void);
	struct guesser guesser[GUESSERS];
};

static uint64_t
monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct login *
login_new(void)
{
	struct login *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	pthread_mutex_init(&l->lock, NULL);
	l->now_ms = monotonic_ms;
	return l;
}

void
login_free(struct login *l)
{
	if (l)
		pthread_mutex_destroy(&l->lock);
	free(l);
}

void
login_set_clock(struct login *l, uint64_t (*now_ms)(void))
{
	l->now_ms = now_ms;
}

static void
make_key(char key[KEY_SIZE], enum key kind, const char *user, const char *from)
{
	char source[SOURCE_NETWORK_SIZE];

	source_network(from, source);
	switch (kind) {
	case KEY_USER_AT_SOURCE:
		snprintf(key, KEY_SIZE, "%.32s@%.63s", user, source);
		break;
	case KEY_SOURCE:
		snprintf(key, KEY_SIZE, "@%.63s", source);
		break;
	case KEY_USER:
	case KEYS:
		snprintf(key, KEY_SIZE, "%.32s@", user);
		break;
	}
}

/* Whether a is the better one to lose: one with few failures before one with many, an old one before a new.
 */
static bool
is_less(const struct guesser *a, const struct guesser *b, uint64_t now)
{
	unsigned fa = now - a->last_ms > FORGET_MS ? 0 : a->failures,
		 fb = now - b->last_ms > FORGET_MS ? 0 : b->failures;

	return fa != fb ? fa < fb : a->last_ms < b->last_ms;
}

/* The row of key; if there is none and make is set, the one that matters least is taken for it. */
static struct guesser *
row_of(struct login *l, const char *key, bool make)
{
	struct guesser *least = &l->guesser[0];
	uint64_t now = l->now_ms();

	for (size_t i = 0; i < GUESSERS; i++) {
		struct guesser *g = &l->guesser[i];

		if (strcmp(g->key, key) == 0)
			return g;
		if (is_less(g, least, now))
			least = g;
	}
	if (!make)
		return NULL;
	*least = (struct guesser){ .tries = { .burst = TRIES_BURST, .per_s = TRIES_PER_S } };
	text_copy(least->key, sizeof(least->key), key);
	return least;
}

/* Milliseconds until the next try is heard; 0: now. A try from a source is counted. */
static uint64_t
must_wait(struct login *l, const char *user, const char *source)
{
	uint64_t now = l->now_ms(), wait = 0;
	struct guesser *g;
	char key[KEY_SIZE];

	pthread_mutex_lock(&l->lock);
	for (enum key kind = 0; kind < KEYS; kind++) {
		make_key(key, kind, user, source);
		g = row_of(l, key, kind == KEY_SOURCE);
		if (g && g->locked_until_ms > now && g->locked_until_ms - now > wait)
			wait = g->locked_until_ms - now;
		if (kind != KEY_SOURCE || !g)
			continue;
		g->last_ms = now;
		if (!rate_take(&g->tries, now * 1000000) && wait == 0)
			wait = 1000;
	}
	pthread_mutex_unlock(&l->lock);
	return wait;
}

/* It doubles with each failure more. */
static uint64_t
lock_of(unsigned more)
{
	uint64_t lock = LOCK_MAX_MS;

	if (more < 5 && (uint64_t)LOCK_MS << more < lock)
		lock = (uint64_t)LOCK_MS << more;
	return lock;
}

static void
count_failure(struct login *l, const char *user, const char *source)
{
	uint64_t now = l->now_ms();
	char key[KEY_SIZE];

	pthread_mutex_lock(&l->lock);
	for (enum key kind = 0; kind < KEYS; kind++) {
		struct guesser *g;

		make_key(key, kind, user, source);
		g = row_of(l, key, true);
		if (now - g->last_ms > FORGET_MS)
			g->failures = 0;
		g->last_ms = now;
		if (++g->failures < allowed[kind])
			continue;
		g->locked_until_ms = now + lock_of(g->failures - allowed[kind]);
	}
	pthread_mutex_unlock(&l->lock);
}

/* Whoever knows the password is no guesser; what others did from elsewhere still counts. */
static void
count_success(struct login *l, const char *user, const char *source)
{
	char key[KEY_SIZE];
	struct guesser *g;

	pthread_mutex_lock(&l->lock);
	make_key(key, KEY_USER_AT_SOURCE, user, source);
	g = row_of(l, key, false);
	if (g)
		*g = (struct guesser){ 0 };
	pthread_mutex_unlock(&l->lock);
}

static uint64_t
stamp_of(struct agent *a)
{
	return users_stamp(a->users) + tokens_stamp(a->tokens);
}

static int
locked_out(struct fault *f, uint64_t wait_ms)
{
	return fault_set(f, FAULT_LOCKED_OUT, NULL, NULL, "too many log-ins failed; try again in %llu s",
	    (unsigned long long)(wait_ms + 999) / 1000);
}

int
login_password(struct agent *a, const char *user, const char *password, struct identity *who, struct fault *f)
{
	uint64_t wait = must_wait(a->login, user, who->source), stamp = stamp_of(a), mark;

	if (wait)
		return locked_out(f, wait);
	mark = strlen(user) < USER_SIZE ? users_password_mark(a->users, user) : 0;
	if (strlen(user) >= USER_SIZE || strlen(password) > PASSWORD_MAX ||
	    !users_check_password(a->users, user, password)) {
		count_failure(a->login, user, who->source);
		return fault_set(f, FAULT_LOGIN_FAILED, NULL, NULL, "user or password is wrong");
	}
	count_success(a->login, user, who->source);
	if (!users_identify(a->users, user, who))
		return fault_set(f, FAULT_LOGIN_FAILED, NULL, NULL, "user or password is wrong");
	who->password = mark;
	who->stamp = stamp;
	return 0;
}

/* A token, or a session whose password is still the user's. */
static bool
find_token(struct agent *a, const char *text, struct token_info *info)
{
	return tokens_find(a->tokens, text, info) &&
	       (!info->password || info->password == users_password_mark(a->users, info->user));
}

int
login_token(struct agent *a, const char *text, struct identity *who, struct fault *f)
{
	uint64_t stamp = stamp_of(a), wait;
	struct token_info info;

	/* A token cannot be guessed; only those who try anyway are counted, and refused without looking. */
	if (!find_token(a, text, &info) || !users_identify(a->users, info.user, who)) {
		wait = must_wait(a->login, "", who->source);
		if (wait)
			return locked_out(f, wait);
		return fault_set(f, FAULT_LOGIN_FAILED, NULL, "token.create makes a new one.",
		    "the token is unknown or has expired");
	}
	text_copy(who->token, sizeof(who->token), info.name);
	text_copy(who->session, sizeof(who->session), info.session);
	who->most = info.role;
	who->expires = info.expires;
	who->password = info.password;
	who->stamp = stamp;
	return 0;
}

enum { PAIR_SIZE = USER_SIZE + PASSWORD_MAX + 2 };

/* "user\0password" of a Basic header, and where the password begins; NULL when it is none. */
static char *
split_basic(const char *header, char pair[PAIR_SIZE])
{
	char *colon;

	if (strncasecmp(header, "Basic ", 6) != 0 || secret_base64(header + 6, pair, PAIR_SIZE) < 0)
		return NULL;
	colon = strchr(pair, ':');
	if (!colon)
		return NULL;
	*colon = '\0';
	return colon + 1;
}

int
login_header(struct agent *a, const char *header, struct identity *who, struct fault *f)
{
	char pair[PAIR_SIZE], *password;
	int rc;

	if (strncasecmp(header, "Bearer ", 7) == 0)
		return login_token(a, header + 7, who, f);
	password = split_basic(header, pair);
	if (!password)
		return fault_set(f, FAULT_LOGIN_FAILED, NULL,
		    "Authorization: Bearer TOKEN, or Basic with user and password.",
		    "the Authorization header is neither Bearer nor Basic");
	rc = login_password(a, pair, password, who, f);
	explicit_bzero(pair, sizeof(pair));
	return rc;
}

bool
login_header_user(const char *header, char user[USER_SIZE])
{
	char pair[PAIR_SIZE];
	bool ok = split_basic(header, pair) && strlen(pair) < USER_SIZE && text_is_clean(pair, strlen(pair));

	if (ok)
		text_copy(user, USER_SIZE, pair);
	explicit_bzero(pair, sizeof(pair));
	return ok;
}

void
login_peer(struct agent *a, uid_t uid, struct identity *who)
{
	uint64_t stamp = stamp_of(a);
	char name[USER_SIZE];

	if (uid == 0) { /* whatever passwd says, or whether it can be read */
		text_copy(who->user, sizeof(who->user), "root");
		identity_grant(who, ROLE_ADMINISTRATOR, "/");
	} else if (users_name(a->users, uid, name)) {
		users_identify(a->users, name, who);
		who->uid = uid;
	}
	who->stamp = stamp;
}

bool
login_can_lose(const struct identity *who)
{
	bool root = who->carrier == CARRIER_LOCAL && strcmp(who->user, "root") == 0 && !who->session[0];

	return who->user[0] && who->carrier != CARRIER_INTERNAL && !root;
}

/* Whether what it was opened with is still good. */
static bool
counts_still(struct agent *a, const struct identity *who)
{
	char name[USER_SIZE];

	if (who->expires && who->expires <= time(NULL))
		return false;
	if (who->token[0] && !tokens_counts(a->tokens, who->user, who->token))
		return false;
	if (who->session[0] && !session_counts(a->tokens, who->session))
		return false;
	if (who->password && who->password != users_password_mark(a->users, who->user))
		return false;
	return who->uid == (uid_t)-1 ||
	       (users_name(a->users, who->uid, name) && strcmp(name, who->user) == 0);
}

void
login_renew(struct agent *a, struct identity *who)
{
	uint64_t stamp = stamp_of(a);
	char user[USER_SIZE];
	bool in_time = !who->expires || who->expires > time(NULL);

	if (!login_can_lose(who) || (in_time && who->stamp == stamp))
		return;
	text_copy(user, sizeof(user), who->user);
	if (counts_still(a, who) && users_identify(a->users, user, who)) {
		who->stamp = stamp;
		return;
	}
	who->user[0] = who->token[0] = who->session[0] = '\0';
	who->grants = 0;
}

bool
login_holds(struct agent *a, struct identity *who, enum role role, const char *path)
{
	login_renew(a, who);
	return who->user[0] && identity_role(who, path) >= role;
}

bool
login_still_may(struct agent *a, const struct identity *who, enum role role, const char *path)
{
	struct identity now = *who;

	now.session[0] = '\0';
	now.password = now.stamp = 0;
	if (!now.token[0])
		now.expires = 0;
	return login_holds(a, &now, role, path);
}
