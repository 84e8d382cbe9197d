/* hypervisor/disk_tool/cmd_map.c - fh-disk map: what lies where. */
#include <errno.h>
#include <stdio.h>

#include "hypervisor/disk/layers.h"
#include "hypervisor/disk_tool/tool.h"

/* Ranges that go on in the same file are one. */
struct range {
	uint64_t offset, len, at;
	bool data;
	unsigned depth;
};

struct map {
	const struct disk_chain *chain;
	bool json;
	unsigned printed;
};

static void
print(struct map *m, const struct range *r)
{
	const char *file = m->chain->link[r->depth]->path;
	json_t *o;

	if (!r->len)
		return;
	if (!m->json) {
		printf("%-16llu %-16llu ", (unsigned long long)r->offset, (unsigned long long)r->len);
		if (r->data)
			printf("data %-3u %-16llu %s\n", r->depth, (unsigned long long)r->at, file);
		else
			printf("zero\n");
		return;
	}
	o = json_pack(
	    "{s:I, s:I, s:b}", "start", (json_int_t)r->offset, "length", (json_int_t)r->len, "data", r->data);
	if (r->data) {
		json_object_set_new(o, "depth", json_integer((json_int_t)r->depth));
		json_object_set_new(o, "offset", json_integer((json_int_t)r->at));
		json_object_set_new(o, "file", json_string(file));
	}
	printf("%s  ", m->printed++ ? ",\n" : "[\n");
	json_dumpf(o, stdout, 0);
	json_decref(o);
}

static unsigned
depth_of(const struct disk *top, const struct disk *owner)
{
	unsigned n = 0;

	for (; top && top != owner; top = top->parent)
		n++;
	return n;
}

static bool
goes_on(const struct range *r, const struct range *next)
{
	return r->len && r->data == next->data && r->offset + r->len == next->offset &&
	       (!r->data || (r->depth == next->depth && r->at + r->len == next->at));
}

static int
map(struct map *m, struct disk *d, uint64_t at, uint64_t end, struct err *e)
{
	const struct layer_find how = { .top = d, .holes = true };
	struct range r = { 0 };

	while (at < end) {
		struct layer_extent x;
		struct range next;
		int rc = layer_find(&how, at, end - at, &x, e);

		if (rc < 0)
			return rc;
		next = (struct range){ at, x.len, x.at, x.kind == EXTENT_DATA, 0 };
		next.depth = next.data ? depth_of(d, x.owner) : 0;
		if (goes_on(&r, &next)) {
			r.len += next.len;
		} else {
			print(m, &r);
			r = next;
		}
		at += x.len;
		if (interrupted())
			return err_set(e, ECANCELED, "broken off");
	}
	print(m, &r);
	return 0;
}

int
cmd_map(struct tool *t, struct err *e)
{
	struct disk_chain *c = NULL;
	struct disk *d = NULL;
	uint64_t end;
	int rc = tool_disk(&d, &c, t, t->arg[0], false, e);

	if (rc < 0 || !d)
		return rc;
	end = t->o.length && t->o.length < d->size - t->o.offset ? t->o.offset + t->o.length : d->size;
	if (t->o.offset > d->size || t->o.offset % d->logical || end % d->logical) {
		rc = err_set(e, EINVAL, "--offset and --length are multiples of %u within %llu bytes",
		    d->logical, (unsigned long long)d->size);
	} else {
		struct map m = { .chain = c, .json = t->o.json };

		if (!m.json)
			printf("%-16s %-16s %-8s %-16s %s\n", "offset", "length", "kind", "at", "file");
		rc = map(&m, d, t->o.offset, end, e);
		if (m.json)
			printf("%s\n]\n", m.printed ? "" : "[");
	}
	disk_free(d);
	disk_chain_free(c);
	return rc < 0 ? err_wrap(e, rc, "%s", t->arg[0]) : 0;
}
