/*
 * agent/identity.c - what a grant covers.
 */
#include "agent/identity.h"
#include "lib/text.h"

#include <stdio.h>
#include <string.h>

const char *const role_names[] = { "None", "Viewer", "Operator", "Administrator", NULL };
const char *const carrier_names[] = { "internal", "local", "https", "wss", NULL };

void
identity_none(struct identity *who, enum carrier carrier, const char *source)
{
	*who = (struct identity){ .carrier = carrier, .uid = (uid_t)-1, .most = ROLE_ADMINISTRATOR };
	snprintf(who->source, sizeof(who->source), "%s", source);
}

/* "/vm/1" covers itself and "/vm/1/disk", not "/vm/10". */
static bool
covers(const char *upper, const char *lower)
{
	size_t len = strlen(upper);

	if (len && upper[len - 1] == '/')
		len--;
	return strncmp(upper, lower, len) == 0 && (lower[len] == '\0' || lower[len] == '/');
}

static enum role
at_most(enum role role, enum role most)
{
	return role < most ? role : most;
}

enum role
identity_role(const struct identity *who, const char *path)
{
	enum role role = ROLE_NONE;

	for (size_t i = 0; i < who->grants; i++)
		if (who->grant[i].role > role && covers(who->grant[i].path, path))
			role = who->grant[i].role;
	return at_most(role, who->most);
}

enum role
identity_role_below(const struct identity *who, const char *path)
{
	enum role role = identity_role(who, path);

	for (size_t i = 0; i < who->grants; i++)
		if (who->grant[i].role > role && covers(path, who->grant[i].path))
			role = who->grant[i].role;
	return at_most(role, who->most);
}

bool
identity_grant(struct identity *who, enum role role, const char *path)
{
	struct grant *g = &who->grant[who->grants];

	if (who->grants == GRANTS_MAX || strlen(path) >= sizeof(g->path))
		return false;
	g->role = role;
	text_copy(g->path, sizeof(g->path), path);
	who->grants++;
	return true;
}
