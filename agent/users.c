/*
 * agent/users.c - passwd, shadow and group: who there is, and who may do what.
 */
#include "agent/users.h"

#include <crypt.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/lines.h"
#include "agent/secret.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"

enum { UID_FIRST = 1000, UID_LAST = 9999, MEMBERS_MAX = 8192, LINE_MAX_BYTES = MEMBERS_MAX + 128 };

/* The group of each role, and the number it gets if the system has none yet. */
static const struct role_group {
	enum role role;
	const char *name;
	unsigned gid;
} role_groups[] = {
	{ ROLE_ADMINISTRATOR, "administrators", 800 },
	{ ROLE_OPERATOR, "operators", 801 },
	{ ROLE_VIEWER, "viewers", 802 },
};

enum { ROLE_GROUPS = sizeof(role_groups) / sizeof(role_groups[0]) };

struct users {
	pthread_mutex_t lock;  /* the files */
	pthread_mutex_t crypt; /* one password at a time */
	_Atomic uint64_t stamp;
	char passwd[256], shadow[256], group[256], grants[256];
	char *dummy; /* a hash that nothing matches, for users that are not there */
};

struct grants_file {
	uint64_t version;
	struct grant_row {
		char user[USER_SIZE], path[SCOPE_SIZE];
		unsigned role;
	} row[256];
	size_t rows;
};

static const struct field grant_fields[] = {
	{ "User", FIELD_STRING, true, FIELD_AT(grant_row, user), .min = 1, .max = USER_SIZE - 1,
	    .size = USER_SIZE, .help = "Who." },
	{ "Role", FIELD_ENUM, true, FIELD_AT(grant_row, role), .names = role_names,
	    .help = "The role there." },
	{ "Path", FIELD_STRING, true, FIELD_AT(grant_row, path), .min = 1, .max = SCOPE_SIZE - 1,
	    .size = SCOPE_SIZE, .help = "Where, and below: /vm/GUID." },
	{ .type = FIELD_END },
};

static const struct field grants_fields[] = {
	{ "Version", FIELD_UINT, true, FIELD_AT(grants_file, version), .min = 1, .max = 1,
	    .help = "Of this file." },
	{ "Grants", FIELD_LIST, true, FIELD_AT(grants_file, row), .max = 256,
	    .size = sizeof(struct grant_row), .count_offset = offsetof(struct grants_file, rows),
	    .fields = grant_fields, .help = "Rows." },
	{ .type = FIELD_END },
};

static char *
make_hash(const char *password)
{
	char *salt = crypt_gensalt_ra("$y$", 0, NULL, 0), *hash, *copy = NULL;
	void *data = NULL;
	int size = 0;

	if (!salt)
		return NULL;
	hash = crypt_ra(password, salt, &data, &size);
	if (hash && hash[0] != '*')
		copy = strdup(hash);
	if (data)
		explicit_bzero(data, (size_t)size);
	free(data);
	free(salt);
	return copy;
}

int
users_new(struct users **out, const char *etc, const char *grants, struct err *e)
{
	struct users *u = calloc(1, sizeof(*u));

	*out = NULL;
	if (!u)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&u->lock, NULL);
	pthread_mutex_init(&u->crypt, NULL);
	snprintf(u->passwd, sizeof(u->passwd), "%s/passwd", etc);
	snprintf(u->shadow, sizeof(u->shadow), "%s/shadow", etc);
	snprintf(u->group, sizeof(u->group), "%s/group", etc);
	snprintf(u->grants, sizeof(u->grants), "%s", grants);
	*out = u;
	return 0;
}

void
users_free(struct users *u)
{
	if (!u)
		return;
	pthread_mutex_destroy(&u->lock);
	pthread_mutex_destroy(&u->crypt);
	free(u->dummy);
	free(u);
}

/* Of a file as it is now: another one when somebody has edited it. */
static uint64_t
mark_of(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return 0;
	return (uint64_t)st.st_ctim.tv_sec * 1000000000 + (uint64_t)st.st_ctim.tv_nsec + st.st_ino;
}

uint64_t
users_stamp(struct users *u)
{
	return u->stamp + mark_of(u->passwd) + mark_of(u->group) * 3 + mark_of(u->grants) * 5 +
	       mark_of(u->shadow) * 7;
}

