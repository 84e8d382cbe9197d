/* hypervisor/disk_tool/cmd_check.c - fh-disk check: reads all tables of an image, names every damage,
 * repairs. */
#include <errno.h>
#include <stdio.h>

#include "hypervisor/disk_tool/tool.h"
#include "lib/text.h"

static const char *const kinds[] = { [DISK_NOTE] = "note",
	[DISK_REPAIRED] = "repaired",
	[DISK_REPAIRABLE] = "repairable",
	[DISK_DAMAGE] = "damage" };

enum { FOUND_MAX = 1000 }; /* in JSON: somebody waits for the end of it */

struct report {
	json_t *list; /* NULL: words */
};

static void
found(void *ctx, enum disk_fault_kind kind, const char *what)
{
	struct report *r = ctx;
	char clean[512];

	text_copy(clean, sizeof(clean), what);
	text_clean(clean);
	if (r->list && json_array_size(r->list) == FOUND_MAX)
		return; /* they are counted all the same */
	if (r->list)
		json_array_append_new(r->list, json_pack("{s:s, s:s}", "kind", kinds[kind], "text", clean));
	else
		printf("%s: %s\n", kinds[kind], clean);
}

static void
print_json(const struct disk_check *c, json_t *list)
{
	json_t *o = json_pack("{s:i, s:i, s:i, s:i, s:I, s:I, s:O}", "notes", (int)c->faults[DISK_NOTE],
	    "repaired", (int)c->faults[DISK_REPAIRED], "repairable", (int)c->faults[DISK_REPAIRABLE],
	    "damages", (int)c->faults[DISK_DAMAGE], "blocks", (json_int_t)c->blocks, "allocatedBlocks",
	    (json_int_t)c->allocated, "found", list);

	json_dumpf(o, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(o);
}

static void
print_sum(const char *path, const struct disk_check *c)
{
	unsigned bad = c->faults[DISK_DAMAGE] + c->faults[DISK_REPAIRABLE];

	printf("%s: %llu of %llu blocks allocated; ", path, (unsigned long long)c->allocated,
	    (unsigned long long)c->blocks);
	if (bad)
		printf("%u damaged places, %u of them repairable\n", bad, c->faults[DISK_REPAIRABLE]);
	else
		printf("%u repaired, no damage\n", c->faults[DISK_REPAIRED]);
}

int
cmd_check(struct tool *t, struct err *e)
{
	struct report r = { 0 };
	struct disk_check c = { .repair = t->o.repair, .found = found, .ctx = &r };
	struct tool_file f;
	int rc = tool_file(&f, t, t->arg[0], t->o.repair, e);

	if (rc < 0)
		return rc;
	r.list = t->o.json ? json_array() : NULL;
	rc = f.format->check ? f.format->check(f.file, &c, &t->progress, e)
			     : err_set(e, ENOTSUP, "images of this format have nothing to check");
	progress_end();
	if (rc == 0 && r.list)
		print_json(&c, r.list);
	else if (rc == 0)
		print_sum(t->arg[0], &c);
	json_decref(r.list);
	tool_file_close(&f);
	if (rc < 0)
		return err_wrap(e, rc, "%s", t->arg[0]);
	return c.faults[DISK_DAMAGE] || c.faults[DISK_REPAIRABLE] ? STATUS_DAMAGED : 0;
}
