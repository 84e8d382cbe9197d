/* hypervisor/disk_tool/cmd_chain.c - fh-disk merge, relink: children and parents. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/disk/merge.h"
#include "hypervisor/disk_tool/tool.h"
#include "lib/file.h"

/* --- merge --------------------------------------------------------------------------------------------- */

static int
levels(const struct tool *t, const struct disk_chain *c, unsigned *into, struct err *e)
{
	uint64_t n = 1;
	int rc = 0;

	if (t->o.levels && strcmp(t->o.levels, "all") == 0)
		n = c->n - 1;
	else if (t->o.levels)
		rc = value_size(t->o.levels, &n, "--levels", e);
	if (rc == 0 && c->n == 1)
		rc = err_set(e, EINVAL, "%s is no differencing image: there is nothing to merge it into",
		    c->link[0]->path);
	else if (rc == 0 && (n == 0 || n >= c->n))
		rc = err_set(e, EINVAL, "%s: --levels is from 1 to %u here", c->link[0]->path, c->n - 1);
	*into = (unsigned)n;
	return rc;
}

/* What is made on the uppermost of them goes on to show the same, as long as that is there; what is made on
 * the others does not. Who names a root (the host's agent) knows all images by itself, and lets us see no
 * others. */
static int
check_children(const struct tool *t, const struct disk_chain *c, unsigned into, struct err *e)
{
	return t->o.force || t->search.root ? 0 : children_none(t, c, t->o.remove ? 0 : 1, into, e);
}

/* What was merged, the uppermost first: what is left after a failure still has its parents. */
static int
delete_merged(const struct disk_chain *c, unsigned into, struct err *e)
{
	for (unsigned i = 0; i < into; i++) {
		int rc = file_remove(c->link[i]->path, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int
cmd_merge(struct tool *t, struct err *e)
{
	const struct disk_chain_how how = { .write = true };
	struct io_loop *loop = tool_loop(t, e);
	struct disk_chain *c = NULL;
	unsigned into;
	int rc;

	if (!loop)
		return -e->code;
	if (t->o.remove && t->search.root)
		return err_set(e, EINVAL, "--delete cannot be used together with --root");
	rc = tool_chain(&c, t, t->arg[0], &how, e);
	if (rc < 0)
		return rc;
	rc = levels(t, c, &into, e);
	if (rc == 0)
		rc = check_children(t, c, into, e);
	if (rc == 0)
		rc = disk_merge(c, into, loop, &t->progress, e);
	if (rc == 0 && t->o.remove)
		rc = delete_merged(c, into, e);
	disk_chain_free(c);
	return rc;
}

/* --- relink -------------------------------------------------------------------------------------------- */

/* The parent with all of its own: none of them may be the image itself. */
static int
check_parent(const struct tool_file *f, const struct disk_chain *p, bool force, struct err *e)
{
	const struct disk_link *child = f->chain->link[0];
	int rc;

	if (child->info.type != DISK_DIFFERENCING)
		return err_set(e, EINVAL, "it is no differencing image: it has no parent");
	for (unsigned i = 0; i < p->n; i++)
		if (p->link[i]->st.st_dev == child->st.st_dev && p->link[i]->st.st_ino == child->st.st_ino)
			return err_set(e, ELOOP, "%s is made on this image itself", p->link[0]->path);
	rc = disk_parent_fits(&child->info, &p->link[0]->info, e);
	if (rc == -ESTALE && force)
		return 0;
	return rc == -ESTALE
		   ? err_set(e, ESTALE,
			 "%s is not the image that this one was made on, or has changed since; --force takes "
			 "it as it is",
			 p->link[0]->path)
		   : rc;
}

static int
relink(struct tool *t, struct tool_file *f, const struct disk_chain *p, struct err *e)
{
	struct parent_names names;
	int rc = check_parent(f, p, t->o.force, e);

	if (rc == 0)
		rc = disk_chain_sync(p, 0, e);
	if (rc == 0)
		rc = tool_parent_names(t, t->arg[0], t->o.parent, &names, e);
	if (rc < 0)
		return rc;
	if (!f->format->relink)
		return err_set(e, ENOTSUP, "%s images have no parents", f->format->name);
	return f->format->relink(f->file, t->o.force ? &p->link[0]->info : NULL, names.relative,
	    t->o.absolute ? names.absolute : NULL, e);
}

int
cmd_relink(struct tool *t, struct err *e)
{
	const struct disk_chain_how how = { .look =
						true }; /* the image itself may be in it, and locked by us */
	struct disk_chain *p = NULL;
	struct tool_file f;
	int rc;

	if (!t->o.parent)
		return err_set(e, EINVAL, "relink needs --parent");
	rc = tool_file(&f, t, t->arg[0], true, e);
	if (rc < 0)
		return rc;
	rc = tool_chain(&p, t, t->o.parent, &how, e);
	if (rc == 0) {
		rc = relink(t, &f, p, e);
		disk_chain_free(p);
	}
	tool_file_close(&f);
	return rc < 0 ? err_wrap(e, rc, "%s", t->arg[0]) : 0;
}
