/* agent/vhd_look.c - vhd.get, vhd.test and vhd.repair: what images say of themselves, and whether they are
 * whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/vhd_calls.h"
#include "lib/text.h"

enum { FINDINGS_MAX = 1000 };

/* --- get ------------------------------------------------------------------------------------------------ */

/* What fh-disk tells of an image, and what we tell of that. */
struct image_view {
	char file[PATH_MAX], path[VM_DISK_PATH_SIZE], creator[64];
	unsigned format, type;
	uint64_t size, file_size, allocated, block_size, logical, physical, created;
	uint8_t id[GUID_BYTES], data_id[GUID_BYTES], parent_id[GUID_BYTES], parent_id2[GUID_BYTES];
	bool dirty, saved_state;
	json_t *parent_paths;
};
struct get_result {
	size_t n;
	struct image_view image;
	char in_use[FAULT_HINT_SIZE];
};

static const char *const tool_types[] = { "fixed", "dynamic", "differencing", NULL };

/* clang-format off */
#define TEXT(s, m) .type = FIELD_STRING, FIELD_AT(s, m), .size = sizeof(((struct s *)0)->m), .max = sizeof(((struct s *)0)->m) - 1
#define NUMBER(n, m, h) { n, FIELD_UINT, FIELD_AT(image_view, m), .max = INT64_MAX, .unit = "bytes", .help = h }
#define ID(n, m, h)     { n, FIELD_GUID, FIELD_AT(image_view, m), .help = h }
#define BOTH \
	NUMBER("size", size, "Of the disk as guests see it."), \
	NUMBER("fileSize", file_size, "Of its file."), \
	NUMBER("allocated", allocated, "Of blocks that have a place in the file."), \
	NUMBER("blockSize", block_size, "Of a block; 0: it has none."), \
	NUMBER("logicalSectorSize", logical, "Of the sectors that guests see."), \
	NUMBER("physicalSectorSize", physical, "Of those that guests are told to write at once."), \
	ID("id", id, "The disk's identity as guests see it."), \
	{ "creator", TEXT(image_view, creator), .help = "The program that made it." }
static const struct field tool_fields[] = {
	{ "file", TEXT(image_view, file), .help = "." },
	{ "format", FIELD_ENUM, FIELD_AT(image_view, format), .names = vm_disk_formats, .required = true, .help = "." },
	{ "type", FIELD_ENUM, FIELD_AT(image_view, type), .names = tool_types, .required = true, .help = "." },
	BOTH,
	ID("dataId", data_id, "."),
	{ "created", FIELD_UINT, FIELD_AT(image_view, created), .max = INT64_MAX, .help = "." },
	{ "dirty", FIELD_BOOL, FIELD_AT(image_view, dirty), .help = "." },
	{ "savedState", FIELD_BOOL, FIELD_AT(image_view, saved_state), .help = "." },
	ID("parentId", parent_id, "."),
	ID("parentId2", parent_id2, "."),
	{ "parentPaths", FIELD_JSON, FIELD_AT(image_view, parent_paths), .help = "." },
	{ 0 }
};
static const struct field view_fields[] = {
	{ "path", TEXT(image_view, path), .unit = "path", .help = "Where it is." },
	{ "format", FIELD_ENUM, FIELD_AT(image_view, format), .names = vm_disk_formats, .help = "What it is." },
	{ "type", FIELD_ENUM, FIELD_AT(image_view, type), .names = image_types, .help = "Which kind of that." },
	BOTH,
	{ "notClosed", FIELD_BOOL, FIELD_AT(image_view, dirty),
	  .help = "It was not closed, or is in use: what its log has is not in its place yet. Nothing is lost." },
	{ 0 }
};
const struct field vhd_get_result[] = {
	{ "images", FIELD_LIST, FIELD_AT(get_result, image), .max = 1 + VM_CHAIN_MAX, .size = sizeof(struct image_view),
	  .count_offset = offsetof(struct get_result, n), .fields = view_fields, .help = "The image, its parent, that one's parent, and so on." },
	{ "inUse", TEXT(get_result, in_use), .help = "By whom; empty: nobody can be seen. What is in use may change while it is looked at." },
	{ 0 }
};
/* clang-format on */

static int
add_view(struct vhd_work *w, json_t *list, json_t *told, const char *path)
{
	struct image_view *v = calloc(1, sizeof(*v));
	struct err e = { 0 };
	json_t *row = NULL;

	if (v && schema_read(tool_fields, told, NULL, v, &e) == 0) {
		text_copy(v->path, sizeof(v->path), path);
		row = schema_write(view_fields, v);
	}
	free(v);
	if (!row || json_array_append_new(list, row) < 0)
		return fault_set(w->f, FAULT_INTERNAL, NULL, NULL, "fh-disk's answer: %s", e.msg);
	return 0;
}

