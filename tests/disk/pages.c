/* tests/disk/pages.c - sparse contents with shared pages: a tree of 64-fold nodes, each counting its users.
 */
#include "tests/disk/pages.h"

#include <stdlib.h>
#include <string.h>

enum { WAYS = 64, WAY_BITS = 6, LEVELS = 6 }; /* 2^36 pages */

struct pages_node {
	unsigned users;
	union {
		struct pages_node *child[WAYS];
		uint8_t data[PAGE_BYTES]; /* of a page: level -1 */
	};
};

static uint64_t alive;

static size_t
node_size(int level)
{
	struct pages_node *n;

	return level < 0 ? sizeof(*n) : offsetof(struct pages_node, child) + sizeof(n->child);
}

static struct pages_node *
new_node(int level)
{
	struct pages_node *n = calloc(1, node_size(level));

	if (!n)
		abort();
	n->users = 1;
	alive += level < 0;
	return n;
}

static void
let_go(struct pages_node *n, int level)
{
	if (!n || --n->users)
		return;
	for (int i = 0; level >= 0 && i < WAYS; i++)
		let_go(n->child[i], level - 1);
	alive -= level < 0;
	free(n);
}

/* The node is this content's own afterwards. */
static struct pages_node *
own(struct pages_node **at, int level)
{
	struct pages_node *old = *at, *n;

	if (old && old->users == 1)
		return old;
	n = new_node(level);
	if (old) {
		memcpy(n, old, node_size(level));
		n->users = 1;
		for (int i = 0; level >= 0 && i < WAYS; i++)
			if (n->child[i])
				n->child[i]->users++;
		old->users--;
	}
	*at = n;
	return n;
}

static unsigned
way(uint64_t page, int level)
{
	return (unsigned)(page >> (level * WAY_BITS)) % WAYS;
}

static const uint8_t *
find(const struct pages *p, uint64_t page)
{
	const struct pages_node *n = p->root;

	for (int level = LEVELS - 1; n && level >= 0; level--)
		n = n->child[way(page, level)];
	return n ? n->data : NULL;
}

static uint8_t *
find_own(struct pages *p, uint64_t page)
{
	struct pages_node **at = &p->root;

	for (int level = LEVELS - 1; level >= 0; level--)
		at = &own(at, level)->child[way(page, level)];
	return own(at, -1)->data;
}

static size_t
in_page(uint64_t off, uint64_t len)
{
	size_t n = PAGE_BYTES - off % PAGE_BYTES;

	return n < len ? n : (size_t)len;
}

void
pages_read(const struct pages *p, uint64_t off, void *buf, size_t len)
{
	for (uint8_t *to = buf; len;) {
		size_t n = in_page(off, len);
		const uint8_t *page = find(p, off / PAGE_BYTES);

		if (page)
			memcpy(to, page + off % PAGE_BYTES, n);
		else
			memset(to, 0, n);
		to += n;
		off += n;
		len -= n;
	}
}

void
pages_write(struct pages *p, uint64_t off, const void *buf, size_t len)
{
	for (const uint8_t *from = buf; len;) {
		size_t n = in_page(off, len);

		memcpy(find_own(p, off / PAGE_BYTES) + off % PAGE_BYTES, from, n);
		from += n;
		off += n;
		len -= n;
	}
}

/* Pages first to last (of those below the node) go. */
static void
drop(struct pages_node **at, int level, uint64_t base, uint64_t first, uint64_t last)
{
	uint64_t span = 1ull << ((level + 1) * WAY_BITS), below = span / WAYS;

	if (!*at || last < base || first >= base + span)
		return;
	if (first <= base && last >= base + span - 1) {
		let_go(*at, level);
		*at = NULL;
		return;
	}
	own(at, level);
	for (unsigned i = 0; i < WAYS; i++)
		drop(&(*at)->child[i], level - 1, base + i * below, first, last);
}

static void
clear_part(struct pages *p, uint64_t off, size_t len)
{
	if (len && find(p, off / PAGE_BYTES))
		memset(find_own(p, off / PAGE_BYTES) + off % PAGE_BYTES, 0, len);
}

void
pages_clear(struct pages *p, uint64_t off, uint64_t len)
{
	uint64_t end = off + len, first = (off + PAGE_BYTES - 1) / PAGE_BYTES, behind = end / PAGE_BYTES;

	if (off / PAGE_BYTES == end / PAGE_BYTES) {
		clear_part(p, off, (size_t)len);
		return;
	}
	if (off % PAGE_BYTES)
		clear_part(p, off, in_page(off, len));
	clear_part(p, end - end % PAGE_BYTES, end % PAGE_BYTES);
	if (behind > first)
		drop(&p->root, LEVELS - 1, 0, first, behind - 1);
}

/* The first page at or behind `page` that is there; behind all: none. */
static uint64_t
next_page(const struct pages_node *n, int level, uint64_t base, uint64_t page, uint64_t none)
{
	uint64_t span = 1ull << ((level + 1) * WAY_BITS), below = span / WAYS;

	if (!n || page >= base + span)
		return none;
	if (level < 0)
		return base;
	for (unsigned i = 0; i < WAYS; i++) {
		uint64_t found = next_page(n->child[i], level - 1, base + i * below, page, none);

		if (found != none)
			return found;
	}
	return none;
}

uint64_t
pages_seek(const struct pages *p, uint64_t off, bool data)
{
	uint64_t page = off / PAGE_BYTES, end = PAGES_END / PAGE_BYTES;

	if (data)
		page = next_page(p->root, LEVELS - 1, 0, page, end);
	else
		while (page < end && find(p, page))
			page++;
	return page * PAGE_BYTES > off ? page * PAGE_BYTES : off;
}

struct pages
pages_copy(const struct pages *p)
{
	if (p->root)
		p->root->users++;
	return *p;
}

void
pages_free(struct pages *p)
{
	let_go(p->root, LEVELS - 1);
	p->root = NULL;
}

uint64_t
pages_alive(void)
{
	return alive;
}
