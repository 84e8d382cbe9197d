/* hypervisor/vsp/ic_text.c - UTF-16 to clean UTF-8 and back. */
#include "hypervisor/vsp/ic_text.h"

#include <string.h>

#include "hypervisor/vsp/bytes.h"

enum { HIGH = 0xd800, LOW = 0xdc00, END = 0xe000, BEYOND = 0x10000 };

static bool
is_high(uint32_t u)
{
	return u >= HIGH && u < LOW;
}

static bool
is_low(uint32_t u)
{
	return u >= LOW && u < END;
}

static uint32_t
clean(uint32_t c)
{
	bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);

	return control || (c >= HIGH && c < END) ? '?' : c;
}

/* Bytes of character c in out. */
static size_t
encode(uint32_t c, uint8_t out[4])
{
	static const uint8_t lead[5] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < BEYOND ? 3 : 4;

	for (size_t i = n; i-- > 1; c >>= 6)
		out[i] = (uint8_t)(0x80 | (c & 0x3f));
	out[0] = (uint8_t)(lead[n] | c);
	return n;
}

void
ic_text_get(const uint8_t *p, size_t units, char *out, size_t size)
{
	size_t at = 0;

	for (size_t i = 0; i < units; i++) {
		uint32_t c = get_le16(p + 2 * i);
		uint8_t bytes[4];
		size_t n;

		if (c == 0)
			break;
		if (is_high(c) && i + 1 < units && is_low(get_le16(p + 2 * (i + 1)))) {
			i++;
			c = BEYOND + ((c - HIGH) << 10) + (get_le16(p + 2 * i) - (uint32_t)LOW);
		}
		n = encode(clean(c), bytes);
		if (n >= size - at)
			break;
		memcpy(out + at, bytes, n);
		at += n;
	}
	out[at] = '\0';
}

/* The character at *text, which is clean, and goes past it. */
static uint32_t
decode(const uint8_t **text)
{
	const uint8_t *p = *text;
	uint32_t c = *p++;
	size_t more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;

	c &= more ? 0x3fu >> more : 0x7f;
	for (; more && (*p & 0xc0) == 0x80; more--)
		c = c << 6 | (*p++ & 0x3f);
	*text = p;
	return c;
}

bool
ic_text_put(const char *text, uint8_t *p, size_t units, size_t *used)
{
	const uint8_t *from = (const uint8_t *)text;
	size_t at = 0;

	memset(p, 0, 2 * units);
	while (*from) {
		uint32_t c = decode(&from);
		size_t n = c < BEYOND ? 1 : 2;

		if (at + n >= units)
			return false;
		if (n == 2) {
			c -= BEYOND;
			put_le16(p + 2 * at, (uint16_t)(HIGH + (c >> 10 & 0x3ff)));
			put_le16(p + 2 * at + 2, (uint16_t)(LOW + (c & 0x3ff)));
		} else {
			put_le16(p + 2 * at, (uint16_t)c);
		}
		at += n;
	}
	if (used)
		*used = 2 * (at + 1);
	return true;
}
