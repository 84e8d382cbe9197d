/*
 * tests/crash/disk_model.h - what a disk may hold after a power cut, sector by sector.
 *
 * Guests write to a few places only: three spots in each of a few blocks; all else stays zero. Every sector
 * that is written says by which request and for which sector: so bytes of another place are known at once.
 * Requests that are in flight together do not overlap.
 */
#ifndef TESTS_CRASH_DISK_MODEL_H
#define TESTS_CRASH_DISK_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 512, SPOT = 32 * 1024, SPOTS = 3, SPOT_SECTORS = SPOT / SECTOR, HOT_MAX = 16 };
#define NOBODY UINT32_MAX

/* MAYBE: a discard, reads zero or what it was. */
enum wrote { WROTE_DATA, WROTE_ZERO, WROTE_MAYBE };

struct guest_write {
	enum wrote what;
	bool ended, durable;
	bool failed;           /* some of it may be there */
	uint32_t before_flush; /* ended before the flush with this number began */
};

struct history {
	uint32_t *id; /* of the requests that changed the sector, in their order */
	unsigned n, room;
};

struct model {
	uint64_t block; /* bytes */
	uint64_t hot[HOT_MAX];
	unsigned n_hot;
	struct history sector[HOT_MAX][SPOTS][SPOT_SECTORS];
	struct guest_write *w; /* by number; 0 is not used */
	uint32_t n, room;
	uint32_t durable;       /* all before are */
	uint64_t size, to_size; /* bytes; to_size: it is being changed to */
};

static inline void
model_init(struct model *m, uint64_t block)
{
	memset(m, 0, sizeof(*m));
	m->block = block;
	m->n = m->durable = 1;
}

static inline void
model_fini(struct model *m)
{
	for (unsigned h = 0; h < HOT_MAX; h++)
		for (unsigned s = 0; s < SPOTS; s++)
			for (unsigned i = 0; i < SPOT_SECTORS; i++)
				free(m->sector[h][s][i].id);
	free(m->w);
}

static inline uint64_t
model_spot(const struct model *m, unsigned hot, unsigned spot)
{
	uint64_t first = m->hot[hot] * m->block;

	return spot == 0 ? first : spot == 1 ? first + m->block / 2 : first + m->block - SPOT;
}

/* --- What guests do --- */

static inline void *
model_grow(void *p, size_t n, size_t one)
{
	p = realloc(p, n * one);
	if (!p)
		abort();
	return p;
}

static inline void
model_push(struct history *h, uint32_t id)
{
	if (h->n == h->room) {
		h->room = h->room ? h->room * 2 : 4;
		h->id = model_grow(h->id, h->room, sizeof(*h->id));
	}
	h->id[h->n++] = id;
}

/* A request that changes the range begins; its number. */
static inline uint32_t
model_begin(struct model *m, enum wrote what, uint64_t off, uint64_t len)
{
	if (m->n >= m->room) {
		m->room = m->room ? m->room * 2 : 256;
		m->w = model_grow(m->w, m->room, sizeof(*m->w));
	}
	m->w[m->n] = (struct guest_write){ .what = what };
	for (unsigned h = 0; h < m->n_hot; h++)
		for (unsigned s = 0; s < SPOTS; s++) {
			uint64_t at = model_spot(m, h, s);

			for (unsigned i = 0; i < SPOT_SECTORS; i++, at += SECTOR)
				if (at >= off && at < off + len)
					model_push(&m->sector[h][s][i], m->n);
		}
	return m->n++;
}

/* A flush begins: what has ended by now will be durable when it ends. flush: its number, ascending. */
static inline void
model_flush_begins(struct model *m, uint32_t flush)
{
	for (uint32_t i = m->durable; i < m->n; i++)
		if (m->w[i].ended && !m->w[i].before_flush)
			m->w[i].before_flush = flush;
}

static inline void
model_flushed(struct model *m, uint32_t flush)
{
	for (uint32_t i = m->durable; i < m->n; i++)
		if (m->w[i].before_flush && m->w[i].before_flush <= flush)
			m->w[i].durable = true;
	while (m->durable < m->n && m->w[m->durable].durable)
		m->durable++;
}

/* The disk was closed, and said that not all of it is in its file: what was not flushed may be there or not.
 */
static inline void
model_lost(struct model *m)
{
	for (uint32_t i = m->durable; i < m->n; i++)
		if (!m->w[i].durable) {
			m->w[i].failed = true;
			m->w[i].before_flush = 0;
			m->w[i].ended = false;
		}
}

/* --- What may be there --- */

static inline void
model_fill(uint8_t *p, uint32_t id, uint64_t off, uint64_t len)
{
	for (uint64_t at = 0; at < len; at += 16) {
		uint64_t v[2] = { 0x5ec7000000000000u + id, (off + at) / SECTOR };

		memcpy(p + at, v, sizeof(v));
	}
}

/* Which request wrote the sector; 0: it is zero; NOBODY: none that could. */
static inline uint32_t
model_who(const uint8_t *p, uint64_t off)
{
	uint64_t v[2];

	memcpy(v, p, sizeof(v));
	if (memcmp(p, p + 16, SECTOR - 16) != 0)
		return NOBODY;
	if (!v[0] && !v[1])
		return 0;
	if (v[1] != off / SECTOR || v[0] >> 32 != 0x5ec70000)
		return NOBODY;
	return (uint32_t)v[0];
}

/* May the sector hold what `who` wrote? cut: the power fails now; else the disk runs, and what ended is
 * there. */
static inline bool
model_ok(const struct model *m, const struct history *h, uint32_t who, bool cut)
{
	for (unsigned i = h->n; i-- > 0;) {
		const struct guest_write *w = &m->w[h->id[i]];

		if (w->what == WROTE_DATA ? who == h->id[i] : who == 0)
			return true;
		if ((w->durable || !cut) && w->what != WROTE_MAYBE && !w->failed)
			return false;
	}
	return who == 0;
}

/* The sector's history; NULL: it is in no spot, and always zero. */
static inline const struct history *
model_sector(const struct model *m, uint64_t off)
{
	for (unsigned h = 0; h < m->n_hot; h++)
		for (unsigned s = 0; s < SPOTS; s++) {
			uint64_t at = model_spot(m, h, s);

			if (off >= at && off < at + SPOT)
				return &m->sector[h][s][(off - at) / SECTOR];
		}
	return NULL;
}

#endif
