/* hypervisor/disk_tool/options.c - the command line, from one table. */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk_tool/tool.h"

enum kind { FLAG, TEXT, SIZE, NUMBER, FOLDER, DRIVE, READABLE, WRITABLE };

#define AT(m) offsetof(struct options, m)

static const struct row {
	const char *name;
	enum kind kind;
	size_t at;
	char letter;
	bool common; /* every command has it */
} rows[] = {
	{ "format", TEXT, AT(format), 'f', true },
	{ "quiet", FLAG, AT(quiet), 'q', true },
	{ "help", FLAG, AT(help), 'h', true },
	{ "root", TEXT, AT(root), 0, true },
	{ "search", FOLDER, 0, 0, true },
	{ "drive", DRIVE, 0, 0, true },
	{ "confine", FLAG, AT(confine), 0, true },
	{ "allow-read", READABLE, 0, 0, true },
	{ "allow-write", WRITABLE, 0, 0, true },
	{ "progress-json", FLAG, AT(progress_json), 0, true },
	{ "to", TEXT, AT(to), 't', false },
	{ "type", TEXT, AT(type), 0, false },
	{ "parent", TEXT, AT(parent), 0, false },
	{ "parent-format", TEXT, AT(parent_format), 0, false },
	{ "parent-in-use", FLAG, AT(parent_in_use), 0, false },
	{ "absolute", FLAG, AT(absolute), 0, false },
	{ "block-size", SIZE, AT(block_size), 0, false },
	{ "sector", SIZE, AT(sector), 0, false },
	{ "physical", SIZE, AT(physical), 0, false },
	{ "id", TEXT, AT(id), 0, false },
	{ "new-id", FLAG, AT(new_id), 0, false },
	{ "sparse", FLAG, AT(sparse), 0, false },
	{ "full", FLAG, AT(full), 0, false },
	{ "force", FLAG, AT(force), 0, false },
	{ "json", FLAG, AT(json), 0, false },
	{ "chain", FLAG, AT(chain), 0, false },
	{ "repair", FLAG, AT(repair), 0, false },
	{ "levels", TEXT, AT(levels), 0, false },
	{ "delete", FLAG, AT(remove), 0, false },
	{ "offset", SIZE, AT(offset), 0, false },
	{ "length", SIZE, AT(length), 0, false },
	{ "pattern", TEXT, AT(pattern), 0, false },
	{ "fua", FLAG, AT(fua), 0, false },
	{ "unmap", FLAG, AT(unmap), 0, false },
	{ "no-close", FLAG, AT(no_close), 0, false },
	{ "read-only", FLAG, AT(read_only), 0, false },
	{ "op", TEXT, AT(op), 0, false },
	{ "size", SIZE, AT(size), 0, false },
	{ "stride", SIZE, AT(stride), 0, false },
	{ "depth", NUMBER, AT(depth), 0, false },
	{ "count", NUMBER, AT(count), 0, false },
	{ "seconds", NUMBER, AT(seconds), 0, false },
	{ "flush-every", NUMBER, AT(flush_every), 0, false },
	{ "direct", FLAG, AT(direct), 0, false },
	{ "seed", NUMBER, AT(seed), 0, false },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static int
wrong(const char *why, const char *what)
{
	fprintf(stderr, "fh-disk: %s%s\n", why, what);
	return STATUS_USAGE;
}

/* A word of a list of words. */
static bool
has(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = list; (at = strstr(at, word)) != NULL; at += n)
		if ((at == list || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
			return true;
	return false;
}

static int
add_drive(struct options *o, char *text)
{
	char *equals = strchr(text, '=');

	if (!equals || equals == text || !equals[1])
		return wrong("--drive is 'C:=FOLDER' or '\\\\SERVER\\SHARE=FOLDER', not ", text);
	if (o->drives == DRIVES)
		return wrong("too many: --drive ", text);
	*equals = '\0';
	o->drive[o->drives++] = (struct disk_drive){ text, equals + 1 };
	return 0;
}

static int
allow(const char **list, size_t *n, const char *text)
{
	if (*n == ALLOWED)
		return wrong("too many files are allowed: ", text);
	list[(*n)++] = text;
	return 0;
}

static int
take(struct options *o, const struct row *r, char *text)
{
	char *at = (char *)o + r->at;
	struct err e = { 0 };

	switch (r->kind) {
	case FLAG:
		*(bool *)at = true;
		return 0;
	case TEXT:
		*(const char **)at = text;
		return 0;
	case SIZE:
	case NUMBER:
		return value_size(text, (uint64_t *)at, r->name, &e) < 0 ? wrong("--", e.msg) : 0;
	case FOLDER:
		if (o->folders == FOLDERS)
			return wrong("too many: --search ", text);
		o->folder[o->folders++] = text;
		return 0;
	case DRIVE:
		return add_drive(o, text);
	case READABLE:
		return allow(o->readable, &o->readables, text);
	case WRITABLE:
		return allow(o->writable, &o->writables, text);
	}
	return 0;
}

/* A root is compared with paths: both without symbolic links. */
static int
set_search(struct tool *t)
{
	static char root[PATH_MAX];

	t->search = (struct disk_search){ .folders = t->o.folder,
		.folders_n = t->o.folders,
		.drives = t->o.drive,
		.drives_n = t->o.drives };
	if (!t->o.root)
		return 0;
	if (!realpath(t->o.root, root))
		return wrong("--root: no such folder: ", t->o.root);
	t->search.root = root;
	return 0;
}

int
options_read(struct tool *t, const struct command *c, int argc, char **argv)
{
	struct option longs[ROWS + 1] = { { 0 } };
	int which, index, rc = 0;

	for (int i = 0; i < ROWS; i++)
		longs[i] = (struct option){ rows[i].name,
			rows[i].kind == FLAG ? no_argument : required_argument, NULL, 1000 + i };
	while (rc == 0 && (which = getopt_long(argc, argv, "f:t:qh", longs, &index)) != -1) {
		int i = which - 1000;

		if (which == '?')
			return STATUS_USAGE;
		for (int k = 0; which < 1000 && k < ROWS; k++)
			if (rows[k].letter == which)
				i = k;
		if (!rows[i].common && !has(c->options, rows[i].name))
			return wrong("this command has no --", rows[i].name);
		rc = take(&t->o, &rows[i], optarg);
	}
	t->args = argc - optind;
	t->arg = argv + optind;
	return rc ? rc : set_search(t);
}