/* A file that is not there is empty. NULL with *e when it cannot be read. */
static char *
slurp(const char *path, struct err *e)
{
	struct err why = { 0 };
	char *text = NULL;
	int rc = file_read(path, LINES_MAX, &text, NULL, &why);

	if (rc == -ENOENT)
		return strdup("");
	if (rc < 0)
		err_set(e, why.code, "%s", why.msg);
	return text;
}

/* Puts line in the place of name's in the file; NULL takes it away. */
static int
change(const char *path, const char *name, const char *line, struct err *e)
{
	char *text = slurp(path, e), *changed = NULL;
	int rc;

	if (!text)
		return -EIO;
	changed = lines_set(text, name, line);
	if (!changed)
		rc = err_set(e, ENOMEM, "out of memory");
	else if (strcmp(text, changed) == 0)
		rc = 0;
	else
		rc = file_replace(path, changed, strlen(changed), 0, e);
	if (changed)
		explicit_bzero(changed, strlen(changed));
	explicit_bzero(text, strlen(text));
	free(changed);
	free(text);
	return rc;
}

static bool
number(const char *line, unsigned field, unsigned long *out)
{
	char text[16], *end;

	if (!lines_field(line, field, text, sizeof(text)) || !text[0])
		return false;
	*out = strtoul(text, &end, 10);
	return *end == '\0';
}

/* Of users on list: root, and those made here. */
static bool
is_ours(const char *line)
{
	unsigned long uid;

	return number(line, 2, &uid) && (uid == 0 || (uid >= UID_FIRST && uid <= UID_LAST));
}

bool
users_name(struct users *u, uid_t uid, char name[USER_SIZE])
{
	bool found = false;
	char *text;

	pthread_mutex_lock(&u->lock);
	text = slurp(u->passwd, NULL);
	for (const char *l = text; l && !found; l = lines_next(l)) {
		unsigned long n;

		found = number(l, 2, &n) && n == uid && lines_field(l, 0, name, USER_SIZE);
	}
	pthread_mutex_unlock(&u->lock);
	free(text);
	return found;
}

static enum role
role_of(const char *name, const char *passwd_line, const char *group)
{
	unsigned long uid;

	if (number(passwd_line, 2, &uid) && uid == 0)
		return ROLE_ADMINISTRATOR;
	for (size_t i = 0; i < ROLE_GROUPS; i++) {
		const char *line = lines_find(group, role_groups[i].name);
		char members[MEMBERS_MAX];

		if (line && lines_field(line, 3, members, sizeof(members)) && lines_has_member(members, name))
			return role_groups[i].role;
	}
	return ROLE_NONE;
}

/* A file that cannot be read grants nothing, and says so. */
static void
add_grants(struct users *u, struct identity *who)
{
	struct grants_file *g = calloc(1, sizeof(*g));
	struct err e = { 0 };
	json_t *doc = file_read_json(u->grants, &e);

	if (g && doc && schema_read(grants_fields, doc, NULL, g, &e) == 0) {
		for (size_t i = 0; i < g->rows; i++)
			if (strcmp(g->row[i].user, who->user) == 0)
				identity_grant(who, g->row[i].role, g->row[i].path);
	} else if (e.code != ENOENT) {
		log_msg(LOG_ERROR, "grants: %s", e.msg);
	}
	json_decref(doc);
	free(g);
}

/* Of a line of shadow. One without any password is no log-in, but its tokens count. */
static bool
is_disabled(const char *line)
{
	char hash[LINES_FIELD];
	unsigned long day;

	if (!line)
		return false;
	if (number(line, 7, &day) && day <= (unsigned long)(time(NULL) / 86400))
		return true;
	return lines_field(line, 1, hash, sizeof(hash)) && hash[0] == '!' && strchr(hash, '$');
}

