/* agent/vhd_chain.c - vhd.set and vhd.merge: what images are made on, and what becomes of that. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/vhd_calls.h"
#include "lib/file.h"
#include "lib/text.h"

static size_t
paths_of(const struct image_chain *c, size_t from, const char *path[1 + VM_CHAIN_MAX])
{
	size_t n = 0;

	for (size_t i = from; i < c->n; i++)
		path[n++] = c->path[i];
	return n;
}

/* --- set ------------------------------------------------------------------------------------------------ */

static int
relink(struct vhd_work *w, const struct image_chain *parent)
{
	const char *path[2 + VM_CHAIN_MAX];
	char whole[PATH_MAX];
	struct disk_tool t;
	int rc;

	image_whole_path(&w->at, parent->path[0], whole);
	vhd_tool(w, &t, "relink");
	disk_tool_add(&t, "--parent=%s", whole);
	if (w->p->force)
		disk_tool_add(&t, "--force");
	image_chain_allow(&t, &w->at, parent, 0);
	rc = disk_tool_run(&t, NULL, NULL, w->f);
	if (rc < 0)
		return rc;
	path[0] = w->path;
	rc = (int)paths_of(parent, 0, path + 1);
	return vhd_move_disks(w, w->path, w->format, path, 1 + (size_t)rc);
}

static int
set_id(struct vhd_work *w)
{
	char id[GUID_TEXT + 1];
	struct disk_tool t;

	vhd_tool(w, &t, "set-id");
	if (call_has(w->c, "id")) {
		guid_format(w->p->id, id);
		disk_tool_add(&t, "--id=%s", id);
	} else if (w->p->new_id) {
		disk_tool_add(&t, "--new-id");
	}
	if (w->p->physical)
		disk_tool_add(&t, "--physical=%llu", (unsigned long long)w->p->physical);
	return disk_tool_run(&t, NULL, NULL, w->f);
}

static int
take_parent(struct vhd_work *w, struct image_chain **parent)
{
	char path[VM_DISK_PATH_SIZE];
	int rc = vhd_take_path(w, "parent", w->p->parent, path);

	if (rc == 0 && strcmp(path, w->path) == 0)
		rc = fault_set(w->f, FAULT_BAD_PARAMS, "parent", NULL, "%s cannot be its own parent", path);
	if (rc == 0)
		rc = vhd_is_free(w, path, USE_LOOK);
	return rc < 0 ? rc : image_chain_read(parent, w->c->agent, &w->at, path, w->format, w->f);
}

static int
set(struct vhd_work *w, const struct image_chain *parent)
{
	bool id = call_has(w->c, "id") || w->p->new_id || w->p->physical;
	int rc = 0;

	if (!parent && !id)
		return json_object_set_new(w->result, "changed", json_false());
	if (id)
		rc = vhd_no_children(w, w->path, NULL, "given another identity");
	if (rc < 0)
		return rc;
	if (parent && call_would(w->c, "say in %s that its parent is %s", w->path, parent->path[0]))
		(void)parent;
	if (id && call_would(w->c, "set the identity or sector size of %s", w->path))
		return 0;
	if (w->c->dry_run)
		return 0;
	if (parent)
		rc = relink(w, parent);
	if (rc == 0 && id)
		rc = set_id(w);
	if (rc == 0)
		vhd_tell(w, w->path, "changed");
	return rc;
}

int
vhd_call_set(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct image_chain *parent = NULL;
	struct vhd_work w;
	int rc = vhd_begin(&w, c, params, result, f);

	if (rc == 0)
		rc = vhd_may_write(&w, "path", w.path);
	if (rc == 0)
		rc = vhd_is_free(&w, w.path, USE_WRITE);
	if (rc == 0 && w.format == VM_RAW)
		rc = fault_set(
		    f, FAULT_BAD_PARAMS, "path", NULL, "%s is raw: nothing can be set in it", w.path);
	if (rc == 0 && call_has(c, "parent"))
		rc = take_parent(&w, &parent);
	if (rc == 0)
		rc = set(&w, parent);
	image_chain_free(parent);
	return rc;
}

