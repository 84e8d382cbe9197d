/* hypervisor/disk_tool/cmd_change.c - fh-disk resize, compact, set-id: one image changed as a whole. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "hypervisor/disk_tool/tool.h"

typedef int change(struct tool *t, struct tool_file *f, struct err *e);

static int
with_file(struct tool *t, change *fn, struct err *e)
{
	struct tool_file f;
	int rc = tool_file(&f, t, t->arg[0], true, e);

	if (rc < 0)
		return rc;
	rc = fn(t, &f, e);
	tool_file_close(&f);
	return rc < 0 ? err_wrap(e, rc, "%s", t->arg[0]) : rc;
}

static int
cannot(const struct tool_file *f, const char *what, struct err *e)
{
	return err_set(e, ENOTSUP, "%s images cannot be %s", f->format->name, what);
}

/* --- resize -------------------------------------------------------------------------------------------- */

static int
resize(struct tool *t, struct tool_file *f, struct err *e)
{
	uint64_t size;
	int rc = value_size(t->arg[1], &size, "SIZE", e);

	if (rc < 0)
		return rc;
	return f->format->resize ? f->format->resize(f->file, size, &t->progress, e)
				 : cannot(f, "resized", e);
}

int
cmd_resize(struct tool *t, struct err *e)
{
	return with_file(t, resize, e);
}

/* --- compact ------------------------------------------------------------------------------------------- */

static int
compact(struct tool *t, struct tool_file *f, struct err *e)
{
	return f->format->compact ? f->format->compact(f->file, &t->progress, e) : cannot(f, "compacted", e);
}

int
cmd_compact(struct tool *t, struct err *e)
{
	return with_file(t, compact, e);
}

/* --- set-id -------------------------------------------------------------------------------------------- */

static int
set_id(struct tool *t, struct tool_file *f, struct err *e)
{
	uint8_t id[GUID_BYTES];
	int rc = 0;

	if (t->o.id)
		rc = value_guid(t->o.id, id, e);
	else if (t->o.new_id && getrandom(id, sizeof(id), 0) != sizeof(id))
		rc = err_sys(e, "a random identity");
	if (rc < 0)
		return rc;
	if (t->o.new_id) {
		id[6] = (uint8_t)((id[6] & 0x0f) | 0x40); /* RFC 4122: version 4, of random bits */
		id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
	}
	if (t->o.physical && t->o.physical != 512 && t->o.physical != 4096)
		return err_set(e, EINVAL, "physical sectors have 512 or 4096 bytes");
	if (!f->format->set)
		return cannot(f, "given an identity", e);
	return f->format->set(f->file, t->o.id || t->o.new_id ? id : NULL, (uint32_t)t->o.physical, e);
}

int
cmd_set_id(struct tool *t, struct err *e)
{
	if (!t->o.id == !t->o.new_id && (t->o.id || !t->o.physical))
		return err_set(e, EINVAL, "set-id needs one of --id and --new-id, or --physical");
	return with_file(t, set_id, e);
}
