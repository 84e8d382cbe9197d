/*
 * hypervisor/state/snap.c - saving and restoring: one list of fields for both directions.
 *
 * Any thread, one struct snap at a time. Allocates nothing, trusts nothing that it reads.
 */
#include "hypervisor/state/snap.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void
fail(struct snap *s, int code, const char *name, const char *why)
{
	s->rc = err_set(&s->err, code, "%s: %s", name, why);
}

/* The next n > 0 bytes, or NULL when there are none left or an earlier field failed. */
static uint8_t *
take(struct snap *s, const char *name, size_t n)
{
	if (s->rc)
		return NULL;
	if (s->len - s->pos < n) {
		if (s->saving)
			fail(s, ENOSPC, name, "no room left");
		else
			fail(s, EINVAL, name, "cut short");
		return NULL;
	}
	s->pos += n;
	return s->buf + s->pos - n;
}

/*
 * A value above its limit is refused in both directions: what a device must not read back it must
 * not write either, or the machine would be lost at its next start.
 */
static bool
within(struct snap *s, const char *name, uint64_t v, uint64_t max)
{
	if (v > max)
		s->rc = err_set(&s->err, EINVAL, "%s: %" PRIu64 " is more than %" PRIu64, name, v, max);
	return v <= max;
}

static void
snap_uint(struct snap *s, const char *name, uint64_t *v, size_t bytes, uint64_t max)
{
	uint64_t got = 0;
	uint8_t *p;

	if (s->rc || (s->saving && !within(s, name, *v, max)) || !(p = take(s, name, bytes)))
		return;
	for (size_t i = 0; i < bytes; i++)
		if (s->saving)
			p[i] = (uint8_t)(*v >> (8 * i));
		else
			got |= (uint64_t)p[i] << (8 * i);
	if (!s->saving && within(s, name, got, max))
		*v = got;
}

void
snap_save_to(struct snap *s, void *buf, size_t cap)
{
	*s = (struct snap){ .saving = true, .buf = buf, .len = cap };
}

void
snap_restore_from(struct snap *s, const void *buf, size_t len)
{
	/* Only read from while !saving. */
	*s = (struct snap){ .saving = false, .buf = (uint8_t *)(uintptr_t)buf, .len = len };
}

int
snap_end(struct snap *s)
{
	if (!s->rc && !s->saving && s->pos != s->len)
		s->rc = err_set(&s->err, EINVAL, "%zu bytes too many", s->len - s->pos);
	return s->rc;
}

void
snap_bool(struct snap *s, const char *name, bool *v)
{
	uint64_t x = s->saving ? *v : 0; /* before a restore *v may be anything */

	snap_uint(s, name, &x, 1, 1);
	if (!s->rc)
		*v = x != 0;
}

void
snap_u8(struct snap *s, const char *name, uint8_t *v, uint8_t max)
{
	uint64_t x = s->saving ? *v : 0;

	snap_uint(s, name, &x, sizeof(*v), max);
	if (!s->rc)
		*v = (uint8_t)x;
}

void
snap_u16(struct snap *s, const char *name, uint16_t *v, uint16_t max)
{
	uint64_t x = s->saving ? *v : 0;

	snap_uint(s, name, &x, sizeof(*v), max);
	if (!s->rc)
		*v = (uint16_t)x;
}

void
snap_u32(struct snap *s, const char *name, uint32_t *v, uint32_t max)
{
	uint64_t x = s->saving ? *v : 0;

	snap_uint(s, name, &x, sizeof(*v), max);
	if (!s->rc)
		*v = (uint32_t)x;
}

void
snap_u64(struct snap *s, const char *name, uint64_t *v, uint64_t max)
{
	snap_uint(s, name, v, sizeof(*v), max);
}

void
snap_bytes(struct snap *s, const char *name, void *v, size_t len)
{
	uint8_t *p = len ? take(s, name, len) : NULL;

	if (!p)
		return;
	if (s->saving)
		memcpy(p, v, len);
	else
		memcpy(v, p, len);
}

void
snap_check(struct snap *s, bool ok, const char *name, const char *why)
{
	if (!s->rc && !s->saving && !ok)
		fail(s, EINVAL, name, why);
}