bool
users_identify(struct users *u, const char *name, struct identity *who)
{
	const char *line;
	char *passwd, *group, *shadow;

	who->grants = 0;
	who->user[0] = '\0';
	pthread_mutex_lock(&u->lock);
	passwd = slurp(u->passwd, NULL);
	group = slurp(u->group, NULL);
	shadow = slurp(u->shadow, NULL);
	line = passwd && group && shadow && name[0] ? lines_find(passwd, name) : NULL;
	if (line && strlen(name) < USER_SIZE && !is_disabled(lines_find(shadow, name))) {
		enum role role = role_of(name, line, group);

		text_copy(who->user, sizeof(who->user), name);
		if (role != ROLE_NONE)
			identity_grant(who, role, "/");
		add_grants(u, who);
	}
	pthread_mutex_unlock(&u->lock);
	if (shadow)
		explicit_bzero(shadow, strlen(shadow));
	free(passwd);
	free(group);
	free(shadow);
	return who->user[0] != '\0';
}

static bool
find_hash(struct users *u, const char *name, char *hash, size_t size)
{
	char *text, *passwd;
	const char *line;
	bool found;

	pthread_mutex_lock(&u->lock);
	passwd = slurp(u->passwd, NULL);
	text = slurp(u->shadow, NULL);
	line = passwd && text && lines_find(passwd, name) ? lines_find(text, name) : NULL;
	found = line && lines_field(line, 1, hash, size) && hash[0] == '$';
	pthread_mutex_unlock(&u->lock);
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
	free(passwd);
	return found;
}

/* FNV-1a of the salted hash. */
uint64_t
users_password_mark(struct users *u, const char *name)
{
	char hash[LINES_FIELD];
	uint64_t mark = UINT64_C(14695981039346656037);

	if (!find_hash(u, name, hash, sizeof(hash)))
		return 0;
	for (const char *s = hash; *s; s++)
		mark = (mark ^ (unsigned char)*s) * UINT64_C(1099511628211);
	explicit_bzero(hash, sizeof(hash));
	return mark ? mark : 1;
}

static bool
matches(const char *password, const char *hash)
{
	void *data = NULL;
	int size = 0;
	char *made = crypt_ra(password, hash, &data, &size);
	bool same = made && made[0] != '*' && secret_same(made, hash);

	if (data)
		explicit_bzero(data, (size_t)size);
	free(data);
	return same;
}

bool
users_check_password(struct users *u, const char *name, const char *password)
{
	char hash[LINES_FIELD];
	bool known = name[0] && find_hash(u, name, hash, sizeof(hash)), same;

	pthread_mutex_lock(&u->crypt);
	if (!u->dummy)
		u->dummy = make_hash("nobody's password");
	same = (known || u->dummy) && matches(password, known ? hash : u->dummy);
	pthread_mutex_unlock(&u->crypt);
	return known && same;
}

static json_t *
describe_user(const char *line, const char *group, const char *shadow)
{
	char name[USER_SIZE], hash[LINES_FIELD] = "";
	const char *secret;
	unsigned long uid = 0;

	if (!lines_field(line, 0, name, sizeof(name)))
		return NULL;
	number(line, 2, &uid);
	secret = lines_find(shadow, name);
	if (secret)
		lines_field(secret, 1, hash, sizeof(hash));
	return json_pack("{s:s, s:s, s:I, s:b}", "name", name, "role", role_names[role_of(name, line, group)],
	    "uid", (json_int_t)uid, "locked", hash[0] != '$');
}

json_t *
users_list(struct users *u)
{
	json_t *list = json_array();
	char *passwd, *group, *shadow;

	pthread_mutex_lock(&u->lock);
	passwd = slurp(u->passwd, NULL);
	group = slurp(u->group, NULL);
	shadow = slurp(u->shadow, NULL);
	pthread_mutex_unlock(&u->lock);
	if (group && shadow)
		for (const char *l = passwd; l; l = lines_next(l))
			if (is_ours(l))
				json_array_append_new(list, describe_user(l, group, shadow));
	free(passwd);
	free(group);
	free(shadow);
	return list;
}

static int
storage(struct fault *f, const struct err *e)
{
	return fault_err(f, e->code == ENOSPC ? FAULT_NO_SPACE : FAULT_STORAGE, NULL, NULL, e);
}

/* 1: there and ours, 0: not there, negative: the system's own, or the file cannot be read. */
static int
look_up(struct users *u, const char *name, struct fault *f)
{
	struct err e = { 0 };
	char *text = slurp(u->passwd, &e);
	const char *line;
	int rc;

	if (!text)
		return storage(f, &e);
	line = lines_find(text, name);
	rc = line != NULL;
	if (line && !is_ours(line))
		rc = fault_set(f, FAULT_USER_RESERVED, "name", "Choose another name.",
		    "the name '%s' belongs to the system", name);
	free(text);
	return rc;
}

