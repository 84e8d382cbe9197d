/* hypervisor/disk_tool/cmd_import.c - fh-disk import: what other programs write. */
#include "hypervisor/disk/import.h"

#include <errno.h>

#include "hypervisor/disk_tool/tool.h"

int
cmd_import(struct tool *t, struct err *e)
{
	struct io_loop *loop = tool_loop(t, e);
	struct disk_new n = { 0 };
	int rc = loop ? tool_new(t, t->arg[1], &n, e) : -EIO;

	if (rc < 0)
		return rc;
	if (!t->o.format)
		return err_set(
		    e, EINVAL, "import needs -f vmdk, qcow2 or vdi: an image's format is not guessed");
	if (n.create.type == DISK_DIFFERENCING)
		return err_set(e, EINVAL, "import makes whole images");
	return disk_import(t->arg[0], t->o.format, &n, loop, &t->progress, e);
}
