/* agent/vhd_calls.c - vhd.create, vhd.convert, vhd.import, vhd.resize, vhd.optimize. */
#include "agent/vhd_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/disk_work.h"

const char *const vhd_sources[] = { "VMDK", "QCOW2", "VDI", NULL };

static int
no_memory(struct fault *f)
{
	return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
}

static int
done(struct vhd_work *w, const char *path, const char *change)
{
	vhd_tell(w, path, change);
	return json_object_set_new(w->result, "path", json_string(path)) < 0 ? no_memory(w->f) : 0;
}

/* --- create --------------------------------------------------------------------------------------------- */

static int
take_parent(struct vhd_work *w, struct image_chain **parent)
{
	char path[VM_DISK_PATH_SIZE];
	int rc = vhd_take_path(w, "parent", w->p->parent, path);

	if (rc == 0)
		rc = vhd_is_free(w, path, USE_READ);
	return rc < 0 ? rc : image_chain_read(parent, w->c->agent, &w->at, path, w->format, w->f);
}

static int
check_kind(const struct vhd_work *w)
{
	bool child = call_has(w->c, "parent"), differencing = w->p->type == IMAGE_DIFFERENCING;

	if (differencing && !child)
		return fault_set(w->f, FAULT_BAD_PARAMS, "parent", NULL,
		    "a differencing image is made on a parent: say which");
	if (child && call_has(w->c, "type") && !differencing)
		return fault_set(
		    w->f, FAULT_BAD_PARAMS, "type", NULL, "an image with a parent is a differencing one");
	if (child && w->format == VM_RAW)
		return fault_set(
		    w->f, FAULT_BAD_PARAMS, "format", NULL, "only VHD and VHDX images have parents");
	if (!child && !w->p->size)
		return fault_set(w->f, FAULT_BAD_PARAMS, "size", NULL, "how large is it to be?");
	return 0;
}

static int
create(struct vhd_work *w, struct image_chain *parent)
{
	const struct vhd_params *p = w->p;
	const struct image_plan plan = { .path = w->path,
		.format = w->format,
		.type = parent ? IMAGE_DIFFERENCING : p->type,
		.size = p->size,
		.block_size = p->block_size,
		.sector = p->sector,
		.physical = p->physical,
		.parent = parent };
	char size[32];
	int rc;

	if (call_would(w->c, "make the %s image %s of %s",
		w->format == VM_RAW ? "raw" : vm_disk_formats[w->format], w->path,
		disk_work_size_text(p->size  ? p->size
				    : parent ? parent->size
					     : 0,
		    size)))
		return 0;
	rc = image_make(w->c->agent, &w->at, &plan, w->c->job, w->f);
	return rc < 0 ? rc : done(w, w->path, "created");
}

int
vhd_call_create(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct image_chain *parent = NULL;
	struct vhd_work w;
	int rc = vhd_begin(&w, c, params, result, f);

	if (rc == 0)
		rc = vhd_is_new(&w, "path", w.path);
	if (rc == 0)
		rc = check_kind(&w);
	if (rc == 0 && call_has(c, "parent"))
		rc = take_parent(&w, &parent);
	if (rc == 0)
		rc = create(&w, parent);
	image_chain_free(parent);
	return rc;
}

/* --- convert, import ------------------------------------------------------------------------------------ */

static void
add_number(struct disk_tool *t, const char *option, uint64_t n)
{
	if (n)
		disk_tool_add(t, "--%s=%llu", option, (unsigned long long)n);
}

/* What the new image is to be, and the two names. */
static void
add_new(const struct vhd_work *w, struct disk_tool *t, const char *to, enum vm_disk_format format)
{
	static const char *const words[] = { "fixed", "dynamic" };
	char whole[PATH_MAX], folder[PATH_MAX];

	image_whole_path(&w->at, to, whole);
	image_folder(&w->at, to, folder);
	disk_tool_add(t, "-t%s", image_format_word(format));
	if (format != VM_RAW)
		disk_tool_add(t, "--type=%s", words[w->p->type]);
	else if (w->p->type == IMAGE_FIXED && call_has(w->c, "type"))
		disk_tool_add(t, "--full");
	add_number(t, "block-size", w->p->block_size);
	disk_tool_write(t, folder);
	disk_tool_add(t, "%s", w->whole);
	disk_tool_add(t, "%s", whole);
}

