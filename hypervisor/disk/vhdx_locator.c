/*
 * hypervisor/disk/vhdx_locator.c - the parent locator, MS-VHDX 2.6.2.6: pairs of strings in UTF-16 that say
 * who the parent is and where it may be.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"

enum { HEAD = sizeof(struct vhdx_locator_head), PAIR = sizeof(struct vhdx_locator_pair), UNITS_MAX = 32767 };

/* B04AEFB7-D19E-4A81-B789-25B8E9445913 */
const uint8_t vhdx_locator_type[GUID_BYTES] = { 0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89,
	0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13 };

/* --- UTF-16 and UTF-8 --- */

static unsigned
unit(const uint8_t *p, uint32_t i)
{
	return p[2 * i] | (unsigned)p[2 * i + 1] << 8;
}

static size_t
put_utf8(char *to, unsigned c)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (char)(0xc0 | c >> 6);
		to[1] = (char)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		to[0] = (char)(0xe0 | c >> 12);
		to[1] = (char)(0x80 | (c >> 6 & 63));
		to[2] = (char)(0x80 | (c & 63));
		return 3;
	}
	to[0] = (char)(0xf0 | c >> 18);
	to[1] = (char)(0x80 | (c >> 12 & 63));
	to[2] = (char)(0x80 | (c >> 6 & 63));
	to[3] = (char)(0x80 | (c & 63));
	return 4;
}

/* False: it does not fit, or is no UTF-16. */
static bool
to_utf8(char *to, size_t size, const uint8_t *from, uint32_t units)
{
	size_t n = 0;

	for (uint32_t i = 0; i < units; i++) {
		unsigned c = unit(from, i);

		if (c >= 0xd800 && c < 0xdc00 && i + 1 < units && unit(from, i + 1) >> 10 == 0x37)
			c = 0x10000 + ((c & 0x3ff) << 10 | (unit(from, ++i) & 0x3ff));
		else if (!c || (c >= 0xd800 && c < 0xe000))
			return false;
		if (n + 5 > size)
			return false;
		n += put_utf8(to + n, c);
	}
	to[n] = '\0';
	return true;
}

/* The next character; 0 at the end, or UINT32_MAX if it is none. */
static uint32_t
next_utf8(const char **p)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t *s = (const uint8_t *)*p;
	unsigned n = *s < 0x80 ? 1 : *s >> 5 == 6 ? 2 : *s >> 4 == 14 ? 3 : *s >> 3 == 30 ? 4 : 0;
	uint32_t c = n == 1 ? *s : n ? *s & (0xffu >> (n + 1)) : 0;

	if (!n)
		return UINT32_MAX;
	for (unsigned i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)
			return UINT32_MAX;
		c = c << 6 | (s[i] & 63);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return UINT32_MAX;
	*p += c ? n : 0;
	return c;
}

/* Bytes; 0: not UTF-8, or too long. to NULL: counts only. */
static uint32_t
to_utf16(uint8_t *to, const char *from)
{
	uint32_t n = 0, c;

	while ((c = next_utf8(&from)) != 0) {
		unsigned pair[2] = { c, 0 }, count = 1;

		if (c == UINT32_MAX || n >= 2 * UNITS_MAX - 2)
			return 0;
		if (c >= 0x10000) {
			pair[0] = 0xd800 | (c - 0x10000) >> 10;
			pair[1] = 0xdc00 | ((c - 0x10000) & 0x3ff);
			count = 2;
		}
		for (unsigned i = 0; i < count; i++, n += 2)
			if (to) {
				to[n] = (uint8_t)pair[i];
				to[n + 1] = (uint8_t)(pair[i] >> 8);
			}
	}
	return n;
}

/* --- Reading --- */

static struct vhdx_locator_pair
pair_of(const uint8_t *p, unsigned i)
{
	struct vhdx_locator_pair pair;

	memcpy(&pair, p + HEAD + i * PAIR, sizeof(pair));
	return pair;
}

