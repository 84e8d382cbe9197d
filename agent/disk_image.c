/* agent/disk_image.c - images of machines: their names, chains and making, through fh-disk. */
#include "agent/disk_image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/text.h"

const char *const image_types[] = { "Fixed", "Dynamic", "Differencing", NULL };

/* --- names -------------------------------------------------------------------------------------------- */

enum vm_disk_format
image_format_of(const char *path)
{
	static const struct {
		const char *end;
		enum vm_disk_format format;
	} ends[] = { { ".vhd", VM_VHD }, { ".avhd", VM_VHD }, { ".vhdx", VM_VHDX }, { ".avhdx", VM_VHDX } };
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && i < sizeof(ends) / sizeof(ends[0]); i++)
		if (strcasecmp(dot, ends[i].end) == 0)
			return ends[i].format;
	return VM_RAW;
}

const char *
image_format_word(enum vm_disk_format format)
{
	return format == VM_VHDX ? "vhdx" : format == VM_VHD ? "vhd" : "raw";
}

static void
own_folder(const struct disk_place *at, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/vms/%s/disks", at->data, at->name);
}

void
image_whole_path(const struct disk_place *at, const char *path, char out[PATH_MAX])
{
	if (path[0] == '.')
		snprintf(out, PATH_MAX, "%s/vms/%s/%s", at->data, at->name, path + 2);
	else
		snprintf(out, PATH_MAX, "%s/%s", at->data, path);
}

void
image_folder(const struct disk_place *at, const char *path, char out[PATH_MAX])
{
	char *slash;

	image_whole_path(at, path, out);
	slash = strrchr(out, '/');
	if (slash)
		*slash = '\0';
}

/* A whole path as the tool gives it, in its short form: it is a stranger's. */
static int
short_form(const struct disk_place *at, const char *whole, char out[VM_DISK_PATH_SIZE], struct fault *f)
{
	char real[PATH_MAX], data[PATH_MAX], own[PATH_MAX];
	struct disk_place here = { data, at->name };
	struct err e = { 0 };
	int rc = -EINVAL;

	if (!realpath(whole, real) || !realpath(at->data, data))
		return fault_set(f, FAULT_FILE_BAD, "path", NULL, "%.100s: %s", whole, strerror(errno));
	own_folder(&here, own);
	if (strncmp(real, data, strlen(data)) == 0 && real[strlen(data)] == '/' &&
	    (at->name[0] || strncmp(real, own, strlen(own)) != 0))
		rc = disk_file_tidy(&here, real, out, VM_DISK_PATH_SIZE, &e);
	if (rc == 0)
		return 0;
	return fault_set(f, FAULT_FILE_BAD, "path", "copy it to images, then relink it: vhd.set",
	    "a parent, %.100s, is neither in the machine's folder nor in images", real);
}

/* --- chains ------------------------------------------------------------------------------------------- */

static const char *const tool_types[] = { "fixed", "dynamic", "differencing", NULL };

static unsigned
index_in(const char *const *names, const json_t *text)
{
	const char *s = json_string_value(text);
	unsigned i = 0;

	while (names[i] && (!s || strcasecmp(names[i], s) != 0))
		i++;
	return i;
}

static int
take_first(struct image_chain *c, const json_t *o, struct fault *f)
{
	json_int_t size = json_integer_value(json_object_get(o, "size")),
		   sector = json_integer_value(json_object_get(o, "logicalSectorSize"));
	unsigned type = index_in(tool_types, json_object_get(o, "type"));

	if (!tool_types[type] || size < 0 || (sector != 512 && sector != 4096))
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "fh-disk's answer about an image is no such");
	c->type = (enum image_type)type;
	c->size = (uint64_t)size;
	c->sector = (uint64_t)sector;
	return 0;
}

static int
take_chain(struct image_chain *c, const struct disk_place *at, struct fault *f)
{
	size_t n = json_array_size(c->info);
	int rc = n > 0 && n <= 1 + VM_CHAIN_MAX
		     ? take_first(c, json_array_get(c->info, 0), f)
		     : fault_set(f, FAULT_INTERNAL, NULL, NULL, "fh-disk's answer about an image is no such");

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const char *file = json_string_value(json_object_get(json_array_get(c->info, i), "file"));

		if (i > 0)
			rc = short_form(at, file ? file : "", c->path[i], f);
		if (rc == 0)
			c->n = i + 1;
	}
	return rc;
}

