/*
 * lib/text.c - tells clean text from what a terminal or a JSON parser would choke on.
 */
#include "lib/text.h"

#include <stdint.h>
#include <string.h>

/* What a lead byte announces: the bits to match, the bytes that follow, the least code point. */
static const struct lead {
	uint8_t mask, match;
	size_t more;
	uint32_t least; /* anything below has a shorter form, and only that one is legal */
} leads[] = {
	{ 0x80, 0x00, 0, 0x20 },
	{ 0xe0, 0xc0, 1, 0xa0 },
	{ 0xf0, 0xe0, 2, 0x800 },
	{ 0xf8, 0xf0, 3, 0x10000 },
};

static bool
allowed(uint32_t cp, uint32_t least)
{
	bool surrogate = cp >= 0xd800 && cp <= 0xdfff;

	return cp >= least && cp <= 0x10ffff && cp != 0x7f && !surrogate;
}

/* The length of the character at s, or 0 when it is not clean. */
static size_t
char_len(const unsigned char *s, size_t left)
{
	for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++) {
		const struct lead *l = &leads[i];
		uint32_t cp = s[0] & (uint32_t)~l->mask & 0xff;

		if ((s[0] & l->mask) != l->match)
			continue;
		if (l->more >= left)
			return 0;
		for (size_t k = 1; k <= l->more; k++) {
			if ((s[k] & 0xc0) != 0x80)
				return 0;
			cp = cp << 6 | (s[k] & 0x3f);
		}
		return allowed(cp, l->least) ? l->more + 1 : 0;
	}
	return 0;
}

bool
text_is_clean(const char *s, size_t len)
{
	size_t n;

	for (size_t i = 0; i < len; i += n) {
		n = char_len((const unsigned char *)s + i, len - i);
		if (n == 0)
			return false;
	}
	return true;
}

void
text_clean(char *s)
{
	size_t len = strlen(s), n;

	for (size_t i = 0; i < len; i += n) {
		n = char_len((const unsigned char *)s + i, len - i);
		if (n == 0) {
			s[i] = '?';
			n = 1;
		}
	}
}

void
text_copy(char *out, size_t size, const char *s)
{
	size_t len = strnlen(s, size - 1);

	memmove(out, s, len);
	out[len] = '\0';
}
