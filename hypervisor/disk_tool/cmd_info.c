/* hypervisor/disk_tool/cmd_info.c - fh-disk info: what an image, or a chain, says of itself. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "hypervisor/disk_tool/tool.h"
#include "lib/text.h"

#define VHD_EPOCH 946684800 /* 2000-01-01 in Unix time */

/* As JSON may hold it, and a terminal. */
static json_t *
text(const char *s)
{
	char clean[DISK_PATH_MAX];

	text_copy(clean, sizeof(clean), s);
	text_clean(clean);
	return json_string(clean);
}

static json_t *
guid(const uint8_t id[GUID_BYTES])
{
	char s[GUID_TEXT + 1];

	guid_format(id, s);
	return json_string(s);
}

static bool
is_set(const uint8_t id[GUID_BYTES])
{
	for (int i = 0; i < GUID_BYTES; i++)
		if (id[i])
			return true;
	return false;
}

/* --- JSON ---------------------------------------------------------------------------------------------- */

static void
describe_parent(json_t *o, const struct disk_info *i)
{
	json_t *paths = json_array();

	json_object_set_new(o, "parentId", guid(i->parent_id));
	if (is_set(i->parent_id2))
		json_object_set_new(o, "parentId2", guid(i->parent_id2));
	for (unsigned k = 0; k < i->parent_paths; k++)
		json_array_append_new(paths, json_pack("{s:o, s:o}", "kind", text(i->parent_path[k].which),
						 "path", text(i->parent_path[k].path)));
	json_object_set_new(o, "parentPaths", paths);
}

static json_t *
describe(const struct disk_link *l)
{
	const struct disk_info *i = &l->info;
	json_t *o = json_object();

	json_object_set_new(o, "file", text(l->path));
	json_object_set_new(o, "format", json_string(disk_formats[i->format]->name));
	json_object_set_new(o, "type", json_string(type_names[i->type]));
	json_object_set_new(o, "size", json_integer((json_int_t)i->size));
	json_object_set_new(o, "fileSize", json_integer((json_int_t)i->file_size));
	json_object_set_new(o, "allocated", json_integer((json_int_t)i->allocated));
	json_object_set_new(o, "blockSize", json_integer(i->block_size));
	json_object_set_new(o, "logicalSectorSize", json_integer(i->logical));
	json_object_set_new(o, "physicalSectorSize", json_integer(i->physical));
	if (i->format == DISK_RAW)
		return o;
	json_object_set_new(o, "id", guid(i->id));
	json_object_set_new(o, "dataId", guid(i->data_id));
	json_object_set_new(o, "creator", text(i->creator));
	json_object_set_new(o, "created", json_integer(i->created ? (json_int_t)i->created + VHD_EPOCH : 0));
	json_object_set_new(o, "dirty", json_boolean(i->dirty));
	json_object_set_new(o, "savedState", json_boolean(i->saved_state));
	if (i->type == DISK_DIFFERENCING)
		describe_parent(o, i);
	return o;
}

/* --- words --------------------------------------------------------------------------------------------- */

static const struct line {
	const char *key, *label;
	enum { BYTES, WORDS, YES, TIME } kind;
} lines[] = {
	{ "size", "size", BYTES },
	{ "fileSize", "file", BYTES },
	{ "allocated", "allocated", BYTES },
	{ "blockSize", "block size", BYTES },
	{ "logicalSectorSize", "sectors", BYTES },
	{ "physicalSectorSize", "physical sectors", BYTES },
	{ "id", "id", WORDS },
	{ "dataId", "data id", WORDS },
	{ "creator", "creator", WORDS },
	{ "created", "created", TIME },
	{ "dirty", "not closed", YES },
	{ "savedState", "saved state", YES },
	{ "parentId", "parent id", WORDS },
	{ "parentId2", "parent id (merge)", WORDS },
};

static void
print_line(const struct line *l, const json_t *v)
{
	time_t when = (time_t)json_integer_value(v);
	uint64_t n = (uint64_t)json_integer_value(v);
	char date[32];

	if (!v || (l->kind != WORDS && !n && !json_is_true(v)))
		return;
	if (l->kind == BYTES)
		printf("%-18s %llu (%s)\n", l->label, (unsigned long long)n, size_text(n));
	else if (l->kind == WORDS)
		printf("%-18s %s\n", l->label, json_string_value(v));
	else if (l->kind == YES)
		printf("%-18s yes\n", l->label);
	else if (strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", gmtime(&when)))
		printf("%-18s %s UTC\n", l->label, date);
}

static void
print(const json_t *o)
{
	const json_t *paths = json_object_get(o, "parentPaths");

	printf("%-18s %s\n", "image", json_string_value(json_object_get(o, "file")));
	printf("%-18s %s, %s\n", "format", json_string_value(json_object_get(o, "format")),
	    json_string_value(json_object_get(o, "type")));
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		print_line(&lines[i], json_object_get(o, lines[i].key));
	for (size_t i = 0; i < json_array_size(paths); i++) {
		const json_t *p = json_array_get(paths, i);

		printf("%-18s %s (%s)\n", "parent", json_string_value(json_object_get(p, "path")),
		    json_string_value(json_object_get(p, "kind")));
	}
}

int
cmd_info(struct tool *t, struct err *e)
{
	const struct disk_chain_how how = { .look = true, .most = t->o.chain ? 0 : 1 };
	struct disk_chain *c = NULL;
	json_t *all;
	int rc = tool_chain(&c, t, t->arg[0], &how, e);

	if (rc < 0 || !c)
		return rc;
	all = json_array();
	for (unsigned i = 0; i < c->n; i++)
		json_array_append_new(all, describe(c->link[i]));
	if (t->o.json)
		json_dumpf(t->o.chain ? all : json_array_get(all, 0), stdout, JSON_INDENT(2));
	for (unsigned i = 0; i < c->n && !t->o.json; i++) {
		printf("%s", i ? "\n" : "");
		print(json_array_get(all, i));
	}
	if (t->o.json)
		printf("\n");
	json_decref(all);
	disk_chain_free(c);
	return 0;
}
