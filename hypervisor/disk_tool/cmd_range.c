/*
 * hypervisor/disk_tool/cmd_range.c - fh-disk read, write, zero, discard, flush: one operation; io: many on
 * one opened image.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/disk_tool/range.h"

/* A disk that was written is closed, so that its file is what others expect. */
static int
end(struct disk *d, struct disk_chain *c, bool close, int rc, struct err *e)
{
	if (close) {
		struct err ignored = { 0 };
		int closed = disk_close(d, rc < 0 ? &ignored : e);

		if (rc >= 0 && closed < 0)
			rc = err_wrap(e, closed, "%s", c->link[0]->path);
	}
	disk_free(d);
	disk_chain_free(c);
	return rc;
}

/* --- one ----------------------------------------------------------------------------------------------- */

static int
one(struct tool *t, struct range_request *r, struct err *e)
{
	bool write = r->op != RANGE_READ;
	struct disk_chain *c = NULL;
	struct disk *d = NULL;
	int rc = 0;

	if (r->op != RANGE_FLUSH) {
		rc = value_size(t->arg[1], &r->offset, "OFFSET", e);
		if (rc == 0)
			rc = value_size(t->arg[2], &r->len, "LENGTH", e);
	}
	if (rc == 0)
		rc = tool_disk(&d, &c, t, t->arg[0], write, e);
	if (rc < 0 || !d)
		return rc;
	rc = range_do(d, r, e);
	if (rc < 0)
		err_wrap(e, rc, "%s", t->arg[0]);
	else if (rc == STATUS_DIFFERS)
		fprintf(stderr, "fh-disk: %s: %s\n", t->arg[0], e->msg);
	return end(d, c, write, rc, e);
}

int
cmd_read(struct tool *t, struct err *e)
{
	return one(t, &(struct range_request){ .op = RANGE_READ, .pattern = t->o.pattern }, e);
}

int
cmd_write(struct tool *t, struct err *e)
{
	return one(t,
	    &(struct range_request){ .op = t->o.fua ? RANGE_FUA : RANGE_WRITE, .pattern = t->o.pattern }, e);
}

int
cmd_zero(struct tool *t, struct err *e)
{
	return one(t, &(struct range_request){ .op = t->o.unmap ? RANGE_UNMAP : RANGE_ZERO }, e);
}

int
cmd_discard(struct tool *t, struct err *e)
{
	return one(t, &(struct range_request){ .op = RANGE_DISCARD }, e);
}

int
cmd_flush(struct tool *t, struct err *e)
{
	return one(t, &(struct range_request){ .op = RANGE_FLUSH }, e);
}

/* --- many ---------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum range_op op;
	int words; /* with the name */
} operations[] = {
	{ "read", RANGE_READ, 4 },
	{ "write", RANGE_WRITE, 4 },
	{ "fua", RANGE_FUA, 4 },
	{ "zero", RANGE_ZERO, 3 },
	{ "unmap", RANGE_UNMAP, 3 },
	{ "discard", RANGE_DISCARD, 3 },
	{ "flush", RANGE_FLUSH, 1 },
};

enum { WORDS = 5, LINE = 4096 };

static int
split(char *line, char *word[WORDS])
{
	int n = 0;

	for (char *save, *w = strtok_r(line, " \t\n", &save); w && n < WORDS;
	     w = strtok_r(NULL, " \t\n", &save))
		word[n++] = w;
	return n;
}

static int
parse(char *line, struct range_request *r, struct err *e)
{
	char *word[WORDS] = { 0 };
	int n = split(line, word), rc = 0;

	for (size_t i = 0; n > 0 && i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (strcmp(word[0], operations[i].name) != 0)
			continue;
		if (n != operations[i].words)
			return err_set(e, EINVAL, "'%.20s' has %d words", word[0], operations[i].words);
		r->op = operations[i].op;
		r->pattern = word[3];
		if (n > 1)
			rc = value_size(word[1], &r->offset, "OFFSET", e);
		if (n > 1 && rc == 0)
			rc = value_size(word[2], &r->len, "LENGTH", e);
		return rc;
	}
	return err_set(e, EINVAL, "'%.20s' is no operation", n > 0 ? word[0] : "");
}

static bool
is_blank(const char *line)
{
	return line[strspn(line, " \t\n")] == '\0' || line[0] == '#';
}

/* Answers one line; its result. */
static int
perform(struct disk *d, char *line)
{
	struct range_request r = { 0 };
	struct err e = { 0 };
	int rc;

	if (strncmp(line, "crash", 5) == 0) {
		fflush(stdout);
		_exit(0);
	}
	rc = parse(line, &r, &e);
	if (rc == 0)
		rc = range_do(d, &r, &e);
	if (rc == 0)
		printf("ok\n");
	else
		printf("error: %s\n", e.msg);
	fflush(stdout);
	return rc;
}

/* The first failure is what the command ends with; the rest is done all the same. */
static int
perform_all(struct tool *t, struct disk *d)
{
	char line[LINE];
	int rc = 0, one;

	for (int i = 1; i < t->args; i++) {
		snprintf(line, sizeof(line), "%s", t->arg[i]);
		one = perform(d, line);
		rc = rc ? rc : one;
	}
	while (t->args == 1 && fgets(line, sizeof(line), stdin)) {
		if (is_blank(line))
			continue;
		one = perform(d, line);
		rc = rc ? rc : one;
	}
	return rc < 0 ? STATUS_FAILED : rc;
}

int
cmd_io(struct tool *t, struct err *e)
{
	struct disk_chain *c = NULL;
	struct disk *d = NULL;
	int rc = tool_disk(&d, &c, t, t->arg[0], !t->o.read_only, e);

	if (rc < 0 || !d)
		return rc;
	rc = perform_all(t, d);
	if (t->o.no_close) {
		fflush(stdout);
		_exit(rc);
	}
	return end(d, c, !t->o.read_only, rc, e);
}
