/*
 * hypervisor/disk_tool/main.c - fh-disk: makes, checks and changes disk images. See docs/fh-disk.md.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hypervisor/disk_tool/tool.h"

#define NEW "to type block-size sector physical id sparse full force"

const struct command commands[] = {
	{ "create", "[-t FORMAT] [--type TYPE] [--parent FILE] [options] FILE [SIZE]",
	    NEW " parent parent-format parent-in-use absolute", 1, 2, cmd_create },
	{ "info", "[--json] [--chain] FILE", "json chain", 1, 1, cmd_info },
	{ "check", "[--json] [--repair] FILE", "json repair", 1, 1, cmd_check },
	{ "convert", "-t FORMAT [--type TYPE] [options] FILE NEW", NEW, 2, 2, cmd_convert },
	{ "resize", "FILE SIZE", "", 2, 2, cmd_resize },
	{ "compact", "FILE", "", 1, 1, cmd_compact },
	{ "merge", "[--levels N|all] [--delete] [--force] FILE", "levels delete force", 1, 1, cmd_merge },
	{ "relink", "--parent FILE [--absolute] [--force] FILE", "parent absolute force", 1, 1, cmd_relink },
	{ "set-id", "[--id GUID | --new-id] [--physical BYTES] FILE", "id new-id physical", 1, 1,
	    cmd_set_id },
	{ "map", "[--json] [--offset N] [--length N] FILE", "json offset length", 1, 1, cmd_map },
	{ "import", "-f vmdk|qcow2|vdi -t FORMAT [--type TYPE] [options] FILE NEW", NEW, 2, 2, cmd_import },
	{ "read", "[--pattern HEX] FILE OFFSET LENGTH", "pattern", 3, 3, cmd_read },
	{ "write", "[--pattern HEX] [--fua] FILE OFFSET LENGTH", "pattern fua", 3, 3, cmd_write },
	{ "zero", "[--unmap] FILE OFFSET LENGTH", "unmap", 3, 3, cmd_zero },
	{ "discard", "FILE OFFSET LENGTH", "", 3, 3, cmd_discard },
	{ "flush", "FILE", "", 1, 1, cmd_flush },
	{ "io", "[--no-close] [--read-only] FILE [OPERATION ...]", "no-close read-only", 1, -1, cmd_io },
	{ "bench",
	    "[--op read|write] [--pattern random|sequential|stride] [--size SIZE] [--depth N] [--flush-every "
	    "N] "
	    "FILE",
	    "op pattern size stride depth count seconds flush-every direct seed", 1, 1, cmd_bench },
	{ NULL },
};

static void
usage(FILE *to, const struct command *only)
{
	for (const struct command *c = only ? only : commands; c->name; c++) {
		fprintf(to, "%s fh-disk %s %s\n", c == commands || only ? "usage:" : "      ", c->name,
		    c->synopsis);
		if (only)
			return;
	}
	fprintf(to,
	    "\nFORMAT is raw, vhd or vhdx; -f says it of the file that is there. TYPE is fixed, dynamic or\n"
	    "differencing. Sizes may end in K, M, G, T. All commands: --search FOLDER, --root FOLDER,\n"
	    "--drive 'C:=FOLDER' (where parents are looked for), --quiet. The manual is docs/fh-disk.md.\n");
}

static const struct command *
find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static int
status(int rc, const struct err *e)
{
	if (rc >= 0)
		return rc;
	fprintf(stderr, "fh-disk: %s\n", e->msg[0] ? e->msg : strerror(-rc));
	return rc == -ECANCELED ? STATUS_CANCELLED : rc == -EAGAIN ? STATUS_IN_USE : STATUS_FAILED;
}

static int
run(struct tool *t, const struct command *c)
{
	struct err e = { 0 };
	int rc;

	progress_begin(t);
	rc = t->o.confine ? confine(t, &e) : 0;
	if (rc == 0)
		rc = c->run(t, &e);
	progress_end();
	if (rc == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		rc = err_sys(&e, "standard output");
	return status(rc, &e);
}

int
main(int argc, char **argv)
{
	const struct command *c = argc > 1 ? find(argv[1]) : NULL;
	struct tool t = { 0 };
	int rc;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
		usage(stdout, NULL);
		return 0;
	}
	if (!c) {
		if (argc > 1)
			fprintf(stderr, "fh-disk: there is no command '%s'\n", argv[1]);
		usage(stderr, NULL);
		return STATUS_USAGE;
	}
	rc = options_read(&t, c, argc - 1, argv + 1);
	if (t.o.help) {
		usage(stdout, c);
		return 0;
	}
	if (rc == 0 && (t.args < c->least || (c->most >= 0 && t.args > c->most)))
		rc = STATUS_USAGE;
	if (rc) {
		usage(stderr, c);
		return rc;
	}
	rc = run(&t, c);
	io_loop_free(t.loop);
	return rc;
}
