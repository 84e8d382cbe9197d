/*
 * lib/guid.c - GUIDs to text and back.
 */
#include "lib/guid.h"

#include <string.h>

static bool
dash_before(unsigned byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
guid_parse(const char *text, uint8_t guid[GUID_BYTES])
{
	const char *p = text;

	if (strlen(text) != GUID_TEXT)
		return false;
	for (unsigned i = 0; i < GUID_BYTES; i++) {
		int high, low;

		if (dash_before(i) && *p++ != '-')
			return false;
		high = hex_digit(*p++);
		low = hex_digit(*p++);
		if (high < 0 || low < 0)
			return false;
		guid[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

void
guid_format(const uint8_t guid[GUID_BYTES], char text[GUID_TEXT + 1])
{
	static const char digits[] = "0123456789abcdef";
	char *p = text;

	for (unsigned i = 0; i < GUID_BYTES; i++) {
		if (dash_before(i))
			*p++ = '-';
		*p++ = digits[guid[i] >> 4];
		*p++ = digits[guid[i] & 15];
	}
	*p = '\0';
}