int
users_must_exist(struct users *u, const char *name, struct fault *f)
{
	int rc;

	pthread_mutex_lock(&u->lock);
	rc = look_up(u, name, f);
	pthread_mutex_unlock(&u->lock);
	if (rc == 0)
		return fault_set(f, FAULT_USER_NOT_FOUND, "name", "user.list tells which there are.",
		    "no user is called '%s'", name);
	return rc < 0 ? rc : 0;
}

static bool
name_ok(const char *name)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz_",
			  rest[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";

	return name[0] && strspn(name, first) > 0 && strspn(name, rest) == strlen(name) &&
	       strlen(name) < USER_SIZE;
}

int
users_password_ok(const char *name, const char *password, struct fault *f)
{
	if (strlen(password) < PASSWORD_MIN)
		return fault_set(f, FAULT_WEAK_PASSWORD, "password", "A few words are easy to keep in mind.",
		    "the password is shorter than %d bytes", PASSWORD_MIN);
	if (strcmp(name, password) == 0 ||
	    strspn(password, (char[]){ password[0], '\0' }) == strlen(password))
		return fault_set(f, FAULT_WEAK_PASSWORD, "password", "A few words are easy to keep in mind.",
		    "the password is the user's name, or one character again and again");
	return 0;
}

static int
exists(struct fault *f, const char *name)
{
	return fault_set(f, FAULT_USER_EXISTS, "name", NULL, "there is a user called '%s' already", name);
}

int
users_may_create(struct users *u, const char *name, const char *password, struct fault *f)
{
	int rc;

	if (!name_ok(name))
		return fault_set(f, FAULT_BAD_PARAMS, "name",
		    "Small letters, digits, '-' and '_', beginning with a letter.",
		    "'%s' cannot be a user's name", name);
	for (size_t i = 0; i < ROLE_GROUPS; i++)
		if (strcmp(name, role_groups[i].name) == 0)
			return fault_set(f, FAULT_USER_RESERVED, "name", "Choose another name.",
			    "the name '%s' belongs to the system", name);
	pthread_mutex_lock(&u->lock);
	rc = look_up(u, name, f);
	pthread_mutex_unlock(&u->lock);
	if (rc > 0)
		return exists(f, name);
	return rc < 0 ? rc : users_password_ok(name, password, f);
}

/* Takes name out of the groups of roles, and puts it into that of role. */
static int
set_role(struct users *u, const char *name, enum role role, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < ROLE_GROUPS && rc == 0; i++) {
		char members[MEMBERS_MAX] = "", line[LINE_MAX_BYTES];
		const struct role_group *g = &role_groups[i];
		unsigned long gid = g->gid;
		char *text = slurp(u->group, e);
		const char *old = text ? lines_find(text, g->name) : NULL;

		if (!text)
			return -EIO;
		if (old && (!number(old, 2, &gid) || !lines_field(old, 3, members, sizeof(members))))
			rc = err_set(e, EINVAL, "%s: the line of %s cannot be read", u->group, g->name);
		free(text);
		lines_drop_member(members, name);
		if (rc == 0 && g->role == role && !lines_add_member(members, sizeof(members), name))
			rc = err_set(e, EFBIG, "%s: %s has too many members", u->group, g->name);
		if (rc == 0 && (old || g->role == role)) {
			snprintf(line, sizeof(line), "%s:x:%lu:%s", g->name, gid, members);
			rc = change(u->group, g->name, line, e);
		}
	}
	return rc;
}

static int
set_hash(struct users *u, const char *name, const char *hash, struct err *e)
{
	char line[LINES_FIELD + 96];

	snprintf(line, sizeof(line), "%s:%s:%lld:0:99999:7:::", name, hash, (long long)time(NULL) / 86400);
	return change(u->shadow, name, line, e);
}