/* --- merge ---------------------------------------------------------------------------------------------- */

/* All that is written is ours to write, used by nobody, and nobody else's parent. */
static int
check_merge(const struct vhd_work *w, const struct image_chain *c, size_t into)
{
	int rc = 0;

	if (c->n == 1)
		return fault_set(w->f, FAULT_BAD_PARAMS, "path", NULL,
		    "%s is no differencing image: there is nothing to merge it into", w->path);
	if (into >= c->n)
		return fault_set(w->f, FAULT_BAD_PARAMS, "levels", NULL, "%s has only %zu images below it",
		    w->path, c->n - 1);
	rc = vhd_no_children(w, c->path[0], NULL, "merged");
	for (size_t i = 0; rc == 0 && i <= into; i++) {
		rc = vhd_may_write(w, "path", c->path[i]);
		if (rc == 0 && i > 0)
			rc = vhd_no_children(w, c->path[i], w->path, "merged into");
		if (rc == 0)
			rc = vhd_is_free(w, c->path[i], USE_WRITE);
	}
	return rc;
}

/* The uppermost first: what is left after a failure still has its parents. */
static int
delete_merged(const struct vhd_work *w, const struct image_chain *c, size_t into)
{
	for (size_t i = 0; i < into; i++) {
		char whole[PATH_MAX];
		struct err e = { 0 };

		image_whole_path(&w->at, c->path[i], whole);
		if (file_remove(whole, &e) < 0)
			return fault_set(w->f, FAULT_STORAGE, "delete", NULL,
			    "it is merged, but %s is not deleted: %s", c->path[i], e.msg);
		vhd_tell(w, c->path[i], "deleted");
	}
	return 0;
}

static int
merge(struct vhd_work *w, const struct image_chain *c, size_t into)
{
	const char *path[1 + VM_CHAIN_MAX];
	char whole[PATH_MAX];
	struct disk_tool t;
	int rc;

	disk_tool_begin(&t, w->c->agent, "merge");
	disk_tool_add(&t, "-f%s", image_format_word(w->format));
	disk_tool_add(&t, "--levels=%zu", into);
	disk_tool_add(&t, "--force"); /* check_merge() has looked for others: in walls, no folder is seen */
	for (size_t i = 0; i <= into; i++) {
		image_whole_path(&w->at, c->path[i], whole);
		disk_tool_write(&t, whole);
	}
	image_chain_allow(&t, &w->at, c, into + 1);
	disk_tool_add(&t, "%s", w->whole);
	rc = disk_tool_run(&t, w->c->job, NULL, w->f);
	if (rc == 0)
		rc = vhd_move_disks(w, w->path, w->format, path, paths_of(c, into, path));
	if (rc == 0 && w->p->remove)
		rc = delete_merged(w, c, into);
	if (rc < 0)
		return rc;
	vhd_tell(w, c->path[into], "changed");
	json_object_set_new(w->result, "path", json_string(c->path[into]));
	return 0;
}

int
vhd_merge(struct vhd_work *w)
{
	struct image_chain *chain = NULL;
	int rc = vhd_is_free(w, w->path, USE_WRITE);

	if (rc < 0 && w->f->code == FAULT_DISK_IN_USE)
		text_copy(w->f->hint, sizeof(w->f->hint), "disk.merge does it while the machine runs");
	if (rc == 0)
		rc = image_chain_read(&chain, w->c->agent, &w->at, w->path, w->format, w->f);
	if (rc == 0)
		rc = check_merge(w, chain, w->p->levels);
	if (rc == 0 && call_would(w->c, "put what %s holds into %s", w->path, chain->path[w->p->levels])) {
		if (w->p->remove)
			call_would(w->c, "delete %s", w->path);
	} else if (rc == 0) {
		rc = merge(w, chain, w->p->levels);
	}
	image_chain_free(chain);
	return rc;
}

int
vhd_call_merge(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct vhd_work w;
	int rc = vhd_begin(&w, c, params, result, f);

	return rc < 0 ? rc : vhd_merge(&w);
}