/* Where images of this place may lie. */
static void
allow_places(struct disk_tool *t, const struct disk_place *at)
{
	char folder[PATH_MAX];

	snprintf(folder, sizeof(folder), "%s/images", at->data);
	disk_tool_read(t, folder);
	disk_tool_add(t, "--search");
	disk_tool_add(t, "%s", folder);
	own_folder(at, folder);
	if (at->name[0] && access(folder, F_OK) == 0)
		disk_tool_read(t, folder);
}

int
image_chain_read(struct image_chain **out, const struct agent *a, const struct disk_place *at,
    const char *path, enum vm_disk_format format, struct fault *f)
{
	struct image_chain *c = calloc(1, sizeof(*c));
	struct disk_tool *t = malloc(sizeof(*t));
	char whole[PATH_MAX];
	int rc = c && t ? 0 : fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");

	if (rc == 0 && c && t) {
		c->format = format;
		text_copy(c->path[0], sizeof(c->path[0]), path);
		image_whole_path(at, path, whole);
		disk_tool_begin(t, a, "info");
		disk_tool_add(t, "--json");
		disk_tool_add(t, "--chain");
		disk_tool_add(t, "-f%s", image_format_word(format));
		allow_places(t, at);
		disk_tool_add(t, "%s", whole);
		rc = disk_tool_run(t, NULL, &c->info, f);
	}
	free(t);
	if (rc == 0 && c)
		rc = take_chain(c, at, f);
	if (rc < 0) {
		image_chain_free(c);
		c = NULL;
	}
	*out = c;
	return rc;
}

void
image_chain_free(struct image_chain *c)
{
	if (c)
		json_decref(c->info);
	free(c);
}

void
image_chain_allow(struct disk_tool *t, const struct disk_place *at, const struct image_chain *c, size_t skip)
{
	char whole[PATH_MAX];

	for (size_t i = skip; i < c->n; i++) {
		image_whole_path(at, c->path[i], whole);
		disk_tool_read(t, whole);
	}
}

/* --- making ------------------------------------------------------------------------------------------- */

static void
add_size(struct disk_tool *t, const char *option, uint64_t bytes)
{
	if (!bytes)
		return;
	disk_tool_add(t, "--%s", option);
	disk_tool_add(t, "%llu", (unsigned long long)bytes);
}

static void
add_parent(struct disk_tool *t, const struct disk_place *at, const struct image_chain *parent)
{
	char whole[PATH_MAX];

	image_whole_path(at, parent->path[0], whole);
	disk_tool_add(t, "--parent");
	disk_tool_add(t, "%s", whole);
	disk_tool_add(t, "--parent-format");
	disk_tool_add(t, "%s", image_format_word(parent->format));
	image_chain_allow(t, at, parent, 0);
}

int
image_make_folder(const struct disk_place *at, const char *path, struct fault *f)
{
	char folder[PATH_MAX];

	image_folder(at, path, folder);
	if (path[0] == '.' && mkdir(folder, 0750) < 0 && errno != EEXIST)
		return fault_set(f, FAULT_STORAGE, "path", NULL, "%s: %s", folder, strerror(errno));
	return 0;
}

int
image_make(const struct agent *a, const struct disk_place *at, const struct image_plan *plan, struct job *j,
    struct fault *f)
{
	static const char *const words[] = { "fixed", "dynamic", "differencing" };
	struct disk_tool *t = malloc(sizeof(*t));
	char whole[PATH_MAX], folder[PATH_MAX];
	int rc;

	if (!t)
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	image_whole_path(at, plan->path, whole);
	image_folder(at, plan->path, folder);
	rc = image_make_folder(at, plan->path, f);
	if (rc < 0) {
		free(t);
		return rc;
	}
	disk_tool_begin(t, a, "create");
	disk_tool_add(t, "-t%s", image_format_word(plan->format));
	if (plan->format != VM_RAW) {
		disk_tool_add(t, "--type");
		disk_tool_add(t, "%s", words[plan->type]);
	} else if (plan->type == IMAGE_FIXED) {
		disk_tool_add(t, "--full");
	}
	add_size(t, "block-size", plan->block_size);
	add_size(t, "sector", plan->format == VM_VHDX ? plan->sector : 0);
	add_size(t, "physical", plan->physical);
	if (plan->parent)
		add_parent(t, at, plan->parent);
	if (plan->parent_in_use)
		disk_tool_add(t, "--parent-in-use");
	disk_tool_write(t, folder);
	disk_tool_add(t, "%s", whole);
	if (plan->size)
		disk_tool_add(t, "%llu", (unsigned long long)plan->size);
	rc = disk_tool_run(t, j, NULL, f);
	free(t);
	return rc;
}