static unsigned
pairs_of(const uint8_t *p)
{
	struct vhdx_locator_head head;

	memcpy(&head, p, sizeof(head));
	return head.count;
}

static bool
lies_in(uint32_t off, uint32_t n, uint32_t len)
{
	return n && n % 2 == 0 && off >= HEAD && off <= len && n <= len - off;
}

static bool
same_key(const uint8_t *p, const struct vhdx_locator_pair *a, const struct vhdx_locator_pair *b)
{
	return a->key_length == b->key_length && memcmp(p + a->key, p + b->key, a->key_length) == 0;
}

static const char *
pair_fault(const uint8_t *p, uint32_t len, unsigned i)
{
	struct vhdx_locator_pair pair = pair_of(p, i);

	if (!lies_in(pair.key, pair.key_length, len) || !lies_in(pair.value, pair.value_length, len))
		return "its key or its value does not lie in the item";
	for (unsigned k = 0; k < i; k++) {
		struct vhdx_locator_pair other = pair_of(p, k);

		if (same_key(p, &pair, &other))
			return "its key is there twice";
	}
	return NULL;
}

int
vhdx_check_locator(struct vhdx *v, const uint8_t *p, uint32_t len)
{
	unsigned long long at = vhdx_item_at(v, ITEM_LOCATOR);
	char text[DISK_PATH_MAX];
	uint8_t id[GUID_BYTES];

	if (len < HEAD || memcmp(p, vhdx_locator_type, GUID_BYTES) != 0)
		return vhdx_fault(
		    v, DISK_DAMAGE, "the parent locator at offset %#llx is of a kind that is not known", at);
	if (pairs_of(p) > VHDX_LOCATOR_PAIRS || pairs_of(p) * PAIR > len - HEAD)
		return vhdx_fault(v, DISK_DAMAGE,
		    "the parent locator at offset %#llx has %u pairs in %u bytes", at, pairs_of(p), len);
	for (unsigned i = 0; i < pairs_of(p); i++) {
		const char *why = pair_fault(p, len, i);

		if (why)
			return vhdx_fault(
			    v, DISK_DAMAGE, "the parent locator at offset %#llx, pair %u: %s", at, i, why);
	}
	if (vhdx_locator_get(p, len, "parent_linkage", text, sizeof(text)) != 1 ||
	    strlen(text) != GUID_TEXT + 2)
		return vhdx_fault(
		    v, DISK_DAMAGE, "the parent locator at offset %#llx has no identity of the parent", at);
	text[GUID_TEXT + 1] = '\0';
	if (!guid_parse(text + 1, id))
		return vhdx_fault(v, DISK_DAMAGE,
		    "the parent locator at offset %#llx: the parent's identity is no GUID", at);
	return 0;
}

int
vhdx_locator_get(const uint8_t *p, uint32_t len, const char *key, char *value, size_t size)
{
	char name[64];

	(void)len;
	for (unsigned i = 0; i < pairs_of(p); i++) {
		struct vhdx_locator_pair pair = pair_of(p, i);

		if (!to_utf8(name, sizeof(name), p + pair.key, pair.key_length / 2) || strcmp(name, key) != 0)
			continue;
		return to_utf8(value, size, p + pair.value, pair.value_length / 2);
	}
	return 0;
}

/* --- Writing --- */

/* What is being put together: pairs first, strings behind them. */
struct maker {
	uint8_t *to;
	unsigned pairs, most;
	uint32_t at;
};

static void
add_bytes(struct maker *m, const void *p, uint16_t n, uint32_t *at, uint16_t *length)
{
	if (m->to && n)
		memcpy(m->to + m->at, p, n);
	*at = m->at;
	*length = n;
	m->at += n;
}

