/* installer/dialog.c - three questions. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "installer/dialog.h"
#include "installer/password.h"

static const char help_mode[] =
    "  install  puts Freehold onto a disk of this machine; you choose which, and confirm it.\n"
    "  live     uses Freehold from this medium; no disk is touched, nothing is kept.";
static const char help_disk[] =
    "  The name of the disk to install onto, as in the list. Everything on it will be erased. Virtual "
    "machines can be\n"
    "  kept on other disks later. 'again' looks for disks once more, 'live' goes back.";
static const char help_password[] = "  The password of root, the administrator: at least 8 characters, any "
				    "kind. It is asked for at the consoles\n"
				    "  and by programs that manage this host over the network.";

void
dialog_token(const struct disk *d, char *out, size_t size)
{
	size_t n = strlen(d->serial);

	if (n == 0)
		snprintf(out, size, "%s", d->name);
	else
		snprintf(out, size, "%s", n > 4 ? d->serial + n - 4 : d->serial);
}

static void
show_disks(struct ask *t, const struct disk *d, size_t n)
{
	char text[256], content[CONTENT_SIZE];
	struct err e;

	fputs("\nDisks of this machine:\n", t->out);
	for (size_t i = 0; i < n; i++) {
		disks_describe(&d[i], text, sizeof(text));
		disks_content(d[i].path, content);
		fprintf(t->out, "  %s%s\n      now on it: %s\n", text, d[i].removable ? ", removable" : "",
		    content);
		if (disks_check(&d[i], &e) < 0)
			fprintf(t->out, "      cannot be used: %s\n", e.msg);
	}
	if (n == 0)
		fputs("  none\n", t->out);
}

/* The first disk that can be used and is not removable, as the default; NULL when there is none. */
static const char *
first_usable(const struct disk *d, size_t n)
{
	struct err e;

	for (size_t i = 0; i < n; i++) {
		if (!d[i].removable && disks_check(&d[i], &e) == 0)
			return d[i].name;
	}
	return NULL;
}

/* True with *out when a disk was chosen and confirmed; false with *choice when not. */
static bool
ask_disk(struct ask *t, const struct disks_from *from, struct disk *out, enum choice *choice)
{
	struct disk *list = calloc(DISKS_MAX, sizeof(*list));
	char text[128], token[64], question[200];
	struct err e = { 0 };
	int n = list ? disks_list(from, list, DISKS_MAX, &e) : 0, i;
	bool done = false;

	*choice = CHOICE_END;
	show_disks(t, list, n < 0 ? 0 : (size_t)n);
	if (!ask_line(t, "\nWhich disk?", n > 0 ? first_usable(list, (size_t)n) : NULL, help_disk, text,
		sizeof(text)))
		goto out;
	*choice = strcmp(text, "live") == 0 ? CHOICE_LIVE : CHOICE_INSTALL;
	for (i = 0; i < n && strcmp(list[i].name, text) != 0 && strcmp(list[i].path, text) != 0; i++)
		;
	if (i >= n) {
		if (strcmp(text, "again") != 0 && *choice != CHOICE_LIVE)
			fprintf(t->out, "There is no disk '%s'.\n", text);
		goto out;
	}
	if (disks_check(&list[i], &e) < 0) {
		fprintf(t->out, "%s.\n", e.msg);
		goto out;
	}
	dialog_token(&list[i], token, sizeof(token));
	snprintf(question, sizeof(question),
	    "Everything on %s will be erased. To confirm, type %s%s%s:", list[i].name,
	    list[i].serial[0] ? "the last four characters of its serial number" : "its name (",
	    list[i].serial[0] ? "" : token, list[i].serial[0] ? "" : ")");
	if (!ask_line(t, question, "no", "  They are at the end of its line in the list above.", text,
		sizeof(text))) {
		*choice = CHOICE_END;
	} else if (strcmp(text, token) == 0) {
		*out = list[i];
		done = true;
	} else {
		fputs("Not confirmed. Nothing has been written.\n", t->out);
	}
out:
	free(list);
	return done;
}

static bool
ask_password(struct ask *t, struct answers *a)
{
	char first[PASSWORD_MAX + 2], again[PASSWORD_MAX + 2];
	struct err e;
	bool done = false, got = true;

	while (!done && got) {
		got = ask_secret(t, "\nPassword for root (not shown):", help_password, first, sizeof(first));
		if (got && answers_check_password(first, &e) < 0) {
			fprintf(t->out, "%s.\n", e.msg);
			continue;
		}
		got = got && ask_secret(t, "The same again:", help_password, again, sizeof(again));
		if (!got)
			break;
		if (strcmp(first, again) != 0)
			fputs("They differ.\n", t->out);
		else if (password_hash(first, a->hash, sizeof(a->hash), &e) < 0)
			fprintf(t->out, "%s.\n", e.msg);
		else
			done = true;
	}
	explicit_bzero(first, sizeof(first));
	explicit_bzero(again, sizeof(again));
	return done;
}

enum choice
dialog_run(struct ask *t, const struct disks_from *from, struct disk *disk, struct answers *a)
{
	enum choice choice;
	char text[64];

	memset(a, 0, sizeof(*a));
	fputs("Enter takes what is in [brackets]; ? explains.\n\n", t->out);
	for (;;) {
		if (!ask_line(t, "Install Freehold onto a disk, or use it live? (install, live)", "install",
			help_mode, text, sizeof(text)))
			return CHOICE_END;
		if (strcasecmp(text, "live") == 0)
			return CHOICE_LIVE;
		if (strcasecmp(text, "install") == 0)
			break;
		fprintf(t->out, "%s\n", help_mode);
	}
	while (!ask_disk(t, from, disk, &choice)) {
		if (choice != CHOICE_INSTALL)
			return choice;
	}
	return ask_password(t, a) ? CHOICE_INSTALL : CHOICE_END;
}