static int
take_destination(struct vhd_work *w, char to[VM_DISK_PATH_SIZE], enum vm_disk_format *format)
{
	int rc = vhd_take_path(w, "destination", w->p->destination, to);

	*format = call_has(w->c, "destinationFormat") ? w->p->to_format : image_format_of(to);
	if (rc == 0)
		rc = vhd_is_new(w, "destination", to);
	if (rc == 0 && w->p->type == IMAGE_DIFFERENCING)
		rc = fault_set(w->f, FAULT_BAD_PARAMS, "type", "vhd.create with parent makes one",
		    "a copy is a whole image, never a differencing one");
	return rc;
}

static int
convert(struct vhd_work *w, const struct image_chain *chain, const char *to, enum vm_disk_format format)
{
	struct disk_tool t;
	char size[32];
	int rc;

	if (call_would(w->c, "copy %s, with %s for its guest, to %s as %s", w->path,
		disk_work_size_text(chain->size, size), to, vm_disk_formats[format]))
		return 0;
	rc = image_make_folder(&w->at, to, w->f);
	if (rc < 0)
		return rc;
	disk_tool_begin(&t, w->c->agent, "convert");
	disk_tool_add(&t, "-f%s", image_format_word(w->format));
	image_chain_allow(&t, &w->at, chain, 0);
	add_new(w, &t, to, format);
	rc = disk_tool_run(&t, w->c->job, NULL, w->f);
	return rc < 0 ? rc : done(w, to, "created");
}

int
vhd_call_convert(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct image_chain *chain = NULL;
	char to[VM_DISK_PATH_SIZE];
	enum vm_disk_format format = VM_RAW;
	struct vhd_work w;
	int rc = vhd_begin(&w, c, params, result, f);

	if (rc == 0)
		rc = take_destination(&w, to, &format);
	if (rc == 0)
		rc = vhd_is_free(&w, w.path, USE_READ);
	if (rc == 0)
		rc = image_chain_read(&chain, c->agent, &w.at, w.path, w.format, f);
	if (rc == 0)
		rc = convert(&w, chain, to, format);
	image_chain_free(chain);
	return rc;
}

int
vhd_call_import(struct call *c, const void *params, json_t *result, struct fault *f)
{
	static const char *const words[] = { "vmdk", "qcow2", "vdi" };
	char to[VM_DISK_PATH_SIZE];
	enum vm_disk_format format = VM_RAW;
	struct disk_tool t;
	struct vhd_work w;
	int rc = vhd_begin(&w, c, params, result, f);

	if (rc == 0)
		rc = take_destination(&w, to, &format);
	if (rc == 0)
		rc = vhd_is_free(&w, w.path, USE_READ);
	if (rc < 0 || call_would(c, "copy the %s image %s to %s as %s", vhd_sources[w.p->source], w.path, to,
			  vm_disk_formats[format]))
		return rc;
	rc = image_make_folder(&w.at, to, f);
	if (rc < 0)
		return rc;
	disk_tool_begin(&t, c->agent, "import");
	disk_tool_add(&t, "-f%s", words[w.p->source]);
	add_new(&w, &t, to, format);
	rc = disk_tool_run(&t, c->job, NULL, f);
	return rc < 0 ? rc : done(&w, to, "created");
}

/* --- resize, optimize ----------------------------------------------------------------------------------- */

/* An image that shall be changed as a whole: ours to change, nobody's just now. */
static int
begin_change(struct vhd_work *w, struct call *c, const void *params, json_t *result, struct fault *f)
{
	int rc = vhd_begin(w, c, params, result, f);

	if (rc == 0)
		rc = vhd_may_write(w, "path", w->path);
	return rc < 0 ? rc : vhd_is_free(w, w->path, USE_WRITE);
}

int
vhd_call_resize(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct vhd_work w;
	struct disk_tool t;
	char size[32];
	int rc = begin_change(&w, c, params, result, f);

	if (rc == 0)
		rc = vhd_no_children(&w, w.path, NULL, "resized");
	if (rc < 0 || call_would(c, "resize %s to %s", w.path, disk_work_size_text(w.p->size, size)))
		return rc;
	vhd_tool(&w, &t, "resize");
	disk_tool_add(&t, "%llu", (unsigned long long)w.p->size);
	rc = disk_tool_run(&t, c->job, NULL, f);
	return rc < 0 ? rc : done(&w, w.path, "changed");
}

int
vhd_call_optimize(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct vhd_work w;
	struct disk_tool t;
	int rc = begin_change(&w, c, params, result, f);

	if (rc < 0 || call_would(c, "make the file of %s shorter where it can be", w.path))
		return rc;
	vhd_tool(&w, &t, "compact");
	rc = disk_tool_run(&t, c->job, NULL, f);
	return rc < 0 ? rc : done(&w, w.path, "changed");
}
