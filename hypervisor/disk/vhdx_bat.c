/*
 * hypervisor/disk/vhdx_bat.c - the tables: where each block lies (MS-VHDX 2.5), and in a differencing image
 * which of its sectors it has (2.4). Their pages are read when they are needed, and checked then.
 *
 * A bit for each MiB of the file says whether somebody owns it, so that no two blocks share a place, whatever
 * a hostile table says. Blocks whose page has not been read yet have not said so; but new space comes from
 * behind the end of the file alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hypervisor/disk/vhdx.h"

#define SPACE_BYTES (VHDX_FILE_MAX / VHDX_MIB / 8)

/* --- Memory --- */

/* Zeros; what is not touched takes no memory. */
static void *
reserve(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int
table_new(struct vhdx_table *t, uint64_t count, uint64_t room)
{
	t->count = count;
	t->room = room;
	t->pages = reserve(room * VHDX_PAGE);
	t->state = reserve(count * sizeof(*t->state));
	return t->pages && t->state ? 0 : -ENOMEM;
}

static int
bitmaps_new(struct vhdx_table *t, uint64_t count)
{
	int rc = table_new(t, count, VHDX_BITS_MAX + 1);

	t->slot = reserve(count * sizeof(*t->slot));
	return t->slot ? rc : -ENOMEM;
}

int
vhdx_tables_new(struct vhdx *v)
{
	uint64_t pages = (v->entries + VHDX_ENTRIES - 1) / VHDX_ENTRIES;
	int rc = table_new(&v->table[TABLE_BAT], pages, pages);

	if (rc == 0 && v->child)
		rc = bitmaps_new(&v->table[TABLE_BITMAP], v->chunks * VHDX_BITMAP_PAGES);
	v->space = reserve(SPACE_BYTES);
	if (rc < 0 || !v->space)
		return err_set(v->err, ENOMEM, "VHDX: no memory for the tables of %llu blocks",
		    (unsigned long long)v->blocks);
	v->next = round_up(v->replayed, VHDX_MIB);
	vhdx_space_fixed(v);
	v->need = v->replayed;
	return 0;
}

void
vhdx_tables_free(struct vhdx *v)
{
	for (unsigned i = 0; i < TABLES; i++) {
		struct vhdx_table *t = &v->table[i];

		if (t->pages)
			munmap(t->pages, t->room * VHDX_PAGE);
		if (t->state)
			munmap(t->state, t->count * sizeof(*t->state));
		if (t->slot)
			munmap(t->slot, t->count * sizeof(*t->slot));
		*t = (struct vhdx_table){ NULL };
	}
	if (v->space)
		munmap(v->space, SPACE_BYTES);
	v->space = NULL;
}

/* --- Space --- */

bool
vhdx_space_free(const struct vhdx *v, uint64_t off, uint64_t len)
{
	for (uint64_t n = off / VHDX_MIB; n < (off + len) / VHDX_MIB; n++)
		if (v->space[n / 8] & 1u << n % 8)
			return false;
	return true;
}

void
vhdx_space_mark(struct vhdx *v, uint64_t off, uint64_t len, bool taken)
{
	for (uint64_t n = off / VHDX_MIB; n < (off + len + VHDX_MIB - 1) / VHDX_MIB; n++)
		if (taken)
			v->space[n / 8] |= (uint8_t)(1u << n % 8);
		else
			v->space[n / 8] &= (uint8_t) ~(1u << n % 8);
}

void
vhdx_space_fixed(struct vhdx *v)
{
	struct vhdx_region_head head;
	struct vhdx_region r;

	vhdx_space_mark(v, 0, VHDX_HEADERS_END, true);
	vhdx_space_mark(v, v->header[v->current].log_offset, v->header[v->current].log_length, true);
	memcpy(&head, v->regions, sizeof(head));
	for (unsigned i = 0; i < head.count; i++) {
		memcpy(&r, v->regions + sizeof(head) + i * sizeof(r), sizeof(r));
		vhdx_space_mark(v, r.offset, r.length, true);
		if (v->next < r.offset + r.length)
			v->next = r.offset + r.length;
	}
}

/* --- Entries --- */

uint64_t
vhdx_entry_space(const struct vhdx *v, uint64_t index, uint64_t entry)
{
	uint64_t state = entry & ENTRY_STATE;

	if (vhdx_is_bitmap(v, index))
		return state == BLOCK_FULL ? VHDX_MIB : 0;
	if (state == BLOCK_FULL || state == BLOCK_PARTIAL)
		return v->block_size;
	return (state == BLOCK_UNDEFINED || state == BLOCK_UNMAPPED) && entry & ENTRY_OFFSET ? v->block_size
											     : 0;
}

static const char *
state_fault(const struct vhdx *v, uint64_t index, uint64_t state)
{
	if (vhdx_is_bitmap(v, index)) {
		if (state != BLOCK_NOT_PRESENT && state != BLOCK_FULL)
			return "a bitmap cannot have this state";
		return state == BLOCK_FULL && !v->child ? "a bitmap, but the disk has no parent" : NULL;
	}
	if (state == BLOCK_PARTIAL && !v->child)
		return "a part of a block, but the disk has no parent";
	return state == 4 || state == 5 ? "the state is not known" : NULL;
}

const char *
vhdx_entry_fault(const struct vhdx *v, uint64_t index, uint64_t entry)
{
	const char *why = state_fault(v, index, entry & ENTRY_STATE);
	uint64_t off = entry & ENTRY_OFFSET, space = vhdx_entry_space(v, index, entry);

	if (why)
		return why;
	if (entry & ENTRY_RESERVED)
		return "bits 3 to 19 are not zero";
	if (!space)
		return NULL;
	if (off < VHDX_HEADERS_END)
		return "its place is in the headers";
	/* Some tools leave the last block of a file short. */
	if (off >= v->replayed)
		return "its place is behind the end of the file";
	if (off > VHDX_FILE_MAX - space)
		return "its place is behind 256 TiB";
	return vhdx_space_free(v, off, space) ? NULL : "its place belongs to something else already";
}

/* An entry behind the last that counts, or of a bitmap that nothing needs. */
static bool
counts(const struct vhdx *v, uint64_t index)
{
	if (index >= v->entries)
		return false;
	return vhdx_is_bitmap(v, index) || index - index / (v->ratio + 1) < v->blocks;
}

static int
check_page(struct vhdx *v, uint64_t page)
{
	const uint64_t *e = (const uint64_t *)(const void *)(v->table[TABLE_BAT].pages + page * VHDX_PAGE);

	for (unsigned i = 0; i < VHDX_ENTRIES; i++) {
		uint64_t index = page * VHDX_ENTRIES + i, space;
		const char *why;

		if (!e[i] || !counts(v, index))
			continue;
		why = vhdx_entry_fault(v, index, e[i]);
		if (why)
			return vhdx_fault(v, DISK_DAMAGE,
			    "block table, entry %llu at offset %#llx (%#llx): %s", (unsigned long long)index,
			    (unsigned long long)(v->bat.offset + index * 8), (unsigned long long)e[i], why);
		space = vhdx_entry_space(v, index, e[i]);
		if (!space)
			continue;
		vhdx_space_mark(v, e[i] & ENTRY_OFFSET, space, true);
		if ((e[i] & ENTRY_OFFSET) + space > v->need)
			v->need = (e[i] & ENTRY_OFFSET) + space;
	}
	if (v->next < v->need)
		v->next = round_up(v->need, VHDX_MIB);
	return 0;
}

uint64_t
vhdx_space_again(struct vhdx *v)
{
	const uint64_t *e = (const uint64_t *)(const void *)v->table[TABLE_BAT].pages;
	uint64_t end = VHDX_HEADERS_END;

	memset(v->space, 0, v->next / VHDX_MIB / 8 + 1);
	vhdx_space_fixed(v);
	for (uint64_t i = 0; i < v->entries; i++)
		if (counts(v, i))
			vhdx_space_mark(v, e[i] & ENTRY_OFFSET, vhdx_entry_space(v, i, e[i]), true);
	for (uint64_t at = v->next; at > end; at -= VHDX_MIB)
		if (!vhdx_space_free(v, at - VHDX_MIB, VHDX_MIB))
			end = at;
	return end;
}

/* --- Pages --- */

static uint64_t
home_of(const struct vhdx *v, enum vhdx_table_id table, uint64_t page)
{
	const uint64_t *e;

	if (table == TABLE_BAT)
		return v->bat.offset + page * VHDX_PAGE;
	e = (const uint64_t *)(const void *)v->table[TABLE_BAT].pages +
	    vhdx_bitmap_index(v, page / VHDX_BITMAP_PAGES);
	return (*e & ENTRY_OFFSET) + page % VHDX_BITMAP_PAGES * VHDX_PAGE;
}

/* What a bitmap's page has and the file may not have yet: what a commit takes, and writes to its home until
 * the next one begins. */
static bool
is_on_its_way(const struct vhdx *v, uint64_t page)
{
	const struct vhdx_writer *w = &v->w;
	uint64_t home = home_of(v, TABLE_BITMAP, page);

	for (unsigned i = 0; i < w->committing; i++)
		if (w->captured[i].table == TABLE_BITMAP && w->captured[i].page == page)
			return true;
	for (unsigned i = 0; i < w->pages; i++)
		if (w->home[i] == home)
			return true;
	return false;
}

static bool
can_go(const struct vhdx *v, uint64_t page)
{
	uint32_t state = v->table[TABLE_BITMAP].state[page];

	return !(state & (PAGE_COMING | PAGE_DIRTY)) && state < PAGE_HOLD && !is_on_its_way(v, page);
}

/* Memory for a page, all zeros. Of a bitmap it is another page's that came before: there always is one. */
static uint8_t *
make_room(struct vhdx *v, enum vhdx_table_id table, uint64_t page)
{
	struct vhdx_table *t = &v->table[table];

	if (t->slot && !t->slot[page]) {
		bool full = v->kept_n == VHDX_BITS_MAX;

		do
			v->hand = v->hand % VHDX_BITS_MAX + 1;
		while (full && !can_go(v, v->kept[v->hand]));
		if (full) {
			t->slot[v->kept[v->hand]] = 0;
			t->state[v->kept[v->hand]] = 0;
		} else {
			v->kept_n++;
		}
		v->kept[v->hand] = (uint32_t)page;
		t->slot[page] = v->hand;
	}
	if (t->slot)
		memset(vhdx_at(v, table, page), 0, VHDX_PAGE);
	return vhdx_at(v, table, page);
}

void
vhdx_new_bits(struct vhdx *v, uint64_t page)
{
	make_room(v, TABLE_BITMAP, page);
	v->table[TABLE_BITMAP].state[page] |= PAGE_HERE;
}

/* It is in memory now: what the log has for it, and whether it can be believed. */
static int
arrived(struct vhdx *v, enum vhdx_table_id table, uint64_t page)
{
	struct vhdx_table *t = &v->table[table];

	vhdx_patch(v, vhdx_at(v, table, page), VHDX_PAGE, home_of(v, table, page));
	t->state[page] &= ~(uint32_t)(PAGE_COMING | PAGE_FAILED);
	if (table == TABLE_BAT && check_page(v, page) < 0) {
		t->state[page] |= PAGE_BAD;
		return v->blocking ? -EINVAL : -EIO;
	}
	t->state[page] |= PAGE_HERE;
	return 0;
}

static void
fetched(struct file_op *op, int rc)
{
	struct vhdx_fetch *f = (struct vhdx_fetch *)((char *)op - offsetof(struct vhdx_fetch, op));
	struct vhdx *v = f->v;

	f->v = NULL;
	if (rc < 0) {
		v->table[f->table].state[f->page] &= ~(uint32_t)PAGE_COMING;
		v->table[f->table].state[f->page] |= PAGE_FAILED;
	} else {
		arrived(v, f->table, f->page);
	}
	image_wake(&v->image);
}

static void
fetch(struct vhdx *v, enum vhdx_table_id table, uint64_t page)
{
	for (unsigned i = 0; i < VHDX_FETCHES; i++) {
		struct vhdx_fetch *f = &v->fetch[i];

		if (f->v)
			continue;
		*f = (struct vhdx_fetch){ .op.done = fetched, .v = v, .table = table, .page = page };
		f->iov = (struct iovec){ make_room(v, table, page), VHDX_PAGE };
		v->table[table].state[page] |= PAGE_COMING;
		file_readv(v->file, &f->op, &f->iov, 1, VHDX_PAGE, home_of(v, table, page));
		return;
	}
	/* All are busy: one that ends wakes whoever waits. */
}

static int
read_now(struct vhdx *v, enum vhdx_table_id table, uint64_t page)
{
	int rc = vhdx_get(v, make_room(v, table, page), VHDX_PAGE, home_of(v, table, page));

	return rc < 0 ? rc : arrived(v, table, page);
}

/* Behind the end of the file, which would be longer after a replay, there is nothing to be read. */
static int
bring(struct vhdx *v, enum vhdx_table_id table, uint64_t page)
{
	if (home_of(v, table, page) + VHDX_PAGE <= v->file_size) {
		fetch(v, table, page);
		return 0;
	}
	make_room(v, table, page);
	return arrived(v, table, page);
}

int
vhdx_page(struct vhdx *v, enum vhdx_table_id table, uint64_t page, uint8_t **p)
{
	struct vhdx_table *t = &v->table[table];
	uint32_t *state = &t->state[page];
	int rc = 0;

	*p = vhdx_at(v, table, page);
	if (*state & PAGE_HERE)
		return 0;
	if (*state & PAGE_BAD) {
		return v->blocking ? vhdx_fault(v, DISK_DAMAGE, "the block table is damaged at offset %#llx",
					 (unsigned long long)home_of(v, table, page))
				   : -EIO;
	}
	if (*state & PAGE_FAILED) { /* told once, then tried again */
		*state &= ~(uint32_t)PAGE_FAILED;
		return -EIO;
	}
	if (v->blocking)
		rc = read_now(v, table, page);
	else if (!(*state & PAGE_COMING))
		rc = bring(v, table, page);
	if (rc < 0)
		return rc;
	*p = vhdx_at(v, table, page);
	return *state & PAGE_HERE ? 0 : -EAGAIN;
}

int
vhdx_entry(struct vhdx *v, uint64_t index, uint64_t **e)
{
	uint8_t *p;
	int rc = vhdx_page(v, TABLE_BAT, index / VHDX_ENTRIES, &p);

	*e = (uint64_t *)(void *)p + index % VHDX_ENTRIES;
	return rc;
}

/* Pages in a hole of the file are zeros: they need no reading, and take no memory. *n: pages from this one on
 * that are alike, at least one. */
static bool
is_hole(struct vhdx *v, uint64_t page, uint64_t *n)
{
	uint64_t bytes = (v->table[TABLE_BAT].count - page) * VHDX_PAGE;
	bool hole = file_is_hole(v->file, home_of(v, TABLE_BAT, page), bytes, &bytes);

	hole = hole && bytes >= VHDX_PAGE;
	*n = bytes < VHDX_PAGE ? 1 : bytes / VHDX_PAGE;
	return hole;
}

static int
read_pages(struct vhdx *v, uint64_t page, uint64_t n)
{
	uint8_t *p;
	int rc = 0;

	for (uint64_t end = page + n; rc == 0 && page < end; page++)
		rc = vhdx_page(v, TABLE_BAT, page, &p);
	return rc;
}

int
vhdx_read_bat(struct vhdx *v)
{
	struct vhdx_table *t = &v->table[TABLE_BAT];
	int rc = 0;

	for (uint64_t i = 0, n; rc == 0 && i < t->count; i += n) {
		n = t->count - i;
		if (v->n_patches || !is_hole(v, i, &n))
			rc = read_pages(v, i, n);
		else
			for (uint64_t k = i; k < i + n; k++)
				t->state[k] |= PAGE_HERE;
	}
	return rc;
}

/* --- Changes --- */

bool
vhdx_counted(const struct vhdx *v, enum vhdx_table_id table, uint64_t page)
{
	uint32_t state = v->table[table].state[page];

	return state & PAGE_DIRTY || state >= PAGE_HOLD;
}

void
vhdx_dirty(struct vhdx *v, enum vhdx_table_id table, uint64_t page)
{
	if (!vhdx_counted(v, table, page))
		v->counted++;
	if (!(v->table[table].state[page] & PAGE_DIRTY)) {
		v->table[table].state[page] |= PAGE_DIRTY;
		v->w.dirty[v->w.dirties++] = (struct vhdx_ref){ table, page };
	}
	v->image.dirty = true;
}

void
vhdx_set_entry(struct vhdx *v, uint64_t index, uint64_t value)
{
	uint64_t *e = (uint64_t *)(void *)v->table[TABLE_BAT].pages + index;

	*e = value;
	vhdx_dirty(v, TABLE_BAT, index / VHDX_ENTRIES);
}

void
vhdx_hold(struct vhdx *v, enum vhdx_table_id table, uint64_t page)
{
	if (!vhdx_counted(v, table, page))
		v->counted++;
	v->table[table].state[page] += PAGE_HOLD;
}

void
vhdx_release(struct vhdx *v, enum vhdx_table_id table, uint64_t page)
{
	v->table[table].state[page] -= PAGE_HOLD;
	if (!vhdx_counted(v, table, page))
		v->counted--;
}

void
vhdx_collect(struct vhdx *v)
{
	struct vhdx_writer *w = &v->w;

	for (unsigned i = 0; i < w->dirties; i++) {
		struct vhdx_ref r = w->dirty[i];
		uint8_t *to = vhdx_entry_page(v, w->pages);
		uint64_t *e = (uint64_t *)(void *)to;

		memcpy(to, vhdx_at(v, r.table, r.page), VHDX_PAGE);
		for (unsigned n = 0; r.table == TABLE_BAT && n < VHDX_ENTRIES; n++)
			e[n] &= ~ENTRY_CLEAN;
		w->home[w->pages++] = home_of(v, r.table, r.page);
		v->table[r.table].state[r.page] &= ~(uint32_t)PAGE_DIRTY;
		if (!vhdx_counted(v, r.table, r.page))
			v->counted--;
		w->captured[i] = r;
	}
	w->committing = w->dirties;
	w->dirties = 0;
}

void
vhdx_uncollect(struct vhdx *v)
{
	unsigned n = v->w.committing;

	v->w.committing = 0;
	for (unsigned i = 0; i < n; i++)
		vhdx_dirty(v, v->w.captured[i].table, v->w.captured[i].page);
}