static bool
free_uid(const char *passwd, unsigned long *uid)
{
	for (*uid = UID_FIRST; *uid <= UID_LAST; ++*uid) {
		unsigned long n;
		bool taken = false;

		for (const char *l = passwd; l && !taken; l = lines_next(l))
			taken = number(l, 2, &n) && n == *uid;
		if (!taken)
			return true;
	}
	return false;
}

/* The last step of making a user: from now on it is there. */
static int
add_line(struct users *u, const char *name, struct err *e)
{
	char *text = slurp(u->passwd, e), line[256];
	unsigned long uid;
	bool room;

	if (!text)
		return -EIO;
	room = free_uid(text, &uid);
	free(text);
	if (!room)
		return err_set(e, ENOSPC, "there is no room for more users");
	/* Whoever has no machine of their own to log in to: the interface is the only way in. */
	snprintf(line, sizeof(line), "%s:x:%lu:100:%s:/:/usr/sbin/nologin", name, uid, name);
	return change(u->passwd, name, line, e);
}

int
users_create(struct users *u, const char *name, const char *password, enum role role, struct fault *f)
{
	struct err e = { 0 };
	char *hash;
	int rc = users_may_create(u, name, password, f);

	if (rc < 0)
		return rc;
	hash = make_hash(password);
	if (!hash)
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "the password could not be hashed");
	pthread_mutex_lock(&u->lock);
	rc = look_up(u, name, f); /* again: hashing took its time */
	if (rc != 0) {
		pthread_mutex_unlock(&u->lock);
		free(hash);
		return rc < 0 ? rc : exists(f, name);
	}
	rc = set_hash(u, name, hash, &e);
	if (rc == 0)
		rc = set_role(u, name, role, &e);
	if (rc == 0)
		rc = add_line(u, name, &e);
	u->stamp++;
	pthread_mutex_unlock(&u->lock);
	free(hash);
	return rc < 0 ? storage(f, &e) : 0;
}

int
users_may_delete(struct users *u, const char *name, struct fault *f)
{
	int rc = users_must_exist(u, name, f);

	if (rc == 0 && strcmp(name, "root") == 0)
		return fault_set(f, FAULT_LAST_ADMINISTRATOR, "name", NULL, "root cannot be deleted");
	return rc;
}

static void
drop_rows(struct grants_file *g, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < g->rows; i++)
		if (strcmp(g->row[i].user, name) != 0)
			g->row[n++] = g->row[i];
	g->rows = n;
}

/* A namesake must not inherit them. A file that cannot be read grants nothing, and stays as it is. */
static int
drop_grants(struct users *u, const char *name, struct err *e)
{
	struct grants_file *g = calloc(1, sizeof(*g));
	json_t *doc = file_read_json(u->grants, NULL);
	size_t before;
	int rc = 0;

	if (g && doc && schema_read(grants_fields, doc, NULL, g, NULL) == 0) {
		before = g->rows;
		drop_rows(g, name);
		json_decref(doc);
		doc = schema_write(grants_fields, g);
		if (g->rows != before)
			rc = file_replace_json(u->grants, doc, 0, e);
	}
	json_decref(doc);
	free(g);
	return rc;
}

int
users_delete(struct users *u, const char *name, struct fault *f)
{
	struct err e = { 0 };
	int rc = users_may_delete(u, name, f);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&u->lock);
	rc = drop_grants(u, name, &e);
	if (rc == 0)
		rc = change(u->passwd, name, NULL, &e);
	if (rc == 0)
		rc = change(u->shadow, name, NULL, &e);
	if (rc == 0)
		rc = set_role(u, name, ROLE_NONE, &e);
	u->stamp++;
	pthread_mutex_unlock(&u->lock);
	return rc < 0 ? storage(f, &e) : 0;
}

int
users_set_password(struct users *u, const char *name, const char *password, struct fault *f)
{
	struct err e = { 0 };
	char *hash;
	int rc = users_must_exist(u, name, f);

	if (rc == 0)
		rc = users_password_ok(name, password, f);
	if (rc < 0)
		return rc;
	hash = make_hash(password);
	if (!hash)
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "the password could not be hashed");
	pthread_mutex_lock(&u->lock);
	rc = set_hash(u, name, hash, &e);
	u->stamp++;
	pthread_mutex_unlock(&u->lock);
	free(hash);
	return rc < 0 ? storage(f, &e) : 0;
}