static int
add_text(struct maker *m, const char *text, uint32_t *at, uint16_t *length)
{
	uint32_t n = to_utf16(NULL, text);

	if (!n)
		return -EINVAL;
	if (m->to)
		to_utf16(m->to + m->at, text);
	*at = m->at;
	*length = (uint16_t)n;
	m->at += n;
	return 0;
}

static void
add_pair(struct maker *m, const struct vhdx_locator_pair *pair)
{
	if (m->to)
		memcpy(m->to + HEAD + m->pairs * PAIR, pair, sizeof(*pair));
	m->pairs++;
}

static bool
is_set(const uint8_t *old, const struct vhdx_locator_pair *pair, const struct vhdx_setting *set, unsigned n)
{
	char name[64];

	if (!to_utf8(name, sizeof(name), old + pair->key, pair->key_length / 2))
		return false;
	for (unsigned i = 0; i < n; i++)
		if (strcmp(name, set[i].key) == 0)
			return true;
	return false;
}

/* Once to count, once into memory. */
static int
make(struct maker *m, const uint8_t *old, const struct vhdx_setting *set, unsigned n)
{
	unsigned olds = old ? pairs_of(old) : 0;
	struct vhdx_locator_pair pair;

	m->pairs = 0;
	m->at = HEAD + (uint32_t)(olds + n) * PAIR;
	for (unsigned i = 0; i < olds; i++) {
		struct vhdx_locator_pair from = pair_of(old, i);

		if (is_set(old, &from, set, n))
			continue;
		add_bytes(m, old + from.key, from.key_length, &pair.key, &pair.key_length);
		add_bytes(m, old + from.value, from.value_length, &pair.value, &pair.value_length);
		add_pair(m, &pair);
	}
	for (unsigned i = 0; i < n; i++) {
		if (!set[i].value)
			continue;
		if (add_text(m, set[i].key, &pair.key, &pair.key_length) < 0 ||
		    add_text(m, set[i].value, &pair.value, &pair.value_length) < 0)
			return -EINVAL;
		add_pair(m, &pair);
	}
	return m->pairs > VHDX_LOCATOR_PAIRS || m->at > VHDX_ITEM_MAX ? -EINVAL : 0;
}

uint8_t *
vhdx_locator_make(const uint8_t *old, uint32_t old_length, const struct vhdx_setting *set, unsigned n,
    uint32_t *length, struct err *e)
{
	struct maker m = { NULL };
	struct vhdx_locator_head head = { .count = 0 };

	(void)old_length;
	if (make(&m, old, set, n) < 0) {
		err_set(
		    e, EINVAL, "the parent's path cannot be written: it is empty, too long, or not UTF-8");
		return NULL;
	}
	m.to = calloc(1, m.at);
	if (!m.to) {
		err_set(e, ENOMEM, "VHDX: out of memory");
		return NULL;
	}
	make(&m, old, set, n);
	memcpy(head.type, vhdx_locator_type, GUID_BYTES);
	head.count = (uint16_t)m.pairs;
	memcpy(m.to, &head, sizeof(head));
	*length = m.at;
	return m.to;
}

void
vhdx_linkage(char text[GUID_TEXT + 3], const uint8_t id[GUID_BYTES])
{
	text[0] = '{';
	guid_format(id, text + 1);
	text[GUID_TEXT + 1] = '}';
	text[GUID_TEXT + 2] = '\0';
}

int
vhdx_windows_path(char *to, size_t size, const char *from, bool relative, struct err *e)
{
	bool drive = from[0] && from[1] == ':';
	const char *before = relative && from[0] != '.' ? ".\\" : !relative && drive ? "\\\\?\\" : "";
	int n = snprintf(to, size, "%s%s", before, from);

	if (n < 0 || (size_t)n >= size)
		return err_set(
		    e, ENAMETOOLONG, "the parent's path is too long: %zu bytes are the most", size - 1);
	for (char *p = to; *p; p++)
		if (*p == '/')
			*p = '\\';
	return 0;
}
