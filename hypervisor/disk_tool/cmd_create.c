/* hypervisor/disk_tool/cmd_create.c - fh-disk create, convert: new images. */
#include <errno.h>
#include <string.h>

#include "hypervisor/disk_tool/tool.h"

/* --- create -------------------------------------------------------------------------------------------- */

static int
make_child(struct tool *t, struct disk_new *n, struct err *e)
{
	const struct disk_chain_how how = { .look = t->o.parent_in_use };
	static struct parent_names names; /* n refers to it */
	struct disk_chain *c = NULL;
	int rc;

	n->create.type = DISK_DIFFERENCING;
	t->o.format = t->o.parent_format;
	rc = tool_parent_names(t, n->path, t->o.parent, &names, e);
	if (rc == 0)
		rc = tool_chain(&c, t, t->o.parent, &how, e);
	if (rc < 0 || !c)
		return rc;
	n->create.parent = &c->link[0]->info;
	n->create.parent_relative = names.relative;
	n->create.parent_absolute = t->o.absolute ? names.absolute : NULL;
	if (!t->o.to && strcmp(disk_formats[n->format]->name, "Raw") == 0)
		n->format = c->link[0]->info.format;
	if (c->link[0]->info.format != n->format)
		rc = err_set(e, EINVAL, "%s is %s: what is made on it has the same format", t->o.parent,
		    disk_formats[c->link[0]->info.format]->name);
	else
		rc = disk_chain_sync(c, 0, e);
	if (rc == 0)
		rc = disk_make(n, &t->progress, e);
	disk_chain_free(c);
	return rc;
}

int
cmd_create(struct tool *t, struct err *e)
{
	struct disk_new n = { 0 };
	int rc;

	if (!t->o.to)
		t->o.to = t->o.format;
	rc = tool_new(t, t->arg[0], &n, e);
	if (rc == 0 && t->args == 2)
		rc = value_size(t->arg[1], &n.create.size, "SIZE", e);
	if (rc < 0)
		return rc;
	if (t->o.parent && t->o.type && n.create.type != DISK_DIFFERENCING)
		return err_set(e, EINVAL, "a %s image has no parent", type_names[n.create.type]);
	if (t->o.parent_in_use && !t->o.parent)
		return err_set(e, EINVAL, "--parent-in-use: there is no --parent");
	if (t->o.parent)
		return make_child(t, &n, e);
	if (n.create.type == DISK_DIFFERENCING)
		return err_set(e, EINVAL, "a differencing image needs --parent");
	if (t->args < 2)
		return err_set(e, EINVAL, "%s: a size is missing, like 10G", t->arg[0]);
	return disk_make(&n, &t->progress, e);
}

/* --- convert ------------------------------------------------------------------------------------------- */

/* A raw file's last bytes that are no whole sector would be lost. */
static int
check_whole(const struct disk_chain *c, uint32_t sector, struct err *e)
{
	const struct disk_info *i = &c->link[0]->info;

	if (i->format == DISK_RAW && i->file_size % sector)
		return err_set(e, EINVAL,
		    "%s: its length of %llu bytes is no multiple of %u; 'truncate -s %%%u' makes it one",
		    c->link[0]->path, (unsigned long long)i->file_size, sector, sector);
	return 0;
}

int
cmd_convert(struct tool *t, struct err *e)
{
	struct disk_new n = { 0 };
	struct disk_chain *c = NULL;
	struct disk *d = NULL;
	int rc = tool_new(t, t->arg[1], &n, e);

	if (rc == 0 && n.create.type == DISK_DIFFERENCING)
		rc = err_set(
		    e, EINVAL, "convert makes whole images; create --parent makes differencing ones");
	if (rc == 0)
		rc = tool_disk(&d, &c, t, t->arg[0], false, e);
	if (rc < 0 || !d || !c)
		return rc;
	rc = check_whole(c, n.create.logical ? n.create.logical : d->logical, e);
	if (rc == 0)
		rc = disk_copy_new(d, &n, &t->progress, e);
	disk_free(d);
	disk_chain_free(c);
	return rc;
}
