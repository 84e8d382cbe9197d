/* hypervisor/disk/vhd_text.c - UTF-16 as images have it, either byte first. */
#include <errno.h>

#include "hypervisor/disk/vhd.h"

enum { REPLACEMENT = 0xfffd, SURROGATES = 0xd800, LOW_SURROGATES = 0xdc00, SURROGATES_END = 0xe000 };

/* --- From UTF-16 ------------------------------------------------------------------------------------ */

static uint32_t
unit(const uint8_t *p, bool big)
{
	return big ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

/* One character of at least one unit; how many bytes it took. */
static size_t
take16(const uint8_t *in, size_t len, bool big, uint32_t *c)
{
	uint32_t low;

	*c = unit(in, big);
	if (*c < SURROGATES || *c >= SURROGATES_END)
		return 2;
	low = len >= 4 ? unit(in + 2, big) : 0;
	if (*c >= LOW_SURROGATES || low < LOW_SURROGATES || low >= SURROGATES_END) {
		*c = REPLACEMENT;
		return 2;
	}
	*c = 0x10000 + ((*c - SURROGATES) << 10) + (low - LOW_SURROGATES);
	return 4;
}

static unsigned
put8(uint32_t c, uint8_t out[4])
{
	unsigned n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const uint8_t lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (unsigned i = n - 1; i > 0; i--, c >>= 6)
		out[i] = (uint8_t)(0x80 | (c & 0x3f));
	out[0] = (uint8_t)(lead[n] | c);
	return n;
}

void
vhd_from_utf16(const uint8_t *in, size_t len, bool big, char *out, size_t size)
{
	size_t used = 0;

	while (len >= 2) {
		uint8_t bytes[4];
		uint32_t c;
		size_t n = take16(in, len, big, &c);

		if (c == 0)
			break;
		in += n;
		len -= n;
		n = put8(c < ' ' || c == 0x7f ? '?' : c, bytes);
		if (used + n >= size)
			break;
		for (size_t i = 0; i < n; i++)
			out[used++] = (char)bytes[i];
	}
	out[used] = '\0';
}

/* --- To UTF-16 -------------------------------------------------------------------------------------- */

/* One character; how many bytes it took, 0 if it is none. */
static unsigned
take8(const uint8_t *in, uint32_t *c)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned n = in[0] < 0x80 ? 1 : in[0] < 0xc0 ? 0 : in[0] < 0xe0 ? 2 : in[0] < 0xf0 ? 3 : 4;

	if (n <= 1 || in[0] >= 0xf8) {
		*c = in[0];
		return n == 1;
	}
	*c = in[0] & (0x7fu >> n);
	for (unsigned i = 1; i < n; i++) {
		if ((in[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (in[i] & 0x3f);
	}
	if (*c < least[n] || *c > 0x10ffff || (*c >= SURROGATES && *c < SURROGATES_END))
		return 0;
	return n;
}

static void
put_unit(uint8_t *out, uint32_t u, bool big)
{
	out[big ? 0 : 1] = (uint8_t)(u >> 8);
	out[big ? 1 : 0] = (uint8_t)u;
}

int
vhd_to_utf16(const char *text, bool big, uint8_t *out, size_t size)
{
	const uint8_t *in = (const uint8_t *)text;
	size_t used = 0;

	while (*in) {
		uint32_t c;
		unsigned n = take8(in, &c);
		size_t need = c < 0x10000 ? 2 : 4;

		if (n == 0)
			return -EILSEQ;
		if (used + need > size)
			return -ENAMETOOLONG;
		in += n;
		if (need == 4) {
			put_unit(out + used, SURROGATES + ((c - 0x10000) >> 10), big);
			put_unit(out + used + 2, LOW_SURROGATES + (c & 0x3ff), big);
		} else {
			put_unit(out + used, c == '/' ? '\\' : c, big);
		}
		used += need;
	}
	return (int)used;
}