int
vhd_call_get(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct image_chain *chain = NULL;
	struct fault user = { 0 };
	json_t *list = json_array();
	struct vhd_work w;
	int rc = vhd_begin(&w, c, params, result, f);

	if (rc == 0)
		rc = vhd_is_free(&w, w.path, USE_LOOK);
	if (rc == 0)
		rc = image_chain_read(&chain, c->agent, &w.at, w.path, w.format, f);
	for (size_t i = 0; rc == 0 && i < chain->n; i++)
		rc = add_view(&w, list, json_array_get(chain->info, i), chain->path[i]);
	image_chain_free(chain);
	json_object_set_new(result, "images", list);
	if (rc < 0)
		return rc;
	w.f = &user;
	vhd_is_free(&w, w.path, USE_WRITE);
	user.message[FAULT_HINT_SIZE - 1] = '\0';
	text_clean(user.message);
	json_object_set_new(result, "inUse", json_string(user.code == FAULT_DISK_IN_USE ? user.message : ""));
	return 0;
}

/* --- test, repair --------------------------------------------------------------------------------------- */

static const char *const kinds[] = { "note", "repaired", "repairable", "damage", NULL };

struct finding {
	unsigned kind;
	char text[512];
};
struct test_result {
	bool ok;
	uint64_t notes, repaired, repairable, damages, blocks, allocated;
	size_t n;
	struct finding finding[FINDINGS_MAX];
};

/* clang-format off */
#define COUNT(name, m, h) { name, FIELD_UINT, FIELD_AT(test_result, m), .max = INT64_MAX, .help = h }
static const struct field finding_fields[] = {
	{ "kind", FIELD_ENUM, FIELD_AT(finding, kind), .names = kinds, .help = "How bad it is." },
	{ "text", TEXT(finding, text), .help = "What and where." },
	{ 0 }
};
#define COUNTS \
	COUNT("notes", notes, "Of what is worth knowing and no damage."), \
	COUNT("repaired", repaired, "Damages that are repaired now."), \
	COUNT("repairable", repairable, "Damages that vhd.repair repairs."), \
	COUNT("damages", damages, "Damages that nothing but a copy of the data helps against.")
#define FINDINGS(name) \
	{ name, FIELD_LIST, FIELD_AT(test_result, finding), .max = FINDINGS_MAX, .size = sizeof(struct finding), \
	  .count_offset = offsetof(struct test_result, n), .fields = finding_fields, .help = "Each of them; at most the first 1000." }
static const struct field check_fields[] = {
	COUNTS, COUNT("blocks", blocks, "."), COUNT("allocatedBlocks", allocated, "."), FINDINGS("found"), { 0 }
};
const struct field vhd_test_result[] = {
	{ "ok", FIELD_BOOL, FIELD_AT(test_result, ok), .help = "No damage is left." }, COUNTS, FINDINGS("findings"), { 0 }
};
/* clang-format on */

static int
answer(struct vhd_work *w, json_t *told)
{
	struct test_result *r = calloc(1, sizeof(*r));
	struct err e = { 0 };
	json_t *doc = NULL;

	if (r && told && schema_read(check_fields, told, NULL, r, &e) == 0) {
		r->ok = r->repairable == 0 && r->damages == 0;
		doc = schema_write(vhd_test_result, r);
	}
	if (doc)
		json_object_set_new(w->result, "changed", json_boolean(r->repaired > 0));
	free(r);
	if (!doc)
		return fault_set(w->f, FAULT_INTERNAL, NULL, NULL, "fh-disk's answer: %s", e.msg);
	json_object_update(w->result, doc);
	json_decref(doc);
	return 0;
}

static int
check(struct vhd_work *w, bool repair)
{
	json_t *told = NULL;
	struct disk_tool t;
	int rc;

	disk_tool_begin(&t, w->c->agent, "check");
	disk_tool_add(&t, "-f%s", image_format_word(w->format));
	disk_tool_add(&t, "--json");
	if (repair) {
		disk_tool_add(&t, "--repair");
		disk_tool_write(&t, w->whole);
	} else {
		disk_tool_read(&t, w->whole);
	}
	disk_tool_add(&t, "%s", w->whole);
	rc = disk_tool_run(&t, NULL, &told, w->f);
	if (rc >= 0)
		rc = answer(w, told);
	json_decref(told);
	return rc;
}

/* Parents are there and fit, or there is a fault; then the image itself. */
int
vhd_call_test(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct image_chain *chain = NULL;
	struct vhd_work w;
	int rc = vhd_begin(&w, c, params, result, f);

	if (rc == 0)
		rc = vhd_is_free(&w, w.path, USE_READ);
	if (rc == 0)
		rc = image_chain_read(&chain, c->agent, &w.at, w.path, w.format, f);
	image_chain_free(chain);
	if (rc == 0)
		rc = check(&w, false);
	json_object_del(result, "changed");
	return rc;
}

int
vhd_call_repair(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct vhd_work w;
	int rc = vhd_begin(&w, c, params, result, f);

	if (rc == 0)
		rc = vhd_may_write(&w, "path", w.path);
	if (rc == 0)
		rc = vhd_is_free(&w, w.path, USE_WRITE);
	if (rc < 0 || call_would(c, "repair in %s what can be repaired without guessing", w.path))
		return rc;
	rc = check(&w, true);
	if (rc == 0)
		vhd_tell(&w, w.path, "changed");
	return rc;
}
