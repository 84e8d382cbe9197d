/* hypervisor/disk_tool/open.c - images, as the options say. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk_tool/tool.h"

struct io_loop *
tool_loop(struct tool *t, struct err *e)
{
	struct io_loop *l;

	if (t->loop)
		return t->loop;
	if (io_loop_new(&l, e) < 0)
		return NULL;
	if (io_loop_here(l, e) < 0) {
		io_loop_free(l);
		return NULL;
	}
	t->loop = l;
	return l;
}

int
tool_chain(struct disk_chain **out, struct tool *t, const char *path, const struct disk_chain_how *how,
    struct err *e)
{
	struct disk_chain_how h = *how;
	char real[PATH_MAX];
	int rc = value_format(t->o.format, DISK_GUESS, &h.format, e);

	h.search = &t->search;
	if (rc == 0 && t->search.root && !realpath(path, real))
		rc = err_sys(e, "%s", path);
	return rc < 0 ? rc : disk_chain_open(out, t->search.root ? real : path, &h, e);
}

int
tool_disk(struct disk **d, struct disk_chain **c, struct tool *t, const char *path, bool write, struct err *e)
{
	const struct disk_chain_how how = { .write = write };
	struct disk_stack stack = { .loop = tool_loop(t, e), .write = write };
	int rc = stack.loop ? tool_chain(c, t, path, &how, e) : -EIO;

	if (rc < 0)
		return rc;
	rc = disk_chain_disk(d, *c, &stack, e);
	if (rc < 0)
		disk_chain_free(*c);
	return rc;
}

int
tool_file(struct tool_file *out, struct tool *t, const char *path, bool write, struct err *e)
{
	const struct disk_chain_how how = { .write = write, .most = 1 };
	int rc = tool_chain(&out->chain, t, path, &how, e);

	if (rc < 0)
		return rc;
	rc = disk_chain_file(&out->file, out->chain, 0, write, e);
	if (rc < 0) {
		disk_chain_free(out->chain);
		return rc;
	}
	out->info = &out->chain->link[0]->info;
	out->format = disk_formats[out->info->format];
	return 0;
}

void
tool_file_close(struct tool_file *f)
{
	file_free(f->file);
	disk_chain_free(f->chain);
}

/* --- new images ---------------------------------------------------------------------------------------- */

/* Without symbolic links, of a file that need not be there. */
static int
real_of_new(const char *path, char out[PATH_MAX], struct err *e)
{
	const char *name = parent_path_base(path);
	char folder[PATH_MAX];
	size_t n;

	snprintf(folder, sizeof(folder), "%.*s.", (int)(name - path), path);
	if (!realpath(folder, out))
		return err_sys(e, "%s", folder);
	n = strlen(out);
	return (size_t)snprintf(out + n, PATH_MAX - n, "%s%s", n > 1 ? "/" : "", name) < PATH_MAX - n
		   ? 0
		   : err_set(e, ENAMETOOLONG, "%s: the path is too long", path);
}

int
tool_parent_names(
    struct tool *t, const char *child, const char *parent, struct parent_names *n, struct err *e)
{
	char here[PATH_MAX], there[PATH_MAX];
	int rc = real_of_new(child, here, e);

	if (rc < 0)
		return rc;
	if (!realpath(parent, there))
		return err_sys(e, "%s", parent);
	rc = parent_path_relative(here, there, n->relative);
	if (rc == 0 && parent_path_windows(there, &t->search, n->absolute) < 0)
		snprintf(n->absolute, sizeof(n->absolute), "%s", there);
	return rc < 0 ? err_set(e, -rc, "%s: the path is too long", parent) : 0;
}

static int
fits32(uint64_t v, const char *what, uint32_t *out, struct err *e)
{
	if (v > UINT32_MAX)
		return err_set(e, EINVAL, "--%s: %llu is too much", what, (unsigned long long)v);
	*out = (uint32_t)v;
	return 0;
}

int
tool_new(struct tool *t, const char *path, struct disk_new *n, struct err *e)
{
	static uint8_t id[GUID_BYTES];
	int rc = value_new_format(t->o.to, path, &n->format, e);

	n->path = path;
	n->replace = t->o.force;
	n->create.sparse_fixed = t->o.sparse || (n->format == DISK_RAW && !t->o.full);
	if (rc == 0 && t->o.sparse && t->o.full)
		rc = err_set(e, EINVAL, "--sparse and --full exclude each other");
	if (rc == 0)
		rc = value_type(t->o.type, n->format, &n->create.type, e);
	if (rc == 0)
		rc = fits32(t->o.block_size, "block-size", &n->create.block_size, e);
	if (rc == 0)
		rc = fits32(t->o.sector, "sector", &n->create.logical, e);
	if (rc == 0)
		rc = fits32(t->o.physical, "physical", &n->create.physical, e);
	if (rc == 0 && t->o.id)
		rc = value_guid(t->o.id, id, e);
	if (t->o.id)
		n->create.id = id;
	return rc;
}
